# -*- test-case-name: tests.ssh.test_channel -*-
"""
What comes in over a channel.

The server may send as much as the window says. The window is given back only for what the protocol took while
it was not paused; what comes while it is paused is kept, and that is never more than the window. The window
begins at 2 MiB, and doubles up to 16 MiB when the server sends all of it in one round trip and then waits for
more, while the reader keeps up.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from remotedocker.ssh._wire import uint32

if TYPE_CHECKING:
    from remotedocker.ssh._connection import Connection

__all__ = ["INITIAL_WINDOW", "LARGEST_WINDOW", "ReadingHalf"]

INITIAL_WINDOW = 2 << 20
LARGEST_WINDOW = 16 << 20

_ADJUST = 93


class ReadingHalf:
    """The part of a L{Channel<remotedocker.ssh._channel.Channel>} that receives."""

    #: A protocol that cannot half-close loses the connection when the far side has sent everything.
    ends_with_eof = True

    _connection: Connection
    _remote_id: int | None
    _lost: bool
    _close_sent: bool
    protocol: Any
    disconnecting: bool
    _close_received: bool
    pending_bytes: int
    _guard: Any
    failed: Any
    _break: Any
    _finish: Any
    _send_close: Any
    loseConnection: Any

    def __init__(self) -> None:
        self._paused = True
        self._inbound: deque[bytes] = deque()
        self._window = INITIAL_WINDOW
        self._window_left = INITIAL_WINDOW
        self._unreturned = 0
        self._epoch_began = 0.0
        self._epoch_bytes = 0
        self._eof_received = False
        self._eof_delivered = False
        self._delivering = False

    def data_received(self, data: bytes) -> None:
        """The server sent data."""
        size = len(data)
        if size > self._window_left:
            self._break(ConnectionLost("the server sent more than the window allows"))
            return
        self._window_left -= size
        if self._lost or self._eof_received or not size:
            return
        if self._paused or self._inbound:
            self._inbound.append(data)
        else:
            self._deliver(data)

    def extended_received(self, kind: int, data: bytes) -> None:
        """The server sent data beside the stream (type 1: standard error); here it is of no use."""
        if len(data) > self._window_left:
            self._break(ConnectionLost("the server sent more than the window allows"))
            return
        self._window_left -= len(data)
        self._consumed(len(data))

    def eof_received(self) -> None:
        """The server will send no more data."""
        self._eof_received = True
        self._deliver_end()

    def _deliver(self, data: bytes) -> None:
        """Hands data to the protocol, and gives the window back."""
        try:
            self.protocol.dataReceived(data)
        except Exception:
            self.failed()
        self._consumed(len(data))

    def _consumed(self, size: int) -> None:
        """The reader has taken C{size} bytes."""
        self._unreturned += size
        if not self._paused and self._unreturned >= self._window >> 3:
            self._return_window()

    def _return_window(self) -> None:
        """Allows the server to send as much again as was taken, and more if only the window holds it."""
        returned, self._unreturned = self._unreturned, 0
        if not returned or self._close_sent or self._eof_received or self._remote_id is None:
            return
        self._epoch_bytes += returned
        if self._epoch_bytes >= self._window:
            returned += self._grow_window()
        self._window_left += returned
        self._connection.send(_ADJUST, uint32(self._remote_id) + uint32(returned))

    def _grow_window(self) -> int:
        """
        A whole window was taken. In less than two round trips, that can only be because the server has sent
        it in one go and waits for more: the link could carry more than the window lets it.

        @return: by how much the window grows, in bytes.
        """
        now = self._connection.clock.seconds()
        took, self._epoch_began = now - self._epoch_began, now
        self._epoch_bytes = 0
        if took >= 2 * self._connection.round_trip or self._window >= LARGEST_WINDOW:
            return 0
        grown = self._window
        self._window += grown
        return grown

    def _drain(self) -> None:
        """Delivers what was kept while the reader was paused."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._inbound and not self._paused and not self._lost:
                self._deliver(self._inbound.popleft())
        finally:
            self._delivering = False
        if not self._paused and not self._lost:
            if self._unreturned >= self._window >> 3:
                self._return_window()
            self._deliver_end()

    def _deliver_end(self) -> None:
        """Tells of the end of the stream and of the channel, once everything before it is delivered."""
        if self._inbound or self._paused or self._lost or self._delivering:
            return
        if self._eof_received and not self._eof_delivered:
            self._eof_delivered = True
            self.readConnectionLost(connectionDone)
        if self._close_received and not self._lost:
            self._finish(self._end_reason())

    def _end_reason(self) -> Failure:
        """@return: how the channel ended that the server has closed."""
        if self.pending_bytes:
            return Failure(
                ConnectionLost(f"closed by the server before {self.pending_bytes} bytes were sent")
            )
        if not self._eof_received and not self.disconnecting:
            return Failure(ConnectionLost("closed by the server before the end of the stream"))
        return connectionDone

    def readConnectionLost(self, reason: Failure) -> None:
        """The far side has sent everything."""
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None:
            self._guard(half_closeable.readConnectionLost)
        elif self.ends_with_eof:
            self._send_close()
            self._finish(reason)

    def pauseProducing(self) -> None:
        """The reader takes no more."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The reader takes data again; delivers what was kept."""
        if self._paused and self.protocol is not None:
            self._paused = False
            self._drain()

    def stopProducing(self) -> None:
        """The reader will never take any more."""
        self.loseConnection()
