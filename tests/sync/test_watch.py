# -*- test-case-name: tests.sync.test_watch -*-
"""
Watchers: the contract on the fake and on those of the system, and what only inotify has.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotedocker.sync._watch import InotifyWatcher, WatchdogWatcher, make_watcher
from tests.contracts.watcher import WatcherContract
from tests.fakes.watcher import FakeWatcher
from tests.support.waiting import wait_until


class FakeWatcherTests(WatcherContract, TestCase):
    """The fake one."""

    def make_watcher(self, root: bytes, changed: Any, lost: Any) -> Any:
        """See L{WatcherContract}."""
        return FakeWatcher(changed, lost)

    def settle(self, watcher: Any) -> None:
        """The fake one looks when it is told to."""
        watcher.drain()


class WatchdogWatcherTests(WatcherContract, TestCase):
    """What watchdog has for this system."""

    def make_watcher(self, root: bytes, changed: Any, lost: Any) -> Any:
        """See L{WatcherContract}."""
        return WatchdogWatcher(reactor, root, changed, lost)


class InotifyWatcherTests(WatcherContract, TestCase):
    """Linux's."""

    def make_watcher(self, root: bytes, changed: Any, lost: Any) -> Any:
        """See L{WatcherContract}."""
        return make_watcher(reactor, root, changed, lost)

    async def test_best(self) -> None:
        """On Linux inotify is what is taken."""
        watcher, _, _ = await self.prepare()
        self.assertEqual(isinstance(watcher, InotifyWatcher), sys.platform.startswith("linux"))

    async def test_barrier(self) -> None:
        """What was done before the call is told when C{drain} returns, without the reactor."""
        watcher, root, told = await self.prepare()
        for number in range(100):
            (root / "sub" / f"f{number}").write_text("x")
            watcher.drain()
            self.assertIn(f"/sub/f{number}", told)

    async def test_not_recursive(self) -> None:
        """A directory that was not added is not watched."""
        watcher, root, told = await self.prepare()
        (root / "ignored").mkdir()
        (root / "ignored" / "file").write_text("x")
        watcher.drain()
        self.assertNotIn("/ignored/file", told)
        self.assertIn("/ignored", told)

    async def test_overflow(self) -> None:
        """When the kernel's queue overflows, it is said that changes were missed, and the sysctl is named."""
        watcher, root, _ = await self.prepare()
        most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        descriptors = [os.open(root / name, os.O_CREAT | os.O_WRONLY) for name in ("a", "b")]
        for _ in range(most // 2 + 2):
            # Two names by turns, for the kernel joins equal events that follow each other.
            for descriptor in descriptors:
                os.write(descriptor, b"x")
        for descriptor in descriptors:
            os.close(descriptor)
        watcher.drain()
        self.assertTrue(
            any("fs.inotify.max_queued_events" in reason for reason in self.reasons), self.reasons
        )

    async def test_limit(self) -> None:
        """When no more directories can be watched, it is said once, and the sysctl is named."""
        watcher, root, _ = await self.prepare()

        class Full:
            """A system library whose limit is reached."""

            def inotify_add_watch(self, *arguments: object) -> int:
                """Fails as the kernel does."""
                ctypes.set_errno(errno.ENOSPC)
                return -1

        watcher._libc = Full()
        watcher.add(os.fsencode(root))
        watcher.add(os.fsencode(root / "sub"))
        await wait_until(reactor, lambda: self.reasons)
        self.assertEqual(len(self.reasons), 1)
        self.assertIn("fs.inotify.max_user_watches", self.reasons[0])
