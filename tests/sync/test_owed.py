"""
Tests for L{remotedocker.sync._owed}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._owed import Owed


class OwedTests(SynchronousTestCase):
    """L{Owed}."""

    def setUp(self) -> None:
        """A directory; nothing is owed."""
        self.path = Path(self.mktemp()) / "owed.json"
        self.path.parent.mkdir()
        self.writes: list[Callable[[], None]] = []
        self.owed = self.made()

    def made(self) -> Owed:
        """@return: what a new agent knows; the disk is slow, see L{write}."""

        def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            later: Deferred[Any] = Deferred()
            later.addCallback(lambda _: execute(function, *arguments))
            self.writes.append(lambda: later.callback(None))
            return later

        owed = Owed(self.path, run)
        owed.load()
        return owed

    def write(self) -> None:
        """The disk has time."""
        while self.writes:
            self.writes.pop(0)()

    def test_kept(self) -> None:
        """What is owed is known to the next agent, until it is settled."""
        self.owed.add("c1", ["/b", "/\udcff"])
        self.owed.add("c1", ["/a"])
        self.owed.add("service /a", ["/a"])
        saved = self.owed.saved()
        self.assertNoResult(saved)
        self.write()
        self.successResultOf(saved)
        wanted = {"c1": ("/a", "/b", "/\udcff"), "service /a": ("/a",)}
        self.assertEqual(self.made().sources, wanted)
        self.owed.settle("c1")
        self.write()
        self.assertEqual(self.made().sources, {"service /a": ("/a",)})

    def test_nothing_new(self) -> None:
        """What is known, or is nothing, is not written again; changes during a write are written once."""
        self.owed.add("c1", [])
        self.owed.settle("c1")
        self.assertEqual(self.writes, [])
        self.successResultOf(self.owed.saved())
        for name in ("c1", "c2", "c3"):
            self.owed.add(name, ["/a"])
            self.owed.add(name, ["/a"])
        self.assertEqual(len(self.writes), 1)
        self.writes.pop()()
        self.assertEqual(len(self.writes), 1)
        self.write()
        self.assertEqual(list(self.made().sources), ["c1", "c2", "c3"])

    def test_damaged(self) -> None:
        """A file that cannot be read is no reason to stop, nor is a directory that cannot be written."""
        for content in ("", "[]", '{"owed": []}', '{"owed": {"c": 1}}'):
            self.path.write_text(content)
            self.assertEqual(self.made().sources, {}, content)
        self.owed.add("c1", ["/a"])
        self.write()
        self.assertEqual(json.loads(self.path.read_text())["owed"], {"c1": ["/a"]})
        self.path.unlink()
        self.path.parent.rmdir()
        self.owed.add("c2", ["/a"])
        self.write()
        self.successResultOf(self.owed.saved())
