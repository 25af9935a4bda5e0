# -*- test-case-name: tests.sync.test_tree -*-
"""
A directory tree as values: what a scan found, and what both sides had when they last agreed.

Paths are bytes, relative to the tree's root, without a leading or trailing slash; C{b""} is the root itself.
Values are plain tuples: a tree of 100,000 names must fit in memory several times.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from attrs import Factory, define, frozen

__all__ = [
    "Agreed",
    "Base",
    "Delta",
    "Entry",
    "Problem",
    "Scan",
    "ancestors",
    "entry_of",
    "parent_of",
    "same",
    "same_content",
    "under",
]

TEMPORARY_PREFIX = b".remotedocker-"
"""How the names of our temporary files in a laptop's directory begin; a scan passes over them."""


class Entry(NamedTuple):
    """
    One name in a tree, as C{lstat} saw it.

    @ivar mode: C{st_mode}, with its type bits: a directory, a regular file or a symbolic link.
    @ivar size: bytes of a regular file, otherwise 0.
    @ivar mtime: nanoseconds since the epoch.
    @ivar target: where a symbolic link points.
    @ivar inode: C{st_ino}, or 0 where it is not known.
    @ivar links: C{st_nlink}.
    @ivar owner: C{st_uid}.
    @ivar group: C{st_gid}.
    """

    mode: int
    size: int = 0
    mtime: int = 0
    target: bytes = b""
    inode: int = 0
    links: int = 1
    owner: int = 0
    group: int = 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def permissions(self) -> int:
        """The mode without its type bits."""
        return stat.S_IMODE(self.mode)


class Agreed(NamedTuple):
    """What both sides had at one path when they last agreed about it."""

    local: Entry
    remote: Entry


Base = Mapping[bytes, Agreed]
"""The last agreement, by path."""

Delta = Mapping[bytes, Entry | None]
"""What one side has now where that differs from the last agreement; None: nothing is there any more."""


@frozen
class Problem:
    """
    One name that cannot be mirrored.

    @ivar path: relative to the root.
    @ivar reason: for the user.
    """

    path: bytes
    reason: str


@define
class Scan:
    """
    What a look at one side of a tree found.

    @ivar delta: the differences from the last agreement.
    @ivar problems: names passed over.
    @ivar unknown: paths of which (with everything under them) nothing is known: unreadable, or ignored.
    @ivar leftovers: temporary files of ours (or of another agent), which are no part of the tree.
    @ivar files: how many names the tree has; 0 if only parts of it were looked at.
    @ivar size: the bytes of its regular files.
    """

    delta: dict[bytes, Entry | None] = Factory(dict)
    problems: list[Problem] = Factory(list)
    unknown: set[bytes] = Factory(set)
    leftovers: list[bytes] = Factory(list)
    files: int = 0
    size: int = 0


_MODES: dict[int, int] = {}
"""There are many files, but few modes: one number for each is enough."""


def entry_of(status: os.stat_result, target: bytes = b"") -> Entry:
    """@return: the L{Entry} for what C{lstat} said."""
    mode = status.st_mode
    return Entry(
        _MODES.setdefault(mode, mode),
        status.st_size if stat.S_ISREG(mode) else 0,
        status.st_mtime_ns,
        target,
        status.st_ino,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
    )


def same_content(one: Entry | None, other: Entry | None, *, coarse: bool = False) -> bool:
    """
    @param coarse: times are compared in whole seconds, because one side keeps no finer ones.
    @return: whether both are of one type and, by size and time, have one content. The time of a directory
        does not count.
    """
    if one is None or other is None:
        return one is other
    if stat.S_IFMT(one.mode) != stat.S_IFMT(other.mode):
        return False
    if one.is_file:
        if one.size != other.size:
            return False
        if coarse:
            return one.mtime // 1_000_000_000 == other.mtime // 1_000_000_000
        return one.mtime == other.mtime
    return one.target == other.target


def same(one: Entry | None, other: Entry | None, *, coarse: bool = False) -> bool:
    """@return: whether content and permission bits (which a symbolic link has none of) are the same."""
    if not same_content(one, other, coarse=coarse):
        return False
    if one is None or other is None or one.is_symlink:
        return True
    return one.permissions == other.permissions


def parent_of(path: bytes) -> bytes:
    """@return: the directory of C{path}; C{b""} for a name in the root."""
    return path.rpartition(b"/")[0]


def ancestors(path: bytes) -> Iterator[bytes]:
    """@return: the directories that lead to C{path}, the nearest first, the root last."""
    while path:
        path = parent_of(path)
        yield path


def under(path: bytes, prefix: bytes) -> bool:
    """@return: whether C{path} is C{prefix} or lies below it."""
    return not prefix or path == prefix or path.startswith(prefix + b"/")
