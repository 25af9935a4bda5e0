# -*- test-case-name: tests.test_containers -*-
"""
Where ports, files and the daemon's truth meet: what happens around a create, a start and an end.

The proxy asks (L{IContainers}); the event stream tells (L{IContainerObserver}). Both speak of the same
containers, at the same time, so everything that is done for one container is done in turn
(L{remotedocker._upkeep}): a C{die} that arrives while a start is being answered is handled after it. What is
known here can always be lost: the labels on the remote and C{/events} with its re-list bring it back.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker._known import Container, KnownContainers
from remotedocker._upkeep import PortPolicy, Upkeep, Work, ports_wanted
from remotedocker.docker import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    OwnedContainer,
    PlacedMount,
    PortMap,
    decode_labels,
    encode_labels,
    inspected_labels,
    is_removed_at_end,
    is_running,
    is_service_key,
    mounted_together,
)
from remotedocker.errors import NoSuchContainer, RemoteDockerError
from remotedocker.interfaces import IContainerObserver, IContainers, IDaemon, IForwards, IMirrors
from remotedocker.volumes import Volumes

__all__ = ["Containers"]

_Result = TypeVar("_Result")
_Other = TypeVar("_Other")

_EXECS_REMEMBERED = 4096
"""Execs whose container is remembered; the oldest is forgotten first."""


async def _both(first: Deferred[_Result], second: Deferred[_Other]) -> tuple[_Result, _Other]:
    """Waits until both have ended; then raises the first's failure, or else the second's."""
    waiting: list[Deferred[Any]] = [first, second]
    outcomes = [outcome for _, outcome in await DeferredList(waiting, consumeErrors=True)]
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
    return outcomes[0], outcomes[1]


@implementer(IContainers, IContainerObserver)
class Containers:
    """
    The containers that this agent looks after.

    @param agent_id: what our labels carry.
    """

    _log = Logger()

    def __init__(
        self, agent_id: str, daemon: IDaemon, forwards: IForwards, mirrors: IMirrors, policy: PortPolicy
    ) -> None:
        self._agent_id = agent_id
        self._daemon = daemon
        self._forwards = forwards
        self._mirrors = mirrors
        self._volumes = Volumes(daemon, mirrors)
        self._policy = policy
        self._known = KnownContainers()
        self._upkeep = Upkeep(agent_id, self._known, policy, daemon, forwards, mirrors, self._volumes)
        self._execs: dict[str, str] = {}

    # What the proxy asks.

    def plan_create(self, spec: CreateSpec) -> Deferred[CreatePlan]:
        """See L{IContainers.plan_create}."""
        return Deferred.fromCoroutine(self._plan_create(spec))

    async def _plan_create(self, spec: CreateSpec) -> CreatePlan:
        if spec.volumes:
            self._volumes.look(spec.volumes)
        placed, (forwarded, warnings) = await _both(
            self._mirrors.place(spec.mounts), Deferred.fromCoroutine(self._plan_ports(spec))
        )
        return CreatePlan(
            placed=placed,
            labels=encode_labels(self._agent_id, secrets.token_hex(8), spec, forwarded),
            forwarded=forwarded,
            warnings=warnings,
            inherits_mounts=spec.inherits_mounts,
            volumes=spec.volumes,
        )

    async def _plan_ports(self, spec: CreateSpec) -> tuple[tuple[ContainerPort, ...], tuple[str, ...]]:
        if not self._policy.forward or not spec.has_own_ports:
            return (), ()
        wanted = set(spec.ports)
        if spec.publish_all:
            wanted.update(spec.exposed, await self._daemon.image_ports(spec.image))
        forwarded = tuple(sorted(port for port in wanted if port.protocol == "tcp"))
        warnings = tuple(
            f"port {port} stays on the remote host: remotedocker forwards TCP ports only"
            for port in sorted(wanted.difference(forwarded))
        )
        return forwarded, warnings

    def created(self, container_id: str, name: str, plan: CreatePlan) -> None:
        """See L{IContainers.created}."""
        self._known[container_id] = Container(
            container_id,
            name,
            decode_labels(plan.labels),
            mounts_known=not plan.inherits_mounts,
            volumes=plan.volumes,
        )
        self._mirrors.attach(
            container_id,
            mounted_together(
                (placed.remote_source, placed.mount.read_only) for placed in plan.placed if placed.mirrored
            ),
        )

    def create_failed(self, plan: CreatePlan) -> None:
        """See L{IContainers.create_failed}: the remote places stay, the next create finds them current."""
        self._log.debug("create refused; {mounts} mirrors were placed", mounts=len(plan.placed))

    def starting(self, reference: str) -> Deferred[str | None]:
        """See L{IContainers.starting}."""
        return Deferred.fromCoroutine(self._starting(reference))

    async def _starting(self, reference: str) -> str | None:
        container = self._known.find(reference)
        if container is None:
            container = await self._learn(reference)
        if container is None:
            return None
        container.starting = True
        container.died = False
        try:
            await self._upkeep.in_turn(container, lambda: self._prepare(container))
        except RemoteDockerError as error:
            container.starting = False
            raise await self._refused(container, error) from error
        return container.container_id

    async def _prepare(self, container: Container) -> None:
        container_id = container.container_id
        before = self._forwards.local_ports(container_id)
        if not container.mounts_known:
            self._upkeep.attach(container, await self._daemon.inspect(container_id))
        await self._upkeep.attach_volumes(container)
        try:
            await _both(
                self._mirrors.ready(container_id),
                self._forwards.reserve(container_id, container.name, ports_wanted(container, {})),
            )
        except RemoteDockerError:
            if not before:
                await self._forwards.release(container_id)
            raise

    async def _refused(self, container: Container, error: RemoteDockerError) -> RemoteDockerError:
        """
        What the daemon does where a start fails: a container of C{--rm} goes (its CLI waits for that), and
        the error has the name that the daemon gave it.

        @return: the error for the client.
        """
        try:
            document = await self._daemon.inspect(container.container_id)
            container.name = document["Name"].lstrip("/")
            if is_removed_at_end(document) and not is_running(document):
                await self._daemon.remove(container.container_id)
        except RemoteDockerError as trouble:
            self._log.warn("after a refused start: {error}", error=trouble.message)
        return type(error)(**{**error.details, "name": container.name}) if "name" in error.details else error

    def started(self, container_id: str, succeeded: bool) -> Deferred[None]:
        """See L{IContainers.started}."""
        return Deferred.fromCoroutine(self._started(container_id, succeeded))

    async def _started(self, container_id: str, succeeded: bool) -> None:
        container = self._known.get(container_id)
        if container is None:
            return
        container.starting = False
        container.died = container.died or not succeeded
        try:
            await self._upkeep.in_turn(container, lambda: self._upkeep.follow(container))
        except NoSuchContainer:
            # Started, ended and removed (--rm) before it could be looked at.
            await self._upkeep.gone(container_id)
        except RemoteDockerError as error:
            if succeeded:
                raise
            self._log.warn(
                "after a failed start of {name}: {error}", name=container.name, error=error.message
            )

    def collect(self, reference: str) -> Deferred[None]:
        """See L{IContainers.collect}."""
        container = self._known.find(reference)
        return succeed(None) if container is None else Deferred.fromCoroutine(self._collect(container))

    async def _collect(self, container: Container) -> None:
        try:
            await self._upkeep.attach_volumes(container)
        except RemoteDockerError as error:
            self._log.warn("the volumes of {name}: {error}", name=container.name, error=error.message)
        await self._mirrors.collect(container.container_id)

    def exec_created(self, exec_id: str, reference: str) -> None:
        """See L{IContainers.exec_created}."""
        container = self._known.find(reference)
        if container is None:
            return
        self._execs[exec_id] = container.container_id
        while len(self._execs) > _EXECS_REMEMBERED:
            del self._execs[next(iter(self._execs))]

    def collect_exec(self, exec_id: str) -> Deferred[None]:
        """See L{IContainers.collect_exec}."""
        return self.collect(self._execs.get(exec_id, ""))

    def plan_volume(self, mount: BindMount) -> Deferred[PlacedMount]:
        """See L{IContainers.plan_volume}."""
        return self._mirrors.place([mount]).addCallback(lambda placed: placed[0])

    def local_ports(self, container_id: str) -> PortMap | None:
        """See L{IContainers.local_ports}."""
        return self._forwards.local_ports(container_id)

    def laptop_path(self, remote_path: str) -> str | None:
        """See L{IContainers.laptop_path}."""
        return self._mirrors.laptop_path(remote_path)

    def owned(self, labels: Mapping[str, str]) -> OwnedContainer | None:
        """See L{IContainers.owned}."""
        return self._upkeep.owned(labels)

    # What the event stream tells.

    def container_event(self, event: ContainerEvent) -> None:
        """See L{IContainerObserver.container_event}."""
        container_id = event.container_id
        if event.action.startswith("volume "):
            self._volumes.event(event.action, container_id)
            return
        container = self._known.get(container_id)
        if event.action == "start":
            if container is None:
                container = self._meet(container_id, event.attributes.get("name", ""), event.attributes)
            if container is not None and not container.starting:
                self._upkeep.background(container, self._upkeep.follow)
        elif container is None:
            return
        elif event.action == "die":
            container.died = True
            self._upkeep.background(container, self._upkeep.down)
        elif event.action in ("network connect", "network disconnect"):
            # A network that comes or goes with a start or an end tells nothing new.
            if not container.died and not container.starting:
                self._upkeep.background(container, self._upkeep.follow)
        elif event.action == "destroy":
            self._upkeep.background(container, lambda each: self._upkeep.gone(each.container_id))
        elif event.action == "rename":
            container.name = event.attributes.get("name", container.name)

    def containers_listed(self, containers: Sequence[Mapping[str, Any]]) -> Deferred[None]:
        """See L{IContainerObserver.containers_listed}."""
        self._volumes.listed()
        met: set[str] = set()
        changes: list[tuple[Container, Work]] = []
        for summary in containers:
            container_id = summary["Id"]
            name = (summary.get("Names") or ["/"])[0].lstrip("/")
            container = self._meet(container_id, name, summary.get("Labels") or {})
            if container is None:
                continue
            met.add(container_id)
            container.name = name
            self._upkeep.attach(container, summary)
            running = summary.get("State") in ("running", "paused")
            changes.append((container, self._upkeep.follow if running else self._upkeep.down))
        held = {each for each in self._forwards.containers() if not is_service_key(each)}
        for container_id in {*self._known, *held, *self._mirrors.containers()} - met:
            # Asked for again: it may have been created after the list was made.
            container = self._known.setdefault(container_id, Container(container_id, container_id[:12], None))
            changes.append((container, self._upkeep.follow))
        done = [(container, self._upkeep.background(container, work)) for container, work in changes]
        # A start that is under way sees to its own ports, and may be waiting for many files.
        waiting = [each for container, each in done if not container.starting]
        return DeferredList(waiting).addCallback(lambda _: None)

    def list_settled(self) -> None:
        """See L{IContainerObserver.list_settled}."""
        self._mirrors.resynced()

    # One container, in turn.

    def _meet(self, container_id: str, name: str, labels: Mapping[str, str]) -> Container | None:
        """@return: the container, newly known if need be; None if it is not ours to look after."""
        container = self._known.get(container_id)
        if container is None:
            owned = self.owned(labels)
            if owned is None and not self._policy.foreign:
                return None
            container = self._known[container_id] = Container(container_id, name, owned)
        return container

    async def _learn(self, reference: str) -> Container | None:
        """Asks the daemon about a container that is not known yet."""
        try:
            document = await self._daemon.inspect(reference)
        except NoSuchContainer:
            return None  # the daemon itself answers that, in its own words
        container = self._meet(document["Id"], document["Name"].lstrip("/"), inspected_labels(document))
        if container is not None:
            self._upkeep.attach(container, document)
        return container
