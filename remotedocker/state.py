# -*- test-case-name: tests.test_state -*-
"""
The state directory: who this agent is, and files that are written whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["StateDirectory", "remove_leftovers", "write_atomically"]

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}")
"""The names under which files are written; who writes one has it locked."""


def write_atomically(path: Path, content: bytes) -> None:
    """
    Replaces the file at C{path} by C{content} (mode 0600), so that a crash at any moment leaves the old
    content or the new one.

    @raise OSError: nothing was changed.
    """
    temporary, descriptor = _open_temporary(path)
    with os.fdopen(descriptor, "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _open_temporary(path: Path) -> tuple[Path, int]:
    """@return: a new file beside C{path}, and its descriptor, which has it locked."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Where the file system knows no locks nothing is taken for a leftover.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        # Before it was locked, another process took it for a leftover.
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """
    Removes what L{write_atomically} has left in C{directory} where its process was killed. What a living
    process writes stays, and so does what cannot be removed.
    """
    for path in directory.iterdir():
        if not _TEMPORARY.fullmatch(path.name) or path.is_symlink() or not path.is_file():
            continue
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


class StateDirectory:
    """
    The directory given by C{--state-dir}, mode 0700.

    @ivar path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> str:
        """
        Makes the directory if it is missing.

        @return: the agent's id, 16 hexadecimal digits, drawn at the first call and kept.
        @raise OSError: it cannot be made or written.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        remove_leftovers(self.path)
        identity = self.path / "agent-id"
        try:
            known = identity.read_text("ascii").strip()
        except FileNotFoundError:
            known = ""
        if known:
            return known
        drawn = secrets.token_hex(8)
        write_atomically(identity, drawn.encode("ascii") + b"\n")
        return drawn

    def subdirectory(self, name: str) -> Path:
        """@return: a directory of that name inside, made with mode 0700 if missing, without leftovers."""
        path = self.path / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(path)
        return path
