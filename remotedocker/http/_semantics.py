# -*- test-case-name: tests.http.test_semantics -*-
"""
Small questions about messages, and about bytes that may not be any.
"""

from __future__ import annotations

from remotedocker.http._events import RequestHead, ResponseHead
from remotedocker.http._section import is_token

__all__ = ["expects_continue", "keeps_alive", "looks_like_http", "wants_upgrade"]

_LONGEST_METHOD = 32
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"


def looks_like_http(data: bytes) -> bool | None:
    """
    Whether the first bytes of a connection can begin an HTTP/1.1 request: a method, which is a token, and a
    space (RFC 9112 section 3). What Go would read as a request never gives False, so that nothing that the
    daemon would serve as HTTP/1.1 can pass for something else.

    @return: None while more bytes are needed; False for anything else, such as a TLS hello, the preface of
        HTTP/2 (RFC 9113 section 3.4), or garbage. Decided after 33 bytes at the latest.
    """
    if data[: len(_HTTP2_PREFACE)] == _HTTP2_PREFACE[: len(data)]:
        return None if len(data) < len(_HTTP2_PREFACE) else False
    method, space, _ = data.partition(b" ")
    if not is_token(method[: _LONGEST_METHOD + 1]):
        return False
    if space or len(method) > _LONGEST_METHOD:
        return True
    return None


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
