# -*- test-case-name: tests.ssh.test_transport -*-
"""
The packets of an SSH transport, as they come from the socket and go to it; what they mean is L{_transport}'s.

Parsing is linear: what is received is looked at in place, and only a packet that is cut by the end of a read
is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import SSHError
from remotedocker.ssh._ciphers import Opener, PacketError, Payload, PlainOpener, PlainSealer, Sealer
from remotedocker.ssh._socket import fast_socket
from remotedocker.ssh._wire import TruncatedMessage, string, uint32

__all__ = ["PROTOCOL_ERROR", "PacketTransport"]

_DISCONNECT, _UNIMPLEMENTED, _KEXINIT = 1, 3, 20
PROTOCOL_ERROR, _BY_APPLICATION = 2, 11

_LONGEST_GREETING = 8192
#: What OpenSSH's server says to those whom it does not let in, and what is behind it.
_HINTS = {
    "Exceeded MaxStartups": ": too many logins are being made there (MaxStartups in its sshd_config)",
    "Not allowed at this time": ": after failed logins it refuses this address for a while "
    "(PerSourcePenalties in its sshd_config)",
}
#: Bytes, both ways together, after which new keys are made (RFC 4253 section 9).
_REKEY_BYTES = 1 << 30


@implementer(IPushProducer)
class PacketTransport(SSHClientTransport):
    """
    What is below the messages. A subclass performs them, and exchanges keys.

    @ivar error: why the connection ended, if it was our decision or the server said so.
    @ivar last_received: when the server was last heard of, by the clock.
    @ivar rekey_bytes: after so many bytes new keys are made.
    @ivar congested: whether what is sent would only wait, in the socket's buffer or for new keys.
    """

    ourVersionString = b"SSH-2.0-remotedocker"

    def __init__(self, clock: IReactorTime, destination: str, lost: Callable[[Failure], None]) -> None:
        """
        @param lost: called once, when the connection has ended.
        """
        self._clock = clock
        self._destination = destination
        self._lost = lost
        self.error: Exception | None = None
        self.last_received = clock.seconds()
        self.rekey_bytes = _REKEY_BYTES
        self.congested = False
        self.sessionID = None
        self._socket_full = False
        self._ended = False
        self._greeting: bytes | None = b""
        self._greeting_bytes = 0
        self._rest = bytearray()
        self._soon: list[bytes] = []
        self._needed = 0
        self._size = 0
        self._sealer: Sealer = PlainSealer()
        self._opener: Opener = PlainOpener()
        self._out_sequence = self._in_sequence = 0
        self._bytes_since_kex = 0
        self._kex_wanted = False
        self._held_back: list[tuple[int, bytes]] = []

    def _perform(self, packet: bytes) -> None:
        """One message, as L{Opener.open} gives it."""
        raise NotImplementedError

    # What goes out

    def connectionMade(self) -> None:
        """Greets the server, and begins the key exchange in the same flight."""
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
        self.transport = fast_socket(self.transport, self.take) or self.transport
        self.transport.registerProducer(self, True)
        self.transport.write(self.ourVersionString + b"\r\n")
        self.sendKexInit()

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Sends a message; while keys are being exchanged, what is not a part of that is held back."""
        if self._kex_wanted and not (messageType <= 4 or _KEXINIT <= messageType < 50):
            self._held_back.append((messageType, payload))
            return
        self.send_messages(((bytes((messageType,)), payload),))

    def send_soon(self, messageType: int, payload: bytes) -> None:
        """
        Sends a message that nobody waits for: before the next one and together with it, or by itself when
        what is running now is done. What goes out in one piece costs the server, and us, one call.
        """
        if self._kex_wanted:
            self.sendPacket(messageType, payload)
            return
        if not self._soon:
            self._clock.callLater(0, self._send_soon)
        self._soon.append(bytes((messageType,)) + payload)

    def _send_soon(self) -> None:
        """Sends what L{send_soon} was given, unless it went out already."""
        if self._soon:
            self.send_messages(())

    def send_messages(self, messages: Sequence[Payload]) -> None:
        """
        Sends messages that may go now (see L{congested}), in one piece and together with what waits since
        L{send_soon}.

        @param messages: each in pieces, its number first.
        """
        if self._ended:
            return
        if self._soon:
            soon, self._soon = self._soon, []
            messages = [*((message,) for message in soon), *messages]
        sealed: list[bytes] = []
        for message in messages:
            length = sum(map(len, message))
            sealed += self._sealer.seal(self._out_sequence, length, message)
            self._out_sequence = (self._out_sequence + 1) & 0xFFFFFFFF
            self._bytes_since_kex += length
        self.transport.writeSequence(sealed)
        if self._bytes_since_kex > self.rekey_bytes and not self._kex_wanted and self.sessionID:
            self.sendKexInit()

    def sendUnimplemented(self) -> None:
        """Says that the packet received last was not understood."""
        self.sendPacket(_UNIMPLEMENTED, uint32((self._in_sequence - 1) & 0xFFFFFFFF))

    # What comes in

    def dataReceived(self, data: bytes) -> None:
        """Takes what a transport received that is no socket; what is left of a packet waits for the rest."""
        rest = self._rest
        if not rest:
            taken = self.take(memoryview(data))
            rest += data[taken:]
            return
        rest += data
        if len(rest) >= self._needed:
            with memoryview(rest) as view:
                taken = self.take(view)
            del rest[:taken]

    def take(self, view: memoryview) -> int:
        """
        Performs each packet that is whole.

        @param view: what was received, valid during this call only.
        @return: how many bytes of it were taken; the rest is wanted again, with what follows.
        """
        try:
            taken = 0 if self._greeting is None else self._read_greeting(view)
            if self._greeting is None:
                self.last_received = self._clock.seconds()
            return self._split(view, taken)
        except PacketError as error:
            self._fail(str(error), PROTOCOL_ERROR)
        except TruncatedMessage as error:
            self._fail(f"a message makes no sense ({error})", PROTOCOL_ERROR)
        return len(view)

    def _split(self, view: memoryview, at: int) -> int:
        """@return: where the first packet begins that is not whole."""
        end = len(view)
        while not self._ended and self._greeting is None:
            opener = self._opener
            size = self._size
            if not size:
                if end - at < opener.header:
                    self._needed = opener.header
                    return at
                self._size = size = opener.size(view[at : at + opener.header])
            if end - at < size:
                self._needed = size
                return at
            packet = opener.open(self._in_sequence, view[at : at + size])
            at += size
            self._size = 0
            self._bytes_since_kex += size
            self._in_sequence = (self._in_sequence + 1) & 0xFFFFFFFF
            self._perform(packet)
        return end

    def _read_greeting(self, view: memoryview) -> int:
        """
        @return: where what follows the server's line C{SSH-2.0-…} begins; the end while that has not come.
        """
        before = len(self._greeting)
        received = self._greeting + bytes(view)
        at = 0
        while True:
            end = received.find(b"\n", at)
            if end < 0:
                break
            line, at = received[at:end], end + 1
            if line.startswith(b"SSH-"):
                self.otherVersionString = line.rstrip(b"\r")
                self._greeting = self.error = None
                if self.otherVersionString.split(b"-")[1] not in (b"2.0", b"1.99"):
                    self._fail(f"it speaks {line[:40].decode('ascii', 'replace')}", PROTOCOL_ERROR)
                return at - before
            words = line[:200].decode("utf-8", "replace").strip()
            if words and self.error is None:
                reason = f"instead of SSH it says {words!r}{_HINTS.get(words, '')}"
                self.error = SSHError(destination=self._destination, reason=reason)
        self._greeting = received[at:]
        self._greeting_bytes += at
        if self._greeting_bytes + len(self._greeting) > _LONGEST_GREETING:
            self._fail("what answers there is no SSH server", PROTOCOL_ERROR)
        return len(view)

    # Flow control: the socket tells when its buffer is full

    def pauseProducing(self) -> None:
        """The socket has enough to send."""
        self._socket_full = True
        self._update_congestion()

    def resumeProducing(self) -> None:
        """The socket has sent everything."""
        self._socket_full = False
        self._update_congestion()

    def stopProducing(self) -> None:
        """The socket is gone; L{connectionLost} follows."""

    def _update_congestion(self) -> None:
        """Lets the channels send again when they may."""
        was, self.congested = self.congested, self._socket_full or self._kex_wanted
        if was and not self.congested:
            resume = getattr(self.service, "resume_sending", None)
            if resume is not None:
                resume()

    # The end

    def _fail(self, reason: Exception | str, code: int) -> None:
        """Ends the connection for C{reason}."""
        self.error = (
            reason
            if isinstance(reason, Exception)
            else SSHError(destination=self._destination, reason=f"{reason}; the connection was ended")
        )
        # The words of an error name files of ours, which are no business of a server's.
        self.disconnect(code, reason if isinstance(reason, str) else "")

    def disconnect(self, code: int = _BY_APPLICATION, words: str = "") -> None:
        """Says goodbye, and closes the connection once that is sent."""
        if not self._ended:
            farewell = uint32(code) + string(words.encode()) + string(b"")
            self.send_messages(((bytes((_DISCONNECT,)), farewell),))
            self._end()

    def _end(self) -> None:
        """Closes the connection once everything is sent."""
        self._ended = True
        self.transport.loseConnection()

    def abort(self, error: Exception) -> None:
        """Closes the connection at once, for nothing more can be sent."""
        if self.error is None:
            self.error = error
        self._ended = True
        if self.transport is not None:
            self.transport.abortConnection()

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Conch's own way to end the connection."""
        self._fail(desc.decode("utf-8", "replace"), reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has ended."""
        self._ended = True
        release = getattr(self.transport, "release", None)
        if release is not None:
            release()
        service, self.service = self.service, None
        self._pass_data = None
        if service is not None:
            service.serviceStopped()
        self._lost(reason)
