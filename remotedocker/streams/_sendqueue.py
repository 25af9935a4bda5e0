# -*- test-case-name: tests.streams.test_sendqueue -*-
"""
What waits to be sent to a socket: pieces, which are never put together.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

__all__ = ["SendQueue"]

_MOST_PIECES = 64
"""That one C{sendmsg} is given (C{IOV_MAX} is 1024 on Linux and BSDs)."""


class SendQueue:
    """
    @param connected: does not block.
    @ivar size: how many bytes wait.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._pieces: deque[memoryview] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        """Whether something waits."""
        return self.size > 0

    def add(self, piece: bytes | memoryview) -> None:
        """Lets C{piece} wait."""
        if piece:
            self._pieces.append(memoryview(piece))
            self.size += len(piece)

    def send(self, pieces: Sequence[bytes]) -> None:
        """
        Sends C{pieces}, if nothing waits before them; what the socket does not take waits. A socket that does
        not work any more tells so in L{flush}.
        """
        sent = 0
        if not self.size and len(pieces) <= _MOST_PIECES:
            try:
                sent = self._socket.sendmsg(pieces)
            except OSError:
                sent = 0
            if sent == sum(map(len, pieces)):
                return
        for piece in pieces:
            if sent < len(piece):
                self.add(memoryview(piece)[sent:])
                sent = 0
            else:
                sent -= len(piece)

    def flush(self) -> bool:
        """
        Sends as much as the socket takes.

        @return: whether the socket still works.
        """
        pieces = self._pieces
        while pieces:
            try:
                sent = self._socket.sendmsg(
                    [pieces[index] for index in range(min(len(pieces), _MOST_PIECES))]
                )
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            self.size -= sent
            while sent:
                first = pieces[0]
                if sent < len(first):
                    pieces[0] = first[sent:]
                    break
                sent -= len(first)
                pieces.popleft()
        return True

    def clear(self) -> None:
        """Drops everything."""
        self._pieces.clear()
        self.size = 0
