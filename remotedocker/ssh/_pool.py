# -*- test-case-name: tests.ssh.test_pool -*-
"""
A few channels to the daemon that are open before anybody needs them: they save a round trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from remotedocker.ssh._channel import Channel

__all__ = ["WarmChannels"]

#: dockerd closes a connection that sends no request for five minutes; a channel is never used when half as
#: old.
_OLDEST_SECONDS = 120.0
_LOOK_SECONDS = 30.0


class WarmChannels:
    """
    Keeps channels of one login, and replaces those that are taken, closed by the daemon, or old. Those that
    were taken are replaced when half are gone: several cost the server hardly more than one does.

    The daemon may be down: after a refusal nothing is opened ahead before somebody's own attempt has
    succeeded.
    """

    def __init__(self, clock: IReactorTime, open_one: Callable[[], Deferred[Channel]], size: int) -> None:
        """
        @param open_one: opens a channel.
        @param size: how many are kept.
        """
        self._clock = clock
        self._open_one = open_one
        self._size = size
        self._ready: deque[tuple[float, Channel]] = deque()
        self._opening: set[Deferred[Any]] = set()
        self._stopped = False
        self._refused = False
        self._call: IDelayedCall | None = clock.callLater(_LOOK_SECONDS, self._look)
        self._fill()

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def take(self) -> Channel | None:
        """@return: a channel that was open a moment ago, or None."""
        taken: Channel | None = None
        while self._ready and taken is None:
            opened_at, channel = self._ready.popleft()
            if self._is_good(opened_at, channel):
                taken = channel
            else:
                channel.abortConnection()
        if len(self._ready) + len(self._opening) <= self._size // 2:
            self._fill()
        return taken

    def worked(self) -> None:
        """Somebody else's attempt has succeeded: the daemon is there."""
        if self._refused:
            self._refused = False
            self._fill()

    def _look(self) -> None:
        """Now and then."""
        self._call = self._clock.callLater(_LOOK_SECONDS, self._look)
        self._sort_out()
        self._fill()

    def _sort_out(self) -> None:
        """Drops what cannot be used any more."""
        ready, self._ready = self._ready, deque()
        for opened_at, channel in ready:
            if self._is_good(opened_at, channel):
                self._ready.append((opened_at, channel))
            else:
                channel.abortConnection()

    def _is_good(self, opened_at: float, channel: Channel) -> bool:
        """@return: whether a channel can still be used."""
        return channel.usable and self._clock.seconds() - opened_at < _OLDEST_SECONDS

    def _fill(self) -> None:
        """Opens as many as are missing."""
        while not self._stopped and not self._refused and len(self._ready) + len(self._opening) < self._size:
            opening = self._open_one()
            self._opening.add(opening)
            opening.addCallbacks(self._opened, self._failed)
            opening.addBoth(self._no_more_opening, opening)

    def _opened(self, channel: Channel) -> None:
        """One more is ready."""
        if self._stopped:
            channel.abortConnection()
        else:
            self._ready.append((self._clock.seconds(), channel))

    def _failed(self, failure: object) -> None:
        """The daemon, or the link, is not there."""
        self._refused = True

    def _no_more_opening(self, result: object, opening: Deferred[Any]) -> None:
        """An attempt has ended."""
        self._opening.discard(opening)

    def stop(self) -> None:
        """Closes all, and opens no more."""
        self._stopped = True
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        while self._ready:
            self._ready.popleft()[1].abortConnection()
        for opening in list(self._opening):
            opening.cancel()
