"""
Tests for L{remotedocker.http.Headers}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import Headers


class HeadersTests(SynchronousTestCase):
    """Fields keep order and case and are found without case."""

    headers = Headers(((b"Via", b"a, B ,"), (b"Host", b"x"), (b"via", b"\tc")))

    def test_iterates_in_order(self) -> None:
        """The fields come as they were given."""
        self.assertEqual(list(self.headers), [(b"Via", b"a, B ,"), (b"Host", b"x"), (b"via", b"\tc")])

    def test_get_all(self) -> None:
        """Every field of a name is found, whatever its case."""
        self.assertEqual(self.headers.get_all(b"VIA"), [b"a, B ,", b"\tc"])

    def test_get(self) -> None:
        """The first field of a name is found, or nothing."""
        self.assertEqual(self.headers.get(b"via"), b"a, B ,")
        self.assertIsNone(self.headers.get(b"date"))

    def test_tokens(self) -> None:
        """List members are gathered over all fields, in lower case, empty ones left out."""
        self.assertEqual(self.headers.tokens(b"via"), [b"a", b"b", b"c"])

    def test_without(self) -> None:
        """Fields can be left out by name, whatever their case."""
        self.assertEqual(self.headers.without(b"VIA", b"date"), Headers(((b"Host", b"x"),)))

    def test_adding(self) -> None:
        """A field is added at the end, and the original is not changed."""
        self.assertEqual(self.headers.adding(b"Age", b"1").items[3:], ((b"Age", b"1"),))
        self.assertEqual(len(self.headers.items), 3)

    def test_encode(self) -> None:
        """The encoded form is that of a head."""
        self.assertEqual(Headers(((b"A", b"b"), (b"c", b""))).encode(), b"A: b\r\nc: \r\n")
