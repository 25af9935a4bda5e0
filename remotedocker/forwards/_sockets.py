# -*- test-case-name: tests.forwards.test_sockets -*-
"""
A local TCP port that is taken, and listens only when it leads somewhere.

Between a container's runs, and before its first, nobody else shall get its port, and nobody shall get into
it: connections are refused, as they are where no listener is. So the socket stays bound and does not
listen. Linux allows this for a socket that listened before: C{shutdown(SHUT_RD)} ends listening, resets
what was not accepted and keeps an explicitly bound port (C{inet_shutdown}, C{tcp_disconnect}). Another
program that sets C{SO_REUSEADDR} could still listen on such a port; it cannot while the option is off here.
Where a system does not allow it, the port goes on listening, and its owner closes what it accepts.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from ipaddress import ip_address

from remotedocker.forwards._plan import LocalAddress

__all__ = ["TCPSocket"]

_BACKLOG = 4096
"""Connections waiting to be accepted; the kernel cuts it to C{net.core.somaxconn}."""


class TCPSocket:
    """
    Takes a port and refuses connections until L{listen}.

    @ivar held: connections are refused; while this is false they must be accepted by somebody.
    @raise OSError: the port cannot be had; C{errno} says why.
    """

    def __init__(self, address: LocalAddress) -> None:
        self.family = socket.AF_INET6 if ip_address(address.host).version == 6 else socket.AF_INET
        self.held = False
        self._socket = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            if sys.platform != "win32":
                # Connections of an earlier listener that linger (TIME_WAIT) are no obstacle.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((address.host, address.number))
            # Only listening tells for certain that nobody else has the port.
            self._socket.listen(_BACKLOG)
            self.hold()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for a reactor to adopt a duplicate of."""
        return self._socket.fileno()

    def listen(self) -> None:
        """Lets connections in. @raise OSError: somebody else listens there."""
        if sys.platform != "win32":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.listen(_BACKLOG)
        self.held = False

    def hold(self) -> None:
        """Refuses connections from now on, and keeps the port, where the system can do this (L{held})."""
        if self.held:
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            return
        self.held = True

    def close(self) -> None:
        """Stops listening at once; the port is free when the reactor has closed its duplicate, too."""
        if self._socket.fileno() >= 0:
            if sys.platform != "win32":
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
            self._socket.close()
