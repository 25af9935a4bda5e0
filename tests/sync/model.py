# -*- test-case-name: tests.sync.test_properties -*-
"""
A tree in memory, on which users and plans work: the laptop's or the remote's side of a simulation.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from attrs import Factory, define

from remotedocker.sync._agreement import Agreement
from remotedocker.sync._operations import (
    Delete,
    HardLink,
    MakeDirectory,
    Operation,
    Rename,
    SetMode,
    WriteFile,
)
from remotedocker.sync._reconcile import Plan, danger, reconcile
from remotedocker.sync._tree import Agreed, Entry, parent_of, same, same_content

__all__ = ["Clock", "Side", "Simulation", "Stale"]


class Stale(Exception):
    """A step found something else than it expected, and did nothing."""


@define
class Clock:
    """Gives each change a time of its own, and each file a number."""

    now: int = 1_000

    def tick(self) -> int:
        """@return: a number that was never given before."""
        self.now += 1
        return self.now


@define
class Side:
    """
    @ivar entries: what C{lstat} would say, by path.
    @ivar contents: of the files.
    """

    clock: Clock
    entries: dict[bytes, Entry] = Factory(dict)
    contents: dict[bytes, bytes] = Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.entries[b""] = Entry(stat.S_IFDIR | 0o755, inode=self.clock.tick())

    def children(self, path: bytes) -> list[bytes]:
        """@return: the names in a directory."""
        return [each for each in self.entries if each and parent_of(each) == path]

    def inside(self, path: bytes) -> list[bytes]:
        """@return: C{path} and all below it, leaves first."""
        found = [each for each in self.entries if each == path or each.startswith(path + b"/")]
        return sorted(found, reverse=True)

    def directories(self) -> list[bytes]:
        """@return: all directories."""
        return [path for path, entry in self.entries.items() if entry.is_directory]

    def write(self, path: bytes, content: bytes, in_place: bool) -> None:
        """Gives a file content, the inode staying or not."""
        known = self.entries.get(path)
        keep = in_place and known is not None and known.is_file
        inode = known.inode if keep and known is not None else self.clock.tick()
        mode = known.mode if known is not None and known.is_file else stat.S_IFREG | 0o644
        self.entries[path] = Entry(mode, len(content), self.clock.tick(), inode=inode)
        self.contents[path] = content

    def remove(self, path: bytes) -> None:
        """Removes a name and all below it."""
        for each in self.inside(path):
            del self.entries[each]
            self.contents.pop(each, None)

    def rename(self, old: bytes, new: bytes) -> None:
        """Renames a file or a directory; what was at C{new} is gone."""
        if new in self.entries:
            self.remove(new)
        for each in sorted(self.inside(old)):
            target = new + each[len(old) :]
            self.entries[target] = self.entries.pop(each)
            if each in self.contents:
                self.contents[target] = self.contents.pop(each)

    def apply(self, operation: Operation, content: bytes, theirs: bool) -> Entry | None:
        """
        Does one step of a plan, if all is as it should be.

        @param theirs: this is the laptop, whose files have their own inodes anew.
        @return: what is there afterwards.
        """
        path = operation.path
        found = self.entries.get(path)
        if path and parent_of(path) not in self.directories():
            raise Stale
        if isinstance(operation, MakeDirectory):
            if found is not None:
                raise Stale
            self.entries[path] = Entry(operation.entry.mode, inode=self.clock.tick())
        elif isinstance(operation, Delete):
            self._delete(path, found, operation)
        elif isinstance(operation, Rename):
            self._rename(operation)
        elif isinstance(operation, SetMode):
            self._expect(found, operation.expected)
            assert found is not None
            self.entries[path] = found._replace(mode=operation.entry.mode, mtime=operation.entry.mtime)
        elif isinstance(operation, HardLink):
            raise AssertionError("the simulation makes no hard links")
        else:
            self._expect(found, operation.expected)
            self.entries[path] = operation.entry._replace(inode=self.clock.tick())
            if isinstance(operation, WriteFile):
                self.contents[path] = content
            else:
                self.contents.pop(path, None)
        return self.entries.get(path)

    def _expect(self, found: Entry | None, expected: Entry | None) -> None:
        if not same_content(found, expected):
            raise Stale

    def _delete(self, path: bytes, found: Entry | None, operation: Delete) -> None:
        if found is None:
            return
        if operation.expected.is_directory:
            if not found.is_directory or self.children(path):
                raise Stale
        else:
            self._expect(found, operation.expected)
        del self.entries[path]
        self.contents.pop(path, None)

    def _rename(self, operation: Rename) -> None:
        if operation.old not in self.entries:
            raise Stale
        target = self.entries.get(operation.path)
        if target is not None and target.is_directory:
            raise Stale
        self._expect(target, operation.expected)
        self.rename(operation.old, operation.path)

    def listing(self) -> dict[bytes, tuple[int, bytes, bytes]]:
        """@return: what must be the same on both sides."""
        return {
            path: (stat.S_IFMT(entry.mode), self.contents.get(path, b""), entry.target)
            for path, entry in self.entries.items()
        }


class Simulation:
    """
    Two sides and what they agreed on.

    @ivar protected: contents that nobody who saw them removed: they must be somewhere.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.local = Side(self.clock)
        self.remote = Side(self.clock)
        self.agreement = Agreement()
        self.protected: set[bytes] = set()
        self.stopped = False

    def compare(self) -> Plan | None:
        """@return: what is to be done; None if the tree must not be touched."""
        base = self.agreement.base
        local: dict[bytes, Entry | None] = {path: None for path in base if path not in self.local.entries}
        for path, entry in self.local.entries.items():
            known = base.get(path)
            if (
                known is None
                or known.local._replace(mtime=0, links=1) != entry._replace(mtime=0, links=1)
                or not entry.is_directory
                and known.local.mtime != entry.mtime
            ):
                local[path] = entry
        remote: dict[bytes, Entry | None] = {path: None for path in base if path not in self.remote.entries}
        for path, entry in self.remote.entries.items():
            known = base.get(path)
            if known is None or not same(entry, known.remote):
                remote[path] = entry
        self.stopped = danger(base, local, remote) is not None
        if self.stopped:
            return None
        plan = reconcile(base, local, remote)
        self.agreement.settle(plan)
        return plan

    def perform(self, plan: Plan) -> None:
        """Does what a plan says, as far as everything still is as it says."""
        for operation in plan.push:
            content = self.local.contents.get(operation.path, b"")
            now = self.local.entries.get(operation.path)
            if isinstance(operation, WriteFile) and (now is None or not now.is_file):
                continue
            try:
                entry = self.remote.apply(self._as_sent(operation, now), content, False)
            except Stale:
                continue
            sent = now if isinstance(operation, WriteFile) else None
            self.agreement.pushed(operation, sent, False)
            if not isinstance(operation, Rename) and entry and operation.path in self.agreement.base:
                agreed = self.agreement.base[operation.path]
                self.agreement.base[operation.path] = Agreed(agreed.local, entry)
        for operation in plan.pull:
            content = self.remote.contents.get(operation.path, b"")
            now = self.remote.entries.get(operation.path)
            if isinstance(operation, WriteFile) and (now is None or not now.is_file):
                continue
            try:
                entry = self.local.apply(self._as_sent(operation, now), content, True)
            except Stale:
                continue
            there = None if isinstance(operation, Delete) else operation.entry
            if isinstance(operation, WriteFile):
                there = now
            self.agreement.pulled(operation, entry, there)

    def _as_sent(self, operation: Operation, now: Entry | None) -> Operation:
        if isinstance(operation, WriteFile) and now is not None:
            return WriteFile(operation.path, now, operation.in_place, operation.expected)
        return operation

    def settle(self) -> int:
        """
        Does passes until nothing is left to do.

        @return: how many it took.
        """
        for count in range(1, 20):
            plan = self.compare()
            if plan is None or plan.idle:
                return count
            self.perform(plan)
        raise AssertionError("it does not come to rest")

    def forget(self, side: Side, paths: Iterator[bytes] | list[bytes]) -> None:
        """A user of one side removes or overwrites what is at C{paths} there."""
        for path in paths:
            content = side.contents.get(path)
            if content is not None:
                self.protected.discard(content)

    def everything(self) -> set[bytes]:
        """@return: every content that is on either side."""
        return {*self.local.contents.values(), *self.remote.contents.values()}
