# -*- test-case-name: tests.test_containers -*-
"""
Where ports, files and the daemon's truth meet: what happens around a create, a start and an end.

The proxy asks (L{IContainers}); the event stream tells (L{IContainerObserver}). Both speak of the same
containers, at the same time, so everything that is done for one container is done in turn: a C{die} that
arrives while a start is being answered is handled after it. What is known here can always be lost: the
labels on the remote and C{/events} with its re-list bring it back.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker._known import Container, KnownContainers
from remotedocker.docker import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    OwnedContainer,
    PlacedMount,
    PortBinding,
    PortMap,
    bind_sources,
    decode_labels,
    encode_labels,
    inspected_labels,
    is_removed_at_end,
    is_restarted,
    is_running,
    is_service_key,
    mounted_volumes,
    published_ports,
)
from remotedocker.errors import NoSuchContainer, RemoteDockerError
from remotedocker.interfaces import IContainerObserver, IContainers, IDaemon, IForwards, IMirrors
from remotedocker.volumes import Volumes

__all__ = ["Containers", "PortPolicy"]

_Result = TypeVar("_Result")
_Other = TypeVar("_Other")
_Work = Callable[[Container], Awaitable[None]]

_EXECS_REMEMBERED = 4096
"""Execs whose container is remembered; the oldest is forgotten first."""


@frozen
class PortPolicy:
    """
    @ivar forward: published ports are opened here (not C{--no-forward}).
    @ivar foreign: also those of containers that others created (C{--forward-all}).
    """

    forward: bool = True
    foreign: bool = False


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
            {placed.remote_source: placed.mount.read_only for placed in plan.placed if placed.mirrored},
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
            await self._in_turn(container, lambda: self._prepare(container))
        except RemoteDockerError as error:
            container.starting = False
            raise await self._refused(container, error) from error
        return container.container_id

    async def _prepare(self, container: Container) -> None:
        container_id = container.container_id
        before = self._forwards.local_ports(container_id)
        if not container.mounts_known:
            self._attach(container, await self._daemon.inspect(container_id))
        await self._attach_volumes(container)
        try:
            await _both(
                self._mirrors.ready(container_id),
                self._forwards.reserve(container_id, container.name, self._requested(container, {})),
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
            await self._in_turn(container, lambda: self._follow(container))
        except NoSuchContainer:
            # Started, ended and removed (--rm) before it could be looked at.
            await self._gone(container_id)
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
            await self._attach_volumes(container)
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
        owned = decode_labels(labels)
        return owned if owned is not None and owned.agent_id == self._agent_id else None

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
                self._background(container, self._follow)
        elif container is None:
            return
        elif event.action == "die":
            container.died = True
            self._background(container, self._down)
        elif event.action in ("network connect", "network disconnect"):
            # A network that comes or goes with a start or an end tells nothing new.
            if not container.died and not container.starting:
                self._background(container, self._follow)
        elif event.action == "destroy":
            self._background(container, lambda each: self._gone(each.container_id))
        elif event.action == "rename":
            container.name = event.attributes.get("name", container.name)

    def containers_listed(self, containers: Sequence[Mapping[str, Any]]) -> Deferred[None]:
        """See L{IContainerObserver.containers_listed}."""
        self._volumes.listed()
        met: set[str] = set()
        changes: list[tuple[Container, _Work]] = []
        for summary in containers:
            container_id = summary["Id"]
            name = (summary.get("Names") or ["/"])[0].lstrip("/")
            container = self._meet(container_id, name, summary.get("Labels") or {})
            if container is None:
                continue
            met.add(container_id)
            container.name = name
            self._attach(container, summary)
            running = summary.get("State") in ("running", "paused")
            changes.append((container, self._follow if running else self._down))
        held = {each for each in self._forwards.containers() if not is_service_key(each)}
        for container_id in {*self._known, *held, *self._mirrors.containers()} - met:
            # Asked for again: it may have been created after the list was made.
            container = self._known.setdefault(container_id, Container(container_id, container_id[:12], None))
            changes.append((container, self._follow))
        done = [(container, self._background(container, work)) for container, work in changes]
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
            self._attach(container, document)
        return container

    def _attach(self, container: Container, document: Mapping[str, Any]) -> None:
        """
        @param document: an inspect or list answer, which has all of its mounts.
        """
        self._mirrors.attach(container.container_id, bind_sources(document))
        container.volumes = mounted_volumes(document)
        container.mounts_known = True

    async def _attach_volumes(self, container: Container) -> None:
        """Attaches the mirrors behind its volumes, when it is known which those are."""
        if container.volumes:
            self._mirrors.attach(container.container_id, await self._volumes.sources(container.volumes))
            container.volumes = {}

    async def _follow(self, container: Container) -> None:
        """Brings ports and mirrors to what the daemon says of the container now."""
        container_id = container.container_id
        await self._attach_volumes(container)
        if container.owned is not None and not container.died and not container.owned.publishes:
            self._mirrors.running(container_id)
            return
        document = await self._daemon.inspect(container_id)
        container.owned = container.owned or self.owned(inspected_labels(document))
        container.restarts = is_restarted(document)
        if not is_running(document):
            await self._down(container)
            return
        container.died = False
        self._mirrors.running(container_id)
        if not self._policy.forward or (container.owned is None and not self._policy.foreign):
            return
        actual = {
            port: bindings
            for port, bindings in published_ports(document).items()
            if bindings and port.protocol == "tcp"
        }
        requested = self._requested(container, actual)
        await self._forwards.reserve(
            container_id, container.name, requested, optional=container.owned is None
        )
        await self._forwards.publish(container_id, actual)

    async def _down(self, container: Container) -> None:
        """
        Closes its ports; where the daemon is about to start it again, they refuse connections but stay ours.
        """
        container_id = container.container_id
        self._mirrors.stopped(container_id)
        if container.restarts:
            await self._forwards.suspend(container_id)
            state = (await self._daemon.inspect(container_id)).get("State") or {}
            if state.get("Restarting") or state.get("Running"):
                return
        await self._forwards.release(container_id)

    async def _gone(self, container_id: str) -> None:
        released = self._mirrors.release(container_id)
        await self._forwards.forget(container_id)
        # Until its last words are back it is known by its name: a client may wait for them.
        released.addCallback(lambda _: self._known.pop(container_id, None))

    def _requested(self, container: Container, actual: PortMap) -> PortMap:
        """
        What is to be opened here: as typed; any port for those that C{-P} published; for containers of others
        the number that they have there.
        """
        if container.owned is None:
            return {
                port: tuple(dict.fromkeys(PortBinding("", binding.host_port) for binding in bindings))
                for port, bindings in actual.items()
            }
        typed = {port: bindings for port, bindings in container.owned.ports.items() if port.protocol == "tcp"}
        return {port: (PortBinding(),) for port in actual} | typed

    def _in_turn(self, container: Container, work: Callable[[], Awaitable[_Result]]) -> Deferred[_Result]:
        async def run() -> _Result:
            return await work()

        return container.lock.run(lambda: Deferred.fromCoroutine(run()))

    def _background(self, container: Container, work: _Work) -> Deferred[None]:
        """Does C{work} in turn; a failure is logged, the next event tries again. @return: fires after it."""
        container_id = container.container_id

        async def run() -> None:
            try:
                await self._in_turn(container, lambda: work(container))
            except NoSuchContainer:
                await self._gone(container_id)
            except RemoteDockerError as error:
                self._log.warn("container {name}: {error}", name=container.name, error=error.message)

        return Deferred.fromCoroutine(run()).addErrback(
            lambda failure: self._log.failure("container {name}", failure, name=container.name)
        )
