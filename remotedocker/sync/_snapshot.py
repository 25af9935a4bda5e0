# -*- test-case-name: tests.sync.test_snapshot -*-
"""
The last agreement of each tree, kept in the state directory.

A file is replaced as a whole, so that a crash leaves the old or the new one; one that is damaged counts as
absent, and the agreement is then rebuilt by comparing both sides, which deletes nothing.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from collections.abc import Iterable
from pathlib import Path

from attrs import Factory, define

from remotedocker.state import write_atomically
from remotedocker.sync._tree import Agreed, Entry

__all__ = ["Snapshot", "SnapshotFile"]

_MAGIC = b"remotedocker snapshot 1\n"
_DIGEST = hashlib.sha256().digest_size


@define
class Snapshot:
    """
    @ivar base: the last agreement.
    @ivar ours: paths that we may have been writing on the remote when the snapshot was made.
    """

    base: dict[bytes, Agreed] = Factory(dict)
    ours: set[bytes] = Factory(set)


class SnapshotFile:
    """
    @param directory: of all snapshots.
    @param root: the tree's root on the laptop, which names the file.
    """

    def __init__(self, directory: Path, root: bytes) -> None:
        name = hashlib.sha256(root).hexdigest()[:24]
        self._root = root
        self.path = directory / f"{name}.tree"
        self._journal = directory / f"{name}.writing"

    def load(self) -> Snapshot | None:
        """@return: what was saved last; None if nothing was, or it is damaged."""
        try:
            content = self.path.read_bytes()
        except OSError:
            content = b""
        snapshot = self._parse(content)
        if snapshot is not None:
            snapshot.ours |= self._read_journal()
        return snapshot

    def _parse(self, content: bytes) -> Snapshot | None:
        body = content[len(_MAGIC) + _DIGEST :]
        digest = content[len(_MAGIC) : len(_MAGIC) + _DIGEST]
        if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
            return None
        base: dict[bytes, Agreed] = {}
        try:
            root, entries, ours = marshal.loads(body)
            for path, local, remote in entries:
                here = Entry(*local)
                base[path] = Agreed(here, here if remote is None else Entry(*remote))
            snapshot = Snapshot(base, set(ours))
        except (ValueError, EOFError, TypeError):
            # Written by another release, or by another Python.
            return None
        return snapshot if root == self._root else None

    def save(self, base: dict[bytes, Agreed], ours: Iterable[bytes]) -> None:
        """
        Replaces what was saved.

        @raise OSError: nothing was changed.
        """
        entries = [
            (path, tuple(local), None if remote is local else tuple(remote))
            for path, (local, remote) in base.items()
        ]
        remaining = sorted(ours)
        body = marshal.dumps((self._root, entries, remaining))
        write_atomically(self.path, b"".join((_MAGIC, hashlib.sha256(body).digest(), body)))
        self._write_journal(remaining)

    def writing(self, paths: Iterable[bytes]) -> None:
        """Notes, before it is done, that C{paths} are about to be written on the remote."""
        self._write_journal(sorted(paths))

    def _write_journal(self, paths: list[bytes]) -> None:
        try:
            if not paths:
                self._journal.unlink(missing_ok=True)
                return
            temporary = self._journal.with_suffix(".new")
            with open(temporary, "wb") as file:
                file.write(b"".join(path + b"\0" for path in paths) + b"\0")
            os.replace(temporary, self._journal)
        except OSError:
            return

    def _read_journal(self) -> set[bytes]:
        try:
            content = self._journal.read_bytes()
        except OSError:
            return set()
        return set(content.split(b"\0")[:-2]) if content.endswith(b"\0\0") or content == b"\0\0" else set()
