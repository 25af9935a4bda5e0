# -*- test-case-name: tests.docker.test_volumes -*-
"""
The body of C{POST /volumes/create}, where a C{local} volume can be a bind in disguise.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.docker._json import JSONObject, read_object, write
from remotedocker.docker._model import BindMount, PlacedMount
from remotedocker.docker._mounts import Slot, apply_placed, volume_slot

__all__ = ["VolumeRequest"]


@frozen(eq=False)
class VolumeRequest:
    """
    @ivar mount: the host path that the volume is to be, None for any other volume.
    """

    mount: BindMount | None
    _body: bytes
    _document: JSONObject
    _slot: Slot | None

    @classmethod
    def parse(cls, body: bytes) -> VolumeRequest:
        """
        @raise BadRequest: the body is no JSON object.
        """
        document = read_object(body or b"{}")
        local = document.text("Driver") in ("", "local")
        slot = volume_slot(document.child("DriverOpts")) if local else None
        return cls(None if slot is None else slot.mount, body, document, slot)

    def rewrite(self, placed: PlacedMount) -> bytes:
        """
        @param placed: the decision about C{mount}.
        @return: the body for the daemon. To be called once.
        """
        if self._slot is None:
            return self._body
        apply_placed([self._slot], (placed,))
        return write(self._document) + b"\n"
