# -*- test-case-name: tests.forwards.test_sockets -*-
"""
Ports that are taken without listening.
"""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.forwards._plan import LocalAddress
from remotedocker.forwards._sockets import TCPSocket
from tests.forwards.support import free_numbers

__all__ = ["TCPSocketTests"]


def connects(address: LocalAddress) -> bool:
    """Whether a connection to C{address} is let in."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(5)
        try:
            client.connect((address.host, address.number))
        except ConnectionRefusedError:
            return False
        return True


def listens(address: LocalAddress, reuse: bool) -> bool:
    """Whether another program could listen on C{address}, with or without C{SO_REUSEADDR}."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        try:
            other.bind((address.host, address.number))
            other.listen(1)
        except OSError:
            return False
        return True


class TCPSocketTests(SynchronousTestCase):
    """On the real loopback, IPv4 and IPv6."""

    def setUp(self) -> None:
        """A free number."""
        (self.number,) = free_numbers(1)

    def take(self, host: str = "127.0.0.1") -> TCPSocket:
        """Takes the number, until the test ends."""
        taken = TCPSocket(LocalAddress(host, self.number))
        self.addCleanup(taken.close)
        return taken

    def test_held(self) -> None:
        """At first the port is taken, for every other program, and refuses connections."""
        for host in ("127.0.0.1", "::1"):
            address = LocalAddress(host, self.number)
            taken = self.take(host)
            self.assertTrue(taken.held)
            self.assertFalse(connects(address))
            self.assertFalse(listens(address, reuse=False))
            self.assertFalse(listens(address, reuse=True))

    def test_listens_and_is_held_again(self) -> None:
        """It lets connections in while it is told to, any number of times."""
        for host in ("127.0.0.1", "::1"):
            address = LocalAddress(host, self.number)
            taken = self.take(host)
            for _ in range(3):
                taken.listen()
                self.assertFalse(taken.held)
                self.assertTrue(connects(address))
                taken.hold()
                taken.hold()
                self.assertTrue(taken.held)
                self.assertFalse(connects(address))
                self.assertFalse(listens(address, reuse=True))

    def test_close(self) -> None:
        """A port given back is free for others, whether it listened or not; closing again does nothing."""
        address = LocalAddress("127.0.0.1", self.number)
        for listening in (False, True):
            taken = self.take()
            if listening:
                taken.listen()
            taken.close()
            taken.close()
            self.assertTrue(listens(address, reuse=True))

    def test_taken(self) -> None:
        """A port on which somebody listens cannot be had."""
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", self.number))
            other.listen(1)
            with self.assertRaises(OSError) as raised:
                self.take()
        self.assertEqual(raised.exception.errno, errno.EADDRINUSE)

    def test_all_addresses(self) -> None:
        """The address for all of one family leaves the other family free, and excludes the loopback."""
        self.take("0.0.0.0")
        self.take("::")
        with self.assertRaises(OSError) as raised:
            self.take("127.0.0.1")
        self.assertEqual(raised.exception.errno, errno.EADDRINUSE)

    def test_no_such_address(self) -> None:
        """An address of another machine cannot be had."""
        with self.assertRaises(OSError) as raised:
            self.take("203.0.113.9")
        self.assertEqual(raised.exception.errno, errno.EADDRNOTAVAIL)

    def test_lingering_connections(self) -> None:
        """Connections of an earlier listener, open or lingering, are no obstacle."""
        address = ("127.0.0.1", self.number)
        first = self.take()
        first.listen()
        with socket.create_connection(address), socket.create_connection(address) as lingering:
            server = socket.socket(fileno=first.fileno())
            accepted = [server.accept()[0], server.accept()[0]]
            server.detach()
            accepted[1].close()
            lingering.close()
            first.close()
            again = self.take()
            again.listen()
            self.assertTrue(connects(LocalAddress(*address)))
            accepted[0].close()

    def test_system_without_it(self) -> None:
        """Where a listening socket cannot be held, it goes on listening and says so."""

        def refuse(self: socket.socket, how: int) -> None:
            raise OSError(errno.ENOTCONN, "not connected")

        self.patch(socket.socket, "shutdown", refuse)
        taken = self.take()
        self.assertFalse(taken.held)
        self.assertTrue(connects(LocalAddress("127.0.0.1", self.number)))
