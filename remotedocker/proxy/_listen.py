# -*- test-case-name: tests.proxy.test_listen -*-
"""
Listening, at all of the addresses or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

from remotedocker.errors import CannotListen
from remotedocker.proxy._address import ListenAddress, ListenKind
from remotedocker.proxy._factory import ProxyFactory
from remotedocker.proxy._unixsocket import OwnedSocketEndpoint

__all__ = ["Endpoints"]

_BACKLOG = 1024
"""Compose and SDKs open many connections at once."""

_OPEN_TO_OTHERS = (
    "can be reached from other machines, and whoever reaches it is root on the remote host; "
    "add --allow-remote-clients if that is meant"
)


class Endpoints:
    """
    The proxy's listeners.

    @param proxy: makes the protocols.
    @param allow_remote_clients: addresses that other machines can reach may be listened on.
    """

    def __init__(
        self,
        reactor: Any,
        addresses: Sequence[ListenAddress],
        proxy: ProxyFactory,
        allow_remote_clients: bool = False,
    ) -> None:
        """
        @raise ValueError: an address may not be listened on, or Twisted does not understand it.
        """
        self._reactor = reactor
        self._proxy = proxy
        self._allow_remote_clients = allow_remote_clients
        self._endpoints = [(address, self._endpoint(address)) for address in addresses]
        self._ports: list[IListeningPort] = []
        self._opened: list[ListenAddress] = []

    @property
    def docker_hosts(self) -> tuple[str, ...]:
        """C{DOCKER_HOST} for each listener, in the order given; with real port numbers once they listen."""
        return tuple(
            address.docker_host for address in self._opened or [address for address, _ in self._endpoints]
        )

    @property
    def unix_paths(self) -> tuple[str, ...]:
        """The paths of our own unix sockets, which a container's mount may name."""
        return tuple(address.path for address, _ in self._endpoints if address.path)

    def open(self) -> Deferred[None]:
        """
        @return: fires when all listen; fails with L{CannotListen}, and then none does.
        """
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        try:
            for address, endpoint in self._endpoints:
                await self._listen(address, endpoint)
        except BaseException:
            await self._stop_listening()
            raise

    async def _listen(self, address: ListenAddress, endpoint: IStreamServerEndpoint) -> None:
        listener = self._proxy.listener(address)
        try:
            port = await endpoint.listen(listener)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CannotListen(address=address.text, reason=reason) from error
        self._ports.append(port)
        actual = _as_listening(address, port)
        if actual.is_local is False and not self._allow_remote_clients:
            raise CannotListen(address=address.text, reason=f"it {_OPEN_TO_OTHERS}")
        listener.listens_at(actual)
        self._opened.append(actual)

    def close(self) -> Deferred[None]:
        """
        Stops listening and ends all client connections.

        @return: fires when the addresses are free.
        """
        self._proxy.abort_all()
        return Deferred.fromCoroutine(self._stop_listening())

    async def _stop_listening(self) -> None:
        ports, self._ports, self._opened = self._ports, [], []
        stopping = [port.stopListening() for port in ports]
        await DeferredList([each for each in stopping if isinstance(each, Deferred)], consumeErrors=True)

    def _endpoint(self, address: ListenAddress) -> IStreamServerEndpoint:
        if address.is_local is False and not self._allow_remote_clients:
            raise ValueError(f"--listen {address.text} {_OPEN_TO_OTHERS}")
        if address.kind is ListenKind.UNIX:
            return OwnedSocketEndpoint(self._reactor, address.path, _BACKLOG)
        if address.kind is ListenKind.DESCRIPTION:
            try:
                endpoint: IStreamServerEndpoint = serverFromString(self._reactor, address.text)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise ValueError(f"--listen {address.text}: {error}") from error
            return endpoint
        make = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        return make(self._reactor, address.port, backlog=_BACKLOG, interface=address.host)


def _as_listening(address: ListenAddress, port: IListeningPort) -> ListenAddress:
    """C{address} with what is known of it now."""
    host = port.getHost()
    if not isinstance(host, (IPv4Address, IPv6Address)):
        return address
    name = str(ip_address(host.host))
    return evolve(address, kind=ListenKind.TCP, host=name, port=host.port)
