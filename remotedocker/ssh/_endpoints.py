# -*- test-case-name: tests.ssh.test_remote -*-
"""
Channels as endpoints: whoever connects to one need not know that there is SSH between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from remotedocker.ssh._channel import Channel, ChannelAddress
from remotedocker.ssh._connection import Connection
from remotedocker.ssh._wire import string, uint32

__all__ = ["ChannelEndpoint", "streamlocal_channel", "tcp_channel"]


def streamlocal_channel(connection: Connection, path: str) -> Channel:
    """@return: a channel to a unix socket (OpenSSH's PROTOCOL, 2.4), not yet opened."""
    return Channel(
        connection,
        b"direct-streamlocal@openssh.com",
        string(path.encode("utf-8", "surrogateescape")) + string(b"") + uint32(0),
        path,
    )


def tcp_channel(connection: Connection, host: str, port: int) -> Channel:
    """@return: a channel to a TCP port (RFC 4254 section 7.2), not yet opened."""
    target = string(host.encode()) + uint32(port)
    origin = string(b"127.0.0.1") + uint32(0)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Channel(connection, b"direct-tcpip", target + origin, shown)


@implementer(IStreamClientEndpoint)
class ChannelEndpoint:
    """An endpoint that opens one channel for each connection."""

    def __init__(self, obtain: Callable[[], Awaitable[Channel]], description: str) -> None:
        """
        @param obtain: gives an open channel that no protocol uses yet.
        @param description: of what it leads to.
        """
        self._obtain = obtain
        self._description = description

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._description}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """@return: fires with the protocol, connected to the channel."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        """Opens a channel and builds its protocol."""
        channel = await self._obtain()
        try:
            protocol = factory.buildProtocol(
                ChannelAddress(channel.kind.decode("ascii"), channel.description)
            )
        except BaseException:
            channel.abortConnection()
            raise
        if protocol is None:
            channel.abortConnection()
            raise ConnectError(string=f"no protocol wants the channel to {channel.description}")
        channel.attach(protocol)
        return protocol
