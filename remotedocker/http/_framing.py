# -*- test-case-name: tests.http.test_framing -*-
"""
Where a message ends (RFC 9112 section 6), and the readers of each kind of body.

A reader reports as much as it is given; only a chunk's framing that is incomplete is held back. Content is
passed on as the objects that came in, wherever a segment holds nothing else.
"""

from __future__ import annotations

import re
from typing import Protocol

from remotedocker.http._errors import ProtocolError
from remotedocker.http._events import Data, EndOfMessage, Event, RequestHead, ResponseHead
from remotedocker.http._headers import Headers
from remotedocker.http._section import Section

__all__ = [
    "MAX_CHUNK_LINE",
    "BodyReader",
    "ChunkedReader",
    "LengthReader",
    "UntilCloseReader",
    "request_body",
    "response_body",
]

MAX_CHUNK_LINE = 4096
"""The longest line with a chunk's size and its extensions, with CR LF; as in Go's C{net/http}."""

_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_NO_FIELDS = Headers()


class BodyReader(Protocol):
    """
    Reads one body.

    @ivar rest: None until the body is complete, then the bytes that follow it.
    """

    rest: bytes | None

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet reported."""

    def feed(self, data: bytes) -> list[Event]:
        """
        @return: what C{data} holds, ending with L{EndOfMessage} when the body is complete.
        @raise ProtocolError: the framing is malformed.
        """

    def eof(self) -> list[Event]:
        """
        The stream ends here.

        @raise ProtocolError: the body is incomplete.
        """

    def take_unparsed(self) -> bytes:
        """@return: bytes that were fed and not yet reported."""


class LengthReader:
    """A body of a length known before (RFC 9112 section 6.2); also the empty body."""

    buffered = 0

    def __init__(self, length: int) -> None:
        self.rest: bytes | None = None
        self._missing = length

    def feed(self, data: bytes) -> list[Event]:
        """See L{BodyReader.feed}."""
        events: list[Event] = []
        missing = self._missing
        if missing and data:
            piece = data if len(data) <= missing else data[:missing]
            self._missing -= len(piece)
            events.append(Data(piece, piece))
        if not self._missing:
            self.rest = data[missing:]
            events.append(EndOfMessage(b"", _NO_FIELDS))
        return events

    def eof(self) -> list[Event]:
        """See L{BodyReader.eof}; there is always something missing."""
        raise ProtocolError(f"the stream ended {self._missing} bytes before the end of a body")

    def take_unparsed(self) -> bytes:
        """See L{BodyReader.take_unparsed}."""
        return b""


class UntilCloseReader:
    """A response's body that only the end of the stream ends (RFC 9112 section 6.3, case 8)."""

    buffered = 0

    def __init__(self) -> None:
        self.rest: bytes | None = None

    def feed(self, data: bytes) -> list[Event]:
        """See L{BodyReader.feed}."""
        return [Data(data, data)] if data else []

    def eof(self) -> list[Event]:
        """See L{BodyReader.eof}."""
        self.rest = b""
        return [EndOfMessage(b"", _NO_FIELDS)]

    def take_unparsed(self) -> bytes:
        """See L{BodyReader.take_unparsed}."""
        return b""


class ChunkedReader:
    """
    A body in chunks (RFC 9112 section 7.1). One L{Data} covers all chunks, and parts of them, that arrived
    together; incomplete size lines and line ends wait for their rest.
    """

    def __init__(self, max_trailers: int) -> None:
        """
        @param max_trailers: the most bytes of trailers.
        """
        self.rest: bytes | None = None
        self._missing = 0
        self._in_chunk = False
        self._held = b""
        self._last_chunk = b""
        self._trailers: Section[None] | None = None
        self._max_trailers = max_trailers

    @property
    def buffered(self) -> int:
        """See L{BodyReader.buffered}."""
        trailers = self._trailers.buffered if self._trailers is not None else 0
        return len(self._held) + len(self._last_chunk) + trailers

    def feed(self, data: bytes) -> list[Event]:
        """See L{BodyReader.feed}."""
        if self._trailers is not None:
            return self._feed_trailers(self._trailers, data)
        if self._held:
            data = self._held + data
            self._held = b""
        pieces, position = self._scan(data)
        events: list[Event] = []
        if position:
            payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            events.append(Data(payload, data[:position]))
        if self._trailers is not None:
            events += self._feed_trailers(self._trailers, data[position + len(self._last_chunk) :])
        else:
            self._held = data[position:]
        return events

    def eof(self) -> list[Event]:
        """See L{BodyReader.eof}; the last chunk or its end is always missing."""
        raise ProtocolError("the stream ended before the last chunk of a body")

    def take_unparsed(self) -> bytes:
        """See L{BodyReader.take_unparsed}."""
        trailers = self._trailers.take_unparsed() if self._trailers is not None else b""
        return self._held + self._last_chunk + trailers

    def _scan(self, data: bytes) -> tuple[list[bytes], int]:
        """
        Goes through chunks up to the last one, or as far as they are complete.

        @return: the content, and up to where C{data} is dealt with; the last chunk's line, once it was
            found, is kept in C{_last_chunk} and begins there.
        """
        pieces: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            if self._missing:
                piece = data[position : position + self._missing]
                pieces.append(piece)
                position += len(piece)
                self._missing -= len(piece)
            elif self._in_chunk:
                end = data[position : position + 2]
                if not b"\r\n".startswith(end):
                    raise ProtocolError("a chunk is longer than its size says")
                if len(end) < 2:
                    break
                position += 2
                self._in_chunk = False
            else:
                position = _whole_chunks(data, position, pieces)
                line = self._size_line(data, position)
                if not line:
                    break
                if not self._missing:
                    self._last_chunk = line
                    self._trailers = Section(self._max_trailers)
                    break
                position += len(line)
                self._in_chunk = True
        return pieces, position

    def _size_line(self, data: bytes, position: int) -> bytes:
        """
        Reads a chunk's size into C{_missing}.

        @return: the line with its CR LF; empty if it is incomplete.
        """
        end = data.find(b"\n", position, position + MAX_CHUNK_LINE)
        if end < 0:
            if len(data) - position >= MAX_CHUNK_LINE:
                raise ProtocolError(f"the size line of a chunk is longer than {MAX_CHUNK_LINE} bytes")
            return b""
        line = data[position : end + 1]
        match = _CHUNK_SIZE.fullmatch(line[:-2])
        if match is None or not line.endswith(b"\r\n"):
            raise ProtocolError("the size line of a chunk is malformed")
        self._missing = int(match[1], 16)
        return line

    def _feed_trailers(self, trailers: Section[None], data: bytes) -> list[Event]:
        """Reads what follows the last chunk."""
        if not trailers.feed(data):
            return []
        raw, fields, self.rest = trailers.take()
        return [EndOfMessage(self._last_chunk + raw, fields)]


def _whole_chunks(data: bytes, position: int, pieces: list[bytes]) -> int:
    """
    The short way for many small chunks: adds the content of those that are complete, not the last one, and
    have nothing out of the ordinary.

    @return: where they end.
    """
    while (match := _PLAIN_SIZE_LINE.match(data, position)) is not None:
        start = match.end()
        end = start + int(match[1], 16)
        if end == start or data[end : end + 2] != b"\r\n":
            break
        pieces.append(data[start:end])
        position = end + 2
    return position


def _declared_body(headers: Headers, version: tuple[int, int], max_trailers: int) -> BodyReader | None:
    """
    The body that C{Transfer-Encoding} or C{Content-Length} declare; None if neither is there.

    Refused, because readers differ on it: both fields, two lengths (even if equal, even in one field),
    signs and spaces in a length, any coding but C{chunked}, and codings in HTTP/1.0.
    """
    codings = headers.get_all(b"transfer-encoding")
    lengths = headers.get_all(b"content-length")
    if codings:
        if lengths:
            raise ProtocolError("both Transfer-Encoding and Content-Length are given")
        if version < (1, 1):
            raise ProtocolError("HTTP/1.0 has no Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise ProtocolError("a Transfer-Encoding other than chunked is not supported")
        return ChunkedReader(max_trailers)
    if lengths:
        if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
            raise ProtocolError("Content-Length is not one decimal number")
        return LengthReader(int(lengths[0]))
    return None


def request_body(head: RequestHead, max_trailers: int) -> BodyReader:
    """
    The reader for a request's body (RFC 9112 section 6.3).

    @raise ProtocolError: its length is doubtful.
    """
    return _declared_body(head.headers, head.version, max_trailers) or LengthReader(0)


def response_body(head: ResponseHead, method: bytes, max_trailers: int) -> BodyReader:
    """
    The reader for the body of a final response (RFC 9112 section 6.3). To HEAD, and with 204 and 304, there
    is none, whatever the fields declare (dockerd gives a length to HEAD's 404).

    @param method: the request's.
    @raise ProtocolError: its length is doubtful.
    """
    if method == b"HEAD" or head.status in (204, 304):
        return LengthReader(0)
    return _declared_body(head.headers, head.version, max_trailers) or UntilCloseReader()
