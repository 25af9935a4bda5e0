# -*- test-case-name: tests.test_interfaces -*-
"""
The values that L{remotedocker.interfaces} speaks of, besides those of C{docker}.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["CommandResult", "FileAttributes", "FileKind", "RemoteEntry"]


class FileKind:
    """The type bits of C{st_mode} that matter here (POSIX C{S_IFMT})."""

    DIRECTORY = 0o040000
    FILE = 0o100000
    SYMLINK = 0o120000


@frozen
class FileAttributes:
    """
    What is known, or to be set, about a file; None: not known, or to be left alone.

    @ivar mode: C{st_mode} with its type bits when read; permission bits when set.
    @ivar size: bytes.
    @ivar uid: owner, by number.
    @ivar gid: group, by number.
    @ivar mtime: whole seconds since the epoch (SFTP version 3 has no finer time).
    """

    mode: int | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime: int | None = None


@frozen
class RemoteEntry:
    """One name in a remote directory, and what C{lstat} says of it."""

    name: bytes
    attributes: FileAttributes


@frozen
class CommandResult:
    """
    How a remote command ended.

    @ivar status: exit status, or None when a signal ended it.
    @ivar signal: the signal's name without C{SIG}, or C{""}.
    @ivar stdout: all of it.
    @ivar stderr: the last 64 KiB of it.
    """

    status: int | None
    signal: str
    stdout: bytes
    stderr: bytes
