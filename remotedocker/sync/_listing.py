# -*- test-case-name: tests.sync.test_listing -*-
"""
What the remote has, asked of GNU C{find}: the commands, and the meaning of their output.

A record is: flags, type, mode, size, time, inode, link count, name, and where a link points. The last two end
with NUL, so that a name may hold any byte. The flags are C{U}, a directory that may not be read, and C{+}, a
directory that changed and all of whose names follow.
"""

from __future__ import annotations

import stat
from collections.abc import Container, Iterable
from typing import NamedTuple

from attrs import Factory, define, field

from remotedocker.sync._shellwords import quote
from remotedocker.sync._tree import Base, Entry, inside, parent_of, same

__all__ = [
    "Listed",
    "ListingReader",
    "RemoteScan",
    "changes",
    "changes_command",
    "differences",
    "list_command",
]

_FORMAT = rb" %y %m %s %T@ %i %n %p\0%l\0"
_UNREADABLE = rb"-type d \( ! -readable -o ! -executable \) -prune"
_TYPES = {b"d": stat.S_IFDIR, b"f": stat.S_IFREG, b"l": stat.S_IFLNK}


class Listed(NamedTuple):
    """
    One record; a plain tuple, for there are many.

    @ivar entry: None for what can be no part of a mirror (a socket, a device).
    @ivar complete: all names in this directory were listed.
    @ivar unreadable: nothing is known of what is in this directory.
    """

    path: bytes
    entry: Entry | None
    complete: bool = False
    unreadable: bool = False


@define
class RemoteScan:
    """
    What a listing says.

    @ivar delta: how the remote differs from the last agreement.
    @ivar listed: the paths that it names.
    @ivar unknown: directories that could not be read; nothing below them counts as gone.
    @ivar incomplete: new directories of whose content the listing may not tell all, because they were
        moved to where they are.
    """

    delta: dict[bytes, Entry | None] = Factory(dict)
    listed: set[bytes] = Factory(set)
    unknown: set[bytes] = Factory(set)
    incomplete: set[bytes] = Factory(set)


def _command(root: bytes, inside: bytes) -> bytes:
    """
    @return: runs C{inside} in the directory C{root}; lists a root that is a file or a link by itself. Where
        C{find} is killed the shell ends, and where it met an error an empty record says so: what it did not
        come to list must not look like what is gone.
    """
    own = _FORMAT.replace(b"%p", b".")
    return (
        b"if [ -d %(r)s ] && [ ! -L %(r)s ]; then"
        b" ( F='%(f)s'; export F; cd -P -- %(r)s && %(c)s ) 2>/dev/null;"
        b" s=$?; [ $s -lt 128 ] || exit 1; [ $s = 0 ] || printf '\\0\\0';"
        b" else find %(r)s -maxdepth 0 -printf '%(o)s' 2>/dev/null; fi"
        % {b"r": quote(root), b"f": _FORMAT, b"c": inside, b"o": own}
    )


def list_command(root: bytes, paths: Iterable[bytes] = (b"",)) -> bytes:
    """@return: a shell command that lists C{paths} below C{root}, and everything in them."""
    starts = b" ".join(quote(b"./" + path) if path else b"." for path in paths)
    found = b'-ignore_readdir_race \\( %s -printf U , -printf "$F" \\)' % _UNREADABLE
    return _command(root, b"find %s %s" % (starts, found))


def changes_command(root: bytes, since: bytes) -> bytes:
    """
    @param since: the remote's clock, seconds since the epoch with a fraction.
    @return: a shell command that lists the root in any case (if it is there), what changed below it after
        C{since}, and all names in each directory that did: what was there and is not listed is gone.
    """
    return _command(
        root,
        b'T=@%s; export T; find . -ignore_readdir_race -path . -printf "$F" , %s -newerct "$T" -printf U ,'
        b' -newerct "$T" \\( -type d -printf + , -printf "$F" , -type d -readable -executable -exec sh -c'
        b' \'find "$@" -ignore_readdir_race -mindepth 1 -maxdepth 1 ! -newerct "$T" -printf "$F";'
        b" s=$?; [ $s -lt 128 ] || kill -9 $PPID; exit $s' sh {} + \\)" % (since, _UNREADABLE),
    )


@define
class ListingReader:
    """
    Reads a line, and then the output of L{list_command} or L{changes_command}, as they come.

    @ivar line: the line, when it is complete.
    @ivar records: in order; a name may come twice, and a root that is nothing and L{unreadable
        <Listed.unreadable>} means that not all could be listed.
    """

    line: bytes | None = field(init=False, default=None)
    records: list[Listed] = field(init=False, factory=list)
    _rest: bytes = field(init=False, default=b"")

    def feed(self, data: bytes) -> None:
        """
        Takes the next bytes.

        @raise ValueError: they are no such output.
        """
        data = self._rest + data
        if self.line is None:
            if b"\n" not in data:
                self._rest = data
                return
            self.line, _, data = data.partition(b"\n")
        fields = data.split(b"\0")
        whole = (len(fields) - 1) // 2 * 2
        self._rest = b"\0".join(fields[whole:])
        for position in range(0, whole, 2):
            self.records.append(_record(fields[position], fields[position + 1]))


def _record(head: bytes, target: bytes) -> Listed:
    if not head:
        return Listed(b"", None, unreadable=True)
    flags, kind, mode, size, time, inode, links, path = head.split(b" ", 7)
    path = path[2:] if path[:2] == b"./" else b"" if path == b"." else path
    type_bits = _TYPES.get(kind)
    entry = None
    if type_bits is not None:
        seconds, _, fraction = time.partition(b".")
        entry = Entry(
            type_bits | int(mode, 8),
            int(size) if kind == b"f" else 0,
            int(seconds) * 1_000_000_000 + int((fraction + b"000000000")[:9]),
            target if kind == b"l" else b"",
            int(inode),
            int(links),
        )
    return Listed(path, entry, b"+" in flags, b"U" in flags)


def differences(records: Iterable[Listed], base: Base, coarse: bool = False) -> RemoteScan:
    """@return: how a complete listing differs from C{base}."""
    scan = RemoteScan()
    for record in records:
        _compare(record, base, coarse, scan)
    for path in base.keys() - scan.listed:
        if not inside(path, scan.unknown):
            scan.delta[path] = None
    scan.incomplete.clear()
    return scan


def changes(
    records: Iterable[Listed], base: Base, coarse: bool = False, with_root: bool = True
) -> RemoteScan:
    """
    @param with_root: the root was looked at: if it is not listed, it is gone.
    @return: how the remote differs from C{base} where the output of L{changes_command} tells of it.
    """
    scan = RemoteScan()
    complete: set[bytes] = set()
    for record in records:
        if record.complete and not record.unreadable:
            complete.add(record.path)
        _compare(record, base, coarse, scan, complete)
    if with_root and b"" not in scan.listed:
        scan.delta.update({b"": None} if b"" in base else {})
        return scan
    _vanished(base, complete, scan)
    return scan


def _compare(
    record: Listed, base: Base, coarse: bool, scan: RemoteScan, complete: Container[bytes] = ()
) -> None:
    path, entry = record.path, record.entry
    if entry is None and record.unreadable:
        scan.unknown.add(path)
        return
    scan.listed.add(path)
    known = base.get(path)
    before = known.remote if known is not None else None
    if not same(entry, before, coarse=coarse):
        scan.delta[path] = entry
    else:
        scan.delta.pop(path, None)
    if record.unreadable:
        scan.unknown.add(path)
    elif record.complete:
        scan.incomplete.discard(path)
    elif path in complete:
        return
    elif entry is not None and entry.is_directory and (before is None or not before.is_directory):
        scan.incomplete.add(path)


def _vanished(base: Base, complete: set[bytes], scan: RemoteScan) -> None:
    """Finds the names that are not in their directory any more, and all below them."""
    listed = scan.listed
    if b"" in scan.unknown:
        return
    gone = {
        path
        for path, entry in scan.delta.items()
        if path in base and (entry is None or not entry.is_directory)
    }
    if complete:
        gone |= {path for path in base if path and path not in listed and parent_of(path) in complete}
    if not gone:
        return
    for path in base:
        if path not in listed and inside(path, gone):
            scan.delta[path] = None
