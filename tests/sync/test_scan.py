"""A look at real directories."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._ignore import IgnoreRules
from remotedocker.sync._names import Names
from remotedocker.sync._scan import ScanLimit, Scanner
from remotedocker.sync._tree import Agreed, Base, Place, Scan


class ScanTestCase(SynchronousTestCase):
    """A small tree, and what was agreed about it."""

    def setUp(self) -> None:
        """Makes the tree."""
        self.root = Path(self.mktemp()).absolute()
        (self.root / "d" / "e").mkdir(parents=True)
        (self.root / "a").write_text("one")
        (self.root / "d" / "b").write_text("two")
        (self.root / "d" / "e" / "c").write_text("three")
        (self.root / "link").symlink_to("d/b")
        self.base = self.agree()

    def scanner(self, *patterns: str, **options: Any) -> Scanner:
        """@return: looks at the tree."""
        return Scanner(bytes(self.root), IgnoreRules(patterns, False, lambda path: None), **options)

    def agree(self) -> Base:
        """@return: an agreement about all that is there now."""
        delta = self.scanner().whole({}).delta
        return {path: Agreed(entry, entry) for path, entry in delta.items() if entry is not None}

    def both(self, *paths: bytes, patterns: tuple[str, ...] = (), **options: Any) -> dict[bytes, bool]:
        """
        Scans all of it, and then only C{paths}, which must find the same.

        @return: each path that differs, to whether something is there.
        """
        whole = self.scanner(*patterns, **options).whole(self.base)
        parts = self.scanner(*patterns, **options).parts(paths, self.base)
        self.assertEqual(parts.delta, whole.delta)
        return {path: entry is not None for path, entry in whole.delta.items()}

    def refusing(self, name: str, refused: bytes, number: int = errno.EACCES) -> None:
        """Has a function of C{os} fail for one path of the tree."""
        original: Callable[..., Any] = getattr(os, name)

        def call(path: bytes, *arguments: Any, **options: Any) -> Any:
            if path == bytes(self.root) + b"/" + refused or not refused and path == bytes(self.root):
                raise OSError(number, os.strerror(number))
            return original(path, *arguments, **options)

        self.patch(os, name, call)


class DifferenceTests(ScanTestCase):
    """What is new, changed and gone."""

    def test_everything_is_new(self) -> None:
        """Without an agreement all names are found, with their facts."""
        scan = self.scanner().whole({})
        self.assertEqual(set(scan.delta), {b"", b"a", b"d", b"d/b", b"d/e", b"d/e/c", b"link"})
        self.assertEqual((scan.files, scan.size), (7, 11))
        file, link = scan.delta[b"d/b"], scan.delta[b"link"]
        status = (self.root / "d" / "b").stat()
        assert file is not None and link is not None
        self.assertEqual((file.mode, file.size, file.mtime), (status.st_mode, 3, status.st_mtime_ns))
        self.assertEqual((link.is_symlink, link.target), (True, b"d/b"))

    def test_nothing_changed(self) -> None:
        """A tree that is as it was differs in nothing."""
        self.assertEqual(self.both(b"", b"a", b"d", b"d/e/c", b"link", b"nothing", b"d/nothing"), {})

    def test_table(self) -> None:
        """Each kind of change is found, by a whole scan and by one of only the paths that a watcher names."""
        move = os.rename

        def replace(name: str) -> None:
            (self.root / "new").write_text("content")
            (self.root / "new").replace(self.root / name)

        def empty_directory_instead() -> None:
            move(self.root / "d", f"{self.root}.d")
            (self.root / "d").mkdir()

        def another_directory_instead() -> None:
            move(self.root / "d", f"{self.root}.d")
            (self.root / "d" / "e").mkdir(parents=True)
            (self.root / "d" / "x").write_text("x")

        def file_instead() -> None:
            move(self.root / "d", f"{self.root}.d")
            (self.root / "d").write_text("file")

        def link_instead() -> None:
            move(self.root / "d", f"{self.root}.d")
            (self.root / "d").symlink_to(f"{self.root}.d")

        def new_tree() -> None:
            (self.root / "n" / "m").mkdir(parents=True)
            (self.root / "n" / "m" / "f").write_text("x")

        below = {b"d/b": False, b"d/e": False, b"d/e/c": False}
        table: list[tuple[Callable[[], object], tuple[bytes, ...], dict[bytes, bool]]] = [
            (lambda: (self.root / "a").write_text("more"), (b"a",), {b"a": True}),
            (lambda: replace("a"), (b"a", b"new"), {b"a": True}),
            (lambda: (self.root / "a").chmod(0o700), (b"a",), {b"a": True}),
            (lambda: (self.root / "d").chmod(0o700), (b"d",), {b"d": True}),
            (lambda: (self.root / "a").unlink(), (b"a",), {b"a": False}),
            (
                lambda: move(self.root / "a", self.root / "d" / "z"),
                (b"a", b"d/z"),
                {b"a": False, b"d/z": True},
            ),
            (lambda: move(self.root / "d", f"{self.root}.d"), (b"d",), {b"d": False, **below}),
            (file_instead, (b"d",), {b"d": True, **below}),
            (link_instead, (b"d",), {b"d": True, **below}),
            (link_instead, (b"d", b"d/b", b"d/e/c", b"d/new"), {b"d": True, **below}),
            (empty_directory_instead, (b"d",), {b"d": True, **below}),
            (
                another_directory_instead,
                (b"d",),
                {b"d": True, b"d/b": False, b"d/e": True, b"d/e/c": False, b"d/x": True},
            ),
            (new_tree, (b"n",), {b"n": True, b"n/m": True, b"n/m/f": True}),
            (new_tree, (b"n/m/f", b"n", b"n/m"), {b"n": True, b"n/m": True, b"n/m/f": True}),
        ]
        for number, (change, paths, expected) in enumerate(table):
            with self.subTest(case=number):
                self.setUp()
                change()
                self.assertEqual(self.both(*paths), expected)

    def test_gone_beside_a_new_socket(self) -> None:
        """A deletion is seen even if the number of names is the same, because a socket came."""
        with socket.socket(socket.AF_UNIX) as bound:
            (self.root / "a").unlink()
            directory = os.open(self.root, os.O_RDONLY)
            self.addCleanup(os.close, directory)
            bound.bind(f"/proc/self/fd/{directory}/s")
            scan = self.scanner().whole(self.base)
        self.assertEqual(scan.delta, {b"a": None})
        self.assertEqual([(each.path, each.reason) for each in scan.problems], [(b"s", "it is a socket")])

    def test_no_file(self) -> None:
        """A pipe in the place of a file is passed over; the file is gone."""
        (self.root / "a").unlink()
        os.mkfifo(self.root / "a")
        self.assertEqual(self.both(b"a"), {b"a": False})

    def test_pipe_instead_of_a_directory(self) -> None:
        """What was in a directory is gone with it, whatever took its name."""
        os.rename(self.root / "d", f"{self.root}.d")
        os.mkfifo(self.root / "d")
        self.assertEqual(self.both(b"d"), {b"d": False, b"d/b": False, b"d/e": False, b"d/e/c": False})

    def test_our_temporary_files(self) -> None:
        """Files that we are writing are none of the tree's."""
        (self.root / ".remotedocker-0123").write_text("half")
        self.assertEqual(self.both(b".remotedocker-0123"), {})

    def test_root_gone(self) -> None:
        """A root that is gone is told as such, with all that was in it."""
        os.rename(self.root, f"{self.root}.away")
        self.assertEqual(set(self.scanner().whole(self.base).delta.values()), {None})
        self.assertIn(b"", self.scanner().parts([b""], self.base).delta)

    def test_single_file(self) -> None:
        """The root may be a file."""
        self.root = self.root / "a"
        scan = self.scanner().whole({})
        self.assertEqual(set(scan.delta), {b""})
        self.base = self.agree()
        self.root.write_text("changed")
        self.assertEqual(self.both(b""), {b"": True})

    def test_entering(self) -> None:
        """Each directory is announced before it is read; a part of the tree announces what is new in it."""
        entered: list[bytes] = []
        self.scanner(entering=entered.append).whole({})
        self.assertEqual(sorted(path[len(bytes(self.root)) :] for path in entered), [b"", b"/d", b"/d/e"])
        del entered[:]
        (self.root / "n").mkdir()
        self.scanner(entering=entered.append).parts([b"d", b"n"], self.base)
        self.assertEqual(entered, [bytes(self.root / "n")])


class UnknownTests(ScanTestCase):
    """Where nothing can be seen, nothing is taken for gone."""

    def test_unreadable_directory(self) -> None:
        """Names in a directory that cannot be read are unknown; the directory is a problem."""
        self.refusing("scandir", b"d")
        scan = self.scanner().whole(self.base)
        self.assertEqual(scan.delta, {})
        self.assertEqual(scan.unknown, {b"d"})
        self.assertEqual([each.reason for each in scan.problems], ["Permission denied"])

    def test_unreadable_in_parts(self) -> None:
        """A path that cannot be looked at is not gone, nor what is below it."""
        for path in (b"d", b"d/e", b"d/e/c"):
            self.setUp()
            self.refusing("lstat", path)
            self.assertEqual(self.scanner().parts([path, path + b"/x"], self.base).delta, {}, path)

    def test_parent_cannot_be_looked_at(self) -> None:
        """A name below a directory that cannot be looked at is not taken for gone."""
        for number in (errno.EACCES, errno.EIO, errno.ESTALE):
            self.refusing("lstat", b"d/e", number)
            scan = self.scanner().parts([b"d/e/c"], self.base)
            self.assertEqual(scan.delta, {}, number)

    def test_root_cannot_be_looked_at(self) -> None:
        """A root that cannot be looked at is unknown with everything in it."""
        self.refusing("lstat", b"", errno.EIO)
        scan = self.scanner().whole(self.base)
        self.assertEqual((scan.delta, scan.unknown), ({}, {b""}))

    def test_unreadable_file(self) -> None:
        """A file whose content cannot be read is unknown, and a problem; a known one's mode is seen."""
        (self.root / "new").write_text("x")
        (self.root / "d" / "b").write_text("changed")
        for name in ("a", "new", "d/b"):
            (self.root / name).chmod(0o600)
        asked = []
        self.patch(os, "access", lambda path, mode: asked.append(path))
        scan = self.scanner().whole(self.base)
        self.assertEqual((set(scan.delta), scan.unknown), ({b"a"}, {b"new", b"d/b"}))
        self.assertEqual({each.reason for each in scan.problems}, {"Permission denied"})
        (self.root / "new").chmod(0o644)
        asked.clear()
        self.assertIn(b"new", self.scanner().parts([b"new"], self.base).delta)
        self.assertEqual(asked, [])

    def test_readable_again(self) -> None:
        """What is in a directory whose mode changed is looked at: it may not have been readable before."""
        (self.root / "d" / "unseen").write_text("x")
        self.assertEqual(self.scanner().parts([b"d"], self.base).delta, {})
        (self.root / "d").chmod(0o711)
        self.assertEqual(set(self.scanner().parts([b"d"], self.base).delta), {b"d", b"d/unseen"})

    def test_not_entered(self) -> None:
        """What is in a directory that nobody was told of yet is looked at, though the directory is known."""
        (self.root / "d" / "e" / "unseen").write_text("x")
        entered: list[bytes] = []
        scanner = self.scanner(entering=entered.append, entered=lambda path: path in entered)
        self.assertEqual(set(scanner.parts([b"d"], self.base).delta), {b"d/e/unseen"})
        self.assertEqual(entered, [bytes(self.root / "d"), bytes(self.root / "d" / "e")])
        self.assertEqual(scanner.parts([b"d"], self.base).delta, {})

    def test_unreadable_link(self) -> None:
        """A link that cannot be read is passed over and, if it was there, kept."""
        (self.root / "link").unlink()
        (self.root / "link").symlink_to("elsewhere")
        self.refusing("readlink", b"link")
        scan = self.scanner().whole(self.base)
        self.assertEqual((scan.delta, scan.unknown), ({}, {b"link"}))

    def test_vanishes_while_it_is_read(self) -> None:
        """A directory that vanishes between the look at it and its reading is no problem."""
        self.refusing("scandir", b"d", errno.ENOENT)
        self.assertEqual(self.scanner().whole(self.base).problems, [])

    def test_ignored(self) -> None:
        """What is ignored now is unknown: neither new nor gone."""
        (self.root / "d" / "new").write_text("x")
        (self.root / "a").unlink()
        scan = self.scanner("d/", "a").whole(self.base)
        self.assertEqual(scan.delta, {b"a": None})
        self.assertEqual(scan.unknown, {b"d"})
        self.assertEqual(self.both(b"d", b"a", patterns=("d/",)), {b"a": False})

    def test_excluded(self) -> None:
        """What another tree keeps is not looked at and not gone."""
        (self.root / "d" / "e" / "new").write_text("x")
        (self.root / "d" / "e" / "c").unlink()
        excluded = frozenset([b"d/e"])
        self.assertEqual(self.both(b"d/e", b"d/e/new", b"d/e/c", excluded=excluded), {})


class PlaceTests(ScanTestCase):
    """Where file systems begin."""

    def test_another_is_mounted(self) -> None:
        """A place that is another one is looked at as a whole, though nobody was told of a change."""
        places = self.scanner().whole(self.base).places
        here = places[b""]
        assert here is not None
        self.assertEqual(places, {b"": here})
        (self.root / "a").unlink()
        (self.root / "d" / "b").unlink()
        self.assertEqual(self.scanner(places=places).parts([], self.base).delta, {})
        for path, gone in ((b"", {b"a", b"d/b"}), (b"d", {b"d/b"})):
            before = {b"": here, path: Place(here.device + 1, here.inode)}
            scan = self.scanner(places=before).parts([], self.base)
            self.assertEqual({each for each, entry in scan.delta.items() if entry is None}, gone)
            self.assertEqual(scan.places, {b"": here, path: here if path == b"" else None})


class SpellingTests(ScanTestCase):
    """A file system that finds a name by other spellings, and lists it in a form of its own."""

    def test_spelled_anew(self) -> None:
        """A name that is there in another spelling only is gone."""
        (self.root / "a").rename(self.root / "A")
        lstat = os.lstat
        self.patch(os, "lstat", lambda path: lstat(path[:-1] + b"A" if path.endswith(b"/a") else path))
        self.assertEqual(self.both(b"a", b"A", names=Names(case=True)), {b"a": False, b"A": True})

    def test_decomposed(self) -> None:
        """A name is told composed, whatever the file system makes of it."""
        (self.root / "u\u0308").write_text("x")
        scan = self.scanner(names=Names(form=True)).whole({})
        self.assertIn("\u00fc".encode(), scan.delta)


class LimitTests(ScanTestCase):
    """L{ScanLimit}."""

    def over(self, **options: int) -> ScanLimit:
        """@return: the error of a scan with these limits."""
        return self.assertRaises(ScanLimit, self.scanner(**options).whole, {})

    def test_at_the_limit(self) -> None:
        """A tree that has just what it may have is scanned."""
        scan: Scan = self.scanner(max_files=7, max_size=11).whole({})
        self.assertEqual(scan.files, 7)

    def test_over(self) -> None:
        """One that has more is counted to its end."""
        error = self.over(max_files=6)
        self.assertEqual((error.files, error.size), (7, 11))
        error = self.over(max_size=10)
        self.assertEqual((error.files, error.size), (7, 11))

    def test_far_over(self) -> None:
        """Counting ends at ten times the limit."""
        for number in range(30):
            (self.root / f"f{number}").write_text("x")
        self.assertEqual(self.over(max_files=1).files, 11)
