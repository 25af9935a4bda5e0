# -*- test-case-name: tests.sync.test_remote -*-
"""
Content on its way: files into an archive or a script, and archives into files, in threads.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from remotedocker.sync._flow import InThread
from remotedocker.sync._operations import Operation, WriteFile
from remotedocker.sync._packing import Member, write_members, write_parts
from remotedocker.sync._script import PARTS, ScriptBuilder
from remotedocker.sync._shellwords import PREAMBLE
from remotedocker.sync._tar import END, TarReader
from remotedocker.sync._tree import Entry, ancestors

__all__ = ["Archive", "Receiver", "SmallFile", "Tree", "read_small"]

_SMALL = 1024 * 1024
"""A file that has grown beyond so many bytes since it was found small is not printed by a shell."""


@frozen
class Tree:
    """
    What one tree is, for the remote.

    @ivar place: its path below the directory of all mirrors, with a slash in front.
    @ivar source: its absolute path on the laptop.
    """

    place: bytes
    source: bytes


@frozen
class SmallFile:
    """
    @ivar entry: what the file was when it was read; None if it could not be.
    @ivar reason: why it could not.
    """

    write: WriteFile
    entry: Entry | None
    content: bytes
    reason: str


class Receiver:
    """Hands what comes to a reader in a thread, and holds the sender back while that is behind."""

    _LIMIT = 4 * 1024 * 1024

    def __init__(self, reader: TarReader, run: InThread) -> None:
        self.transport: Any = None
        self._reader = reader
        self._run = run
        self._queue: list[bytes] = []
        self._size = 0
        self._working = False
        self._idle: Deferred[None] | None = None
        self._error: Exception | None = None
        self._paused = False
        self._closed = False

    def take(self, data: bytes) -> None:
        """The next bytes from the remote."""
        if self._error is not None or self._closed:
            return
        self._queue.append(data)
        self._size += len(data)
        if self._size > self._LIMIT and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pauseProducing()
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        while self._queue and self._error is None:
            queue, self._queue, self._size = self._queue, [], 0
            try:
                await self._run(self._reader.feed, b"".join(queue))
            except Exception as error:
                self._error = error
            if self._paused and not self._closed:
                self._paused = False
                self.transport.resumeProducing()
        self._working = False
        if self._idle is not None:
            self._idle.callback(None)

    async def close(self) -> None:
        """
        The stream has ended, or is given up: takes nothing more, and returns when all was handed over and no
        thread is at it any more.
        """
        self._closed = True
        if self._working:
            self._idle = Deferred()
            await self._idle

    def check(self) -> None:
        """Raises what the reader raised."""
        if self._error is not None:
            raise self._error


def read_small(tree: Tree, writes: Sequence[WriteFile]) -> list[SmallFile]:
    """Reads files that are small, each in one go."""
    return [_read_one(tree, write) for write in writes]


def _read_one(tree: Tree, write: WriteFile) -> SmallFile:
    source = tree.source + b"/" + write.path if write.path else tree.source
    noted: list[tuple[Entry | None, str]] = []
    pieces: list[bytes] = []
    size = 0
    for piece in write_members([Member(b"x", write.entry, source)], lambda _, *seen: noted.append(seen)):
        size += len(piece)
        if size > _SMALL:
            return SmallFile(write, None, b"", "it grew while it was read")
        pieces.append(piece)
    entry, reason = noted[0]
    if entry is None:
        return SmallFile(write, None, b"", reason)
    start = size - entry.size - (-entry.size % 512)
    return SmallFile(write, entry, b"".join(pieces)[start : start + entry.size], "")


def _directories(builder: ScriptBuilder) -> list[Member]:
    """@return: all that the stage has, with those that nobody asked for by name, the parents first."""
    asked = {member.name: member for member in builder.members() if member.entry.is_directory}
    needed = {name.rpartition(b"/")[0] for name in builder.staged}
    inner = {above for name in needed for above in ancestors(name)}
    names = sorted({*needed, *inner, *asked} - {b""})
    return [asked.get(name) or Member(name, Entry(stat.S_IFDIR | 0o700)) for name in names]


class Archive:
    """
    The stage of one push as tar streams: several that may be sent side by side, and what comes after them.
    They are made in threads. Each has all directories: to make one that is missing is not safe for a C{tar}
    beside others.

    @param sent: gets what each file was when it was read, by the C{id} of its operation.
    @param skipped: gets why a file was left out.
    """

    def __init__(self, builder: ScriptBuilder, sent: dict[int, Entry], skipped: dict[int, str]) -> None:
        self._builder = builder
        self._sent = sent
        self._skipped = skipped
        self._directories = _directories(builder)
        self._members = (member for member in builder.members() if not member.entry.is_directory)
        self._links: list[Member] = []
        self._missing: set[bytes] = set()
        self._taking = Lock()

    def share(self) -> Iterator[bytes]:
        """Yields one of the streams, without its end. Each file and symbolic link goes into one of them."""
        yield from write_members(self._directories, lambda *_: None)
        yield from write_members(iter(self._next_member, None), self._note)

    def _next_member(self) -> Member | None:
        with self._taking:
            for member in self._members:
                if member.link is None:
                    return member
                self._links.append(member)
            return None

    def rest(self) -> Iterator[bytes]:
        """Yields what needs those to be there, and the script, when it is known which files could be read."""
        builder = self._builder
        yield from write_members(self._linked(), self._note)
        if builder.overwritten:
            overwritten = iter(builder.overwritten)
            yield from write_parts(
                PARTS, builder.overwriting(), lambda *noted: self._settle(next(overwritten), *noted)
            )
        script = PREAMBLE + builder.prelude() + builder.script(self._skipped.keys()) + b"exit 0\n"
        member = Member(b"s", Entry(0o100600), content=script)
        yield from write_members([member], lambda *_: None)
        yield END

    def _linked(self) -> Iterator[Member]:
        for member in self._links:
            if member.link in self._missing:
                self._note(member, None, "the file that it is a hard link of could not be read")
            else:
                yield member

    def _note(self, member: Member, entry: Entry | None, reason: str) -> None:
        if entry is None:
            self._missing.add(member.name)
        self._settle(self._builder.staged[member.name], member, entry, reason)

    def _settle(self, operation: Operation, member: Member, entry: Entry | None, reason: str) -> None:
        if entry is None:
            self._skipped[id(operation)] = reason
        elif isinstance(operation, WriteFile):
            # Mostly it is what the scan saw; then one copy of that is enough.
            self._sent[id(operation)] = member.entry if entry == member.entry else entry
