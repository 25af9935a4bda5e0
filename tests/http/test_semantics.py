"""
Tests for L{remotedocker.http._semantics}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import (
    Headers,
    RequestHead,
    ResponseHead,
    expects_continue,
    keeps_alive,
    looks_like_http,
    wants_upgrade,
)


def request(version: tuple[int, int], *fields: tuple[bytes, bytes]) -> RequestHead:
    """A request with these fields."""
    return RequestHead(b"POST", b"/", version, Headers(fields), b"")


class LooksLikeHTTPTests(SynchronousTestCase):
    """The first bytes decide between HTTP and a raw relay."""

    def test_http(self) -> None:
        """A method and a space are HTTP, however odd the method."""
        for data in (
            b"GET ",
            b"POST /x HTTP/1.1\r\n",
            b"get /",
            b"PRI ",
            b"PRI * HTTP/2.1",
            b"P /",
            b"M-SEARCH *",
        ):
            if data == b"PRI ":
                self.assertIsNone(looks_like_http(data))
            else:
                self.assertIs(looks_like_http(data), True, data)

    def test_other(self) -> None:
        """TLS, HTTP/2, other protocols' greetings and garbage are not."""
        for data in (
            b"\x16\x03\x01\x02\x00\x01",
            b"\x16",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"GET\r\n",
            b"GET\t/ HTTP/1.1",
            b" GET / HTTP/1.1",
            b"\r\nGET / HTTP/1.1",
            b"\0\0\0",
            b"{}",
            b"\xff\xfb",
        ):
            self.assertIs(looks_like_http(data), False, data)

    def test_undecided(self) -> None:
        """What may still become a method is not decided."""
        for data in (b"", b"G", b"DELETE", b"P", b"PR", b"PRI", b"PRI *", b"PRI * HTTP/2.0\r"):
            self.assertIsNone(looks_like_http(data), data)

    def test_decides_early(self) -> None:
        """An endless token is taken for HTTP, and left to the parser, after 33 bytes."""
        self.assertIsNone(looks_like_http(b"A" * 32))
        self.assertIs(looks_like_http(b"A" * 33), True)

    def test_decision_stands(self) -> None:
        """More bytes never turn a decision round."""
        for data in (
            b"PRI * HTTP/2.0\r\n\r\nSM",
            b"POST / HTTP/1.1\r\n",
            b"\x16\x03\x01\x00",
            b"PRIOR / HTTP/1.1",
        ):
            decisions = [looks_like_http(data[:size]) for size in range(len(data) + 1)]
            decided = [decision for decision in decisions if decision is not None]
            self.assertEqual(len(set(decided)), 1, data)
            self.assertNotIn(None, decisions[decisions.index(decided[0]) :])


class ConnectionTests(SynchronousTestCase):
    """What heads say about the connection."""

    def test_keeps_alive(self) -> None:
        """HTTP/1.1 lives on unless it says close, HTTP/1.0 only if it says so."""
        for version, options, expected in (
            ((1, 1), (), True),
            ((1, 1), (b"close",), False),
            ((1, 1), (b"Upgrade, Close",), False),
            ((1, 1), (b"keep-alive",), True),
            ((1, 0), (), False),
            ((1, 0), (b"Keep-Alive",), True),
            ((1, 0), (b"keep-alive", b"close"), False),
        ):
            head = request(version, *((b"Connection", option) for option in options))
            self.assertIs(keeps_alive(head), expected, (version, options))

    def test_keeps_alive_of_a_response(self) -> None:
        """The same question goes to responses."""
        head = ResponseHead(200, b"OK", (1, 1), Headers(((b"connection", b"close"),)), b"")
        self.assertFalse(keeps_alive(head))

    def test_wants_upgrade(self) -> None:
        """An Upgrade field is enough, as for dockerd: Connection and the value do not matter."""
        self.assertTrue(wants_upgrade(request((1, 1), (b"UPGRADE", b""))))
        self.assertFalse(wants_upgrade(request((1, 1), (b"Connection", b"Upgrade"))))

    def test_expects_continue(self) -> None:
        """Only an HTTP/1.1 client can wait for an interim response."""
        self.assertTrue(expects_continue(request((1, 1), (b"expect", b"100-Continue"))))
        self.assertFalse(expects_continue(request((1, 0), (b"expect", b"100-continue"))))
        self.assertFalse(expects_continue(request((1, 1))))
