"""Agreements on disk: written whole, and never believed when damaged."""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync import _snapshot
from remotedocker.sync._snapshot import SnapshotFile
from remotedocker.sync._tree import Agreed, Entry

FILE = Entry(stat.S_IFREG | 0o644, 3, 1_700_000_000_123_456_789, b"", 5, 1, 1000, 1000)
LINK = Entry(stat.S_IFLNK | 0o777, 0, -5, b"\xff target", 6)
BASE = {
    b"": Agreed(Entry(stat.S_IFDIR | 0o755), Entry(stat.S_IFDIR | 0o755, inode=9)),
    b"a\xff\n": Agreed(FILE, FILE),
    b"a/b": Agreed(FILE, FILE._replace(size=1 << 40, mtime=0)),
    b"link": Agreed(LINK, LINK),
}


class SnapshotTestCase(SynchronousTestCase):
    """A file for the snapshots of one tree."""

    def setUp(self) -> None:
        """An empty directory for snapshots."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = SnapshotFile(self.directory, b"/home/me/src")


class SnapshotTests(SnapshotTestCase):
    """L{SnapshotFile}."""

    def test_nothing(self) -> None:
        """What was never saved is not there."""
        self.assertIsNone(self.file.load())
        self.file.writing([b"a"])
        self.assertIsNone(self.file.load())

    def test_saved(self) -> None:
        """What was saved is there, in another process too; nobody else may read it."""
        self.file.save(BASE, {b"x", b"y\xff"})
        again = SnapshotFile(self.directory, b"/home/me/src").load()
        assert again is not None
        self.assertEqual((again.base, again.ours), (BASE, {b"x", b"y\xff"}))
        self.assertEqual(self.file.path.stat().st_mode & 0o777, 0o600)

    def test_by_root(self) -> None:
        """Each root has its own; a file with the content of another root's does not count."""
        self.file.save(BASE, ())
        other = SnapshotFile(self.directory, b"/home/me")
        self.assertIsNone(other.load())
        other.path.write_bytes(self.file.path.read_bytes())
        self.assertIsNone(other.load())

    def test_every_truncation(self) -> None:
        """A file that lost its end counts as none."""
        self.file.save(BASE, {b"x"})
        whole = self.file.path.read_bytes()
        for length in range(len(whole)):
            self.file.path.write_bytes(whole[:length])
            self.assertIsNone(self.file.load(), length)
        self.file.path.write_bytes(whole + b"x")
        self.assertIsNone(self.file.load())

    def test_every_bit(self) -> None:
        """One wrong bit anywhere makes it count as none."""
        self.file.save(BASE, ())
        whole = bytearray(self.file.path.read_bytes())
        for position in range(len(whole)):
            whole[position] ^= 1 << position % 8
            self.file.path.write_bytes(whole)
            self.assertIsNone(self.file.load(), position)
            whole[position] ^= 1 << position % 8

    def test_another_layout(self) -> None:
        """What is whole, but cannot be understood, counts as none."""
        magic, digest = _snapshot._MAGIC, hashlib.sha256
        bodies = [
            b"",
            b"not what marshal writes",
            marshal.dumps(5),
            marshal.dumps((b"/home/me/src", [], [], 1)),
            marshal.dumps((b"/home/me/src", [(b"a", (1,) * 20, None)], [])),
            marshal.dumps((b"/home/me/src", 5, [])),
        ]
        for body in bodies:
            self.file.path.write_bytes(magic + digest(body).digest() + body)
            self.assertIsNone(self.file.load(), body)

    def test_failed_save(self) -> None:
        """A save that fails leaves what was there."""
        self.file.save(BASE, {b"x"})

        def full(path: Path, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        self.patch(_snapshot, "write_atomically", full)
        self.assertRaises(OSError, self.file.save, {}, ())
        again = self.file.load()
        assert again is not None
        self.assertEqual((again.base, again.ours), (BASE, {b"x"}))


class JournalTests(SnapshotTestCase):
    """What was about to be written when everything stopped."""

    def ours(self) -> set[bytes]:
        """@return: what a new process knows of."""
        again = SnapshotFile(self.directory, b"/home/me/src").load()
        assert again is not None
        return again.ours

    def test_noted(self) -> None:
        """Paths that are noted are known after a restart, beside those of the snapshot."""
        self.file.save(BASE, {b"x"})
        self.file.writing([b"a", b"new\nline", b"\xff"])
        self.assertEqual(self.ours(), {b"x", b"a", b"new\nline", b"\xff"})

    def test_root(self) -> None:
        """The root of a single file is a path too."""
        self.file.save(BASE, ())
        self.file.writing([b""])
        self.assertEqual(self.ours(), {b""})
        self.file.writing([b"", b"a"])
        self.assertEqual(self.ours(), {b"", b"a"})

    def test_ends(self) -> None:
        """When nothing is being written any more, nothing is known."""
        self.file.save(BASE, ())
        self.file.writing([b"a"])
        self.file.writing([])
        self.assertEqual(self.ours(), set())
        self.assertEqual(os.listdir(self.directory), [self.file.path.name])

    def test_saved_meanwhile(self) -> None:
        """A save takes over what it was told of."""
        self.file.save(BASE, ())
        self.file.writing([b"a", b"b"])
        self.file.save(BASE, {b"b"})
        self.assertEqual(self.ours(), {b"b"})

    def test_damaged(self) -> None:
        """A journal that lost its end counts as none."""
        self.file.save(BASE, ())
        self.file.writing([b"a", b"b"])
        (journal,) = self.directory.glob("*.writing")
        whole = journal.read_bytes()
        for length in range(len(whole)):
            journal.write_bytes(whole[:length])
            self.assertEqual(self.ours(), set(), length)

    def test_no_space(self) -> None:
        """A journal that cannot be written stops nothing."""
        self.file.save(BASE, ())
        os.rename(self.directory, f"{self.directory}.away")
        self.file.writing([b"a"])
        os.rename(f"{self.directory}.away", self.directory)
        self.assertEqual(self.ours(), set())
