# -*- test-case-name: tests.docker.test_create -*-
"""
The body of C{POST /containers/create}: what it asks for, and what the daemon is told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from posixpath import normpath
from types import NoneType

from attrs import frozen

from remotedocker.docker._bindpaths import bind_parts, is_absolute_source
from remotedocker.docker._json import JSONObject, JSONValue, read_object, write
from remotedocker.docker._labels import is_own_label
from remotedocker.docker._model import (
    BindMount,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    OwnedContainer,
)
from remotedocker.docker._mounts import Slot, apply_placed, mount_slots, mounted_together
from remotedocker.docker._ports import LOOPBACK, binding_objects, parse_port, read_port_map
from remotedocker.docker._restore import restore_create

__all__ = ["CreateRequest"]

_MODE_CLASSES: tuple[frozenset[str], ...] = (
    frozenset({"ro", "rw"}),
    frozenset({"z", "Z"}),
    frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"}),
    frozenset({"consistent", "cached", "delegated"}),
)
"""The words of a bind's mode, comma-separated; of each class at most one may be there."""


def _valid_mode(mode: str) -> bool:
    words = mode.split(",") if mode else []
    return all(any(word in known for known in _MODE_CLASSES) for word in words) and all(
        sum(word in known for word in words) <= 1 for known in _MODE_CLASSES
    )


def _parse_bind(bind: str) -> tuple[BindMount, str] | None:
    """
    @return: the mount, and what follows the source in the string; None for a volume, and for what the daemon
        refuses.
    """
    parts = bind_parts(bind)
    if len(parts) not in (2, 3) or not is_absolute_source(parts[0]):
        return None
    source, target, mode = (*parts, "")[:3]
    if not target.startswith("/") or normpath(target) in ("/", "//") or not _valid_mode(mode):
        return None
    return BindMount(source, target, "ro" in mode.split(",")), bind[len(source) :]


def _bind_slots(binds: list[JSONValue]) -> list[Slot]:
    slots: list[Slot] = []
    for index, bind in enumerate(binds):
        parsed = _parse_bind(bind) if isinstance(bind, str) else None
        if parsed is not None:
            slots.append(_bind_slot(binds, index, *parsed))
    return slots


def _bind_slot(binds: list[JSONValue], index: int, mount: BindMount, rest: str) -> Slot:
    def put(path: str) -> None:
        binds[index] = path + rest

    return Slot(mount, put)


def _named_volumes(binds: list[JSONValue], mounts: Iterable[JSONObject]) -> dict[str, bool]:
    """@return: the names of the volumes that are mounted, to whether they are read-only."""
    found: list[tuple[str, bool]] = []
    for parts in (bind_parts(bind) for bind in binds if isinstance(bind, str)):
        if len(parts) in (2, 3) and not is_absolute_source(parts[0]):
            found.append((parts[0], "ro" in parts[-1].split(",")))
    for mount in mounts:
        if mount.text("Type") == "volume":
            found.append((mount.text("Source"), mount.field("ReadOnly") is True))
    return mounted_together((name, read_only) for name, read_only in found if name)


@frozen(eq=False)
class CreateRequest:
    """
    @ivar spec: what concerns us of the request.
    """

    spec: CreateSpec
    _document: JSONObject
    _slots: list[Slot]

    @classmethod
    def parse(
        cls,
        body: bytes,
        owned: Callable[[Mapping[str, str]], OwnedContainer | None] = lambda labels: None,
    ) -> CreateRequest:
        """
        @param owned: what labels say if this agent gave them; a body that has them was rewritten before, and
            is first brought back to what was typed.
        @raise BadRequest: the body is no JSON object.
        """
        document = read_object(body)
        host = _host_config(document)
        labels = _labels(document)
        before = owned(labels)
        if before is not None:
            restore_create(document, host, before)
        binds = host.elements("Binds")
        mounts = host.children("Mounts")
        slots = _bind_slots(binds) + mount_slots(mounts)
        spec = CreateSpec(
            image=document.text("Image"),
            mounts=tuple(slot.mount for slot in slots),
            ports=read_port_map(host.child("PortBindings")),
            exposed=_exposed(document),
            publish_all=host.field("PublishAllPorts") is True,
            network_mode=host.text("NetworkMode"),
            labels={key: value for key, value in labels.items() if not is_own_label(key)},
            binds=tuple(bind for bind in binds if isinstance(bind, str)) if binds else None,
            inherits_mounts=bool(host.elements("VolumesFrom")),
            volumes=_named_volumes(binds, mounts),
        )
        return cls(spec, document, slots)

    def rewrite(self, plan: CreatePlan) -> bytes:
        """
        @return: the body for the daemon: sources as placed, forwarded ports bound on the remote's loopback,
            our labels added. C{PublishAllPorts} stays as asked, for a port with bindings of its own it has
            no meaning. To be called once.
        """
        apply_placed(self._slots, plan.placed)
        if plan.forwarded:
            host = _host_config(self._document)
            bindings, exposed = _map(host, "PortBindings"), _map(self._document, "ExposedPorts")
            for port in plan.forwarded:
                _set_port(bindings, port, binding_objects((LOOPBACK,)))
                _set_port(exposed, port, JSONObject())
        if plan.labels:
            labels = _map(self._document, "Labels")
            kept = [item for item in labels.items if not is_own_label(item[0])]
            labels.items = [*kept, *plan.labels.items()]
        return write(self._document) + b"\n"


def _host_config(document: JSONObject) -> JSONObject:
    """
    Where the settings of C{HostConfig} are. Without that member a daemon before API 1.43 takes them from the
    top level.
    """
    host = document.field("HostConfig")
    return host if isinstance(host, JSONObject) else document


def _labels(document: JSONObject) -> dict[str, str]:
    labels = document.child("Labels").entries()
    return {key: value or "" for key, value in labels.items() if isinstance(value, (str, NoneType))}


def _exposed(document: JSONObject) -> tuple[ContainerPort, ...]:
    ports = map(parse_port, document.child("ExposedPorts").entries())
    return tuple(dict.fromkeys(port for port in ports if port is not None))


def _map(parent: JSONObject, name: str) -> JSONObject:
    """The map in the field C{name}, made if it is missing; what is no map stays, for the daemon to refuse."""
    if parent.field(name) is None:
        parent.set_field(name, JSONObject())
    return parent.child(name)


def _set_port(ports: JSONObject, port: ContainerPort, value: JSONValue) -> None:
    """Sets one port in a map of ports; other spellings of it are taken out."""
    entries = list(ports.entries().items())
    places = [index for index, (key, _) in enumerate(entries) if parse_port(key) == port]
    kept = [item for index, item in enumerate(entries) if index not in places]
    kept.insert(places[0] if places else len(kept), (str(port), value))
    ports.items = kept
