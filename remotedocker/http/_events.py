# -*- test-case-name: tests.http.test_parser -*-
"""
What the parsers report. Every event has the bytes it came from in C{raw}; the C{raw} of all events in
order are the input, byte for byte.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.http._headers import Headers

__all__ = ["Data", "EndOfMessage", "Event", "RequestHead", "ResponseHead"]


@frozen
class RequestHead:
    """
    A request line and its fields (RFC 9112 sections 3 and 5).

    @ivar method: as sent.
    @ivar target: as sent, not decoded.
    @ivar version: C{(1, 0)} or C{(1, 1)}.
    @ivar headers: in order, with the case they came in.
    @ivar raw: the head's bytes, with the empty line.
    """

    method: bytes
    target: bytes
    version: tuple[int, int]
    headers: Headers
    raw: bytes


@frozen
class ResponseHead:
    """
    A status line and its fields (RFC 9112 sections 4 and 5); also an interim (1xx) one.

    @ivar status: 100 to 999.
    @ivar reason: the reason phrase, may be empty.
    """

    status: int
    reason: bytes
    version: tuple[int, int]
    headers: Headers
    raw: bytes


@frozen
class Data:
    """
    A piece of a body.

    @ivar payload: the content, without chunk framing; may be empty.
    @ivar raw: the same with chunk framing, as it came.
    """

    payload: bytes
    raw: bytes


@frozen
class EndOfMessage:
    """
    The message is complete.

    @ivar raw: what of its bytes were not reported yet: the last chunk and the trailers, or nothing.
    @ivar trailers: the trailer fields, if any.
    """

    raw: bytes
    trailers: Headers


Event = RequestHead | ResponseHead | Data | EndOfMessage
