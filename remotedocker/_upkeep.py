# -*- test-case-name: tests.test_upkeep -*-
"""
The upkeep of one container: its ports and mirrors are brought to what the daemon says of it.

Everything that is done for one container is done in turn, so nothing here is ever told an older truth after a
newer one. Who asked for it, and when, is for L{remotedocker.containers}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotedocker._known import Container, KnownContainers
from remotedocker.docker import (
    OwnedContainer,
    PortBinding,
    PortMap,
    bind_sources,
    decode_labels,
    inspected_labels,
    is_restarted,
    is_running,
    mounted_volumes,
    published_ports,
)
from remotedocker.errors import NoSuchContainer, RemoteDockerError
from remotedocker.interfaces import IDaemon, IForwards, IMirrors
from remotedocker.volumes import Volumes

__all__ = ["PortPolicy", "Upkeep", "Work", "ports_wanted"]

_Result = TypeVar("_Result")

Work = Callable[[Container], Awaitable[None]]
"""A step of the upkeep."""


@frozen
class PortPolicy:
    """
    @ivar forward: published ports are opened here (not C{--no-forward}).
    @ivar foreign: also those of containers that others created (C{--forward-all}).
    """

    forward: bool = True
    foreign: bool = False


def ports_wanted(container: Container, actual: PortMap) -> PortMap:
    """
    @param actual: where the daemon says its ports are.
    @return: what is to be opened here: as typed; any port for those that C{-P} published; for containers of
        others the number that they have there.
    """
    if container.owned is None:
        return {
            port: tuple(dict.fromkeys(PortBinding("", binding.host_port) for binding in bindings))
            for port, bindings in actual.items()
        }
    typed = {port: bindings for port, bindings in container.owned.ports.items() if port.protocol == "tcp"}
    return {port: (PortBinding(),) for port in actual} | typed


@frozen(eq=False)
class Upkeep:
    """
    What is done for containers, one step after the other for each.

    @param agent_id: what our labels carry.
    @param known: those that are gone are taken out of it.
    """

    _log = Logger()

    _agent_id: str
    _known: KnownContainers
    _policy: PortPolicy
    _daemon: IDaemon
    _forwards: IForwards
    _mirrors: IMirrors
    _volumes: Volumes

    def owned(self, labels: Mapping[str, str]) -> OwnedContainer | None:
        """See L{IContainers.owned<remotedocker.interfaces.IContainers.owned>}."""
        owned = decode_labels(labels)
        return owned if owned is not None and owned.agent_id == self._agent_id else None

    def attach(self, container: Container, document: Mapping[str, Any]) -> None:
        """
        Attaches its mirrors.

        @param document: an inspect or list answer, which has all of its mounts.
        """
        self._mirrors.attach(container.container_id, bind_sources(document))
        container.volumes = mounted_volumes(document)
        container.mounts_known = True

    async def attach_volumes(self, container: Container) -> None:
        """Attaches the mirrors behind its volumes, when it is known which those are."""
        if container.volumes:
            self._mirrors.attach(container.container_id, await self._volumes.sources(container.volumes))
            container.volumes = {}

    async def follow(self, container: Container) -> None:
        """Brings ports and mirrors to what the daemon says of the container now."""
        container_id = container.container_id
        await self.attach_volumes(container)
        if container.owned is not None and not container.died and not container.owned.publishes:
            self._mirrors.running(container_id)
            return
        document = await self._daemon.inspect(container_id)
        container.owned = container.owned or self.owned(inspected_labels(document))
        container.restarts = is_restarted(document)
        if not is_running(document):
            await self.down(container)
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
        requested = ports_wanted(container, actual)
        await self._forwards.reserve(
            container_id, container.name, requested, optional=container.owned is None
        )
        await self._forwards.publish(container_id, actual)

    async def down(self, container: Container) -> None:
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

    async def gone(self, container_id: str) -> None:
        """Forgets its ports now, and itself when what it wrote is back."""
        released = self._mirrors.release(container_id)
        await self._forwards.forget(container_id)
        # Until its last words are back it is known by its name: a client may wait for them.
        released.addCallback(lambda _: self._known.pop(container_id, None))

    def in_turn(self, container: Container, work: Callable[[], Awaitable[_Result]]) -> Deferred[_Result]:
        """
        Does C{work} when all that was begun for the container before is done.

        @return: fires as C{work} ends.
        """

        async def run() -> _Result:
            return await work()

        return container.lock.run(lambda: Deferred.fromCoroutine(run()))

    def background(self, container: Container, work: Work) -> Deferred[None]:
        """Does C{work} in turn; a failure is logged, the next event tries again. @return: fires after it."""
        container_id = container.container_id

        async def run() -> None:
            try:
                await self.in_turn(container, lambda: work(container))
            except NoSuchContainer:
                await self.gone(container_id)
            except RemoteDockerError as error:
                self._log.warn("container {name}: {error}", name=container.name, error=error.message)

        return Deferred.fromCoroutine(run()).addErrback(
            lambda failure: self._log.failure("container {name}", failure, name=container.name)
        )
