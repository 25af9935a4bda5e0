# -*- test-case-name: tests.ssh.test_resolver -*-
"""
Looking up a host's addresses in a thread that nobody waits for. The reactor's own threads are waited for when
it stops, and without a network the system looks for a name for half a minute.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from threading import Thread
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IReactorPluggableNameResolver
from zope.interface import implementer

__all__ = ["ResolvingReactor"]

_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_ADDRESSES: dict[int, type] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}


@implementer(IHostResolution)
@frozen
class _Resolution:
    """What is looked up."""

    name: str

    def cancel(self) -> None:
        """The system cannot be told to stop; its answer is of no use then, and does no harm."""


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class ResolvingReactor:
    """A reactor that looks up names in this way."""

    def __init__(self, reactor: Any, family: str) -> None:
        """
        @param family: C{AddressFamily}: C{"any"}, C{"inet"} or C{"inet6"}.
        """
        self._reactor = reactor
        self._family = _FAMILIES.get(family, socket.AF_UNSPEC)
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> _Resolution:
        """See L{IHostnameResolver.resolveHostName}; a name that is not found has no addresses."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(hostName, portNumber, self._family, socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                found = []
            self._reactor.callFromThread(tell, found)

        def tell(found: Sequence[tuple[int, int, int, str, Any]]) -> None:
            for family, _, _, _, address in found:
                kind = _ADDRESSES.get(family)
                if kind is not None and (addressTypes is None or kind in addressTypes):
                    resolutionReceiver.addressResolved(kind("TCP", *address))
            resolutionReceiver.resolutionComplete()

        Thread(target=look_up, name=f"looking up {hostName}", daemon=True).start()
        return resolution
