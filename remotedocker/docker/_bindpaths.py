# -*- test-case-name: tests.docker.test_bindpaths -*-
"""
The ways in which a host path is written in a bind: POSIX, and those that Windows clients use.

Pure path logic; the flavour of the laptop is the C{posixpath} or C{ntpath} module, so that either can be
tested on either.
"""

from __future__ import annotations

import ntpath
import posixpath
import re
from types import ModuleType

__all__ = ["bind_parts", "is_absolute_source", "to_laptop_path"]

_DRIVE = re.compile(r"([A-Za-z]):(?=[\\/])")
"""A drive letter with its root; without the slash C{C:x} is a volume name and a path."""

_DRIVE_AS_DIRECTORY = re.compile(r"//?([A-Za-z])(?=/|\Z)")
"""How Git Bash and Docker Toolbox write a drive: C{/c/src} or C{//c/src}."""


def is_absolute_source(source: str) -> bool:
    """Whether a bind's source names a host path; anything else is a volume's name, or an error."""
    return source.startswith("/") or _DRIVE.match(source) is not None


def bind_parts(bind: str) -> tuple[str, ...]:
    """
    A string of C{HostConfig.Binds} split at its colons, that of a drive letter left out: source, target
    and mode.
    """
    drive = _DRIVE.match(bind)
    if drive is None:
        return tuple(bind.split(":"))
    source, *rest = bind[drive.end() :].split(":")
    return (drive.group() + source, *rest)


def to_laptop_path(source: str, flavour: ModuleType = posixpath) -> str | None:
    """
    @param source: an absolute source, as typed.
    @param flavour: C{posixpath} or C{ntpath}, the laptop's.
    @return: the path that is meant on the laptop, without empty and dotted parts, a drive's letter in upper
        case; None where the laptop has no such path (a drive on POSIX, none on Windows).
    """
    if flavour is ntpath:
        drive = _DRIVE.match(source) or _DRIVE_AS_DIRECTORY.match(source)
        if drive is None:
            return None
        return ntpath.normpath(f"{drive.group(1).upper()}:\\{source[drive.end() :]}")
    if not source.startswith("/"):
        return None
    return "/" + posixpath.normpath(source).lstrip("/")
