"""The data types of SSH's messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._wire import (
    Reader,
    TruncatedMessage,
    fingerprint,
    mpint,
    name_list,
    string,
    uint32,
    uint64,
)

#: The examples of RFC 4251 section 5.
_NUMBERS = {
    0: "00 00 00 00",
    0x9A378F9B2E332A7: "00 00 00 08 09 a3 78 f9 b2 e3 32 a7",
    0x80: "00 00 00 02 00 80",
}
_LISTS: dict[tuple[bytes, ...], str] = {
    (): "00 00 00 00",
    (b"zlib",): "00 00 00 04 7a 6c 69 62",
    (b"zlib", b"none"): "00 00 00 09 7a 6c 69 62 2c 6e 6f 6e 65",
}


class WriterTests(SynchronousTestCase):
    """What makes fields."""

    def test_integers(self) -> None:
        """Integers have their bytes in the network's order."""
        self.assertEqual(uint32(0x01020304), b"\1\2\3\4")
        self.assertEqual(uint32(0xFFFFFFFF), b"\xff" * 4)
        self.assertEqual(uint64(0x0102030405060708), bytes(range(1, 9)))

    def test_mpint(self) -> None:
        """Numbers are as short as they can be, and never look negative."""
        for number, expected in _NUMBERS.items():
            self.assertEqual(mpint(number), bytes.fromhex(expected))
        self.assertEqual(mpint(0x7F), b"\0\0\0\1\x7f")
        self.assertEqual(mpint(0xFF), b"\0\0\0\2\0\xff")
        self.assertEqual(mpint(0x0100), b"\0\0\0\2\1\0")

    def test_name_list(self) -> None:
        """Names are joined by commas."""
        for names, expected in _LISTS.items():
            self.assertEqual(name_list(list(names)), bytes.fromhex(expected))

    def test_fingerprint(self) -> None:
        """A fingerprint is what ssh-keygen prints: Base64 of SHA-256, without padding."""
        self.assertEqual(fingerprint(b""), "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")


class ReaderTests(SynchronousTestCase):
    """L{Reader}."""

    def test_every_field(self) -> None:
        """Fields come out in the order in which they were put in."""
        message = b"".join(
            (
                b"\x2a",
                b"\0\1\xff",
                uint32(7),
                uint64(1 << 40),
                string(b"bytes"),
                string("schön".encode()),
                mpint(1 << 255),
                name_list([b"a", b"b"]),
                name_list([]),
                b"left",
            )
        )
        reader = Reader(message)
        self.assertEqual(reader.byte(), 42)
        self.assertEqual([reader.boolean() for _ in range(3)], [False, True, True])
        self.assertEqual((reader.uint32(), reader.uint64()), (7, 1 << 40))
        self.assertEqual((reader.string(), reader.text()), (b"bytes", "schön"))
        self.assertEqual(reader.mpint(), 1 << 255)
        self.assertEqual((reader.names(), reader.names()), ([b"a", b"b"], []))
        self.assertFalse(reader.at_end())
        self.assertEqual(reader.rest(), b"left")
        self.assertTrue(reader.at_end())
        self.assertEqual(reader.rest(), b"")

    def test_examples(self) -> None:
        """The examples of the RFC are understood."""
        for number, packed in _NUMBERS.items():
            self.assertEqual(Reader(bytes.fromhex(packed)).mpint(), number)
        for names, packed in _LISTS.items():
            self.assertEqual(tuple(Reader(bytes.fromhex(packed)).names()), names)

    def test_memoryview(self) -> None:
        """What is taken from a view is a copy, which stays when the view's bytes change."""
        data = bytearray(string(b"kept"))
        taken = Reader(memoryview(data)).string()  # type: ignore[arg-type]
        data[4:] = b"gone"
        self.assertEqual(taken, b"kept")

    def test_not_utf8(self) -> None:
        """Words that are not UTF-8 are shown as far as they can be."""
        self.assertEqual(Reader(string(b"a\xffb")).text(), "a\ufffdb")
        self.assertEqual(Reader(string(b"\x1b[2J\ta\n")).text(), "?[2J\ta\n")

    def test_negative(self) -> None:
        """A negative number is refused, for there is none in what is read here."""
        self.assertRaises(TruncatedMessage, Reader(string(b"\x80")).mpint)

    def test_cut_anywhere(self) -> None:
        """Each kind of field is refused wherever it is cut, and says so in one way."""
        fields: list[tuple[bytes, Callable[[Reader], Any]]] = [
            (b"\1", Reader.byte),
            (b"\1", Reader.boolean),
            (uint32(1), Reader.uint32),
            (uint64(1), Reader.uint64),
            (string(b"some bytes"), Reader.string),
            (string(b"some text"), Reader.text),
            (mpint(1 << 100), Reader.mpint),
            (name_list([b"one", b"two"]), Reader.names),
        ]
        for packed, read in fields:
            for length in range(len(packed)):
                with self.subTest(field=read.__name__, length=length):
                    self.assertRaises(TruncatedMessage, read, Reader(packed[:length]))

    def test_huge_length(self) -> None:
        """A length beyond the message's end is refused, and takes no memory."""
        self.assertRaises(TruncatedMessage, Reader(b"\xff\xff\xff\xffabc").string)

    @settings(deadline=None, max_examples=50, database=None)
    @given(st.lists(st.one_of(st.binary(max_size=40), st.integers(min_value=0, max_value=1 << 600))))
    def test_round_trip(self, fields: list[bytes | int]) -> None:
        """Whatever is written is read again."""
        reader = Reader(b"".join(mpint(f) if isinstance(f, int) else string(f) for f in fields))
        self.assertEqual([reader.mpint() if isinstance(f, int) else reader.string() for f in fields], fields)
        self.assertTrue(reader.at_end())
