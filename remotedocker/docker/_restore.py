# -*- test-case-name: tests.docker.test_answers -*-
"""
Brings what the daemon was told back to what the user typed, from the labels of the container.
"""

from __future__ import annotations

from remotedocker.docker._json import JSONObject, JSONValue
from remotedocker.docker._labels import is_own_label
from remotedocker.docker._model import OwnedContainer
from remotedocker.docker._mounts import mount_slots
from remotedocker.docker._ports import binding_objects, parse_port

__all__ = ["hide_labels", "restore_create", "restore_exposed", "restore_host_config"]


def restore_create(document: JSONObject, host: JSONObject, owned: OwnedContainer) -> None:
    """
    Undoes the rewriting of a create body.

    @param host: its C{HostConfig}.
    """
    restore_host_config(host, owned)
    restore_exposed(document, owned)
    hide_labels(document)


def restore_host_config(host: JSONObject, owned: OwnedContainer) -> None:
    """C{Binds}, C{Mounts} and C{PortBindings} as typed."""
    if owned.binds is not None:
        host.elements("Binds")[:] = owned.binds
    for slot in mount_slots(host.children("Mounts")):
        if slot.mount.target in owned.mounts:
            slot.put(owned.mounts[slot.mount.target])
    bindings = host.child("PortBindings")
    bindings.items = [
        (key, _as_typed(key, value, owned))
        for key, value in bindings.items
        if not _only_published_by_all(key, owned)
    ]


def _as_typed(key: str, value: JSONValue, owned: OwnedContainer) -> JSONValue:
    port = parse_port(key)
    return binding_objects(owned.ports[port]) if port is not None and port in owned.ports else value


def _only_published_by_all(key: str, owned: OwnedContainer) -> bool:
    """Whether the user published that port by C{-P} alone, so that it is in no C{PortBindings} of theirs."""
    port = parse_port(key)
    return port in owned.forwarded and port not in owned.ports


def restore_exposed(config: JSONObject, owned: OwnedContainer) -> None:
    """C{ExposedPorts} without those that were added; the daemon leaves it out when it is empty."""
    if owned.exposed:
        exposed = config.child("ExposedPorts")
        exposed.items = [item for item in exposed.items if parse_port(item[0]) not in owned.exposed]
        if not exposed.items:
            config.remove_field("ExposedPorts")


def hide_labels(config: JSONObject) -> bool:
    """C{Labels} without ours; true if there were any."""
    labels = config.child("Labels")
    before = len(labels.items)
    labels.items = [item for item in labels.items if not is_own_label(item[0])]
    return len(labels.items) < before
