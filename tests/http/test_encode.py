"""
Tests for L{remotedocker.http._encode}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import Headers, encode_request, encode_response
from tests.http.observing import observe_requests, observe_responses, request_head


class EncodeRequestTests(SynchronousTestCase):
    """L{encode_request}."""

    def test_without_body(self) -> None:
        """Without a body the fields stay as they are."""
        headers = Headers(((b"host", b"docker"), (b"Content-Length", b"0")))
        self.assertEqual(
            encode_request(b"GET", b"/_ping", headers),
            b"GET /_ping HTTP/1.1\r\nhost: docker\r\nContent-Length: 0\r\n\r\n",
        )

    def test_framing_is_replaced(self) -> None:
        """A body's length takes the place of whatever framing there was, and stands once."""
        headers = Headers(
            (
                (b"A", b"1"),
                (b"transfer-encoding", b"chunked"),
                (b"TRAILER", b"x"),
                (b"content-length", b"9"),
                (b"B", b"2"),
            )
        )
        self.assertEqual(
            encode_request(b"POST", b"/x?y", headers, b"{}", version=(1, 0)),
            b"POST /x?y HTTP/1.0\r\nA: 1\r\nContent-Length: 2\r\nB: 2\r\n\r\n{}",
        )

    def test_length_is_added(self) -> None:
        """Where there was no framing, the length is added, for an empty body too."""
        self.assertEqual(
            encode_request(b"POST", b"/", Headers(((b"Host", b""),)), b""),
            b"POST / HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n",
        )

    def test_parses(self) -> None:
        """What is encoded is parsed back."""
        data = encode_request(b"PUT", b"/a", Headers(((b"Host", b"h"),)), b"body")
        [message], raw, rest = observe_requests([data], ended=True)
        self.assertEqual((message.body, raw, rest), (b"body", data, b""))

    def test_refuses_to_break_apart(self) -> None:
        """A line end or a blank where none can stand is an error of the caller."""
        for method, target, field in (
            (b"GE T", b"/", (b"a", b"b")),
            (b"GET", b"/a b", (b"a", b"b")),
            (b"GET", b"", (b"a", b"b")),
            (b"GET", b"/\r\n", (b"a", b"b")),
            (b"GET", b"/", (b"a:", b"b")),
            (b"GET", b"/", (b"a", b"b\r\nc: d")),
            (b"GET", b"/", (b"a", b"b\0")),
        ):
            with self.assertRaises(ValueError):
                encode_request(method, target, Headers((field,)))


class EncodeResponseTests(SynchronousTestCase):
    """L{encode_response}."""

    def test_body(self) -> None:
        """Status, usual reason, fields, length and body."""
        self.assertEqual(
            encode_response(404, Headers(((b"Content-Type", b"application/json"),)), b"{}"),
            b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        )

    def test_head(self) -> None:
        """The answer to HEAD has the length and no body."""
        self.assertEqual(
            encode_response(503, Headers(), b"{}", to_head=True),
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n",
        )

    def test_bodiless(self) -> None:
        """1xx, 204 and 304 have neither body nor framing."""
        headers = Headers(((b"Content-Length", b"3"), (b"A", b"b")))
        self.assertEqual(encode_response(204, headers), b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n")
        self.assertEqual(encode_response(304, headers), b"HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n")
        self.assertEqual(encode_response(100, Headers()), b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_reason_and_version(self) -> None:
        """Both can be given; a status without a usual reason has an empty one."""
        self.assertEqual(
            encode_response(200, Headers(), reason=b"Fine", version=(1, 0)),
            b"HTTP/1.0 200 Fine\r\nContent-Length: 0\r\n\r\n",
        )
        self.assertEqual(encode_response(799, Headers()), b"HTTP/1.1 799 \r\nContent-Length: 0\r\n\r\n")

    def test_parses(self) -> None:
        """What is encoded is parsed back."""
        data = encode_response(200, Headers(((b"Transfer-Encoding", b"chunked"),)), b"body")
        [message], raw, rest = observe_responses([data], [request_head()])
        self.assertEqual((message.body, raw, rest), (b"body", data, b""))

    def test_refuses_to_break_apart(self) -> None:
        """A line end in the reason or in a field is an error of the caller."""
        with self.assertRaises(ValueError):
            encode_response(200, Headers(), reason=b"O\nK")
        with self.assertRaises(ValueError):
            encode_response(200, Headers(((b"a", b"\r"),)))
