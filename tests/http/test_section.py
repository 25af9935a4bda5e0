"""
Tests for L{remotedocker.http._section}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import MAX_HEAD, Headers, ProtocolError
from remotedocker.http._section import MAX_FIELDS, Section, parse_field, parse_request_line, parse_status_line
from tests.http.observing import bytewise


class RequestLineTests(SynchronousTestCase):
    """L{parse_request_line}."""

    def test_forms(self) -> None:
        """All forms of targets pass as they are, octets over 0x7F too."""
        for target in (
            b"/",
            b"/a?b=%20",
            b"http://docker/_ping",
            b"*",
            b"docker:2375",
            b"//x/../y",
            b"/\xc3\xa9",
        ):
            self.assertEqual(parse_request_line(b"GET " + target + b" HTTP/1.1"), (b"GET", target, (1, 1)))

    def test_version(self) -> None:
        """HTTP/1.0 is understood; other versions are refused by their own status."""
        self.assertEqual(parse_request_line(b"x / HTTP/1.0")[2], (1, 0))
        for version in (b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/9.9"):
            error = self.assertRaises(ProtocolError, parse_request_line, b"GET / " + version)
            self.assertEqual(error.status, 505, version)

    def test_malformed(self) -> None:
        """Anything else is refused."""
        for line in (
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET / /x HTTP/1.1",
            b"GET\t/\tHTTP/1.1",
            b"G(T / HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"GET /a\tb HTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/1",
            b"GET / HTTP/1.10",
            b"GET / HTTP/+1.1",
            b"GET / ",
        ):
            error = self.assertRaises(ProtocolError, parse_request_line, line)
            self.assertEqual(error.status, 400, line)


class StatusLineTests(SynchronousTestCase):
    """L{parse_status_line}."""

    def test_forms(self) -> None:
        """The reason phrase may be long, empty, or missing with its space."""
        for line, expected in (
            (b"HTTP/1.1 200 OK", ((1, 1), 200, b"OK")),
            (b"HTTP/1.0 404 Not  Found\t\xe9", ((1, 0), 404, b"Not  Found\t\xe9")),
            (b"HTTP/1.1 101 ", ((1, 1), 101, b"")),
            (b"HTTP/1.1 999", ((1, 1), 999, b"")),
        ):
            self.assertEqual(parse_status_line(line), expected)

    def test_malformed(self) -> None:
        """Anything else is refused."""
        for line in (
            b"HTTP/1.1",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 +20 OK",
            b"HTTP/1.1 200 O\x07K",
            b"HTTP/1.1 200\tOK",
            b"HTTP/2.0 200 OK",
            b"ICY 200 OK",
            b"200 OK",
        ):
            self.assertRaises(ProtocolError, parse_status_line, line)


class FieldTests(SynchronousTestCase):
    """L{parse_field}."""

    def test_forms(self) -> None:
        """Surrounding white space goes, everything else stays."""
        for line, expected in (
            (b"Host: docker", (b"Host", b"docker")),
            (b"a:b", (b"a", b"b")),
            (b"a:", (b"a", b"")),
            (b"a: \t b: c\td \t", (b"a", b"b: c\td")),
            (b"!#$%&'*+-.^_`|~09: \xff", (b"!#$%&'*+-.^_`|~09", b"\xff")),
        ):
            self.assertEqual(parse_field(line), expected)

    def test_malformed(self) -> None:
        """What readers understand differently is refused, and the reason says what it is."""
        for line, reason in (
            (b" a: b", "folded"),
            (b"\ta: b", "folded"),
            (b" folded", "folded"),
            (b"a : b", "before its colon"),
            (b"a\t: b", "before its colon"),
            (b"no colon", "no colon"),
            (b": b", "name"),
            (b"a b: c", "name"),
            (b"a\0: c", "name"),
            (b"\xe9: c", "name"),
            (b"a: b\0", "control"),
            (b"a: b\rc", "control"),
            (b"a: b\x0bc", "control"),
            (b"a: b\x7fc", "control"),
        ):
            error = self.assertRaises(ProtocolError, parse_field, line)
            self.assertIn(reason, error.reason)
            self.assertEqual(error.status, 400)


class SectionTests(SynchronousTestCase):
    """L{Section}."""

    def test_head(self) -> None:
        """A start line and fields are taken apart, and what follows is given back."""
        section = Section(100, parse_request_line)
        self.assertTrue(section.feed(b"GET / HTTP/1.1\r\na: b\r\n\r\nrest"))
        self.assertEqual(section.start, (b"GET", b"/", (1, 1)))
        self.assertEqual(
            section.take(), (b"GET / HTTP/1.1\r\na: b\r\n\r\n", Headers(((b"a", b"b"),)), b"rest")
        )

    def test_trailers(self) -> None:
        """Without a start line the first line is a field, or the end."""
        section: Section[None] = Section(100)
        self.assertFalse(section.feed(b"a: b\r"))
        self.assertEqual(section.buffered, 5)
        self.assertEqual(section.take_unparsed(), b"a: b\r")
        self.assertTrue(section.feed(b"\n\r\n"))
        self.assertEqual(section.take(), (b"a: b\r\n\r\n", Headers(((b"a", b"b"),)), b""))

    def test_line_ends(self) -> None:
        """A line feed alone is refused as soon as it is there, wherever it stands."""
        for data in (b"\n", b"a: b\n", b"a: b\r\n\n", b"a: b\r\nc: d\n"):
            for pieces in ([data], bytewise(data)):
                section: Section[None] = Section(100)
                error = self.assertRaises(ProtocolError, lambda s=section, p=pieces: [s.feed(x) for x in p])
                self.assertIn("LF", error.reason)

    def test_no_message(self) -> None:
        """An empty line is no start line."""
        self.assertRaises(ProtocolError, Section(100, parse_request_line).feed, b"\r\n")

    def test_start_line_is_judged_at_once(self) -> None:
        """A bad start line is refused before the rest of the head is there."""
        self.assertRaises(ProtocolError, Section(100, parse_request_line).feed, b"GET /\r\n")

    def test_size(self) -> None:
        """A section of the limit's size passes, one byte more does not, however it comes."""
        for size, passes in ((100, True), (101, False)):
            data = b"a: " + b"b" * (size - 7) + b"\r\n\r\n"
            self.assertEqual(len(data), size)
            for pieces in ([data], bytewise(data)):
                section: Section[None] = Section(100)
                feed = lambda s=section, p=pieces: [s.feed(x) for x in p]  # noqa: E731
                if passes:
                    self.assertIs(feed()[-1], True)
                else:
                    self.assertEqual(self.assertRaises(ProtocolError, feed).status, 431)

    def test_size_without_line_end(self) -> None:
        """A line that does not end is refused when it is larger than the limit."""
        section: Section[None] = Section(100)
        self.assertFalse(section.feed(b"x" * 100))
        self.assertEqual(self.assertRaises(ProtocolError, section.feed, b"x").status, 431)

    def test_number_of_fields(self) -> None:
        """So many tiny fields that they cost more memory than they have bytes are refused."""
        section: Section[None] = Section(MAX_HEAD)
        self.assertTrue(section.feed(b"a:\r\n" * MAX_FIELDS + b"\r\n"))
        section = Section(MAX_HEAD)
        error = self.assertRaises(ProtocolError, section.feed, b"a:\r\n" * (MAX_FIELDS + 1))
        self.assertEqual(error.status, 431)

    def test_scan_is_remembered(self) -> None:
        """Bytes that were searched for a line end are not searched again."""
        searched: list[int] = []

        class Watched(bytearray):
            """Notes how far each search goes."""

            def find(self, *arguments: object) -> int:
                """Searches."""
                searched.append(len(self) - int(arguments[1]))  # type: ignore[call-overload]
                return super().find(*arguments)  # type: ignore[arg-type]

        section: Section[None] = Section(100_000)
        section._buffer = Watched()
        for _ in range(5000):
            section.feed(b"xxxxxxxxxx")
        self.assertEqual(sum(searched), 50_000)
