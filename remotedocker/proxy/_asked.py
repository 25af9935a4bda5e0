# -*- test-case-name: tests.proxy.test_effects -*-
"""
Effects: what is asked of the rest of the program. A L{Rewriter<remotedocker.proxy._rewriting.Rewriter>}
chooses them, L{Effects<remotedocker.proxy._effects.Effects>} performs them, and all between only carry them.
All of them are values.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.docker import BindMount, CreatePlan, CreateSpec, ServicePlan, ServiceSpec

__all__ = [
    "Collect",
    "CollectExec",
    "CreateFailed",
    "Created",
    "Effect",
    "ExecBroke",
    "ExecCreated",
    "Inspect",
    "Ping",
    "PlanCreate",
    "PlanService",
    "PlanVolume",
    "ServiceAnswered",
    "Started",
    "Starting",
]


@frozen
class Ping:
    """IDaemon.ping; resolves to a head, or None."""


@frozen
class Inspect:
    """IDaemon.inspect; resolves to None if there is no such container."""

    reference: str


@frozen
class PlanCreate:
    """IContainers.plan_create."""

    spec: CreateSpec


@frozen
class Created:
    """IContainers.created."""

    container_id: str
    name: str
    plan: CreatePlan


@frozen
class CreateFailed:
    """IContainers.create_failed."""

    plan: CreatePlan


@frozen
class Starting:
    """IContainers.starting; resolves to a container's id, or None."""

    reference: str


@frozen
class Started:
    """IContainers.started."""

    container_id: str
    succeeded: bool


@frozen
class Collect:
    """IContainers.collect."""

    reference: str


@frozen
class ExecCreated:
    """IContainers.exec_created."""

    exec_id: str
    reference: str


@frozen
class CollectExec:
    """IContainers.collect_exec."""

    exec_id: str


@frozen
class ExecBroke:
    """The stream of an exec broke at the daemon's side: L{CollectExec} fails once."""

    exec_id: str


@frozen
class PlanVolume:
    """IContainers.plan_volume; resolves to a placed mount."""

    mount: BindMount


@frozen
class PlanService:
    """IContainers.plan_volume for each mount, and IServices.plan; resolves to a plan with all of it."""

    reference: str
    spec: ServiceSpec


@frozen
class ServiceAnswered:
    """IServices.answered."""

    plan: ServicePlan


Effect = (
    Ping
    | Inspect
    | PlanCreate
    | Created
    | CreateFailed
    | Starting
    | Started
    | Collect
    | ExecCreated
    | CollectExec
    | ExecBroke
    | PlanVolume
    | PlanService
    | ServiceAnswered
)
