# -*- test-case-name: tests.sync.test_laptop -*-
"""
What the remote replaced or deleted on the laptop is kept for some days.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Trash"]


class Trash:
    """
    Where files go that the remote replaced or deleted: C{<state>/trash/<day>/<path>}, for 7 days.

    @param directory: C{<state>/trash}.
    """

    DAYS = 7

    def __init__(self, directory: Path, now: Callable[[], float] = time.time) -> None:
        self._directory = os.fsencode(directory)
        self._now = now

    def keep(self, descriptor: int, name: bytes, whole: bytes) -> None:
        """
        Keeps a second name (or, on another file system, a copy) of a file.

        @param descriptor: of the directory that has it.
        @param name: its name there.
        @param whole: its absolute path.
        @raise OSError: it could not be kept.
        """
        day = time.strftime("%Y-%m-%d", time.localtime(self._now())).encode("ascii")
        directory = self._inside(day, os.path.dirname(whole))
        kept = directory + b"/" + name
        if os.path.lexists(kept):
            kept += b".%s" % secrets.token_hex(4).encode("ascii")
        try:
            os.link(name, kept, src_dir_fd=descriptor, follow_symlinks=False)
            return
        except OSError:
            pass
        if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            os.symlink(os.readlink(name, dir_fd=descriptor), kept)
            return
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
        with os.fdopen(source, "rb") as original:
            target = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(target, "wb") as copy:
                shutil.copyfileobj(original, copy, 1 << 20)

    def _inside(self, day: bytes, path: bytes) -> bytes:
        """
        Makes the directory for what was in C{path}. What was kept itself is no part of the way to it: a link
        would lead out of the trash.
        """
        directory = self._directory
        for name in (day, *path.split(b"/")):
            if not name:
                continue
            directory += b"/" + name
            while True:
                try:
                    os.mkdir(directory, 0o700)
                    break
                except FileExistsError:
                    if stat.S_ISDIR(os.lstat(directory).st_mode):
                        break
                    directory += b".d"
                except FileNotFoundError:
                    os.makedirs(self._directory, mode=0o700)
        return directory

    def expire(self) -> None:
        """Removes what is older than L{DAYS}."""
        oldest = time.strftime("%Y-%m-%d", time.localtime(self._now() - self.DAYS * 86400)).encode("ascii")
        with suppress(OSError):
            for day in os.listdir(self._directory):
                if day < oldest:
                    shutil.rmtree(self._directory + b"/" + day, ignore_errors=True)
