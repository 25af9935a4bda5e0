# -*- test-case-name: tests.docker.test_services -*-
"""
The bodies of C{POST /services/create} and C{/services/{id}/update}: mounts of a service's tasks.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.docker._json import JSONObject, read_object, write
from remotedocker.docker._model import BindMount, PlacedMount
from remotedocker.docker._mounts import Slot, apply_placed, mount_slots

__all__ = ["ServiceRequest"]


@frozen(eq=False)
class ServiceRequest:
    """
    @ivar mounts: the host paths in C{TaskTemplate.ContainerSpec.Mounts}, in order.
    """

    mounts: tuple[BindMount, ...]
    _body: bytes
    _document: JSONObject
    _slots: list[Slot]

    @classmethod
    def parse(cls, body: bytes) -> ServiceRequest:
        """
        @raise BadRequest: the body is no JSON object.
        """
        document = read_object(body)
        slots = mount_slots(document.child("TaskTemplate").child("ContainerSpec").children("Mounts"))
        return cls(tuple(slot.mount for slot in slots), body, document, slots)

    def rewrite(self, placed: tuple[PlacedMount, ...]) -> bytes:
        """
        @param placed: one decision for each of C{mounts}, in the same order.
        @return: the body for the daemon. To be called once.
        """
        if not self._slots:
            return self._body
        apply_placed(self._slots, placed)
        return write(self._document) + b"\n"
