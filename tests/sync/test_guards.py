"""Tests in a shell's words, done by the real shells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._guards import same_files, unchanged
from remotedocker.sync._tree import Entry, entry_of


class GuardsTests(SynchronousTestCase):
    """L{unchanged} and L{same_files}."""

    def setUp(self) -> None:
        """A file, a link and a free name."""
        self.root = Path(self.mktemp())
        self.root.mkdir()
        (self.root / "f").write_bytes(b"content")
        os.utime(self.root / "f", ns=(10**18, 10**18 + 5))
        (self.root / "l").symlink_to("f")
        self.file = entry_of(os.lstat(self.root / "f"))
        self.link = entry_of(os.lstat(self.root / "l"), b"f")

    def holds(self, *commands: bytes) -> bool:
        """@return: whether all of C{commands} succeed; none may say anything."""
        script = b" && ".join(commands)
        done = subprocess.run(["sh", "-c", script], cwd=self.root, capture_output=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), (b"", b""))
        return done.returncode == 0

    def test_as_expected(self) -> None:
        """All holds for what is as it was; where nothing is expected, nothing may be there."""
        expected: list[tuple[bytes, Entry | None]] = [
            (b"./f", self.file),
            (b"./l", self.link),
            (b"./free", None),
        ]
        for coarse in (False, True):
            self.assertTrue(self.holds(*unchanged(expected, coarse)))
        for name in (b"./f", b"./l"):
            self.assertFalse(self.holds(*unchanged([(name, None)], False)))

    def test_other(self) -> None:
        """Another size, another time, another type, and nothing at all are found."""
        for entry in (self.file._replace(size=6), self.file._replace(mtime=10**18)):
            self.assertFalse(self.holds(same_files([(b"./f", entry)], False)))
        self.assertFalse(self.holds(*unchanged([(b"./f", self.link)], False)))
        self.assertFalse(self.holds(*unchanged([(b"./l", self.file)], False)))
        self.assertFalse(self.holds(same_files([(b"./f", self.file), (b"./free", self.file)], False)))

    def test_coarse(self) -> None:
        """Where times are known in whole seconds, a fraction makes no difference."""
        self.assertTrue(self.holds(same_files([(b"./f", self.file._replace(mtime=10**18))], True)))
        self.assertFalse(self.holds(same_files([(b"./f", self.file._replace(mtime=10**18 - 1))], True)))
