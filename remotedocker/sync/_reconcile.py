# -*- test-case-name: tests.sync.test_reconcile -*-
"""
The three-way comparison: what each side changed since both agreed, to what must be done on each.

A change on one side goes to the other. Of changes on both sides, equal ones are an agreement, a deletion
yields to a modification, and two different contents are a conflict: neither is touched. No input or output
here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from types import MappingProxyType

from attrs import Factory, define, frozen

from remotedocker.sync._operations import (
    Delete,
    HardLink,
    MakeDirectory,
    MakeSymlink,
    Operation,
    Rename,
    SetMode,
    WriteFile,
)
from remotedocker.sync._renames import find_renames
from remotedocker.sync._tree import (
    Agreed,
    Base,
    Delta,
    Entry,
    Moved,
    ancestors,
    is_placeholder,
    parent_of,
    same,
    same_content,
    under,
)

__all__ = ["Conflict", "Plan", "danger", "reconcile"]


@frozen
class Conflict:
    """Both sides changed one path, differently."""

    path: bytes
    local: Entry | None
    remote: Entry | None


@define
class Plan:
    """
    What is to be done.

    @ivar push: changes to the remote, in order.
    @ivar pull: changes to the laptop, in order.
    @ivar agreed: paths at which nothing needs to be done, and what both sides have there.
    @ivar conflicts: by path.
    @ivar blocked: paths that were left alone because of a conflict above them.
    """

    push: list[Operation] = Factory(list)
    pull: list[Operation] = Factory(list)
    agreed: dict[bytes, Agreed | None] = Factory(dict)
    conflicts: dict[bytes, Conflict] = Factory(dict)
    blocked: set[bytes] = Factory(set)

    @property
    def idle(self) -> bool:
        """Whether neither side needs a change."""
        return not self.push and not self.pull


class _Verdict(Enum):
    PUSH = "the laptop's version goes to the remote"
    PULL = "the remote's version goes to the laptop"
    AGREE = "both have the same"
    CONFLICT = "both changed"
    LEAVE = "nothing is to be done"


def danger(
    base: Base,
    local: Delta,
    remote: Delta,
    moved_here: Mapping[bytes, Moved] = MappingProxyType({}),
    moved_there: Moved = Moved.NO,
) -> str | None:
    """
    The rule that nothing is deleted because a whole tree went away.

    @param moved_here: what became of the directories at which the laptop's file systems began.
    @param moved_there: likewise, of the remote's directory of all mirrors.
    @return: why this tree must not be touched now, or None.
    """
    root = base.get(b"")
    for where, delta in (("on the laptop", local), ("on the remote", remote)):
        if b"" in delta:
            now = delta[b""]
            if now is None:
                return f"it is no longer there {where}"
            if root is not None and (now.is_directory != root.local.is_directory or now.is_symlink):
                return f"it changed its type {where}"
        inside = len(base) - 1
        if inside < 2:
            continue
        if len(delta) < inside:
            continue
        gone = sum(1 for path, entry in delta.items() if entry is None and path in base)
        kept = any(entry is not None and path for path, entry in delta.items())
        if gone >= inside and not kept:
            return f"all that was in it ({inside} names) is gone {where}"
    for path, moved in moved_here.items():
        reason = _elsewhere(base, local, path, moved, "on the laptop")
        if reason is not None:
            return reason
    return _elsewhere(base, remote, b"", moved_there, "on the remote")


def _elsewhere(base: Base, delta: Delta, place: bytes, moved: Moved, where: str) -> str | None:
    """@return: why what is gone below C{place} is not taken for deleted, or None."""
    if moved is Moved.NO:
        return None
    inside = [entry for path, entry in delta.items() if path in base and under(path, place)]
    gone = inside.count(None)
    if moved is Moved.PERHAPS:
        if gone < sum(1 for path in base if path != place and under(path, place)):
            return None
    else:
        gone += sum(1 for entry in inside if entry is not None and not entry.is_directory)
    if not gone:
        return None
    name = f"{place.decode('utf-8', 'backslashreplace')} in it" if place else "it"
    lost = f"{gone} names are gone or others (is it mounted?)"
    return f"{name} is on another file system than before {where}, and {lost}"


def reconcile(
    base: Base,
    local: Delta,
    remote: Delta,
    *,
    comes_back: Callable[[bytes], bool] = lambda path: True,
    ours: Mapping[bytes, Entry | None] = MappingProxyType({}),
    pinned: Collection[bytes] = (),
    kept: Mapping[bytes, bool] = MappingProxyType({}),
    coarse: bool = False,
    closed: Collection[bytes] = (),
) -> Plan:
    """
    @param base: the last agreement.
    @param local: what the laptop has where that differs.
    @param remote: what the remote has where that differs.
    @param comes_back: whether changes at a path may be brought to the laptop; elsewhere the laptop's count
        alone.
    @param ours: paths that we were writing on the remote when we were interrupted: what is there now is
        nobody's work if it is what stands here, or whatever it is if None stands here.
    @param pinned: files that are mounted by themselves, so that their inodes must stay.
    @param kept: directories that stay on one side (True: the laptop) though they were removed on the other.
    @param coarse: the remote keeps no times finer than a second.
    @param closed: files of the remote that may be replaced, but not written to.
    """
    renames, moved_base, left = find_renames(base, local, remote)
    closed = set(closed).difference(pinned)
    return _Reconciler(moved_base, left, remote, comes_back, ours, pinned, kept, coarse, closed).plan(renames)


class _Reconciler:
    def __init__(
        self,
        base: Base,
        local: Delta,
        remote: Delta,
        comes_back: Callable[[bytes], bool],
        ours: Mapping[bytes, Entry | None],
        pinned: Collection[bytes],
        kept: Mapping[bytes, bool],
        coarse: bool,
        closed: Collection[bytes],
    ) -> None:
        self.base = base
        self.local = local
        self.remote = remote
        self.comes_back = comes_back
        self.ours = ours
        self.pinned = pinned
        self.kept = kept
        self.coarse = coarse
        self.closed = closed
        self.verdicts: dict[bytes, _Verdict] = {}

    def local_at(self, path: bytes) -> Entry | None:
        """What the laptop has at C{path}."""
        if path in self.local:
            return self.local[path]
        agreed = self.base.get(path)
        return agreed.local if agreed is not None else None

    def remote_at(self, path: bytes) -> Entry | None:
        """What the remote has at C{path}."""
        if path in self.remote:
            return self.remote[path]
        agreed = self.base.get(path)
        return agreed.remote if agreed is not None else None

    def plan(self, renames: list[Rename]) -> Plan:
        """@return: the plan, C{renames} in their places."""
        for path in (*self.local, *self.remote):
            if path not in self.verdicts:
                self.verdicts[path] = self.verdict(path)
        self.keep_parents()
        plan = Plan()
        self.block_conflicts(plan)
        pushed = {path for path, verdict in self.verdicts.items() if verdict is _Verdict.PUSH}
        pulled = {path for path, verdict in self.verdicts.items() if verdict is _Verdict.PULL}
        # Below a rename nothing is agreed on until that is done: if it fails, the remote has no such names.
        waiting = [rename.path for rename in renames]
        for path, verdict in self.verdicts.items():
            if verdict is _Verdict.AGREE and not any(under(path, each) for each in waiting):
                local, remote = self.local_at(path), self.remote_at(path)
                plan.agreed[path] = Agreed(local, remote) if local and remote else None
        plan.push = _order(self.push_operations(pushed, plan), renames)
        plan.pull = _order(self.pull_operations(pulled, plan), [])
        return plan

    def verdict(self, path: bytes) -> _Verdict:
        """The decision about one path, by itself."""
        here, there = path in self.local, path in self.remote
        local, remote = self.local_at(path), self.remote_at(path)
        agreed = self.base.get(path)
        if agreed is None and here != there and path not in self.kept and path not in self.ours:
            # Mostly so: something new on one side.
            if local is not None:
                return _Verdict.PUSH
            if remote is not None:
                return _Verdict.PULL if self.comes_back(path) else _Verdict.LEAVE
        if same(local, remote, coarse=self.coarse):
            # Of two contents within one second the laptop can tell that they are not the same.
            finer = self.coarse and here and not there and agreed is not None
            if not finer or agreed is None or same_content(local, agreed.local):
                return _Verdict.AGREE
        if not path and is_placeholder(remote) and local is not None:
            return _Verdict.PUSH
        if agreed is None and path in self.kept:
            stays, other = (local, remote) if self.kept[path] else (remote, local)
            if other is None and stays is not None and stays.is_directory:
                return _Verdict.LEAVE
        if path in self.ours:
            mine = self.ours[path]
            if mine is None or (remote is not None and same_content(remote, mine, coarse=self.coarse)):
                return _Verdict.PUSH
        if not self.comes_back(path):
            if here or (there and remote is None and local is not None):
                return _Verdict.PUSH
            return _Verdict.LEAVE
        if here != there:
            return _Verdict.PUSH if here else _Verdict.PULL
        if local is None or remote is None:
            survivor = remote if local is None else local
            if survivor is not None and survivor.is_directory and agreed is not None:
                return _Verdict.PUSH if local is None else _Verdict.PULL
            return _Verdict.PULL if local is None else _Verdict.PUSH
        if same_content(local, remote, coarse=self.coarse):
            return _Verdict.PUSH
        if agreed is not None and same_content(remote, agreed.remote, coarse=self.coarse):
            return _Verdict.PUSH
        if agreed is not None and same_content(local, agreed.local):
            return _Verdict.PULL
        if agreed is None and local.is_file and remote.is_file and not (local.size and remote.size):
            return _Verdict.PULL if remote.size else _Verdict.PUSH
        return _Verdict.CONFLICT

    def keep_parents(self) -> None:
        """What goes to a side finds its directories there, even if they were deleted or replaced on it."""
        push, pull = _Verdict.PUSH, _Verdict.PULL
        pushed: set[bytes] = set()
        pulled: set[bytes] = set()
        for path, verdict in list(self.verdicts.items()):
            if verdict is pull and parent_of(path) not in pulled and self.remote_at(path) is not None:
                self._keep(path, pull, self.local_at, self.remote_at, pulled)
            elif verdict is push and parent_of(path) not in pushed and self.local_at(path) is not None:
                self._keep(path, push, self.remote_at, self.local_at, pushed)

    def _keep(
        self,
        path: bytes,
        direction: _Verdict,
        destination: Callable[[bytes], Entry | None],
        origin: Callable[[bytes], Entry | None],
        seen: set[bytes],
    ) -> None:
        for above in ancestors(path):
            if above in seen:
                return
            seen.add(above)
            planned = self.verdicts.get(above)
            source, found = origin(above), destination(above)
            if source is None or not source.is_directory:
                self.verdicts[above] = _Verdict.CONFLICT
                return
            if planned is direction:
                return
            if found is None:
                self.verdicts[above] = direction
                continue
            if not found.is_directory:
                self.verdicts[above] = _Verdict.CONFLICT
            return

    def block_conflicts(self, plan: Plan) -> None:
        """Leaves alone what is below a conflict."""
        for path, verdict in self.verdicts.items():
            if verdict is _Verdict.CONFLICT:
                plan.conflicts[path] = Conflict(path, self.local_at(path), self.remote_at(path))
        if not plan.conflicts:
            return
        for path in self.verdicts:
            for above in ancestors(path):
                conflict = plan.conflicts.get(above)
                if conflict is not None and not _both_directories(conflict):
                    self.verdicts[path] = _Verdict.LEAVE
                    plan.conflicts.pop(path, None)
                    plan.blocked.add(path)
                    break

    def push_operations(self, paths: set[bytes], plan: Plan) -> list[Operation]:
        """The changes to the remote, unordered but for hard links after what they link to."""
        links = self._hard_links(paths)
        operations: list[Operation] = []
        for path in sorted(paths):
            local, remote = self.local_at(path), self.remote_at(path)
            if local is None:
                operations.append(Delete(path, remote)) if remote else plan.agreed.update({path: None})
            elif local.is_file and path in links:
                operations.append(HardLink(path, links[path], local))
            elif local.is_file:
                operations += self._push_file(path, local, remote)
            else:
                operations += _other(path, local, remote, plan)
        return operations

    def _push_file(self, path: bytes, local: Entry, remote: Entry | None) -> list[Operation]:
        agreed = self.base.get(path)
        if remote is not None and remote.is_file and path in self.closed:
            return [WriteFile(path, local, False, remote)]
        if remote is not None and remote.is_file:
            before = agreed.local if agreed is not None else None
            unchanged = before is not None and before.inode == local.inode and same_content(before, local)
            known = unchanged or path in self.remote
            if known and path not in self.ours and same_content(local, remote, coarse=self.coarse):
                return [SetMode(path, local, remote)]
            in_place = path in self.pinned or (before is not None and before.inode == local.inode)
            return [WriteFile(path, local, in_place, remote)]
        if remote is not None and remote.is_directory:
            return [Delete(path, remote), WriteFile(path, local, False)]
        return [WriteFile(path, local, False, remote)]

    def _hard_links(self, paths: set[bytes]) -> dict[bytes, bytes]:
        """@return: for each new name of a file that has another name in the tree: that other name."""
        wanted: dict[int, bytes] = {}
        result: dict[bytes, bytes] = {}
        several = sorted(
            path for path in paths if (entry := self.local_at(path)) and entry.links > 1 and entry.is_file
        )
        if not several:
            return result
        inodes = {entry.inode for path in several if (entry := self.local_at(path)) and entry.inode}
        for path, agreed in self.base.items():
            if path in paths or path in self.remote or agreed.local.inode not in inodes:
                continue
            if self.local_at(path) is not None:
                wanted[agreed.local.inode] = path
        for path in several:
            entry = self.local_at(path)
            if entry is None or not entry.inode:
                continue
            first = wanted.setdefault(entry.inode, path)
            before = self.base.get(path)
            if first != path and (before is None or before.local.inode != entry.inode):
                result[path] = first
        return result

    def pull_operations(self, paths: set[bytes], plan: Plan) -> list[Operation]:
        """The changes to the laptop, unordered."""
        operations: list[Operation] = []
        for path in sorted(paths):
            local, remote = self.local_at(path), self.remote_at(path)
            if remote is None:
                operations.append(Delete(path, local)) if local else plan.agreed.update({path: None})
            elif remote.is_file and local is not None and same_content(local, remote, coarse=self.coarse):
                operations.append(SetMode(path, remote, local))
            elif remote.is_file:
                if local is not None and local.is_directory:
                    operations.append(Delete(path, local))
                    local = None
                operations.append(WriteFile(path, remote, False, local))
            else:
                operations += _other(path, remote, local, plan)
        return operations


def _other(path: bytes, wanted: Entry, found: Entry | None, plan: Plan) -> list[Operation]:
    """What makes a directory or a symbolic link of what is C{found}."""
    if wanted.is_directory:
        if found is None:
            return [MakeDirectory(path, wanted)]
        if found.is_directory:
            return [SetMode(path, wanted, found)]
        return [Delete(path, found), MakeDirectory(path, wanted)]
    if found is not None and found.is_directory:
        return [Delete(path, found), MakeSymlink(path, wanted)]
    return [MakeSymlink(path, wanted, found)]


def _both_directories(conflict: Conflict) -> bool:
    local, remote = conflict.local, conflict.remote
    return local is not None and remote is not None and local.is_directory and remote.is_directory


def _order(operations: list[Operation], renames: list[Rename]) -> list[Operation]:
    """
    Puts changes into an order in which each can be done: directories and renames from the root down (what
    stands in a directory's way goes first), then removals from the leaves up, then contents.
    """
    made = {each.path for each in operations if isinstance(each, MakeDirectory)}
    down: list[tuple[bytes, int, Operation]] = []
    up: list[Operation] = []
    contents: list[Operation] = []
    for operation in operations:
        if isinstance(operation, MakeDirectory):
            down.append((operation.path, 1, operation))
        elif isinstance(operation, Delete) and operation.path in made:
            down.append((operation.path, 0, operation))
        elif isinstance(operation, Delete):
            up.append(operation)
        else:
            contents.append(operation)
    # Renames were found in this very order, and each speaks of the names as they are after those before it.
    down += [(rename.path, 2, rename) for rename in renames]
    down.sort(key=lambda each: (each[0], each[1]))
    up.sort(key=lambda each: each.path, reverse=True)
    return [*(each[2] for each in down), *up, *contents]
