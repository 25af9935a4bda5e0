# -*- test-case-name: tests.forwards.test_fake -*-
"""
The fake behaves as the real one.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotedocker.docker import PortBinding
from remotedocker.errors import AddressUnavailable, PortUnavailable
from remotedocker.forwards._plan import Target
from tests.contracts.forwards import ACTUAL, HTTP, ForwardsContract
from tests.fakes.forwards import FakeForwards

__all__ = ["FakeForwardsTests"]


class FakeForwardsTests(ForwardsContract, TestCase):
    """The contract, without sockets, and what only the fake has."""

    def make_forwards(self, dynamic: range) -> FakeForwards:
        """A fake."""
        return FakeForwards(("127.0.0.1",), dynamic)

    async def test_calls(self) -> None:
        """It records what it was asked, and where ports lead."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        self.assertEqual(self.forwards.targets("one"), {HTTP: None})
        await self.forwards.publish("one", ACTUAL)
        self.assertEqual(self.forwards.targets("one"), {HTTP: Target("127.0.0.1", 49153)})
        self.assertEqual(self.forwards.calls, [("reserve", "one"), ("publish", "one")])

    async def test_busy(self) -> None:
        """Numbers of other programs are not to be had."""
        self.forwards.busy.add(self.free[0])
        with self.assertRaises(PortUnavailable):
            await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", str(self.free[0])),)})

    async def test_failure(self) -> None:
        """It fails once as it is told to."""
        error = AddressUnavailable(name="web", container_id="one", address="192.0.2.7:80")
        self.forwards.failure = error
        with self.assertRaises(AddressUnavailable):
            await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
