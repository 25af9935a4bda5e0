# -*- test-case-name: tests.streams.test_accept -*-
"""
Local connections, each relayed to an endpoint.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IStreamClientEndpoint,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from remotedocker.streams._hangup import Hangups
from remotedocker.streams._promptly import make_prompt
from remotedocker.streams._relay import Relay, RelayProtocol

__all__ = ["RelayFactory", "prepare_socket"]


_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""C{tcp(7)}: seconds of silence, seconds between probes, probes without an answer."""


def prepare_socket(transport: Any) -> None:
    """
    Sends small writes at once (see L{make_prompt}) and notices dead peers, where C{transport} is TCP. The
    system's own keepalive begins after two hours; a client that was killed while it waited for output is to
    be noticed sooner.
    """
    make_prompt(transport)
    handle: Any = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    # A socket knows its family without a call to the system; getHost does not.
    if handle is not None and handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if not ITCPTransport.providedBy(transport):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    if handle is not None:
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Accepted(RelayProtocol):
    """
    A local connection. The far side is being connected from the moment that it is accepted; until it is
    there, nothing is read.
    """

    def __init__(self, factory: RelayFactory, relay: Relay) -> None:
        super().__init__(relay.left)
        self._factory = factory
        self._relay = relay
        self._connecting: Deferred[IProtocol] | None = None

    def connectionMade(self) -> None:
        """Connects the far side."""
        prepare_socket(self.transport)
        super().connectionMade()
        self._factory.opened(self._relay)
        far_factory = Factory.forProtocol(lambda: RelayProtocol(self._relay.right))
        far_factory.noisy = False
        connecting = self._factory.endpoint().connect(far_factory)
        self._connecting = connecting
        connecting.addCallbacks(self._connected, self._refused)

    def _connected(self, _: IProtocol) -> None:
        self._connecting = None

    def _refused(self, failure: Failure) -> None:
        self._connecting = None
        self._relay.right.lost(failure)
        if not failure.check(CancelledError):
            self._factory.refused(failure)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Gives up connecting, or ends the far side."""
        super().connectionLost(reason)
        if self._connecting is not None:
            self._connecting.cancel()


class RelayFactory(Factory):
    """
    Relays each connection that it is given to an endpoint.

    A connection is accepted at once and its far side connected in the same instant. When that fails, it is
    reset.

    @param endpoint: called for each connection.
    @param on_refused: called with the failure when the far side could not be connected.
    @param hangups: see L{Relay}.
    @ivar relays: those that are open.
    @ivar bytes_in: bytes that came from local connections that are over.
    @ivar bytes_out: bytes that went to them.
    """

    noisy = False

    def __init__(
        self,
        endpoint: Callable[[], IStreamClientEndpoint],
        on_refused: Callable[[Failure], None] = lambda failure: None,
        hangups: Hangups | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.refused = on_refused
        self._hangups = hangups
        self.relays: set[Relay] = set()
        self.bytes_in = 0
        self.bytes_out = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """One relay for each connection."""
        return _Accepted(self, Relay(self._closed, self._hangups))

    def opened(self, relay: Relay) -> None:
        """A connection was accepted."""
        self.relays.add(relay)

    def _closed(self, relay: Relay) -> None:
        self.relays.discard(relay)
        self.bytes_in += relay.left.received
        self.bytes_out += relay.right.received

    def abort_all(self) -> None:
        """Ends the connections that are open now."""
        for relay in list(self.relays):
            relay.abort()
