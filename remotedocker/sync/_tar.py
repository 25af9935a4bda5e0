# -*- test-case-name: tests.sync.test_tar -*-
"""
Tar streams (POSIX.1-2001 C{pax}, with C{ustar} headers): written block by block while the files are read, and
read as the bytes come.

An extended header is written only where a C{ustar} header cannot say it: names over 100 bytes, times that are
no whole seconds, sizes over 8 GiB, numbers over 2,097,151.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import lru_cache
from typing import Protocol

from attrs import define, field, frozen

from remotedocker.sync._tree import Entry, entry_of

__all__ = [
    "END",
    "UNSTABLE",
    "Member",
    "TarFormatError",
    "TarReader",
    "TarSink",
    "decimal_time",
    "header",
    "open_source",
    "read_source",
    "write_members",
]

BLOCK = 512
END = bytes(2 * BLOCK)
UNSTABLE = -1
"""The time that is told of a file that lost its end while it was read."""

_CHUNK = 256 * 1024
_REGULAR, _LINK, _SYMLINK, _DIRECTORY, _PAX, _GLOBAL = b"0", b"1", b"2", b"5", b"x", b"g"
_GNU_NAME, _GNU_LINK = b"L", b"K"


@frozen
class Member:
    """
    One thing to be written.

    @ivar name: its name in the archive.
    @ivar entry: what is known of it.
    @ivar source: the file to be read, for regular files.
    @ivar link: the name in the archive of which it is a hard link.
    @ivar content: the content, for what is no file here.
    """

    name: bytes
    entry: Entry
    source: bytes | None = None
    link: bytes | None = None
    content: bytes | None = None


def _record(key: bytes, value: bytes) -> bytes:
    """@return: one record of an extended header: its own length in decimal, C{key=value}, a newline."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def decimal_time(nanoseconds: int) -> bytes:
    """@return: seconds since the epoch, with nine decimals."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    if seconds < 0 and fraction:
        return b"-%d.%09d" % (-seconds - 1, 1_000_000_000 - fraction)
    return b"%d.%09d" % (seconds, fraction)


_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s")
"""Name, mode, owner, group, size, time, checksum, type, link and magic; all that follows is empty."""

_REST = bytes(BLOCK - _FIELDS.size)
_MAGIC = b"ustar\x0000"


def _block(
    name: bytes, mode: int, owner: int, group: int, size: int, seconds: int, kind: bytes, link: bytes
) -> bytes:
    """@return: a header; numbers that do not fit are 0, for an extended header has them."""
    fields = (
        name[:100],
        b"%07o" % (mode & 0o7777),
        b"%07o" % (owner if 0 <= owner < 8**7 else 0),
        b"%07o" % (group if 0 <= group < 8**7 else 0),
        b"%011o" % (size if 0 <= size < 8**11 else 0),
        b"%011o" % (seconds if 0 <= seconds < 8**11 else 0),
    )
    checksum = sum(_FIELDS.pack(*fields, b"        ", kind, link[:100], _MAGIC))
    return _FIELDS.pack(*fields, b"%06o\0 " % checksum, kind, link[:100], _MAGIC) + _REST


@lru_cache(256)
def _extended_block(size: int) -> bytes:
    """@return: the header of an extended header, whose name nobody sees."""
    return _block(b"@PaxHeader", 0o600, 0, 0, size, 0, _PAX, b"")


def header(name: bytes, entry: Entry, link: bytes | None = None) -> bytes:
    """
    @param link: the archive's name of the file of which this is a hard link.
    @return: everything that precedes the content.
    """
    size = entry.size
    target = b""
    if link is not None:
        kind, target, size = _LINK, link, 0
    elif entry.is_symlink:
        kind, target, size = _SYMLINK, entry.target, 0
    elif entry.is_directory:
        kind, size = _DIRECTORY, 0
        name += b"/"
    else:
        kind = _REGULAR
    seconds, fraction = divmod(entry.mtime, 1_000_000_000)
    records = b""
    if len(name) > 100:
        records += _record(b"path", name)
    if len(target) > 100:
        records += _record(b"linkpath", target)
    if (fraction or not 0 <= seconds < 8**11) and kind != _LINK:
        records += _record(b"mtime", decimal_time(entry.mtime))
    if size >= 8**11:
        records += _record(b"size", b"%d" % size)
    if not 0 <= entry.owner < 8**7:
        records += _record(b"uid", b"%d" % entry.owner)
    if not 0 <= entry.group < 8**7:
        records += _record(b"gid", b"%d" % entry.group)
    permissions = entry.permissions
    main = _block(name, permissions, entry.owner, entry.group, size, seconds, kind, target)
    if not records:
        return main
    return _extended_block(len(records)) + records + bytes(-len(records) % BLOCK) + main


def write_members(
    members: Iterable[Member], sent: Callable[[Member, Entry | None, str], None]
) -> Iterator[bytes]:
    """
    Reads files and yields the archive, without its end marker.

    @param sent: called after each member with what its file was when it was opened, or with None and the
        reason why it was left out. A file that changes while it is read is sent with the length that it had.
    """
    pending: list[bytes] = []
    size = 0
    for member in members:
        for piece in _member(member, sent):
            pending.append(piece)
            size += len(piece)
            if size >= _CHUNK:
                yield b"".join(pending)
                pending, size = [], 0
    if pending:
        yield b"".join(pending)


def _member(member: Member, sent: Callable[[Member, Entry | None, str], None]) -> Iterator[bytes]:
    if member.source is None or member.link is not None:
        content = member.content or b""
        yield header(member.name, member.entry._replace(size=len(content)), member.link)
        if content:
            yield content + bytes(-len(content) % BLOCK)
        sent(member, member.entry, "")
        return
    try:
        descriptor, entry = open_source(member.source)
    except OSError as error:
        sent(member, None, error.strerror or str(error))
        return
    yield header(member.name, entry)
    entry = yield from read_source(descriptor, entry)
    yield bytes(-entry.size % BLOCK)
    sent(member, entry, "")


def open_source(path: bytes) -> tuple[int, Entry]:
    """
    @return: a descriptor for L{read_source}, and what the file is.
    @raise OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file any more")
    return descriptor, entry_of(status)


def read_source(descriptor: int, entry: Entry) -> Generator[bytes, None, Entry]:
    """
    Yields as many bytes as C{entry} says, whatever becomes of the file, and closes it.

    @return: C{entry}; its time is L{UNSTABLE} if the file had fewer.
    """
    try:
        left = entry.size
        while left:
            try:
                piece = os.read(descriptor, min(left, _CHUNK))
            except OSError:
                piece = b""
            if not piece:
                piece = bytes(min(left, _CHUNK))
                entry = entry._replace(mtime=UNSTABLE)
            left -= len(piece)
            yield piece
    finally:
        os.close(descriptor)
    return entry


class TarSink(Protocol):
    """Takes what a L{TarReader} finds."""

    def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
        """A member begins; C{link} is the member of which it is a hard link, or empty."""

    def data(self, piece: bytes | memoryview) -> None:
        """The next bytes of its content."""

    def end(self) -> None:
        """It is complete."""


class TarFormatError(Exception):
    """The stream is no tar archive that we can read."""


@define
class TarReader:
    """
    Reads an archive as its bytes come.

    @ivar sink: told of each member.
    @ivar several: what follows an end marker is another archive.
    @ivar finished: whether the end marker was met.
    """

    sink: TarSink
    several: bool = False
    finished: bool = field(init=False, default=False)
    _buffer: bytearray = field(init=False, factory=bytearray)
    _left: int = field(init=False, default=0)
    _padding: int = field(init=False, default=0)
    _extended: dict[bytes, bytes] = field(init=False, factory=dict)
    _collect: bytes = field(init=False, default=b"")
    _collected: bytearray = field(init=False, factory=bytearray)
    _open: bool = field(init=False, default=False)

    def feed(self, data: bytes) -> None:
        """
        Takes the next bytes.

        @raise TarFormatError: they are no archive.
        """
        self._buffer += data
        position = 0
        view = memoryview(self._buffer)
        try:
            while not self.finished:
                available = len(view) - position
                if self._left:
                    take = min(self._left, available)
                    if not take:
                        break
                    self._content(view[position : position + take])
                    position += take
                    self._left -= take
                    if self._left:
                        break
                    continue
                if self._open or self._collect:
                    if available < self._padding:
                        break
                    position += self._padding
                    self._close()
                    continue
                if available < BLOCK:
                    break
                self._header(bytes(view[position : position + BLOCK]))
                position += BLOCK
        finally:
            view.release()
            del self._buffer[:position]
        if self.finished:
            self._buffer.clear()

    def _content(self, piece: memoryview) -> None:
        if self._collect:
            self._collected += piece
        else:
            self.sink.data(piece)

    def _close(self) -> None:
        kind, self._collect = self._collect, b""
        if not kind:
            self._open = False
            self.sink.end()
            return
        body = bytes(self._collected)
        self._collected.clear()
        if kind == _PAX:
            self._extended.update(_parse_records(body))
        elif kind == _GNU_NAME:
            self._extended[b"path"] = body.rstrip(b"\0")
        elif kind == _GNU_LINK:
            self._extended[b"linkpath"] = body.rstrip(b"\0")

    def _header(self, block: bytes) -> None:
        if block == bytes(BLOCK):
            self.finished = not self.several
            return
        if sum(block) - sum(block[148:156]) + 8 * 32 != _octal(block[148:156]):
            raise TarFormatError("a header's checksum is wrong")
        kind = block[156:157]
        size = _octal(block[124:136])
        if kind in (_PAX, _GLOBAL, _GNU_NAME, _GNU_LINK):
            if size > 1 << 20:
                raise TarFormatError("an extended header is too long")
            self._collect, self._left, self._padding = kind, size, -size % BLOCK
            return
        extended, self._extended = self._extended, {}
        name = block[:100].rstrip(b"\0")
        if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
            name = block[345:500].rstrip(b"\0") + b"/" + name
        name = extended.get(b"path", name)
        link = extended.get(b"linkpath", block[157:257].rstrip(b"\0"))
        if b"size" in extended:
            size = _decimal(extended[b"size"])
        if size < 0:
            raise TarFormatError("a size is negative")
        mtime = _parse_time(extended[b"mtime"]) if b"mtime" in extended else _octal(block[136:148]) * 10**9
        entry = _entry(kind, _octal(block[100:108]) & 0o7777, size, mtime, link)
        self._left = size if kind in (_REGULAR, b"\0", b"7") else 0
        self._padding = -self._left % BLOCK
        self._open = True
        self.sink.begin(name.rstrip(b"/"), entry, link if kind == _LINK else b"")


def _entry(kind: bytes, permissions: int, size: int, mtime: int, link: bytes) -> Entry:
    if kind == _DIRECTORY:
        return Entry(stat.S_IFDIR | permissions, 0, mtime)
    if kind == _SYMLINK:
        return Entry(stat.S_IFLNK | permissions, 0, mtime, link)
    if kind in (_REGULAR, b"\0", b"7", _LINK):
        return Entry(stat.S_IFREG | permissions, size, mtime)
    return Entry(permissions)


def _octal(value: bytes) -> int:
    if value[:1] and value[0] & 0x80:
        # GNU's way: the number itself, of which the first bit is no part.
        return int.from_bytes(value, "big", signed=True) + (0 if value[0] & 0x40 else 1 << 8 * len(value) - 1)
    digits = value.replace(b"\0", b" ").strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise TarFormatError("a number in a header is not octal") from None


def _decimal(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise TarFormatError("a number in an extended header is not decimal") from None


def _parse_time(value: bytes) -> int:
    seconds, _, fraction = value.partition(b".")
    nanoseconds = _decimal((fraction + b"000000000")[:9])
    whole = _decimal(seconds) * 1_000_000_000
    return whole - nanoseconds if value.startswith(b"-") else whole + nanoseconds


def _parse_records(body: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    while body:
        length_text, _, _ = body.partition(b" ")
        length = _decimal(length_text)
        if length <= len(length_text) + 1 or length > len(body):
            raise TarFormatError("an extended header is malformed")
        key, _, value = body[len(length_text) + 1 : length - 1].partition(b"=")
        records[key] = value
        body = body[length:]
    return records
