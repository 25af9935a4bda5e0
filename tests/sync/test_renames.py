"""Recognising renames."""

from __future__ import annotations

import stat
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._operations import Rename
from remotedocker.sync._renames import find_renames
from remotedocker.sync._tree import Agreed, Entry


def file(inode: int, size: int = 1, mtime: int = 5, links: int = 1) -> Entry:
    """@return: a file."""
    return Entry(stat.S_IFREG | 0o644, size, mtime, b"", inode, links)


def directory(inode: int, links: int = 2) -> Entry:
    """@return: a directory."""
    return Entry(stat.S_IFDIR | 0o755, 0, 5, b"", inode, links)


def link(inode: int, target: bytes = b"x") -> Entry:
    """@return: a symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, 0, 5, target, inode)


def agreed(entries: Mapping[bytes, Entry]) -> dict[bytes, Agreed]:
    """@return: an agreement about these entries; the remote's inodes are others."""
    return {path: Agreed(entry, entry._replace(inode=entry.inode + 1000)) for path, entry in entries.items()}


TREE = {
    b"": directory(1),
    b"a": file(2),
    b"d": directory(3),
    b"d/b": file(4),
    b"d/e": directory(5),
    b"d/e/c": file(6),
    b"l": link(7),
    b"empty": directory(8),
}
Delta = dict[bytes, Entry | None]
MOVED: Delta = {
    b"d": None,
    b"d/b": None,
    b"d/e": None,
    b"d/e/c": None,
    b"n": directory(3),
    b"n/b": file(4),
    b"n/e": directory(5),
    b"n/e/c": file(6),
}


class RenameTests(SynchronousTestCase):
    """L{find_renames}."""

    def names(self, local: Delta, remote: Delta | None = None) -> list[tuple[bytes, bytes]]:
        """@return: from what to what was renamed."""
        renames, _, _ = find_renames(agreed(TREE), local, remote or {})
        return [(rename.old, rename.path) for rename in renames]

    def test_nothing(self) -> None:
        """Without a rename, all comes back as it was."""
        base, local = agreed(TREE), {b"a": None, b"new": file(99)}
        renames, left_base, left = find_renames(base, local)
        self.assertEqual((renames, left), ([], local))
        self.assertIs(left_base, base)

    def test_table(self) -> None:
        """What is a rename, and what only looks like one."""
        table: list[tuple[str, Delta, list[tuple[bytes, bytes]]]] = [
            ("a file", {b"a": None, b"z": file(2)}, [(b"a", b"z")]),
            ("into a directory", {b"a": None, b"d/z": file(2)}, [(b"a", b"d/z")]),
            ("over another", {b"a": None, b"d/b": file(2)}, [(b"a", b"d/b")]),
            ("a link", {b"l": None, b"z": link(7)}, [(b"l", b"z")]),
            ("a directory", dict(MOVED), [(b"d", b"n")]),
            ("an empty one", {b"empty": None, b"z": directory(8)}, [(b"empty", b"z")]),
            ("into a new directory", {b"a": None, b"n": directory(9), b"n/a": file(2)}, [(b"a", b"n/a")]),
            ("still there", {b"a": file(2), b"z": file(2)}, []),
            ("a new inode", {b"a": None, b"z": file(9)}, []),
            ("another size", {b"a": None, b"z": file(2, size=2)}, []),
            ("another time", {b"a": None, b"z": file(2, mtime=6)}, []),
            ("another mode", {b"a": None, b"z": file(2)._replace(mode=stat.S_IFREG | 0o600)}, []),
            ("another kind", {b"a": None, b"z": link(2)}, []),
            ("a directory of its number", {b"a": None, b"z": directory(2)}, []),
            ("another target", {b"l": None, b"z": link(7, b"y")}, []),
            (
                "nothing went along",
                {**{path: None for path in MOVED if path in TREE}, b"n": directory(3)},
                [],
            ),
            ("over a directory", {b"a": None, b"d": file(2), b"d/b": None, b"d/e": None, b"d/e/c": None}, []),
            (
                "below itself",
                {
                    **{path: None for path in MOVED if path in TREE},
                    b"d": directory(99),
                    b"d/n": directory(3),
                    **{path.replace(b"d/", b"d/n/"): TREE[path] for path in (b"d/b", b"d/e", b"d/e/c")},
                },
                [(b"d/b", b"d/n/b"), (b"d/e", b"d/n/e")],
            ),
            (
                "two names of one inode",
                {b"a": None, b"y": file(2, links=2), b"z": file(2, links=2)},
                [(b"a", b"y")],
            ),
        ]
        for what, local, expected in table:
            self.assertEqual(self.names(local), expected, what)

    def test_hard_links(self) -> None:
        """A file that had other names is not taken for renamed: which of them moved cannot be told."""
        base = agreed({**TREE, b"a": file(2, links=2), b"a2": file(2, links=2)})
        self.assertEqual(find_renames(base, {b"a": None, b"z": file(2, links=2)})[0], [])

    def test_unknown_inode(self) -> None:
        """Without inode numbers nothing is a rename."""
        base = agreed({b"": directory(0), b"a": file(0)})
        self.assertEqual(find_renames(base, {b"a": None, b"z": file(0)})[0], [])

    def test_root(self) -> None:
        """The root is never renamed."""
        self.assertEqual(self.names({b"": None, b"z": directory(1)}), [])

    def test_directory(self) -> None:
        """One rename stands for a directory and all in it; the agreement moves along."""
        renames, base, left = find_renames(agreed(TREE), MOVED)
        self.assertEqual(renames, [Rename(b"n", b"d", directory(3))])
        self.assertEqual(left, {})
        before = agreed(TREE)
        self.assertEqual(
            {path: base.get(path) for path in (b"n/b", b"n/e/c", b"d", b"d/b")},
            {b"n/b": before[b"d/b"], b"n/e/c": before[b"d/e/c"], b"d": None, b"d/b": None},
        )

    def test_target(self) -> None:
        """A rename knows what it takes the place of."""
        base = agreed(TREE)
        for path, expected in ((b"d/b", base[b"d/b"].remote), (b"d/z", None)):
            ((rename,), _, _) = find_renames(base, {b"a": None, path: file(2)})
            self.assertEqual(rename.expected, expected)

    def test_hard_link_inside(self) -> None:
        """What has several names goes along with its directory."""
        base, local = agreed({**TREE, b"d/b": file(4, links=2)}), {**MOVED, b"n/b": file(4, links=2)}
        renames, _, left = find_renames(base, local)
        self.assertEqual(([rename.path for rename in renames], left), ([b"n"], {}))

    def test_changed_on_the_way(self) -> None:
        """What changed in a directory that was renamed is left to be done, under the new name."""
        local = {**MOVED, b"n/b": file(4, size=9), b"n/new": file(50)}
        del local[b"n/e/c"]
        renames, _, left = find_renames(agreed(TREE), local)
        self.assertEqual([rename.path for rename in renames], [b"n"])
        self.assertEqual(left, {b"n/b": file(4, size=9), b"n/new": file(50), b"n/e/c": None})

    def test_nested(self) -> None:
        """A directory is renamed, and another in it."""
        local = {
            **MOVED,
            b"n/e": None,
            b"n/e/c": None,
            b"n/f": directory(5),
            b"n/f/c": file(6),
        }
        renames, base, left = find_renames(agreed(TREE), local)
        self.assertEqual([(rename.old, rename.path) for rename in renames], [(b"d", b"n"), (b"n/e", b"n/f")])
        self.assertEqual({path: entry for path, entry in left.items() if entry is not None}, {})
        self.assertIn(b"n/f/c", base)

    def test_moved_out_and_directory_moved(self) -> None:
        """A file leaves a directory before that is renamed."""
        local = {**MOVED, b"n/b": None, b"b": file(4)}
        del local[b"n/b"]
        renames, base, left = find_renames(agreed(TREE), local)
        self.assertEqual([(each.old, each.path) for each in renames], [(b"d/b", b"b"), (b"d", b"n")])
        self.assertEqual((left, base[b"b"].local.inode), ({}, 4))

    def test_changed_on_the_remote(self) -> None:
        """Nothing is renamed that changed on the remote, nor onto or into what changed there."""
        simple: Delta = {b"a": None, b"d/z": file(2)}
        table: list[tuple[Delta, Delta]] = [
            (simple, {b"a": file(9, size=7)}),
            (simple, {b"a": None}),
            (simple, {b"d/z": file(9, size=7)}),
            (simple, {b"d": None}),
            (simple, {b"d": file(9)}),
            (MOVED, {b"d/b": file(9, size=7)}),
            (MOVED, {b"d/new": file(9)}),
            (MOVED, {b"n": directory(9)}),
            (MOVED, {b"n/b": file(9)}),
        ]
        for local, remote in table:
            names = self.names(local, remote)
            self.assertEqual([each for each in names if each in ((b"a", b"d/z"), (b"d", b"n"))], [], remote)
            touched = {path for pair in names for path in pair}
            self.assertEqual(touched & remote.keys(), set())
        self.assertEqual(self.names(simple, {b"d": directory(9)}), [(b"a", b"d/z")])
        self.assertEqual(self.names(MOVED, {b"empty": None}), [(b"d", b"n")])

    def test_inputs_are_left_alone(self) -> None:
        """What is given is not changed."""
        base, local = agreed(TREE), dict(MOVED)
        find_renames(base, local)
        self.assertEqual((base, local), (agreed(TREE), MOVED))
