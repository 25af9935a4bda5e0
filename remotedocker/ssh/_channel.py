# -*- test-case-name: tests.ssh.test_channel -*-
"""
A channel of an SSH connection (RFC 4254 section 5) that a protocol uses as it would use a TCP connection.

Flow control, both ways:

 - What comes in: the server may send as much as the window says. The window is given back only for what the
   protocol took while it was not paused; what comes while it is paused is kept, and that is never more than
   the window. The window begins at 2 MiB, and doubles up to 16 MiB when the server sends all of it in one
   round trip and then waits for more, while the reader keeps up.
 - What goes out: what the server's window or the socket does not take is kept, and a producer is paused above
   C{HIGH_WATER} bytes. The end of the stream never overtakes what was written before it.

Nothing that a protocol raises leaves its channel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.ssh._wire import string, uint32

if TYPE_CHECKING:
    from remotedocker.ssh._connection import Connection

__all__ = ["Channel", "ChannelAddress", "HIGH_WATER", "INITIAL_WINDOW", "LARGEST_WINDOW", "MAXIMUM_PACKET"]

INITIAL_WINDOW = 2 << 20
LARGEST_WINDOW = 16 << 20
MAXIMUM_PACKET = 128 << 10
HIGH_WATER = 256 << 10
#: How much one channel may send before the next one has its turn.
_TURN = 128 << 10

_ADJUST, _DATA, _EOF, _CLOSE, _REQUEST, _SUCCESS, _FAILURE = 93, 94, 96, 97, 98, 99, 100


@implementer(IAddress)
@frozen
class ChannelAddress:
    """
    One end of a channel.

    @ivar description: what it leads to, as seen from the remote host.
    """

    kind: str
    description: str


@implementer(ITransport, IConsumer, IPushProducer, IHalfCloseableDescriptor)
class Channel:
    """
    @ivar kind: the channel's type, C{direct-tcpip} and so on.
    @ivar description: what it leads to, for messages.
    @ivar local_id: our number of it, once it is being opened.
    """

    _log = Logger()
    #: A protocol that cannot half-close loses the connection when the far side has sent everything.
    ends_with_eof = True

    disconnecting = False
    connected = True
    protocol: Any = None

    def __init__(self, connection: Connection, kind: bytes, open_data: bytes, description: str) -> None:
        """
        @param open_data: what is special to the type in the request to open it.
        """
        self._connection = connection
        self.kind = kind
        self.open_data = open_data
        self.description = description
        self.local_id = -1
        self._remote_id: int | None = None
        # What comes in
        self._paused = True
        self._inbound: deque[bytes] = deque()
        self._window = INITIAL_WINDOW
        self._window_left = INITIAL_WINDOW
        self._unreturned = 0
        self._epoch_began = 0.0
        self._epoch_bytes = 0
        self._eof_received = False
        self._eof_delivered = False
        self._close_received = False
        self._delivering = False
        # What goes out
        self._remote_window = 0
        self._remote_packet = 0
        self._pending: deque[memoryview] = deque()
        self.pending_bytes = 0
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._eof_wanted = False
        self._eof_sent = False
        self._close_sent = False
        self._lost = False

    # The life of a channel, as the connection tells it

    def confirmed(self, remote_id: int, window: int, packet: int) -> None:
        """The server has opened it."""
        self._remote_id = remote_id
        self._remote_window = window
        self._remote_packet = min(packet, MAXIMUM_PACKET)
        if self._lost or self.disconnecting:
            self._send_close()

    def attach(self, protocol: Any) -> None:
        """Gives the channel to a protocol; what the server has sent until then is delivered at once."""
        self.protocol = protocol
        self._guard(protocol.makeConnection, self)
        if self._paused and not self._lost:
            self.resumeProducing()

    @property
    def usable(self) -> bool:
        """Whether nothing has ended yet."""
        return not (self._lost or self.disconnecting or self._eof_received or self._close_received)

    def data_received(self, data: bytes) -> None:
        """The server sent data."""
        size = len(data)
        if size > self._window_left:
            self._break(ConnectionLost("the server sent more than the window allows"))
            return
        self._window_left -= size
        if self._lost or self._eof_received:
            return
        if self._paused or self._inbound:
            self._inbound.append(data)
        else:
            self._deliver(data)

    def extended_received(self, kind: int, data: bytes) -> None:
        """The server sent data beside the stream (type 1: standard error); here it is of no use."""
        self._window_left -= len(data)
        self._consumed(len(data))

    def eof_received(self) -> None:
        """The server will send no more data."""
        self._eof_received = True
        self._deliver_end()

    def close_received(self) -> None:
        """The server has closed it; nothing can be sent any more."""
        self._close_received = True
        self._send_close()
        self._deliver_end()

    def request_received(self, name: bytes, payload: bytes) -> bool:
        """
        The server asks for something.

        @return: whether it was done.
        """
        return False

    def connection_lost(self, reason: Failure) -> None:
        """The SSH connection is gone."""
        self._close_sent = True
        if self._close_received and self._eof_received:
            return
        self._finish(reason)

    # Reading

    def _deliver(self, data: bytes) -> None:
        """Hands data to the protocol, and gives the window back."""
        self._guard(self.protocol.dataReceived, data)
        self._consumed(len(data))

    def _consumed(self, size: int) -> None:
        """The reader has taken C{size} bytes."""
        self._unreturned += size
        if not self._paused and self._unreturned >= self._window >> 4:
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
            if self._unreturned >= self._window >> 4:
                self._return_window()
            self._deliver_end()

    def _deliver_end(self) -> None:
        """Tells of the end of the stream and of the channel, once everything before it is delivered."""
        if self._inbound or self._paused or self._lost or self._delivering:
            return
        if self._eof_received and not self._eof_delivered:
            self._eof_delivered = True
            self.readConnectionLost(Failure(ConnectionDone()))
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
        return Failure(ConnectionDone())

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

    # Writing

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
        self._pending.append(memoryview(data))
        self.pending_bytes += len(data)
        if not self._connection.is_waiting(self):
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
        if left <= 0 or self._remote_window <= 0 or self._connection.congested:
            return
        self._connection.cork()
        while left > 0 and self._remote_window > 0 and not self._connection.congested:
            room = min(left, self._remote_window, self._remote_packet)
            pieces, size = self._next_pieces(room)
            self._remote_window -= size
            self.pending_bytes -= size
            left -= size
            self._connection.send_data(self._remote_id, size, pieces)
        self._connection.uncork()

    def _next_pieces(self, room: int) -> tuple[list[memoryview], int]:
        """@return: what is waiting, as much as there is room for, and how many bytes that is."""
        pending = self._pending
        pieces: list[memoryview] = []
        size = 0
        while pending and size < room:
            piece = pending[0]
            if len(piece) > room - size:
                pending[0] = piece[room - size :]
                piece = piece[: room - size]
            else:
                pending.popleft()
            pieces.append(piece)
            size += len(piece)
        return pieces, size

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
                self._connection.call_soon(self._finish, Failure(ConnectionDone()))
        elif self._eof_wanted and not self._eof_sent and not self._close_sent:
            self._eof_sent = True
            self._connection.send(_EOF, uint32(self._remote_id))
            self.writeConnectionLost(Failure(ConnectionDone()))

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

    # Ending

    def loseConnection(self) -> None:
        """Closes the channel once everything written is sent."""
        if self._lost or self.disconnecting:
            return
        self.disconnecting = True
        self._end_if_written()

    def abortConnection(self) -> None:
        """Closes the channel now; what was not yet sent is lost."""
        if not self._lost:
            self._discard()
            self._send_close()
            self.disconnecting = True
            self._connection.call_soon(self._finish, Failure(ConnectionAborted()))

    def _break(self, error: Exception) -> None:
        """Ends this channel alone because of C{error}."""
        self._discard()
        self._send_close()
        self._finish(Failure(error))

    def _discard(self) -> None:
        """Drops what is not yet sent, and what is not yet read."""
        self._pending.clear()
        self.pending_bytes = 0
        self._inbound.clear()
        self._connection.sent_everything(self)

    def _send_close(self) -> None:
        """
        Closes our side, if it is not closed; the number is free once the server has closed its side too.
        """
        if not self._close_sent and self._remote_id is not None:
            self._close_sent = True
            self._connection.send(_CLOSE, uint32(self._remote_id))
        if self._close_sent and self._close_received:
            self._connection.forget(self)

    def _finish(self, reason: Failure) -> None:
        """Tells the protocol, once, that it is over."""
        if self._lost:
            return
        self._lost = True
        self.connected = False
        self.disconnecting = True
        self._discard()
        producer, self._producer = self._producer, None
        if producer is not None:
            self._guard(producer.stopProducing)
        if self.protocol is not None:
            self._guard(self.protocol.connectionLost, reason)

    def _guard(self, function: Any, *arguments: Any) -> None:
        """Calls the protocol (or a producer); what it raises ends this channel alone."""
        try:
            function(*arguments)
        except Exception:
            failure = Failure()
            self._log.failure(
                "A protocol failed on the channel to {channel}", failure, channel=self.description
            )
            if not self._lost:
                self._break(failure.value)

    # Asking for things

    def request(self, name: bytes, payload: bytes, want_reply: bool) -> None:
        """Sends a channel request (RFC 4254 section 5.4)."""
        if self._remote_id is not None and not self._close_sent:
            flag = b"\1" if want_reply else b"\0"
            self._connection.send(_REQUEST, uint32(self._remote_id) + string(name) + flag + payload)

    def answer(self, done: bool) -> None:
        """Answers the server's channel request."""
        if self._remote_id is not None and not self._close_sent:
            self._connection.send(_SUCCESS if done else _FAILURE, uint32(self._remote_id))

    def request_answered(self, success: bool) -> None:
        """The server answered a channel request."""

    def getPeer(self) -> ChannelAddress:
        """@return: where the channel leads to."""
        return ChannelAddress(self.kind.decode("ascii"), self.description)

    def getHost(self) -> ChannelAddress:
        """@return: our end."""
        return ChannelAddress(self.kind.decode("ascii"), "here")

    def logPrefix(self) -> str:
        """For logs."""
        return f"channel {self.local_id} to {self.description}"
