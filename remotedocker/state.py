# -*- test-case-name: tests.test_state -*-
"""
The state directory: who this agent is, and files that are written whole or not at all.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["StateDirectory", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """
    Replaces the file at C{path} by C{content} (mode 0600), so that a crash at any moment leaves the old
    content or the new one.

    @raise OSError: nothing was changed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(temporary)
            raise
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


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
        """@return: a directory of that name inside, made with mode 0700 if missing."""
        path = self.path / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
