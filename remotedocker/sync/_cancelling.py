# -*- test-case-name: tests.sync.test_cancelling -*-
"""
Work that is given up: what comes next can wait until nothing of it is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from remotedocker.sync._flow import InThread

__all__ = ["all_ended", "to_its_end"]

T = TypeVar("T")


def to_its_end(run: InThread) -> InThread:
    """
    Nobody can end a function in a thread.

    @return: as C{run}, but a Deferred that is cancelled fails with C{CancelledError} when the function has
        ended, and not before. What the function returns or raises then is dropped.
    """

    def run_to_its_end(function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        # Paused, it keeps to itself that it was cancelled.
        result: Deferred[T] = Deferred(lambda cancelled: cancelled.pause())

        def ended(outcome: T | Failure) -> None:
            if result.called:
                result.unpause()
            elif isinstance(outcome, Failure):
                result.errback(outcome)
            else:
                result.callback(outcome)

        run(function, *arguments).addBoth(ended)
        return result

    return run_to_its_end


async def all_ended(waiting: Sequence[Deferred[T]]) -> list[T]:
    """
    As L{all_of<remotedocker.sync._flow.all_of>}, for which a cancel is the failure of the one that it waits
    for. Here it is a cancel of all, the last first: what waits for its turn gets none.
    """
    outcomes: list[Any] = [outcome for _, outcome in await DeferredList(waiting[::-1], consumeErrors=True)]
    for outcome in reversed(outcomes):
        if isinstance(outcome, Failure):
            outcome.raiseException()
    return outcomes[::-1]
