"""
Tests for L{remotedocker.http._semantics}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
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

    http = (
        b"POST /x HTTP/1.1\r\n",
        b"get / http/1.1\r\n",
        b"PRI * HTTP/2.1\r\n",
        b"PRIOR / HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /\tHTTP/1.1\r\n",
        b"GET /\rHTTP/1.1\r\n",
        b"GET HTTP/1.1\r\n",
        b"GET /\x00 HTTP/1.1\r\n",
        b"GET / HTTP/0.9\r\n",
        b"GET / HTTP/+1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\n\r\n\nGET / HTTP/1.1\r\n",
        b"how / do HTTP/you do\r\n",
        b"A" * 100 + b" / HTTP/1.1\r\n",
    )
    """Each becomes HTTP with the slash of its version, or before."""

    other = (
        b"\x16\x03\x01\x02\x00\x01 / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"how do you do\r\n\r\n",
        b"hello\n",
        b"EHLO mail.example.org\r\nGET / HTTP/1.1\r\n",
        b"GET /\r\nHost: HTTP/1.1\r\n",
        b"GET\r\n",
        b"GET\t/ HTTP/1.1",
        b" GET / HTTP/1.1",
        b"\0\0\0",
        b"{}",
        b"\xff\xfb",
        b"\r\n\r\n{}",
        b"A" * 100 + b"\n",
        b"A" * 100 + b" \x00\n",
    )

    def test_http(self) -> None:
        """A method, a space and then the name of the protocol are HTTP, malformed or not."""
        for data in self.http:
            self.assertIs(looks_like_http(data), True, data)
            self.assertIs(looks_like_http(data.rstrip(b"\r\n")), True, data)

    def test_other(self) -> None:
        """TLS, HTTP/2, other protocols' greetings and garbage, printable or not, are not."""
        for data in self.other:
            self.assertIs(looks_like_http(data), False, data)

    def test_undecided(self) -> None:
        """What may still become a first line is not decided."""
        for data in (
            b"",
            b"G",
            b"PRI",
            b"PRI *",
            b"PRI * HTTP/2.0\r",
            b"GET ",
            b"GET /x",
            b"GET /x HTTP",
            b"\r\n",
        ):
            self.assertIsNone(looks_like_http(data), data)

    def test_long(self) -> None:
        """A first line over 8 KiB is taken for HTTP, and left to the parser, if its beginning allows it."""
        for data in (b"A" * 8192, b"GET /" + b"x" * 8187, b"\r\n" * 4096):
            self.assertIsNone(looks_like_http(data[:-1]), data[:9])
            self.assertIs(looks_like_http(data), True, data[:9])
            self.assertIs(looks_like_http(data + b"\r\n{}"), True, data[:9])
        self.assertIs(looks_like_http(b"\xff" * 9000), False)

    def test_decision_stands(self) -> None:
        """At every split point the decision is not known yet, or the final one; more bytes never turn it."""
        for expected, corpus in ((True, self.http), (False, self.other)):
            for data in corpus:
                decisions = [looks_like_http(data[:size]) for size in range(len(data) + 1)]
                known = [decision for decision in decisions if decision is not None]
                self.assertEqual(set(known), {expected}, data)
                self.assertNotIn(None, decisions[decisions.index(expected) :], data)

    @given(
        st.lists(
            st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\r", b"\n", b"\t", b"x", b"\x00"])
        ),
        st.integers(0, 40),
    )
    def test_served_requests(self, parts: list[bytes], split: int) -> None:
        """Nothing that Go's server would take for a request passes for something else, wherever it is cut."""
        data = b"".join(parts)
        line, ended, _ = data.partition(b"\n")
        method, first, rest = line.removesuffix(b"\r").partition(b" ")
        version = rest.partition(b" ")[2]
        served = ended and first and method == b"GET" and version.startswith(b"HTTP/")
        if served:
            self.assertIs(looks_like_http(data), True)
            self.assertIsNot(looks_like_http(data[:split]), False)


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
