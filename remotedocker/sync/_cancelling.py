# -*- test-case-name: tests.sync.test_cancelling -*-
"""
Work that is given up: what comes next can wait until nothing of it is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from remotedocker.sync._flow import InThread

__all__ = ["to_its_end", "until_ended"]

T = TypeVar("T")


def until_ended(running: Deferred[T]) -> Deferred[T]:
    """
    @param running: work that nobody can end.
    @return: fires as C{running} does. If it is cancelled it fails with C{CancelledError}, when C{running} has
        fired, and not before; what that fires with is dropped.
    """
    # Paused, it keeps to itself that it was cancelled.
    result: Deferred[T] = Deferred(lambda cancelled: cancelled.pause())

    def ended(outcome: T | Failure) -> None:
        if result.called:
            result.unpause()
        elif isinstance(outcome, Failure):
            result.errback(outcome)
        else:
            result.callback(outcome)

    running.addBoth(ended)
    return result


def to_its_end(run: InThread) -> InThread:
    """@return: as C{run}, but a cancel fails when the function has ended, as with L{until_ended}."""

    def run_to_its_end(function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return until_ended(run(function, *arguments))

    return run_to_its_end
