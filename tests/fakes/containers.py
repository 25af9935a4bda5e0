# -*- test-case-name: tests.proxy.test_effects -*-
"""
L{IContainers} that remembers what it was asked, and answers as a test says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from remotedocker.docker import (
    BindMount,
    CreatePlan,
    CreateSpec,
    OwnedContainer,
    PlacedMount,
    PortMap,
    decode_labels,
)
from remotedocker.interfaces import IContainers

__all__ = ["FakeContainers"]


@implementer(IContainers)
class FakeContainers:
    """
    Nothing is ours, and everything is done at once, unless a test says otherwise.

    @ivar calls: each call, as its name and its arguments.
    @ivar answers: by the name of a call, what makes its Deferred.
    @ivar ports: what L{local_ports} says, by container id.
    @ivar paths: what L{laptop_path} says, by remote path.
    @ivar agent_id: whose labels are ours.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Callable[[], Deferred[Any]]] = {}
        self.ports: dict[str, PortMap] = {}
        self.paths: dict[str, str] = {}
        self.agent_id = "agent"

    def _called(self, name: str, default: Any, *arguments: Any) -> Deferred[Any]:
        self.calls.append((name, *arguments))
        answer = self.answers.get(name)
        return succeed(default) if answer is None else answer()

    def plan_create(self, spec: CreateSpec) -> Deferred[CreatePlan]:
        """See L{IContainers.plan_create}; nothing is changed."""
        return self._called("plan_create", CreatePlan(tuple(map(_in_place, spec.mounts))), spec)

    def created(self, container_id: str, name: str, plan: CreatePlan) -> None:
        """See L{IContainers.created}."""
        self.calls.append(("created", container_id, name, plan))

    def create_failed(self, plan: CreatePlan) -> None:
        """See L{IContainers.create_failed}."""
        self.calls.append(("create_failed", plan))

    def starting(self, reference: str) -> Deferred[str | None]:
        """See L{IContainers.starting}; it is not ours."""
        return self._called("starting", None, reference)

    def started(self, container_id: str, succeeded: bool) -> Deferred[None]:
        """See L{IContainers.started}."""
        return self._called("started", None, container_id, succeeded)

    def collect(self, reference: str) -> Deferred[None]:
        """See L{IContainers.collect}."""
        return self._called("collect", None, reference)

    def exec_created(self, exec_id: str, reference: str) -> None:
        """See L{IContainers.exec_created}."""
        self.calls.append(("exec_created", exec_id, reference))

    def collect_exec(self, exec_id: str) -> Deferred[None]:
        """See L{IContainers.collect_exec}."""
        return self._called("collect_exec", None, exec_id)

    def plan_volume(self, mount: BindMount) -> Deferred[PlacedMount]:
        """See L{IContainers.plan_volume}; it is the remote's own."""
        return self._called("plan_volume", _in_place(mount), mount)

    def local_ports(self, container_id: str) -> PortMap | None:
        """See L{IContainers.local_ports}."""
        return self.ports.get(container_id)

    def laptop_path(self, remote_path: str) -> str | None:
        """See L{IContainers.laptop_path}."""
        return self.paths.get(remote_path)

    def owned(self, labels: Mapping[str, str]) -> OwnedContainer | None:
        """See L{IContainers.owned}."""
        owned = decode_labels(labels)
        return owned if owned is not None and owned.agent_id == self.agent_id else None


def _in_place(mount: BindMount) -> PlacedMount:
    return PlacedMount(mount, mount.source, mirrored=False)
