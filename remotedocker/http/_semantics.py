# -*- test-case-name: tests.http.test_semantics -*-
"""
Small questions about messages, and about bytes that may not be any.
"""

from __future__ import annotations

import re

from remotedocker.http._events import RequestHead, ResponseHead
from remotedocker.http._section import is_token

__all__ = ["expects_continue", "keeps_alive", "looks_like_http", "wants_upgrade"]

_LONGEST_FIRST_LINE = 8192
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
_NAMES_HTTP = re.compile(rb"[\t-\r ]HTTP/", re.IGNORECASE)


def looks_like_http(data: bytes) -> bool | None:
    """
    Whether the first bytes of a connection begin an HTTP/1 request, well formed or not. The border: empty
    lines, which a server may ignore (RFC 9112 section 2.2), then a first line that begins with a method, i.e.
    a token, and a space, and in which C{HTTP/}, in any case, follows white space. A first line that is longer
    than 8 KiB counts as HTTP, unless it begins otherwise.

    The shape of a request line (RFC 9112 section 3) is drawn wider than any server reads it, so that nothing
    that the daemon, or a lenient server before it, would serve as HTTP/1 can pass for something else; what is
    malformed is for the parser to refuse. Go's C{net/http} needs C{HTTP/} after the second space.

    @return: None while more bytes are needed; False for anything else, such as a TLS hello, the preface of
        HTTP/2 (RFC 9113 section 3.4), or garbage, printable or not. More bytes never change a decision.
    """
    if data[: len(_HTTP2_PREFACE)] == _HTTP2_PREFACE[: len(data)]:
        return None if len(data) < len(_HTTP2_PREFACE) else False
    judged = data[:_LONGEST_FIRST_LINE].lstrip(b"\r\n")
    line, ended, _ = judged.partition(b"\n")
    method = line.partition(b" ")[0]
    if line and not is_token(method):
        return False
    if _NAMES_HTTP.search(line, len(method)):
        return True
    if ended:
        return False
    return True if len(data) >= _LONGEST_FIRST_LINE else None


def keeps_alive(head: RequestHead | ResponseHead) -> bool:
    """Whether the sender of C{head} lets the connection live on after this message (RFC 9112 section 9.3)."""
    options = head.headers.tokens(b"connection")
    if head.version < (1, 1):
        return b"keep-alive" in options and b"close" not in options
    return b"close" not in options


def wants_upgrade(head: RequestHead) -> bool:
    """
    Whether an C{Upgrade} field is there. dockerd looks at nothing else when it hijacks: not at its value, and
    not at C{Connection}.
    """
    return head.headers.get(b"upgrade") is not None


def expects_continue(head: RequestHead) -> bool:
    """Whether the client may wait for C{100 Continue} before it sends the body (RFC 9110 section 10.1.1)."""
    return head.version >= (1, 1) and b"100-continue" in head.headers.tokens(b"expect")
