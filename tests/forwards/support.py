# -*- test-case-name: tests.forwards -*-
"""
What the tests of forwarded ports use.
"""

from __future__ import annotations

import random
import socket
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

__all__ = ["LoopbackRemote", "free_numbers", "is_free"]

_LOW, _HIGH = 15000, 30000
"""Below what the kernel hands out to outgoing connections, so that a free number stays free."""


def is_free(number: int) -> bool:
    """Whether nobody has that TCP port on 127.0.0.1 or ::1."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, number))
                probe.listen(1)
            except OSError:
                return False
    return True


def free_numbers(count: int) -> tuple[int, ...]:
    """C{count} port numbers in a row that nobody has."""
    while True:
        first = random.randrange(_LOW, _HIGH)
        numbers = tuple(range(first, first + count))
        if all(is_free(number) for number in numbers):
            return numbers


class LoopbackRemote:
    """
    The part of L{IRemote} that forwards need, where the remote is this machine.

    @ivar asked: each target that was asked for.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.asked: list[tuple[str, int]] = []

    def tcp_endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """See L{IRemote.tcp_endpoint}."""
        self.asked.append((host, port))
        return TCP4ClientEndpoint(self._reactor, host, port)
