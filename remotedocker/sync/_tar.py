# -*- test-case-name: tests.sync.test_tar -*-
"""
The format of tar archives (POSIX.1-2001 C{pax}, with C{ustar} headers): the headers that we write, and a
reader that takes the bytes as they come.

An extended header is written only where a C{ustar} header cannot say it: names over 100 bytes, times that are
no whole seconds, sizes over 8 GiB, numbers over 2,097,151.
"""

from __future__ import annotations

import stat
import struct
import zlib
from functools import lru_cache
from typing import Protocol

from attrs import define, field

from remotedocker.sync._tree import Entry

__all__ = ["BLOCK", "END", "TarFormatError", "TarReader", "TarSink", "decimal_time", "header"]

BLOCK = 512
END = bytes(2 * BLOCK)
_REGULAR, _LINK, _SYMLINK, _DIRECTORY, _PAX, _GLOBAL = b"0", b"1", b"2", b"5", b"x", b"g"
_GNU_NAME, _GNU_LINK = b"L", b"K"
_FILES = frozenset({_REGULAR, b"\0", b"7"})
_ABOUT_THE_NEXT = frozenset({_PAX, _GLOBAL, _GNU_NAME, _GNU_LINK})


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


_FIELDS = struct.Struct("100s24s24s8sc100s8s")
"""Name; mode, owner and group; size and time; checksum, type, link and magic; all that follows is empty."""

_REST = bytes(BLOCK - _FIELDS.size)
_MAGIC = b"ustar\x0000"
_SUM = sum(_MAGIC) + sum(b" " * 8)
"""What every header adds to its checksum, which counts as eight spaces itself."""


@lru_cache(4096)
def _owned(mode: int, owner: int, group: int) -> tuple[bytes, int]:
    """@return: the fields for mode, owner and group, and what they add to the checksum; most are alike."""
    fields = b"%07o\0%07o\0%07o\0" % (
        mode & 0o7777,
        owner if 0 <= owner < 8**7 else 0,
        group if 0 <= group < 8**7 else 0,
    )
    return fields, sum(fields)


def _block(
    name: bytes, mode: int, owner: int, group: int, size: int, seconds: int, kind: bytes, link: bytes
) -> bytes:
    """@return: a header; numbers that do not fit are 0, for an extended header has them."""
    name, link = name[:100], link[:100]
    owned, total = _owned(mode, owner, group)
    numbers = b"%011o\0%011o\0" % (
        size if 0 <= size < 8**11 else 0,
        seconds if 0 <= seconds < 8**11 else 0,
    )
    total += sum(name) + sum(numbers) + ord(kind) + sum(link) + _SUM
    return _FIELDS.pack(name, owned, numbers, b"%06o\0 " % total, kind, link, _MAGIC) + _REST


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
    _rest: bytes = field(init=False, default=b"")
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
        if self._rest:
            data = self._rest + data
        view, position, end = memoryview(data), 0, len(data)
        while not self.finished:
            if self._left:
                taken = min(self._left, end - position)
                if not taken:
                    break
                piece = view[position : position + taken]
                if self._collect:
                    self._collected += piece
                else:
                    self.sink.data(piece)
                position += taken
                self._left -= taken
            elif self._open or self._collect:
                if end - position < self._padding:
                    break
                position += self._padding
                self._close()
            elif end - position < BLOCK:
                break
            else:
                self._header(data[position : position + BLOCK])
                position += BLOCK
        self._rest = b"" if self.finished else data[position:]

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
        if not _is_header(block):
            raise TarFormatError("a header's checksum is wrong")
        kind = block[156:157]
        size = _octal(block[124:136])
        if kind in _ABOUT_THE_NEXT:
            if size > 1 << 20:
                raise TarFormatError("an extended header is too long")
            self._collect, self._left, self._padding = kind, size, -size % BLOCK
            return
        name = block[:100].rstrip(b"\0")
        if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
            name = block[345:500].rstrip(b"\0") + b"/" + name
        link, mtime = block[157:257].rstrip(b"\0"), _octal(block[136:148]) * 1_000_000_000
        if self._extended:
            extended, self._extended = self._extended, {}
            name, link = extended.get(b"path", name), extended.get(b"linkpath", link)
            if b"size" in extended:
                size = _decimal(extended[b"size"])
            if b"mtime" in extended:
                mtime = _parse_time(extended[b"mtime"])
        if size < 0:
            raise TarFormatError("a size is negative")
        entry = _entry(kind, _octal(block[100:108]) & 0o7777, size, mtime, link)
        self._left = size if kind in _FILES else 0
        self._padding = -self._left % BLOCK
        self._open = True
        self.sink.begin(name.rstrip(b"/"), entry, link if kind == _LINK else b"")


def _entry(kind: bytes, permissions: int, size: int, mtime: int, link: bytes) -> Entry:
    if kind == _DIRECTORY:
        return Entry(stat.S_IFDIR | permissions, 0, mtime)
    if kind == _SYMLINK:
        return Entry(stat.S_IFLNK | permissions, 0, mtime, link)
    if kind in _FILES or kind == _LINK:
        return Entry(stat.S_IFREG | permissions, size, mtime)
    return Entry(permissions)


def _is_header(block: bytes) -> bool:
    """
    @return: whether the checksum, for which its own field counts as spaces, is right: the lower half of an
        Adler-32 is one more than the sum of all bytes, modulo 65,521 (RFC 1950, 9).
    """
    field = block[148:156]
    return zlib.adler32(block) & 0xFFFF == (_octal(field) - 8 * ord(" ") + sum(field) + 1) % 65_521


def _octal(value: bytes) -> int:
    try:
        # As nearly all write it: digits, and what ends them.
        return int(value.rstrip(b"\0 "), 8)
    except ValueError:
        pass
    if value[0] & 0x80:
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
