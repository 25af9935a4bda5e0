"""SSH's packets: sealed and opened, changed on their way, and what makes no packet."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from struct import pack

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._ciphers import (
    CIPHERS,
    LARGEST_PACKET,
    MACS,
    Opener,
    PacketError,
    PlainOpener,
    PlainSealer,
    Sealer,
    is_aead,
    make_opener,
    make_sealer,
)

_IV, _KEY, _INTEGRITY = bytes(range(64)), bytes(range(64, 128)), bytes(range(128, 192))
_GCM = b"aes128-gcm@openssh.com"


def _suites() -> Iterator[tuple[bytes, bytes]]:
    """Every cipher with every MAC that it may be used with."""
    for cipher in CIPHERS:
        if is_aead(cipher):
            yield cipher, b""
        else:
            yield from ((cipher, mac) for mac in MACS)


def _pair(cipher: bytes, mac: bytes, iv: bytes = _IV) -> tuple[Sealer, Opener]:
    """@return: the two ends of one direction."""
    return make_sealer(cipher, mac, iv, _KEY, _INTEGRITY), make_opener(cipher, mac, iv, _KEY, _INTEGRITY)


def _seal(sealer: Sealer, sequence: int, *payload: bytes | memoryview) -> bytes:
    """@return: a packet as it goes over the wire."""
    return b"".join(sealer.seal(sequence, sum(map(len, payload)), payload))


def _open(opener: Opener, sequence: int, packet: bytes) -> bytes:
    """@return: the payload, as a transport takes it from what it reads."""
    view = memoryview(packet)
    size = opener.size(view[: opener.header])
    if size != len(packet):
        raise AssertionError(f"{size} bytes announced, {len(packet)} there")
    opened = opener.open(sequence, view)
    return opened[1 : len(opened) - opened[0]]


class SuiteTests(SynchronousTestCase):
    """What each cipher, with each MAC, must do."""

    def test_round_trip(self) -> None:
        """Payloads of every length up to a few blocks, and the largest, come out as they went in."""
        for cipher, mac in _suites():
            with self.subTest(cipher=cipher, mac=mac):
                sealer, opener = _pair(cipher, mac)
                for sequence, length in enumerate((*range(1, 70), 32768, 256 * 1024)):
                    payload = bytes((sequence,)) * length
                    self.assertEqual(_open(opener, sequence, _seal(sealer, sequence, payload)), payload)

    def test_pieces(self) -> None:
        """A payload in pieces, some of them views, makes the same packet as in one."""
        whole = b"\x5ewhole payload"
        for cipher, mac in _suites():
            with self.subTest(cipher=cipher, mac=mac):
                one, other = _pair(cipher, mac)[0], _pair(cipher, mac)[0]
                pieces = _seal(one, 3, whole[:1], memoryview(whole)[1:4], b"", whole[4:])
                self.assertEqual(pieces, _seal(other, 3, whole))

    def test_padding(self) -> None:
        """There are at least 4 bytes of padding, and what is encrypted is whole blocks."""
        for cipher, mac in _suites():
            sealer, opener = _pair(cipher, mac)
            in_clear = 4 if is_aead(cipher) or MACS[mac].etm else 0
            tag = 16 if is_aead(cipher) else MACS[mac].size
            for length in range(1, 40):
                packet = _seal(sealer, 0, bytes(length))
                self.assertEqual((len(packet) - in_clear - tag) % 16, 0)
                opener.size(memoryview(packet)[: opener.header])
                padding = opener.open(0, memoryview(packet))[0]
                self.assertTrue(4 <= padding < 20, padding)

    def test_changed_anywhere(self) -> None:
        """A packet of which any byte is changed is not accepted: length, payload, padding or tag."""
        for cipher, mac in _suites():
            packet = _seal(_pair(cipher, mac)[0], 0, b"something to protect")
            for at in range(len(packet)):
                with self.subTest(cipher=cipher, mac=mac, at=at):
                    changed = bytearray(packet)
                    changed[at] ^= 0x10
                    opener = _pair(cipher, mac)[1]
                    with self.assertRaises(PacketError):
                        size = opener.size(memoryview(changed)[: opener.header])
                        # What a transport would have read by then, if the length was changed too.
                        opener.open(0, memoryview((bytes(changed) + bytes(LARGEST_PACKET))[:size]))

    def test_repeated(self) -> None:
        """The same packet twice is accepted once."""
        for cipher, mac in _suites():
            with self.subTest(cipher=cipher, mac=mac):
                sealer, opener = _pair(cipher, mac)
                packet = _seal(sealer, 0, b"once, and no more than once")
                _open(opener, 0, packet)
                self.assertRaises(PacketError, self._read, opener, 1, packet)

    def test_dropped(self) -> None:
        """A packet after one that is missing is not accepted."""
        for cipher, mac in _suites():
            with self.subTest(cipher=cipher, mac=mac):
                sealer, opener = _pair(cipher, mac)
                _seal(sealer, 0, b"missing")
                self.assertRaises(PacketError, self._read, opener, 0, _seal(sealer, 1, b"comes too early"))

    def test_other_keys(self) -> None:
        """A packet sealed with another key is not accepted."""
        for cipher, mac in _suites():
            with self.subTest(cipher=cipher, mac=mac):
                opener = make_opener(cipher, mac, _IV, _KEY[::-1], _INTEGRITY[::-1])
                self.assertRaises(PacketError, self._read, opener, 0, _seal(_pair(cipher, mac)[0], 0, b"x"))

    def test_sequence_is_authenticated(self) -> None:
        """Where there is a MAC it covers the packet's number, up to the largest."""
        for cipher, mac in _suites():
            if is_aead(cipher):
                continue
            with self.subTest(cipher=cipher, mac=mac):
                sealer, opener = _pair(cipher, mac)
                last = 0xFFFFFFFF
                self.assertEqual(_open(opener, last, _seal(sealer, last, b"last")), b"last")
                self.assertEqual(_open(opener, 0, _seal(sealer, 0, b"first again")), b"first again")
                self.assertRaises(PacketError, self._read, opener, 2, _seal(sealer, 1, b"x"))

    def test_length_limits(self) -> None:
        """Where the length can be read, only one that can be is believed, before anything else is read."""
        for cipher, mac in _suites():
            opener = _pair(cipher, mac)[1]
            if opener.header != 4:
                continue
            with self.subTest(cipher=cipher, mac=mac):
                tag = 16 if is_aead(cipher) else MACS[mac].size
                largest = LARGEST_PACKET // 16 * 16
                for good in (16, 32768, largest):
                    self.assertEqual(opener.size(memoryview(pack(">I", good))), 4 + good + tag)
                for bad in (0, 8, 15, 17, 0x7FFFFFFF, 0xFFFFFFF0, largest + 16):
                    self.assertRaises(PacketError, opener.size, memoryview(pack(">I", bad)))

    def test_encrypted_length_limits(self) -> None:
        """Where the length is encrypted too, one that cannot be is found with the first block."""
        for bad in (0, 8, 13, 0xFFFFFFFC, LARGEST_PACKET + 16):
            encrypt = Cipher(algorithms.AES(_KEY[:16]), modes.CTR(_IV[:16])).encryptor().update
            head = memoryview(encrypt(pack(">I12x", bad)))
            opener = make_opener(b"aes128-ctr", b"hmac-sha2-256", _IV, _KEY, _INTEGRITY)
            self.assertEqual(opener.header, 16)
            self.assertRaises(PacketError, opener.size, head)

    def _read(self, opener: Opener, sequence: int, packet: bytes) -> None:
        """Reads a packet, whatever length its head seems to announce."""
        size = opener.size(memoryview(packet)[: opener.header])
        opener.open(sequence, memoryview((packet + bytes(LARGEST_PACKET))[:size]))


class WireTests(SynchronousTestCase):
    """The packets' bytes, made a second time by hand."""

    def test_gcm(self) -> None:
        """RFC 5647: the length is authenticated in the clear, the nonce is 4 fixed bytes and a counter."""
        sealer = _pair(_GCM, b"")[0]
        for number in range(3):
            nonce = _IV[:4] + (int.from_bytes(_IV[4:12], "big") + number).to_bytes(8, "big")
            plain = b"\x0ahello" + bytes(10)
            expected = pack(">I", 16) + AESGCM(_KEY[:16]).encrypt(nonce, plain, pack(">I", 16))
            self.assertEqual(_seal(sealer, number, b"hello"), expected)

    def test_gcm_counter_wraps(self) -> None:
        """The counter goes round without touching the fixed part of the nonce."""
        sealer, opener = _pair(_GCM, b"", b"\1\2\3\4" + b"\xff" * 8)
        for sequence in range(3):
            packet = _seal(sealer, sequence, b"hello")
            counter = ((1 << 64) - 1 + sequence) % (1 << 64)
            nonce = b"\1\2\3\4" + counter.to_bytes(8, "big")
            self.assertEqual(AESGCM(_KEY[:16]).decrypt(nonce, packet[4:], packet[:4])[1:6], b"hello")
            self.assertEqual(_open(opener, sequence, packet), b"hello")

    def test_nonces_differ(self) -> None:
        """No two packets of equal content look alike."""
        sealer = _pair(_GCM, b"")[0]
        self.assertEqual(len({_seal(sealer, 0, b"same") for _ in range(50)}), 50)

    def test_encrypt_then_mac(self) -> None:
        """OpenSSH's PROTOCOL 1.5: the MAC is of the number, the length and what is encrypted."""
        sealer = _pair(b"aes256-ctr", b"hmac-sha2-512-etm@openssh.com")[0]
        encrypt = Cipher(algorithms.AES(_KEY[:32]), modes.CTR(_IV[:16])).encryptor().update
        for sequence in (7, 8):
            encrypted = encrypt(b"\x0ahello" + bytes(10))
            covered = pack(">II", sequence, 16) + encrypted
            tag = hmac.new(_INTEGRITY[:64], covered, hashlib.sha512).digest()
            self.assertEqual(_seal(sealer, sequence, b"hello"), covered[4:] + tag)

    def test_mac_then_encrypt(self) -> None:
        """RFC 4253 section 6.4: the MAC is of the number and the readable packet, whose length is hidden."""
        sealer = _pair(b"aes192-ctr", b"hmac-sha2-256")[0]
        encrypt = Cipher(algorithms.AES(_KEY[:24]), modes.CTR(_IV[:16])).encryptor().update
        for sequence in (0, 1):
            readable = pack(">IB", 12, 6) + b"hello" + bytes(6)
            tag = hmac.new(_INTEGRITY[:32], pack(">I", sequence) + readable, hashlib.sha256).digest()
            self.assertEqual(_seal(sealer, sequence, b"hello"), encrypt(readable) + tag)


class PlainTests(SynchronousTestCase):
    """Packets before there are keys."""

    def test_round_trip(self) -> None:
        """Payloads come out as they went in, in whole blocks of 8."""
        sealer, opener = PlainSealer(), PlainOpener()
        for length in range(1, 40):
            packet = _seal(sealer, length, b"\x14" * length)
            self.assertEqual(len(packet) % 8, 0)
            self.assertTrue(4 <= packet[4] < 12)
            self.assertEqual(_open(opener, length, packet), b"\x14" * length)

    def test_length_limits(self) -> None:
        """Garbage is no packet."""
        for head in (b"HTTP", b"\0\0\0\0", b"\0\0\0\7", b"\xff\xff\xff\xff", pack(">I", LARGEST_PACKET + 1)):
            self.assertRaises(PacketError, PlainOpener().size, memoryview(head))


class NamesTests(SynchronousTestCase):
    """What is offered."""

    def test_nothing_weak(self) -> None:
        """No CBC, no RC4, no 3DES, no SHA-1, no MD5, no short MACs, and never none at all."""
        for name in (*CIPHERS, *MACS):
            for weak in (b"cbc", b"arcfour", b"3des", b"blowfish", b"sha1", b"md5", b"-96", b"umac", b"none"):
                self.assertNotIn(weak, name)

    def test_preferences(self) -> None:
        """What authenticates what is encrypted comes first."""
        self.assertTrue(is_aead(next(iter(CIPHERS))))
        self.assertEqual([MACS[name].etm for name in MACS], [True, True, False, False])
