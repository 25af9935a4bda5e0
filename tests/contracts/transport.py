# -*- test-case-name: tests.streams.test_transports -*-
"""
What every transport in this project does, whatever carries it: memory, TCP, a unix socket, an SSH channel.

The mixin is for a C{TestCase} that says how two protocols get connected. C{near} has the transport that is
examined; the far one is only used as any peer would be.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IProtocol,
    IPushProducer,
    ITransport,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support import FullCloseRecorder, Recorder, wait_until

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["TransportContract"]

_BIG = bytes(range(256)) * 16384
"""4 MiB: more than any socket buffer, pipe or channel window."""


@implementer(IPushProducer)
class _Source:
    """A push producer that writes as fast as it is let."""

    def __init__(self, transport: Any, content: bytes) -> None:
        self._transport = transport
        self._content = content
        self.position = 0
        self.paused = False
        self.stopped = False
        self.pauses = 0

    def start(self) -> None:
        self._transport.registerProducer(self, True)
        self._run()

    def _run(self) -> None:
        while not self.paused and not self.stopped and self.position < len(self._content):
            piece = self._content[self.position : self.position + 16384]
            self.position += len(piece)
            self._transport.write(piece)
        if self.position >= len(self._content) and not self.stopped:
            self.stopped = True
            self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        self.paused = False
        self._run()

    def stopProducing(self) -> None:
        self.stopped = True


class TransportContract(_Base):
    """
    Mixin: subclasses define L{connect}.

    @ivar abort_is_told: the far side's connection ends with an error when this side aborts (a unix socket
        only shows an end of file).
    """

    abort_is_told = True

    def connect(self, near: IProtocol, far: IProtocol) -> Awaitable[None]:
        """Connects the two protocols; awaits until both have their transports."""
        raise NotImplementedError

    async def _connected(self) -> tuple[Recorder, Recorder]:
        near, far = Recorder(), Recorder()
        await self.connect(near, far)
        self.addCleanup(self._end, near, far)
        return near, far

    def _end(self, *protocols: Any) -> Deferred[None]:
        async def end() -> None:
            for protocol in protocols:
                if protocol.reason is None:
                    protocol.transport.abortConnection()
            await self._until(lambda: all(protocol.reason is not None for protocol in protocols))

        return Deferred.fromCoroutine(end())

    def _until(self, condition: Any) -> Awaitable[None]:
        return wait_until(reactor, condition)

    async def test_interfaces(self) -> None:
        """The transport provides what IRemote promises of its transports."""
        near, _ = await self._connected()
        for interface in (ITransport, IConsumer, IPushProducer, IHalfCloseableDescriptor):
            verifyObject(interface, near.transport)
        near.transport.getPeer()
        near.transport.getHost()

    async def test_bothDirections(self) -> None:
        """Bytes arrive in order, both ways."""
        near, far = await self._connected()
        near.transport.write(b"to ")
        near.transport.writeSequence([b"the ", b"far"])
        far.transport.write(b"to the near")
        await self._until(lambda: far.received == b"to the far" and near.received == b"to the near")

    async def test_bigBothDirections(self) -> None:
        """Big writes both ways at once arrive whole."""
        near, far = await self._connected()
        near.transport.write(_BIG)
        far.transport.write(_BIG)
        await self._until(lambda: len(far.received) >= len(_BIG) and len(near.received) >= len(_BIG))
        self.assertTrue(far.received == _BIG and near.received == _BIG)

    async def test_halfCloseOfNear(self) -> None:
        """After C{loseWriteConnection} the far side sees the end of file and can still send."""
        near, far = await self._connected()
        near.transport.write(b"last")
        near.transport.loseWriteConnection()
        await self._until(lambda: far.eof)
        self.assertEqual(far.received, b"last")
        far.transport.write(b"answer")
        await self._until(lambda: near.received == b"answer")
        self.assertFalse(near.lost or far.lost or near.eof)

    async def test_halfCloseOfFar(self) -> None:
        """The far side's end of file is told alone, after its data; sending goes on."""
        near, far = await self._connected()
        far.transport.write(b"last")
        far.transport.loseWriteConnection()
        await self._until(lambda: near.eof)
        self.assertEqual(near.received, b"last")
        near.transport.write(b"answer")
        await self._until(lambda: far.received == b"answer")
        self.assertFalse(near.lost or far.lost or far.eof)

    async def test_endOfFileDoesNotOvertake(self) -> None:
        """A half-close waits for everything that was written before it, also if the reader is slow."""
        near, far = await self._connected()
        far.transport.pauseProducing()
        near.transport.write(_BIG)
        near.transport.loseWriteConnection()
        far.transport.resumeProducing()
        await self._until(lambda: far.eof)
        self.assertTrue(far.received == _BIG)

    async def test_writeClosedIsTold(self) -> None:
        """The protocol hears when its half-close was carried out."""
        near, _ = await self._connected()
        near.transport.loseWriteConnection()
        await self._until(lambda: "write closed" in near.events)

    async def test_bothHalvesThenClose(self) -> None:
        """With both directions ended, C{loseConnection} ends the connection cleanly."""
        near, far = await self._connected()
        far.transport.loseWriteConnection()
        near.transport.loseWriteConnection()
        await self._until(lambda: near.eof and far.eof and "write closed" in near.events)
        near.transport.loseConnection()
        far.transport.loseConnection()
        await self._until(lambda: near.lost and far.lost)
        self.assertTrue(near.reason is not None and near.reason.check(ConnectionDone))
        self.assertEqual((near.events.count("eof"), near.events.count("lost")), (1, 1))

    async def test_loseConnectionFlushes(self) -> None:
        """C{loseConnection} sends what was written before it."""
        near, far = await self._connected()
        near.transport.write(_BIG)
        near.transport.loseConnection()
        await self._until(lambda: far.eof or far.lost)
        self.assertTrue(far.received == _BIG)
        await self._until(lambda: near.lost)
        self.assertTrue(near.reason is not None and near.reason.check(ConnectionDone))

    async def test_pausedReadsNothing(self) -> None:
        """A paused transport delivers neither data nor end of file until it is resumed."""
        near, far = await self._connected()
        near.transport.pauseProducing()
        far.transport.write(b"data")
        far.transport.loseWriteConnection()
        await self._until(lambda: "write closed" in far.events)
        self.assertEqual(near.events, ["made"])
        near.transport.resumeProducing()
        await self._until(lambda: near.eof)
        self.assertEqual(near.events, ["made", "data", "eof"])

    async def test_slowReaderPausesProducer(self) -> None:
        """A producer is paused while the far side does not read, and everything arrives when it does."""
        near, far = await self._connected()
        far.transport.pauseProducing()
        source = _Source(near.transport, _BIG * 4)
        source.start()
        await self._until(lambda: source.pauses)
        written = source.position
        self.assertLess(written, len(_BIG * 4))
        far.transport.resumeProducing()
        await self._until(lambda: len(far.received) == len(_BIG * 4))
        self.assertTrue(far.received == _BIG * 4)

    async def test_slowNearStopsFar(self) -> None:
        """While the near side is paused, the far side's producer comes to a stop, too."""
        near, far = await self._connected()
        near.transport.pauseProducing()
        source = _Source(far.transport, _BIG * 4)
        source.start()
        await self._until(lambda: source.paused)
        self.assertLess(source.position, len(_BIG * 4))
        near.transport.resumeProducing()
        await self._until(lambda: len(near.received) == len(_BIG * 4))
        self.assertTrue(near.received == _BIG * 4)

    async def test_abortOfNear(self) -> None:
        """C{abortConnection} ends this side as aborted and lets the far side know."""
        near, far = await self._connected()
        near.transport.abortConnection()
        await self._until(lambda: near.lost and (far.lost or far.eof))
        self.assertTrue(near.reason is not None and near.reason.check(ConnectionAborted))
        if self.abort_is_told:
            await self._until(lambda: far.lost)

    async def test_abortDropsWhatIsBuffered(self) -> None:
        """An abort does not wait for a far side that reads nothing."""
        near, far = await self._connected()
        far.transport.pauseProducing()
        near.transport.write(_BIG)
        near.transport.abortConnection()
        await self._until(lambda: near.lost)
        self.assertEqual(near.events.count("lost"), 1)

    async def test_abortOfFar(self) -> None:
        """The far side's abort ends the connection or, where that is all there is to see, its input."""
        near, far = await self._connected()
        far.transport.abortConnection()
        await self._until(lambda: near.lost or near.eof)

    async def test_lostConnectionStopsProducer(self) -> None:
        """A producer that is registered when the connection ends is told to stop."""
        near, far = await self._connected()
        far.transport.pauseProducing()
        source = _Source(near.transport, _BIG * 4)
        source.start()
        await self._until(lambda: source.paused)
        near.transport.abortConnection()
        await self._until(lambda: near.lost)
        self.assertTrue(source.stopped)

    async def test_writeAfterLoss(self) -> None:
        """Writing to, pausing and closing a connection that is over does nothing."""
        near, far = await self._connected()
        transport: Any = near.transport
        transport.abortConnection()
        await self._until(lambda: near.lost)
        transport.write(b"late")
        transport.pauseProducing()
        transport.resumeProducing()
        transport.loseConnection()
        transport.abortConnection()
        self.assertEqual(near.events.count("lost"), 1)
        self.assertEqual(far.received, b"")

    async def test_fullCloseProtocol(self) -> None:
        """A protocol without half-close loses its connection cleanly at the far side's end of file."""
        near, far = FullCloseRecorder(), Recorder()
        await self.connect(near, far)
        self.addCleanup(self._end, near, far)
        far.transport.write(b"bye")
        far.transport.loseWriteConnection()
        await self._until(lambda: near.reason is not None)
        self.assertEqual(near.received, b"bye")
        self.assertTrue(near.reason is not None and near.reason.check(ConnectionDone))
