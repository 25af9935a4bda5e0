# -*- test-case-name: tests.docker.test_eventlabels -*-
"""
The stream of C{GET /events} as a user of a local daemon would see it: without our labels, which the daemon
shows among the attributes of a container's events, and of an image's that was made of a container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import Factory, define

from remotedocker.docker._json import read_object, write
from remotedocker.docker._labels import LABEL_PREFIX, is_own_label
from remotedocker.docker._model import OwnedContainer
from remotedocker.docker._objectstream import ObjectStream
from remotedocker.errors import BadRequest

__all__ = ["EventLabels"]

_MARK = LABEL_PREFIX.encode("ascii")


@define
class EventLabels:
    """
    Takes our labels out of the events as they pass. An event that has none, and whatever stands between the
    events, passes as it came; an event waits for nothing but its own end.

    @ivar owned: what labels say if this agent gave them; other agents' events are shown as they are.
    """

    owned: Callable[[Mapping[str, str]], OwnedContainer | None]
    _objects: ObjectStream = Factory(ObjectStream)

    def feed(self, data: bytes) -> bytes:
        """
        @param data: a piece of the stream, cut anywhere.
        @return: what of it, and of what was kept, can be passed on.
        """
        return b"".join(
            self._shown(part) if complete and _MARK in part else part
            for part, complete in self._objects.split(data)
        )

    def rest(self) -> bytes:
        """@return: what was kept; the stream has ended within an event."""
        return self._objects.take()

    def _shown(self, event: bytes) -> bytes:
        try:
            document = read_object(event)
        except BadRequest:
            return event
        attributes = document.child("Actor").child("Attributes")
        labels = {key: value for key, value in attributes.entries().items() if isinstance(value, str)}
        if document.text("Type") != "image" and self.owned(labels) is None:
            return event
        attributes.items = [item for item in attributes.items if not is_own_label(item[0])]
        return write(document)
