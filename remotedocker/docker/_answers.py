# -*- test-case-name: tests.docker.test_answers -*-
"""
The daemon's answers as a user of a local daemon would see them.

Only containers of this agent are changed; an answer in which nothing is to be changed, or that is no JSON
as the daemon sends it, is returned as the same object. What is changed keeps the daemon's order of members,
types and style.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from remotedocker.docker._filters import ListFilter
from remotedocker.docker._json import JSONObject, JSONValue, Number, write
from remotedocker.docker._model import ContainerPort, OwnedContainer, PortBinding, PortMap
from remotedocker.docker._mounts import volume_slot
from remotedocker.docker._ports import binding_objects, parse_port
from remotedocker.docker._restore import hide_labels, restore_exposed, restore_host_config
from remotedocker.docker._translating import (
    AnswerView,
    read_answer,
    translate_array,
    translate_members,
    translate_mounts,
)

__all__ = [
    "translate_create_answer",
    "translate_error",
    "translate_image",
    "translate_image_list",
    "translate_inspect",
    "translate_list",
    "translate_system_df",
    "translate_volume",
    "translate_volume_list",
]


def translate_inspect(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /containers/{id}/json}.
    """
    document = read_answer(body)
    config = document.child("Config")
    owned = _owned(config, view)
    if owned is None:
        return body
    restore_exposed(config, owned)
    hide_labels(config)
    restore_host_config(document.child("HostConfig"), owned)
    ports = document.child("NetworkSettings").child("Ports")
    local = _local_ports(document, view)
    ports.items = [(key, _opened(key, value, owned, local)) for key, value in ports.items]
    translate_mounts(document.children("Mounts"), view)
    return write(document) + b"\n"


def translate_list(body: bytes, view: AnswerView, only: ListFilter | None = None) -> bytes:
    """
    C{GET /containers/json}.

    @param only: what of the translated list is kept, see L{split_filters<remotedocker.docker.split_filters>}.
    """
    return translate_array(body, lambda entry: _translate_entry(entry, view), only)


def translate_image(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /images/{name}/json}: an image that was made of a container has labels of ours, blank ones, and the
    container's own (C{ContainerConfig}, before API 1.45).
    """
    document = read_answer(body)
    hidden = [hide_labels(document.child(name)) for name in ("Config", "ContainerConfig")]
    return write(document) + b"\n" if any(hidden) else body


def translate_image_list(body: bytes, view: AnswerView, only: ListFilter | None = None) -> bytes:
    """
    C{GET /images/json}.

    @param only: what of the translated list is kept.
    """
    return translate_array(body, hide_labels, only)


def translate_system_df(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /system/df}: its containers, images and volumes, where they were before API 1.52 and where they are
    since.
    """

    def containers(part: bytes) -> bytes:
        return translate_list(part, view)

    def images(part: bytes) -> bytes:
        return translate_image_list(part, view)

    def volumes(part: bytes) -> bytes:
        return translate_array(part, lambda entry: _translate_device(entry, view))

    return translate_members(
        body,
        {
            "Containers": containers,
            "Images": images,
            "Volumes": volumes,
            "ContainerUsage": lambda part: translate_members(part, {"Items": containers}),
            "ImageUsage": lambda part: translate_members(part, {"Items": images}),
            "VolumeUsage": lambda part: translate_members(part, {"Items": volumes}),
        },
    )


def translate_volume(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /volumes/{name}} and the answer of C{POST /volumes/create}.
    """
    document = read_answer(body)
    return write(document) + b"\n" if _translate_device(document, view) else body


def translate_volume_list(body: bytes, view: AnswerView) -> bytes:
    """
    C{GET /volumes}.
    """
    return translate_members(
        body, {"Volumes": lambda part: translate_array(part, lambda entry: _translate_device(entry, view))}
    )


def translate_create_answer(body: bytes, warnings: Sequence[str]) -> bytes:
    """
    The answer of C{POST /containers/create}, with C{warnings} added to its own.
    """
    document = read_answer(body)
    if not warnings or not document.items:
        return body
    document.set_field("Warnings", [*document.elements("Warnings"), *warnings])
    return write(document) + b"\n"


_PATHS = re.compile(r"(?<![^\s\"'`=:(\[,])/(?:(?!: |[\s=:(\[]/)[^\"'`\n,])+")
"""Where a path may stand in a message: up to a quote, a comma, a colon, the line's end or another path."""


def translate_error(body: bytes, laptop_path: Callable[[str], str | None]) -> bytes:
    """
    An error of the daemon; remote paths in its message become the laptop's. Any other body stays.
    """
    document = read_answer(body)
    message = document.text("message")
    translated = _PATHS.sub(lambda match: _translate_path(match[0], laptop_path), message)
    if translated == message:
        return body
    document.set_field("message", translated)
    return write(document) + b"\n"


def _translate_path(text: str, laptop_path: Callable[[str], str | None]) -> str:
    """The longest beginning of C{text}, up to a blank, that is a path of ours, translated."""
    end = len(text)
    while end > 0:
        path = laptop_path(text[:end])
        if path is not None:
            return path + text[end:]
        end = text.rfind(" ", 0, end)
    return text


# The parts of an answer.


def _owned(config: JSONObject, view: AnswerView) -> OwnedContainer | None:
    """
    @param config: an object with C{Labels}.
    """
    labels = config.child("Labels").entries()
    return view.owned({key: value for key, value in labels.items() if isinstance(value, str)})


def _local_ports(document: JSONObject, view: AnswerView) -> PortMap:
    return view.local_ports(document.text("Id")) or {}


def _opened(key: str, value: JSONValue, owned: OwnedContainer, local: PortMap) -> JSONValue:
    """One of C{NetworkSettings.Ports}: a forwarded port has what is open here, or null (only exposed)."""
    port = parse_port(key)
    if port is None or (port not in owned.forwarded and port not in local):
        return value
    return binding_objects(local.get(port, ())) or None


def _translate_entry(entry: JSONObject, view: AnswerView) -> bool:
    """One container of a list, in place; true if it is ours."""
    owned = _owned(entry, view)
    if owned is None:
        return False
    hide_labels(entry)
    ports = entry.elements("Ports")
    ports[:] = _list_ports(ports, owned, _local_ports(entry, view))
    translate_mounts(entry.children("Mounts"), view)
    return True


def _list_ports(ports: list[JSONValue], owned: OwnedContainer, local: PortMap) -> list[JSONValue]:
    """C{Ports} of a list: in place of the first entry of a forwarded port stands what is open here."""
    translated: list[JSONValue] = []
    done: set[ContainerPort] = set()
    for entry in ports:
        port = _entry_port(entry)
        if port is None or (port not in owned.forwarded and port not in local):
            translated.append(entry)
        elif port not in done:
            done.add(port)
            translated.extend(_list_entries(port, local.get(port, ())))
    return translated


def _entry_port(entry: JSONValue) -> ContainerPort | None:
    number = entry.field("PrivatePort") if isinstance(entry, JSONObject) else None
    if not isinstance(entry, JSONObject) or not isinstance(number, Number):
        return None
    return parse_port(f"{number.text}/{entry.text('Type')}")


def _list_entries(port: ContainerPort, bindings: Iterable[PortBinding]) -> list[JSONValue]:
    private, protocol = ("PrivatePort", Number(str(port.number))), ("Type", port.protocol)
    return [
        JSONObject([("IP", each.host_ip), private, ("PublicPort", Number(each.host_port)), protocol])
        for each in bindings
    ] or [JSONObject([private, protocol])]


def _translate_device(volume: JSONObject, view: AnswerView) -> bool:
    """C{Options.device} of one volume, in place; true if it is a mirror of ours."""
    slot = volume_slot(volume.child("Options"))
    path = None if slot is None else view.laptop_path(slot.mount.source)
    if slot is None or path is None:
        return False
    slot.put(path)
    return True
