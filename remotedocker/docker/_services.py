# -*- test-case-name: tests.docker.test_services -*-
"""
A swarm's services: the bodies of C{POST /services/create} and C{/services/{id}/update}, and what concerns us
of the answers of C{GET /services} and C{GET /services/{id}}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from remotedocker.docker._json import JSONObject, JSONValue, Number, read_object, write
from remotedocker.docker._labels import is_own_label
from remotedocker.docker._model import (
    ContainerPort,
    MountForm,
    PortBinding,
    PortMap,
    ServicePlan,
    ServiceSpec,
)
from remotedocker.docker._mounts import Slot, apply_placed, mount_slots, mounted_together
from remotedocker.docker._ports import parse_port

__all__ = [
    "ServiceRequest",
    "allocated_ports",
    "ingress_port",
    "is_service_key",
    "published_port",
    "renumbered",
    "service_key",
    "service_sources",
    "service_spec",
]

_KEY = "service "


def service_key(reference: str) -> str:
    """
    @param reference: the nonce in the labels of a service of ours, the id of any other.
    @return: what its local ports are known by, among those of containers.
    """
    return _KEY + reference


def is_service_key(key: str) -> bool:
    """Whether local ports are those of a service."""
    return key.startswith(_KEY)


@frozen(eq=False)
class ServiceRequest:
    """
    @ivar spec: what concerns us of the request.
    """

    spec: ServiceSpec
    _body: bytes
    _document: JSONObject
    _slots: list[Slot]

    @classmethod
    def parse(cls, body: bytes) -> ServiceRequest:
        """
        @raise BadRequest: the body is no JSON object.
        """
        document = read_object(body)
        slots = mount_slots(_container_spec(document).children("Mounts"))
        published = document.child("EndpointSpec").children("Ports")
        ports, task_ports, others = _sorted(map(_read_port, published))
        mounts = tuple(evolve(slot.mount, form=MountForm.SERVICE) for slot in slots)
        spec = ServiceSpec(document.text("Name"), mounts, ports, task_ports, others)
        return cls(spec, body, document, slots)

    def rewrite(self, plan: ServicePlan) -> bytes:
        """
        @return: the body for the daemon: sources as placed, our labels added. Ports stay as asked: a number
            is the whole swarm's. To be called once.
        """
        if not (self._slots or plan.labels or plan.task_labels):
            return self._body
        apply_placed(self._slots, plan.placed)
        _set_labels(self._document, plan.labels)
        _set_labels(_container_spec(self._document), plan.task_labels)
        return write(self._document) + b"\n"


def _container_spec(spec: JSONObject) -> JSONObject:
    return spec.child("TaskTemplate").child("ContainerSpec")


def _set_labels(parent: JSONObject, ours: Mapping[str, str]) -> None:
    """Puts our labels, and no others of ours, into C{Labels}."""
    if parent.field("Labels") is None:
        if not ours:
            return
        parent.set_field("Labels", JSONObject())
    labels = parent.child("Labels")
    labels.items = [*(item for item in labels.items if not is_own_label(item[0])), *ours.items()]


# Ports.

_Published = tuple[ContainerPort, str, str]
"""A port of the tasks' containers, the number that it is published at (C{""}: any), and C{PublishMode}."""


def _published(protocol: str, target: str, number: str, mode: str) -> _Published | None:
    port = parse_port(f"{target}/{protocol or 'tcp'}")
    if port is None:
        return None
    return port, "" if number == "0" else number, mode or "ingress"


def _read_port(entry: JSONObject) -> _Published | None:
    target, number = (
        value.text if isinstance(value, Number) else ""
        for value in (entry.field("TargetPort"), entry.field("PublishedPort"))
    )
    return _published(entry.text("Protocol"), target, number, entry.text("PublishMode"))


def _read_plain_port(entry: Mapping[str, Any]) -> _Published | None:
    """As L{_read_port}, of plain C{json.loads}."""
    return _published(
        entry.get("Protocol", ""),
        str(entry.get("TargetPort", "")),
        str(entry.get("PublishedPort", "")),
        entry.get("PublishMode", ""),
    )


def _sorted(
    published: Iterable[_Published | None],
) -> tuple[PortMap, PortMap, tuple[ContainerPort, ...]]:
    """@return: what every node listens on, what the tasks' nodes do, and other protocols than TCP."""
    modes: dict[str, dict[ContainerPort, tuple[PortBinding, ...]]] = {"ingress": {}, "host": {}}
    others = []
    for port, number, mode in filter(None, published):
        if port.protocol != "tcp":
            others.append(port)
        elif mode in modes:
            modes[mode][port] = (*modes[mode].get(port, ()), PortBinding("", number))
    return modes["ingress"], modes["host"], tuple(others)


def service_spec(document: Mapping[str, Any]) -> tuple[ServiceSpec, Mapping[str, str], Mapping[str, str]]:
    """
    @param document: a service as the daemon shows it, plain C{json.loads}.
    @return: what it wants (its mounts are left out), its labels, and those of its tasks' containers.
    """
    spec = document.get("Spec") or {}
    published = (spec.get("EndpointSpec") or {}).get("Ports") or ()
    ports, task_ports, others = _sorted(map(_read_plain_port, published))
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return (
        ServiceSpec(spec.get("Name", ""), (), ports, task_ports, others),
        spec.get("Labels") or {},
        container.get("Labels") or {},
    )


def service_sources(document: Mapping[str, Any]) -> dict[str, bool]:
    """
    @param document: a service as the daemon shows it, plain C{json.loads}.
    @return: the host paths that its tasks mount, to whether they are read-only.
    """
    spec = read_object(json.dumps(document.get("Spec") or {}).encode())
    slots = mount_slots(_container_spec(spec).children("Mounts"))
    return mounted_together((slot.mount.source, slot.mount.read_only) for slot in slots)


def allocated_ports(document: Mapping[str, Any]) -> PortMap:
    """
    @param document: a service as the daemon shows it, plain C{json.loads}.
    @return: where the remote host listens for its TCP ports of mode C{ingress}: what the swarm has allocated,
        which follows a while after the answer to the create, and of the others those whose number is typed.
        On a node's loopback an ingress port answers by IPv4 alone.
    """
    published = (document.get("Endpoint") or {}).get("Ports") or ()
    ports, _, _ = _sorted(map(_read_plain_port, published))
    return {
        port: tuple(PortBinding("127.0.0.1", each.host_port) for each in bindings if each.host_port)
        for port, bindings in {**service_spec(document)[0].ports, **ports}.items()
    }


def published_port(entry: JSONObject) -> ContainerPort | None:
    """The port that an entry of a task's C{PortStatus.Ports} publishes; None if it is no entry."""
    published = _read_port(entry)
    return None if published is None else published[0]


def ingress_port(entry: JSONObject) -> ContainerPort | None:
    """The TCP port that an entry of C{Endpoint.Ports} publishes on every node; None if it is another."""
    published = _read_port(entry)
    if published is None or published[2] != "ingress" or published[0].protocol != "tcp":
        return None
    return published[0]


def renumbered(
    entries: list[JSONValue], port_of: Callable[[JSONObject], ContainerPort | None], local: PortMap
) -> list[JSONValue]:
    """
    @param entries: ports as a service or a task shows them.
    @param port_of: the port that an entry publishes; None: it is left as it is.
    @return: the same with the numbers that are open here, in the order of C{local}; what is not open is left
        out.
    """
    left = {
        port: list(dict.fromkeys(binding.host_port for binding in bindings))
        for port, bindings in local.items()
    }
    shown: list[JSONValue] = []
    for entry in entries:
        port = port_of(entry) if isinstance(entry, JSONObject) else None
        if port is None or not isinstance(entry, JSONObject):
            shown.append(entry)
        elif left.get(port):
            entry.set_field("PublishedPort", Number(left[port].pop(0)))
            shown.append(entry)
    return shown
