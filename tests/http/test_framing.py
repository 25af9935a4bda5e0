"""
Tests for L{remotedocker.http._framing}.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import Data, EndOfMessage, Event, Headers, ProtocolError, ResponseHead
from remotedocker.http._framing import (
    MAX_CHUNK_LINE,
    BodyReader,
    ChunkedReader,
    LengthReader,
    UntilCloseReader,
    request_body,
    response_body,
)
from tests.http.observing import request_head, ways


def read(reader: BodyReader, pieces: Iterable[bytes]) -> tuple[bytes, bytes, bytes | None]:
    """@return: payload, raw bytes, and what is behind the body."""
    events: list[Event] = []
    rest = b""
    for piece in pieces:
        if reader.rest is None:
            events += reader.feed(piece)
        else:
            rest += piece
    payload = b"".join(event.payload for event in events if isinstance(event, Data))
    raw = b"".join(event.raw for event in events)
    return payload, raw, None if reader.rest is None else reader.rest + rest


class LengthTests(SynchronousTestCase):
    """L{LengthReader}."""

    def test_every_split(self) -> None:
        """The body ends after its length, however it comes."""
        for pieces in ways(b"hello, rest"):
            self.assertEqual(read(LengthReader(5), pieces), (b"hello", b"hello", b", rest"))

    def test_empty(self) -> None:
        """A body of length 0 is complete before anything came."""
        self.assertEqual(LengthReader(0).feed(b""), [EndOfMessage(b"", Headers())])

    def test_no_copy(self) -> None:
        """A segment inside of the body is passed on as the object that it is."""
        segment = bytes(1000)
        [event] = LengthReader(5000).feed(segment)
        assert isinstance(event, Data)
        self.assertIs(event.payload, segment)
        self.assertIs(event.raw, segment)

    def test_eof(self) -> None:
        """A stream that ends early says how much is missing."""
        reader = LengthReader(5)
        reader.feed(b"abc")
        error = self.assertRaises(ProtocolError, reader.eof)
        self.assertIn("2 bytes", error.reason)
        self.assertEqual(reader.take_unparsed(), b"")


class UntilCloseTests(SynchronousTestCase):
    """L{UntilCloseReader}."""

    def test_everything(self) -> None:
        """All bytes are content, and the end of the stream is the end of the body."""
        reader = UntilCloseReader()
        segment = b"GET / HTTP/1.1\r\n"
        [event] = reader.feed(segment)
        assert isinstance(event, Data)
        self.assertIs(event.payload, segment)
        self.assertEqual(reader.feed(b""), [])
        self.assertIsNone(reader.rest)
        self.assertEqual(reader.eof(), [EndOfMessage(b"", Headers())])
        self.assertEqual((reader.rest, reader.buffered, reader.take_unparsed()), (b"", 0, b""))


class ChunkedTests(SynchronousTestCase):
    """L{ChunkedReader}."""

    def test_every_split(self) -> None:
        """Content, raw bytes and the end are the same however the chunks come."""
        for body, content in (
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (
                b'000005;a;b="c"\r\nhello\r\nA;\t\r\n\r\n\r\n\r\n\r\n\r\n\r\n00;x\r\n\r\n',
                b"hello" + b"\r\n" * 5,
            ),
            (b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\nA: b\r\nC:\r\n\r\n", b"abc"),
        ):
            for pieces in ways(body + b"5\r\nrest"):
                self.assertEqual(read(ChunkedReader(100), pieces), (content, body, b"5\r\nrest"))

    def test_trailers(self) -> None:
        """The last chunk and the trailers come with the end."""
        [event] = ChunkedReader(100).feed(b"0;x\r\nA: b\r\n\r\n")
        self.assertEqual(event, EndOfMessage(b"0;x\r\nA: b\r\n\r\n", Headers(((b"A", b"b"),))))

    def test_one_event(self) -> None:
        """Chunks that come together are reported together, with their raw bytes as they came."""
        data = b"1\r\na\r\n2\r\nbc\r\n5\r\nde"
        self.assertEqual(ChunkedReader(100).feed(data), [Data(b"abcde", data)])

    def test_no_copy(self) -> None:
        """A segment inside of a chunk is passed on as the object that it is."""
        reader = ChunkedReader(100)
        reader.feed(b"ffff\r\n")
        segment = bytes(1000)
        [event] = reader.feed(segment)
        assert isinstance(event, Data)
        self.assertEqual(event.payload, segment)
        self.assertIs(event.raw, segment)

    def test_held(self) -> None:
        """Framing that is incomplete is held, counted, and given back when the stream is taken over."""
        for data, held in (
            (b"5", b"5"),
            (b"5;abc", b"5;abc"),
            (b"5\r", b"5\r"),
            (b"5\r\nhel", b""),
            (b"5\r\nhello", b""),
            (b"5\r\nhello\r", b"\r"),
            (b"5\r\nhello\r\n", b""),
            (b"5\r\nhello\r\n0", b"0"),
            (b"5\r\nhello\r\n0\r\n", b"0\r\n"),
            (b"5\r\nhello\r\n0\r\nA: b\r\n\r", b"0\r\nA: b\r\n\r"),
        ):
            reader = ChunkedReader(100)
            _, raw, _ = read(reader, [data])
            self.assertEqual(raw + held, data)
            self.assertEqual(reader.buffered, len(held), data)
            self.assertEqual(reader.take_unparsed(), held)

    def test_eof(self) -> None:
        """A stream that ends before the last chunk and its trailers is cut off."""
        for data in (b"", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nA: b\r\n"):
            reader = ChunkedReader(100)
            reader.feed(data)
            self.assertRaises(ProtocolError, reader.eof)

    def test_malformed(self) -> None:
        """Everything that readers of chunks are known to differ on is refused, however it comes."""
        for data in (
            b"\r\n",
            b"\n",
            b"5\n",
            b"15\nhello",
            b"g\r\n",
            b"-1\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"5 \r\n",
            b" 5\r\n",
            b"5 ;a\r\n",
            b"5\r\r\n",
            b"5;a\rb\r\n",
            b"5;a\0\r\n",
            b"5_0\r\n",
            b"1" * 16 + b"\r\n",
            b"f" * 17 + b"\r\n",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n",
            b"5\r\nhello\r!",
            b"5\r\nhello0\r\n\r\n",
            b"0\r\n\n",
            b"0\r\nA : b\r\n",
            b"0\r\n B: b\r\n",
        ):
            for pieces in ways(data):
                error = self.assertRaises(ProtocolError, read, ChunkedReader(100), pieces)
                self.assertEqual(error.status, 400, data)

    def test_size_line_is_bounded(self) -> None:
        """A size line may be as long as Go allows, and no longer."""
        line = b"5;" + b"x" * (MAX_CHUNK_LINE - 4) + b"\r\n"
        self.assertEqual(len(line), MAX_CHUNK_LINE)
        self.assertEqual(ChunkedReader(100).feed(line), [Data(b"", line)])
        for data in (b"5;x" + line[2:], b"0" * MAX_CHUNK_LINE):
            self.assertRaises(ProtocolError, ChunkedReader(100).feed, data)
            self.assertRaises(ProtocolError, read, ChunkedReader(100), [data[:1000], data[1000:]])

    def test_trailers_are_bounded(self) -> None:
        """Trailers may be as large as was said, and no larger."""
        for size, passes in ((100, True), (101, False)):
            data = b"0\r\nA:" + b"x" * (size - 6) + b"\r\n\r\n"
            if passes:
                self.assertEqual(read(ChunkedReader(100), [data])[2], b"")
            else:
                self.assertRaises(ProtocolError, ChunkedReader(100).feed, data)


LENGTH = b"Content-Length"
CODING = b"Transfer-Encoding"

DOUBTFUL = (
    ((1, 1), ((LENGTH, b"5"), (CODING, b"chunked"))),
    ((1, 1), ((CODING, b"chunked"), (LENGTH, b"0"))),
    ((1, 1), ((LENGTH, b"5"), (LENGTH, b"6"))),
    ((1, 1), ((LENGTH, b"5"), (b"content-length", b"5"))),
    ((1, 1), ((LENGTH, b"5, 5"),)),
    ((1, 1), ((LENGTH, b"5,"),)),
    ((1, 1), ((LENGTH, b""),)),
    ((1, 1), ((LENGTH, b"+5"),)),
    ((1, 1), ((LENGTH, b"-5"),)),
    ((1, 1), ((LENGTH, b"5 5"),)),
    ((1, 1), ((LENGTH, b"0x5"),)),
    ((1, 1), ((LENGTH, b"5_0"),)),
    ((1, 1), ((LENGTH, b"\xd9\xa5"),)),
    ((1, 1), ((LENGTH, b"9" * 19),)),
    ((1, 1), ((CODING, b"gzip"),)),
    ((1, 1), ((CODING, b"identity"),)),
    ((1, 1), ((CODING, b""),)),
    ((1, 1), ((CODING, b"chunked, chunked"),)),
    ((1, 1), ((CODING, b"gzip, chunked"),)),
    ((1, 1), ((CODING, b"chunked;q=1"),)),
    ((1, 1), ((CODING, b"\x0bchunked"),)),
    ((1, 1), ((CODING, b'"chunked"'),)),
    ((1, 1), ((CODING, b"chunked"), (CODING, b"chunked"))),
    ((1, 1), ((CODING, b"chunked"), (CODING, b"identity"))),
    ((1, 0), ((CODING, b"chunked"),)),
)
"""Framing on which readers differ: version and fields."""


def response(status: int, *fields: tuple[bytes, bytes], version: tuple[int, int] = (1, 1)) -> ResponseHead:
    """A response head with these fields."""
    return ResponseHead(status, b"", version, Headers(fields), b"")


class RequestBodyTests(SynchronousTestCase):
    """L{request_body}."""

    def test_kinds(self) -> None:
        """Chunked, a length, or nothing: a request never lasts until the stream ends."""
        self.assertIsInstance(
            request_body(request_head(b"GET", b"/", (CODING, b"Chunked")), 9), ChunkedReader
        )
        self.assertEqual(request_body(request_head(), 9).feed(b"")[0].raw, b"")
        reader = request_body(request_head(b"GET", b"/", (LENGTH, b"0003")), 9)
        self.assertEqual(read(reader, [b"abcd"]), (b"abc", b"abc", b"d"))

    def test_doubtful(self) -> None:
        """Framing on which readers differ is refused."""
        for version, fields in DOUBTFUL:
            head = request_head(b"POST", b"/", *fields)
            head = type(head)(head.method, head.target, version, head.headers, b"")
            error = self.assertRaises(ProtocolError, request_body, head, 9)
            self.assertEqual(error.status, 400, fields)


class ResponseBodyTests(SynchronousTestCase):
    """L{response_body}."""

    def test_kinds(self) -> None:
        """Chunked, a length, or until the stream ends."""
        self.assertIsInstance(response_body(response(200, (CODING, b"chunked")), b"GET", 9), ChunkedReader)
        self.assertIsInstance(response_body(response(200, (LENGTH, b"1")), b"GET", 9), LengthReader)
        self.assertIsInstance(response_body(response(200), b"GET", 9), UntilCloseReader)
        self.assertIsInstance(response_body(response(500, version=(1, 0)), b"POST", 9), UntilCloseReader)

    def test_bodiless(self) -> None:
        """To HEAD, and with 204 and 304, there is no body, whatever is declared."""
        for head, method in (
            (response(404, (LENGTH, b"70")), b"HEAD"),
            (response(200, (CODING, b"chunked")), b"HEAD"),
            (response(200), b"HEAD"),
            (response(204, (LENGTH, b"5")), b"POST"),
            (response(304, (CODING, b"chunked")), b"POST"),
        ):
            self.assertEqual(read(response_body(head, method, 9), [b"next"]), (b"", b"", b"next"))

    def test_doubtful(self) -> None:
        """Framing on which readers differ is refused."""
        for version, fields in DOUBTFUL:
            self.assertRaises(
                ProtocolError, response_body, response(200, *fields, version=version), b"GET", 9
            )
