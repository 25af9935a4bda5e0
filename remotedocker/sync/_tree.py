# -*- test-case-name: tests.sync.test_tree -*-
"""
A directory tree as values: what a scan found, and what both sides had when they last agreed.

Paths are bytes, relative to the tree's root, without a leading or trailing slash; C{b""} is the root itself.
Values are plain tuples: a tree of 100,000 names must fit in memory several times.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from attrs import Factory, define, frozen

from remotedocker.errors import harmless

__all__ = [
    "Agreed",
    "Around",
    "Base",
    "Delta",
    "Entry",
    "Moved",
    "Place",
    "Problem",
    "Scan",
    "ancestors",
    "entry_of",
    "inside",
    "is_placeholder",
    "moved",
    "parent_of",
    "same",
    "same_content",
    "shown",
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


class Place(NamedTuple):
    """
    Which directory of which file system is at a path.

    @ivar device: C{st_dev}.
    @ivar inode: C{st_ino}.
    """

    device: int
    inode: int


class Moved(IntEnum):
    """Whether a path leads to another place than before."""

    NO = 0
    """It is on the same file system."""
    PERHAPS = 1
    """It may be: file systems get other numbers when they are mounted again."""
    SURELY = 2
    """Something else is mounted there, or no longer mounted."""


def moved(before: Place | None, now: Place | None) -> Moved:
    """@return: what became of a directory that was at C{before}, where one is C{now}."""
    if before is None or (now is not None and before.device == now.device):
        return Moved.NO
    return Moved.PERHAPS if now is not None and before.inode == now.inode else Moved.SURELY


@define
class Around:
    """
    What else is remembered of a tree.

    @ivar places: the laptop's directories at which a file system begins, and the root, when all was well.
    @ivar store: what names the remote's directory of all mirrors.
    @ivar kept: directories that one side removed, and that stay on the other (True: the laptop) for what is
        ignored in them.
    """

    places: dict[bytes, Place] = Factory(dict)
    store: bytes = b""
    kept: dict[bytes, bool] = Factory(dict)

    def copy(self) -> Around:
        """@return: one that does not change with this one."""
        return Around(dict(self.places), self.store, dict(self.kept))


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
    @ivar places: the directories at which a file system begins, as far as they were looked at, and the root;
        None: what was one of them is none any more.
    @ivar files: how many names the tree has; 0 if only parts of it were looked at.
    @ivar size: the bytes of its regular files.
    """

    delta: dict[bytes, Entry | None] = Factory(dict)
    problems: list[Problem] = Factory(list)
    unknown: set[bytes] = Factory(set)
    leftovers: list[bytes] = Factory(list)
    places: dict[bytes, Place | None] = Factory(dict)
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


def is_placeholder(entry: Entry | None) -> bool:
    """@return: whether it is the empty file, as old as can be, that we make where a single file is to be."""
    return entry is not None and entry.is_file and not entry.size and not entry.mtime


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


def inside(path: bytes, directories: Collection[bytes]) -> bool:
    """@return: whether C{path} is, or lies below, one of C{directories}."""
    return bool(directories) and any(each in directories for each in (path, *ancestors(path)))


def shown(path: bytes) -> str:
    """@return: a path, in which any byte may be, as it can be shown on a terminal."""
    return harmless(path.decode("utf-8", "backslashreplace"))


def under(path: bytes, prefix: bytes) -> bool:
    """@return: whether C{path} is C{prefix} or lies below it."""
    return not prefix or path == prefix or path.startswith(prefix + b"/")
