# -*- test-case-name: tests.ssh.test_transport -*-
"""
The SSH transport layer (RFC 4253), the client's side: Conch's, with its own packets and key exchange.

Parsing is linear: what is received is looked at in place, and only a packet that is cut by the end of a read
is copied. Strict key exchange (OpenSSH's PROTOCOL, 1.10) keeps packets from being dropped or slipped in
before the encryption begins (CVE-2023-48795).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import error as StructError

from attrs import frozen
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import NoCommonAlgorithm, SSHError
from remotedocker.ssh._certificates import plain_type
from remotedocker.ssh._ciphers import (
    CIPHERS,
    MACS,
    PacketError,
    PlainOpener,
    PlainSealer,
    is_aead,
    make_opener,
    make_sealer,
)
from remotedocker.ssh._hostkeys import HostKeyPolicy
from remotedocker.ssh._kex import KEY_EXCHANGES, Agreement, KeyExchange, KeyExchangeError, hash_of, start
from remotedocker.ssh._socket import fast_socket
from remotedocker.ssh._wire import Reader, TruncatedMessage, name_list, string, uint32

__all__ = ["ClientTransport", "Negotiated", "negotiate"]

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG, _EXT_INFO = 1, 2, 3, 4, 7
_KEXINIT, _NEWKEYS = 20, 21
_KEX_MESSAGES = range(30, 50)
_CHANNEL_DATA = 94

_PROTOCOL_ERROR, _KEX_FAILED, _HOST_KEY_NOT_VERIFIABLE, _BY_APPLICATION = 2, 3, 9, 11

_STRICT_CLIENT, _STRICT_SERVER = b"kex-strict-c-v00@openssh.com", b"kex-strict-s-v00@openssh.com"
_EXT_INFO_CLIENT = b"ext-info-c"
#: Stand among the key exchanges, but are none.
_MARKERS = (_STRICT_CLIENT, _EXT_INFO_CLIENT)
#: What may come before the encryption; a strict key exchange does without the second.
_EARLY = (_DISCONNECT, _KEXINIT, _NEWKEYS, *_KEX_MESSAGES)
_EARLY_NOISE = (_IGNORE, _UNIMPLEMENTED, _DEBUG)

_LONGEST_GREETING = 8192
#: So many bytes are sealed at most before they are given to the socket.
_MOST_CORKED = 128 << 10
#: Bytes, both ways together, after which new keys are made (RFC 4253 section 9), and seconds.
_REKEY_BYTES = 1 << 30
_REKEY_SECONDS = 3600.0


@frozen
class Negotiated:
    """The algorithms of one key exchange; out is from us to the server."""

    kex: bytes
    host_key: bytes
    cipher_out: bytes
    cipher_in: bytes
    mac_out: bytes
    mac_in: bytes

    def __str__(self) -> str:
        names = (self.kex, self.host_key, self.cipher_out, self.mac_out)
        return ", ".join(name.decode("ascii") for name in names if name)


def negotiate(ours: list[list[bytes]], theirs: list[list[bytes]], destination: str) -> Negotiated:
    """
    RFC 4253 section 7.1: the first of ours that the server has too.

    @param ours: eight lists of names, in the order of a C{KEXINIT}; those of MACs matter only beside a cipher
        that needs one.
    @raise NoCommonAlgorithm: there is none.
    """
    words = (
        "key exchange",
        "host key algorithm",
        "cipher",
        "cipher",
        "message authentication code",
        "message authentication code",
        "compression",
        "compression",
    )
    chosen: list[bytes] = []
    for index, what in enumerate(words):
        if index in (4, 5) and is_aead(chosen[index - 2]):
            chosen.append(b"")
            continue
        offered = [name for name in ours[index] if name not in _MARKERS]
        common = next((name for name in offered if name in theirs[index]), None)
        if common is None:
            raise NoCommonAlgorithm(
                destination=destination,
                what=what,
                theirs=b", ".join(theirs[index]).decode("ascii", "replace"),
                ours=b", ".join(offered).decode(),
            )
        chosen.append(common)
    return Negotiated(*chosen[:6])


@implementer(IPushProducer)
class ClientTransport(SSHClientTransport):
    """
    One connection to an SSH server, as far as the encryption.

    @ivar error: why the connection ended, if it was our decision or the server said so.
    @ivar last_received: when the server was last heard of, by the clock.
    @ivar last_kex: when the current keys were made, by the clock.
    @ivar negotiated: the algorithms in use.
    @ivar congested: whether what is sent would only wait, in the socket's buffer or for new keys.
    """

    _log = Logger()
    ourVersionString = b"SSH-2.0-remotedocker"

    def __init__(
        self,
        clock: IReactorTime,
        destination: str,
        policy: HostKeyPolicy,
        secured: Callable[[], None],
        lost: Callable[[Failure], None],
    ) -> None:
        """
        @param secured: called once, when the host is who it should be and everything is encrypted.
        @param lost: called once, when the connection has ended.
        """
        self._clock = clock
        self._destination = destination
        self._policy = policy
        self._secured: Callable[[], None] | None = secured
        self._lost = lost
        self.error: Exception | None = None
        self.negotiated: Negotiated | None = None
        self.last_received = self.last_kex = clock.seconds()
        self.rekey_bytes = _REKEY_BYTES
        self.congested = False
        self._socket_full = False
        self._ended = False
        self._greeting: bytes | None = b""
        self._greeting_bytes = 0
        self._rest = bytearray()
        self._corked: list[bytes] | None = None
        self._corked_bytes = 0
        self._needed = 0
        self._size = 0
        self._sealer = PlainSealer()
        self._opener = PlainOpener()
        self._out_sequence = self._in_sequence = 0
        self._bytes_since_kex = 0
        self._kex_wanted = False
        self._exchange: KeyExchange | None = None
        self._our_kexinit = self._their_kexinit = b""
        self._pending_keys: Callable[[], None] | None = None
        self._held_back: list[tuple[int, bytes]] = []
        self._strict = False
        self._skip_guess = False
        self.sessionID = None

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
        self.send_payload(bytes((messageType,)) + payload)

    def send_payload(self, *payload: bytes | memoryview) -> None:
        """Sends a message that may go now (see L{congested}), in pieces, its number first."""
        if self._ended:
            return
        length = sum(map(len, payload))
        pieces = self._sealer.seal(self._out_sequence, length, payload)
        self._out_sequence = (self._out_sequence + 1) & 0xFFFFFFFF
        self._bytes_since_kex += length
        if self._corked is None:
            self.transport.writeSequence(pieces)
        else:
            self._corked += pieces
            self._corked_bytes += length
            if self._corked_bytes >= _MOST_CORKED:
                self.uncork()
                self._corked = []
        if self._bytes_since_kex > self.rekey_bytes and not self._kex_wanted and self.sessionID:
            self.sendKexInit()

    def cork(self) -> None:
        """What is sent from now on goes to the socket in one piece, until L{uncork}."""
        if self._corked is None:
            self._corked = []

    def uncork(self) -> None:
        """Sends what was held since L{cork}."""
        corked, self._corked = self._corked, None
        self._corked_bytes = 0
        if corked and not self._ended:
            self.transport.writeSequence(corked)

    def sendKexInit(self) -> None:
        """Begins a key exchange, or answers the server's beginning of one."""
        if self._kex_wanted:
            return
        self._our_lists = self._offer()
        body = os.urandom(16) + b"".join(name_list(names) for names in self._our_lists) + b"\0\0\0\0\0"
        self._our_kexinit = bytes((_KEXINIT,)) + body
        self._kex_wanted = True
        self.send_payload(self._our_kexinit)
        self._update_congestion()

    def _offer(self) -> list[list[bytes]]:
        """@return: the ten lists of names of a C{KEXINIT}."""
        exchanges = list(KEY_EXCHANGES)
        if self.sessionID is None:
            exchanges += [_EXT_INFO_CLIENT, _STRICT_CLIENT]
        ciphers, macs, none = list(CIPHERS), list(MACS), [b"none"]
        return [exchanges, self._policy.algorithms(), ciphers, ciphers, macs, macs, none, none, [], []]

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
            self._fail(str(error), _PROTOCOL_ERROR)
        except TruncatedMessage as error:
            self._fail(f"a message makes no sense ({error})", _PROTOCOL_ERROR)
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
                    self._fail(f"it speaks {line[:40].decode('ascii', 'replace')}", _PROTOCOL_ERROR)
                return at - before
            words = line[:200].decode("utf-8", "replace").strip()
            if words and self.error is None:
                reason = f"instead of SSH it says {words!r}"
                self.error = SSHError(destination=self._destination, reason=reason)
        self._greeting = received[at:]
        self._greeting_bytes += at
        if self._greeting_bytes + len(self._greeting) > _LONGEST_GREETING:
            self._fail("what answers there is no SSH server", _PROTOCOL_ERROR)
        return len(view)

    def _perform(self, packet: bytes) -> None:
        """One message."""
        number = packet[1]
        if number == _CHANNEL_DATA and self._pass_data is not None:
            self._pass_data(packet)
            return
        if packet[0] > len(packet) - 2:
            raise PacketError("a packet with more padding than bytes")
        payload = packet[2 : len(packet) - packet[0]]
        if self.negotiated is None and number not in _EARLY and (self._strict or number not in _EARLY_NOISE):
            self._fail(f"message {number} came before the encryption", _PROTOCOL_ERROR)
            return
        if number >= 50:
            if self.service is not None:
                self.service.packetReceived(number, payload)
        elif number == _KEXINIT:
            self._receive_kexinit(payload)
        elif number == _NEWKEYS:
            self._receive_newkeys()
        elif number in _KEX_MESSAGES:
            self._receive_kex(number, payload)
        else:
            self._receive_transport_message(number, payload)

    _pass_data: Callable[[bytes], None] | None = None

    def _receive_transport_message(self, number: int, payload: bytes) -> None:
        """What is not about keys (RFC 4253 section 11, RFC 8308)."""
        if number == _DISCONNECT:
            reader = Reader(payload)
            reader.uint32()
            self._server_ended(reader.text())
        elif number == _EXT_INFO:
            self.ssh_EXT_INFO(payload)
        elif number == 6:
            self.ssh_SERVICE_ACCEPT(payload)
        elif number == _UNIMPLEMENTED:
            self._log.debug("The server does not know a message that was sent.")
        elif number not in (_IGNORE, _DEBUG):
            self.sendUnimplemented()

    def _server_ended(self, words: str) -> None:
        """The server said why it ends the connection."""
        if self.error is None:
            self.error = SSHError(
                destination=self._destination, reason=f"the server ended the connection: {words}"
            )
        self._end()

    # Key exchange

    def _receive_kexinit(self, payload: bytes) -> None:
        """The server begins a key exchange, or answers ours."""
        if self._exchange is not None or self._pending_keys is not None:
            self._fail("a key exchange within a key exchange", _PROTOCOL_ERROR)
            return
        self.sendKexInit()
        self._their_kexinit = bytes((_KEXINIT,)) + payload
        reader = Reader(payload)
        reader.take(16)
        theirs = [reader.names() for _ in range(10)]
        guessed = reader.boolean()
        try:
            self._next = negotiate(self._our_lists, theirs, self._destination)
        except NoCommonAlgorithm as error:
            self._fail(error, _KEX_FAILED)
            return
        if self.sessionID is None and _STRICT_SERVER in theirs[0]:
            self._strict = True
            if self._in_sequence != 1:
                self._fail("a message came before the key exchange", _PROTOCOL_ERROR)
                return
        right = theirs[0][:1] == [self._next.kex] and theirs[1][:1] == [self._next.host_key]
        self._skip_guess = guessed and not right
        self._exchange = start(self._next.kex)
        self.sendPacket(*self._exchange.begin())

    def _receive_kex(self, number: int, payload: bytes) -> None:
        """A message of the key exchange itself."""
        if self._skip_guess:
            self._skip_guess = False
            return
        if self._exchange is None:
            self._fail(f"unexpected message {number}", _PROTOCOL_ERROR)
            return
        try:
            step = self._exchange.proceed(number, payload)
        except KeyExchangeError as error:
            self._fail(f"the key exchange failed: {error}", _KEX_FAILED)
            return
        if isinstance(step, Agreement):
            self._agree(step)
        else:
            self.sendPacket(*step)

    def _agree(self, agreement: Agreement) -> None:
        """Checks who the server is, and uses the new keys for what is sent from here on."""
        self._exchange = None
        chosen = self._next
        digest = hash_of(chosen.kex)
        parts = (self.ourVersionString, self.otherVersionString, self._our_kexinit, self._their_kexinit)
        exchange_hash = digest(
            b"".join(map(string, (*parts, agreement.host_key))) + agreement.transcript + agreement.secret
        ).digest()
        try:
            key = self._policy.check(agreement.host_key)
        except SSHError as error:
            self._fail(error, _HOST_KEY_NOT_VERIFIABLE)
            return
        if not _signed_by(key, chosen.host_key, agreement.signature, exchange_hash):
            self._fail("the host's signature is wrong", _KEX_FAILED)
            return
        if self.sessionID is None:
            self.sessionID = exchange_hash

        def derive(letter: bytes) -> bytes:
            made = digest(agreement.secret + exchange_hash + letter + self.sessionID).digest()
            while len(made) < 64:
                made += digest(agreement.secret + exchange_hash + made).digest()
            return made

        def open_with_new_keys() -> None:
            self._opener = make_opener(
                chosen.cipher_in, chosen.mac_in, derive(b"B"), derive(b"D"), derive(b"F")
            )

        self.send_payload(bytes((_NEWKEYS,)))
        self._sealer = make_sealer(
            chosen.cipher_out, chosen.mac_out, derive(b"A"), derive(b"C"), derive(b"E")
        )
        if self._strict:
            self._out_sequence = 0
        self._pending_keys = open_with_new_keys

    def _receive_newkeys(self) -> None:
        """The server uses the new keys from here on."""
        if self._pending_keys is None:
            self._fail("new keys without a key exchange", _PROTOCOL_ERROR)
            return
        self._pending_keys()
        self._pending_keys = None
        if self._strict:
            self._in_sequence = 0
        self.negotiated = self._next
        self._bytes_since_kex = 0
        self.last_kex = self._clock.seconds()
        self._kex_wanted = False
        held_back, self._held_back = self._held_back, []
        for number, payload in held_back:
            self.sendPacket(number, payload)
        secured, self._secured = self._secured, None
        if secured is not None:
            secured()
        self._update_congestion()

    def rekey_if_old(self) -> None:
        """Begins a key exchange when the keys are an hour old."""
        if self.sessionID and not self._kex_wanted and self._clock.seconds() - self.last_kex > _REKEY_SECONDS:
            self.sendKexInit()

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
            self.send_payload(bytes((_DISCONNECT,)) + uint32(code) + string(words.encode()) + string(b""))
            self._end()

    def _end(self) -> None:
        """Closes the connection once everything is sent."""
        self.uncork()
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
        service, self.service = self.service, None
        self._pass_data = None
        if service is not None:
            service.serviceStopped()
        self._lost(reason)


def _signed_by(key: bytes, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    """@return: whether C{signature} is of C{data}, by C{key} and the algorithm that was agreed upon."""
    algorithm = plain_type(algorithm)
    try:
        if Reader(signature).string() != algorithm:
            return False
        expected = b"ssh-rsa" if algorithm.startswith(b"rsa-sha2") else algorithm
        if Reader(key).string() != expected:
            return False
        return bool(Key.fromString(key, type="blob").verify(signature, data))
    except (BadKeyError, ValueError, TruncatedMessage, StructError):
        return False
