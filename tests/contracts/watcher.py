# -*- test-case-name: tests.sync.test_watch -*-
"""
What every L{IFileWatcher} must do, the fake one and those of the system.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from zope.interface.verify import verifyObject

from remotedocker.sync._watch import IFileWatcher
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["WatcherContract"]


class WatcherContract(_Base):
    """
    Mixin: subclasses define L{make_watcher}.
    """

    def make_watcher(self, root: bytes, changed: Any, lost: Any) -> Any:
        """@return: a watcher of the directory C{root}."""
        raise NotImplementedError

    def settle(self, watcher: Any) -> None:
        """Has the watcher tell what it knows, if it must be told to."""

    async def prepare(self) -> tuple[Any, Path, list[str]]:
        """@return: a watcher, the directory that it watches, and the names that it told of."""
        root = Path(self.mktemp()).absolute()
        (root / "sub").mkdir(parents=True)
        (root / "file").write_text("one")
        told: list[str] = []
        self.reasons: list[str] = []

        def changed(path: bytes) -> None:
            told.append(os.fsdecode(path)[len(str(root)) :])

        watcher = self.make_watcher(os.fsencode(root), changed, self.reasons.append)
        self.addCleanup(watcher.stop)
        for directory in (root, root / "sub"):
            watcher.add(os.fsencode(directory))
        return watcher, root, told

    async def told_of(self, watcher: Any, told: list[str], *names: str) -> None:
        """Waits until all of C{names} were told."""

        def all_told() -> bool:
            self.settle(watcher)
            return set(names) <= set(told)

        await wait_until(reactor, all_told, lambda: f"{names} of {told}")

    async def test_interface(self) -> None:
        """It provides the interface."""
        watcher, _, _ = await self.prepare()
        self.assertTrue(verifyObject(IFileWatcher, watcher))

    async def test_changes(self) -> None:
        """Writing, creating, renaming, removing and changing the mode are told."""
        watcher, root, told = await self.prepare()
        (root / "file").write_text("two")
        (root / "new").write_text("new")
        (root / "sub" / "deep").write_text("deep")
        await self.told_of(watcher, told, "/file", "/new", "/sub/deep")
        told.clear()
        (root / "new").rename(root / "sub" / "moved")
        (root / "file").unlink()
        await self.told_of(watcher, told, "/file", "/new", "/sub/moved")
        told.clear()
        (root / "sub" / "moved").chmod(0o600)
        await self.told_of(watcher, told, "/sub/moved")
        self.assertEqual(self.reasons, [])

    async def test_new_directory(self) -> None:
        """What happens in a directory that was added later is told."""
        watcher, root, told = await self.prepare()
        (root / "later").mkdir()
        watcher.add(os.fsencode(root / "later"))
        await self.told_of(watcher, told, "/later")
        (root / "later" / "file").write_text("x")
        await self.told_of(watcher, told, "/later/file")
        self.assertTrue(watcher.watches(os.fsencode(root / "later")))

    async def test_moved_directory(self) -> None:
        """A directory that was renamed, and added again, is told of by its new name."""
        watcher, root, told = await self.prepare()
        (root / "sub").rename(root / "other")
        watcher.add(os.fsencode(root / "other"))
        await self.told_of(watcher, told, "/sub", "/other")
        self.assertTrue(watcher.watches(os.fsencode(root / "other")))
        told.clear()
        (root / "other" / "file").write_text("x")
        await self.told_of(watcher, told, "/other/file")

    async def test_any_byte(self) -> None:
        """Names are bytes."""
        watcher, root, told = await self.prepare()
        with open(os.fsencode(root) + b"/\xff\n", "wb"):
            pass
        await self.told_of(watcher, told, "/" + os.fsdecode(b"\xff\n"))

    async def test_stop(self) -> None:
        """After the end nothing is told, and stopping again does no harm."""
        watcher, root, told = await self.prepare()
        watcher.stop()
        watcher.stop()
        watcher.add(os.fsencode(root))
        told.clear()
        (root / "file").write_text("two")
        self.settle(watcher)
        self.assertEqual(told, [])
