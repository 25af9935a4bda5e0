# -*- test-case-name: tests.ssh.test_ciphers -*-
"""
SSH's binary packets (RFC 4253 section 6), sealed and opened: AES-GCM (RFC 5647 as OpenSSH uses it), and
AES-CTR with HMAC-SHA2, encrypt-then-MAC (OpenSSH's PROTOCOL, 1.5) or the older way.

One object seals what is sent, another opens what is received, so that each direction changes its keys on its
own. CBC, 3DES, SHA-1 and MD5 are not here on purpose. Padding is zeros: what it would hide from somebody who
reads the plaintext's length is hidden by its encryption, and no cipher here leaks anything about a plaintext
that is partly known (RFC 4253 says that it SHOULD be random, which had to protect CBC).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = [
    "CIPHERS",
    "MACS",
    "CipherSpec",
    "LARGEST_PACKET",
    "MACSpec",
    "Opener",
    "PacketError",
    "PlainOpener",
    "PlainSealer",
    "Sealer",
    "is_aead",
    "make_opener",
    "make_sealer",
]

#: The longest C{packet_length} that is accepted; the largest packet that we offer to receive is well below.
LARGEST_PACKET = 256 * 1024 + 1024

_LENGTH = Struct(">I")
_HEAD = Struct(">IB")
_SEQUENCE = Struct(">I")
_COUNTER = Struct(">Q")
_ZEROS = bytes(64)
_TAG = 16
_BLOCK = 16


#: A message in pieces.
Payload = Sequence[bytes | memoryview]


class PacketError(Exception):
    """A packet that was changed on its way, or is none at all: the connection cannot go on."""


class Sealer(TypingProtocol):
    """Makes packets."""

    def seal(self, sequence: int, length: int, payload: Payload) -> tuple[bytes, ...]:
        """
        @param sequence: the packet's number.
        @param length: of the payload, in bytes.
        @param payload: the message in pieces, its number first.
        @return: what goes over the wire, in pieces.
        """


class Opener(TypingProtocol):
    """
    Reads packets.

    @ivar header: how many bytes L{size} needs.
    """

    header: int

    def size(self, head: memoryview) -> int:
        """
        Called once for each packet.

        @return: how many bytes the whole packet has, those in C{head} too.
        @raise PacketError: the length makes no sense.
        """

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        @return: the packet without its length and tag: the length of the padding (one byte), payload,
            padding.
        @raise PacketError: it is not authentic.
        """


@frozen
class CipherSpec:
    """
    @ivar key: bytes.
    @ivar aead: whether it needs no MAC beside it.
    """

    key: int
    aead: bool


@frozen
class MACSpec:
    """
    @ivar digest: of L{hashlib}.
    @ivar size: bytes, of the key and of the MAC.
    @ivar etm: whether what is encrypted is authenticated, and not what is readable.
    """

    digest: Callable[[], Any]
    size: int
    etm: bool


#: In the order of preference.
CIPHERS = {
    b"aes128-gcm@openssh.com": CipherSpec(16, True),
    b"aes256-gcm@openssh.com": CipherSpec(32, True),
    b"aes128-ctr": CipherSpec(16, False),
    b"aes192-ctr": CipherSpec(24, False),
    b"aes256-ctr": CipherSpec(32, False),
}
MACS = {
    b"hmac-sha2-256-etm@openssh.com": MACSpec(hashlib.sha256, 32, True),
    b"hmac-sha2-512-etm@openssh.com": MACSpec(hashlib.sha512, 64, True),
    b"hmac-sha2-256": MACSpec(hashlib.sha256, 32, False),
    b"hmac-sha2-512": MACSpec(hashlib.sha512, 64, False),
}


def is_aead(cipher: bytes) -> bool:
    """@return: whether a cipher authenticates too, so that the MAC that was agreed upon is not used."""
    return CIPHERS[cipher].aead


def make_sealer(cipher: bytes, mac: bytes, iv: bytes, key: bytes, integrity: bytes) -> Sealer:
    """@return: a sealer for the names that were agreed upon; the keys may be longer than needed."""
    spec = CIPHERS[cipher]
    if spec.aead:
        return _GCMSealer(key[: spec.key], iv)
    return (_EtMSealer if MACS[mac].etm else _CTRSealer)(key[: spec.key], iv, MACS[mac], integrity)


def make_opener(cipher: bytes, mac: bytes, iv: bytes, key: bytes, integrity: bytes) -> Opener:
    """@return: an opener for the names that were agreed upon; the keys may be longer than needed."""
    spec = CIPHERS[cipher]
    if spec.aead:
        return _GCMOpener(key[: spec.key], iv)
    return (_EtMOpener if MACS[mac].etm else _CTROpener)(key[: spec.key], iv, MACS[mac], integrity)


def _padding(length: int, block: int) -> int:
    """@return: how much padding (at least 4 bytes) makes C{length} bytes a multiple of C{block}."""
    padding = block - length % block
    return padding + block if padding < 4 else padding


def _checked(length: int, block: int, excess: int) -> int:
    """@return: C{packet_length}, if it can be one; C{excess} bytes more must be whole blocks."""
    if not 8 <= length <= LARGEST_PACKET or (length + excess) % block:
        raise PacketError(f"bad packet length {length}")
    return length


class PlainSealer:
    """Packets before any keys are agreed upon."""

    def seal(self, sequence: int, length: int, payload: Payload) -> tuple[bytes, ...]:
        """See L{Sealer.seal}."""
        padding = _padding(5 + length, 8)
        return (_HEAD.pack(1 + length + padding, padding), *payload, _ZEROS[:padding])


class PlainOpener:
    """Packets before any keys are agreed upon."""

    header = 4

    def size(self, head: memoryview) -> int:
        """See L{Opener.size}."""
        return 4 + _checked(_LENGTH.unpack(head)[0], 1, 0)

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """See L{Opener.open}."""
        return bytes(packet[4:])


#: The size of the padding, in one byte, and the padding, by the lowest bits of the payload's length.
_GCM_PADDINGS = [
    (bytes((size,)), bytes(size)) for size in (_padding(1 + length, _BLOCK) for length in range(_BLOCK))
]


class _GCMSealer:
    """AES-GCM: the length is readable and authenticated, the rest is encrypted."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._encrypt = AESGCM(key).encrypt
        self._nonce = bytearray(iv[:12])
        self._counter = _COUNTER.unpack(iv[4:12])[0]

    def seal(self, sequence: int, length: int, payload: Payload) -> tuple[bytes, ...]:
        """See L{Sealer.seal}."""
        size, padding = _GCM_PADDINGS[length & 15]
        head = _LENGTH.pack(1 + length + len(padding))
        _COUNTER.pack_into(self._nonce, 4, self._counter)
        self._counter = (self._counter + 1) & 0xFFFFFFFFFFFFFFFF
        return head, self._encrypt(self._nonce, b"".join((size, *payload, padding)), head)


class _GCMOpener:
    """The other direction of L{_GCMSealer}."""

    header = 4

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._decrypt = AESGCM(key).decrypt
        self._nonce = bytearray(iv[:12])
        self._counter = _COUNTER.unpack(iv[4:12])[0]

    def size(self, head: memoryview) -> int:
        """See L{Opener.size}."""
        return 4 + _checked(_LENGTH.unpack(head)[0], _BLOCK, 0) + _TAG

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """See L{Opener.open}."""
        _COUNTER.pack_into(self._nonce, 4, self._counter)
        self._counter = (self._counter + 1) & 0xFFFFFFFFFFFFFFFF
        try:
            return self._decrypt(self._nonce, packet[4:], packet[:4])
        except InvalidTag:
            raise PacketError("a packet is not authentic") from None


class _MACed:
    """What the directions of AES-CTR with HMAC share."""

    def __init__(self, key: bytes, iv: bytes, mac: MACSpec, integrity: bytes) -> None:
        cipher = Cipher(algorithms.AES(key), modes.CTR(iv[:_BLOCK]))
        self._encrypt = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update
        self._keyed = hmac.new(integrity[: mac.size], digestmod=mac.digest)
        self._mac_size = mac.size

    def _mac(self, sequence: int, *parts: bytes | memoryview) -> bytes:
        """@return: the MAC of a packet."""
        keyed = self._keyed.copy()
        keyed.update(_SEQUENCE.pack(sequence))
        for part in parts:
            keyed.update(part)
        return keyed.digest()


class _CTRSealer(_MACed):
    """The MAC is of the readable packet; its length is encrypted too."""

    def seal(self, sequence: int, length: int, payload: Payload) -> tuple[bytes, ...]:
        """See L{Sealer.seal}."""
        padding = _padding(5 + length, _BLOCK)
        packet = b"".join((_HEAD.pack(1 + length + padding, padding), *payload, _ZEROS[:padding]))
        return self._encrypt(packet), self._mac(sequence, packet)


class _CTROpener(_MACed):
    """The other direction of L{_CTRSealer}."""

    header = _BLOCK
    _first = b""

    def size(self, head: memoryview) -> int:
        """See L{Opener.size}."""
        self._first = self._decrypt(head)
        return 4 + _checked(_LENGTH.unpack_from(self._first)[0], _BLOCK, 4) + self._mac_size

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """See L{Opener.open}."""
        end = len(packet) - self._mac_size
        readable = self._first + self._decrypt(packet[_BLOCK:end])
        if not hmac.compare_digest(self._mac(sequence, readable), packet[end:]):
            raise PacketError("a packet is not authentic")
        return readable[4:]


class _EtMSealer(_MACed):
    """The MAC is of the encrypted packet; its length is readable."""

    def seal(self, sequence: int, length: int, payload: Payload) -> tuple[bytes, ...]:
        """See L{Sealer.seal}."""
        length += 1
        padding = _padding(length, _BLOCK)
        head = _LENGTH.pack(length + padding)
        encrypted = self._encrypt(b"".join((bytes((padding,)), *payload, _ZEROS[:padding])))
        return head, encrypted, self._mac(sequence, head, encrypted)


class _EtMOpener(_MACed):
    """The other direction of L{_EtMSealer}."""

    header = 4

    def size(self, head: memoryview) -> int:
        """See L{Opener.size}."""
        return 4 + _checked(_LENGTH.unpack(head)[0], _BLOCK, 0) + self._mac_size

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """See L{Opener.open}."""
        end = len(packet) - self._mac_size
        if not hmac.compare_digest(self._mac(sequence, packet[:end]), packet[end:]):
            raise PacketError("a packet is not authentic")
        return self._decrypt(packet[4:end])
