# -*- test-case-name: tests.proxy.test_effects -*-
"""
Effects, performed: the proxy's questions to the rest of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred, fail, succeed

from remotedocker import errors
from remotedocker.docker import ServicePlan
from remotedocker.errors import NoSuchContainer
from remotedocker.interfaces import IContainers, IDaemon, IServices
from remotedocker.proxy._asked import (
    Collect,
    CollectExec,
    Created,
    CreateFailed,
    Effect,
    ExecBroke,
    ExecCreated,
    Inspect,
    Ping,
    PlanCreate,
    PlanService,
    PlanVolume,
    ServiceAnswered,
    Started,
    Starting,
)

__all__ = ["Effects"]

#: Of more streams of execs that broke than this, and that nobody asked about, the oldest are forgotten.
_MOST_CUT_OFF = 1000


@frozen
class Effects:
    """Performs effects on L{IDaemon}, L{IContainers} and L{IServices}."""

    daemon: IDaemon
    containers: IContainers
    services: IServices
    _cut_off: dict[str, None] = field(factory=dict)

    def start(self, effect: Effect) -> Deferred[Any]:
        """
        @return: fires with what the effect comes to.
        """
        return _PERFORMERS[type(effect)](self, effect)

    async def _inspect(self, effect: Inspect) -> dict[str, Any] | None:
        try:
            return await self.daemon.inspect(effect.reference)
        except NoSuchContainer:
            return None

    def _exec_cut_off(self, effect: ExecBroke) -> None:
        self._cut_off[effect.exec_id] = None
        while len(self._cut_off) > _MOST_CUT_OFF:
            del self._cut_off[next(iter(self._cut_off))]

    def _collect_exec(self, effect: CollectExec) -> Deferred[None]:
        if self._cut_off.pop(effect.exec_id, self) is None:
            return fail(errors.ExecCutOff(exec_id=effect.exec_id[:12]))
        return self.containers.collect_exec(effect.exec_id)

    async def _plan_service(self, effect: PlanService) -> ServicePlan:
        placed = [await self.containers.plan_volume(mount) for mount in effect.spec.mounts]
        return evolve(await self.services.plan(effect.reference, effect.spec), placed=tuple(placed))


def _told(tell: Callable[[Effects, Any], None]) -> Callable[[Effects, Any], Deferred[Any]]:
    """For an effect that is a message, with no end to wait for."""

    def perform(effects: Effects, effect: Any) -> Deferred[Any]:
        tell(effects, effect)
        return succeed(None)

    return perform


_PERFORMERS: Mapping[type, Callable[[Effects, Any], Deferred[Any]]] = {
    Ping: lambda to, effect: succeed(to.daemon.ping()),
    Inspect: lambda to, effect: Deferred.fromCoroutine(to._inspect(effect)),
    PlanCreate: lambda to, effect: to.containers.plan_create(effect.spec),
    Created: _told(lambda to, effect: to.containers.created(effect.container_id, effect.name, effect.plan)),
    CreateFailed: _told(lambda to, effect: to.containers.create_failed(effect.plan)),
    Starting: lambda to, effect: to.containers.starting(effect.reference),
    Started: lambda to, effect: to.containers.started(effect.container_id, effect.succeeded),
    Collect: lambda to, effect: to.containers.collect(effect.reference),
    ExecCreated: _told(lambda to, effect: to.containers.exec_created(effect.exec_id, effect.reference)),
    ExecBroke: _told(Effects._exec_cut_off),
    CollectExec: Effects._collect_exec,
    PlanVolume: lambda to, effect: to.containers.plan_volume(effect.mount),
    PlanService: lambda to, effect: Deferred.fromCoroutine(to._plan_service(effect)),
    ServiceAnswered: _told(lambda to, effect: to.services.answered(effect.plan)),
}
