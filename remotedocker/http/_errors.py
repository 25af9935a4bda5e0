# -*- test-case-name: tests.http.test_parser -*-
"""
How a parser says that its input is not the HTTP/1.1 that is accepted here.
"""

from __future__ import annotations

__all__ = ["ProtocolError"]


class ProtocolError(Exception):
    """
    The peer broke the protocol, or used a leniency that could make two readers disagree on where a
    message ends. The connection cannot be used any further.

    @ivar reason: what is wrong, as part of a sentence.
    @ivar status: the status to answer a client with: 400, 431 (head too large) or 505 (version) for a
        request, 502 for a response.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
