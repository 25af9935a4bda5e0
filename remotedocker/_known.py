# -*- test-case-name: tests.test_known -*-
"""
What is known of the containers that concern us, and which of them somebody means.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, define
from twisted.internet.defer import DeferredLock

from remotedocker.docker import OwnedContainer

__all__ = ["Container", "KnownContainers"]

_SHORT_ID = 12
"""Digits of an id as the CLI prints it."""


@define
class Container:
    """
    What is known about one container.

    @ivar owned: what our labels say, None for a container of others (C{--forward-all}).
    @ivar starting: a start that passes by the proxy is under way; its events bring nothing new.
    @ivar restarts: the daemon may start it again by itself (C{HostConfig.RestartPolicy}).
    @ivar died: a C{die} was seen since that start began, so whether it runs must be asked.
    @ivar mounts_known: its mirrors are attached; with C{--volumes-from} only the daemon knows them.
    @ivar volumes: those that it mounts, to whether they are read-only, until the mirrors behind them are
        attached.
    """

    container_id: str
    name: str
    owned: OwnedContainer | None
    starting: bool = False
    died: bool = True
    mounts_known: bool = True
    restarts: bool = False
    volumes: Mapping[str, bool] = Factory(dict)
    lock: DeferredLock = Factory(DeferredLock)


class KnownContainers(dict[str, Container]):
    """By full id, in the order in which they were met."""

    def find(self, reference: str) -> Container | None:
        """
        The container that C{reference} names, by what is known here: a full id, a name, an id cut short as
        the CLI prints it. A shorter prefix may mean a container that is not known, so it is none of ours.
        """
        reference = reference.lstrip("/")
        if not reference:
            return None
        container = self.get(reference)
        if container is not None:
            return container
        for container in reversed(self.values()):
            if container.name == reference:
                return container
        if len(reference) < _SHORT_ID:
            return None
        candidates = [known for known in self.values() if known.container_id.startswith(reference)]
        return candidates[0] if len(candidates) == 1 else None
