# -*- test-case-name: tests.sync.test_watch -*-
"""
Being told of changes on the laptop.

A watcher names paths that may have changed, never how: what is there is for a scan to find out.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from zope.interface import Interface, implementer

__all__ = ["IFileWatcher", "InotifyWatcher", "WatchdogWatcher", "make_watcher"]


class IFileWatcher(Interface):
    """Watches the directories of one tree."""

    def add(directory: bytes) -> None:
        """
        Watches the names in C{directory} (absolute). May be called from any thread, and again.

        A failure is not raised, but told through C{lost}.
        """

    def watches(directory: bytes) -> bool:
        """Whether changes in C{directory} are told, by this name. May be called from any thread."""

    def drain() -> None:
        """Has every change that was made before this call told before it returns, if the system can."""

    def stop() -> None:
        """Ends all watching."""


Changed = Callable[[bytes], None]
"""Called in the reactor's thread with the absolute path of what may have changed."""

Lost = Callable[[str], None]
"""Called in the reactor's thread when changes were or will be missed, with the reason."""

_ACCESS_MASK = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""C{IN_MODIFY ATTRIB CLOSE_WRITE MOVED_FROM MOVED_TO CREATE DELETE DELETE_SELF MOVE_SELF}, see inotify(7)."""

_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x01000000, 0x02000000, 0x04000000
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_EVENT = struct.Struct("iIII")
_LIMITS = {
    errno.ENOSPC: "the limit of watches is reached; raise it with sysctl fs.inotify.max_user_watches",
    errno.EMFILE: "the limit of watchers is reached; raise it with sysctl fs.inotify.max_user_instances",
}


@implementer(IFileWatcher)
class InotifyWatcher(FileDescriptor):
    """
    Linux's inotify(7), read by the reactor itself: its queue can be emptied at any moment, which makes a
    barrier out of it, and each directory is watched on its own, which leaves ignored ones out.
    """

    _log = Logger()

    def __init__(self, reactor: Any, changed: Changed, lost: Lost) -> None:
        super().__init__(reactor)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._changed = changed
        self._lost = lost
        self._directories: dict[int, bytes] = {}
        self._watches: dict[bytes, int] = {}
        self._overflowed = False
        self._reactor_thread = reactor
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, _LIMITS.get(number, os.strerror(number)))
        self.connected = True
        self.startReading()

    def fileno(self) -> int:
        """The inotify descriptor."""
        return int(self._fd)

    def add(self, directory: bytes) -> None:
        """See L{IFileWatcher.add}."""
        if self._fd < 0:
            return
        mask = _ACCESS_MASK | _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK
        watch = self._libc.inotify_add_watch(self._fd, directory, mask)
        if watch >= 0:
            self._forget(watch)
            self._directories[watch] = directory
            self._watches[directory] = watch
            return
        number = ctypes.get_errno()
        if number in _LIMITS and not self._overflowed:
            self._overflowed = True
            self._reactor_thread.callFromThread(self._lost, _LIMITS[number])

    def watches(self, directory: bytes) -> bool:
        """See L{IFileWatcher.watches}; of one that was moved the old name counts, until it is added again."""
        return directory in self._watches

    def _forget(self, watch: int) -> None:
        """A watch ends, or is to have another name."""
        directory = self._directories.pop(watch, None)
        if directory is not None and self._watches.get(directory) == watch:
            del self._watches[directory]

    def drain(self) -> None:
        """See L{IFileWatcher.drain}: the kernel queues an event before the call that caused it returns."""
        while self._fd >= 0 and self._read():
            pass

    def doRead(self) -> None:
        """The reactor says that there is something to read."""
        self._read()

    def _read(self) -> bool:
        """@return: whether anything was queued."""
        try:
            data = os.read(self._fd, 256 * 1024)
        except OSError:
            return False
        position = 0
        while position + _EVENT.size <= len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            name = data[position : position + length].rstrip(b"\0")
            position += length
            self._event(watch, mask, name)
        return True

    def _event(self, watch: int, mask: int, name: bytes) -> None:
        if mask & _OVERFLOW:
            self._lost("more changed at once than the kernel kept; see sysctl fs.inotify.max_queued_events")
            return
        directory = self._directories.get(watch)
        if mask & _IGNORED:
            self._forget(watch)
            return
        if directory is None:
            self._lost("a directory changed before it was known to be watched")
            return
        self._changed(directory + b"/" + name if name else directory)

    def stop(self) -> None:
        """See L{IFileWatcher.stop}."""
        if self._fd >= 0:
            self.stopReading()
            descriptor, self._fd = self._fd, -1
            os.close(descriptor)
            self._directories.clear()
            self._watches.clear()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""
        self.stop()


class _Handler(FileSystemEventHandler):
    """Passes watchdog's events on to the reactor."""

    def __init__(self, reactor: Any, changed: Changed) -> None:
        self._reactor = reactor
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called in watchdog's thread."""
        if event.event_type in ("opened", "closed_no_write"):
            return
        for path in (event.src_path, event.dest_path):
            if path:
                self._reactor.callFromThread(self._changed, os.fsencode(path))


@implementer(IFileWatcher)
class WatchdogWatcher:
    """
    What the other systems have (FSEvents, kqueue, ReadDirectoryChangesW), through watchdog; recursive.

    @param root: the directory below which everything is watched.
    """

    def __init__(self, reactor: Any, root: bytes, changed: Changed, lost: Lost) -> None:
        self._observer = Observer()
        self._reactor = reactor
        self._root = root
        self._observer.schedule(_Handler(reactor, changed), os.fsdecode(root), recursive=True)
        self._observer.start()

    def add(self, directory: bytes) -> None:
        """All below the root is watched already."""

    def watches(self, directory: bytes) -> bool:
        """See L{IFileWatcher.watches}."""
        return True

    def drain(self) -> None:
        """Nothing can be said of changes that are on their way; the barrier has to look itself."""

    def stop(self) -> None:
        """See L{IFileWatcher.stop}."""
        self._observer.stop()
        deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._observer.join)


def make_watcher(reactor: Any, root: bytes, changed: Changed, lost: Lost) -> Any:
    """
    @return: the best L{IFileWatcher} that this system has.
    @raise OSError: it can watch nothing more.
    """
    if sys.platform.startswith("linux"):
        return InotifyWatcher(reactor, changed, lost)
    return WatchdogWatcher(reactor, root, changed, lost)
