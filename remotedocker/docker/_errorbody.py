# -*- test-case-name: tests.docker.test_errorbody -*-
"""
Docker's form of an error.
"""

from __future__ import annotations

from remotedocker.docker._json import JSONObject, write

__all__ = ["error_body"]


def error_body(message: str) -> bytes:
    """
    @return: the body that the daemon would send with that message; it belongs to the content type
        C{application/json}, exactly.
    """
    return write(JSONObject([("message", message)])) + b"\n"
