"""The order in which changes come to the laptop."""

from __future__ import annotations

import stat

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._laptop import Pulled
from remotedocker.sync._operations import Delete, MakeDirectory, Operation, SetMode, WriteFile
from remotedocker.sync._stages import new_directories, stages, without
from remotedocker.sync._tree import Entry

DIRECTORY = Entry(stat.S_IFDIR | 0o755)
CLOSED = Entry(stat.S_IFDIR | 0o555)
FILE = Entry(stat.S_IFREG | 0o644)


def directory(path: bytes, entry: Entry = DIRECTORY) -> MakeDirectory:
    """@return: makes it."""
    return MakeDirectory(path, entry)


def file(path: bytes) -> WriteFile:
    """@return: writes it."""
    return WriteFile(path, FILE, False)


class StagesTests(SynchronousTestCase):
    """L{stages}."""

    def test_order(self) -> None:
        """Directories come before files, and removals after them."""
        made, written, removed = directory(b"d"), file(b"d/f"), Delete(b"x", FILE)
        self.assertEqual(stages([removed, made, written]), ([made], [written], [removed]))

    def test_making_room(self) -> None:
        """What stands in the way of something, or of a directory that leads to it, is removed first."""
        for removed, new in ((Delete(b"d", FILE), directory(b"d")), (Delete(b"d/f", FILE), file(b"d"))):
            early, _, late = stages([removed, new])
            self.assertEqual((early[0], late), (removed, []))

    def test_closed_directory(self) -> None:
        """A directory that its owner may not write to is closed when all is in it."""
        early, _, late = stages([directory(b"d", CLOSED)])
        opened = CLOSED._replace(mode=stat.S_IFDIR | 0o755)
        self.assertEqual((early, late), ([directory(b"d", CLOSED)], [SetMode(b"d", CLOSED, opened)]))


class NewDirectoriesTests(SynchronousTestCase):
    """L{new_directories}."""

    def test_outermost(self) -> None:
        """Of directories in directories the outermost count; the root is none."""
        made = [directory(path) for path in (b"", b"a", b"a/b", b"ab", b"c/d")]
        self.assertEqual(sorted(new_directories([*made, file(b"e/f")])), [b"a", b"ab", b"c/d"])

    def test_in_the_place_of_something(self) -> None:
        """One that takes the place of something is not new."""
        self.assertEqual(new_directories([Delete(b"a", FILE), directory(b"a"), directory(b"b")]), [b"b"])


class WithoutTests(SynchronousTestCase):
    """L{without}."""

    def test_nothing_missing(self) -> None:
        """All stays as it is."""
        pulled = Pulled([(directory(b"a"), DIRECTORY, DIRECTORY)])
        self.assertIs(without(pulled, {}), pulled)

    def test_missing(self) -> None:
        """Nothing was done in a directory that is missing; that itself is told with the reason, once."""
        operations: list[Operation] = [directory(b"a"), file(b"a/f"), file(b"ab")]
        pulled = Pulled(
            [(each, FILE, FILE) for each in operations], [(file(b"a/g"), "no room"), (file(b"g"), "no room")]
        )
        left = without(pulled, {b"a": "File exists"})
        self.assertEqual(left.done, [(file(b"ab"), FILE, FILE)])
        self.assertEqual(left.failed, [(directory(b"a"), "File exists"), (file(b"g"), "no room")])
        again = without(Pulled(failed=[(directory(b"a"), "no room")]), {b"a": "No such file or directory"})
        self.assertEqual(again.failed, [(directory(b"a"), "no room")])
