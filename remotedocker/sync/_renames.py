# -*- test-case-name: tests.sync.test_renames -*-
"""
Recognising that a name was moved, from inode numbers alone.

A file that is gone from one path and, with the same inode, size and time, is new at another was renamed; a
directory likewise, if at least one name in it went along. One rename of a directory then stands for all
that is below it.
"""

from __future__ import annotations

from types import MappingProxyType

from remotedocker.sync._operations import Rename
from remotedocker.sync._tree import Agreed, Base, Delta, Entry, ancestors, under

__all__ = ["find_renames"]


def find_renames(
    base: Base, local: Delta, remote: Delta = MappingProxyType({})
) -> tuple[list[Rename], dict[bytes, Agreed], dict[bytes, Entry | None]]:
    """
    @param local: what the laptop has, where it differs from C{base}.
    @param remote: what the remote has, where it differs; nothing there is taken for a rename.
    @return: the renames, in an order in which they can be done; the agreement as it is after them; and what
        of C{local} is left to do then. Where there is no rename, C{base} and C{local} come back themselves.
    """
    vanished: dict[int, bytes] = {}
    for path, entry in local.items():
        if entry is not None or not path or path not in base:
            continue
        before = base[path].local
        if before.inode and (before.links == 1 or before.is_directory):
            vanished[before.inode] = path
    if not vanished or not any(entry and entry.inode in vanished for entry in local.values()):
        return [], dict(base) if not isinstance(base, dict) else base, dict(local)
    return _Detector(base, local, vanished, remote).run()


class _Detector:
    def __init__(self, base: Base, local: Delta, vanished: dict[int, bytes], remote: Delta) -> None:
        self.base = dict(base)
        self.local = dict(local)
        self.vanished = vanished
        self.remote = remote
        self.renames: list[Rename] = []

    def run(self) -> tuple[list[Rename], dict[bytes, Agreed], dict[bytes, Entry | None]]:
        for path in sorted(path for path, entry in self.local.items() if entry is not None):
            entry = self.local.get(path)
            if entry is None or path in self.remote:
                continue
            old = self.vanished.get(entry.inode)
            if old is None or old == path or old in self.remote or self.local.get(old, entry) is not None:
                continue
            known = self.base.get(old)
            if known is None or not self._reachable(path) or not self._matches(path, entry, old, known):
                continue
            self._move(path, entry, old, known)
        return self.renames, self.base, self.local

    def _reachable(self, path: bytes) -> bool:
        """Whether the directories that lead to C{path} are still there on the remote."""
        for above in ancestors(path):
            if above in self.remote:
                entry = self.remote[above]
                if entry is None or not entry.is_directory:
                    return False
        return True

    def _matches(self, path: bytes, entry: Entry, old: bytes, known: Agreed) -> bool:
        before = known.local
        target = self.base.get(path)
        if entry.is_directory:
            return (
                before.is_directory
                and target is None
                and not under(path, old)
                and self._children_moved(path, old)
                and not any(under(each, old) or under(each, path) for each in self.remote)
            )
        if target is not None and target.remote.is_directory:
            return False
        return (
            not before.is_directory
            and before.mode == entry.mode
            and before.size == entry.size
            and before.mtime == entry.mtime
            and before.target == entry.target
        )

    def _children_moved(self, path: bytes, old: bytes) -> bool:
        """Whether some name below C{old} went along (or none was there to go)."""
        prefix = old + b"/"
        children = [each for each in self.base if each.startswith(prefix)]
        if not children:
            return True
        for child in children:
            moved = self.local.get(path + child[len(old) :])
            if moved is not None and moved.inode == self.base[child].local.inode:
                return True
        return False

    def _move(self, path: bytes, entry: Entry, old: bytes, known: Agreed) -> None:
        target = self.base.get(path)
        self.renames.append(Rename(path, old, entry, target.remote if target is not None else None))
        moved = [old]
        if entry.is_directory:
            prefix = old + b"/"
            moved += [each for each in self.base if each.startswith(prefix)]
        for each in moved:
            agreed = self.base.pop(each)
            self.local.pop(each, None)
            new = path + each[len(old) :]
            self.base[new] = agreed
            if agreed.local.inode and self.vanished.get(agreed.local.inode) == each:
                self.vanished[agreed.local.inode] = new
            self._settle(new, agreed)

    def _settle(self, path: bytes, agreed: Agreed) -> None:
        """Compares what was found at a moved name with what moved there."""
        found = self.local.get(path)
        before = agreed.local
        if found is None:
            self.local[path] = None
            return
        if (
            found.mode == before.mode
            and found.inode == before.inode
            and (found.is_directory or (found.size == before.size and found.mtime == before.mtime))
            and found.target == before.target
        ):
            self.base[path] = Agreed(found, agreed.remote)
            del self.local[path]
