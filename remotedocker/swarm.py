# -*- test-case-name: tests.test_swarm -*-
"""
Published ports and mounted files of a swarm's services.

A port of mode C{ingress} is listened for by every node of the swarm, so by the remote host too, for as long
as there is the service: here it is open as long. Its number belongs to the whole swarm and stays as asked
for. A port of mode C{host} is its task's: the task's container carries our labels, and is looked after as any
container of ours (L{remotedocker.containers}).

A mirror is followed while a service mounts it, or a task of one that is gone still runs with it: tasks end
after their service.

What is known here can always be lost: C{GET /services} on each (re)connection and C{/events} bring it back.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from zope.interface import implementer

from remotedocker.docker import (
    ContainerEvent,
    ContainerPort,
    CreateSpec,
    OwnedContainer,
    PortBinding,
    PortMap,
    ServicePlan,
    ServiceSpec,
    allocated_ports,
    bind_sources,
    decode_labels,
    encode_labels,
    is_service_key,
    mounted_together,
    service_key,
    service_sources,
    service_spec,
)
from remotedocker.errors import RemoteDockerError
from remotedocker.interfaces import IContainerObserver, IDaemon, IForwards, IMirrors, IServices

__all__ = ["Services"]

_Result = TypeVar("_Result")

_TASK = "com.docker.swarm.task.id"
"""A label that the swarm gives to the containers of tasks (moby, C{daemon/cluster/executor/container})."""


@implementer(IServices, IContainerObserver)
class Services:
    """
    The services that this agent looks after. What is done about them is done in turn.

    @param agent_id: what our labels carry.
    @param forward: published ports are opened here (not C{--no-forward}).
    @param foreign: also those of services that others created (C{--forward-all}).
    """

    _log = Logger()

    def __init__(
        self,
        agent_id: str,
        daemon: IDaemon,
        forwards: IForwards,
        mirrors: IMirrors,
        forward: bool = True,
        foreign: bool = False,
    ) -> None:
        self._agent_id = agent_id
        self._daemon = daemon
        self._forwards = forwards
        self._mirrors = mirrors
        self._mounted = False
        self._forward = forward
        self._foreign = foreign
        self._keys: dict[str, str] = {}
        self._planned: set[str] = set()
        self._lock = DeferredLock()

    # What the proxy asks.

    def plan(self, reference: str, spec: ServiceSpec) -> Deferred[ServicePlan]:
        """See L{IServices.plan}. A service that others created passes as asked."""
        return self._in_turn(lambda: self._plan(reference, spec))

    async def _plan(self, reference: str, spec: ServiceSpec) -> ServicePlan:
        self._mounted = self._mounted or bool(spec.mounts)
        if not self._forward:
            return ServicePlan()
        nonce, had = secrets.token_hex(8), ServiceSpec(spec.name)
        if reference:
            document = await self._find(reference)
            owned = None if document is None else self._owned(document)
            if document is None or owned is None:
                return ServicePlan()
            nonce, had = owned.nonce, service_spec(document)[0]
        key = service_key(nonce)
        self._planned.add(key)
        try:
            await self._take(key, spec, had)
        except RemoteDockerError:
            await self._in_spite_of(partial(self._settle, key))
            raise
        return ServicePlan(
            labels=encode_labels(self._agent_id, nonce, CreateSpec(""), ()),
            task_labels=self._task_labels(nonce, spec.task_ports),
            warnings=tuple(
                f"port {port} stays on the swarm's nodes: remotedocker forwards TCP ports only"
                for port in sorted(set(spec.others))
            ),
            key=key,
        )

    def answered(self, plan: ServicePlan) -> None:
        """
        See L{IServices.answered}. The daemon is asked whatever it said: it may be the answer alone that was
        lost, and a list that was asked for before the service was made must not close its ports.
        """
        if plan.key:
            self._background(lambda: self._settle(plan.key))

    # What the event stream tells.

    def container_event(self, event: ContainerEvent) -> None:
        """See L{IContainerObserver.container_event}."""
        service_id = event.container_id
        if event.action == "service remove":
            self._background(lambda: self._gone(service_id))
        elif event.action in ("service create", "service update"):
            self._background(lambda: self._look(service_id))
        elif event.action not in ("die", "destroy") or _TASK not in event.attributes:
            return
        if self._mounted:
            self._background(lambda: self._look_at_mounts(event.container_id))

    def containers_listed(self, containers: Sequence[Mapping[str, Any]]) -> Deferred[None]:
        """See L{IContainerObserver.containers_listed}: services are listed, too."""
        return self._background(partial(self._list, containers))

    def list_settled(self) -> None:
        """See L{IContainerObserver.list_settled}: the mirrors of services are told with all others."""

    # In turn.

    async def _take(self, key: str, spec: ServiceSpec, had: ServiceSpec) -> None:
        """
        Takes the local ports of a service; where all are known by number, they lead there at once.

        @param had: what the service is until it is changed.
        """
        new: dict[ContainerPort, tuple[PortBinding, ...]] = {}
        for port, bindings in spec.task_ports.items():
            before = had.task_ports.get(port, ())
            new[port] = tuple(each for each in bindings if each.host_port and each not in before)
        new = {port: bindings for port, bindings in new.items() if bindings}
        if new:
            # The tasks' containers take these when they start; here it is only seen whether they can be had.
            await self._forwards.reserve(f"{key} tasks", spec.name, new)
            await self._forwards.forget(f"{key} tasks")
        await self._forwards.reserve(key, spec.name, spec.ports)
        if had.ports == {} and all(each.host_port for bindings in spec.ports.values() for each in bindings):
            await self._forwards.publish(key, spec.ports)

    async def _settle(self, key: str) -> None:
        """Brings the ports of a service that was to be made or changed to what the daemon says of it."""
        self._planned.discard(key)
        for document in await self._daemon.services() or ():
            if self._key(document) == key:
                await self._follow(document)
                return
        await self._forwards.forget(key)

    async def _look(self, service_id: str) -> None:
        document = await self._find(service_id)
        if document is None:
            await self._gone(service_id)
        else:
            await self._follow(document)

    async def _find(self, reference: str) -> Mapping[str, Any] | None:
        """@return: the service that an id, a name or the beginning of an id means."""
        documents = await self._daemon.services() or ()
        for means in (
            lambda each: each["ID"] == reference,
            lambda each: (each.get("Spec") or {}).get("Name") == reference,
            lambda each: each["ID"].startswith(reference),
        ):
            found = [each for each in documents if means(each)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    async def _look_at_mounts(self, ended: str) -> None:
        """
        @param ended: what does not run any more; Docker 20.10 may list it as running after its event.
        """
        documents = await self._daemon.services() or ()
        containers = await self._daemon.list_containers()
        self._tell_mounts(documents, [each for each in containers if each["Id"] != ended])

    def _tell_mounts(
        self, documents: Sequence[Mapping[str, Any]], containers: Sequence[Mapping[str, Any]]
    ) -> None:
        """
        @param containers: all of the daemon's, with the tasks of services among them.
        """
        tasks = [
            each
            for each in containers
            if _TASK in (each.get("Labels") or {}) and each.get("State") in ("running", "paused")
        ]
        mounted = (*map(service_sources, documents), *map(bind_sources, tasks))
        sources = mounted_together(mount for each in mounted for mount in each.items())
        self._mounted = self._mounted or bool(sources)
        self._mirrors.serving(sources)

    async def _list(self, containers: Sequence[Mapping[str, Any]]) -> None:
        documents = await self._daemon.services() or ()
        self._tell_mounts(documents, containers)
        for document in documents:
            await self._in_spite_of(partial(self._follow, document))
        there = {*self._planned, *(self._keys.get(document["ID"], "") for document in documents)}
        for key in self._forwards.containers():
            if is_service_key(key) and key not in there:
                await self._forwards.forget(key)

    async def _follow(self, document: Mapping[str, Any]) -> None:
        """Brings the local ports to what the daemon says of the service now."""
        key = self._key(document)
        if not key or not self._forward:
            return
        self._keys[document["ID"]] = key
        spec, actual = service_spec(document)[0], allocated_ports(document)
        foreign = self._owned(document) is None
        wanted: PortMap = spec.ports
        if foreign:
            wanted = {
                port: tuple(PortBinding("", each.host_port) for each in bindings)
                for port, bindings in actual.items()
            }
        await self._forwards.reserve(key, spec.name, wanted, optional=foreign)
        await self._forwards.publish(key, actual)

    async def _gone(self, service_id: str) -> None:
        key = self._keys.pop(service_id, "")
        if key:
            await self._forwards.forget(key)

    def _key(self, document: Mapping[str, Any]) -> str:
        """@return: what the ports of a service are known by; C{""} if it is not ours to look after."""
        owned = self._owned(document)
        if owned is not None:
            return service_key(owned.nonce)
        return service_key(document["ID"]) if self._foreign else ""

    def _owned(self, document: Mapping[str, Any]) -> OwnedContainer | None:
        owned = decode_labels(service_spec(document)[1])
        return owned if owned is not None and owned.agent_id == self._agent_id else None

    def _task_labels(self, nonce: str, ports: PortMap) -> Mapping[str, str]:
        """The labels by which a task's container is one of ours; none where it has no ports of its own."""
        if not ports:
            return {}
        spec = CreateSpec("", ports=ports, exposed=tuple(ports))
        return encode_labels(self._agent_id, nonce, spec, sorted(ports))

    def _in_turn(self, work: Callable[[], Awaitable[_Result]]) -> Deferred[_Result]:
        async def run() -> _Result:
            return await work()

        return self._lock.run(lambda: Deferred.fromCoroutine(run()))

    def _background(self, work: Callable[[], Awaitable[None]]) -> Deferred[None]:
        """Does C{work} in turn. @return: fires after it, and never fails."""

        async def run() -> None:
            await self._in_turn(lambda: self._in_spite_of(work))

        return Deferred.fromCoroutine(run()).addErrback(
            lambda failure: self._log.failure("services", failure)
        )

    async def _in_spite_of(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does C{work}; a failure is logged, the next event or list tries again."""
        try:
            await work()
        except RemoteDockerError as error:
            self._log.warn("services: {error}", error=error.message)
