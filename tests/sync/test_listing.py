"""What the remote has, asked of a real C{find}."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._listing import (
    Listed,
    ListingReader,
    changes,
    changes_command,
    differences,
    list_command,
)
from remotedocker.sync._tree import Agreed, Base


def shell(command: bytes) -> bytes:
    """@return: what the command prints."""
    return subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, timeout=60).stdout


def listed(output: bytes) -> list[Listed]:
    """@return: what C{output} tells, taken as it comes."""
    reader = ListingReader()
    for piece in (b"a ", b"line", b"\n" + output[:1], output[1:]):
        reader.feed(piece)
    assert reader.line == b"a line"
    return reader.records


class ListingTests(SynchronousTestCase):
    """L{list_command} and L{changes_command}."""

    def setUp(self) -> None:
        """A tree of three names, agreed on as it is."""
        self.root = Path(self.mktemp()).absolute()
        (self.root / "sub").mkdir(parents=True)
        (self.root / "sub" / "file").write_text("content")
        self.base: Base = {}
        for record in listed(shell(list_command(os.fsencode(self.root)))):
            assert record.entry is not None
            self.base[record.path] = Agreed(record.entry, record.entry)

    def changed_since(self, seconds: float) -> dict[bytes, bool]:
        """@return: each path that differs, to whether it is there."""
        since = b"%.9f" % (time.time() + seconds)
        records = listed(shell(changes_command(os.fsencode(self.root), since)))
        return {path: entry is not None for path, entry in changes(records, self.base).delta.items()}

    def test_whole(self) -> None:
        """A whole listing of what was agreed on differs in nothing."""
        self.assertEqual(set(self.base), {b"", b"sub", b"sub/file"})
        records = listed(shell(list_command(os.fsencode(self.root))))
        self.assertEqual(differences(records, self.base).delta, {})

    def test_every_split(self) -> None:
        """The records are the same wherever the bytes are cut; what is none is an error."""
        output = shell(list_command(os.fsencode(self.root)))
        for split in range(len(output)):
            reader = ListingReader()
            for piece in (b"\n", output[:split], output[split:]):
                reader.feed(piece)
            self.assertEqual(reader.records, listed(output))
        self.assertRaises(ValueError, listed, b"find: no such thing\0\0")

    def test_long_unchanged(self) -> None:
        """A root in which nothing changed for long is not taken for one that is gone."""
        self.assertEqual(self.changed_since(+100), {})
        self.assertEqual(self.changed_since(-100), {})

    def test_changed(self) -> None:
        """New, written and removed names are found."""
        (self.root / "new").write_text("x")
        (self.root / "sub" / "file").unlink()
        found = self.changed_since(-100)
        self.assertIs(found[b"new"], True)
        self.assertIs(found[b"sub/file"], False)

    def test_gone(self) -> None:
        """A root that is gone is."""
        os.rename(self.root, f"{self.root}.away")
        self.assertEqual(self.changed_since(+100)[b""], False)
