# -*- test-case-name: tests.sync.test_filehost -*-
"""
Changes to the remote tree by SFTP alone.

Before a name is overwritten, replaced, removed or changed it is looked at: it must be what it was at the last
listing (by type, size and time in seconds), and its directory must be reached without symbolic links. New
content for a name that is there is written in a stage, which no container sees, and renamed.
"""

from __future__ import annotations

import os
import posixpath
import secrets
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import suppress
from inspect import GEN_CREATED, getgeneratorstate
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore

from remotedocker.errors import RemoteFileError, RemoteFileNotFound
from remotedocker.interfaces import FileAttributes, IRemoteFilesystem
from remotedocker.sync._facts import Facts
from remotedocker.sync._flow import InThread, all_of
from remotedocker.sync._operations import (
    Delete,
    HardLink,
    MakeDirectory,
    MakeSymlink,
    Operation,
    Rename,
    SetMode,
    WriteFile,
)
from remotedocker.sync._packing import open_source, read_source
from remotedocker.sync._remote import NOT_AS_EXPECTED, Pushed
from remotedocker.sync._transfer import Tree
from remotedocker.sync._tree import Entry, same_content

__all__ = ["FilePusher", "entry_of_attributes", "reason_of", "together"]

_IN_FLIGHT = 64
_SECOND = 1_000_000_000
T = TypeVar("T")


async def together(work: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """
    Does everything, not more than some dozens at a time; raises what the first failed with. If that is
    cancelled, all of it is.
    """
    tokens = DeferredSemaphore(_IN_FLIGHT)

    def begin(each: Callable[[], Awaitable[T]]) -> Deferred[T]:
        async def run() -> T:
            return await each()

        return Deferred.fromCoroutine(run())

    return await all_of([tokens.run(begin, each) for each in work])


def entry_of_attributes(attributes: FileAttributes) -> Entry | None:
    """@return: what SFTP says of a name; None for what can be no part of a mirror."""
    entry = Entry(attributes.mode or 0, 0, (attributes.mtime or 0) * _SECOND)
    if entry.is_file:
        return entry._replace(size=attributes.size or 0)
    return entry if entry.is_directory or entry.is_symlink else None


def reason_of(error: RemoteFileError) -> str:
    """@return: what the remote said."""
    return str(error.details.get("reason") or error.message)


class _Changed(Exception):
    """A name is not what it was."""


class FilePusher:
    """
    Does operations on one tree, and notes how each went.

    @param guarded: names are looked at before they are changed.
    """

    def __init__(
        self, files: IRemoteFilesystem, facts: Facts, tree: Tree, run: InThread, guarded: bool
    ) -> None:
        self.pushed = Pushed()
        self._files = files
        self._root = facts.base + tree.place
        self._stage = facts.stage
        self._source = tree.source
        self._run = run
        self._guarded = guarded

    async def attempt(self, operations: Sequence[Operation]) -> None:
        """Does operations that do not depend on each other."""

        def doer(operation: Operation) -> Callable[[], Awaitable[None]]:
            return lambda: self._attempt(operation)

        await together(doer(operation) for operation in operations)

    async def close_directories(self, operations: Sequence[Operation]) -> None:
        """Gives new directories that may not be written the mode for that, now that they are full."""
        for operation in reversed(operations):
            if isinstance(operation, MakeDirectory) and operation.entry.permissions & 0o700 != 0o700:
                mode = FileAttributes(mode=operation.entry.permissions)
                await self._files.set_attributes(self._at(operation.path), mode)

    async def _attempt(self, operation: Operation) -> None:
        try:
            await self._straight(operation.path)
            if isinstance(operation, WriteFile):
                await self._write(operation)
                return
            await self._do(operation)
        except RemoteFileError as error:
            self.pushed.failed.append((operation, reason_of(error)))
        except _Changed:
            self.pushed.failed.append((operation, NOT_AS_EXPECTED))
        else:
            self.pushed.done.append((operation, None))

    def _at(self, path: bytes) -> bytes:
        return self._root + b"/" + path if path else self._root

    async def _straight(self, path: bytes) -> None:
        """Makes sure that no symbolic link, which a container may have made, leads to C{path}."""
        directory = posixpath.dirname(self._at(path))
        if await self._files.real_path(directory) != directory:
            raise _Changed

    async def _expect(self, path: bytes, expected: Entry | None) -> None:
        """Makes sure that C{path} is what it was."""
        if not self._guarded:
            return
        try:
            found = entry_of_attributes(await self._files.lstat(self._at(path)))
        except RemoteFileNotFound:
            if expected is None:
                return
            raise _Changed from None
        if found is None or expected is None:
            raise _Changed
        if found.is_symlink and expected.is_symlink:
            found = found._replace(target=expected.target)
        if not same_content(found, expected, coarse=True):
            raise _Changed

    async def _do(self, operation: Operation) -> None:
        files, path = self._files, self._at(operation.path)
        if isinstance(operation, MakeDirectory):
            await files.make_directory(path, operation.entry.permissions | 0o700)
        elif isinstance(operation, Rename):
            await self._straight(operation.old)
            await self._expect(operation.path, operation.expected)
            await files.rename(self._at(operation.old), path)
        elif isinstance(operation, Delete):
            await self._delete(operation)
        elif isinstance(operation, SetMode):
            if operation.expected is not None:
                await self._expect(operation.path, operation.expected)
            await files.set_attributes(path, _attributes(operation.entry))
        elif isinstance(operation, HardLink):
            await self._straight(operation.existing)
            existing = self._at(operation.existing)
            await self._staged(path, lambda stage: files.hard_link(existing, stage))
        elif isinstance(operation, MakeSymlink):
            await self._expect(operation.path, operation.expected)
            target = operation.entry.target
            await self._staged(path, lambda stage: files.symlink(target, stage))

    async def _delete(self, operation: Delete) -> None:
        path = self._at(operation.path)
        if not operation.expected.is_directory:
            with suppress(RemoteFileNotFound):
                # What is not there any more needs not be what it was.
                await self._files.lstat(path)
                await self._expect(operation.path, operation.expected)
                await self._files.remove(path)
            return
        try:
            await self._files.remove_directory(path)
        except RemoteFileNotFound:
            return
        except RemoteFileError:
            if not await self._files.list_directory(path):
                raise
            # What is in it is none of ours.
            self.pushed.kept.add(operation.path)

    async def _staged(self, path: bytes, make: Callable[[bytes], Awaitable[object]]) -> None:
        """Has C{make} make something in the stage, and gives it its name at once."""
        stage = posixpath.join(self._stage, secrets.token_hex(8).encode("ascii"))
        try:
            await make(stage)
            await self._files.rename(stage, path)
        except RemoteFileError:
            with suppress(RemoteFileError):
                await self._files.remove(stage)
            raise

    async def _write(self, operation: WriteFile) -> None:
        """Writes a file in place, or in the stage and then renames it."""
        path = self._at(operation.path)
        await self._expect(operation.path, operation.expected)
        source = self._source + b"/" + operation.path if operation.path else self._source
        try:
            descriptor, entry = await self._run(open_source, source)
        except OSError as error:
            self.pushed.skipped.append((operation, error.strerror or str(error)))
            return
        ends: list[Entry] = []

        def content() -> Generator[bytes, None, None]:
            ends.append((yield from read_source(descriptor, entry)))

        pieces = content()

        async def write(target: bytes) -> None:
            try:
                await self._files.write_file(target, pieces, _attributes(entry))
            finally:
                if getgeneratorstate(pieces) == GEN_CREATED:
                    os.close(descriptor)
                pieces.close()

        if operation.expected is not None and not operation.in_place:
            await self._staged(path, write)
        else:
            try:
                await write(path)
            except RemoteFileError:
                if operation.expected is None:
                    with suppress(RemoteFileError):
                        await self._files.remove(path)
                raise
        self.pushed.done.append((operation, ends[0] if ends else entry))


def _attributes(entry: Entry) -> FileAttributes:
    return FileAttributes(mode=entry.permissions, mtime=entry.mtime // _SECOND if entry.is_file else None)
