# -*- test-case-name: tests.ssh.test_channel -*-
"""
A channel of an SSH connection (RFC 4254 section 5) that a protocol uses as it would use a TCP connection.

Nothing that a protocol raises leaves its channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableDescriptor,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.ssh._channel_reading import ReadingHalf
from remotedocker.ssh._channel_writing import WritingHalf
from remotedocker.ssh._wire import string, uint32

if TYPE_CHECKING:
    from remotedocker.ssh._connection import Connection

__all__ = ["Channel", "ChannelAddress", "MAXIMUM_PACKET"]

MAXIMUM_PACKET = 128 << 10

_CLOSE, _REQUEST, _SUCCESS, _FAILURE = 97, 98, 99, 100


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
class Channel(ReadingHalf, WritingHalf):
    """
    @ivar kind: the channel's type, C{direct-tcpip} and so on.
    @ivar description: what it leads to, for messages.
    @ivar local_id: our number of it, once it is being opened.
    """

    _log = Logger()
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
        self._close_received = False
        self._close_sent = False
        self._lost = False
        ReadingHalf.__init__(self)
        WritingHalf.__init__(self)

    # The life of a channel, as the connection tells it

    def confirmed(self, remote_id: int, window: int, packet: int) -> None:
        """The server has opened it."""
        self._remote_id = remote_id
        self._remote_window = window
        self._remote_packet = max(1, min(packet, MAXIMUM_PACKET))
        if self._lost or self.disconnecting:
            self._send_close()

    def attach(self, protocol: Any) -> None:
        """Gives the channel to a protocol; what the server has sent until then is delivered at once."""
        self.protocol = protocol
        self._paused = False
        self._delivering = True
        self._guard(protocol.makeConnection, self)
        self._delivering = False
        self._drain()

    @property
    def usable(self) -> bool:
        """Whether nothing has ended yet."""
        return not (self._lost or self.disconnecting or self._eof_received or self._close_received)

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
            self._connection.send_soon(_CLOSE, uint32(self._remote_id))
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
            self.failed()

    def failed(self) -> None:
        """The exception that is being handled ends this channel alone."""
        failure = Failure()
        self._log.failure("A protocol failed on the channel to {channel}", failure, channel=self.description)
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
