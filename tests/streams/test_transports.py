# -*- test-case-name: tests.streams.test_transports -*-
"""
The contract of L{tests.contracts.transport} on transports in memory and on real sockets.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from tests.contracts.transport import TransportContract
from tests.support import MemoryNetwork, wait_until


class MemoryTransportTests(TransportContract, TestCase):
    """The pair in memory, with the resets of TCP."""

    async def connect(self, near: IProtocol, far: IProtocol) -> None:
        """Connects over a network in memory that the reactor drives."""
        self.network = MemoryNetwork(reactor)
        self.addCleanup(lambda: self.assertEqual(self.network.failures, []))
        self.network.connect(near, far)


class MemoryAcceptedTests(TransportContract, TestCase):
    """The accepted end of the pair in memory, tight, with the aborts of unix sockets."""

    abort_is_told = False

    async def connect(self, near: IProtocol, far: IProtocol) -> None:
        """Connects over a network in memory with little room."""
        MemoryNetwork(reactor, capacity=5000, read_size=3000, resets=False).connect(far, near)


class _Pair:
    """Connects over real endpoints."""

    def __init__(self, test: TestCase) -> None:
        self._test = test

    async def connect(self, server: Any, make_client: Any, near: Any, far: Any) -> None:
        factory = Factory.forProtocol(lambda: far)
        port = await server.listen(factory)
        self._test.addCleanup(port.stopListening)
        client = make_client(port.getHost())
        await client.connect(Factory.forProtocol(lambda: near))
        await wait_until(reactor, lambda: far.transport is not None)


class TCPTransportTests(TransportContract, TestCase):
    """Twisted's own TCP transport."""

    async def connect(self, near: IProtocol, far: IProtocol) -> None:
        """Connects over loopback."""
        await _Pair(self).connect(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            lambda address: TCP4ClientEndpoint(reactor, "127.0.0.1", address.port),
            near,
            far,
        )


class UnixTransportTests(TransportContract, TestCase):
    """Twisted's own transport over unix sockets."""

    abort_is_told = False

    async def connect(self, near: IProtocol, far: IProtocol) -> None:
        """Connects over a socket in a directory of its own."""
        path = os.path.join(self.mktemp(), "socket")
        os.makedirs(os.path.dirname(path))
        short = os.path.relpath(path)
        await _Pair(self).connect(
            UNIXServerEndpoint(reactor, short), lambda address: UNIXClientEndpoint(reactor, short), near, far
        )
