# -*- test-case-name: tests.docker.test_volumes -*-
"""
Volumes: a C{local} one can be a bind in disguise, in the body of C{POST /volumes/create} and in answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from remotedocker.docker._json import JSONObject, read_object, write
from remotedocker.docker._model import BindMount, PlacedMount
from remotedocker.docker._mounts import Slot, apply_placed, volume_slot

__all__ = ["VolumeRequest", "volume_mount"]


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


def volume_mount(document: Mapping[str, Any]) -> BindMount | None:
    """
    @param document: a volume as the daemon shows it, plain C{json.loads}.
    @return: the remote's path that the volume is, None for any other volume.
    """
    if document.get("Driver") != "local":
        return None
    slot = volume_slot(read_object(json.dumps(document.get("Options") or {}).encode()))
    return None if slot is None else slot.mount
