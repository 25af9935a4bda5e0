# -*- test-case-name: tests.proxy.test_factory -*-
"""
Makes the protocols of one listener, and holds what they share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from remotedocker.errors import DaemonUnreachable, NotHTTP, RemoteDockerError
from remotedocker.interfaces import IContainers, IDaemon, IRemote, IServices
from remotedocker.proxy._address import ListenAddress
from remotedocker.proxy._checks import RequestCheck
from remotedocker.proxy._commands import Recorded
from remotedocker.proxy._effects import Effects
from remotedocker.proxy._protocol import ProxyProtocol
from remotedocker.proxy._turn import Rules
from remotedocker.streams import Hangups

__all__ = ["ListenerFactory", "ProxyFactory", "ProxyOptions"]


def _no_dump(connection: int, what: Recorded) -> None:
    """Nobody wants to know."""


@frozen
class ProxyOptions:
    """
    What the command line says about the proxy.

    @ivar http_only: refuse what is no HTTP (C{--http-only}).
    @ivar remote_docker: the daemon's socket as the user names it (C{--remote-docker}), for messages.
    @ivar dump: where C{--dump} goes: called with the number of the connection and what passed.
    """

    http_only: bool = False
    remote_docker: str = "unix:///var/run/docker.sock"
    dump: Callable[[int, Recorded], None] = _no_dump


class ProxyFactory:
    """
    What the client connections of all listeners share.

    @param reactor: provides C{IReactorTime}, and C{IReactorFDSet} where clients are on sockets.
    @ivar connections: those that are open.
    """

    def __init__(
        self,
        reactor: Any,
        remote: IRemote,
        daemon: IDaemon,
        containers: IContainers,
        services: IServices,
        options: ProxyOptions,
    ) -> None:
        self.reactor = reactor
        self.remote = remote
        self.containers = containers
        self.options = options
        self.effects = Effects(daemon, containers, services)
        self.hangups = Hangups(reactor)
        self._numbers = 0
        self.connections: set[ProxyProtocol] = set()

    def listener(self, address: ListenAddress) -> ListenerFactory:
        """@return: the protocol factory for one address."""
        return ListenerFactory(self, address)

    def make(self, rules: Rules) -> ProxyProtocol:
        """@return: a protocol for one client."""
        self._numbers += 1
        return ProxyProtocol(self, rules, self._numbers)

    def opened(self, connection: ProxyProtocol) -> None:
        """A client was accepted."""
        self.connections.add(connection)

    def closed(self, connection: ProxyProtocol) -> None:
        """A client is gone."""
        self.connections.discard(connection)

    def abort_all(self) -> None:
        """Ends all client connections."""
        for connection in list(self.connections):
            connection.abort()

    def dump(self, connection: int, what: Recorded) -> None:
        """For C{--dump}."""
        self.options.dump(connection, what)

    def daemon_error(self, failure: Failure) -> Exception:
        """Why the daemon could not be connected, or was lost, for the client."""
        if isinstance(failure.value, RemoteDockerError):
            return failure.value
        return self.daemon_unreachable(failure.getErrorMessage())

    def daemon_unreachable(self, reason: str) -> RemoteDockerError:
        """@return: the error for a client."""
        return DaemonUnreachable(
            socket=self.options.remote_docker, destination=self.remote.destination, reason=reason
        )


class ListenerFactory(Factory):
    """
    Makes the protocols of one listener.

    @param address: where it listens: decides what is checked, and is named in messages.
    """

    noisy = False

    def __init__(self, proxy: ProxyFactory, address: ListenAddress) -> None:
        self._proxy = proxy
        self.listens_at(address)

    def listens_at(self, address: ListenAddress) -> None:
        """The address is known better, now that it listens."""
        rules = Rules(view=self._proxy.containers, daemon_lost=self._proxy.daemon_unreachable)
        if address.checks_browsers:
            check = RequestCheck(address.names, address.any_address, address.docker_host)
            rules = evolve(rules, check=check)
        if self._proxy.options.http_only:
            rules = evolve(rules, http_only=NotHTTP(endpoint=address.docker_host))
        self._rules = rules

    def buildProtocol(self, addr: IAddress | None) -> ProxyProtocol:
        """One client's protocol."""
        return self._proxy.make(self._rules)
