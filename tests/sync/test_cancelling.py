"""Work that is given up; the test plays the threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._cancelling import all_ended, to_its_end


class Threads:
    """
    See L{InThread}.

    @ivar asked: the function that it was given, and its arguments.
    @ivar thread: what the function comes to.
    """

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.thread: Deferred[Any] = Deferred()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Runs nothing."""
        self.asked += [function, *arguments]
        return self.thread


class ToItsEndTests(SynchronousTestCase):
    """L{to_its_end}."""

    def setUp(self) -> None:
        """A function is in its thread."""
        self.threads = Threads()
        self.thread = self.threads.thread
        self.running: Deferred[str] = to_its_end(self.threads)(str.join, "-", "ab")

    def test_result(self) -> None:
        """The function is handed on with its arguments, and what it returns comes back."""
        self.assertEqual(self.threads.asked, [str.join, "-", "ab"])
        self.assertNoResult(self.running)
        self.thread.callback("a-b")
        self.assertEqual(self.successResultOf(self.running), "a-b")

    def test_error(self) -> None:
        """So does what it raises."""
        self.thread.errback(OSError("broken"))
        self.failureResultOf(self.running, OSError)

    def test_cancelled(self) -> None:
        """One that is cancelled, even twice, fails when the function has ended; so does who waits for it."""

        async def wait() -> str:
            return await self.running

        waiting = Deferred.fromCoroutine(wait())
        for _ in range(2):
            waiting.cancel()
            self.assertNoResult(waiting)
        self.thread.callback("a-b")
        self.failureResultOf(waiting, CancelledError)

    def test_error_after_cancel(self) -> None:
        """What it raises when nobody wants it any more is dropped."""
        self.running.cancel()
        self.thread.errback(OSError("broken"))
        self.failureResultOf(self.running, CancelledError)
        self.assertEqual(self.flushLoggedErrors(), [])


class AllEndedTests(SynchronousTestCase):
    """L{all_ended}."""

    def setUp(self) -> None:
        """Two are waited for."""
        self.cancelled: list[Deferred[str]] = []
        self.first: Deferred[str] = Deferred(self.cancelled.append)
        self.second: Deferred[str] = Deferred(self.cancelled.append)
        self.waiting = Deferred.fromCoroutine(all_ended([self.first, self.second]))

    def test_results(self) -> None:
        """What both fired with, in their order, whichever was first."""
        self.second.callback("second")
        self.assertNoResult(self.waiting)
        self.first.callback("first")
        self.assertEqual(self.successResultOf(self.waiting), ["first", "second"])

    def test_failed(self) -> None:
        """The first error in their order is raised, when both have ended, and none goes unhandled."""
        self.second.errback(ValueError("second"))
        self.assertNoResult(self.waiting)
        self.first.errback(KeyError("first"))
        self.failureResultOf(self.waiting, KeyError)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_cancelled(self) -> None:
        """A cancel goes to both, the last first."""
        self.waiting.cancel()
        self.assertEqual(self.cancelled, [self.second, self.first])
        self.failureResultOf(self.waiting, CancelledError)

    def test_cancelled_in_a_thread(self) -> None:
        """One that cannot end at once is waited for."""
        threads = Threads()
        running: Deferred[str] = to_its_end(threads)(str.join, "-", "ab")
        waiting = Deferred.fromCoroutine(all_ended([running, Deferred()]))
        waiting.cancel()
        self.assertNoResult(waiting)
        threads.thread.callback("a-b")
        self.failureResultOf(waiting, CancelledError)
