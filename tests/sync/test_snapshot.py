"""Agreements on disk: written whole, and never believed when damaged."""

from __future__ import annotations

import hashlib
import os
import stat
from glob import glob
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync import _snapshot
from remotedocker.sync._snapshot import Snapshot, SnapshotFile
from remotedocker.sync._tree import Agreed, Around, Entry, Place

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

    def save(self, base: dict[bytes, Agreed], ours: dict[bytes, Entry | None]) -> None:
        """Saves at a new checkpoint."""
        self.file.save(self.file.checkpoint(), base, ours)


class SnapshotTests(SnapshotTestCase):
    """L{SnapshotFile}."""

    def test_nothing(self) -> None:
        """What was never saved is not there."""
        self.assertIsNone(self.file.load())
        self.assertEqual(os.listdir(self.directory), [])

    def test_saved(self) -> None:
        """What was saved is there, in another process too; nobody else may read it."""
        self.save(BASE, {b"x": None, b"y\xff": FILE})
        again = SnapshotFile(self.directory, b"/home/me/src").load()
        assert again is not None
        self.assertEqual((again.base, again.ours), (BASE, {b"x": None, b"y\xff": FILE}))
        self.assertEqual(self.file.path.stat().st_mode & 0o777, 0o600)

    def test_around(self) -> None:
        """What else is remembered is there too, from the snapshot and from the journal; removal is seen."""
        for around in (
            Around({b"": Place(1, 2), b"d": Place(3, 4)}, b"store", {b"k": True}),
            Around({b"": Place(5, 6)}, b"other", {}),
        ):
            self.file.save(self.file.checkpoint(), BASE, {}, around)
            self.assertEqual(self.file.load(), Snapshot(BASE, {}, around))
            later = Around({b"": Place(7, 8)}, b"later", {b"l": False})
            self.file.around(later)
            self.assertEqual(self.file.load(), Snapshot(BASE, {}, later))
        self.assertFalse(self.file.removed())
        for file in glob(self.file.pattern):
            os.unlink(file)
        self.assertTrue(self.file.removed())

    def test_by_root(self) -> None:
        """Each root has its own; a file with the content of another root's does not count."""
        self.save(BASE, {})
        other = SnapshotFile(self.directory, b"/home/me")
        self.assertIsNone(other.load())
        other.path.write_bytes(self.file.path.read_bytes())
        self.assertIsNone(other.load())

    def test_every_truncation(self) -> None:
        """A file that lost its end counts as none."""
        self.save(BASE, {b"x": None})
        whole = self.file.path.read_bytes()
        for length in range(len(whole)):
            self.file.path.write_bytes(whole[:length])
            self.assertIsNone(self.file.load(), length)
        self.file.path.write_bytes(whole + b"x")
        self.assertIsNone(self.file.load())

    def test_every_bit(self) -> None:
        """One wrong bit anywhere makes it count as none."""
        self.save(BASE, {})
        whole = bytearray(self.file.path.read_bytes())
        for position in range(len(whole)):
            whole[position] ^= 1 << position % 8
            self.file.path.write_bytes(whole)
            self.assertIsNone(self.file.load(), position)
            whole[position] ^= 1 << position % 8

    def test_another_layout(self) -> None:
        """What is whole, but cannot be understood, counts as none."""
        magic, digest = _snapshot._MAGIC, hashlib.sha256
        head = _snapshot._record((b"/home/me/src", 1, []))
        bodies = [
            b"",
            b"not what we write, but longer than a head",
            _snapshot._record(5),
            _snapshot._record((b"/home/me/src", 1)),
            _snapshot._record((b"/home/me/src", "one", [])),
            _snapshot._record((b"/home/me/src", 1, 5)),
            head + _snapshot._record([(b"a", (1,) * 20, None)]),
            head + _snapshot._record([(b"a",)]),
            head + _snapshot._record(5),
        ]
        for body in bodies:
            self.file.path.write_bytes(magic + digest(body).digest() + body)
            self.assertIsNone(self.file.load(), body)

    def test_failed_save(self) -> None:
        """A save that fails leaves what was there."""
        self.save(BASE, {b"x": None})

        def full(path: Path, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        self.patch(_snapshot, "write_atomically", full)
        self.assertRaises(OSError, self.save, {}, {})
        again = self.file.load()
        assert again is not None
        self.assertEqual((again.base, again.ours), (BASE, {b"x": None}))


class JournalTests(SnapshotTestCase):
    """What was agreed, and what was about to be written, when everything stopped."""

    def again(self) -> Snapshot:
        """@return: what a new process knows of."""
        again = SnapshotFile(self.directory, b"/home/me/src").load()
        assert again is not None
        return again

    def journal(self) -> Path:
        """@return: the only journal."""
        (journal,) = self.directory.glob("*.journal")
        return journal

    def test_noted(self) -> None:
        """What is noted is known after a restart, beside what the snapshot has."""
        self.save(BASE, {b"x": None})
        self.file.writing({b"a": None, b"new\nline": FILE, b"": None})
        self.assertEqual(self.again().ours, {b"x": None, b"a": None, b"new\nline": FILE, b"": None})
        self.assertEqual(self.again().base, BASE)

    def test_agreed(self) -> None:
        """An agreement changes the base, and ends what was being written there."""
        self.save(BASE, {})
        self.file.writing({b"a/b": None, b"new": FILE})
        other = Agreed(FILE._replace(size=7), FILE)
        self.file.agreed({b"a/b": other, b"link": None})
        self.assertEqual(self.again().ours, {b"new": FILE})
        self.assertEqual(self.again().base[b"a/b"], other)
        self.assertNotIn(b"link", self.again().base)

    def test_before_the_first_snapshot(self) -> None:
        """A journal alone is enough."""
        self.file.load()
        self.file.agreed({b"a/b": Agreed(FILE, FILE)})
        self.assertEqual(self.again().base, {b"a/b": Agreed(FILE, FILE)})

    def test_added_while_saved(self) -> None:
        """What is noted while a snapshot is written is not lost, whether it is written in the end or not."""
        self.save(BASE, {})
        self.file.agreed({b"one": Agreed(FILE, FILE)})
        generation = self.file.checkpoint()
        self.file.agreed({b"two": Agreed(FILE, FILE)})
        self.assertLessEqual({b"one", b"two"}, set(self.again().base))
        self.file.save(generation, {**BASE, b"one": Agreed(FILE, FILE)}, {})
        self.assertLessEqual({b"one", b"two"}, set(self.again().base))
        self.assertEqual(len(list(self.directory.iterdir())), 2)

    def test_processes(self) -> None:
        """Several processes one after the other, none of which came to save, each add to what is known."""
        for number in range(4):
            file = SnapshotFile(self.directory, b"/home/me/src")
            file.load()
            file.agreed({b"%d" % number: Agreed(FILE, FILE)})
        self.assertEqual(set(self.again().base), {b"0", b"1", b"2", b"3"})

    def test_after_a_lost_end(self) -> None:
        """What later processes added counts, even if a journal before it lost its end."""
        self.save(BASE, {})
        self.file.agreed({b"one": Agreed(FILE, FILE)})
        self.journal().write_bytes(self.journal().read_bytes()[:-1])
        file = SnapshotFile(self.directory, b"/home/me/src")
        file.load()
        file.agreed({b"two": Agreed(FILE, FILE)})
        self.assertEqual(set(self.again().base), {*BASE, b"two"})

    def test_many(self) -> None:
        """More than fits into one record is kept as well."""
        many = {b"%d" % number: Agreed(FILE, FILE) for number in range(12_000)}
        self.save(many, dict.fromkeys(many))
        self.assertEqual((self.again().base, self.again().ours), (many, dict.fromkeys(many)))
        self.file.agreed(dict.fromkeys(many))
        self.file.writing(dict.fromkeys(many, FILE))
        self.assertEqual((self.again().base, self.again().ours), ({}, dict.fromkeys(many, FILE)))

    def test_lost_its_end(self) -> None:
        """A journal that lost its end, or has a wrong bit, is believed as far as it is whole."""
        self.save(BASE, {})
        self.file.agreed({b"one": Agreed(FILE, FILE)})
        first = self.journal().stat().st_size
        self.file.agreed({b"two": Agreed(FILE, FILE)})
        whole = self.journal().read_bytes()
        for length in range(first, len(whole)):
            self.journal().write_bytes(whole[:length])
            self.assertEqual(set(self.again().base), {*BASE, b"one"}, length)
        for position in range(first, len(whole)):
            damaged = bytearray(whole)
            damaged[position] ^= 4
            self.journal().write_bytes(damaged)
            self.assertEqual(set(self.again().base), {*BASE, b"one"}, position)

    def test_of_a_damaged_snapshot(self) -> None:
        """A journal that continues a snapshot that is damaged counts for nothing."""
        self.save(BASE, {})
        self.file.agreed({b"one": Agreed(FILE, FILE)})
        self.file.path.write_bytes(b"x")
        file = SnapshotFile(self.directory, b"/home/me/src")
        self.assertIsNone(file.load())
        file.agreed({b"two": Agreed(FILE, FILE)})
        self.assertIsNone(SnapshotFile(self.directory, b"/home/me/src").load())

    def test_no_space(self) -> None:
        """A journal that cannot be written stops nothing."""
        self.save(BASE, {})
        os.rename(self.directory, f"{self.directory}.away")
        self.file.writing({b"a": None})
        os.rename(f"{self.directory}.away", self.directory)
        self.assertEqual(self.again().ours, {})
