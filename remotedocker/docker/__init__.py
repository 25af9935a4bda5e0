"""
What Docker's HTTP messages mean: method, path and body to values, and back. No Twisted here.
"""

from __future__ import annotations

from remotedocker.docker._model import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    MountForm,
    OwnedContainer,
    PlacedMount,
    PortBinding,
    PortMap,
)

__all__ = [
    "BindMount",
    "ContainerEvent",
    "ContainerPort",
    "CreatePlan",
    "CreateSpec",
    "MountForm",
    "OwnedContainer",
    "PlacedMount",
    "PortBinding",
    "PortMap",
]
