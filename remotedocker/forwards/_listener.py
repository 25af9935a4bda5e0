# -*- test-case-name: tests.forwards.test_listener -*-
"""
One local port: accepts, and relays each connection to a port of the remote host.

A connection is accepted at once and its channel opened in the same instant. While the port leads nowhere
it is held without listening (L{remotedocker.forwards._sockets}), so that connections are refused.

When a port is closed or led elsewhere, its connections are given L{_GRACE} seconds to end by themselves:
the container's own end is usually on its way, behind the last of what it sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker.forwards._plan import LocalAddress, Target
from remotedocker.forwards._sockets import TCPSocket
from remotedocker.interfaces import IRemote
from remotedocker.streams import Hangups, Relay, RelayFactory

__all__ = ["Listener"]

_GRACE = 1.0
"""Seconds that a connection may still last when its port is closed."""


class _Door(RelayFactory):
    """Lets connections through to where the listener leads; shut while it leads nowhere."""

    def __init__(self, listener: Listener, hangups: Hangups | None) -> None:
        super().__init__(listener.endpoint, listener.refused, hangups)
        self._listener = listener

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return "published port"

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # type: ignore[override]
        """@return: None, which closes the connection, while there is nowhere to go."""
        return None if self._listener.target is None else super().buildProtocol(addr)


class Listener:
    """
    Takes a local port. Connections are refused until L{point}.

    @param reactor: a clock that provides C{IReactorSocket}, too.
    @param remote: to whose ports connections are led.
    @param hangups: see L{Relay}.
    @ivar target: where connections are led now.
    @raise OSError: the port cannot be taken; C{errno} says why.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, remote: IRemote, address: LocalAddress, hangups: Hangups | None = None
    ) -> None:
        self.address = address
        self.target: Target | None = None
        self._reactor = reactor
        self._remote = remote
        self._door = _Door(self, hangups)
        self._port: IListeningPort | None = None
        self._socket = TCPSocket(address)
        if not self._socket.held:
            self._accept()

    def point(self, target: Target) -> None:
        """
        Leads new connections to C{target}, and ends those that lead elsewhere.

        @raise OSError: somebody else listens here by now.
        """
        if target == self.target:
            return
        if self._port is None:
            self._socket.listen()
            self._accept()
        self.target = target
        self._end(self._door.relays)

    def suspend(self) -> None:
        """Refuses connections from now on, ends those that are open, and keeps the port."""
        self.target = None
        self._socket.hold()
        if self._socket.held:
            self._stop()
        self._end(self._door.relays)

    def close(self, grace: bool = True) -> Deferred[None]:
        """
        Refuses connections from now on and gives the port back.

        @param grace: whether open connections are given time to end by themselves.
        @return: fires when the port is free.
        """
        self.target = None
        self._socket.close()
        if grace:
            self._end(self._door.relays)
        else:
            self._door.abort_all()
        return self._stop()

    def endpoint(self) -> IStreamClientEndpoint:
        """Where a connection that was accepted just now leads."""
        assert self.target is not None
        return self._remote.tcp_endpoint(self.target.host, self.target.number)

    def refused(self, failure: Failure) -> None:
        """The far side of a connection could not be had; the connection is over."""
        self._log.debug(
            "{address}: connection refused: {error}",
            address=str(self.address),
            error=failure.getErrorMessage(),
        )

    def _accept(self) -> None:
        self._port = self._reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, self._door)

    def _stop(self) -> Deferred[None]:
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        stopped: Deferred[None] | None = port.stopListening()
        return succeed(None) if stopped is None else stopped

    def _end(self, relays: Iterable[Relay]) -> None:
        """Gives connections a while to end by themselves, then ends them."""
        ending = frozenset(relays)
        if ending:
            self._reactor.callLater(_GRACE, self._abort, ending)

    def _abort(self, ending: frozenset[Relay]) -> None:
        for relay in ending & self._door.relays:
            relay.abort()
