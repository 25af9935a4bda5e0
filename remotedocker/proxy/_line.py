# -*- test-case-name: tests.proxy.test_line -*-
"""
What is known of the connection to the daemon: whether it is there, what waits for it, and the parser of
what comes from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from remotedocker.http import ResponseParser
from remotedocker.proxy._commands import CloseDaemon, Command, Connect, EndDaemon, ToDaemon

__all__ = ["Line"]


class _State(Enum):
    """CLOSED -> CONNECTING by L{Line.open}, -> OPEN by L{Line.connected}; any -> CLOSED."""

    CLOSED = auto()
    CONNECTING = auto()
    OPEN = auto()


class Line:
    """
    One client's connection to the daemon: opened when it is needed, used for one request after the other.

    @ivar responses: the parser for this connection; a new connection has a new one, none has none.
    @ivar waiting: bytes that wait until it is open.
    """

    responses: ResponseParser

    def __init__(self) -> None:
        self._state = _State.CLOSED
        self._bulk = False
        self._ended = False
        self._early: list[bytes] = []
        self.waiting = 0

    def open(self, bulk: bool) -> Iterator[Command]:
        """
        Makes sure of a connection; the one that is there is given up if it is not fit for bulk.

        @param bulk: a lot will be sent.
        """
        if bulk and not self._bulk:
            yield from self.drop()
        if self._state is _State.CLOSED:
            self._state = _State.CONNECTING
            self._bulk = bulk
            self._ended = False
            self.responses = ResponseParser()
            yield Connect(bulk)

    def send(self, data: bytes) -> Iterator[Command]:
        """Sends now, or when it is open."""
        if self._state is _State.OPEN:
            yield ToDaemon(data)
        elif self._state is _State.CONNECTING:
            self._early.append(data)
            self.waiting += len(data)

    def end(self) -> Iterator[Command]:
        """Half-closes behind everything that was sent; once."""
        if not self._ended:
            self._ended = True
            if self._state is _State.OPEN:
                yield EndDaemon()

    def connected(self) -> Iterator[Command]:
        """It is open: what waits goes out."""
        self._state = _State.OPEN
        early = self.take_early()
        if early:
            yield ToDaemon(early)
        if self._ended:
            yield EndDaemon()

    def take_early(self) -> bytes:
        """@return: what waits, for somebody else to send."""
        early, self._early, self.waiting = b"".join(self._early), [], 0
        return early

    def gone(self) -> None:
        """It is lost already, or could not be made."""
        self._state = _State.CLOSED
        self.take_early()

    def drop(self) -> Iterator[Command]:
        """Gives it up."""
        if self._state is not _State.CLOSED:
            self.gone()
            yield CloseDaemon()
