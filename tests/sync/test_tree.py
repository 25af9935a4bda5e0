"""The values of a tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._tree import (
    Entry,
    Moved,
    Place,
    ancestors,
    entry_of,
    inside,
    is_placeholder,
    moved,
    parent_of,
    same,
    same_content,
    shown,
    under,
)

FILE = Entry(stat.S_IFREG | 0o644, 3, 1_500_000_000)
DIRECTORY = Entry(stat.S_IFDIR | 0o755, 0, 7)
LINK = Entry(stat.S_IFLNK | 0o777, 0, 7, b"target")


class ComparisonTests(SynchronousTestCase):
    """L{same_content} and L{same}."""

    def test_table(self) -> None:
        """Of two entries: whether their content is the same, and whether all that counts is."""
        table: list[tuple[Entry | None, Entry | None, bool, bool]] = [
            (None, None, True, True),
            (FILE, None, False, False),
            (None, FILE, False, False),
            (FILE, FILE, True, True),
            (FILE, FILE._replace(inode=9, links=2, owner=1, group=1), True, True),
            (FILE, FILE._replace(size=4), False, False),
            (FILE, FILE._replace(mtime=1_500_000_001), False, False),
            (FILE, FILE._replace(mode=stat.S_IFREG | 0o755), True, False),
            (FILE, FILE._replace(mode=stat.S_IFREG | 0o4644), True, False),
            (FILE, DIRECTORY, False, False),
            (FILE, LINK, False, False),
            (DIRECTORY, DIRECTORY._replace(mtime=99), True, True),
            (DIRECTORY, DIRECTORY._replace(mode=stat.S_IFDIR | 0o700), True, False),
            (LINK, LINK._replace(mtime=99, mode=stat.S_IFLNK | 0o755), True, True),
            (LINK, LINK._replace(target=b"other"), False, False),
        ]
        for number, (one, other, content, whole) in enumerate(table):
            self.assertEqual(same_content(one, other), content, number)
            self.assertEqual(same_content(other, one), content, number)
            self.assertEqual(same(one, other), whole, number)

    def test_coarse(self) -> None:
        """Where one side keeps whole seconds, the fraction does not count, and nothing else is forgotten."""
        second = FILE._replace(mtime=1_000_000_000)
        self.assertFalse(same(FILE, second))
        self.assertTrue(same(FILE, second, coarse=True))
        self.assertFalse(same(FILE, FILE._replace(mtime=2_000_000_000), coarse=True))
        self.assertFalse(same(FILE, second._replace(size=4), coarse=True))


class EntryTests(SynchronousTestCase):
    """L{Entry} and L{entry_of}."""

    def test_kinds(self) -> None:
        """An entry knows what it is."""
        for entry, kinds in ((FILE, (True, False, False)), (DIRECTORY, (False, True, False))):
            self.assertEqual((entry.is_file, entry.is_directory, entry.is_symlink), kinds)
        self.assertTrue(LINK.is_symlink)
        self.assertEqual(FILE._replace(mode=stat.S_IFREG | 0o4751).permissions, 0o4751)

    def test_real(self) -> None:
        """It says what C{lstat} says; only a file has a size."""
        root = Path(self.mktemp())
        root.mkdir()
        (root / "file").write_text("abc")
        (root / "link").symlink_to("file")
        file, directory = entry_of(os.lstat(root / "file")), entry_of(os.lstat(root))
        link = entry_of(os.lstat(root / "link"), b"file")
        self.assertEqual((file.size, directory.size, link.size), (3, 0, 0))
        self.assertEqual(file.inode, os.lstat(root / "file").st_ino)
        self.assertEqual((file.owner, file.group), (os.getuid(), os.lstat(root).st_gid))
        self.assertEqual(link.target, b"file")


class PathTests(SynchronousTestCase):
    """Paths inside a tree."""

    def test_parents(self) -> None:
        """The way to the root."""
        table: list[tuple[bytes, list[bytes]]] = [
            (b"", []),
            (b"a", [b""]),
            (b"a/b", [b"a", b""]),
            (b"a/b/c", [b"a/b", b"a", b""]),
        ]
        for path, expected in table:
            self.assertEqual([*ancestors(path)], expected, path)
            self.assertEqual(parent_of(path), expected[0] if expected else b"", path)

    def test_under(self) -> None:
        """A path is under itself and its directories, not under what its name only begins with."""
        table = [
            (b"a/b", b"", True),
            (b"", b"", True),
            (b"a", b"a", True),
            (b"a/b", b"a", True),
            (b"ab", b"a", False),
            (b"a", b"a/b", False),
            (b"", b"a", False),
        ]
        for path, prefix, expected in table:
            self.assertEqual(under(path, prefix), expected, (path, prefix))

    def test_inside(self) -> None:
        """A directory is inside of itself, and not of one whose name is the beginning of its own."""
        self.assertTrue(inside(b"a", {b"a"}) and inside(b"a/b/c", {b"a"}))
        self.assertFalse(inside(b"ab", {b"a"}))


class ShownTests(SynchronousTestCase):
    """L{shown}."""

    def test_shown(self) -> None:
        """Any name can be shown, and none commands the terminal on which it is."""
        table = {"ü/x".encode(): "ü/x", b"/a\xff": "/a\\xff", b"\x1b]0;title\x07\xc2\x9b1m": "?]0;title??1m"}
        for path, expected in table.items():
            self.assertEqual(shown(path), expected)


class PlaceTests(SynchronousTestCase):
    """L{moved} and L{is_placeholder}."""

    def test_moved(self) -> None:
        """The number of a file system alone may change; with another directory it is another one."""
        here = Place(1, 2)
        table = [
            (None, here, Moved.NO),
            (here, here, Moved.NO),
            (here, Place(1, 3), Moved.NO),
            (here, Place(9, 2), Moved.PERHAPS),
            (here, Place(9, 3), Moved.SURELY),
            (here, None, Moved.SURELY),
        ]
        for before, now, expected in table:
            self.assertIs(moved(before, now), expected, (before, now))

    def test_placeholder(self) -> None:
        """It is empty, and as old as can be."""
        empty = FILE._replace(size=0)
        self.assertTrue(is_placeholder(empty._replace(mtime=0)))
        for entry in (None, empty, FILE._replace(mtime=0), DIRECTORY._replace(mtime=0)):
            self.assertFalse(is_placeholder(entry))
