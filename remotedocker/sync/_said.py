# -*- test-case-name: tests.sync.test_said -*-
"""
What the remote's shell and tools say of a script of ours: which steps failed, and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from remotedocker.errors import RemoteDiskFull, RemoteFileError, RemotePermissionDenied

__all__ = ["FAILED", "cause_of", "failures", "kept", "known_cause"]

FAILED = re.compile(rb"\nF(\d+) ")
"""What a script prints behind a step that failed."""

_KEPT = re.compile(rb"\nK([^\0]*)\0")

_CAUSES: Sequence[tuple[str, type[RemoteFileError]]] = (
    ("No space left", RemoteDiskFull),
    ("Disk quota exceeded", RemoteDiskFull),
    ("ermission denied", RemotePermissionDenied),
    ("not permitted", RemotePermissionDenied),
)


def known_cause(said: str) -> type[RemoteFileError] | None:
    """@return: the error for what a command printed, if it is one that we know."""
    return next((kind for words, kind in _CAUSES if words in said), None)


def cause_of(output: bytes) -> str:
    """@return: of what a command printed, the line that says why it failed, or else the last ones."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return next((line for line in lines if known_cause(line)), "\n".join(lines)[-300:])


def failures(output: bytes) -> Iterator[tuple[int, str]]:
    """Yields the number of each step that failed, and what was printed before that."""
    output = _KEPT.sub(b"", output)
    position = 0
    for found in FAILED.finditer(output):
        yield int(found.group(1)), output[position : found.start()].decode("utf-8", "replace").strip()
        position = found.end()


def kept(output: bytes) -> list[bytes]:
    """@return: the absolute paths of the directories that a script left for what is in them."""
    return [path.replace(b"/./", b"/") for path in _KEPT.findall(output)]
