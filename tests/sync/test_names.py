"""Names that are one on some laptops."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._names import Names, names_of

NFC, NFD = "ü".encode(), "u\u0308".encode()


class KeyTests(SynchronousTestCase):
    """L{Names}."""

    def test_keys(self) -> None:
        """Which paths are one, for each kind of file system."""
        table = [
            (b"a/B", b"A/b", True, False),
            (NFC, NFD, False, True),
            ("ß".encode(), b"SS", True, False),
            (b"a", b"b", False, False),
            (b"\xff", b"\xfe", False, False),
        ]
        for one, other, case, form in table:
            self.assertNotEqual(Names().key(one), Names().key(other))
            for names, same in (
                (Names(case=True), case),
                (Names(form=True), form),
                (Names(True, True), case or form),
            ):
                self.assertEqual(names.key(one) == names.key(other), same, (one, other, names))
        self.assertEqual(Names(True, True).key(b"U\xcc\x88"), Names(True, True).key(NFC))

    def test_spelled(self) -> None:
        """Where the form does not count the remote is told the composed one; other bytes stay."""
        self.assertEqual(Names(form=True).spelled(NFD), NFC)
        self.assertEqual(Names(case=True).spelled(NFD), NFD)
        self.assertEqual(Names(form=True).spelled(b"\xff"), b"\xff")

    def test_collisions(self) -> None:
        """A name that is here keeps its place; of two that are not, neither is taken."""
        names = Names(case=True)
        self.assertEqual(Names().collisions([b"a", b"A"], [b"a"]), {})
        self.assertEqual(names.collisions([b"A", b"b"], [b"a"]), {b"A": b"a"})
        self.assertEqual(names.collisions([b"A", b"a"], []), {b"A": b"a", b"a": b"A"})
        self.assertEqual(names.collisions([b"a"], [b"a"]), {})


class ProbeTests(SynchronousTestCase):
    """L{names_of}."""

    def setUp(self) -> None:
        """A directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def test_this_machine(self) -> None:
        """A file system that tells all names apart, whatever is in it."""
        self.assertEqual(names_of(bytes(self.directory)), Names())
        for name in ("readme", "README", "ü", "u\u0308", "123"):
            (self.directory / name).write_text("x")
            self.assertEqual(names_of(bytes(self.directory)), Names())
        self.assertEqual(names_of(b"/not/there"), Names())

    def test_others(self) -> None:
        """One that takes them for one is found out by its names, or else by those that lead to it."""

        def lstat(path: bytes) -> os.stat_result:
            for name in os.listdir(os.path.dirname(path)):
                if folding.key(name) == folding.key(os.path.basename(path)):
                    return os.stat(os.path.dirname(path) + b"/" + name)
            raise FileNotFoundError

        self.patch(os, "lstat", lstat)
        folding = Names(case=True)
        (self.directory / "123").write_text("x")
        self.assertEqual(names_of(bytes(self.directory)).case, True)
        (self.directory / "readme").write_text("x")
        self.assertEqual(names_of(bytes(self.directory)).case, True)
        folding = Names(form=True)
        (self.directory / "ü").write_text("x")
        self.assertEqual(names_of(bytes(self.directory)), Names(form=True))
