"""Looking up a host's addresses."""

from __future__ import annotations

import socket
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.ssh._resolver import ResolvingReactor
from tests.support import wait_until

_FOUND = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 22, 0, 3)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 22)),
    (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("strange",)),
]


@implementer(IResolutionReceiver)
class _Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.name = ""
        self.found: list[Any] = []
        self.complete = 0

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.name = resolutionInProgress.name
        resolutionInProgress.cancel()

    def addressResolved(self, address: Any) -> None:
        self.found.append(address)

    def resolutionComplete(self) -> None:
        self.complete += 1


class ResolverTests(TestCase):
    """L{ResolvingReactor}."""

    async def look_up(self, family: str = "any", **arguments: Any) -> _Receiver:
        """@return: what is found."""
        receiver = _Receiver()
        ResolvingReactor(reactor, family).resolveHostName(receiver, "host", 22, **arguments)
        await wait_until(reactor, lambda: receiver.complete)
        return receiver

    def test_interfaces(self) -> None:
        """It is a reactor, and looks up names."""
        resolving = ResolvingReactor(reactor, "any")
        verifyObject(IHostnameResolver, resolving)
        verifyObject(IReactorPluggableNameResolver, resolving)
        self.assertEqual(resolving.callLater, IReactorTime(reactor).callLater)

    async def test_found(self) -> None:
        """All addresses of the wanted family are told, in the system's order."""
        asked: list[tuple[Any, ...]] = []
        self.patch(socket, "getaddrinfo", lambda *arguments: (asked.append(arguments), _FOUND)[1])
        receiver = await self.look_up("inet6")
        both = [IPv6Address("TCP", "::1", 22, 0, 3), IPv4Address("TCP", "127.0.0.1", 22)]
        self.assertEqual((receiver.name, receiver.found, receiver.complete), ("host", both, 1))
        self.assertEqual(asked, [("host", 22, socket.AF_INET6, socket.SOCK_STREAM)])
        self.assertEqual((await self.look_up(addressTypes=[IPv4Address])).found, both[1:])

    async def test_not_found(self) -> None:
        """A name that does not exist, or is none, has no addresses."""
        for error in (socket.gaierror(-2, "unknown"), UnicodeError("label too long")):

            def fail(*arguments: Any, error: Exception = error) -> None:
                raise error

            self.patch(socket, "getaddrinfo", fail)
            self.assertEqual((await self.look_up()).found, [])

    async def test_slow(self) -> None:
        """Nobody waits for a system that does not answer: neither the reactor's end nor the process's."""
        answer = threading.Event()
        self.addCleanup(answer.set)
        self.patch(socket, "getaddrinfo", lambda *arguments: (answer.wait(60), _FOUND)[1])
        receiver = _Receiver()
        ResolvingReactor(reactor, "any").resolveHostName(receiver, "slow", 22)
        [thread] = [one for one in threading.enumerate() if one.name == "looking up slow"]
        self.assertTrue(thread.daemon)
        self.assertEqual(receiver.complete, 0)
        answer.set()
        await wait_until(reactor, lambda: receiver.complete)
        self.assertEqual(len(receiver.found), 2)
