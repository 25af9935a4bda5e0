# -*- test-case-name: tests.proxy.test_errors -*-
"""
Answers that the proxy makes itself, in Docker's form.

The CLI prints the message of a C{{"message": …}} only under exactly C{application/json}, and Go's client
complains on the user's terminal about a body that follows the answer to HEAD.
"""

from __future__ import annotations

from remotedocker.docker import error_body
from remotedocker.errors import BadRequest, RemoteDockerError
from remotedocker.http import Headers, ProtocolError, RequestHead, encode_response

__all__ = ["error_answer", "is_bug"]

_UNEXPECTED = "remotedocker failed on an error of its own; its log says more"


def is_bug(error: Exception) -> bool:
    """Whether C{error} is none that users are told about."""
    return not isinstance(error, (RemoteDockerError, ProtocolError))


def _status_and_message(error: Exception) -> tuple[int, str]:
    if isinstance(error, RemoteDockerError):
        return error.status, error.message
    if isinstance(error, ProtocolError):
        return error.status, BadRequest(reason=f"malformed HTTP: {error.reason}").message
    return 500, _UNEXPECTED


def error_answer(error: Exception, request: RequestHead | None, close: bool) -> bytes:
    """
    The whole answer to C{request}.

    @param request: None if it could not even be read.
    @param close: the connection is closed after it.
    """
    status, message = _status_and_message(error)
    headers = Headers(((b"Content-Type", b"application/json"),))
    if close:
        headers = headers.adding(b"Connection", b"close")
    return encode_response(
        status,
        headers,
        error_body(message),
        to_head=request is not None and request.method == b"HEAD",
    )
