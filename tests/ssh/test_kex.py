"""Key exchanges, each against a server's part made by hand, and servers' parts that cannot be right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.conch.ssh._kex import getDHGeneratorAndPrime
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh import _kex
from remotedocker.ssh._kex import KEY_EXCHANGES, Agreement, KeyExchange, KeyExchangeError, hash_of, start
from remotedocker.ssh._wire import Reader, TruncatedMessage, mpint, string, uint32

_GEX = b"diffie-hellman-group-exchange-sha256"
_GROUPS = {b"diffie-hellman-group14-sha256": 2048, b"diffie-hellman-group16-sha512": 4096}
_CURVES: dict[bytes, ec.EllipticCurve] = {
    b"ecdh-sha2-nistp256": ec.SECP256R1(),
    b"ecdh-sha2-nistp384": ec.SECP384R1(),
    b"ecdh-sha2-nistp521": ec.SECP521R1(),
}
_EXPONENT = 0x1234567890ABCDEF << 400


def _prime(bits: int) -> int:
    """@return: the prime of RFC 3526's group of that many bits, as this module makes it."""
    return _kex._modp_prime(bits, {2048: 124476, 4096: 240904}[bits])


def _reply(public: bytes) -> bytes:
    """@return: the server's answer, with a public value as it is packed."""
    return string(b"host key") + public + string(b"signature")


class _KEM:
    """Stands for ML-KEM-768 where the library has none: the sizes are right, the secrecy is not."""

    @classmethod
    def generate(cls) -> _KEM:
        """@return: a private key."""
        return cls()

    def public_key(self) -> _KEM:
        """@return: itself."""
        return self

    def public_bytes(self, *form: object) -> bytes:
        """@return: the public key."""
        return b"K" * 1184

    def decapsulate(self, sealed: bytes) -> bytes:
        """@return: the secret in C{sealed}."""
        return hashlib.sha256(sealed).digest()


class AgreementTests(SynchronousTestCase):
    """Both sides come to the same secret."""

    def assert_agreed(
        self, exchange: KeyExchange, number: int, payload: bytes, transcript: bytes, secret: bytes
    ) -> None:
        """The server's answer leads to that."""
        agreement = exchange.proceed(number, payload)
        self.assertEqual(agreement, Agreement(b"host key", b"signature", transcript, secret))

    def test_curve25519(self) -> None:
        """RFC 8731: both public keys are strings, the secret is a number."""
        for name in (b"curve25519-sha256", b"curve25519-sha256@libssh.org"):
            exchange = start(name)
            number, ours = exchange.begin()
            self.assertEqual((number, len(ours)), (30, 36))
            private = X25519PrivateKey.generate()
            public = string(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
            shared = private.exchange(X25519PublicKey.from_public_bytes(ours[4:]))
            secret = mpint(int.from_bytes(shared, "big"))
            self.assert_agreed(exchange, 31, _reply(public), ours + public, secret)

    def test_nist_curves(self) -> None:
        """RFC 5656: points are uncompressed, the secret is the first coordinate."""
        for name, curve in _CURVES.items():
            exchange = start(name)
            number, ours = exchange.begin()
            self.assertEqual((number, ours[4]), (30, 4))
            private = ec.generate_private_key(curve)
            form = Encoding.X962, PublicFormat.UncompressedPoint
            public = string(private.public_key().public_bytes(*form))
            point = ec.EllipticCurvePublicKey.from_encoded_point(curve, ours[4:])
            secret = mpint(int.from_bytes(private.exchange(ec.ECDH(), point), "big"))
            self.assert_agreed(exchange, 31, _reply(public), ours + public, secret)

    def test_fixed_groups(self) -> None:
        """RFC 8268: both public values and the secret are numbers."""
        for name, bits in _GROUPS.items():
            prime = _prime(bits)
            exchange = start(name)
            number, ours = exchange.begin()
            self.assertEqual(number, 30)
            public = mpint(pow(2, _EXPONENT, prime))
            secret = mpint(pow(Reader(ours).mpint(), _EXPONENT, prime))
            self.assert_agreed(exchange, 31, _reply(public), ours + public, secret)

    def test_group_exchange(self) -> None:
        """RFC 4419: the group is asked for, and is hashed too."""
        exchange = start(_GEX)
        number, limits = exchange.begin()
        self.assertEqual((number, limits), (34, uint32(2048) + uint32(3072) + uint32(8192)))
        prime = _prime(2048)
        group = mpint(prime) + mpint(5)
        step = exchange.proceed(31, group)
        assert isinstance(step, tuple)
        number, ours = step
        self.assertEqual(number, 32)
        public = mpint(pow(5, _EXPONENT, prime))
        secret = mpint(pow(Reader(ours).mpint(), _EXPONENT, prime))
        self.assert_agreed(exchange, 33, _reply(public), limits + group + ours + public, secret)

    def test_hybrid(self) -> None:
        """draft-ietf-sshm-mlkem-hybrid-kex: the parts stand together, the secret is the hash of both."""
        self.patch(_kex, "MLKEM768PrivateKey", _KEM)
        exchange = _kex._Hybrid()
        number, ours = exchange.begin()
        self.assertEqual((number, len(ours), ours[4:1188]), (30, 4 + 1184 + 32, b"K" * 1184))
        private = X25519PrivateKey.generate()
        sealed = b"S" * 1088
        public = string(sealed + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        shared = private.exchange(X25519PublicKey.from_public_bytes(ours[1188:]))
        secret = string(hashlib.sha256(hashlib.sha256(sealed).digest() + shared).digest())
        self.assert_agreed(exchange, 31, _reply(public), ours + public, secret)

    def test_hybrid_of_the_library(self) -> None:
        """Where the library has ML-KEM the hybrid is preferred, and works with what a server would make."""
        kem = _kex.MLKEM768PrivateKey
        self.assertEqual(b"mlkem768x25519-sha256" in KEY_EXCHANGES, kem is not None)
        for name in [name for name in KEY_EXCHANGES if name.startswith(b"mlkem")]:
            self.assertEqual(next(iter(KEY_EXCHANGES)), name)
            exchange: Any = start(name)
            ours = exchange.begin()[1]
            key = exchange._kem.public_key()
            self.assertEqual(key.public_bytes(Encoding.Raw, PublicFormat.Raw), ours[4:1188])
            first, sealed = key.encapsulate()
            private = X25519PrivateKey.generate()
            public = string(sealed + private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
            shared = private.exchange(X25519PublicKey.from_public_bytes(ours[1188:]))
            secret = string(hashlib.sha256(first + shared).digest())
            self.assert_agreed(exchange, 31, _reply(public), ours + public, secret)

    def test_every_run_is_new(self) -> None:
        """No two runs have the same public value, for their secrets must differ."""
        for name in KEY_EXCHANGES:
            if name != _GEX:
                self.assertNotEqual(start(name).begin(), start(name).begin())


class WrongPartTests(SynchronousTestCase):
    """Servers' parts that are refused."""

    def assert_refused(self, exchange: KeyExchange, number: int, payload: bytes) -> None:
        """The answer is not accepted."""
        self.assertRaises(KeyExchangeError, exchange.proceed, number, payload)

    def test_unexpected_number(self) -> None:
        """A message of another key exchange is refused."""
        for name in KEY_EXCHANGES:
            exchange = start(name)
            exchange.begin()
            for number in (30, 32, 33, 34, 49):
                self.assert_refused(exchange, number, _reply(mpint(5)))

    def test_cut_short(self) -> None:
        """So is an answer that is cut anywhere."""
        for name in KEY_EXCHANGES:
            exchange = start(name)
            exchange.begin()
            whole = _reply(string(b"\1" * 32))
            for length in range(len(whole)):
                self.assertRaises((KeyExchangeError, TruncatedMessage), exchange.proceed, 31, whole[:length])

    def test_strings_that_are_no_keys(self) -> None:
        """Public keys of the wrong size are refused."""
        for name in (*_CURVES, b"curve25519-sha256"):
            for public in (b"", b"\4", bytes(31), bytes(33), b"\4" + bytes(64), b"\xff" * 200):
                self.assert_refused(start(name), 31, _reply(string(public)))

    def test_point_at_infinity_and_off_the_curve(self) -> None:
        """Points that would betray our secret are refused."""
        for name, curve in _CURVES.items():
            size = (curve.key_size + 7) // 8
            for point in (b"\0", b"\4" + bytes(2 * size), b"\4" + b"\1" * (2 * size)):
                self.assert_refused(start(name), 31, _reply(string(point)))

    def test_curve25519_without_contribution(self) -> None:
        """A public key that makes the secret zero, whatever ours is, is refused (RFC 8731 section 3)."""
        for public in (bytes(32), b"\1" + bytes(31)):
            self.assert_refused(start(b"curve25519-sha256"), 31, _reply(string(public)))

    def test_hybrid(self) -> None:
        """Both parts of the hybrid must be there, and contribute."""
        self.patch(_kex, "MLKEM768PrivateKey", _KEM)
        for public in (bytes(1119), bytes(1121), bytes(1120)):
            self.assert_refused(_kex._Hybrid(), 31, _reply(string(public)))

    def test_trivial_numbers(self) -> None:
        """Public values that make the secret known are refused (RFC 4253 section 8)."""
        for name, bits in _GROUPS.items():
            exchange, prime = start(name), _prime(bits)
            for public in (0, 1, prime - 1, prime, prime + 2):
                self.assert_refused(exchange, 31, _reply(mpint(public)))

    def test_trivial_numbers_of_a_group(self) -> None:
        """In a group of the server's choosing too."""
        prime = _prime(2048)
        for public in (0, 1, prime - 1, prime):
            exchange = start(_GEX)
            exchange.begin()
            exchange.proceed(31, mpint(prime) + mpint(2))
            self.assert_refused(exchange, 33, _reply(mpint(public)))

    def test_groups_that_are_none(self) -> None:
        """Groups that are too small, too large, or have a generator that generates nothing are refused."""
        prime = _prime(2048)
        for modulus, generator in (
            (0, 2),
            ((1 << 1024) - 105, 2),
            (prime >> 1, 2),
            ((1 << 8193) + 1, 2),
            (prime + 1, 2),
            (prime, 0),
            (prime, 1),
            (prime, prime - 1),
            (prime, prime + 5),
        ):
            exchange = start(_GEX)
            exchange.begin()
            self.assert_refused(exchange, 31, mpint(modulus) + mpint(generator))

    def test_group_out_of_order(self) -> None:
        """One group is given, before the answer."""
        exchange = start(_GEX)
        exchange.begin()
        self.assert_refused(exchange, 33, _reply(mpint(5)))
        group = mpint(_prime(2048)) + mpint(2)
        exchange.proceed(31, group)
        self.assert_refused(exchange, 31, group)


class TableTests(SynchronousTestCase):
    """What is offered."""

    def test_primes(self) -> None:
        """The computed primes are those of RFC 3526: the first is Conch's too, and all are safe primes."""
        self.assertEqual(getDHGeneratorAndPrime(b"diffie-hellman-group14-sha1"), (2, _prime(2048)))
        for bits in _GROUPS.values():
            prime = _prime(bits)
            self.assertEqual(prime.bit_length(), bits)
            # By Fermat's little theorem.
            self.assertEqual(pow(3, prime - 1, prime), 1)
            self.assertEqual(pow(3, (prime >> 1) - 1, prime >> 1), 1)

    def test_hashes(self) -> None:
        """Each name's hash is the one that it says."""
        by_curve: dict[bytes, Callable[..., Any]] = {
            b"ecdh-sha2-nistp256": hashlib.sha256,
            b"ecdh-sha2-nistp384": hashlib.sha384,
            b"ecdh-sha2-nistp521": hashlib.sha512,
        }
        for name in KEY_EXCHANGES:
            said = hashlib.sha512 if name.endswith(b"sha512") else hashlib.sha256
            self.assertIs(hash_of(name), by_curve.get(name, said), name)

    def test_nothing_weak(self) -> None:
        """Nothing hashes with SHA-1, and the small group is not there."""
        for name in KEY_EXCHANGES:
            for weak in (b"sha1", b"group1-", b"md5"):
                self.assertNotIn(weak, name)

    def test_preference(self) -> None:
        """Curve25519, alone or in the hybrid, is preferred to all others."""
        self.assertIn(b"25519", next(iter(KEY_EXCHANGES)))
        offered = list(KEY_EXCHANGES)
        for name in (*_CURVES, *_GROUPS, _GEX):
            self.assertLess(offered.index(b"curve25519-sha256"), offered.index(name))
