# -*- test-case-name: tests.ssh.test_channel -*-
"""
What goes out over a channel.

What the server's window or the socket does not take is kept, and a producer is paused above C{HIGH_WATER}
bytes. The end of the stream never overtakes what was written before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from remotedocker.ssh._wire import uint32

if TYPE_CHECKING:
    from remotedocker.ssh._connection import Connection

__all__ = ["HIGH_WATER", "WritingHalf"]

HIGH_WATER = 256 << 10
#: How much one channel may send before the next one has its turn, and what goes to the socket in one piece:
#: as much as is read from a local socket at once.
_TURN = 256 << 10

_EOF = 96


class WritingHalf:
    """The part of a L{Channel<remotedocker.ssh._channel.Channel>} that sends."""

    _connection: Connection
    _remote_id: int | None
    _lost: bool
    _close_sent: bool
    protocol: Any
    disconnecting: bool
    _guard: Any
    _finish: Any
    _send_close: Any

    def __init__(self) -> None:
        self._remote_window = 0
        self._remote_packet = 0
        self._pending: deque[memoryview] = deque()
        self.pending_bytes = 0
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._eof_wanted = False
        self._eof_sent = False

    def write(self, data: bytes) -> None:
        """Sends data, now or when the server takes it."""
        if (
            not data
            or self._lost
            or self._eof_wanted
            or self._close_sent
            or (self.disconnecting and not self._producer)
        ):
            return
        size = len(data)
        connection = self._connection
        if (
            not self.pending_bytes
            and size <= self._remote_packet
            and size <= self._remote_window
            and not connection.congested
        ):
            self._remote_window -= size
            connection.send_data(self._remote_id, data, size)
        else:
            self._pending.append(memoryview(data))
            self.pending_bytes += size
            if not connection.is_waiting(self):
                self._push(self.pending_bytes)
        if self.pending_bytes:
            self._connection.wants_to_send(self)
            self._hold_producer()
        elif self._producer is not None and not self._streaming:
            self._connection.call_soon(self._ask_for_more)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Sends several pieces of data."""
        self.write(b"".join(data))

    def _hold_producer(self) -> None:
        """Pauses the producer when enough is waiting."""
        if self._streaming and not self._producer_paused and self.pending_bytes > HIGH_WATER:
            self._producer_paused = True
            self._guard(self._producer.pauseProducing)

    def send_more(self) -> bool:
        """
        The connection gives this channel its turn.

        @return: whether it has something left that it could send in another turn.
        """
        self._push(_TURN)
        self._after_push()
        return bool(self.pending_bytes and self._remote_window)

    def _push(self, limit: int) -> None:
        """Sends what is waiting, as far as the window, the socket and C{limit} (bytes) allow."""
        left = min(limit, self.pending_bytes)
        while left > 0 and self._remote_window > 0 and not self._connection.congested:
            data = self._next_pieces(min(left, self._remote_window, _TURN))
            size = len(data)
            self._remote_window -= size
            self.pending_bytes -= size
            left -= size
            self._connection.send_data(self._remote_id, data, self._remote_packet)

    def _next_pieces(self, room: int) -> memoryview:
        """@return: what is waiting, at most C{room} bytes; pieces that fill no packet are put together."""
        pending = self._pending
        pieces: list[memoryview] = []
        size = 0
        while pending and size < room:
            piece = pending[0]
            if pieces and len(piece) >= self._remote_packet:
                break
            if len(piece) > room - size:
                pending[0] = piece[room - size :]
                piece = piece[: room - size]
            else:
                pending.popleft()
            pieces.append(piece)
            size += len(piece)
            if len(piece) >= self._remote_packet:
                break
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def window_adjusted(self, size: int) -> None:
        """The server takes more."""
        self._remote_window = min(self._remote_window + size, 0xFFFFFFFF)
        if self.pending_bytes:
            self._push(self.pending_bytes)
            self._after_push()

    def _after_push(self) -> None:
        """Lets the producer go on, or ends what was to be ended after the data."""
        if not self.pending_bytes:
            self._connection.sent_everything(self)
        if self._producer is not None:
            low = self.pending_bytes <= HIGH_WATER >> 1
            if (self._producer_paused and low) or (not self._streaming and not self.pending_bytes):
                self._producer_paused = False
                self._guard(self._producer.resumeProducing)
        self._end_if_written()

    def _ask_for_more(self) -> None:
        """A producer that is not streaming writes when it is asked."""
        if self._producer is not None and not self._streaming and not self.pending_bytes:
            self._guard(self._producer.resumeProducing)

    def _end_if_written(self) -> None:
        """Sends the end of the stream, or closes, when nothing is left to be sent before it."""
        if self.pending_bytes or self._lost or self._remote_id is None:
            return
        if self.disconnecting:
            if self._producer is None:
                self._send_close()
                self._connection.call_soon(self._finish, connectionDone)
        elif self._eof_wanted and not self._eof_sent and not self._close_sent:
            self._eof_sent = True
            self._connection.send_soon(_EOF, uint32(self._remote_id))
            self.writeConnectionLost(connectionDone)

    def writeConnectionLost(self, reason: Failure) -> None:
        """What was written, and its end, are on their way."""
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None:
            self._guard(half_closeable.writeConnectionLost)

    def loseWriteConnection(self) -> None:
        """Sends the end of the stream after what was written; reading goes on."""
        if not self._eof_wanted:
            self._eof_wanted = True
            self._end_if_written()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Lets C{producer} be told when to stop and to go on.

        @raise RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self!r} has the producer {self._producer!r} already")
        if self._lost or self.disconnecting:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if streaming:
            self._hold_producer()
        else:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer has written everything."""
        self._producer = None
        self._streaming = self._producer_paused = False
        if self.disconnecting:
            self._end_if_written()
