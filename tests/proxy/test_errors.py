# -*- test-case-name: tests.proxy.test_errors -*-
"""
Tests for L{remotedocker.proxy._errors}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import BadRequest, DaemonUnreachable
from remotedocker.http import ProtocolError, RequestHead, RequestParser
from remotedocker.proxy._errors import error_answer, is_bug


def _head(method: str) -> RequestHead:
    (head, *_) = RequestParser().feed(f"{method} / HTTP/1.1\r\n\r\n".encode())
    assert isinstance(head, RequestHead)
    return head


class ErrorAnswerTests(SynchronousTestCase):
    """Docker's form of an error."""

    error = DaemonUnreachable(socket="unix:///d.sock", destination="me@remote", reason="no")

    def test_form(self) -> None:
        """Status, exact content type, length and one JSON object on a line."""
        head, _, body = error_answer(self.error, _head("GET"), close=False).partition(b"\r\n\r\n")
        self.assertEqual(
            head.split(b"\r\n"),
            [
                b"HTTP/1.1 502 Bad Gateway",
                b"Content-Type: application/json",
                b"Content-Length: %d" % len(body),
            ],
        )
        self.assertEqual(json.loads(body), {"message": self.error.message})
        self.assertTrue(body.endswith(b"}\n"))

    def test_close(self) -> None:
        """The end of the connection is announced."""
        self.assertIn(b"\r\nConnection: close\r\n", error_answer(self.error, None, close=True))

    def test_head(self) -> None:
        """HEAD is answered without a body, but with its length."""
        self.assertEqual(
            error_answer(self.error, _head("HEAD"), close=False),
            error_answer(self.error, _head("GET"), close=False).partition(b"{")[0],
        )

    def test_protocolError(self) -> None:
        """Malformed HTTP has the parser's status and words."""
        answer = error_answer(ProtocolError("the head is too large", 431), None, close=True)
        self.assertTrue(answer.startswith(b"HTTP/1.1 431 "))
        self.assertIn(b"malformed HTTP: the head is too large", answer)

    def test_bug(self) -> None:
        """A bug is 500 and says nothing of itself."""
        answer = error_answer(ZeroDivisionError("secret"), _head("GET"), close=False)
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n"))
        self.assertNotIn(b"secret", answer)

    def test_isBug(self) -> None:
        """Errors for users and broken protocols are no bugs."""
        self.assertEqual(
            [is_bug(error) for error in (BadRequest(reason="x"), ProtocolError("x"), ValueError("x"))],
            [False, False, True],
        )
