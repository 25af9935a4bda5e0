"""Streams from threads, at the speed of the transport; the threads are played by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.threadable import isInIOThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from remotedocker.sync._flow import Gate, all_of, in_thread_of, pump


class AllOfTests(SynchronousTestCase):
    """L{all_of}."""

    def test_results(self) -> None:
        """What all fired with, in their order, whichever was first."""
        first, second = Deferred[str](), Deferred[str]()
        waiting = Deferred.fromCoroutine(all_of([first, second]))
        second.callback("second")
        self.assertNoResult(waiting)
        first.callback("first")
        self.assertEqual(self.successResultOf(waiting), ["first", "second"])

    def test_failed(self) -> None:
        """The first error in their order is raised, when all have ended, and none goes unhandled."""
        each: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
        waiting = Deferred.fromCoroutine(all_of(each))
        each[1].errback(ValueError("second"))
        each[0].errback(KeyError("first"))
        self.assertNoResult(waiting)
        each[2].callback(None)
        self.failureResultOf(waiting, KeyError)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_cancelled(self) -> None:
        """A cancel goes to all, the last first."""
        cancelled: list[Deferred[str]] = []
        each: list[Deferred[str]] = [Deferred(cancelled.append) for _ in range(2)]
        waiting = Deferred.fromCoroutine(all_of(each))
        waiting.cancel()
        self.assertEqual(cancelled, each[::-1])
        self.failureResultOf(waiting, CancelledError)


class GateTests(SynchronousTestCase):
    """L{Gate}."""

    def ready(self, gate: Gate) -> Deferred[None]:
        """@return: what waits for the gate."""
        return Deferred.fromCoroutine(gate.ready())

    def test_interface(self) -> None:
        """A gate is what transports ask for."""
        verifyObject(IPushProducer, Gate())

    def test_open(self) -> None:
        """At first nobody has to wait."""
        self.successResultOf(self.ready(Gate()))

    def test_paused(self) -> None:
        """While it is paused, one waits, and not twice for one pause."""
        gate = Gate()
        gate.resumeProducing()
        gate.pauseProducing()
        waiting = self.ready(gate)
        self.assertNoResult(waiting)
        gate.resumeProducing()
        self.successResultOf(waiting)
        self.successResultOf(self.ready(gate))

    def test_failed(self) -> None:
        """Who waits, and who comes later, is told why the transport is gone."""
        for stop in (False, True):
            gate = Gate()
            gate.pauseProducing()
            waiting = self.ready(gate)
            gate.fail(ValueError("gone"))
            if stop:
                gate.stopProducing()
            for each in (waiting, self.ready(gate)):
                self.failureResultOf(each, ValueError)

    def test_stopped(self) -> None:
        """A transport that stops lets everybody through: what they write goes nowhere."""
        gate = Gate()
        gate.pauseProducing()
        waiting = self.ready(gate)
        gate.stopProducing()
        self.successResultOf(waiting)


class Threads:
    """An L{InThread<remotedocker.sync._flow.InThread>} that does its work when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Notes the work."""
        result: Deferred[Any] = Deferred()
        self.waiting.append((result, lambda: function(*arguments)))
        return result

    def work(self) -> bool:
        """@return: whether there was something to do."""
        for result, call in self.waiting:
            self.waiting.remove((result, call))
            try:
                value = call()
            except BaseException:
                result.errback()
            else:
                result.callback(value)
            return True
        return False

    def work_all(self) -> None:
        """Works until there is nothing to do."""
        while self.work():
            pass


class PumpTests(SynchronousTestCase):
    """L{pump}."""

    def setUp(self) -> None:
        """A transport and threads."""
        self.threads, self.gate = Threads(), Gate()
        self.written: list[bytes] = []

    def pump(self, chunks: Iterator[bytes]) -> Deferred[int]:
        """Begins."""
        return Deferred.fromCoroutine(pump(chunks, self.written.append, self.gate, self.threads))

    def test_all(self) -> None:
        """All is written in order, and counted."""
        done = self.pump(iter([b"a", b"", b"bcd"]))
        self.threads.work_all()
        self.assertEqual((self.successResultOf(done), b"".join(self.written)), (4, b"abcd"))

    def test_nothing(self) -> None:
        """Nothing is little."""
        done = self.pump(iter([]))
        self.threads.work_all()
        self.assertEqual(self.successResultOf(done), 0)

    def test_one_waits(self) -> None:
        """One chunk waits to be written, and none is made beside it."""
        made: list[int] = []

        def chunks() -> Iterator[bytes]:
            for number in range(5):
                made.append(number)
                yield b"%d" % number

        self.gate.pauseProducing()
        done = self.pump(chunks())
        self.threads.work_all()
        self.assertEqual((made, self.written), ([0], []))
        self.gate.resumeProducing()
        self.threads.work_all()
        self.assertEqual(self.successResultOf(done), 5)

    def test_no_two_at_once(self) -> None:
        """Never are two chunks being made at the same time."""
        self.pump(iter([b"a", b"b", b"c"]))
        while self.threads.waiting:
            self.assertEqual(len(self.threads.waiting), 1)
            self.threads.work()

    def test_source_fails(self) -> None:
        """An error in the making of a chunk ends it, after what came before was written."""

        def chunks() -> Iterator[bytes]:
            yield b"a"
            raise ValueError("cannot read")

        done = self.pump(chunks())
        self.threads.work_all()
        self.failureResultOf(done, ValueError)
        self.assertEqual(self.written, [b"a"])

    def test_transport_fails(self) -> None:
        """A transport that is gone ends it: at once, or when the chunk that is being made is there."""
        for made in (1, 0):
            self.gate = Gate()
            self.gate.pauseProducing()
            done = self.pump(iter([b"a", b"b", b"c"]))
            for _ in range(made):
                self.threads.work()
            self.gate.fail(ConnectionError("gone"))
            self.threads.work_all()
            self.failureResultOf(done, ConnectionError)
            self.assertEqual(self.written, [])


class ThreadTests(TestCase):
    """L{in_thread_of}."""

    async def test_result(self) -> None:
        """A function runs in another thread; its result and its error come back."""
        run = in_thread_of(reactor)
        self.assertEqual(await run(isInIOThread), False)
        self.assertEqual(await run(max, 1, 2), 2)
        with self.assertRaises(ZeroDivisionError):
            await run(divmod, 1, 0)
