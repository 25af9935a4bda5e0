# -*- test-case-name: tests.docker.test_inspected -*-
"""
What concerns us of the daemon's answers to C{GET /containers/{id}/json} and C{GET /containers/json}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remotedocker.docker._mounts import mounted_together

__all__ = [
    "bind_sources",
    "inspected_labels",
    "is_removed_at_end",
    "is_restarted",
    "is_running",
    "mounted_volumes",
]


def inspected_labels(document: Mapping[str, Any]) -> Mapping[str, str]:
    """@return: the labels in an inspect answer."""
    return (document.get("Config") or {}).get("Labels") or {}


def is_running(document: Mapping[str, Any]) -> bool:
    """@return: whether it runs now; one that is about to be started again does not."""
    state = document.get("State") or {}
    return bool(state.get("Running")) and not state.get("Restarting")


def is_restarted(document: Mapping[str, Any]) -> bool:
    """@return: whether the daemon may start it again by itself (C{--restart})."""
    policy = (document.get("HostConfig") or {}).get("RestartPolicy") or {}
    return policy.get("Name") in ("always", "unless-stopped", "on-failure")


def is_removed_at_end(document: Mapping[str, Any]) -> bool:
    """@return: whether the daemon removes it when it has ended, or could not be started (C{--rm})."""
    return bool((document.get("HostConfig") or {}).get("AutoRemove"))


def bind_sources(document: Mapping[str, Any]) -> dict[str, bool]:
    """@return: the bind sources in an inspect or list answer's C{Mounts}, to whether they are read-only."""
    return mounted_together(
        (mount["Source"], not mount.get("RW", True))
        for mount in document.get("Mounts") or ()
        if mount.get("Type") == "bind" and mount.get("Source")
    )


def mounted_volumes(document: Mapping[str, Any]) -> dict[str, bool]:
    """@return: the names of the volumes in C{Mounts}, as L{bind_sources}."""
    return mounted_together(
        (mount["Name"], not mount.get("RW", True))
        for mount in document.get("Mounts") or ()
        if mount.get("Type") == "volume" and mount.get("Name")
    )
