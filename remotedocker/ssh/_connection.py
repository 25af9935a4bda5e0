# -*- test-case-name: tests.ssh.test_channel -*-
"""
The SSH connection protocol (RFC 4254), the client's side: channels by their numbers, and whose turn it is to
send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any

from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker.ssh._channel import MAXIMUM_PACKET, Channel
from remotedocker.ssh._channel_reading import INITIAL_WINDOW
from remotedocker.ssh._ciphers import PacketError
from remotedocker.ssh._wire import Reader, TruncatedMessage, string, uint32

__all__ = ["ChannelRefused", "Connection"]

_GLOBAL_REQUEST, _REQUEST_SUCCESS, _REQUEST_FAILURE = 80, 81, 82
_OPEN, _OPEN_CONFIRMATION, _OPEN_FAILURE = 90, 91, 92
_ADJUST, _DATA, _EXTENDED, _EOF, _CLOSE = 93, 94, 95, 96, 97
_CHANNEL_REQUEST, _CHANNEL_SUCCESS, _CHANNEL_FAILURE = 98, 99, 100

_DATA_HEAD = Struct(">BII")
_RECEIVED_DATA_HEAD = Struct(">II")
_DATA_AT = 2 + _RECEIVED_DATA_HEAD.size
_PROHIBITED = 1


class ChannelRefused(Exception):
    """
    The server did not open a channel.

    @ivar code: RFC 4254 section 5.1: 1 prohibited, 2 connect failed, 3 unknown type, 4 resource shortage.
    @ivar words: the server's own.
    """

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Connection(SSHService):
    """
    The service C{ssh-connection}.

    @ivar channels: those that are open, being opened or not yet closed by both sides, by our number.
    @ivar clock: what time is taken from.
    @ivar round_trip: the shortest that was seen, in seconds; 0.0 while none was.
    @ivar started: fires when the server lets us use it, which is when authentication has succeeded.
    """

    name = b"ssh-connection"
    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.round_trip = 0.0
        self.channels: dict[int, Channel] = {}
        self.alive = False
        self.started: Deferred[None] = Deferred()
        self._next_id = 0
        self._opening: dict[int, Deferred[Channel]] = {}
        self._global_replies: deque[Deferred[bool]] = deque()
        self._waiting: dict[Channel, None] = {}
        self._resuming = False

    # Life

    def serviceStarted(self) -> None:
        """Authentication has succeeded."""
        self.alive = True
        self.transport._pass_data = self._receive_data
        self.started.callback(None)

    def serviceStopped(self) -> None:
        """The SSH connection is gone: so are all channels."""
        self.alive = False
        error = getattr(self.transport, "error", None)
        reason = ConnectionLost(f"the SSH connection was lost: {error or 'closed without a reason'}")
        opening, self._opening = self._opening, {}
        channels, self.channels = self.channels, {}
        replies, self._global_replies = self._global_replies, deque()
        self._waiting.clear()
        for channel in channels.values():
            channel.connection_lost(Failure(reason))
        for waiting in (*opening.values(), *replies):
            waiting.errback(Failure(reason))

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Calls C{function} when what is running now is done."""
        self.clock.callLater(0, function, *arguments)

    # Opening

    def open(self, channel: Channel) -> Deferred[Any]:
        """
        Asks for a channel. One that is cancelled is closed as soon as it is open.

        @return: fires with the channel when it is open; fails with L{ChannelRefused} or, when the connection
            is lost, with L{ConnectionLost}.
        """
        if not self.alive:
            lost: Deferred[Any] = Deferred()
            lost.errback(ConnectionLost("there is no SSH connection"))
            return lost
        local_id = self._next_id
        while local_id in self.channels:
            local_id = (local_id + 1) & 0x7FFFFFFF
        self._next_id = (local_id + 1) & 0x7FFFFFFF
        channel.local_id = local_id
        self.channels[local_id] = channel

        def cancelled(_: Deferred[Channel]) -> None:
            self._opening.pop(local_id, None)
            channel.abortConnection()

        opened: Deferred[Channel] = Deferred(cancelled)
        self._opening[local_id] = opened
        numbers = uint32(local_id) + uint32(INITIAL_WINDOW) + uint32(MAXIMUM_PACKET)
        self.send_soon(_OPEN, string(channel.kind) + numbers + channel.open_data)
        return opened

    def forget(self, channel: Channel) -> None:
        """Both sides have closed a channel."""
        self.channels.pop(channel.local_id, None)

    # Sending, in turns

    @property
    def congested(self) -> bool:
        """Whether what is sent would only wait."""
        return self.transport is None or self.transport.congested or not self.alive

    def send(self, number: int, payload: bytes) -> None:
        """Sends a message that is not data."""
        if self.alive:
            self.transport.sendPacket(number, payload)

    def send_soon(self, number: int, payload: bytes) -> None:
        """Sends a message that nobody waits for, together with others."""
        if self.alive:
            self.transport.send_soon(number, payload)

    def send_data(self, remote_id: int, data: bytes | memoryview, packet: int) -> None:
        """
        Sends data; only when not L{congested}.

        @param packet: the most bytes of one message.
        """
        size = len(data)
        if size <= packet:
            self.transport.send_messages(((_DATA_HEAD.pack(_DATA, remote_id, size), data),))
            return
        parts = [data[at : at + packet] for at in range(0, size, packet)]
        self.transport.send_messages([(_DATA_HEAD.pack(_DATA, remote_id, len(part)), part) for part in parts])

    def wants_to_send(self, channel: Channel) -> None:
        """A channel has data left that could not be sent."""
        self._waiting[channel] = None

    def sent_everything(self, channel: Channel) -> None:
        """A channel has nothing left."""
        self._waiting.pop(channel, None)

    def is_waiting(self, channel: Channel) -> bool:
        """@return: whether a channel is waiting for its turn."""
        return channel in self._waiting

    def resume_sending(self) -> None:
        """The socket takes data again: every channel that waits has its turn, one after the other."""
        if self._resuming:
            return
        self._resuming = True
        try:
            able = True
            while able and not self.congested:
                able = False
                for channel in list(self._waiting):
                    if self.congested:
                        break
                    # To the end of the queue, so that the next turn begins with another one.
                    if self._waiting.pop(channel, 0) is None:
                        self._waiting[channel] = None
                        able = channel.send_more() or able
        finally:
            self._resuming = False

    def global_request(self, name: bytes, payload: bytes = b"") -> Deferred[bool]:
        """
        @return: fires with whether the server did it; answers come in the order of the requests. Fails with
            L{ConnectionLost}.
        """
        answered: Deferred[bool] = Deferred()
        if not self.alive:
            answered.errback(ConnectionLost("there is no SSH connection"))
            return answered
        self._global_replies.append(answered)
        self.send(_GLOBAL_REQUEST, string(name) + b"\1" + payload)
        return answered

    def ask_if_alive(self) -> Deferred[float]:
        """
        Asks what every server answers, OpenSSH's with a failure, which is as good.

        @return: fires with the round trip in seconds.
        """
        asked_at = self.clock.seconds()

        def note(_: bool) -> float:
            took = self.clock.seconds() - asked_at
            self.round_trip = min(self.round_trip or took, took)
            return took

        return self.global_request(b"keepalive@openssh.com").addCallback(note)

    # Receiving

    def _receive_data(self, packet: bytes) -> None:
        """C{SSH_MSG_CHANNEL_DATA}, in a packet as it was opened."""
        end = len(packet) - packet[0]
        if end < _DATA_AT:
            raise PacketError("a message of data without the number of its channel")
        local_id, size = _RECEIVED_DATA_HEAD.unpack_from(packet, 2)
        channel = self.channels.get(local_id)
        if channel is None:
            raise PacketError(f"data for the channel {local_id}, which is not open")
        if _DATA_AT + size != end:
            raise PacketError(f"data for the channel {local_id} that is not as long as it says")
        try:
            channel.data_received(packet[_DATA_AT:end])
        except Exception:
            channel.failed()

    def packetReceived(self, number: int, payload: bytes) -> None:
        """
        Any other message. One about a channel that is not there is passed over; what goes wrong in a channel
        is its own affair.
        """
        handler = self._HANDLERS.get(number)
        if handler is None:
            self.transport.sendUnimplemented()
            return
        reader = Reader(payload)
        if number <= _OPEN:
            handler(self, reader)
            return
        channel = self.channels.get(reader.uint32())
        if channel is None:
            return
        try:
            handler(self, channel, reader)
        except TruncatedMessage:
            raise
        except Exception:
            channel.failed()

    def _global_request(self, reader: Reader) -> None:
        """The server asks for something: keepalives want an answer, whatever it is."""
        reader.string()
        if reader.boolean():
            self.send(_REQUEST_FAILURE, b"")

    def _global_success(self, reader: Reader) -> None:
        if self._global_replies:
            self._global_replies.popleft().callback(True)

    def _global_failure(self, reader: Reader) -> None:
        if self._global_replies:
            self._global_replies.popleft().callback(False)

    def _open_request(self, reader: Reader) -> None:
        """The server wants to open a channel: we have asked for none of those that it may."""
        reader.string()
        refused = uint32(reader.uint32()) + uint32(_PROHIBITED) + string(b"not asked for") + string(b"")
        self.send(_OPEN_FAILURE, refused)

    def _open_confirmation(self, channel: Channel, reader: Reader) -> None:
        channel.confirmed(reader.uint32(), reader.uint32(), reader.uint32())
        opened = self._opening.pop(channel.local_id, None)
        if opened is not None:
            opened.callback(channel)

    def _open_failure(self, channel: Channel, reader: Reader) -> None:
        self.forget(channel)
        opened = self._opening.pop(channel.local_id, None)
        if opened is not None:
            opened.errback(ChannelRefused(reader.uint32(), reader.text().strip()))

    def _adjust(self, channel: Channel, reader: Reader) -> None:
        channel.window_adjusted(reader.uint32())

    def _extended(self, channel: Channel, reader: Reader) -> None:
        channel.extended_received(reader.uint32(), reader.string())

    def _eof(self, channel: Channel, reader: Reader) -> None:
        channel.eof_received()

    def _close(self, channel: Channel, reader: Reader) -> None:
        channel.close_received()

    def _request(self, channel: Channel, reader: Reader) -> None:
        name, want_reply = reader.string(), reader.boolean()
        done = channel.request_received(name, reader.rest())
        if want_reply:
            channel.answer(done)

    def _request_success(self, channel: Channel, reader: Reader) -> None:
        channel.request_answered(True)

    def _request_failure(self, channel: Channel, reader: Reader) -> None:
        channel.request_answered(False)

    _HANDLERS: dict[int, Callable[..., None]] = {
        _GLOBAL_REQUEST: _global_request,
        _REQUEST_SUCCESS: _global_success,
        _REQUEST_FAILURE: _global_failure,
        _OPEN: _open_request,
        _OPEN_CONFIRMATION: _open_confirmation,
        _OPEN_FAILURE: _open_failure,
        _ADJUST: _adjust,
        _EXTENDED: _extended,
        _EOF: _eof,
        _CLOSE: _close,
        _CHANNEL_REQUEST: _request,
        _CHANNEL_SUCCESS: _request_success,
        _CHANNEL_FAILURE: _request_failure,
    }
