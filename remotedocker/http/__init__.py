# -*- test-case-name: tests.http.test_parser -*-
"""
HTTP/1.1 (RFC 9110, RFC 9112) as a proxy must see it: bytes in, events out, and nothing changed on the way.
No I/O, no Twisted, and nothing of Docker here.
"""

from __future__ import annotations

from remotedocker.http._encode import encode_request, encode_response
from remotedocker.http._errors import ProtocolError
from remotedocker.http._events import Data, EndOfMessage, Event, RequestHead, ResponseHead
from remotedocker.http._headers import Headers
from remotedocker.http._parser import RequestParser, ResponseParser
from remotedocker.http._section import MAX_HEAD
from remotedocker.http._semantics import expects_continue, keeps_alive, looks_like_http, wants_upgrade

__all__ = [
    "MAX_HEAD",
    "Data",
    "EndOfMessage",
    "Event",
    "Headers",
    "ProtocolError",
    "RequestHead",
    "RequestParser",
    "ResponseHead",
    "ResponseParser",
    "encode_request",
    "encode_response",
    "expects_continue",
    "keeps_alive",
    "looks_like_http",
    "wants_upgrade",
]
