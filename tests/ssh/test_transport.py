"""
The transport layer against a server that does as it is told: greeting, algorithms, strict key exchange,
packets cut anywhere or changed, new keys; and against OpenSSH's with hardened settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.conch.ssh.keys import Key
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotedocker.errors import HostKeyChanged, NoCommonAlgorithm, SSHError
from remotedocker.ssh._ciphers import (
    CIPHERS,
    LARGEST_PACKET,
    MACS,
    PlainOpener,
    PlainSealer,
    make_opener,
    make_sealer,
)
from remotedocker.ssh._transport import ClientTransport, negotiate
from remotedocker.ssh._wire import Reader, mpint, name_list, string, uint32
from tests.ssh.real import RealServerMixin

_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG, _SERVICE_ACCEPT, _EXT_INFO = 1, 2, 3, 4, 6, 7
_KEXINIT, _NEWKEYS, _KEX_INIT, _KEX_REPLY = 20, 21, 30, 31
_STRICT = b"kex-strict-s-v00@openssh.com"
_GREETING = b"SSH-2.0-far\r\n"
#: One of each way to make packets.
_SUITES = (
    (b"aes128-gcm@openssh.com", b"umac-64@openssh.com"),
    (b"aes256-ctr", b"hmac-sha2-256-etm@openssh.com"),
    (b"aes128-ctr", b"hmac-sha2-512"),
)


class _Policy:
    """Accepts one host key."""

    def __init__(self, accepted: bytes) -> None:
        self.accepted = accepted

    def algorithms(self) -> list[bytes]:
        """What the tests' server may have."""
        return [b"ssh-ed25519", b"ecdsa-sha2-nistp256"]

    def check(self, blob: bytes) -> bytes:
        """Only that one."""
        if blob != self.accepted:
            raise HostKeyChanged(
                known_name="",
                destination="host",
                file="/home/somebody/.ssh/known_hosts",
                line=7,
                algorithm="ED25519",
                fingerprint="SHA256:new",
                known_fingerprint="SHA256:old",
            )
        return blob


class _Service:
    """Records what a service is told."""

    name = b"service"

    def __init__(self) -> None:
        self.received: list[tuple[int, bytes]] = []
        self.resumed = self.stopped = 0

    def serviceStarted(self) -> None:
        """Nothing is to be prepared."""

    def serviceStopped(self) -> None:
        """Recorded."""
        self.stopped += 1

    def packetReceived(self, number: int, payload: bytes) -> None:
        """Recorded."""
        self.received.append((number, payload))

    def resume_sending(self) -> None:
        """Recorded."""
        self.resumed += 1


class _Far:
    """
    A server in the hands of the test, connected to a client.

    @ivar client: what is tested.
    @ivar received: every message that the client sent, its number first.
    @ivar strict: whether both sides' key exchange is to be strict.
    @ivar secured: how often the client said that everything is encrypted.
    @ivar lost: why the client's connection was lost.
    """

    def __init__(
        self, cipher: bytes = _SUITES[0][0], mac: bytes = _SUITES[0][1], strict: bool = True
    ) -> None:
        self.strict = strict
        self.lists = [
            [b"curve25519-sha256", *([_STRICT] if strict else [])],
            [b"ssh-ed25519"],
            *([cipher], [cipher], [mac], [mac], [b"none"], [b"none"], [], []),
        ]
        self.suite = cipher, mac
        self.host_key = ed25519.Ed25519PrivateKey.generate()
        self.blob = Key(self.host_key).public().blob()
        self.clock = Clock()
        self.secured = 0
        self.lost: list[Failure] = []
        self.received: list[bytes] = []
        self._unread = b""
        self._greeted = False
        self._sealer: Any = PlainSealer()
        self._opener: Any = PlainOpener()
        self._next_opener: Any = None
        self._out = self._in = 0
        self.session_id = b""
        self.transport = StringTransportWithDisconnection()
        self.client = ClientTransport(
            self.clock,
            "host",
            _Policy(self.blob),  # type: ignore[arg-type]
            self._secure,
            self.lost.append,
        )
        self.transport.protocol = self.client
        self.client.makeConnection(self.transport)

    def _secure(self) -> None:
        self.secured += 1

    # What the server sends

    def packet(self, *payload: bytes) -> bytes:
        """@return: the next packet."""
        sealed: tuple[bytes, ...] = self._sealer.seal(self._out, sum(map(len, payload)), payload)
        self._out += 1
        return b"".join(sealed)

    def send(self, number: int, payload: bytes = b"") -> None:
        """Sends a message."""
        self.give(self.packet(bytes((number,)), payload))

    def give(self, data: bytes) -> None:
        """The client receives C{data}, if it is still connected."""
        if self.transport.connected:
            self.client.dataReceived(data)

    def kexinit(self, guesses: bool = False) -> bytes:
        """@return: the server's C{KEXINIT}, as a packet."""
        body = bytes(16) + b"".join(map(name_list, self.lists)) + bytes((guesses,)) + bytes(4)
        self._kexinit = bytes((_KEXINIT,)) + body
        return self.packet(self._kexinit)

    def reply(self, forge: Callable[[bytes], bytes] = lambda signature: signature) -> bytes:
        """
        @param forge: changes the signature.
        @return: the answer to the client's part of the key exchange, and the new keys, as packets.
        """
        self.read()
        theirs = [message for message in self.received if message[0] == _KEX_INIT][-1][1:]
        client_kexinit = [message for message in self.received if message[0] == _KEXINIT][-1]
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        shared = private.exchange(X25519PublicKey.from_public_bytes(Reader(theirs).string()))
        secret = mpint(int.from_bytes(shared, "big"))
        parts = (b"SSH-2.0-remotedocker", _GREETING.strip(), client_kexinit, self._kexinit, self.blob)
        covered = b"".join(map(string, parts)) + theirs + string(public) + secret
        exchange_hash = hashlib.sha256(covered).digest()
        self.session_id = self.session_id or exchange_hash

        def derive(letter: bytes) -> bytes:
            made = hashlib.sha256(secret + exchange_hash + letter + self.session_id).digest()
            return made + hashlib.sha256(secret + exchange_hash + made).digest()

        signature = string(b"ssh-ed25519") + string(self.host_key.sign(exchange_hash))
        sent = self.packet(
            bytes((_KEX_REPLY,)), string(self.blob), string(public), string(forge(signature))
        ) + self.packet(bytes((_NEWKEYS,)))
        self._sealer = make_sealer(*self.suite, derive(b"B"), derive(b"D"), derive(b"F"))
        self._next_opener = make_opener(*self.suite, derive(b"A"), derive(b"C"), derive(b"E"))
        if self.strict:
            self._out = 0
        return sent

    def secure(self) -> None:
        """Everything up to the encryption."""
        self.give(_GREETING + self.kexinit())
        self.give(self.reply())

    def serve(self) -> _Service:
        """@return: a service of the client's that is running."""
        self.secure()
        service = _Service()
        self.client.setService(service)
        return service

    # What the client sent

    def read(self) -> list[bytes]:
        """@return: the messages that the client has sent since the last call."""
        self._unread += self.transport.value()
        self.transport.clear()
        if not self._greeted:
            greeting, self._unread = self._unread.split(b"\r\n", 1)
            self._greeted = greeting == b"SSH-2.0-remotedocker"
        messages: list[bytes] = []
        while self._unread:
            view = memoryview(self._unread)
            size = self._opener.size(view[: self._opener.header])
            opened = self._opener.open(self._in, view[:size])
            self._unread = self._unread[size:]
            self._in += 1
            messages.append(opened[1 : len(opened) - opened[0]])
            self.received.append(messages[-1])
            if messages[-1][0] == _NEWKEYS:
                # The client sends these only after the reply, which makes the keys.
                self._opener, self._next_opener = self._next_opener, None
                if self.strict:
                    self._in = 0
        return messages


class _FarTestCase(SynchronousTestCase):
    """What the tests with such a server share."""

    def assert_ended(self, far: _Far, *words: str) -> None:
        """The client has ended the connection, said so, and gives a reason with those words."""
        self.assertFalse(far.transport.connected)
        self.assertEqual(len(far.lost), 1)
        self.assertIsInstance(far.client.error, SSHError)
        for word in words:
            self.assertIn(word, str(far.client.error))


class GreetingTests(_FarTestCase):
    """The first line."""

    def test_one_flight(self) -> None:
        """We greet, and begin the key exchange, without waiting for the server."""
        far = _Far()
        self.assertEqual([message[0] for message in far.read()], [_KEXINIT])

    def test_words_before(self) -> None:
        """A server may say something before it greets (RFC 4253 section 4.2), with any ends of lines."""
        for greeting in (b"Welcome!\r\nBehave.\r\nSSH-2.0-far\r\n", b"Welcome\nSSH-2.0-far\n"):
            far = _Far()
            far.give(greeting + far.kexinit())
            far.give(far.reply())
            self.assertEqual(far.secured, 1)
            self.assertIsNone(far.client.error)

    def test_old_server_that_is_compatible(self) -> None:
        """Version 1.99 means 2.0 (RFC 4253 section 5.1)."""
        far = _Far()
        far.give(b"SSH-1.99-old\r\n" + far.kexinit())
        self.assertTrue(far.transport.connected)

    def test_old_server(self) -> None:
        """A server of the old protocol is refused by name."""
        for greeting in (b"SSH-1.5-old\r\n", b"SSH-\r\n"):
            far = _Far()
            far.give(greeting)
            self.assert_ended(far, "it speaks SSH-")

    def test_another_protocol(self) -> None:
        """What else answers there is quoted, when it ends the connection."""
        far = _Far()
        far.give(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        far.client.connectionLost()
        self.assertIn("instead of SSH it says 'HTTP/1.1 400 Bad Request'", str(far.client.error))

    def test_no_end_of_line(self) -> None:
        """A line without an end is given up, and takes little memory."""
        far = _Far()
        for _ in range(9):
            far.give(b"x" * 1024)
        self.assert_ended(far, "no SSH server")

    def test_no_end_of_lines(self) -> None:
        """So are lines without an end."""
        far = _Far()
        for _ in range(1000):
            far.give(b"a line of sixteen\r\n")
        self.assert_ended(far, "no SSH server")

    def test_words_are_no_life(self) -> None:
        """Lines before the greeting do not count as a server that lives, however slowly they come."""
        far = _Far()
        began = far.client.last_received
        far.clock.advance(10)
        far.give(b"patience\r\n")
        self.assertEqual(far.client.last_received, began)
        far.give(_GREETING)
        self.assertEqual(far.client.last_received, far.clock.seconds())


class AlgorithmTests(_FarTestCase):
    """What is offered and chosen."""

    def test_offer(self) -> None:
        """Strict key exchange is offered, nothing weak is, and packets are not compressed."""
        far = _Far()
        (kexinit,) = far.read()
        reader = Reader(kexinit[17:])
        lists = [reader.names() for _ in range(10)]
        self.assertEqual(reader.rest(), bytes(5))
        self.assertIn(b"kex-strict-c-v00@openssh.com", lists[0])
        self.assertIn(b"ext-info-c", lists[0])
        self.assertEqual(lists[1], [b"ssh-ed25519", b"ecdsa-sha2-nistp256"])
        self.assertEqual(lists[2:6], [list(CIPHERS), list(CIPHERS), list(MACS), list(MACS)])
        self.assertEqual(lists[6:], [[b"none"], [b"none"], [], []])
        for name in sum(lists, []):
            for weak in (b"sha1", b"md5", b"cbc", b"3des", b"arcfour", b"group1-", b"-dss", b"zlib"):
                self.assertNotIn(weak, name)

    def test_offer_of_later_exchange(self) -> None:
        """The markers are in the first offer alone, as OpenSSH's PROTOCOL and RFC 8308 want it."""
        far = _Far()
        far.secure()
        far.read()
        far.client.sendKexInit()
        (kexinit,) = far.read()
        names = Reader(kexinit[17:]).names()
        self.assertEqual([name for name in names if b"strict" in name or b"ext-info" in name], [])

    def test_ours_first(self) -> None:
        """Of several in common, our favourite is taken; a cipher with its own tag needs no MAC."""
        ours = [[b"k1", b"k2"], [b"h"], [*CIPHERS], [*CIPHERS], [*MACS], [*MACS], [b"none"], [b"none"]]
        theirs = [[b"k2", b"k1"], [b"h"], [*CIPHERS][::-1], [b"aes128-ctr"], [], [*MACS][::-1]]
        chosen = negotiate(ours, [*theirs, [b"zlib", b"none"], [b"none"]], "host")
        self.assertEqual(chosen.kex, b"k1")
        self.assertEqual((chosen.cipher_out, chosen.mac_out), (b"aes128-gcm@openssh.com", b""))
        self.assertEqual((chosen.cipher_in, chosen.mac_in), (b"aes128-ctr", b"hmac-sha2-256-etm@openssh.com"))
        self.assertEqual(str(chosen), "k1, h, aes128-gcm@openssh.com")

    def test_nothing_in_common(self) -> None:
        """What has nothing in common is named, with both sides' lists."""
        for index, what in ((0, "key exchange"), (1, "host key"), (3, "cipher"), (6, "compression")):
            far = _Far()
            far.lists[index] = [b"only-this", b"or-that"]
            far.give(_GREETING + far.kexinit())
            self.assertFalse(far.transport.connected)
            self.assertIsInstance(far.client.error, NoCommonAlgorithm)
            self.assertIn(f"no {what}", str(far.client.error))
            self.assertIn("only-this, or-that", str(far.client.error))
            self.assertNotIn("kex-strict", str(far.client.error))

    def test_markers_are_no_algorithms(self) -> None:
        """A server that repeats our markers has not thereby any key exchange in common with us."""
        far = _Far()
        far.lists[0] = [b"ext-info-c", b"kex-strict-c-v00@openssh.com"]
        far.give(_GREETING + far.kexinit())
        self.assertIsInstance(far.client.error, NoCommonAlgorithm)


class KeyExchangeTests(_FarTestCase):
    """From the greeting to the encryption."""

    def test_every_suite(self) -> None:
        """With every way to make packets, strict or not, messages go both ways afterwards."""
        for cipher, mac in _SUITES:
            for strict in (True, False):
                with self.subTest(cipher=cipher, mac=mac, strict=strict):
                    far = _Far(cipher, mac, strict)
                    service = far.serve()
                    self.assertEqual(far.secured, 1)
                    far.read()
                    for number in range(3):
                        far.send(80, b"there %d" % number)
                        far.client.sendPacket(81, b"back %d" % number)
                    self.assertEqual(service.received, [(80, b"there %d" % n) for n in range(3)])
                    self.assertEqual(far.read(), [b"Qback %d" % n for n in range(3)])

    def test_guess(self) -> None:
        """A guess of the server's that was wrong is passed over, one that was right is not."""
        for first, wrong in ((b"curve25519-sha256", False), (b"something-else", True)):
            far = _Far()
            far.lists[0].insert(0, first)
            far.give(_GREETING + far.kexinit(guesses=True))
            if wrong:
                far.send(_KEX_REPLY, b"of another key exchange")
            far.give(far.reply())
            self.assertEqual(far.secured, 1)

    def test_strict_message_before(self) -> None:
        """In a strict key exchange nothing may come before the C{KEXINIT}; otherwise it may."""
        for strict in (True, False):
            far = _Far(strict=strict)
            far.give(_GREETING + far.packet(bytes((_IGNORE,)), string(b"")) + far.kexinit())
            if strict:
                self.assert_ended(far, "came before the key exchange")
            else:
                far.give(far.reply())
                self.assertEqual(far.secured, 1)

    def test_strict_message_within(self) -> None:
        """Nor may anything come between, which would let packets be dropped later (CVE-2023-48795)."""
        for number in (_IGNORE, _DEBUG, _UNIMPLEMENTED):
            for strict in (True, False):
                far = _Far(strict=strict)
                far.give(_GREETING + far.kexinit())
                far.send(number, bytes(12))
                if strict:
                    self.assert_ended(far, f"message {number} came before the encryption")
                else:
                    far.give(far.reply())
                    self.assertEqual(far.secured, 1)

    def test_messages_that_need_encryption(self) -> None:
        """What must be encrypted is refused before it is, with any server."""
        for number in (_SERVICE_ACCEPT, _EXT_INFO, 52, 94):
            for strict in (True, False):
                far = _Far(strict=strict)
                far.give(_GREETING + far.kexinit())
                far.send(number, bytes(12))
                self.assert_ended(far, f"message {number} came before the encryption")

    def test_strict_is_for_ever(self) -> None:
        """Whether it is strict is settled by the first key exchange: a later one changes nothing."""
        for strict in (True, False):
            far = _Far(*_SUITES[2], strict=strict)
            service = far.serve()
            far.read()
            far.lists[0] = [b"curve25519-sha256", *([] if strict else [_STRICT])]
            far.give(far.kexinit())
            far.give(far.reply())
            far.send(80, b"after")
            self.assertEqual(service.received, [(80, b"after")])

    def test_wrong_signature(self) -> None:
        """A server without the private key is not believed, however its signature looks."""
        other = ed25519.Ed25519PrivateKey.generate()
        curve = Key(ec.generate_private_key(ec.SECP256R1()))
        for forge in (
            lambda signature: signature[:-1] + bytes((signature[-1] ^ 1,)),
            lambda signature: string(b"ssh-ed25519") + string(other.sign(b"something")),
            lambda signature: string(b"ssh-ed25519") + string(b""),
            lambda signature: string(b"ssh-ed25519") + b"\0\0",
            lambda signature: string(b"ssh-rsa") + signature[15:],
            lambda signature: curve.sign(b"something"),
            lambda signature: b"\xff\xff",
            lambda signature: b"",
        ):
            far = _Far()
            far.give(_GREETING + far.kexinit())
            far.give(far.reply(forge))
            self.assert_ended(far, "the host's signature is wrong")
            self.assertEqual(far.secured, 0)

    def test_malformed_signature_of_a_curve(self) -> None:
        """A signature of ECDSA whose numbers are cut short is wrong too, not an accident."""
        far = _Far()
        key = ec.generate_private_key(ec.SECP256R1())
        far.blob = Key(key).public().blob()
        far.client._policy.accepted = far.blob  # type: ignore[attr-defined]
        far.lists[1] = [b"ecdsa-sha2-nistp256"]
        far.give(_GREETING + far.kexinit())
        far.give(far.reply(lambda _: string(b"ecdsa-sha2-nistp256") + string(b"\0\0")))
        self.assert_ended(far, "the host's signature is wrong")

    def test_key_of_another_type(self) -> None:
        """The host key must be of the type that was agreed upon."""
        far = _Far()
        far.lists[1] = [b"ecdsa-sha2-nistp256"]
        far.give(_GREETING + far.kexinit())
        far.give(far.reply())
        self.assert_ended(far, "the host's signature is wrong")

    def test_unknown_host(self) -> None:
        """A host key that is not accepted ends it; whoever shows it is told nothing about our files."""
        far = _Far()
        far.client._policy.accepted = b"another"  # type: ignore[attr-defined]
        far.give(_GREETING + far.kexinit())
        far.give(far.reply())
        self.assertIsInstance(far.client.error, HostKeyChanged)
        self.assertFalse(far.transport.connected)
        self.assertEqual(far.secured, 0)
        goodbye = far.read()[-1]
        self.assertEqual(goodbye[:5], bytes((_DISCONNECT,)) + uint32(9))
        self.assertNotIn(b"known_hosts", goodbye)

    def test_out_of_order(self) -> None:
        """Messages of the key exchange at the wrong time end the connection."""
        for words, steps in (
            ("new keys without", lambda far: (far.packet(b"\x15"),)),
            ("unexpected message 31", lambda far: (far.packet(b"\x1f", bytes(20)),)),
            ("within a key exchange", lambda far: (far.kexinit(), far.kexinit())),
            ("new keys without", lambda far: (far.kexinit(), far.packet(b"\x15"))),
            ("the key exchange failed", lambda far: (far.kexinit(), far.packet(b"\x21", bytes(20)))),
            ("makes no sense", lambda far: (far.kexinit(), far.packet(b"\x1f", b"\xff" * 20))),
            ("makes no sense", lambda far: (far.packet(b"\x14", bytes(14)),)),
        ):
            far = _Far()
            far.give(_GREETING)
            for data in steps(far):
                far.give(data)
            self.assert_ended(far, words)


class PacketTests(_FarTestCase):
    """Packets as they arrive."""

    def test_begin_cut_anywhere(self) -> None:
        """Wherever the reads of the beginning end, the outcome is the same."""
        whole = len(_GREETING + _Far().kexinit())
        for at in range(1, whole, 3):
            far = _Far()
            data = b"Hello\r\n" + _GREETING + far.kexinit()
            far.give(data[:at])
            far.give(data[at:])
            far.give(far.reply())
            self.assertEqual(far.secured, 1, at)

    def test_cut_anywhere(self) -> None:
        """Wherever reads end, in the middle of a length or of a tag too, every message is performed once."""
        messages = [(90 + length % 3, bytes((length,)) * length) for length in (0, 1, 40, 3)]
        for cipher, mac in _SUITES:
            far = _Far(cipher, mac)
            service = far.serve()
            size = len(self._packets(far, messages))
            far = _Far(cipher, mac)
            service = far.serve()
            for at in range(1, size):
                data = self._packets(far, messages)
                far.give(data[:at])
                far.give(data[at:])
                self.assertEqual(service.received, messages, (cipher, at))
                service.received.clear()

    def test_every_byte_alone(self) -> None:
        """A connection whose every byte comes alone works."""
        for cipher, mac in _SUITES:
            far = _Far(cipher, mac)
            for byte in _GREETING + far.kexinit():
                far.give(bytes((byte,)))
            for byte in far.reply():
                far.give(bytes((byte,)))
            service = _Service()
            far.client.setService(service)
            for byte in self._packets(far, [(90, b"one"), (91, b"two" * 30)]):
                far.give(bytes((byte,)))
            self.assertEqual(service.received, [(90, b"one"), (91, b"two" * 30)])

    def test_big_packet(self) -> None:
        """The largest packet is taken, in many reads."""
        for cipher, mac in _SUITES:
            far = _Far(cipher, mac)
            service = far.serve()
            big = bytes(LARGEST_PACKET - 64)
            data = self._packets(far, [(90, big), (91, b"")])
            for at in range(0, len(data), 1000):
                far.give(data[at : at + 1000])
            self.assertEqual(service.received, [(90, big), (91, b"")])

    def test_changed(self) -> None:
        """A packet that was changed ends the connection; nothing of it, or after it, is performed."""
        for cipher, mac in _SUITES:
            far = _Far(cipher, mac)
            service = far.serve()
            data = bytearray(self._packets(far, [(90, b"first"), (91, b"second"), (92, b"third")]))
            data[len(data) // 2] ^= 1
            far.give(bytes(data))
            self.assert_ended(far, "the connection was ended")
            self.assertEqual(service.received, [(90, b"first")])
            self.assertEqual(service.stopped, 1)

    def test_garbage_after_the_encryption(self) -> None:
        """Garbage ends the connection at once, and is not waited for."""
        for cipher, mac in _SUITES:
            far = _Far(cipher, mac)
            far.serve()
            far.give(b"\xff" * 64)
            self.assert_ended(far, "bad packet length")

    def test_garbage_before_the_encryption(self) -> None:
        """So does a length that cannot be, before there are keys."""
        for head in (b"\xff\xff\xff\xff", b"\0\0\0\1", uint32(LARGEST_PACKET + 1)):
            far = _Far()
            far.give(_GREETING + head)
            self.assert_ended(far, "bad packet length")

    def test_padding_longer_than_packet(self) -> None:
        """A packet that would be all padding is none."""
        for padding in (11, 12, 255):
            far = _Far()
            far.give(_GREETING + uint32(12) + bytes((padding,)) + bytes((_IGNORE,)) * 11)
            self.assert_ended(far, "padding")

    def test_message_cut_short(self) -> None:
        """A message without all of its fields ends the connection."""
        far = _Far()
        far.serve()
        far.send(_DISCONNECT, b"\0")
        self.assert_ended(far, "makes no sense")

    def test_nothing_after_the_end(self) -> None:
        """What comes after the server's goodbye is not looked at, and nothing is sent any more."""
        far = _Far()
        service = far.serve()
        far.read()
        goodbye = uint32(11) + string(b"for today") + string(b"")
        far.give(far.packet(bytes((_DISCONNECT,)), goodbye) + far.packet(b"Z", b"late"))
        self.assert_ended(far, "the server ended the connection: for today")
        far.client.sendPacket(90, b"")
        far.client.disconnect()
        self.assertEqual((service.received, far.read()), ([], []))

    def test_ignored(self) -> None:
        """Messages without meaning for us change nothing; unknown ones are answered with their number."""
        far = _Far()
        service = far.serve()
        far.read()
        for number in (_IGNORE, _DEBUG, _UNIMPLEMENTED):
            far.send(number, bytes(12))
        far.send(_EXT_INFO, uint32(1) + string(b"server-sig-algs") + string(b"ssh-ed25519"))
        self.assertEqual(far.read(), [])
        far.send(19)
        self.assertEqual(far.read(), [bytes((_UNIMPLEMENTED,)) + uint32(4)])
        self.assertEqual(service.received, [])
        self.assertEqual(far.client.peerExtensions[b"server-sig-algs"], b"ssh-ed25519")

    def _packets(self, far: _Far, messages: list[tuple[int, bytes]]) -> bytes:
        """@return: the messages as the server would send them."""
        return b"".join(far.packet(bytes((number,)), payload) for number, payload in messages)


class SoonTests(_FarTestCase):
    """L{ClientTransport.send_soon}."""

    def setUp(self) -> None:
        """A connection that is in use."""
        self.far = _Far()
        self.far.serve()
        self.far.read()
        self.writes: list[int] = []
        write = self.far.transport.writeSequence

        def noted(pieces: Any) -> None:
            self.writes.append(len(pieces))
            write(pieces)

        self.patch(self.far.transport, "writeSequence", noted)

    def sent(self) -> list[int]:
        """@return: the numbers of the messages that the client has sent since the last call."""
        return [message[0] for message in self.far.read()]

    def test_with_the_next(self) -> None:
        """They go before the next message, in one piece with it, and are not sent again."""
        self.far.client.send_soon(90, b"first")
        self.far.client.send_soon(91, b"second")
        self.assertEqual(self.sent(), [])
        self.far.client.sendPacket(92, b"third")
        self.assertEqual(self.sent(), [90, 91, 92])
        self.assertEqual(len(self.writes), 1)
        self.far.clock.advance(0)
        self.assertEqual(self.sent(), [])

    def test_alone(self) -> None:
        """Without another message they go when what is running is done."""
        self.far.client.send_soon(90, b"first")
        self.far.client.send_soon(91, b"second")
        self.far.clock.advance(0)
        self.assertEqual(self.sent(), [90, 91])
        self.assertEqual(len(self.writes), 1)

    def test_before_new_keys(self) -> None:
        """What was to go soon when a key exchange begins goes before it, what comes later after it."""
        self.far.client.send_soon(90, b"before")
        self.far.client.sendKexInit()
        self.far.client.sendPacket(91, b"waits")
        self.far.client.send_soon(92, b"waits, too")
        self.far.clock.advance(0)
        self.assertEqual(self.sent(), [90, _KEXINIT])
        self.far.give(self.far.kexinit())
        self.far.give(self.far.reply())
        self.assertEqual(self.sent(), [_NEWKEYS, 91, 92])

    def test_goodbye(self) -> None:
        """They go before the end of the connection; after it nothing does."""
        self.far.client.send_soon(90, b"first")
        self.far.client.disconnect()
        self.far.client.send_soon(91, b"late")
        self.far.clock.advance(0)
        self.assertEqual(self.sent(), [90, _DISCONNECT])


class RekeyTests(_FarTestCase):
    """New keys for a connection that is in use."""

    def test_by_us(self) -> None:
        """While keys are made nothing else is sent; then all of it is, in order, with the new ones."""
        for cipher, mac in _SUITES:
            for strict in (True, False):
                far = _Far(cipher, mac, strict)
                service = far.serve()
                far.read()
                far.client.sendKexInit()
                far.client.sendKexInit()
                self.assertTrue(far.client.congested)
                for number in range(3):
                    far.client.sendPacket(90 + number, b"waits")
                self.assertEqual([message[0] for message in far.read()], [_KEXINIT])
                far.send(95, b"was on its way")
                far.give(far.kexinit())
                far.give(far.reply())
                sent = [message[0] for message in far.read()]
                self.assertEqual(sent, [_NEWKEYS, 90, 91, 92])
                self.assertFalse(far.client.congested)
                self.assertEqual(service.resumed, 1)
                far.send(96, b"after")
                self.assertEqual(service.received, [(95, b"was on its way"), (96, b"after")])
                self.assertEqual(far.secured, 1)

    def test_by_the_server(self) -> None:
        """The server's wish is answered at once, and what we send in the meantime waits."""
        far = _Far()
        far.serve()
        far.read()
        far.give(far.kexinit())
        far.client.sendPacket(90, b"waits")
        self.assertEqual([message[0] for message in far.read()], [_KEXINIT, _KEX_INIT])
        far.give(far.reply())
        self.assertEqual([message[0] for message in far.read()], [_NEWKEYS, 90])

    def test_by_both(self) -> None:
        """When both begin at the same time there is one key exchange."""
        far = _Far()
        far.serve()
        far.read()
        theirs = far.kexinit()
        far.client.sendKexInit()
        far.give(theirs)
        far.give(far.reply())
        self.assertEqual([message[0] for message in far.read()], [_NEWKEYS])
        self.assertEqual(far.received.count(bytes((_NEWKEYS,))), 2)

    def test_after_much(self) -> None:
        """After so many bytes, both ways together, new keys are made, and the count begins again."""
        far = _Far()
        far.serve()
        far.read()
        far.client.rekey_bytes = 10_000
        far.client.sendPacket(90, bytes(4000))
        far.send(95, bytes(4000))
        self.assertEqual([message[0] for message in far.read()], [90])
        far.client.sendPacket(91, bytes(4000))
        self.assertEqual([message[0] for message in far.read()], [91, _KEXINIT])
        far.give(far.kexinit())
        far.give(far.reply())
        far.client.sendPacket(92, bytes(4000))
        self.assertNotIn(_KEXINIT, [message[0] for message in far.read()])

    def test_many_times(self) -> None:
        """A connection that lives through many key exchanges loses and reorders nothing."""
        far = _Far(*_SUITES[1])
        service = far.serve()
        session = far.client.sessionID
        far.client.rekey_bytes = 2000
        for number in range(60):
            far.client.sendPacket(90, b"%d" % number + bytes(500))
            far.send(95, b"%d" % number)
            if any(message[0] == _KEXINIT for message in far.read()):
                far.give(far.kexinit())
                far.give(far.reply())
                far.read()
        self.assertEqual(service.received, [(95, b"%d" % number) for number in range(60)])
        sent = [message[1:].rstrip(b"\0") for message in far.received if message[0] == 90]
        self.assertEqual(sent, [b"%d" % number for number in range(60)])
        self.assertGreater(far.received.count(bytes((_NEWKEYS,))), 10)
        self.assertEqual(far.client.sessionID, session)

    def test_old_keys(self) -> None:
        """Keys are an hour old at most."""
        far = _Far()
        far.serve()
        far.read()
        far.clock.advance(3600)
        far.client.rekey_if_old()
        self.assertEqual(far.read(), [])
        far.clock.advance(1)
        far.client.rekey_if_old()
        far.client.rekey_if_old()
        self.assertEqual([message[0] for message in far.read()], [_KEXINIT])

    def test_earlier(self) -> None:
        """ssh_config can have new keys made earlier, but not later."""
        far = _Far()
        usual = (far.client.rekey_bytes, far.client.rekey_seconds)
        far.client.limit_keys(0, 0.0)
        far.client.limit_keys(1 << 40, 1e6)
        self.assertEqual((far.client.rekey_bytes, far.client.rekey_seconds), usual)
        far.client.limit_keys(5000, 60.0)
        far.serve()
        far.read()
        far.clock.advance(61)
        far.client.rekey_if_old()
        self.assertEqual([message[0] for message in far.read()], [_KEXINIT])
        self.assertEqual(far.client.rekey_bytes, 5000)

    def test_another_host(self) -> None:
        """A server that shows another key later is not believed either."""
        far = _Far()
        service = far.serve()
        far.host_key = ed25519.Ed25519PrivateKey.generate()
        far.blob = Key(far.host_key).public().blob()
        far.give(far.kexinit())
        far.give(far.reply())
        self.assertIsInstance(far.client.error, HostKeyChanged)
        self.assertEqual(service.stopped, 1)


class EndTests(_FarTestCase):
    """Congestion, and the end."""

    def test_congestion(self) -> None:
        """A full socket holds the channels back until it has sent everything."""
        far = _Far()
        service = far.serve()
        far.client.pauseProducing()
        self.assertTrue(far.client.congested)
        far.client.resumeProducing()
        far.client.resumeProducing()
        self.assertFalse(far.client.congested)
        self.assertEqual(service.resumed, 1)

    def test_full_socket_and_new_keys(self) -> None:
        """New keys alone do not let the channels send while the socket is full."""
        far = _Far()
        service = far.serve()
        far.client.pauseProducing()
        far.give(far.kexinit())
        far.give(far.reply())
        self.assertEqual((far.client.congested, service.resumed), (True, 0))
        far.client.resumeProducing()
        self.assertEqual((far.client.congested, service.resumed), (False, 1))

    def test_disconnect(self) -> None:
        """In good order the server is told, and the services end."""
        far = _Far()
        service = far.serve()
        far.read()
        far.client.disconnect()
        goodbye = bytes((_DISCONNECT,)) + uint32(11) + string(b"") + string(b"")
        self.assertEqual(far.read(), [goodbye])
        self.assertEqual((service.stopped, len(far.lost), far.client.error), (1, 1, None))

    def test_abort(self) -> None:
        """At once, the first reason is kept."""
        far = _Far()
        far.serve()
        first = SSHError(destination="host", reason="dead")
        far.client.abort(first)
        far.client.abort(SSHError(destination="host", reason="later"))
        self.assertIs(far.client.error, first)

    def test_lost_within_key_exchange(self) -> None:
        """A connection that is lost before it is encrypted is told to its owner alone."""
        far = _Far()
        far.give(_GREETING + far.kexinit())
        far.transport.loseConnection()
        self.assertEqual((far.secured, len(far.lost), far.client.error), (0, 1, None))


class HardenedServerTests(RealServerMixin, TestCase):
    """OpenSSH's server with hardened settings."""

    async def test_new_keys_by_both_under_load(self) -> None:
        """With encrypt-then-MAC alone, both sides want new keys again and again; nothing is lost."""
        self.start_server(
            "KexAlgorithms curve25519-sha256\nCiphers aes256-ctr\nMACs hmac-sha2-512-etm@openssh.com\n"
            "HostKeyAlgorithms ssh-ed25519\nRekeyLimit 200K"
        )
        remote = await self.log_in()
        login = remote._main.login
        assert login is not None
        transport = login.transport
        self.assertTrue(transport._strict)
        self.assertEqual(transport.negotiated.mac_in, b"hmac-sha2-512-etm@openssh.com")
        transport.rekey_bytes = 150_000
        first = transport._their_kexinit
        data = b"".join(uint32(number) for number in range(250_000))
        result = await remote.run("cat", data)
        self.assertEqual(hashlib.sha256(result.stdout).digest(), hashlib.sha256(data).digest())
        self.assertNotEqual(transport._their_kexinit, first)
        self.assertIs(remote._main.login, login)
