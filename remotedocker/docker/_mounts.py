# -*- test-case-name: tests.docker.test_mounts,tests.docker.test_create -*-
"""
The objects that describe a mount in requests: C{HostConfig.Mounts}, C{ContainerSpec.Mounts} and the options
of a C{local} volume. What is not well-formed is passed over, for the daemon to refuse in its own words.
And what several mounts of one thing come to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from remotedocker.docker._bindpaths import is_absolute_source
from remotedocker.docker._json import JSONObject
from remotedocker.docker._model import BindMount, MountForm, PlacedMount

__all__ = ["Slot", "apply_placed", "mount_slot", "mount_slots", "mounted_together", "volume_slot"]


def mounted_together(mounts: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    """
    @param mounts: what each mounts (a source, or the name of a volume), and whether read-only.
    @return: each once, in the order of the first mounts; it is read-only if all who mount it say so.
    """
    together: dict[str, bool] = {}
    for source, read_only in mounts:
        together[source] = together.get(source, True) and read_only
    return together


@frozen
class Slot:
    """
    A place in a document that names a host path.

    @ivar mount: what it says.
    @ivar put: writes another source into it.
    """

    mount: BindMount
    put: Callable[[str], None]


def apply_placed(slots: list[Slot], placed: tuple[PlacedMount, ...]) -> None:
    """
    Writes the decisions into the document, in order; no decisions at all leave it as it is.

    @raise ValueError: there are decisions, but not one for each slot.
    """
    if not placed:
        return
    for slot, decision in zip(slots, placed, strict=True):
        if decision.remote_source != slot.mount.source:
            slot.put(decision.remote_source)


def mount_slots(mounts: Iterable[JSONObject]) -> list[Slot]:
    """The slots of mount objects, in order."""
    return [slot for slot in map(mount_slot, mounts) if slot is not None]


def mount_slot(mount: JSONObject) -> Slot | None:
    """The slot of one mount object; None if it names no host path."""
    target, read_only = mount.text("Target"), mount.field("ReadOnly") is True
    if not target:
        return None
    if mount.text("Type") == "bind":
        return _bind_slot(mount, target, read_only)
    driver = mount.child("VolumeOptions").child("DriverConfig")
    if mount.text("Type") == "volume" and driver.text("Name") in ("", "local"):
        return volume_slot(driver.child("Options"), target, read_only)
    return None


def _bind_slot(mount: JSONObject, target: str, read_only: bool) -> Slot | None:
    source = mount.text("Source")
    if not is_absolute_source(source):
        return None
    create = mount.child("BindOptions").field("CreateMountpoint") is True
    return Slot(
        BindMount(source, target, read_only, MountForm.MOUNT, create),
        lambda path: mount.set_field("Source", path),
    )


def volume_slot(options: JSONObject, target: str = "", read_only: bool = False) -> Slot | None:
    """
    The slot of a C{local} volume's options, which are mount(8)'s: C{o=bind} makes C{device} a host path.
    """
    entries = options.entries()
    device, flags = entries.get("device"), entries.get("o")
    if not isinstance(device, str) or not isinstance(flags, str) or not is_absolute_source(device):
        return None
    words = flags.split(",")
    if not {"bind", "rbind"}.intersection(words):
        return None

    def put(path: str) -> None:
        options.items = [(key, path if key == "device" else value) for key, value in options.items]

    return Slot(BindMount(device, target, read_only or "ro" in words, MountForm.VOLUME, False), put)
