# -*- test-case-name: tests.sync.test_agreement -*-
"""
What both sides of a tree last agreed on, kept up to date with what was done.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define, field

from remotedocker.sync._operations import Delete, HardLink, MakeSymlink, Operation, Rename, WriteFile
from remotedocker.sync._reconcile import Conflict, Plan
from remotedocker.sync._tree import Agreed, Around, Entry, same_content

__all__ = ["Agreement"]


@define
class Agreement:
    """
    @ivar base: by path.
    @ivar pending: how the remote is known to differ, as far as that was not dealt with.
    @ivar ours: paths that we were writing on the remote, and whose state is not known: to what they have if
        it is our work, or None, if anything there may be half of it.
    @ivar conflicts: paths at which both sides changed.
    @ivar around: what else is remembered.
    @ivar changed: whether something is new since it was saved.
    """

    base: dict[bytes, Agreed] = Factory(dict)
    pending: dict[bytes, Entry | None] = Factory(dict)
    ours: dict[bytes, Entry | None] = Factory(dict)
    conflicts: dict[bytes, Conflict] = Factory(dict)
    around: Around = Factory(Around)
    changed: bool = False
    _changes: dict[bytes, Agreed | None] = field(init=False, factory=dict)

    def settle(self, plan: Plan) -> None:
        """Takes over what a plan found to be the same on both sides."""
        for path, agreed in plan.agreed.items():
            if agreed is None:
                self._forget(path)
            else:
                self.agree(path, agreed)
        self.conflicts = dict(plan.conflicts)

    def pushed(self, operation: Operation, sent: Entry | None, coarse: bool) -> None:
        """
        C{operation} was done on the remote.

        @param sent: what a file was when it was read.
        """
        if isinstance(operation, Delete):
            self._forget(operation.path)
        elif isinstance(operation, Rename):
            self._rename(operation)
        else:
            local = sent if sent is not None else operation.entry
            remote = local
            if coarse and local.is_file:
                remote = local._replace(mtime=local.mtime // 1_000_000_000 * 1_000_000_000)
            self.agree(operation.path, Agreed(local, remote))

    def pulled(self, operation: Operation, local: Entry | None, remote: Entry | None) -> None:
        """C{operation} was done on the laptop, which now has C{local} for the remote's C{remote}."""
        if local is None or remote is None:
            self._forget(operation.path)
        else:
            self.agree(operation.path, Agreed(local, remote))

    def writing(self, operations: Iterable[Operation]) -> dict[bytes, Entry | None]:
        """
        A push begins: from now on what C{operations} write counts as L{ours}.

        @return: what is new in L{ours}.
        """
        writing: dict[bytes, Entry | None] = {}
        for operation in operations:
            path = operation.path
            if isinstance(operation, WriteFile) and (operation.in_place or operation.expected is None):
                writing[path] = None
            elif isinstance(operation, (WriteFile, MakeSymlink, HardLink)):
                writing[path] = operation.entry
            elif isinstance(operation, Rename):
                for each in self._inside(operation):
                    writing[path + each[len(operation.old) :]] = self.base[each].remote
        for path, entry in writing.items():
            if path in self.ours and not (entry and same_content(entry, self.ours[path])):
                # Broken off before, with something else: what is there may be any of it.
                writing[path] = None
        self.ours.update(writing)
        return writing

    def take_changes(self) -> dict[bytes, Agreed | None]:
        """@return: what was agreed on since the last call, for the journal."""
        changes, self._changes = self._changes, {}
        return changes

    def agree(self, path: bytes, agreed: Agreed) -> None:
        """Both sides have what C{agreed} says at C{path}."""
        self.base[path] = self._changes[path] = agreed
        self.pending.pop(path, None)
        self.ours.pop(path, None)
        self.conflicts.pop(path, None)
        self.around.kept.pop(path, None)
        self.changed = True

    def start_anew(self) -> None:
        """Nothing is agreed on any more: what each side has is compared, and nothing is deleted."""
        for each in (self.base, self.pending, self.ours, self.conflicts, self._changes):
            each.clear()
        self.around.places.clear()
        self.around.kept.clear()
        self.around.store = b""
        self.changed = True

    def _forget(self, path: bytes) -> None:
        if self.base.pop(path, None) is not None or path in self._changes:
            self._changes[path] = None
        self.pending.pop(path, None)
        self.ours.pop(path, None)
        self.changed = True

    def _rename(self, operation: Rename) -> None:
        old, new = operation.old, operation.path
        for path in self._inside(operation):
            agreed = self.base[path]
            self._forget(path)
            moved = new + path[len(old) :]
            self.agree(moved, Agreed(operation.entry, agreed.remote) if path == old else agreed)

    def _inside(self, operation: Rename) -> list[bytes]:
        """@return: what is renamed along, as far as it is agreed on."""
        old = operation.old
        inside = [old] if old in self.base else []
        if operation.entry.is_directory:
            prefix = old + b"/"
            inside += [path for path in self.base if path.startswith(prefix)]
        return inside
