# -*- test-case-name: tests.proxy.test_address -*-
"""
Tests for L{remotedocker.proxy._address}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.proxy import ListenAddress
from remotedocker.proxy._address import ListenKind


class ListenAddressTests(SynchronousTestCase):
    """Values of C{--listen}."""

    def test_tcp(self) -> None:
        """Hosts and ports, as typed here and in C{DOCKER_HOST}."""
        for text, host, port, docker_host in (
            ("127.0.0.1:23750", "127.0.0.1", 23750, "tcp://127.0.0.1:23750"),
            ("tcp://127.0.0.1:23750", "127.0.0.1", 23750, "tcp://127.0.0.1:23750"),
            ("localhost:2375", "127.0.0.1", 2375, "tcp://127.0.0.1:2375"),
            ("[::1]:2375", "::1", 2375, "tcp://[::1]:2375"),
            ("192.0.2.7:1", "192.0.2.7", 1, "tcp://192.0.2.7:1"),
            ("0.0.0.0:2375", "0.0.0.0", 2375, "tcp://127.0.0.1:2375"),
            ("[::]:2375", "::", 2375, "tcp://[::1]:2375"),
            (":2375", "", 2375, "tcp://127.0.0.1:2375"),
        ):
            address = ListenAddress.parse(text)
            self.assertEqual((address.kind, address.host, address.port), (ListenKind.TCP, host, port), text)
            self.assertEqual(address.docker_host, docker_host)
            self.assertTrue(address.checks_browsers)

    def test_local(self) -> None:
        """Which addresses other machines can reach."""
        for text, local in (
            ("127.0.0.1:1", True),
            ("127.1.2.3:1", True),
            ("localhost:1", True),
            ("[::1]:1", True),
            ("unix:/run/x.sock", True),
            ("unix:/run/x.sock:mode=660", True),
            ("tcp:1:interface=127.0.0.1", True),
            (r"tcp6:1:interface=\:\:1", True),
            ("192.0.2.7:1", False),
            ("0.0.0.0:1", False),
            ("[::]:1", False),
            (":1", False),
            ("tcp:1", False),
            ("tcp:1:interface=192.0.2.7", False),
            ("systemd:domain=INET:index=0", None),
        ):
            self.assertEqual(ListenAddress.parse(text).is_local, local, text)

    def test_unix(self) -> None:
        """Paths of unix sockets."""
        for text in ("unix:/run/user/1000/d.sock", "unix:///run/user/1000/d.sock"):
            address = ListenAddress.parse(text)
            self.assertEqual((address.kind, address.path), (ListenKind.UNIX, "/run/user/1000/d.sock"))
            self.assertEqual(address.docker_host, "unix:///run/user/1000/d.sock")
            self.assertFalse(address.checks_browsers)

    def test_description(self) -> None:
        """Twisted's endpoint descriptions are recognised."""
        for text, path, host in (
            ("tcp:2375:interface=127.0.0.1", "", "127.0.0.1"),
            ("unix:/run/d.sock:mode=660", "/run/d.sock", ""),
            ("systemd:domain=UNIX:index=0", "", ""),
            (r"tcp6:2375:interface=\:\:1", "", "::1"),
        ):
            address = ListenAddress.parse(text)
            self.assertEqual((address.kind, address.path, address.host), (ListenKind.DESCRIPTION, path, host))

    def test_names(self) -> None:
        """What a Host field may say of an address beside the usual names."""
        self.assertEqual(ListenAddress.parse("192.0.2.7:1").names, ("192.0.2.7",))
        self.assertEqual(ListenAddress.parse("[2001:DB8::1]:1").names, ("[2001:db8::1]",))
        self.assertEqual(ListenAddress.parse("0.0.0.0:1").any_address, True)
        self.assertEqual(ListenAddress.parse("127.0.0.1:1").any_address, False)
        self.assertEqual(ListenAddress.parse("unix:/x").any_address, False)

    def test_refused(self) -> None:
        """What is none of these is refused, with the value in the message."""
        for text in (
            "",
            "127.0.0.1",
            "23750",
            "myhost:23750",
            "127.0.0.1:99999",
            "127.0.0.1:port",
            "::1:23750",
            "unix:relative",
            "unix:",
            "/run/d.sock",
            "http://127.0.0.1:1",
        ):
            error = self.assertRaises(ValueError, ListenAddress.parse, text)
            self.assertIn(f"--listen {text}", str(error))
