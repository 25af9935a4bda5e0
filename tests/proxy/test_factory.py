# -*- test-case-name: tests.proxy.test_factory -*-
"""
Tests for L{remotedocker.proxy._factory}: what listeners check, and what clients are told about the daemon.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from remotedocker.errors import DaemonUnreachable, SSHUnavailable
from remotedocker.proxy import ListenAddress
from tests.proxy.memory_case import ProxyCase
from tests.proxy.support import request


class TCPListenerTests(ProxyCase):
    """A listener that browsers can reach."""

    listen = "127.0.0.1:23750"

    def refused(self, headers: str) -> bytes:
        """@return: the answer to a request with these fields, after which the connection ends."""
        client = self.client()
        self.send(client, request("POST /v1.41/containers/x/start", headers=headers))
        self.assertTrue(client.eof)
        self.assertEqual(self.daemons, [])
        return bytes(client.received)

    def test_browser(self) -> None:
        """What a web page sends is refused before anything is done about it."""
        for field in (
            "Origin: http://evil.example",
            "Sec-Fetch-Site: cross-site",
            "Referer: http://evil.example",
        ):
            refused = self.refused(f"Host: 127.0.0.1:23750\r\n{field}\r\n")
            self.assertTrue(refused.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        self.assertEqual(self.containers.calls, [])

    def test_rebinding(self) -> None:
        """So is a foreign host, with the right endpoint in the message."""
        refused = self.refused("Host: evil.example:23750\r\n")
        self.assertTrue(refused.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        self.assertIn(b"tcp://127.0.0.1:23750", refused)

    def test_ownName(self) -> None:
        """A Docker client is let through."""
        client = self.client()
        self.send(client, request("GET /info", headers="Host: 127.0.0.1:23750\r\n"))
        self.assertEqual(len(self.daemons), 1)


class UnixListenerTests(ProxyCase):
    """A listener that browsers cannot reach."""

    def test_notChecked(self) -> None:
        """Every host will do."""
        client = self.client()
        self.send(client, request("GET /info", headers="Host: whatever\r\nOrigin: x\r\n"))
        self.assertEqual(len(self.daemons), 1)

    def test_httpOnly(self) -> None:
        """With C{--http-only} what is no HTTP is refused, with the endpoint named."""
        self.begin(http_only=True)
        client = self.client()
        self.send(client, b"\x16\x03\x01\x02\x00\x01")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertIn(b"DOCKER_HOST must be unix:///run/test.sock", client.received)
        self.assertTrue(client.eof)

    def test_addressKnownLater(self) -> None:
        """Messages name the port that the listener got in the end."""
        self.begin(http_only=True)
        listener = self.proxy.listener(ListenAddress.parse("127.0.0.1:0"))
        listener.listens_at(ListenAddress.parse("127.0.0.1:4711"))
        self.network.listeners["proxy"] = listener
        client = self.client()
        self.send(client, b"\x16\x03\x01\x02\x00\x01")
        self.assertIn(b"tcp://127.0.0.1:4711", client.received)


class DaemonErrorTests(ProxyCase):
    """Why the daemon is not there."""

    def test_ofOurs(self) -> None:
        """An error that is meant for users stays what it is."""
        down = SSHUnavailable(destination="me@remote", state="connecting", reason="no route")
        self.assertIs(self.proxy.daemon_error(Failure(down)), down)

    def test_ofOthers(self) -> None:
        """Any other becomes one, with its reason."""
        error = self.proxy.daemon_error(Failure(ConnectionRefusedError("no")))
        self.assertIsInstance(error, DaemonUnreachable)
        self.assertIn("refused", str(error))
