# -*- test-case-name: tests.proxy.test_checks -*-
"""
Tests for L{remotedocker.proxy._checks}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import BrowserRefused, ForeignHost, RemoteDockerError
from remotedocker.http import RequestHead, RequestParser
from remotedocker.proxy._checks import RequestCheck


def _head(target: str = "/_ping", headers: str = "Host: localhost\r\n") -> RequestHead:
    (head, *_) = RequestParser().feed(f"POST {target} HTTP/1.1\r\n{headers}\r\n".encode())
    assert isinstance(head, RequestHead)
    return head


class RequestCheckTests(SynchronousTestCase):
    """Requests to a TCP listener."""

    check = RequestCheck(("192.0.2.7", "[2001:db8::1]"), endpoint="tcp://192.0.2.7:23750")

    def refusal(self, head: RequestHead) -> RemoteDockerError | None:
        """@return: why it is refused."""
        return self.check(head)

    def test_browsers(self) -> None:
        """What only browsers send is refused, however it is spelled, with its name in the message."""
        for header in ("Origin", "oRIGIN", "Sec-Fetch-Site", "Referer"):
            refusal = self.refusal(_head(headers=f"Host: localhost\r\n{header}: http://evil.example\r\n"))
            self.assertIsInstance(refusal, BrowserRefused)
            assert refusal is not None
            self.assertIn(header.lower(), refusal.message.lower())

    def test_emptyOrigin(self) -> None:
        """A field without a value counts."""
        self.assertIsInstance(self.refusal(_head(headers="Host: d\r\nOrigin:\r\n")), BrowserRefused)

    def test_ownHosts(self) -> None:
        """The names that Docker clients use, with and without a port, and the listener's own, pass."""
        for host in (
            "",
            "docker",
            "localhost",
            "localhost:23750",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.0.0.1:23750",
            "[::1]",
            "[::1]:23750",
            "api.moby.localhost",
            "192.0.2.7:23750",
            "[2001:db8::1]:23750",
            "localhost:",
        ):
            self.assertIsNone(self.refusal(_head(headers=f"Host: {host}\r\n")), host)

    def test_noHost(self) -> None:
        """Without the field the daemon itself says what it thinks of that."""
        self.assertIsNone(self.refusal(_head(headers="")))

    def test_foreignHosts(self) -> None:
        """Any other name may be a rebound one."""
        for host in (
            "evil.example",
            "evil.example:23750",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "192.0.2.8",
            "[::2]",
            "localhost:23750:1",
            "user@localhost",
            "localhost/",
            "::1",
        ):
            refusal = self.refusal(_head(headers=f"Host: {host}\r\n"))
            self.assertIsInstance(refusal, ForeignHost, host)
            assert refusal is not None
            self.assertIn("tcp://192.0.2.7:23750", refusal.message)

    def test_absoluteForm(self) -> None:
        """A host in the target counts as well: Go takes it rather than the field."""
        self.assertIsNone(self.refusal(_head("http://localhost:23750/_ping")))
        for target in ("http://evil.example/_ping", "HTTP://evil.example", "http://localhost@evil.example/"):
            self.assertIsInstance(self.refusal(_head(target)), ForeignHost, target)

    def test_anyAddress(self) -> None:
        """A listener on all addresses takes every address, and still no names."""
        check = RequestCheck(any_address=True)
        for host in ("192.0.2.9:23750", "[2001:db8::2]"):
            self.assertIsNone(check(_head(headers=f"Host: {host}\r\n")))
        for host in ("evil.example", "[evil.example]", "192.0.2"):
            self.assertIsInstance(check(_head(headers=f"Host: {host}\r\n")), ForeignHost)
