# -*- test-case-name: tests.forwards.test_forwards -*-
"""
The ports of one container: what is kept about them while the agent runs.
"""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import DeferredLock

from remotedocker.docker import ContainerPort, PortBinding, PortMap
from remotedocker.forwards._listener import Listener
from remotedocker.forwards._plan import Opened, Slot

__all__ = ["Opening", "Ports"]


@define
class Opening:
    """A slot that is open: what the plan knows of it, and its listeners."""

    opened: Opened
    listeners: tuple[Listener, ...]


@define
class Ports:
    """
    @ivar name: the container's, for messages.
    @ivar order: all slots, as typed.
    @ivar openings: what is open, or held.
    @ivar suspended: held, and not shown.
    @ivar known: was reserved once and not forgotten.
    """

    name: str = ""
    order: tuple[Slot, ...] = ()
    openings: dict[Slot, Opening] = Factory(dict)
    suspended: bool = False
    known: bool = False
    lock: DeferredLock = Factory(DeferredLock)

    def opened(self) -> dict[Slot, Opened]:
        """What the plan needs to know."""
        return {slot: opening.opened for slot, opening in self.openings.items()}

    def shown(self) -> PortMap:
        """What users see."""
        ports: dict[ContainerPort, tuple[PortBinding, ...]] = {}
        for slot in () if self.suspended else self.order:
            opening = self.openings.get(slot)
            if opening is not None:
                ports[slot.port] = ports.get(slot.port, ()) + tuple(
                    PortBinding(host, str(opening.opened.number)) for host in opening.opened.hosts
                )
        return ports
