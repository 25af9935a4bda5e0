# -*- test-case-name: tests.forwards.test_take -*-
"""
Takes one number on several local addresses, or on none of them, and says why not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from remotedocker.errors import AddressUnavailable, PortForbidden, RemoteDockerError
from remotedocker.forwards._plan import Host, LocalAddress

__all__ = ["NumberRefused", "NumberTaken", "take_number"]

_UNPRIVILEGED_START = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")

_MISSING_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

_Listener = TypeVar("_Listener")


class NumberTaken(Exception):
    """
    Another program has the number; another number may be free.

    @ivar address: where.
    """

    def __init__(self, address: LocalAddress) -> None:
        super().__init__(address)
        self.address = str(address)


class NumberRefused(Exception):
    """The system refuses for a reason that has nothing to do with others."""

    def __init__(self, address: LocalAddress, error: OSError) -> None:
        super().__init__(address, error)
        self._address = str(address)
        self._error = error

    def for_container(self, name: str, container_id: str) -> RemoteDockerError:
        """@return: what the user is told."""
        details = {"name": name, "container_id": container_id, "address": self._address}
        number = self._error.errno
        if number in _MISSING_ADDRESS:
            return AddressUnavailable(**details)
        if number in (errno.EACCES, errno.EPERM):
            return PortForbidden(**details, limit=_unprivileged_start())
        return RemoteDockerError(
            reason=f"driver failed programming external connectivity on endpoint {name} ({container_id}): "
            f"listen tcp {self._address}: {os.strerror(number or 0)}"
        )


def take_number(
    make: Callable[[LocalAddress], _Listener],
    discard: Callable[[_Listener], None],
    hosts: Sequence[Host],
    number: int,
    protocol: str,
) -> tuple[_Listener, ...]:
    """
    @param make: takes one address, or raises L{OSError}.
    @param discard: gives back what was taken, when another address cannot be had.
    @return: what C{make} returned for each of C{hosts}, without the optional ones that this machine lacks.
    @raise NumberTaken: see there.
    @raise NumberRefused: see there.
    """
    taken: list[_Listener] = []
    try:
        for host in hosts:
            address = LocalAddress(host.address, number, protocol)
            try:
                taken.append(make(address))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise NumberTaken(address) from error
                if not (host.optional and error.errno in _MISSING_ADDRESS):
                    raise NumberRefused(address, error) from error
    except BaseException:
        for listener in taken:
            discard(listener)
        raise
    return tuple(taken)


def _unprivileged_start() -> int:
    """The first port that needs no right (Linux: C{net.ipv4.ip_unprivileged_port_start})."""
    try:
        return int(_UNPRIVILEGED_START.read_text("ascii"))
    except (OSError, ValueError):
        return 1024
