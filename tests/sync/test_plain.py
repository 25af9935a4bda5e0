# -*- test-case-name: tests.sync.test_plain -*-
"""Listings without formats, by busybox's tools and by GNU's, compared with what the full one says."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._listing import Listed, ListingReader, list_command
from remotedocker.sync._plain import parse_plain, plain_command
from tests.sync.local_remote import busybox_tools


class PlainTests(SynchronousTestCase):
    """L{plain_command}."""

    def setUp(self) -> None:
        """A tree with everything that there can be."""
        top = Path(self.mktemp()).absolute()
        self.root = top / "it's a root"
        (self.root / "sub" / "empty").mkdir(parents=True)
        (self.root / "file").write_text("content")
        (self.root / "file").chmod(0o640)
        os.utime(self.root / "file", ns=(1, 1_700_000_000_123_456_789))
        os.utime(self.root / "sub", ns=(1, -1_000_000_000))
        (self.root / "sub" / "link").symlink_to("to\nwhere")
        os.link(self.root / "file", self.root / "sub" / "other")
        os.mkfifo(self.root / "pipe")
        for name in (b"new\nline", b"\xff", b"-x", b" a  b ", b"\n"):
            with open(os.fsencode(self.root) + b"/" + name, "wb"):
                pass
        self.tools = busybox_tools(top)

    def plain(self, path: Path, tools: Path | None) -> list[Listed]:
        """@return: what the command says of C{path}."""
        shell = "/bin/sh" if tools is None else str(tools / "sh")
        environment = {"PATH": os.environ["PATH"] if tools is None else str(tools), "LC_ALL": "C"}
        command = plain_command(os.fsencode(path))
        return parse_plain(
            subprocess.run([shell, "-c", command], env=environment, stdout=subprocess.PIPE).stdout
        )

    def test_same_as_the_full_one(self) -> None:
        """It says of a tree what GNU's C{find} says."""
        output = subprocess.run(
            ["/bin/sh", "-c", list_command(os.fsencode(self.root))], stdout=subprocess.PIPE, check=True
        ).stdout
        reader = ListingReader()
        reader.feed(b"\n" + output)
        expected = sorted(reader.records, key=lambda each: each.path)
        for tools in (None, self.tools):
            found = sorted(self.plain(self.root, tools), key=lambda each: each.path)
            self.assertEqual(found, expected)

    def test_single_file(self) -> None:
        """A root that is a file, a link, a socket, or not there, is listed as that."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(self.root / "socket"))
        for tools in (None, self.tools):
            (record,) = self.plain(self.root / "file", tools)
            assert record.entry is not None
            self.assertEqual((record.path, record.entry.size, record.entry.is_file), (b"", 7, True))
            (record,) = self.plain(self.root / "sub" / "link", tools)
            self.assertTrue(record.entry is not None and record.entry.is_symlink)
            self.assertEqual(self.plain(self.root / "socket", tools), [Listed(b"", None)])
            self.assertEqual(self.plain(self.root / "nothing", tools), [])

    def test_incomplete(self) -> None:
        """When not all could be seen, nothing counts as gone."""
        whole = b"41ed 0 2023-11-14 22:13:20.5 +0000 1 2 .\n\0U"
        (record,) = parse_plain(whole)
        self.assertTrue(record.unreadable)
        (record,) = parse_plain(whole[:-1])
        self.assertFalse(record.unreadable)
