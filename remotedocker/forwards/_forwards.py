# -*- test-case-name: tests.forwards.test_forwards -*-
"""
L{IForwards}: the local ports of every container, over plans and listeners.

What is done for one container is done in turn. Taking ports is one synchronous step, so that two containers
never see each other half way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from remotedocker.docker import PortMap
from remotedocker.errors import (
    BadRequest,
    ForwardingForbidden,
    PortUnavailable,
    RemoteDockerError,
    SSHUnavailable,
)
from remotedocker.forwards._listener import Listener
from remotedocker.forwards._numbers import ChosenNumbers
from remotedocker.forwards._plan import (
    Action,
    Close,
    Collision,
    InvalidPort,
    LocalAddress,
    Open,
    Opened,
    Point,
    Slot,
    describe,
    plan_publish,
    plan_reserve,
    slots_of,
)
from remotedocker.forwards._ports import Opening, Ports
from remotedocker.forwards._take import NumberRefused, NumberTaken, take_number
from remotedocker.interfaces import IForwards, IRemote
from remotedocker.streams import Hangups

__all__ = ["DYNAMIC_PORTS", "Forwards"]

DYNAMIC_PORTS = range(32768, 61000)
"""What a port left open is chosen from: Linux's C{ip_local_port_range}, as the daemon's."""

_PATIENCE = 1.0
"""Seconds that a port may wait for another container that has it and was removed a moment ago."""

_NOBODYS_PORT = 1
_Result = TypeVar("_Result")


class _Probe(Protocol):
    """A connection that was made to see that it can be."""

    def connectionMade(self) -> None:
        """It can."""
        assert self.transport is not None
        self.transport.loseConnection()


_PROBES = Factory.forProtocol(_Probe)
_PROBES.noisy = False


@implementer(IForwards)
class Forwards:
    """
    Local listeners for published TCP ports. Nothing is opened or read before the first call.

    @param remote: where connections are led.
    @param state: a directory for the numbers that were chosen.
    @param publish_addresses: where a binding without an address listens.
    @param dynamic: what a port left open is chosen from.
    @param patience: seconds to wait for a port that another container of this agent has.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        remote: IRemote,
        state: Path,
        publish_addresses: tuple[str, ...],
        dynamic: range = DYNAMIC_PORTS,
        patience: float = _PATIENCE,
    ) -> None:
        self._reactor = reactor
        self._remote = remote
        self._publish_addresses = publish_addresses
        self._dynamic = dynamic
        self._patience = patience
        self._hangups = Hangups(reactor)
        self._numbers = ChosenNumbers(state)
        self._containers: dict[str, Ports] = {}
        self._next = dynamic.start
        self._closing: set[Deferred[None]] = set()
        self._waiting: list[Deferred[None]] = []
        self._forwarding_works = False

    # IForwards

    def reserve(
        self, container_id: str, name: str, requested: PortMap, optional: bool = False
    ) -> Deferred[None]:
        """
        See L{IForwards.reserve}. The ports are taken; connections are refused until L{publish} says where
        they lead.
        """

        async def work(mine: Ports) -> None:
            if not optional:
                await self._check_forwarding(name, requested)
                await self._reserve(container_id, mine, name, requested, self._patience)
                return
            for port, bindings in requested.items():
                try:
                    await self._reserve(container_id, mine, name, {port: bindings}, 0.0)
                except RemoteDockerError as error:
                    self._log.warn(
                        "{name}: {port} is not opened: {error}", name=name, port=str(port), error=error
                    )

        return self._in_turn(container_id, work)

    def publish(self, container_id: str, actual: PortMap) -> Deferred[None]:
        """See L{IForwards.publish}. What C{actual} does not name is closed."""

        async def work(mine: Ports) -> None:
            mine.suspended = False
            for action in plan_publish(actual, mine.opened()):
                self._perform(container_id, mine, action)

        return self._in_turn(container_id, work)

    def release(self, container_id: str) -> Deferred[None]:
        """See L{IForwards.release}."""

        async def work(mine: Ports) -> None:
            await self._release(mine)

        return self._in_turn(container_id, work)

    def forget(self, container_id: str) -> Deferred[None]:
        """See L{IForwards.forget}."""

        async def work(mine: Ports) -> None:
            mine.known = False
            self._numbers.forget(container_id)
            await self._release(mine)

        return self._in_turn(container_id, work)

    def local_ports(self, container_id: str) -> PortMap | None:
        """See L{IForwards.local_ports}: in the daemon's order, IPv4 before IPv6."""
        mine = self._containers.get(container_id)
        return mine.shown() if mine is not None and mine.known else None

    def containers(self) -> frozenset[str]:
        """See L{IForwards.containers}."""
        return self._numbers.containers() | {
            container_id for container_id, mine in self._containers.items() if mine.openings
        }

    def suspend(self, container_id: str) -> Deferred[None]:
        """
        See L{IForwards.suspend}. L{local_ports} shows none of them until L{publish}; L{release} gives them
        back.
        """

        async def work(mine: Ports) -> None:
            mine.suspended = True
            for opening in mine.openings.values():
                opening.opened = evolve(opening.opened, target=None)
                for listener in opening.listeners:
                    listener.suspend()

        return self._in_turn(container_id, work)

    # Beside IForwards

    def close(self) -> Deferred[None]:
        """
        The agent ends: closes every port and every connection; numbers are remembered.

        @return: fires when all of them are free.
        """

        async def work() -> None:
            for mine in self._containers.values():
                self._close(mine, mine.openings, grace=False)
            await self._settled()

        return Deferred.fromCoroutine(work())

    # One container, in turn

    def _in_turn(self, container_id: str, work: Callable[[Ports], Awaitable[_Result]]) -> Deferred[_Result]:
        mine = self._containers.setdefault(container_id, Ports())

        async def run() -> _Result:
            return await work(mine)

        def clean(result: _Result) -> _Result:
            lock = mine.lock
            if not (mine.known or mine.openings or lock.locked or lock.waiting):
                self._containers.pop(container_id, None)
            return result

        return mine.lock.run(lambda: Deferred.fromCoroutine(run())).addBoth(clean)

    async def _release(self, mine: Ports) -> None:
        self._close(mine, mine.openings)
        await self._settled()

    async def _check_forwarding(self, name: str, requested: PortMap) -> None:
        """
        Whether the SSH server forwards to ports at all is found out before the first start that needs it, by
        asking for one where hardly anybody listens.

        @raise ForwardingForbidden: it does not.
        """
        if self._forwarding_works or not any(port.protocol == "tcp" for port in requested):
            return
        try:
            await self._remote.tcp_endpoint("127.0.0.1", _NOBODYS_PORT).connect(_PROBES)
        except ForwardingForbidden as error:
            raise ForwardingForbidden(
                destination=self._remote.destination,
                target=f"the ports of {name}",
                reason=f"{error.details['reason']} (with --no-forward containers start without local ports)",
            ) from None
        except SSHUnavailable:
            return
        except (RemoteDockerError, ConnectError) as error:
            self._log.debug("the SSH server forwards to ports ({error})", error=error)
        self._forwarding_works = True

    async def _reserve(
        self, container_id: str, mine: Ports, name: str, requested: PortMap, patience: float
    ) -> None:
        mine.name = name
        mine.known = True
        mine.suspended = False
        deadline = self._reactor.seconds() + patience
        while True:
            await self._settled()
            try:
                self._take(container_id, mine, requested)
                return
            except Collision as collision:
                left = deadline - self._reactor.seconds()
                if not collision.holders or left <= 0:
                    raise PortUnavailable(
                        name=name, container_id=container_id, address=collision.address
                    ) from None
            await self._a_port_closes(left)

    def _take(self, container_id: str, mine: Ports, requested: PortMap) -> None:
        """Opens what is missing, or raises and leaves nothing that was not open before."""
        plan = self._plan(container_id, mine, requested)
        added: list[Slot] = []
        try:
            for action in plan:
                self._perform(container_id, mine, action)
                if isinstance(action, Open):
                    added.append(action.slot)
        except BaseException:
            self._close(mine, added)
            raise
        wanted = slots_of(requested)
        mine.order = (*(slot for slot in mine.order if slot in mine.openings and slot not in wanted), *wanted)
        self._numbers.remember(
            container_id,
            {
                action.slot: mine.openings[action.slot].opened.number
                for action in plan
                if isinstance(action, Open) and len(action.numbers.span) > 1
            },
        )

    def _plan(self, container_id: str, mine: Ports, requested: PortMap) -> Sequence[Action]:
        taken = {
            LocalAddress(host, opening.opened.number, slot.port.protocol): other
            for other, container in self._containers.items()
            if other != container_id
            for slot, opening in container.openings.items()
            for host in opening.opened.hosts
        }
        try:
            return plan_reserve(
                requested,
                mine.opened(),
                self._numbers.of(container_id),
                taken,
                self._publish_addresses,
                self._dynamic,
                self._next,
                self._numbers.of_others(container_id),
            )
        except InvalidPort as error:
            raise BadRequest(reason=f'invalid port specification: "{error}"') from None

    # Actions

    def _perform(self, container_id: str, mine: Ports, action: Action) -> None:
        if isinstance(action, Close):
            self._close(mine, [action.slot])
        elif isinstance(action, Open):
            self._open(container_id, mine, action)
        else:
            self._point(container_id, mine, action)

    def _open(self, container_id: str, mine: Ports, action: Open) -> None:
        conflict = ""
        for number in action.numbers:
            try:
                listeners = take_number(
                    self._listener, self._discard, action.hosts, number, action.slot.port.protocol
                )
            except NumberTaken as error:
                conflict = error.address
                continue
            except NumberRefused as error:
                raise error.for_container(mine.name, container_id) from error.__cause__
            hosts = tuple(listener.address.host for listener in listeners)
            mine.openings[action.slot] = Opening(Opened(number, hosts), listeners)
            if action.numbers.start is not None:
                self._next = number + 1
            return
        if len(action.numbers.span) > 1:
            conflict = describe(action.hosts[0].address, action.numbers.span)
        raise PortUnavailable(name=mine.name, container_id=container_id, address=conflict)

    def _listener(self, address: LocalAddress) -> Listener:
        return Listener(self._reactor, self._remote, address, self._hangups)

    def _point(self, container_id: str, mine: Ports, action: Point) -> None:
        opening = mine.openings[action.slot]
        for listener in opening.listeners:
            try:
                listener.point(action.target)
            except OSError:
                raise PortUnavailable(
                    name=mine.name, container_id=container_id, address=str(listener.address)
                ) from None
        opening.opened = evolve(opening.opened, target=action.target)
        self._log.debug(
            "{name}: {addresses} lead to port {port}",
            name=mine.name,
            addresses=", ".join(str(listener.address) for listener in opening.listeners),
            port=str(action.slot.port),
        )

    def _close(self, mine: Ports, slots: Iterable[Slot], grace: bool = True) -> None:
        """Closes all of C{slots} before anybody who waits for a port hears of it."""
        closing = [
            listener.close(grace=grace)
            for slot in list(slots)
            for listener in mine.openings.pop(slot).listeners
        ]
        for closed in closing:
            self._track(closed)

    # Ports on their way to be free

    def _discard(self, listener: Listener) -> None:
        self._track(listener.close(grace=False))

    def _track(self, closed: Deferred[None]) -> None:
        """Remembers that a port is being closed, and tells those who wait for one when it is."""
        self._closing.add(closed)

        def done(_: object) -> None:
            self._closing.discard(closed)
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

        closed.addBoth(done)

    async def _settled(self) -> None:
        """Returns when every port that was closed so far is free."""
        while self._closing:
            await self._a_port_closes()

    async def _a_port_closes(self, seconds: float | None = None) -> None:
        """Returns when a port was closed, or after C{seconds}."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        if seconds is None:
            await waiter
            return

        def give_up() -> None:
            self._waiting.remove(waiter)
            waiter.callback(None)

        call = self._reactor.callLater(seconds, give_up)
        await waiter
        if call.active():
            call.cancel()
