# -*- test-case-name: tests.sync.test_agreement -*-
"""
What both sides of a tree last agreed on, kept up to date with what was done.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from remotedocker.sync._operations import Delete, Operation, Rename, WriteFile
from remotedocker.sync._reconcile import Conflict, Plan
from remotedocker.sync._tree import Agreed, Entry

__all__ = ["Agreement"]


@define
class Agreement:
    """
    @ivar base: by path.
    @ivar pending: how the remote is known to differ, as far as that was not dealt with.
    @ivar ours: paths that we were writing on the remote, and whose state is not known.
    @ivar conflicts: paths at which both sides changed.
    @ivar changed: whether something is new since it was saved.
    """

    base: dict[bytes, Agreed] = Factory(dict)
    pending: dict[bytes, Entry | None] = Factory(dict)
    ours: set[bytes] = Factory(set)
    conflicts: dict[bytes, Conflict] = Factory(dict)
    changed: bool = False

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

    def writing(self, operations: Iterable[Operation]) -> set[bytes]:
        """@return: the paths whose state on the remote would not be known if a push broke off."""
        return {
            each.path
            for each in operations
            if isinstance(each, WriteFile) and (each.in_place or each.expected is None)
        }

    def agree(self, path: bytes, agreed: Agreed) -> None:
        """Both sides have what C{agreed} says at C{path}."""
        self.base[path] = agreed
        self.pending.pop(path, None)
        self.ours.discard(path)
        self.conflicts.pop(path, None)
        self.changed = True

    def _forget(self, path: bytes) -> None:
        self.base.pop(path, None)
        self.pending.pop(path, None)
        self.ours.discard(path)
        self.changed = True

    def _rename(self, operation: Rename) -> None:
        old, new = operation.old, operation.path
        moved = [old]
        if operation.entry.is_directory:
            prefix = old + b"/"
            moved += [path for path in self.base if path.startswith(prefix)]
        for path in moved:
            agreed = self.base.pop(path)
            self.pending.pop(path, None)
            self.base[new + path[len(old) :]] = agreed
        self.base[new] = Agreed(operation.entry, self.base[new].remote)
        self.changed = True
