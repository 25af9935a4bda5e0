# -*- test-case-name: tests.sync.test_snapshot -*-
"""
The last agreement of each tree, kept in the state directory.

A snapshot is the whole agreement at some moment; it is replaced as a whole, so that a crash leaves the old or
the new one. What was agreed since, and what was about to be written on the remote, is in a journal of its
generation, to which each pass adds: killed at any moment, an agent leaves what the next one needs to tell
its own work from that of others. A snapshot that is damaged counts as absent, and the agreement is then
rebuilt by comparing both sides, which deletes nothing.
"""

from __future__ import annotations

import hashlib
import marshal
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from attrs import Factory, define

from remotedocker.state import write_atomically
from remotedocker.sync._tree import Agreed, Around, Entry, Place

__all__ = ["Snapshot", "SnapshotFile"]

_MAGIC = b"remotedocker snapshot 4\n"
_DIGEST = hashlib.sha256().digest_size
_HEAD = struct.Struct(">II")
_PORTION = 5000
T = TypeVar("T")
_AGREED, _WRITING, _AROUND = "agreed", "writing", "around"


@define
class Snapshot:
    """
    @ivar base: the last agreement.
    @ivar ours: paths that we may have been writing on the remote; see L{remotedocker.sync._agreement}.
    @ivar around: what else is remembered.
    """

    base: dict[bytes, Agreed] = Factory(dict)
    ours: dict[bytes, Entry | None] = Factory(dict)
    around: Around = Factory(Around)


def _plain_around(around: Around) -> tuple[Any, ...]:
    places = {path: tuple(place) for path, place in around.places.items()}
    return places, around.store, dict(around.kept)


def _rich_around(plain: Any) -> Around:
    places, store, kept = plain
    return Around({path: Place(*place) for path, place in places.items()}, store, kept)


def _plain(agreed: Agreed | None) -> tuple[Any, Any] | None:
    if agreed is None:
        return None
    local, remote = agreed
    return tuple(local), None if remote is local else tuple(remote)


def _rich(plain: Any) -> Agreed | None:
    if plain is None:
        return None
    local, remote = plain
    here = Entry(*local)
    return Agreed(here, here if remote is None else Entry(*remote))


def _plain_ours(ours: Mapping[bytes, Entry | None]) -> list[tuple[bytes, Any]]:
    return [(path, None if entry is None else tuple(entry)) for path, entry in ours.items()]


def _rich_ours(plain: Any) -> dict[bytes, Entry | None]:
    return {path: None if entry is None else Entry(*entry) for path, entry in plain}


class SnapshotFile:
    """
    @param directory: of all snapshots.
    @param root: the tree's root on the laptop, which names the files.
    @ivar size: bytes in the journal.
    """

    def __init__(self, directory: Path, root: bytes) -> None:
        name = hashlib.sha256(root).hexdigest()[:24]
        self._root = root
        self._directory = directory
        self._name = name
        self._generation = 0
        self._open: IO[bytes] | None = None
        self.path = directory / f"{name}.tree"
        self.size = 0

    def _journal(self, generation: int) -> Path:
        return self._directory / f"{self._name}.{generation}.journal"

    def load(self) -> Snapshot | None:
        """@return: what was agreed last; None if nothing was, or it is damaged."""
        self.close()
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = None
        except OSError:
            content = b""
        found = (Snapshot(), 0) if content is None else self._parse(content)
        if found is None:
            self._clear()
            return None
        snapshot, self._generation = found
        self._replay(self._generation, snapshot)
        while self._journal(self._generation + 1).exists():
            self._generation += 1
            self._replay(self._generation, snapshot)
        # What this process adds goes to a journal of its own: the last one may have lost its end.
        self._generation += 1
        return snapshot if content is not None or snapshot.base or snapshot.ours else None

    def _parse(self, content: bytes) -> tuple[Snapshot, int] | None:
        body = content[len(_MAGIC) + _DIGEST :]
        digest = content[len(_MAGIC) : len(_MAGIC) + _DIGEST]
        if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
            return None
        records = _records(body)
        try:
            root, generation, ours, around = next(records)
            snapshot = Snapshot({}, _rich_ours(ours), _rich_around(around))
            for entries in records:
                snapshot.base.update({path: _rich(plain) or _nothing() for path, *plain in entries})
        except (StopIteration, TypeError, ValueError):
            return None
        if root != self._root or not isinstance(generation, int):
            return None
        return snapshot, generation

    def _replay(self, generation: int, snapshot: Snapshot) -> None:
        """Does what a journal says, as far as it is whole: what was cut off by a kill was not begun."""
        try:
            content = self._journal(generation).read_bytes()
        except OSError:
            return
        for kind, payload in _records(content):
            if kind == _WRITING:
                snapshot.ours.update(_rich_ours(payload))
                continue
            if kind == _AROUND:
                snapshot.around = _rich_around(payload)
                continue
            for path, plain in payload:
                agreed = _rich(plain)
                snapshot.ours.pop(path, None)
                if agreed is None:
                    snapshot.base.pop(path, None)
                else:
                    snapshot.base[path] = agreed

    def _clear(self) -> None:
        """Removes journals that continue what cannot be read."""
        for journal in self._directory.glob(f"{self._name}.*.journal"):
            journal.unlink(missing_ok=True)
        self._generation = 1

    def checkpoint(self) -> int:
        """
        What is added from now on goes to the journal of a new generation.

        @return: its number, for L{save}.
        """
        self.close()
        self._generation += 1
        self.size = 0
        return self._generation

    def save(
        self,
        generation: int,
        base: Mapping[bytes, Agreed],
        ours: Mapping[bytes, Entry | None],
        around: Around | None = None,
    ) -> None:
        """
        Replaces what was saved by the state at the checkpoint C{generation}. Runs in a thread.

        @raise OSError: nothing was changed.
        """
        parts = [_record((self._root, generation, _plain_ours(ours), _plain_around(around or Around())))]
        for some in _portions(base):
            parts.append(_record([(path, *(_plain(agreed) or ())) for path, agreed in some]))
        body = b"".join(parts)
        parts.clear()
        write_atomically(self.path, b"".join((_MAGIC, hashlib.sha256(body).digest(), body)))
        for journal in self._directory.glob(f"{self._name}.*.journal"):
            number = journal.name.split(".")[1]
            if number.isdigit() and int(number) < generation:
                journal.unlink(missing_ok=True)

    def writing(self, ours: Mapping[bytes, Entry | None]) -> None:
        """Notes, before it is done, what is about to be written on the remote."""
        for some in _portions(ours):
            self._add(_WRITING, _plain_ours(dict(some)))

    def agreed(self, changes: Mapping[bytes, Agreed | None]) -> None:
        """Notes what was agreed on."""
        for some in _portions(changes):
            self._add(_AGREED, [(path, _plain(agreed)) for path, agreed in some])

    def around(self, around: Around) -> None:
        """Notes what else is to be remembered."""
        self._add(_AROUND, _plain_around(around))

    @property
    def pattern(self) -> str:
        """A shell pattern for all its files."""
        return f"{self._directory}/{self._name}.*"

    def removed(self) -> bool:
        """@return: whether somebody removed what was saved."""
        return not any(self._directory.glob(f"{self._name}.*"))

    def _add(self, kind: str, payload: Any) -> None:
        record = _record((kind, payload))
        # Without its journal a tree is only compared more than needed after a crash.
        with suppress(OSError):
            if self._open is None:
                self._open = self._journal(self._generation).open("ab", buffering=0)
            self._open.write(record)
            self.size += len(record)

    def close(self) -> None:
        """Closes the journal."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _nothing() -> Agreed:
    raise ValueError("an agreement about nothing")


def _portions(mapping: Mapping[bytes, T]) -> Iterator[list[tuple[bytes, T]]]:
    """Yields the items some thousands at a time: a big tree must not be in memory once more, as a whole."""
    items = iter(mapping.items())
    while some := list(islice(items, _PORTION)):
        yield some


def _record(value: Any) -> bytes:
    body = marshal.dumps(value)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _records(content: bytes) -> Iterator[Any]:
    """Yields the records that are whole."""
    position = 0
    while position + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, position)
        body = content[position + _HEAD.size : position + _HEAD.size + length]
        if len(body) != length or zlib.crc32(body) != checksum:
            return
        try:
            value = marshal.loads(body)
        except (EOFError, TypeError, ValueError):
            return
        position += _HEAD.size + length
        yield value
