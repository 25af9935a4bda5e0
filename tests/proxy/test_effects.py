# -*- test-case-name: tests.proxy.test_effects -*-
"""
Tests for L{remotedocker.proxy._effects}, and for the fake that stands for the rest of the program.
"""

from __future__ import annotations

from typing import Any, get_args

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from remotedocker import errors
from remotedocker.docker import BindMount, CreatePlan, CreateSpec, PlacedMount, ServicePlan, ServiceSpec
from remotedocker.errors import SourceMissing
from remotedocker.interfaces import IContainers, IServices
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
from remotedocker.proxy._effects import _PERFORMERS, Effects
from tests.fakes.containers import FakeContainers
from tests.fakes.services import FakeServices
from tests.proxy.memory_case import PingingDaemon

_MOUNT = BindMount("/a", "/b")
_PLACED = PlacedMount(_MOUNT, "/a", mirrored=False)
_PLAN = CreatePlan((_PLACED,))


class EffectsTests(SynchronousTestCase):
    """Each effect becomes one call."""

    def setUp(self) -> None:
        """Nothing was called."""
        self.containers = FakeContainers()
        self.services = FakeServices()
        self.pinging = PingingDaemon()
        daemon: Any = self.pinging
        self.effects = Effects(daemon, self.containers, self.services)

    def test_fake(self) -> None:
        """The fakes provide what they stand for."""
        verifyObject(IContainers, self.containers)
        verifyObject(IServices, self.services)

    def test_all(self) -> None:
        """No effect is forgotten."""
        self.assertEqual(set(_PERFORMERS), set(get_args(Effect)))

    def test_calls(self) -> None:
        """What is called, and what it comes to."""
        spec = CreateSpec("x", mounts=(_MOUNT,))
        cases: list[tuple[Effect, tuple[Any, ...], Any]] = [
            (PlanCreate(spec), ("plan_create", spec), _PLAN),
            (Created("c1", "web", _PLAN), ("created", "c1", "web", _PLAN), None),
            (CreateFailed(_PLAN), ("create_failed", _PLAN), None),
            (Starting("web"), ("starting", "web"), None),
            (Started("c1", True), ("started", "c1", True), None),
            (Collect("web"), ("collect", "web"), None),
            (ExecCreated("e1", "web"), ("exec_created", "e1", "web"), None),
            (CollectExec("e1"), ("collect_exec", "e1"), None),
            (PlanVolume(_MOUNT), ("plan_volume", _MOUNT), _PLACED),
        ]
        for effect, call, result in cases:
            self.containers.calls.clear()
            self.assertEqual(self.successResultOf(self.effects.start(effect)), result)
            self.assertEqual(self.containers.calls, [call])

    def test_ping(self) -> None:
        """A ping is what the daemon's client knows."""
        self.assertIsNone(self.successResultOf(self.effects.start(Ping())))
        self.pinging.head = b"HTTP/1.1 200 OK\r\n\r\n"
        self.assertEqual(self.successResultOf(self.effects.start(Ping())), self.pinging.head)

    def test_inspect(self) -> None:
        """An inspect is what the daemon says, or None where it knows nothing."""
        self.assertIsNone(self.successResultOf(self.effects.start(Inspect("web"))))
        self.pinging.containers["web"] = {"Id": "c1"}
        self.assertEqual(self.successResultOf(self.effects.start(Inspect("web"))), {"Id": "c1"})

    def test_exec_cut_off(self) -> None:
        """That the stream of an exec broke is told once in place of its exit code; of a thousand at most."""
        for number in range(1001):
            self.assertIsNone(self.successResultOf(self.effects.start(ExecBroke(f"e{number}"))))
        self.assertIn(
            "e5", str(self.failureResultOf(self.effects.start(CollectExec("e5")), errors.ExecCutOff))
        )
        self.successResultOf(self.effects.start(CollectExec("e5")))
        self.successResultOf(self.effects.start(CollectExec("e0")))

    def test_service(self) -> None:
        """The plan of a service is made of its mounts and its ports."""
        spec, plan = ServiceSpec("web", (_MOUNT,)), ServicePlan((_PLACED,), key="service k")
        self.assertEqual(self.successResultOf(self.effects.start(PlanService("s1", spec))), plan)
        self.assertEqual(self.containers.calls, [("plan_volume", _MOUNT)])
        self.assertIsNone(self.successResultOf(self.effects.start(ServiceAnswered(plan))))
        self.assertEqual(self.services.calls, [("plan", "s1", spec), ("answered", plan)])

    def test_fails(self) -> None:
        """A failure is passed on."""
        self.containers.answers["plan_volume"] = lambda: fail(SourceMissing(source="/a"))
        failure = self.failureResultOf(
            self.effects.start(PlanService("", ServiceSpec("web", (_MOUNT,)))), SourceMissing
        )
        self.assertIn("/a", failure.getErrorMessage())
