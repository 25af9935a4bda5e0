# -*- test-case-name: tests.forwards.test_forwards -*-
"""
What every provider of L{IForwards} does.

The mixin is for a C{TestCase} that says how one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface.verify import verifyObject

from remotedocker.docker import ContainerPort, PortBinding, PortMap
from remotedocker.errors import PortUnavailable
from remotedocker.interfaces import IForwards
from tests.forwards.support import free_numbers

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["ForwardsContract"]

HTTP = ContainerPort(80)
HTTPS = ContainerPort(443)
DNS = ContainerPort(53, "udp")

ACTUAL: PortMap = {HTTP: (PortBinding("127.0.0.1", "49153"),)}
"""What the daemon reports: port 80, on the remote's loopback."""


class ForwardsContract(_Base):
    """
    Mixin: subclasses define L{make_forwards}.
    """

    def make_forwards(self, dynamic: range) -> Any:
        """
        @param dynamic: what a port left open is chosen from.
        @return: a provider that publishes on 127.0.0.1 alone, and nothing is open.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """Some numbers that nobody has."""
        super().setUp()
        self.free = free_numbers(4)
        self.forwards = self.make_forwards(range(self.free[0], self.free[-1] + 1))

    def at(self, index: int) -> PortBinding:
        """The binding of a free number."""
        return PortBinding("127.0.0.1", str(self.free[index]))

    def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IForwards, self.forwards)

    async def test_unknown(self) -> None:
        """Of a container that it was not told of, nothing is said; ending it does nothing."""
        self.assertIsNone(self.forwards.local_ports("one"))
        await self.forwards.release("one")
        await self.forwards.forget("one")
        self.assertEqual(self.forwards.containers(), frozenset())

    async def test_typed_number(self) -> None:
        """A number typed is the number opened, on the default address."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[1])),)})
        self.assertEqual(self.forwards.local_ports("one"), {HTTP: (self.at(1),)})
        self.assertEqual(self.forwards.containers(), {"one"})

    async def test_reserve_twice(self) -> None:
        """Asked for again, everything stays as it is."""
        for _ in range(2):
            await self.forwards.reserve("one", "web", {HTTP: (PortBinding(), PortBinding())})
        self.assertEqual(self.forwards.local_ports("one"), {HTTP: (self.at(0), self.at(1))})

    async def test_number_kept(self) -> None:
        """A port left open gets the number that it had before, though another one is free first by then."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        await self.forwards.reserve("two", "api", {HTTP: (PortBinding("", "0"),)})
        await self.forwards.forget("one")
        await self.forwards.release("two")
        self.assertEqual(self.forwards.local_ports("two"), {})
        self.assertEqual(self.forwards.containers(), {"two"})
        await self.forwards.reserve("two", "api", {HTTP: (PortBinding("", "0"),)})
        self.assertEqual(self.forwards.local_ports("two"), {HTTP: (self.at(1),)})

    async def test_range(self) -> None:
        """Of a range the first free number is taken."""
        span = PortBinding("127.0.0.1", f"{self.free[1]}-{self.free[3]}")
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[1])),)})
        await self.forwards.reserve("two", "api", {HTTP: (span,)})
        self.assertEqual(self.forwards.local_ports("two"), {HTTP: (self.at(2),)})

    async def test_taken(self) -> None:
        """
        A number that another container has makes the reserve fail in the daemon's words, and nothing of it
        is left open.
        """
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[1])),)})
        requested = {
            HTTP: (PortBinding("", str(self.free[0])),),
            HTTPS: (PortBinding("", str(self.free[1])),),
        }
        with self.assertRaises(PortUnavailable) as raised:
            await self.forwards.reserve("two", "api", requested)
        self.assertEqual(
            raised.exception.message,
            "driver failed programming external connectivity on endpoint api (two): "
            f"Bind for 127.0.0.1:{self.free[1]} failed: port is already allocated",
        )
        self.assertFalse(self.forwards.local_ports("two"))
        await self.forwards.reserve("three", "db", {HTTP: (PortBinding("", str(self.free[0])),)})
        self.assertEqual(self.forwards.local_ports("three"), {HTTP: (self.at(0),)})

    async def test_failure_keeps_what_was_open(self) -> None:
        """A reserve that fails leaves open what was open before it."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[0])),)})
        await self.forwards.reserve("two", "api", {HTTP: (PortBinding("", str(self.free[1])),)})
        with self.assertRaises(PortUnavailable):
            await self.forwards.reserve(
                "two",
                "api",
                {HTTP: (PortBinding("", str(self.free[1])),), HTTPS: (PortBinding("", str(self.free[0])),)},
            )
        self.assertEqual(self.forwards.local_ports("two"), {HTTP: (self.at(1),)})

    async def test_optional(self) -> None:
        """Where ports are optional, those that can be had are opened."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[0])),)})
        requested = {
            HTTP: (PortBinding("", str(self.free[0])),),
            HTTPS: (PortBinding("", str(self.free[1])),),
        }
        await self.forwards.reserve("two", "api", requested, optional=True)
        self.assertEqual(self.forwards.local_ports("two"), {HTTPS: (self.at(1),)})

    async def test_in_its_own_way(self) -> None:
        """A container that wants a number twice fails."""
        binding = PortBinding("", str(self.free[0]))
        with self.assertRaises(PortUnavailable):
            await self.forwards.reserve("one", "web", {HTTP: (binding,), HTTPS: (binding,)})
        self.assertFalse(self.forwards.local_ports("one"))

    async def test_release(self) -> None:
        """What was released is free for another container."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[0])),)})
        await self.forwards.release("one")
        self.assertEqual(self.forwards.local_ports("one"), {})
        await self.forwards.reserve("two", "api", {HTTP: (PortBinding("", str(self.free[0])),)})
        self.assertEqual(self.forwards.local_ports("two"), {HTTP: (self.at(0),)})

    async def test_recreated(self) -> None:
        """A container's number can be had by its successor while it is being forgotten."""
        requested = {HTTP: (PortBinding("", str(self.free[0])),)}
        await self.forwards.reserve("old", "web", requested)
        await self.forwards.publish("old", ACTUAL)
        forgotten = self.forwards.forget("old")
        await self.forwards.reserve("new", "web", requested)
        await forgotten
        self.assertIsNone(self.forwards.local_ports("old"))
        self.assertEqual(self.forwards.local_ports("new"), {HTTP: (self.at(0),)})

    async def test_forget(self) -> None:
        """Forgetting takes numbers along, any number of times."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        await self.forwards.forget("one")
        await self.forwards.forget("one")
        self.assertIsNone(self.forwards.local_ports("one"))
        self.assertEqual(self.forwards.containers(), frozenset())

    async def test_publish_closes_the_rest(self) -> None:
        """A port that the daemon does not report is closed; the others stay."""
        requested = {
            HTTP: (PortBinding("", str(self.free[0])),),
            HTTPS: (PortBinding("", str(self.free[1])),),
        }
        await self.forwards.reserve("one", "web", requested)
        await self.forwards.publish("one", ACTUAL)
        self.assertEqual(self.forwards.local_ports("one"), {HTTP: (self.at(0),)})
        await self.forwards.publish("one", {})
        self.assertEqual(self.forwards.local_ports("one"), {})

    async def test_other_ports_stay(self) -> None:
        """A reserve that does not name a port leaves it open, for it may be known only when it runs."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[0])),)})
        await self.forwards.publish("one", ACTUAL)
        await self.forwards.reserve("one", "web", {})
        self.assertEqual(self.forwards.local_ports("one"), {HTTP: (self.at(0),)})

    async def test_other_number(self) -> None:
        """A reserve of another number for the same port closes the old one."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[0])),)})
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[1])),)})
        self.assertEqual(self.forwards.local_ports("one"), {HTTP: (self.at(1),)})

    async def test_udp(self) -> None:
        """Bindings of UDP are passed over."""
        await self.forwards.reserve("one", "dns", {DNS: (PortBinding("", str(self.free[0])),)})
        self.assertEqual(self.forwards.local_ports("one"), {})

    async def test_suspend(self) -> None:
        """A suspended container shows no ports and keeps them from others; a publish brings them back."""
        requested = {HTTP: (PortBinding("", str(self.free[0])),)}
        await self.forwards.reserve("one", "web", requested)
        await self.forwards.publish("one", ACTUAL)
        await self.forwards.suspend("one")
        self.assertEqual(self.forwards.local_ports("one"), {})
        with self.assertRaises(PortUnavailable):
            await self.forwards.reserve("two", "api", requested)
        await self.forwards.reserve("one", "web", requested)
        await self.forwards.publish("one", ACTUAL)
        self.assertEqual(self.forwards.local_ports("one"), {HTTP: (self.at(0),)})
        await self.forwards.suspend("one")
        await self.forwards.release("one")
        await self.forwards.reserve("two", "api", requested)
        self.assertEqual(self.forwards.local_ports("two"), {HTTP: (self.at(0),)})
