# -*- test-case-name: tests.proxy.test_effects -*-
"""
L{IServices} that remembers what it was asked.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from remotedocker.docker import ServicePlan, ServiceSpec
from remotedocker.interfaces import IServices

__all__ = ["FakeServices"]


@implementer(IServices)
class FakeServices:
    """
    Every service passes as asked.

    @ivar calls: each call, as its name and its arguments.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def plan(self, reference: str, spec: ServiceSpec) -> Deferred[ServicePlan]:
        """See L{IServices.plan}."""
        self.calls.append(("plan", reference, spec))
        return succeed(ServicePlan(key="service k"))

    def answered(self, plan: ServicePlan) -> None:
        """See L{IServices.answered}."""
        self.calls.append(("answered", plan))
