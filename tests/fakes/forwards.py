# -*- test-case-name: tests.forwards.test_fake -*-
"""
L{IForwards} without sockets: local ports that only exist on paper.
"""

from __future__ import annotations

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from remotedocker.docker import ContainerPort, PortBinding, PortMap
from remotedocker.errors import PortUnavailable
from remotedocker.forwards._plan import (
    Close,
    Collision,
    LocalAddress,
    Open,
    Opened,
    Slot,
    Target,
    plan_publish,
    plan_reserve,
    slots_of,
)
from remotedocker.interfaces import IForwards

__all__ = ["FakeForwards"]


@define
class _Container:
    order: tuple[Slot, ...] = ()
    opened: dict[Slot, Opened] = Factory(dict)
    suspended: bool = False


@implementer(IForwards)
class FakeForwards:
    """
    Every Deferred has fired when it is returned.

    @param dynamic: what a port left open is chosen from.
    @ivar calls: the methods called that change something, with the container's id, in order.
    @ivar busy: numbers that another program has.
    @ivar failure: what the next C{reserve} or C{publish} fails with.
    """

    def __init__(
        self,
        publish_addresses: tuple[str, ...] = ("127.0.0.1", "::1"),
        dynamic: range = range(32768, 61000),
    ) -> None:
        self._publish_addresses = publish_addresses
        self._dynamic = dynamic
        self._containers: dict[str, _Container] = {}
        self._numbers: dict[str, dict[Slot, int]] = {}
        self.calls: list[tuple[str, str]] = []
        self.busy: set[int] = set()
        self.failure: Exception | None = None

    def reserve(
        self, container_id: str, name: str, requested: PortMap, optional: bool = False
    ) -> Deferred[None]:
        """See L{IForwards.reserve}."""
        self.calls.append(("reserve", container_id))
        if self.failure is not None:
            return self._fail()
        if not optional:
            return self._reserve(container_id, name, requested)
        for port, bindings in requested.items():
            self._reserve(container_id, name, {port: bindings}).addErrback(
                lambda failure: failure.trap(PortUnavailable) and None
            )
        return succeed(None)

    def _reserve(self, container_id: str, name: str, requested: PortMap) -> Deferred[None]:
        mine = self._containers.setdefault(container_id, _Container())
        opened = dict(mine.opened)
        try:
            for action in plan_reserve(
                requested,
                opened,
                self._numbers.get(container_id, {}),
                self._taken(container_id),
                self._publish_addresses,
                self._dynamic,
            ):
                if isinstance(action, Close):
                    del opened[action.slot]
                elif isinstance(action, Open):
                    number = next((number for number in action.numbers if number not in self.busy), None)
                    if number is None:
                        raise Collision(f"{action.hosts[0].address}:{action.numbers.span.start}", frozenset())
                    opened[action.slot] = Opened(number, tuple(host.address for host in action.hosts))
                    if len(action.numbers.span) > 1:
                        self._numbers.setdefault(container_id, {})[action.slot] = number
        except Collision as collision:
            return fail(PortUnavailable(name=name, container_id=container_id, address=collision.address))
        mine.opened = opened
        mine.suspended = False
        mine.order = tuple(dict.fromkeys((*slots_of(requested), *mine.order)))
        return succeed(None)

    def publish(self, container_id: str, actual: PortMap) -> Deferred[None]:
        """See L{IForwards.publish}."""
        self.calls.append(("publish", container_id))
        if self.failure is not None:
            return self._fail()
        mine = self._containers.get(container_id, _Container())
        mine.suspended = False
        for action in plan_publish(actual, mine.opened):
            if isinstance(action, Close):
                del mine.opened[action.slot]
            elif not isinstance(action, Open):
                mine.opened[action.slot] = evolve(mine.opened[action.slot], target=action.target)
        return succeed(None)

    def suspend(self, container_id: str) -> Deferred[None]:
        """See L{IForwards.suspend}."""
        self.calls.append(("suspend", container_id))
        mine = self._containers.get(container_id, _Container())
        mine.suspended = True
        mine.opened = {slot: evolve(opened, target=None) for slot, opened in mine.opened.items()}
        return succeed(None)

    def release(self, container_id: str) -> Deferred[None]:
        """See L{IForwards.release}."""
        self.calls.append(("release", container_id))
        self._containers.get(container_id, _Container()).opened.clear()
        return succeed(None)

    def forget(self, container_id: str) -> Deferred[None]:
        """See L{IForwards.forget}."""
        self.calls.append(("forget", container_id))
        self._containers.pop(container_id, None)
        self._numbers.pop(container_id, None)
        return succeed(None)

    def local_ports(self, container_id: str) -> PortMap | None:
        """See L{IForwards.local_ports}."""
        mine = self._containers.get(container_id)
        if mine is None:
            return None
        shown: dict[ContainerPort, tuple[PortBinding, ...]] = {}
        for slot in () if mine.suspended else mine.order:
            if slot in mine.opened:
                opened = mine.opened[slot]
                shown[slot.port] = shown.get(slot.port, ()) + tuple(
                    PortBinding(host, str(opened.number)) for host in opened.hosts
                )
        return shown

    def containers(self) -> frozenset[str]:
        """See L{IForwards.containers}."""
        return frozenset(self._numbers) | {
            container_id for container_id, mine in self._containers.items() if mine.opened
        }

    # For tests.

    def targets(self, container_id: str) -> dict[ContainerPort, Target | None]:
        """Where the open ports lead."""
        mine = self._containers.get(container_id, _Container())
        return {slot.port: opened.target for slot, opened in mine.opened.items()}

    def _fail(self) -> Deferred[None]:
        failure, self.failure = self.failure, None
        assert failure is not None
        return fail(failure)

    def _taken(self, container_id: str) -> dict[LocalAddress, str]:
        return {
            LocalAddress(host, opened.number, slot.port.protocol): other
            for other, container in self._containers.items()
            if other != container_id
            for slot, opened in container.opened.items()
            for host in opened.hosts
        }
