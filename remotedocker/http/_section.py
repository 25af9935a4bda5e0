# -*- test-case-name: tests.http.test_section -*-
"""
The part of a message that is made of lines: a start line and fields, or the trailers alone.

Lines are judged as they become complete, and the position of the scan is remembered, so that a head that
arrives byte by byte costs no more than one that arrives at once. Judged strictly (RFC 9112 sections 2.2, 3,
4 and 5, without the leniencies that it allows): lines end with CR LF, no folding, no white space before
the colon, no control characters but HTAB.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from remotedocker.http._errors import ProtocolError
from remotedocker.http._headers import Headers

__all__ = [
    "MAX_FIELDS",
    "MAX_HEAD",
    "Section",
    "is_token",
    "parse_field",
    "parse_request_line",
    "parse_status_line",
]

MAX_HEAD = (1 << 20) + 4096
"""The largest head in bytes: what Go's C{net/http}, and so dockerd, accepts."""

MAX_FIELDS = 2000
"""The most fields in one head; it bounds the memory for a head of many tiny fields."""

RequestLine = tuple[bytes, bytes, tuple[int, int]]
StatusLine = tuple[tuple[int, int], int, bytes]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_NOT_TEXT = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")

T = TypeVar("T")


def is_token(text: bytes) -> bool:
    """Whether C{text} is a token (RFC 9110 section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def _parse_version(text: bytes) -> tuple[int, int]:
    """@raise ProtocolError: it is no version (400), or another than 1.0 and 1.1 (505)."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ProtocolError("the first line has no HTTP version")
    version = (int(match[1]), int(match[2]))
    if version not in ((1, 0), (1, 1)):
        raise ProtocolError("the HTTP version is neither 1.0 nor 1.1", 505)
    return version


def parse_request_line(line: bytes) -> RequestLine:
    """
    Method, target and version (RFC 9112 section 3). Octets over 0x7F in the target pass, as in Go.

    @raise ProtocolError: the line is malformed.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        raise ProtocolError("the request line is not of the form METHOD TARGET VERSION")
    method, target, version = parts
    if not is_token(method):
        raise ProtocolError("the request method is malformed")
    if _TARGET.fullmatch(target) is None:
        raise ProtocolError("the request target is malformed")
    return method, target, _parse_version(version)


def parse_status_line(line: bytes) -> StatusLine:
    """
    Version, status and reason phrase (RFC 9112 section 4); the phrase, and the space before it, may be
    missing.

    @raise ProtocolError: the line is malformed.
    """
    version, _, rest = line.partition(b" ")
    parsed_version = _parse_version(version)
    status, _, reason = rest.partition(b" ")
    if _STATUS.fullmatch(status) is None:
        raise ProtocolError("the status line has no status of three digits")
    if _NOT_TEXT.search(reason) is not None:
        raise ProtocolError("the reason phrase has a control character")
    return parsed_version, int(status), reason


def parse_field(line: bytes) -> tuple[bytes, bytes]:
    """
    A field's name and value, the value without surrounding white space (RFC 9112 section 5).

    @raise ProtocolError: the line is malformed.
    """
    name, colon, value = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        raise ProtocolError("a header line is folded or begins with white space")
    if not colon:
        raise ProtocolError("a header line has no colon")
    if _TOKEN.fullmatch(name) is None:
        if name[-1:] in (b" ", b"\t"):
            raise ProtocolError("a header has white space before its colon")
        raise ProtocolError("a header name is malformed")
    if _NOT_TEXT.search(value) is not None:
        raise ProtocolError("a header value has a control character")
    return name, value.strip(b" \t")


class Section(Generic[T]):
    """
    Lines up to and with the empty one.

    @ivar start: the parsed start line, None until it is complete, and for trailers.
    @ivar complete: the empty line is there.
    """

    def __init__(self, limit: int, parse_start: Callable[[bytes], T] | None = None) -> None:
        """
        @param limit: the most bytes, with the empty line.
        @param parse_start: reads the start line; None when there is none (trailers).
        """
        self.start: T | None = None
        self.complete = False
        self._limit = limit
        self._parse_start = parse_start
        self._fields: list[tuple[bytes, bytes]] = []
        self._buffer = bytearray()
        self._line = 0
        self._scanned = 0

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> bool:
        """
        @return: whether the section is complete.
        @raise ProtocolError: a line is malformed, or there are too many.
        """
        buffer = self._buffer
        buffer += data
        while not self.complete:
            end = buffer.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(buffer)
                self._check_size(len(buffer))
                break
            self._check_size(end + 1)
            if end == self._line or buffer[end - 1] != 0x0D:
                raise ProtocolError("a line ends with LF alone, not with CR LF")
            line = bytes(memoryview(buffer)[self._line : end - 1])
            self._line = self._scanned = end + 1
            self._take(line)
        return self.complete

    def take(self) -> tuple[bytes, Headers, bytes]:
        """@return: of the complete section its bytes, its fields, and the bytes that follow it."""
        with memoryview(self._buffer) as view:
            raw, rest = bytes(view[: self._line]), bytes(view[self._line :])
        return raw, Headers(tuple(self._fields)), rest

    def take_unparsed(self) -> bytes:
        """@return: everything fed so far, whether it was judged or not."""
        return bytes(self._buffer)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise ProtocolError(f"the head, or the trailers, are larger than {self._limit} bytes", 431)

    def _take(self, line: bytes) -> None:
        """Judges one line, given without its CR LF."""
        if self._parse_start is not None and self.start is None:
            if not line:
                raise ProtocolError("an empty line stands where a message should begin")
            self.start = self._parse_start(line)
        elif not line:
            self.complete = True
        elif len(self._fields) == MAX_FIELDS:
            raise ProtocolError(f"there are more than {MAX_FIELDS} header lines", 431)
        else:
            self._fields.append(parse_field(line))
