# -*- test-case-name: tests.forwards.test_numbers -*-
"""
The local numbers that were chosen for ports left open, kept across restarts of container and agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from remotedocker.docker import ContainerPort, PortBinding
from remotedocker.forwards._plan import Slot
from remotedocker.state import write_atomically

__all__ = ["ChosenNumbers"]


def _encode(slot: Slot, number: int) -> dict[str, Any]:
    return {
        "port": slot.port.number,
        "protocol": slot.port.protocol,
        "host_ip": slot.binding.host_ip,
        "host_port": slot.binding.host_port,
        "occurrence": slot.occurrence,
        "number": number,
    }


def _decode(entry: Mapping[str, Any]) -> tuple[Slot, int]:
    slot = Slot(
        ContainerPort(int(entry["port"]), str(entry["protocol"])),
        PortBinding(str(entry["host_ip"]), str(entry["host_port"])),
        int(entry["occurrence"]),
    )
    return slot, int(entry["number"])


class ChosenNumbers:
    """
    Numbers by container and slot, in a JSON file that is read at the first use.

    They are a convenience: what cannot be read is forgotten, what cannot be written is lost at the next
    restart, and both are logged.
    """

    _log = Logger()

    def __init__(self, directory: Path) -> None:
        self._path = directory / "numbers.json"
        self._content: dict[str, dict[Slot, int]] | None = None

    @property
    def _numbers(self) -> dict[str, dict[Slot, int]]:
        if self._content is None:
            self._content = self._load()
        return self._content

    def _load(self) -> dict[str, dict[Slot, int]]:
        try:
            document = json.loads(self._path.read_bytes())
            return {
                str(container_id): dict(_decode(entry) for entry in entries)
                for container_id, entries in document["containers"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._log.warn(
                "the local port numbers in {path} cannot be read ({error}); they are chosen anew",
                path=str(self._path),
                error=error,
            )
            return {}

    def _save(self) -> None:
        document = {
            "version": 1,
            "containers": {
                container_id: [_encode(slot, number) for slot, number in sorted(numbers.items())]
                for container_id, numbers in sorted(self._numbers.items())
            },
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            self._log.warn(
                "the local port numbers cannot be kept in {path}: {error}", path=str(self._path), error=error
            )

    def containers(self) -> frozenset[str]:
        """Those that have numbers."""
        return frozenset(self._numbers)

    def of(self, container_id: str) -> Mapping[Slot, int]:
        """The numbers of a container."""
        return self._numbers.get(container_id, {})

    def of_others(self, container_id: str) -> frozenset[int]:
        """All numbers of all other containers."""
        return frozenset(
            number
            for other, numbers in self._numbers.items()
            if other != container_id
            for number in numbers.values()
        )

    def remember(self, container_id: str, chosen: Mapping[Slot, int]) -> None:
        """Adds to what is known, and writes it if that is news."""
        before = self.of(container_id)
        if any(before.get(slot) != number for slot, number in chosen.items()):
            self._numbers[container_id] = {**before, **chosen}
            self._save()

    def forget(self, container_id: str) -> None:
        """The container has none any more."""
        if self._numbers.pop(container_id, None) is not None:
            self._save()
