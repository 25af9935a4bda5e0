# -*- test-case-name: tests.sync.test_flow -*-
"""
Waiting for several things, and streams of bytes from and to threads, at the speed of the transport.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Gate", "InThread", "all_of", "in_thread_of", "pump"]

T = TypeVar("T")


class InThread(Protocol):
    """Runs a function that blocks, away from the reactor."""

    def __call__(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """@return: fires with what C{function} returns."""
        raise NotImplementedError


def in_thread_of(reactor: Any) -> InThread:
    """@return: runs functions in the thread pool of C{reactor}."""

    def run(function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        result: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)
        return result

    return run


async def all_of(waiting: Sequence[Deferred[T]]) -> list[T]:
    """
    Waits for all, even if some fail; raises what the first failed with. A cancel is one of all, the last
    first: what waits for its turn gets none.
    """
    outcomes: list[Any] = [outcome for _, outcome in await DeferredList(waiting[::-1], consumeErrors=True)]
    for outcome in reversed(outcomes):
        if isinstance(outcome, Failure):
            outcome.raiseException()
    return outcomes[::-1]


@implementer(IPushProducer)
class Gate:
    """A producer that only remembers whether the transport wants more."""

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None
        self._open = True
        self._failed: Exception | None = None

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._open = False

    def resumeProducing(self) -> None:
        """The transport wants more."""
        self._open = True
        self._release()

    def stopProducing(self) -> None:
        """The transport is gone; L{fail} says why."""
        self._open = True
        self._release()

    def fail(self, reason: Exception) -> None:
        """Makes L{ready} raise C{reason} from now on."""
        self._failed = reason
        self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def ready(self) -> None:
        """Returns when more may be written; raises when the transport is gone."""
        if self._failed is None and not self._open:
            self._waiting = Deferred()
            await self._waiting
        if self._failed is not None:
            raise self._failed


async def pump(chunks: Iterator[bytes], write: Callable[[bytes], object], gate: Gate, run: InThread) -> int:
    """
    Writes C{chunks}, each made in a thread while what was written before it is on its way. Not while it is
    written, too: of a thread that makes system calls and one that encrypts only one can run at a time, and
    they would take turns thousands of times.

    @return: how many bytes they had.
    """
    total = 0
    while (chunk := await run(next, chunks, None)) is not None:
        await gate.ready()
        write(chunk)
        total += len(chunk)
    return total
