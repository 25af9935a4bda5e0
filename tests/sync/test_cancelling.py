"""Work that is given up; the test plays the threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._cancelling import to_its_end
from remotedocker.sync._flow import all_of


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

    def test_among_several(self) -> None:
        """One that cannot end at once is waited for by who waits for several."""
        waiting = Deferred.fromCoroutine(all_of([self.running, Deferred()]))
        waiting.cancel()
        self.assertNoResult(waiting)
        self.thread.callback("a-b")
        self.failureResultOf(waiting, CancelledError)
