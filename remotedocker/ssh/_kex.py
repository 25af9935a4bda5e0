# -*- test-case-name: tests.ssh.test_kex -*-
"""
Key exchanges, the client's side: what is sent first, what is answered, and what both know at the end.

The hybrid with ML-KEM (draft-ietf-sshm-mlkem-hybrid-kex), Curve25519 (RFC 8731), NIST's curves (RFC 5656),
and Diffie-Hellman with SHA-2 (RFC 8268, RFC 4419). What hashes with SHA-1, and group 1, is not offered.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from functools import cache
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remotedocker.ssh._wire import Reader, mpint, string, uint32

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
except ImportError:
    MLKEM768PrivateKey = None

__all__ = ["KEY_EXCHANGES", "Agreement", "KeyExchange", "KeyExchangeError", "hash_of", "start"]

_INIT, _REPLY = 30, 31
_GEX_GROUP, _GEX_INIT, _GEX_REPLY, _GEX_REQUEST = 31, 32, 33, 34


class KeyExchangeError(Exception):
    """The server's part of the key exchange cannot be right."""


@frozen
class Agreement:
    """
    What the key exchange gave.

    @ivar host_key: the host's public key (or certificate) as it was sent.
    @ivar signature: of the exchange hash, by that key.
    @ivar transcript: what the exchange hash covers between the host key and the secret.
    @ivar secret: the shared secret, as it is hashed.
    """

    host_key: bytes
    signature: bytes
    transcript: bytes
    secret: bytes


class KeyExchange(TypingProtocol):
    """One run of a key exchange."""

    def begin(self) -> tuple[int, bytes]:
        """@return: the first message's number and payload."""

    def proceed(self, number: int, payload: bytes) -> tuple[int, bytes] | Agreement:
        """
        @return: the next message to send, or what was agreed upon.
        @raise KeyExchangeError: the server's message makes no sense.
        """


class _OneReply:
    """The exchanges of one message each way: strings for both sides' public parts."""

    def __init__(self) -> None:
        self._public = self.make_public()

    def make_public(self) -> bytes:
        """@return: our part."""
        raise NotImplementedError

    def make_secret(self, theirs: bytes) -> bytes:
        """@return: the shared secret, as it is hashed."""
        raise NotImplementedError

    def begin(self) -> tuple[int, bytes]:
        """See L{KeyExchange.begin}."""
        return _INIT, string(self._public)

    def proceed(self, number: int, payload: bytes) -> tuple[int, bytes] | Agreement:
        """See L{KeyExchange.proceed}."""
        if number != _REPLY:
            raise KeyExchangeError(f"unexpected message {number}")
        reader = Reader(payload)
        host_key, theirs, signature = reader.string(), reader.string(), reader.string()
        try:
            secret = self.make_secret(theirs)
        except ValueError as error:
            raise KeyExchangeError(f"the server's public value is wrong ({error})") from None
        return Agreement(host_key, signature, string(self._public) + string(theirs), secret)


def _raw(public: Any) -> bytes:
    """@return: a public key's bytes alone."""
    return bytes(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


class _Curve25519(_OneReply):
    """RFC 8731."""

    def make_public(self) -> bytes:
        self._private = X25519PrivateKey.generate()
        return _raw(self._private.public_key())

    def make_secret(self, theirs: bytes) -> bytes:
        shared = self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
        return mpint(int.from_bytes(shared, "big"))


class _NIST(_OneReply):
    """RFC 5656 section 4."""

    curve: ec.EllipticCurve

    def make_public(self) -> bytes:
        self._private = ec.generate_private_key(self.curve)
        return self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def make_secret(self, theirs: bytes) -> bytes:
        point = ec.EllipticCurvePublicKey.from_encoded_point(self.curve, theirs)
        return mpint(int.from_bytes(self._private.exchange(ec.ECDH(), point), "big"))


class _NIST256(_NIST):
    curve = ec.SECP256R1()


class _NIST384(_NIST):
    curve = ec.SECP384R1()


class _NIST521(_NIST):
    curve = ec.SECP521R1()


class _Hybrid(_OneReply):
    """ML-KEM-768 and Curve25519 together: whoever wants the secret must break both."""

    def make_public(self) -> bytes:
        self._kem = MLKEM768PrivateKey.generate()
        self._private = X25519PrivateKey.generate()
        self._ours = _raw(self._kem.public_key()) + _raw(self._private.public_key())
        return self._ours

    def make_secret(self, theirs: bytes) -> bytes:
        if len(theirs) != 1088 + 32:
            raise ValueError(f"{len(theirs)} bytes")
        first = self._kem.decapsulate(theirs[:1088])
        second = self._private.exchange(X25519PublicKey.from_public_bytes(theirs[1088:]))
        return string(hashlib.sha256(first + second).digest())


def _checked_public(value: int, prime: int) -> int:
    """@return: the server's public value, if it is none of the trivial ones (RFC 4253 section 8)."""
    if not 1 < value < prime - 1:
        raise KeyExchangeError("the server's public value is out of range")
    return value


class _FixedGroup:
    """RFC 8268: Diffie-Hellman in a group of RFC 3526."""

    def __init__(self, bits: int, offset: int) -> None:
        self._prime = _modp_prime(bits, offset)
        self._exponent = secrets.randbits(512) | 1 << 511
        self._public = pow(2, self._exponent, self._prime)

    def begin(self) -> tuple[int, bytes]:
        """See L{KeyExchange.begin}."""
        return _INIT, mpint(self._public)

    def proceed(self, number: int, payload: bytes) -> tuple[int, bytes] | Agreement:
        """See L{KeyExchange.proceed}."""
        if number != _REPLY:
            raise KeyExchangeError(f"unexpected message {number}")
        reader = Reader(payload)
        host_key, theirs, signature = reader.string(), reader.mpint(), reader.string()
        secret = pow(_checked_public(theirs, self._prime), self._exponent, self._prime)
        return Agreement(host_key, signature, mpint(self._public) + mpint(theirs), mpint(secret))


class _GroupExchange:
    """RFC 4419: Diffie-Hellman in a group of the server's choosing, of at least 2048 bits."""

    _LIMITS = uint32(2048) + uint32(3072) + uint32(8192)

    def __init__(self) -> None:
        self._group = b""
        self._prime = 0
        self._exponent = secrets.randbits(512) | 1 << 511
        self._public = 0

    def begin(self) -> tuple[int, bytes]:
        """See L{KeyExchange.begin}."""
        return _GEX_REQUEST, self._LIMITS

    def proceed(self, number: int, payload: bytes) -> tuple[int, bytes] | Agreement:
        """See L{KeyExchange.proceed}."""
        reader = Reader(payload)
        if number == _GEX_GROUP and not self._prime:
            prime, generator = reader.mpint(), reader.mpint()
            if not 2048 <= prime.bit_length() <= 8192 or not 1 < generator < prime - 1 or not prime & 1:
                raise KeyExchangeError("the server's group is too small, too large or none")
            self._prime = prime
            self._public = pow(generator, self._exponent, prime)
            self._group = mpint(prime) + mpint(generator)
            return _GEX_INIT, mpint(self._public)
        if number != _GEX_REPLY or not self._prime:
            raise KeyExchangeError(f"unexpected message {number}")
        host_key, theirs, signature = reader.string(), reader.mpint(), reader.string()
        secret = pow(_checked_public(theirs, self._prime), self._exponent, self._prime)
        transcript = self._LIMITS + self._group + mpint(self._public) + mpint(theirs)
        return Agreement(host_key, signature, transcript, mpint(secret))


def _group14() -> KeyExchange:
    return _FixedGroup(2048, 124476)


def _group16() -> KeyExchange:
    return _FixedGroup(4096, 240904)


@cache
def _modp_prime(bits: int, offset: int) -> int:
    """@return: RFC 3526's prime: C{2^bits - 2^(bits-64) - 1 + 2^64 * ([2^(bits-130) pi] + offset)}."""
    pi = _pi(bits - 130)
    return int((1 << bits) - (1 << (bits - 64)) - 1 + (1 << 64) * (pi + offset))


def _pi(bits: int) -> int:
    """@return: C{[2^bits * pi]}, by Machin's formula."""
    guard = 64

    def arctangent(inverse: int) -> int:
        term = total = (1 << (bits + guard)) // inverse
        divisor, sign = 3, -1
        while term:
            term //= inverse * inverse
            total += sign * (term // divisor)
            divisor, sign = divisor + 2, -sign
        return total

    return (16 * arctangent(5) - 4 * arctangent(239)) >> guard


#: Name to the hash and to what runs it, in the order of preference.
KEY_EXCHANGES: dict[bytes, tuple[Callable[..., Any], Callable[[], KeyExchange]]] = {
    **({} if MLKEM768PrivateKey is None else {b"mlkem768x25519-sha256": (hashlib.sha256, _Hybrid)}),
    b"curve25519-sha256": (hashlib.sha256, _Curve25519),
    b"curve25519-sha256@libssh.org": (hashlib.sha256, _Curve25519),
    b"ecdh-sha2-nistp256": (hashlib.sha256, _NIST256),
    b"ecdh-sha2-nistp384": (hashlib.sha384, _NIST384),
    b"ecdh-sha2-nistp521": (hashlib.sha512, _NIST521),
    b"diffie-hellman-group16-sha512": (hashlib.sha512, _group16),
    b"diffie-hellman-group-exchange-sha256": (hashlib.sha256, _GroupExchange),
    b"diffie-hellman-group14-sha256": (hashlib.sha256, _group14),
}


def hash_of(name: bytes) -> Callable[..., Any]:
    """@return: the hash of a key exchange."""
    return KEY_EXCHANGES[name][0]


def start(name: bytes) -> KeyExchange:
    """@return: a new run of a key exchange."""
    return KEY_EXCHANGES[name][1]()
