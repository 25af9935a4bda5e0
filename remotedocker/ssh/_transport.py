# -*- test-case-name: tests.ssh.test_transport -*-
"""
The SSH transport layer (RFC 4253), the client's side: Conch's, with its own packets and key exchange.

Strict key exchange (OpenSSH's PROTOCOL, 1.10) keeps packets from being dropped or slipped in before the
encryption begins (CVE-2023-48795).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker.errors import NoCommonAlgorithm, SSHError
from remotedocker.ssh._ciphers import PacketError, make_opener, make_sealer
from remotedocker.ssh._hostkeys import HostKeyPolicy
from remotedocker.ssh._kex import Agreement, KeyExchange, KeyExchangeError, hash_of, start
from remotedocker.ssh._negotiation import (
    EXT_INFO_CLIENT,
    STRICT_CLIENT,
    STRICT_SERVER,
    Negotiated,
    negotiate,
    signed_by,
)
from remotedocker.ssh._packets import PROTOCOL_ERROR, PacketTransport
from remotedocker.ssh._permitted import Permitted
from remotedocker.ssh._wire import Reader, name_list, string

__all__ = ["ClientTransport", "Negotiated", "negotiate"]

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG, _EXT_INFO = 1, 2, 3, 4, 7
_KEXINIT, _NEWKEYS = 20, 21
_KEX_MESSAGES = range(30, 50)
_CHANNEL_DATA = 94

_KEX_FAILED, _HOST_KEY_NOT_VERIFIABLE = 3, 9

#: What may come before the encryption; a strict key exchange does without the second.
_EARLY = (_DISCONNECT, _KEXINIT, _NEWKEYS, *_KEX_MESSAGES)
_EARLY_NOISE = (_IGNORE, _UNIMPLEMENTED, _DEBUG)

_REKEY_SECONDS = 3600.0


class ClientTransport(PacketTransport):
    """
    One connection to an SSH server, as far as the encryption.

    @ivar exchanges: how many key exchanges there were.
    @ivar last_kex: when the current keys were made, by the clock.
    @ivar rekey_seconds: after so many new keys are made (RFC 4253 section 9).
    @ivar negotiated: the algorithms in use.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        destination: str,
        policy: HostKeyPolicy,
        secured: Callable[[], None],
        lost: Callable[[Failure], None],
        permitted: Permitted | None = None,
    ) -> None:
        """
        @param permitted: the algorithms to offer; None: all that are known here.
        @param secured: called once, when the host is who it should be and everything is encrypted.
        @param lost: called once, when the connection has ended.
        """
        super().__init__(clock, destination, lost)
        self._policy = policy
        self._permitted = permitted or Permitted()
        self._secured: Callable[[], None] | None = secured
        self.negotiated: Negotiated | None = None
        self.exchanges = 0
        self.last_kex = clock.seconds()
        self.rekey_seconds = _REKEY_SECONDS
        self._exchange: KeyExchange | None = None
        self._our_kexinit = self._their_kexinit = b""
        self._pending_keys: Callable[[], None] | None = None
        self._strict = False
        self._skip_guess = False

    def sendKexInit(self) -> None:
        """Begins a key exchange, or answers the server's beginning of one."""
        if self._kex_wanted:
            return
        self._our_lists = self._offer()
        body = os.urandom(16) + b"".join(name_list(names) for names in self._our_lists) + b"\0\0\0\0\0"
        self._our_kexinit = bytes((_KEXINIT,)) + body
        # Nothing else may follow it.
        self._send_soon()
        self._kex_wanted = True
        self.send_messages(((self._our_kexinit,),))
        self._update_congestion()

    def _offer(self) -> list[list[bytes]]:
        """@return: the ten lists of names of a C{KEXINIT}."""
        permitted = self._permitted
        exchanges = list(permitted.key_exchanges)
        if self.sessionID is None:
            exchanges += [EXT_INFO_CLIENT, STRICT_CLIENT]
        ciphers, macs, none = list(permitted.ciphers), list(permitted.macs), [b"none"]
        return [exchanges, self._policy.algorithms(), ciphers, ciphers, macs, macs, none, none, [], []]

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
            self._fail(f"message {number} came before the encryption", PROTOCOL_ERROR)
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
            self._fail("a key exchange within a key exchange", PROTOCOL_ERROR)
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
        if self.sessionID is None and STRICT_SERVER in theirs[0]:
            self._strict = True
            if self._in_sequence != 1:
                self._fail("a message came before the key exchange", PROTOCOL_ERROR)
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
            self._fail(f"unexpected message {number}", PROTOCOL_ERROR)
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
        if not signed_by(key, chosen.host_key, agreement.signature, exchange_hash):
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

        self.send_messages(((bytes((_NEWKEYS,)),),))
        self._sealer = make_sealer(
            chosen.cipher_out, chosen.mac_out, derive(b"A"), derive(b"C"), derive(b"E")
        )
        if self._strict:
            self._out_sequence = 0
        self._pending_keys = open_with_new_keys

    def _receive_newkeys(self) -> None:
        """The server uses the new keys from here on."""
        if self._pending_keys is None:
            self._fail("new keys without a key exchange", PROTOCOL_ERROR)
            return
        self._pending_keys()
        self._pending_keys = None
        if self._strict:
            self._in_sequence = 0
        self.negotiated = self._next
        self.exchanges += 1
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

    def limit_keys(self, most_bytes: int, most_seconds: float) -> None:
        """Has new keys made earlier than usual; 0 for no such limit."""
        self.rekey_bytes = min(most_bytes or self.rekey_bytes, self.rekey_bytes)
        self.rekey_seconds = min(most_seconds or self.rekey_seconds, self.rekey_seconds)

    def rekey_if_old(self) -> None:
        """Begins a key exchange when the keys are as old as they may be."""
        age = self._clock.seconds() - self.last_kex
        if self.sessionID and not self._kex_wanted and age > self.rekey_seconds:
            self.sendKexInit()
