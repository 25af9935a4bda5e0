# -*- test-case-name: tests.docker.test_eventstream -*-
"""
The stream of C{GET /events}: JSON objects, one after the other, cut anywhere.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field

from remotedocker.docker._model import ContainerEvent
from remotedocker.docker._objectstream import ObjectStream

__all__ = ["EventStream"]


@define
class EventStream:
    """
    Finds the events, see L{ObjectStream}.

    @ivar limit: an object longer than so many bytes is passed over.
    """

    limit: int = 4 * 1024 * 1024
    _objects: ObjectStream = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._objects = ObjectStream(self.limit)

    def feed(self, data: bytes) -> list[ContainerEvent]:
        """
        @return: the events that C{data} completes and that concern us, in order; other events, and objects
            that are no events, are passed over.
        """
        events = (_event(text) for text, complete in self._objects.split(data) if complete)
        return [event for event in events if event is not None]


def _event(text: bytes) -> ContainerEvent | None:
    """The event of a container, of its network, a service or a volume in a JSON object, or None."""
    try:
        document: dict[str, Any] = json.loads(text)
        kind, actor = document["Type"], document["Actor"]
        attributes = {key: str(value) for key, value in (actor.get("Attributes") or {}).items()}
        action, _, detail = document["Action"].partition(": ")
        if kind == "network" and action in ("connect", "disconnect"):
            action, container_id = f"network {action}", attributes["container"]
        elif kind == "service" or kind == "volume" and action in ("create", "destroy"):
            action, container_id = f"{kind} {action}", actor["ID"]
        elif kind == "container":
            container_id = actor["ID"]
        else:
            return None
        return ContainerEvent(
            action=action,
            container_id=container_id,
            attributes=attributes,
            time_ns=int(document.get("timeNano", 0)),
            detail=detail,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
