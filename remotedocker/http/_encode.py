# -*- test-case-name: tests.http.test_encode -*-
"""
Messages built anew: those that are rewritten, our own questions, and our own answers.
"""

from __future__ import annotations

import re

from remotedocker.http._headers import Headers
from remotedocker.http._section import is_token

__all__ = ["encode_request", "encode_response"]

_BREAKS_LINE = re.compile(rb"[\r\n\0]")
_REASONS = {
    100: b"Continue",
    101: b"Switching Protocols",
    200: b"OK",
    201: b"Created",
    204: b"No Content",
    304: b"Not Modified",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    409: b"Conflict",
    411: b"Length Required",
    413: b"Request Entity Too Large",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}
"""As Go's C{net/http}, and so dockerd, writes them; Python's own differ between its versions."""

_FRAMING = (b"content-length", b"transfer-encoding", b"trailer")


def _version(version: tuple[int, int]) -> bytes:
    return b"HTTP/%d.%d" % version


def _encode(start: bytes, headers: Headers, body: bytes) -> bytes:
    """@raise ValueError: a part would break the message apart."""
    for name, value in headers:
        if not is_token(name) or _BREAKS_LINE.search(value) is not None:
            raise ValueError(f"the field {name!r} cannot stand in a head")
    return b"%b\r\n%b\r\n%b" % (start, headers.encode(), body)


def _framed(headers: Headers, length: int) -> Headers:
    """The same fields with C{length} as the only framing, where the old framing stood."""
    fields: list[tuple[bytes, bytes]] = []
    wanted: list[tuple[bytes, bytes]] = [(b"Content-Length", b"%d" % length)]
    for name, value in headers:
        if name.lower() in _FRAMING:
            fields += wanted
            wanted = []
        else:
            fields.append((name, value))
    return Headers((*fields, *wanted))


def encode_request(
    method: bytes,
    target: bytes,
    headers: Headers,
    body: bytes | None = None,
    *,
    version: tuple[int, int] = (1, 1),
) -> bytes:
    """
    A whole request.

    @param headers: sent as they are, but with a body its framing (C{Content-Length}, C{Transfer-Encoding},
        C{Trailer}) is replaced by the body's length.
    @param body: None for a request without one; its C{headers} are not touched.
    @raise ValueError: a part would break the message apart.
    """
    if not is_token(method) or not target or re.search(rb"[\x00-\x20\x7f]", target) is not None:
        raise ValueError("the method or the target cannot stand in a request line")
    if body is not None:
        headers = _framed(headers, len(body))
    return _encode(b"%b %b %b" % (method, target, _version(version)), headers, body or b"")


def encode_response(
    status: int,
    headers: Headers,
    body: bytes = b"",
    *,
    reason: bytes | None = None,
    version: tuple[int, int] = (1, 1),
    to_head: bool = False,
) -> bytes:
    """
    A whole response.

    @param headers: sent as they are, but with their framing replaced by the body's length; with 1xx, 204 and
        304, which have no body, framing is left out.
    @param reason: the reason phrase; None: the usual one of C{status}, empty if there is none.
    @param to_head: it answers HEAD: the length is that of C{body}, but the body is left out.
    @raise ValueError: a part would break the message apart.
    """
    if reason is None:
        reason = _REASONS.get(status, b"")
    if _BREAKS_LINE.search(reason) is not None:
        raise ValueError("the reason phrase cannot stand in a status line")
    start = b"%b %03d %b" % (_version(version), status, reason)
    if status < 200 or status in (204, 304):
        return _encode(start, headers.without(*_FRAMING), b"")
    return _encode(start, _framed(headers, len(body)), b"" if to_head else body)
