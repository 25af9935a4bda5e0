# -*- test-case-name: tests.sync.test_scan -*-
"""
A look at a tree on the laptop: what differs from the last agreement.

Runs in a thread. One C{lstat} for each name and nothing more: names that are as they were make no garbage.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field

from remotedocker.sync._ignore import IgnoreRules
from remotedocker.sync._names import Names
from remotedocker.sync._tree import (
    TEMPORARY_PREFIX,
    Base,
    Entry,
    Place,
    Problem,
    Scan,
    entry_of,
    inside,
    parent_of,
    same_content,
    under,
)

__all__ = ["Scanner", "ScanLimit"]

_KINDS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


_COUNT_AT_MOST = 10
"""A tree is counted to its end, but not beyond so many times its limit."""


class ScanLimit(Exception):
    """The tree has more than it may have; carries how many names and bytes it has."""

    def __init__(self, files: int, size: int) -> None:
        super().__init__(files, size)
        self.files = files
        self.size = size


def _nothing(_path: bytes) -> None:
    return None


def _always(_path: bytes) -> bool:
    return True


@define
class Scanner:
    """
    Looks at one tree.

    @ivar root: absolute path of a directory or a file.
    @ivar rules: what is left alone.
    @ivar entering: called with each directory's absolute path before it is read (to begin watching it).
    @ivar entered: whether a directory was given to C{entering} before, under this name.
    @ivar excluded: relative paths that belong to other trees.
    @ivar places: the root, and where else a file system began so far; they are looked at in any case.
    @ivar names: which names are one here.
    @ivar max_files: more names than this raise L{ScanLimit}.
    @ivar max_size: likewise, bytes.
    """

    root: bytes
    rules: IgnoreRules
    entering: Callable[[bytes], None] = _nothing
    entered: Callable[[bytes], bool] = _always
    excluded: frozenset[bytes] = frozenset()
    places: Mapping[bytes, Place] = field(factory=dict)
    names: Names = Names()
    max_files: int = 1 << 62
    max_size: int = 1 << 62
    _seen: set[bytes] = field(init=False, factory=set)
    _count: int = field(init=False, default=0)
    _device: int = field(init=False, default=-1)
    _listings: dict[bytes, frozenset[bytes]] = field(init=False, factory=dict)

    def whole(self, base: Base) -> Scan:
        """
        @return: everything that differs from C{base}.
        @raise ScanLimit: see C{max_files} and C{max_size}.
        """
        scan = Scan()
        self._seen = set()
        self._count = 0
        self._look_at_places(scan)
        self._visit(b"", base, scan)
        if self._over(scan, 1):
            raise ScanLimit(self._count, scan.size)
        if len(self._seen) != len(base) or scan.delta or scan.problems:
            for path in base.keys() - self._seen:
                if not self._unknown(path, scan):
                    scan.delta[path] = None
        scan.files = len(self._seen)
        self._seen = set()
        return scan

    def parts(self, paths: Iterable[bytes], base: Base) -> Scan:
        """
        Looks only at some paths: at a directory's own entry, and, where it is new, at all that is in it.

        @return: the differences at C{paths} and, for a directory that is gone or another one, below it.
        """
        scan = Scan()
        self._seen = set()
        self._look_at_places(scan)
        self._listings = {}
        gone: list[bytes] = []
        # Of something else that is mounted somewhere nobody was told.
        other = {path for path, place in self.places.items() if scan.places.get(path) != place}
        for path in sorted({*paths, *other}):
            if path in self._seen or self._outside(path, base, scan):
                continue
            read = self._visit(path, base, scan, shallow=path not in other)
            known = base.get(path)
            if (
                known is not None
                and known.local.is_directory
                and (read or scan.delta.get(path, known) is None)
            ):
                gone.append(path)
        for path, entry in list(scan.delta.items()):
            if (
                entry is not None
                and not entry.is_directory
                and path in base
                and base[path].local.is_directory
            ):
                gone.append(path)
        if gone:
            prefixes = tuple(path + b"/" if path else b"" for path in gone)
            for path in base:
                if path.startswith(prefixes) and path not in self._seen and not self._unknown(path, scan):
                    scan.delta[path] = None
        self._seen = set()
        return scan

    def _look_at_places(self, scan: Scan) -> None:
        """Sees which file system the root is on, and what became of those below it."""
        self._device = -1
        for path in sorted({b"", *self.places}):
            try:
                status = os.lstat(self._absolute(path))
            except OSError:
                scan.places[path] = None
                continue
            if not path:
                self._device = status.st_dev
            begins = not path or status.st_dev != self._device
            scan.places[path] = Place(status.st_dev, status.st_ino) if begins else None

    def _outside(self, path: bytes, base: Base, scan: Scan) -> bool:
        """Whether C{path} is not for us to look at: hidden, another tree's, or below what is no directory."""
        if any(under(path, other) for other in self.excluded):
            return True
        if path.rpartition(b"/")[2].startswith(TEMPORARY_PREFIX):
            return True
        parent = parent_of(path)
        while parent:
            try:
                status = os.lstat(self._absolute(parent))
            except OSError as error:
                if error.errno not in _GONE:
                    self._unreadable(parent, error, scan)
                    return True
                break
            if not stat.S_ISDIR(status.st_mode):
                break
            parent = parent_of(parent)
        else:
            return False
        if path in base:
            scan.delta[path] = None
            self._seen.add(path)
        return True

    def _unknown(self, path: bytes, scan: Scan) -> bool:
        """Whether a name that was not met may still be there."""
        if inside(path, scan.unknown):
            return True
        return any(under(path, other) for other in self.excluded)

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self.root, path) if path else self.root

    def _visit(self, path: bytes, base: Base, scan: Scan, *, shallow: bool = False) -> bool:
        """
        Looks at C{path} and, unless it is C{shallow} and was there before, at what is below it.

        @return: whether it looked at all that is below it.
        """
        try:
            if shallow and not self.names.exact and path and not self._spelled_so(path):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            status = os.lstat(self._absolute(path))
        except OSError as error:
            self._seen.add(path)
            if error.errno in _GONE:
                if path in base:
                    scan.delta[path] = None
            else:
                self._unreadable(path, error, scan)
            return False
        descend = self._note(path, status, base, scan)
        if not descend:
            return False
        known = base.get(path)
        same = known is not None and (known.local.mode, known.local.inode) == (status.st_mode, status.st_ino)
        if shallow and same and self.entered(self._absolute(path)):
            # With another mode it may be readable now, or no longer; one that came from the remote is new.
            return False
        pending = [path]
        while pending:
            self._read_directory(pending.pop(), base, scan, pending)
        return True

    def _spelled_so(self, path: bytes) -> bool:
        """Whether a name is there in this very spelling; C{lstat} would find others too."""
        parent, _, name = path.rpartition(b"/")
        if parent not in self._listings:
            names = os.listdir(self._absolute(parent))
            self._listings[parent] = frozenset(map(self.names.spelled, names))
        return name in self._listings[parent]

    def _read_directory(self, directory: bytes, base: Base, scan: Scan, pending: list[bytes]) -> None:
        absolute = self._absolute(directory)
        prefix = directory + b"/" if directory else b""
        try:
            self.entering(absolute)
            with os.scandir(absolute) as entries:
                for entry in entries:
                    name = entry.name if self.names.exact else self.names.spelled(entry.name)
                    if name.startswith(TEMPORARY_PREFIX):
                        scan.leftovers.append(prefix + name)
                        continue
                    path = prefix + name
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        if error.errno not in _GONE:
                            self._unreadable(path, error, scan)
                        continue
                    if self._note(path, status, base, scan):
                        pending.append(path)
        except OSError as error:
            if error.errno not in _GONE:
                self._unreadable(directory, error, scan)

    def _note(self, path: bytes, status: os.stat_result, base: Base, scan: Scan) -> bool:
        """
        Records one name.

        @return: whether it is a directory to be read.
        """
        mode = status.st_mode
        kind = mode & 0o170000
        if path and (self.excluded and path in self.excluded):
            scan.unknown.add(path)
            return False
        if path and not self.rules.empty and self.rules.ignored(path, kind == stat.S_IFDIR):
            scan.unknown.add(path)
            return False
        if kind == stat.S_IFREG:
            scan.size += status.st_size
        elif kind not in (stat.S_IFDIR, stat.S_IFLNK):
            self._seen.add(path)
            scan.problems.append(Problem(path, f"it is {_KINDS.get(kind, 'no file')}"))
            if path in base:
                scan.delta[path] = None
            return False
        self._count += 1
        if self._over(scan, 1):
            if self._over(scan, _COUNT_AT_MOST):
                raise ScanLimit(self._count, scan.size)
            return kind == stat.S_IFDIR
        self._seen.add(path)
        if kind == stat.S_IFDIR and status.st_dev != self._device:
            scan.places[path] = Place(status.st_dev, status.st_ino)
        known = base.get(path)
        if known is not None:
            before = known.local
            if (
                before.mode == mode
                and (kind == stat.S_IFDIR or before.mtime == status.st_mtime_ns)
                and before.inode == status.st_ino
                and (kind != stat.S_IFREG or before.size == status.st_size)
            ):
                return kind == stat.S_IFDIR
        entry = self._link(path, status, scan) if kind == stat.S_IFLNK else entry_of(status)
        # That others may read it says that we may.
        doubtful = kind == stat.S_IFREG and not mode & stat.S_IROTH
        read = doubtful and not same_content(known and known.local, entry)
        if read and not os.access(self._absolute(path), os.R_OK):
            self._unreadable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)), scan)
            return False
        if entry is not None:
            scan.delta[path] = entry
        return kind == stat.S_IFDIR

    def _over(self, scan: Scan, times: int) -> bool:
        return self._count > self.max_files * times or scan.size > self.max_size * times

    def _link(self, path: bytes, status: os.stat_result, scan: Scan) -> Entry | None:
        """@return: what a symbolic link is; None if it cannot be read."""
        try:
            return entry_of(status, os.readlink(self._absolute(path)))
        except OSError as error:
            self._unreadable(path, error, scan)
            return None

    def _unreadable(self, path: bytes, error: OSError, scan: Scan) -> None:
        scan.unknown.add(path)
        scan.problems.append(Problem(path, error.strerror or str(error)))
