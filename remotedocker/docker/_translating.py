# -*- test-case-name: tests.docker.test_answers -*-
"""
What the translations of the daemon's answers have in common: what they have to know, and how lists and
objects are changed in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from remotedocker.docker._filters import ListFilter
from remotedocker.docker._json import (
    JSONObject,
    JSONValue,
    Raw,
    read_object,
    split_array,
    split_object,
    write,
)
from remotedocker.docker._model import OwnedContainer, PortMap
from remotedocker.errors import BadRequest

__all__ = ["AnswerView", "read_answer", "translate_array", "translate_members", "translate_mounts"]


class AnswerView(Protocol):
    """What has to be known to translate an answer; an L{IContainers<remotedocker.interfaces.IContainers>}."""

    def local_ports(self, container_id: str) -> PortMap | None:
        """What is open on the laptop for a container."""

    def laptop_path(self, remote_path: str) -> str | None:
        """The laptop's path that a remote path mirrors; None if it mirrors none."""

    def owned(self, labels: Mapping[str, str]) -> OwnedContainer | None:
        """What the labels of a container say, if it is this agent's."""


def read_answer(body: bytes) -> JSONObject:
    """The object in C{body}; an empty one if there is none."""
    try:
        return read_object(body)
    except BadRequest:
        return JSONObject()


def translate_mounts(mounts: Iterable[JSONObject], view: AnswerView) -> bool:
    """Each C{Source}, in place; true if any was a mirror of ours."""
    translated = [(mount, view.laptop_path(mount.text("Source"))) for mount in mounts]
    for mount, path in translated:
        if path is not None:
            mount.set_field("Source", path)
    return any(path is not None for _, path in translated)


def translate_array(
    body: bytes, translate: Callable[[JSONObject], bool], only: ListFilter | None = None
) -> bytes:
    """
    Applies C{translate} to each element; those for which it is false keep the text they came in.

    @param only: which of the elements are kept, after that.
    """
    try:
        elements = split_array(body)
    except BadRequest:
        return body
    parts: list[tuple[JSONValue, JSONValue]] = [
        (value, value if isinstance(value, JSONObject) and translate(value) else raw)
        for value, raw in elements
    ]
    kept = parts if only is None else only.apply(parts)
    if len(kept) == len(elements) and all(isinstance(part, Raw) for _, part in kept):
        return body
    return write([part for _, part in kept]) + b"\n"


def translate_members(body: bytes, translations: Mapping[str, Callable[[bytes], bytes]]) -> bytes:
    """Applies each translation to the member of that name of an object."""
    try:
        parts = split_object(body)
    except BadRequest:
        return body
    members: list[tuple[str, JSONValue]] = []
    changed = False
    for key, raw in parts:
        before = raw.text.encode("utf-8")
        after = translations.get(key, bytes)(before)
        changed = changed or after is not before
        members.append((key, Raw(after.decode("utf-8").rstrip("\n"))))
    return write(JSONObject(members)) + b"\n" if changed else body
