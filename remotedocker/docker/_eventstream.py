# -*- test-case-name: tests.docker.test_eventstream -*-
"""
The stream of C{GET /events}: JSON objects, one after the other, cut anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from attrs import define, field

from remotedocker.docker._model import ContainerEvent

__all__ = ["EventStream"]

_MARKS = re.compile(rb'["{}\x1e]')
_MARKS_IN_STRING = re.compile(rb'"|\\|\x1e')


@define
class EventStream:
    """
    Finds the objects by their braces, whatever stands between them: nothing, newlines, or the record
    separators of C{application/json-seq} (RFC 7464), which also end an object that was cut short.

    @ivar limit: an object longer than so many bytes is passed over.
    """

    limit: int = 4 * 1024 * 1024
    _object: bytearray = field(factory=bytearray, init=False)
    _depth: int = field(default=0, init=False)
    _in_string: bool = field(default=False, init=False)
    _escaped: bool = field(default=False, init=False)

    def feed(self, data: bytes) -> list[ContainerEvent]:
        """
        @return: the container events that C{data} completes, in order; other events, and objects that are no
            events, are passed over.
        """
        events = (_event(text) for text in self._objects(data))
        return [event for event in events if event is not None]

    def _objects(self, data: bytes) -> Iterator[bytes]:
        start = index = 0
        while True:
            if self._escaped and index < len(data):
                self._escaped = False
                index += 1
            mark = (_MARKS_IN_STRING if self._in_string else _MARKS).search(data, index)
            if mark is None:
                break
            index = mark.end()
            if mark[0] == b"\x1e":
                self._object.clear()
                self._depth, self._in_string = 0, False
            elif mark[0] == b"\\":
                self._escaped = True
            elif self._depth == 0:
                if mark[0] == b"{":
                    self._depth, start = 1, mark.start()
            elif mark[0] == b'"':
                self._in_string = not self._in_string
            else:
                self._depth += 1 if mark[0] == b"{" else -1
                if self._depth == 0:
                    self._keep(data[start:index])
                    yield bytes(self._object)
                    self._object.clear()
        if self._depth:
            self._keep(data[start:])

    def _keep(self, part: bytes) -> None:
        """Of an object that is too long a part is kept that is no JSON."""
        if len(self._object) <= self.limit:
            self._object += part[: self.limit + 1 - len(self._object)]


def _event(text: bytes) -> ContainerEvent | None:
    """The event of a container, or of its network, in a JSON object; None if it is none."""
    try:
        document: dict[str, Any] = json.loads(text)
        kind, actor = document["Type"], document["Actor"]
        attributes = {key: str(value) for key, value in (actor.get("Attributes") or {}).items()}
        action, _, detail = document["Action"].partition(": ")
        if kind == "network" and action in ("connect", "disconnect"):
            action, container_id = f"network {action}", attributes["container"]
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
