# -*- test-case-name: tests.sync.test_watch -*-
"""
L{IFileWatcher} that finds changes by looking, when a test says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from zope.interface import implementer

from remotedocker.sync._watch import IFileWatcher

__all__ = ["FakeWatcher"]

_State = dict[bytes, tuple[int, int, int, int]]


@implementer(IFileWatcher)
class FakeWatcher:
    """
    @ivar directories: what is watched, and what was in it at the last look.
    @ivar blind: tells nothing, as if events had been lost; L{lose} tells that.
    """

    def __init__(self, changed: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._changed = changed
        self._lost = lost
        self.directories: dict[bytes, _State] = {}
        self.blind = False
        self._stopped = False

    def _look(self, directory: bytes) -> _State:
        state: _State = {}
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    state[entry.name] = (
                        status.st_mode,
                        status.st_ino,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                    )
        except FileNotFoundError:
            return {}
        return state

    def add(self, directory: bytes) -> None:
        """See L{IFileWatcher.add}."""
        if not self._stopped:
            self.directories[directory] = self._look(directory)

    def watches(self, directory: bytes) -> bool:
        """See L{IFileWatcher.watches}."""
        return directory in self.directories

    def drain(self) -> None:
        """Tells what changed since the last time."""
        if self._stopped or self.blind:
            return
        for directory, before in list(self.directories.items()):
            after = self._look(directory)
            self.directories[directory] = after
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    self._changed(directory + b"/" + name)

    def lose(self, reason: str = "a test says so") -> None:
        """Tells that changes were missed."""
        self._lost(reason)

    def stop(self) -> None:
        """See L{IFileWatcher.stop}."""
        self._stopped = True
        self.directories.clear()
