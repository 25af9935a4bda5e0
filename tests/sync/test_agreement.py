"""What both sides agreed on, after what was done."""

from __future__ import annotations

import stat

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
from remotedocker.sync._reconcile import Conflict, Plan
from remotedocker.sync._tree import Agreed, Entry

FILE = Entry(stat.S_IFREG | 0o644, 3, 1_700_000_000_500_000_000, inode=5)
SENT = FILE._replace(size=4, mtime=1_700_000_001_500_000_000)
THEIRS = FILE._replace(inode=99)
DIRECTORY = Entry(stat.S_IFDIR | 0o755, mtime=1_500_000_000, inode=6)
LINK = Entry(stat.S_IFLNK | 0o777, mtime=1_500_000_000, target=b"x")
BOTH = Agreed(FILE, THEIRS)


class AgreementTests(SynchronousTestCase):
    """L{Agreement}."""

    def full(self) -> Agreement:
        """@return: an agreement about C{f}, with everything else there is to say of it too."""
        conflict = Conflict(b"f", FILE, SENT)
        return Agreement({b"f": BOTH}, {b"f": SENT}, {b"f": None}, {b"f": conflict})

    def test_pushed(self) -> None:
        """What was done on the remote is agreed on: as it was read, not as it was planned."""
        table: list[tuple[Operation, Entry | None, Entry]] = [
            (WriteFile(b"f", FILE, True, THEIRS), SENT, SENT),
            (WriteFile(b"f", FILE, False), None, FILE),
            (SetMode(b"f", FILE, THEIRS), None, FILE),
            (MakeDirectory(b"f", DIRECTORY), None, DIRECTORY),
            (MakeSymlink(b"f", LINK), None, LINK),
            (HardLink(b"f", b"g", FILE), None, FILE),
        ]
        for operation, sent, expected in table:
            agreement = self.full()
            agreement.pushed(operation, sent, False)
            self.assertEqual(agreement.base, {b"f": Agreed(expected, expected)}, operation)
            self.assertEqual((agreement.pending, agreement.ours), ({}, {}))
            self.assertTrue(agreement.changed)

    def test_pushed_deletion(self) -> None:
        """What was removed is forgotten."""
        agreement = self.full()
        agreement.pushed(Delete(b"f", THEIRS), None, False)
        self.assertEqual((agreement.base, agreement.pending, agreement.ours), ({}, {}, {}))
        agreement.pushed(Delete(b"never there", THEIRS), None, False)

    def test_coarse(self) -> None:
        """A remote that keeps whole seconds has a file's time without its fraction."""
        agreement = Agreement()
        agreement.pushed(WriteFile(b"f", FILE, False), SENT, True)
        agreement.pushed(MakeDirectory(b"d", DIRECTORY), None, True)
        self.assertEqual(agreement.base[b"f"].local, SENT)
        self.assertEqual(agreement.base[b"f"].remote.mtime, 1_700_000_001_000_000_000)
        self.assertEqual(agreement.base[b"d"].remote, DIRECTORY)

    def test_pulled(self) -> None:
        """What was done on the laptop is agreed on: what that has now, and what the remote had."""
        agreement = self.full()
        agreement.pulled(WriteFile(b"f", THEIRS, False), FILE, SENT)
        self.assertEqual((agreement.base, agreement.pending), ({b"f": Agreed(FILE, SENT)}, {}))
        for local, remote in ((None, SENT), (FILE, None), (None, None)):
            agreement = self.full()
            agreement.pulled(Delete(b"f", FILE), local, remote)
            self.assertEqual((agreement.base, agreement.pending), ({}, {}))

    def test_renamed(self) -> None:
        """A directory's new name holds for all in it and nothing else; what the remote has stays."""
        there = Agreed(DIRECTORY, DIRECTORY._replace(inode=77))
        agreement = Agreement({b"d": there, b"d/f": BOTH, b"d/e/g": BOTH, b"dd": BOTH, b"x": BOTH})
        agreement.pending[b"d/f"] = None
        entry = DIRECTORY._replace(mode=stat.S_IFDIR | 0o700)
        agreement.pushed(Rename(b"n", b"d", entry), None, False)
        self.assertEqual(
            agreement.base,
            {
                b"n": Agreed(entry, there.remote),
                b"n/f": BOTH,
                b"n/e/g": BOTH,
                b"dd": BOTH,
                b"x": BOTH,
            },
        )
        self.assertEqual(agreement.pending, {})
        agreement.pushed(Rename(b"x", b"dd", FILE), None, False)
        self.assertEqual(sorted(agreement.base), [b"n", b"n/e/g", b"n/f", b"x"])

    def test_settle(self) -> None:
        """A plan's agreements are taken over, and its conflicts are all there are."""
        agreement = self.full()
        agreement.base[b"g"] = BOTH
        conflict = Conflict(b"h", FILE, SENT)
        agreement.settle(Plan(agreed={b"f": Agreed(SENT, SENT), b"g": None}, conflicts={b"h": conflict}))
        self.assertEqual(agreement.base, {b"f": Agreed(SENT, SENT)})
        self.assertEqual((agreement.pending, agreement.ours), ({}, {}))
        self.assertEqual(agreement.conflicts, {b"h": conflict})

    def test_settle_nothing(self) -> None:
        """A plan with nothing new is no reason to save."""
        agreement = Agreement({b"f": BOTH})
        agreement.settle(Plan())
        self.assertFalse(agreement.changed)

    def test_agree(self) -> None:
        """A conflict ends when both turn out to have the same."""
        agreement = self.full()
        agreement.agree(b"f", BOTH)
        self.assertEqual((agreement.conflicts, agreement.pending), ({}, {}))

    def test_writing(self) -> None:
        """
        A file that is written under its own name may be found half-written; one that takes its name by a
        rename may not.
        """
        operations: list[Operation] = [
            WriteFile(b"in place", FILE, True, THEIRS),
            WriteFile(b"new", FILE, False),
            WriteFile(b"replaced", FILE, False, THEIRS),
            MakeDirectory(b"d", DIRECTORY),
            Delete(b"gone", FILE),
        ]
        agreement = Agreement()
        expected = {b"in place": None, b"new": None, b"replaced": FILE}
        self.assertEqual(agreement.writing(operations), expected)
        self.assertEqual(agreement.ours, expected)

    def test_writing_again(self) -> None:
        """What was broken off twice, with different contents, may be anything."""
        agreement = Agreement()
        for entry, expected in ((FILE, FILE), (FILE, FILE), (SENT, None), (SENT, None)):
            agreement.writing([WriteFile(b"f", entry, False, THEIRS)])
            self.assertEqual(agreement.ours, {b"f": expected})
