"""The three-way comparison, in tables."""

from __future__ import annotations

import stat
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._agreement import Agreement
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
from remotedocker.sync._reconcile import Conflict, Plan, danger, reconcile
from remotedocker.sync._tree import Agreed, Entry, Moved

Delta = dict[bytes, Entry | None]
ROOT = Entry(stat.S_IFDIR | 0o755, inode=1)
OLD = Entry(stat.S_IFREG | 0o644, 3, 5, inode=2)
NEW = Entry(stat.S_IFREG | 0o644, 4, 6, inode=2)
REPLACED = NEW._replace(inode=3)
OTHER = Entry(stat.S_IFREG | 0o644, 5, 7, inode=90)
EMPTY = Entry(stat.S_IFREG | 0o644, 0, 8, inode=91)
EXECUTABLE = OLD._replace(mode=stat.S_IFREG | 0o755)
DIRECTORY = Entry(stat.S_IFDIR | 0o755, inode=4)
CLOSED = Entry(stat.S_IFDIR | 0o700, inode=4)
LINK = Entry(stat.S_IFLNK | 0o777, target=b"x", inode=5)
LINK2 = LINK._replace(target=b"y", inode=6)


def agreement(**entries: Entry) -> dict[bytes, Agreed]:
    """@return: an agreement about the root and these; C{__} in a name stands for a slash."""
    whole = {b"": ROOT, **{name.replace("__", "/").encode(): entry for name, entry in entries.items()}}
    return {path: Agreed(entry, entry) for path, entry in whole.items()}


def summary(plan: Plan) -> tuple[list[str], list[str], list[bytes]]:
    """@return: the names of what is pushed and pulled, and the conflicts."""
    return (
        [type(each).__name__ for each in plan.push],
        [type(each).__name__ for each in plan.pull],
        sorted(plan.conflicts),
    )


NOTHING: tuple[list[str], list[str], list[bytes]] = ([], [], [])
SAME = ...
"""In a table: this side has not changed."""


class OnePathTests(SynchronousTestCase):
    """What becomes of one path."""

    def plan(self, before: Entry | None, local: Any, remote: Any, **options: Any) -> Plan:
        """@return: the plan for the path C{f}."""
        base = agreement() if before is None else agreement(f=before)
        deltas = [{} if delta is SAME else {b"f": delta} for delta in (local, remote)]
        return reconcile(base, *deltas, **options)

    def test_table(self) -> None:
        """All that each side may have done, against all that the other may have."""
        conflict: tuple[list[str], list[str], list[bytes]] = ([], [], [b"f"])

        def push(*names: str) -> tuple[list[str], list[str], list[bytes]]:
            return list(names), [], []

        def pull(*names: str) -> tuple[list[str], list[str], list[bytes]]:
            return [], list(names), []

        table: list[tuple[Entry | None, Any, Any, tuple[list[str], list[str], list[bytes]]]] = [
            # One side only.
            (OLD, NEW, SAME, push("WriteFile")),
            (OLD, SAME, NEW, pull("WriteFile")),
            (OLD, None, SAME, push("Delete")),
            (OLD, SAME, None, pull("Delete")),
            (None, NEW, SAME, push("WriteFile")),
            (None, SAME, NEW, pull("WriteFile")),
            (None, DIRECTORY, SAME, push("MakeDirectory")),
            (None, SAME, DIRECTORY, pull("MakeDirectory")),
            (None, LINK, SAME, push("MakeSymlink")),
            (None, SAME, LINK, pull("MakeSymlink")),
            (OLD, EXECUTABLE, SAME, push("SetMode")),
            (OLD, SAME, EXECUTABLE, pull("SetMode")),
            (DIRECTORY, CLOSED, SAME, push("SetMode")),
            (DIRECTORY, SAME, CLOSED, pull("SetMode")),
            (LINK, LINK2, SAME, push("MakeSymlink")),
            (LINK, SAME, LINK2, pull("MakeSymlink")),
            # One kind for another.
            (OLD, DIRECTORY, SAME, push("Delete", "MakeDirectory")),
            (OLD, SAME, DIRECTORY, pull("Delete", "MakeDirectory")),
            (OLD, LINK, SAME, push("MakeSymlink")),
            (OLD, SAME, LINK, pull("MakeSymlink")),
            (LINK, OLD, SAME, push("WriteFile")),
            (LINK, SAME, OLD, pull("WriteFile")),
            (DIRECTORY, OLD, SAME, push("Delete", "WriteFile")),
            (DIRECTORY, SAME, OLD, pull("Delete", "WriteFile")),
            (DIRECTORY, LINK, SAME, push("Delete", "MakeSymlink")),
            (DIRECTORY, SAME, LINK, pull("Delete", "MakeSymlink")),
            (LINK, DIRECTORY, SAME, push("Delete", "MakeDirectory")),
            # Both the same.
            (OLD, NEW, NEW, NOTHING),
            (None, NEW, NEW, NOTHING),
            (OLD, None, None, NOTHING),
            (None, DIRECTORY, DIRECTORY, NOTHING),
            (None, LINK, LINK, NOTHING),
            # Both different.
            (OLD, NEW, OTHER, conflict),
            (None, NEW, OTHER, conflict),
            (None, LINK, LINK2, conflict),
            (LINK, LINK2, LINK._replace(target=b"z"), conflict),
            (OLD, NEW, LINK, conflict),
            (OLD, DIRECTORY, NEW, conflict),
            (None, NEW, DIRECTORY, conflict),
            # A deletion yields to what was written.
            (OLD, None, NEW, pull("WriteFile")),
            (OLD, NEW, None, push("WriteFile")),
            (OLD, None, LINK, pull("MakeSymlink")),
            # A directory that was only given other permissions goes.
            (DIRECTORY, None, CLOSED, push("Delete")),
            (DIRECTORY, CLOSED, None, pull("Delete")),
            # Permissions alone yield to content.
            (OLD, NEW, EXECUTABLE, push("WriteFile")),
            (OLD, EXECUTABLE, NEW, pull("WriteFile")),
            (OLD, EXECUTABLE, OLD._replace(mode=stat.S_IFREG | 0o600), push("SetMode")),
            # A file that somebody only made yields to one with content.
            (None, EMPTY, OTHER, pull("WriteFile")),
            (None, OTHER, EMPTY, push("WriteFile")),
            (None, EMPTY, EMPTY._replace(mtime=9), push("WriteFile")),
            (OLD, EMPTY, OTHER, conflict),
        ]
        for number, (before, local, remote, expected) in enumerate(table):
            plan = self.plan(before, local, remote)
            self.assertEqual(summary(plan), expected, f"{number}: {before} {local} {remote}")
            self.assertEqual(plan.idle, not expected[0] and not expected[1])

    def test_agreed(self) -> None:
        """What both have is told, and what neither has is forgotten."""
        theirs = NEW._replace(inode=77)
        self.assertEqual(self.plan(OLD, NEW, theirs).agreed, {b"f": Agreed(NEW, theirs)})
        self.assertEqual(self.plan(OLD, None, None).agreed, {b"f": None})

    def test_expected(self) -> None:
        """Each operation says what it must find."""
        self.assertEqual(self.plan(OLD, NEW, SAME).push, [WriteFile(b"f", NEW, True, OLD)])
        self.assertEqual(self.plan(OLD, REPLACED, SAME).push, [WriteFile(b"f", REPLACED, False, OLD)])
        self.assertEqual(self.plan(None, NEW, SAME).push, [WriteFile(b"f", NEW, False, None)])
        self.assertEqual(self.plan(OLD, None, SAME).push, [Delete(b"f", OLD)])
        self.assertEqual(self.plan(OLD, SAME, OTHER).pull, [WriteFile(b"f", OTHER, False, OLD)])
        self.assertEqual(self.plan(OLD, SAME, None).pull, [Delete(b"f", OLD)])
        self.assertEqual(self.plan(LINK, LINK2, SAME).push, [MakeSymlink(b"f", LINK2, LINK)])
        self.assertEqual(self.plan(OLD, NEW, OTHER).conflicts, {b"f": Conflict(b"f", NEW, OTHER)})
        self.assertEqual(self.plan(DIRECTORY, SAME, OLD).pull[1], WriteFile(b"f", OLD, False, None))

    def test_pinned(self) -> None:
        """A file that is mounted by itself keeps its inode, even if it was replaced."""
        plan = self.plan(OLD, REPLACED, SAME, pinned={b"f"})
        self.assertEqual(plan.push, [WriteFile(b"f", REPLACED, True, OLD)])

    def test_closed(self) -> None:
        """A file of the remote that may not be written to is replaced, unless it is mounted by itself."""
        written = OLD._replace(mtime=6)
        for changed in (written, EXECUTABLE):
            plan = self.plan(OLD, changed, SAME, closed={b"f"})
            self.assertEqual(plan.push, [WriteFile(b"f", changed, False, OLD)])
        plan = self.plan(OLD, written, SAME, closed={b"f"}, pinned={b"f"})
        self.assertEqual(plan.push, [WriteFile(b"f", written, True, OLD)])

    def test_replaced_by_itself(self) -> None:
        """A file that was replaced by one of the same size and time differs in nothing."""
        plan = self.plan(OLD, OLD._replace(inode=8), SAME)
        self.assertEqual((plan.idle, plan.agreed), (True, {b"f": Agreed(OLD._replace(inode=8), OLD)}))

    def test_replaced_with_another_mode(self) -> None:
        """One that was replaced by another of the same size and time, but not mode, is written anew."""
        self.assertEqual(summary(self.plan(OLD, EXECUTABLE._replace(inode=8), SAME)), (["WriteFile"], [], []))

    def test_coarse(self) -> None:
        """Where the remote keeps whole seconds, a fraction is no difference."""
        here, there = NEW._replace(mtime=1_700_000_000_123), NEW._replace(mtime=1_700_000_000_000)
        self.assertEqual(summary(self.plan(None, here, there, coarse=True)), NOTHING)
        self.assertEqual(summary(self.plan(None, here, there)), ([], [], [b"f"]))

    def test_within_one_second(self) -> None:
        """A change here that the remote's times cannot tell from what was before is pushed."""
        again = OLD._replace(mtime=6)
        self.assertEqual(summary(self.plan(OLD, again, SAME, coarse=True)), (["WriteFile"], [], []))
        self.assertEqual(summary(self.plan(None, again, OLD, coarse=True)), NOTHING)

    def test_one_way(self) -> None:
        """Where nothing may come back, the laptop's changes count alone, and what it has is restored."""
        table: list[tuple[Entry | None, Any, Any, list[str]]] = [
            (OLD, NEW, OTHER, ["WriteFile"]),
            (OLD, SAME, OTHER, []),
            (OLD, SAME, None, ["WriteFile"]),
            (OLD, None, OTHER, ["Delete"]),
            (None, SAME, OTHER, []),
            (None, NEW, OTHER, ["WriteFile"]),
            (OLD, None, None, []),
        ]
        for before, local, remote, expected in table:
            plan = self.plan(before, local, remote, comes_back=lambda path: False)
            self.assertEqual(summary(plan), (expected, [], []), (before, local, remote))

    def test_ours(self) -> None:
        """What we were writing when we were interrupted is written again, whatever is there now."""
        table: list[tuple[Entry | None, Any, Any, list[str]]] = [
            (OLD, NEW, OTHER, ["WriteFile"]),
            (None, NEW, OTHER, ["WriteFile"]),
            (OLD, SAME, OTHER, ["WriteFile"]),
            (OLD, SAME, None, ["WriteFile"]),
            (OLD, NEW, NEW, []),
            (OLD, EXECUTABLE, SAME, ["WriteFile"]),
        ]
        for before, local, remote, expected in table:
            plan = self.plan(before, local, remote, ours={b"f": None})
            self.assertEqual(summary(plan), (expected, [], []), (before, local, remote))
        self.assertEqual(summary(self.plan(None, None, OTHER, ours={b"f": None})), (["Delete"], [], []))

    def test_ours_as_it_was_to_be(self) -> None:
        """Where it is known what we were writing, only that counts as ours."""
        self.assertEqual(summary(self.plan(OLD, NEW, OTHER, ours={b"f": OTHER})), (["WriteFile"], [], []))
        self.assertEqual(summary(self.plan(OLD, NEW, OTHER, ours={b"f": NEW})), ([], [], [b"f"]))
        self.assertEqual(summary(self.plan(OLD, SAME, OTHER, ours={b"f": NEW})), ([], ["WriteFile"], []))


class TreeTests(SynchronousTestCase):
    """What one path means for others."""

    def test_order(self) -> None:
        """Directories come before what is in them, removals from the leaves up, contents last."""
        base = agreement(d=DIRECTORY, d__a=OLD, d__e=DIRECTORY._replace(inode=9), d__e__b=OLD, x=OLD)
        local: Delta = {
            b"d": None,
            b"d/a": None,
            b"d/e": None,
            b"d/e/b": None,
            b"x": DIRECTORY._replace(inode=20),
            b"x/y": DIRECTORY._replace(inode=21),
            b"x/y/z": NEW._replace(inode=22),
        }
        plan = reconcile(base, local, {})
        self.assertEqual(
            [(type(each).__name__, each.path) for each in plan.push],
            [
                ("Delete", b"x"),
                ("MakeDirectory", b"x"),
                ("MakeDirectory", b"x/y"),
                ("Delete", b"d/e/b"),
                ("Delete", b"d/e"),
                ("Delete", b"d/a"),
                ("Delete", b"d"),
                ("WriteFile", b"x/y/z"),
            ],
        )
        mirrored = reconcile(base, {}, local)
        self.assertEqual(
            [(type(each), each.path) for each in mirrored.pull],
            [(type(each), each.path) for each in plan.push],
        )

    def test_written_in_a_deleted_directory(self) -> None:
        """A directory that one side deletes comes again for what the other wrote in it, and the rest goes."""
        base = agreement(d=DIRECTORY, d__a=OLD, d__b=OLD)
        gone: Delta = {b"d": None, b"d/a": None, b"d/b": None}
        for written in ({b"d/a": NEW}, {b"d/new": NEW}):
            plan = reconcile(base, gone, written)
            kept = next(iter(written))
            self.assertEqual(summary(plan)[1:], (["MakeDirectory", "WriteFile"], []), written)
            self.assertEqual([each.path for each in plan.pull], [b"d", kept])
            self.assertNotIn(b"d", [each.path for each in plan.push])
            self.assertIn(b"d/b", [each.path for each in plan.push])
            plan = reconcile(base, written, gone)
            self.assertEqual([each.path for each in plan.push], [b"d", kept])
            self.assertIn(b"d/b", [each.path for each in plan.pull])

    def test_written_below_a_file(self) -> None:
        """Where one side has a file and the other writes into a directory of that name, both are left."""
        base = agreement(d=DIRECTORY, d__a=OLD)
        filed: Delta = {b"d": NEW, b"d/a": None}
        for written in ({b"d/a": NEW}, {b"d/new": NEW}, {b"d/e": DIRECTORY, b"d/e/f": NEW}):
            for local, remote in ((filed, written), (written, filed)):
                plan = reconcile(base, local, remote)
                self.assertEqual(summary(plan), ([], [], [b"d"]), written)

    def test_root_deleted(self) -> None:
        """Even the root comes again for what was written in it."""
        plan = reconcile(agreement(a=OLD), {b"": None, b"a": None}, {b"a": NEW})
        self.assertEqual([each.path for each in plan.pull], [b"", b"a"])

    def test_parent_unknown(self) -> None:
        """A name whose directory is on neither side, as far as is known, is left alone."""
        self.assertEqual(summary(reconcile(agreement(), {b"d/a": NEW}, {})), ([], [], [b"d"]))
        self.assertEqual(summary(reconcile(agreement(), {}, {b"d/a": NEW})), ([], [], [b"d"]))

    def test_below_a_conflict(self) -> None:
        """What is below a conflict is left alone, and is no conflict of its own."""
        local: Delta = {b"d": DIRECTORY, b"d/a": NEW, b"d/b": OTHER}
        plan = reconcile(agreement(), local, {b"d": OTHER})
        self.assertEqual(summary(plan), ([], [], [b"d"]))

    def test_both_made_the_directory(self) -> None:
        """A directory that both made is one; a conflict in it is about the file only."""
        local: Delta = {b"d": DIRECTORY, b"d/a": NEW, b"d/mine": OLD}
        remote: Delta = {b"d": CLOSED, b"d/a": OTHER, b"d/theirs": OLD}
        plan = reconcile(agreement(), local, remote)
        self.assertEqual(summary(plan), (["SetMode", "WriteFile"], ["WriteFile"], [b"d/a"]))

    def test_hard_links(self) -> None:
        """New names of one file are linked to a name that the remote has, or to the first of them."""
        one = OLD._replace(links=3)
        base = agreement(a=one)
        local: Delta = {b"b": one, b"c": one}
        self.assertEqual(
            reconcile(base, local, {}).push, [HardLink(b"b", b"a", one), HardLink(b"c", b"a", one)]
        )
        self.assertEqual(
            reconcile(agreement(), {b"b": one, b"c": one}, {}).push,
            [WriteFile(b"b", one, False, None), HardLink(b"c", b"b", one)],
        )

    def test_no_hard_links(self) -> None:
        """A name is not linked to one that is changed on the remote, is going, or is known by no number."""
        one = OLD._replace(links=2)
        self.assertEqual(
            [type(each) for each in reconcile(agreement(a=one), {b"b": one}, {b"a": OTHER}).push], [WriteFile]
        )
        interrupted = reconcile(agreement(a=one), {b"a": None, b"b": one}, {}, ours={b"a": None})
        self.assertEqual([type(each) for each in interrupted.push], [Delete, WriteFile])
        nameless = one._replace(inode=0)
        plan = reconcile(agreement(), {b"b": nameless, b"c": nameless}, {})
        self.assertEqual([type(each) for each in plan.push], [WriteFile, WriteFile])
        gone: Delta = {b"a": None, b"b": one._replace(size=9)}
        plan = reconcile(agreement(a=one), gone, {})
        self.assertEqual([type(each) for each in plan.push], [Delete, WriteFile])

    def test_written_linked_file(self) -> None:
        """When a file with two names is written in place, each name is written, and stays what it is."""
        one = OLD._replace(links=2)
        new = NEW._replace(links=2)
        plan = reconcile(agreement(a=one, b=one), {b"a": new, b"b": new}, {})
        self.assertEqual([type(each) for each in plan.push], [WriteFile, WriteFile])


class RenameTests(SynchronousTestCase):
    """Renames in a plan, and what follows when one is not done."""

    BASE = agreement(d=DIRECTORY, d__a=OLD, d__b=OTHER)
    LOCAL: Delta = {
        b"d": None,
        b"d/a": None,
        b"d/b": None,
        b"n": DIRECTORY,
        b"n/a": OLD,
        b"n/b": OTHER,
    }

    def test_rename(self) -> None:
        """A directory is renamed before what changed in it is written."""
        local: Delta = {**self.LOCAL, b"n/b": OTHER._replace(size=9), b"n/c": NEW._replace(inode=30)}
        plan = reconcile(self.BASE, local, {})
        self.assertEqual([type(each) for each in plan.push], [Rename, WriteFile, WriteFile])

    def test_into_new(self) -> None:
        """A directory is made before something is renamed into it."""
        local: Delta = {b"d/a": None, b"m": DIRECTORY._replace(inode=40), b"m/a": OLD}
        plan = reconcile(self.BASE, local, {})
        self.assertEqual([type(each) for each in plan.push], [MakeDirectory, Rename])

    def settled(self, local: Delta) -> Agreement:
        """@return: what is agreed on when the connection is lost before anything was pushed."""
        agreement = Agreement(dict(self.BASE))
        agreement.settle(reconcile(agreement.base, local, {}))
        return agreement

    def test_not_done(self) -> None:
        """
        Nothing below a directory counts as agreed on while its rename is not done: otherwise the remote's
        lack of the new names would look like their deletion.
        """
        local: Delta = {**self.LOCAL, b"n/a": OLD._replace(inode=50)}
        self.assertEqual(self.settled(local).base, self.BASE)


class DangerTests(SynchronousTestCase):
    """L{danger}."""

    BASE = agreement(a=OLD, b=OLD, d=DIRECTORY)
    GONE: Delta = {b"a": None, b"b": None, b"d": None}

    def test_table(self) -> None:
        """When a tree must not be touched, and when it may."""
        table: list[tuple[str, Delta, str]] = [
            ("nothing", {}, ""),
            ("one deletion", {b"a": None}, ""),
            ("the root is gone", {b"": None}, "no longer there"),
            ("with everything", {b"": None, **self.GONE}, "no longer there"),
            ("the root is a file", {b"": OLD}, "changed its type"),
            ("the root is a link", {b"": LINK}, "changed its type"),
            ("another root", {b"": ROOT._replace(inode=9)}, ""),
            ("all is gone", dict(self.GONE), "all that was in it (3 names) is gone"),
            ("in another root", {b"": ROOT._replace(inode=9), **self.GONE}, "all that was in it"),
            ("all but one", {b"a": None, b"b": None}, ""),
            ("all is gone and something new", {**self.GONE, b"new": NEW}, ""),
            ("renamed", {b"a": None, b"b": None, b"d": None, b"x": DIRECTORY}, ""),
            ("many new", {bytes([65 + number]): NEW for number in range(9)}, ""),
        ]
        for what, delta, expected in table:
            for side, reason in (
                ("on the laptop", danger(self.BASE, delta, {})),
                ("on the remote", danger(self.BASE, {}, delta)),
            ):
                if expected:
                    self.assertIn(expected, reason or "", what)
                    self.assertIn(side, reason or "", what)
                else:
                    self.assertIsNone(reason, what)

    def test_moved(self) -> None:
        """What is missing on another file system was not deleted; a mere change of number is none."""
        gone: Delta = {b"a": None}
        changed: Delta = {b"a": NEW}
        some: Delta = {b"d": CLOSED, b"new": NEW}
        everything: Delta = {**self.GONE, b"new": NEW}
        table: list[tuple[str, Delta, Moved, bool]] = [
            ("the same place", gone, Moved.NO, False),
            ("perhaps, some", gone, Moved.PERHAPS, False),
            ("perhaps, all", everything, Moved.PERHAPS, True),
            ("surely, one", gone, Moved.SURELY, True),
            ("surely, other content", changed, Moved.SURELY, True),
            ("surely, nothing but new", some, Moved.SURELY, False),
        ]
        for what, delta, moved, stopped in table:
            for reason in (
                danger(self.BASE, delta, {}, {b"": moved}),
                danger(self.BASE, {}, delta, {}, moved),
            ):
                self.assertEqual("another file system" in (reason or ""), stopped, what)
        base = agreement(a=OLD, d=DIRECTORY, d__x=OLD, d__y=OTHER)
        self.assertIsNone(danger(base, gone, {}, {b"d": Moved.SURELY}))
        inside: Delta = {b"d": None, b"d/x": None, b"d/y": None}
        self.assertIn("d in it", danger(base, inside, {}, {b"d": Moved.SURELY}) or "")
        self.assertIsNone(danger(base, inside, {}, {b"": Moved.NO}))

    def test_small_trees(self) -> None:
        """One file may be deleted; a tree of a single file may not turn into anything else."""
        self.assertIsNone(danger(agreement(a=OLD), {b"a": None}, {}))
        single = {b"": Agreed(OLD, OLD)}
        self.assertIsNone(danger(single, {b"": NEW}, {}))
        self.assertIn("type", danger(single, {b"": DIRECTORY}, {}) or "")
        self.assertIn("type", danger(single, {}, {b"": LINK}) or "")
        self.assertIn("no longer", danger(single, {b"": None}, {}) or "")

    def test_first(self) -> None:
        """Before there was an agreement, nothing that is there is a danger."""
        self.assertIsNone(danger({}, {b"": ROOT, b"a": NEW}, {b"": ROOT}))


class CompleteTests(SynchronousTestCase):
    """L{Plan}."""

    def test_operations_have_paths(self) -> None:
        """Every kind of operation says where."""
        operations: list[Operation] = [SetMode(b"p", OLD), Rename(b"p", b"q", OLD), HardLink(b"p", b"q", OLD)]
        self.assertEqual({each.path for each in operations}, {b"p"})
