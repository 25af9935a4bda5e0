# -*- test-case-name: tests.sync.test_packing -*-
"""
Files of the laptop on their way into tar archives: read while the archive is sent. For a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator

from attrs import frozen

from remotedocker.sync._tar import BLOCK, END, header
from remotedocker.sync._tree import Entry, entry_of

__all__ = ["UNSTABLE", "Member", "open_source", "read_source", "write_members", "write_parts"]

UNSTABLE = -1
"""The time that is told of a file that lost its end while it was read."""

_CHUNK = 1024 * 1024
_LONGEST_HEADER = 64 * 1024
"""Names and the targets of links are shorter than 4,096 bytes (C{PATH_MAX})."""


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


class _Piece:
    """
    A piece of an archive that is put together.

    @ivar size: how many bytes it has.
    """

    def __init__(self) -> None:
        self._room = memoryview(bytearray(2 * _CHUNK + _LONGEST_HEADER))
        self.size = 0

    def add(self, data: bytes) -> None:
        """Appends C{data}."""
        self._room[self.size : self.size + len(data)] = data
        self.size += len(data)

    def fill(self, data: bytes) -> None:
        """Puts C{data} at the beginning."""
        self._room[: len(data)] = data

    def add_file(self, descriptor: int, entry: Entry) -> Entry:
        """Appends what L{read_source} yields, and returns what that returns."""
        position, end = self.size, self.size + entry.size
        try:
            while position < end:
                try:
                    taken = os.readv(descriptor, [self._room[position:end]])
                except OSError:
                    taken = 0
                if not taken:
                    self._room[position:end] = bytes(end - position)
                    entry = entry._replace(mtime=UNSTABLE)
                    break
                position += taken
        finally:
            os.close(descriptor)
        self.size = end
        return entry

    def take(self) -> bytes:
        """@return: the piece; the next one begins."""
        piece = bytes(self._room[: self.size])
        self.size = 0
        return piece


Sent = Callable[[Member, Entry | None, str], None]
"""
Called after each member with what its file was when it was opened, or with None and the reason why it was
left out. A file that changes while it is read is sent with the length that it had.
"""


def write_members(members: Iterable[Member], sent: Sent) -> Iterator[bytes]:
    """
    Reads files and yields the archive, without its end marker.

    @param sent: told of each member.
    """
    piece = _Piece()
    for member in members:
        if member.source is None or member.link is not None:
            content, entry = member.content or b"", member.entry
            head = header(member.name, entry._replace(size=len(content)), member.link)
            if len(content) > _CHUNK:
                yield piece.take()
                yield head + content
            else:
                piece.add(head + content)
            piece.add(bytes(-len(content) % BLOCK))
        else:
            try:
                descriptor, entry = open_source(member.source)
            except OSError as error:
                sent(member, None, error.strerror or str(error))
                continue
            piece.add(header(member.name, entry))
            if entry.size > _CHUNK:
                entry = yield from read_source(descriptor, entry, piece.take())
            else:
                entry = piece.add_file(descriptor, entry)
            piece.add(bytes(-entry.size % BLOCK))
        sent(member, entry, "")
        if piece.size >= _CHUNK:
            yield piece.take()
    yield piece.take()


def write_parts(directory: bytes, members: Iterable[Member], sent: Sent) -> Iterator[bytes]:
    """
    Reads files and yields an archive, without its end marker, of archives: regular files in C{directory} that
    have C{members} in them, and are one archive if they are put together in the order of their names.

    @param sent: told of each member.
    """
    piece = _Piece()
    piece.add(bytes(BLOCK))
    number = 0

    def part(size: int) -> bytes:
        nonlocal number
        number += 1
        return header(b"%s/%08d" % (directory, number), Entry(stat.S_IFREG | 0o600, size))

    def part_of_piece() -> bytes:
        piece.fill(part(piece.size - BLOCK))
        taken = piece.take()
        piece.add(bytes(BLOCK))
        return taken

    for member in members:
        assert member.source is not None
        try:
            descriptor, entry = open_source(member.source)
        except OSError as error:
            sent(member, None, error.strerror or str(error))
            continue
        head = header(member.name, entry)
        if entry.size > _CHUNK:
            blocks = entry.size + -entry.size % BLOCK
            entry = yield from read_source(descriptor, entry, part(len(head) + blocks) + head)
            yield bytes(-entry.size % BLOCK)
        else:
            piece.add(head)
            entry = piece.add_file(descriptor, entry)
            piece.add(bytes(-entry.size % BLOCK))
            if piece.size > _CHUNK:
                yield part_of_piece()
        sent(member, entry, "")
    piece.add(END)
    yield part_of_piece()


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


def read_source(descriptor: int, entry: Entry, head: bytes = b"") -> Generator[bytes, None, Entry]:
    """
    Yields C{head}, then as many bytes as C{entry} says, whatever becomes of the file, and closes it.

    @return: C{entry}; its time is L{UNSTABLE} if the file had fewer.
    """
    try:
        if head:
            yield head
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
