# -*- test-case-name: tests.sync.test_filehost -*-
"""
The remote's side of all mirrors where it gives us no shell: SFTP alone, many requests in flight.

SFTP version 3 knows times in whole seconds, cannot tell what changed since, and has no way to compare before
it overwrites; a pass lists the whole tree.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore

from remotedocker.errors import RemoteFileError, RemoteFileNotFound
from remotedocker.interfaces import FileAttributes, IRemote, IRemoteFilesystem
from remotedocker.sync._flow import InThread
from remotedocker.sync._listing import Listed
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
from remotedocker.sync._remote import Facts, Pushed
from remotedocker.sync._tar import TarSink, open_source, read_source
from remotedocker.sync._transfer import Tree
from remotedocker.sync._tree import Entry

__all__ = ["FileHost"]

_IN_FLIGHT = 64
_SMALL = 256 * 1024
_SECOND = 1_000_000_000
T = TypeVar("T")


async def _together(work: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Does everything, not more than some dozens at a time; raises what the first failed with."""
    tokens = DeferredSemaphore(_IN_FLIGHT)

    def begin(each: Callable[[], Awaitable[T]]) -> Deferred[T]:
        async def run() -> T:
            return await each()

        return Deferred.fromCoroutine(run())

    started: list[Deferred[T]] = [tokens.run(begin, each) for each in work]
    results: list[T] = []
    error: Exception | None = None
    for each in started:
        try:
            results.append(await each)
        except Exception as failed:
            error = error or failed
    if error is not None:
        raise error
    return results


def _entry(attributes: FileAttributes) -> Entry | None:
    entry = Entry(attributes.mode or 0, 0, (attributes.mtime or 0) * _SECOND)
    if entry.is_file:
        return entry._replace(size=attributes.size or 0)
    return entry if entry.is_directory or entry.is_symlink else None


class FileHost:
    """
    Has the methods of L{RemoteHost<remotedocker.sync._remote.RemoteHost>}.

    @param root: C{--sync-root}.
    @param agent: the agent's id.
    """

    def __init__(self, remote: IRemote, root: str, agent: str, run: InThread) -> None:
        self._remote = remote
        self._root = root.encode("utf-8", "surrogateescape")
        self._agent = agent.encode("ascii")
        self._run = run
        self._facts: Facts | None = None
        self._asking = DeferredLock()

    async def facts(self) -> Facts:
        """@return: what the remote is like; makes our directory there."""
        await self._asking.acquire()
        try:
            return await self._ask_facts()
        finally:
            self._asking.release()

    async def _ask_facts(self) -> Facts:
        if self._facts is None:
            files = await self._remote.filesystem()
            home = await files.real_path(b".")
            base = posixpath.normpath(posixpath.join(home, self._root, self._agent))
            await self._make(files, base, False)
            base = await files.real_path(base)
            self._facts = Facts(base, b"", False, coarse=True, lists=False, guards=False, gnu_tar=False)
        return self._facts

    async def close(self) -> None:
        """Nothing is kept."""

    async def make_places(self, places: Sequence[tuple[bytes, bool]]) -> list[str]:
        """See L{RemoteHost.make_places<remotedocker.sync._remote.RemoteHost.make_places>}."""
        files, facts = await self._remote.filesystem(), await self.facts()
        problems: list[str] = []
        for place, is_file in places:
            try:
                await self._make(files, facts.base + place, is_file)
            except RemoteFileError as error:
                problems.append(_reason(error))
            else:
                problems.append("")
        return problems

    async def _make(self, files: IRemoteFilesystem, path: bytes, is_file: bool) -> None:
        """Makes a directory or an empty file, and the directories that lead to it."""
        parts = path.strip(b"/").split(b"/")
        for depth in range(1, len(parts) + 1):
            step = b"/" + b"/".join(parts[:depth])
            wanted_file = is_file and depth == len(parts)
            try:
                found = _entry(await files.lstat(step))
            except RemoteFileNotFound:
                if wanted_file:
                    await files.write_file(step, [], FileAttributes(mode=0o600))
                else:
                    await files.make_directory(step, 0o700)
                continue
            if found is None or (depth == len(parts) and (found.is_symlink or found.is_file != wanted_file)):
                raise RemoteFileError(
                    operation="make",
                    path=step.decode("utf-8", "backslashreplace"),
                    destination=self._remote.destination,
                    reason="something else is there",
                )

    async def existing(self, paths: Sequence[bytes]) -> list[bool]:
        """See L{RemoteHost.existing<remotedocker.sync._remote.RemoteHost.existing>}."""
        files = await self._remote.filesystem()
        return [await _exists(files, path) for path in paths]

    async def list_tree(self, tree: Tree) -> tuple[list[Listed], bytes]:
        """@return: all that the remote has of C{tree}; the time is not known."""
        files, facts = await self._remote.filesystem(), await self.facts()
        root = facts.base + tree.place
        try:
            entry = _entry(await files.lstat(root))
        except RemoteFileNotFound:
            return [], b"0"
        records = [Listed(b"", entry)]
        level = [b""] if entry is not None and entry.is_directory else []
        while level:
            listed = [each for some in await self._list_level(files, root, level) for each in some]
            records += listed
            level = [
                each.path
                for each in listed
                if each.entry is not None and each.entry.is_directory and not each.unreadable
            ]
        return records, b"0"

    async def _list_level(
        self, files: IRemoteFilesystem, root: bytes, directories: Sequence[bytes]
    ) -> list[list[Listed]]:
        def lister(directory: bytes) -> Callable[[], Awaitable[list[Listed]]]:
            return lambda: _list_one(files, root, directory)

        return await _together(lister(directory) for directory in directories)

    async def list_parts(self, tree: Tree, paths: Iterable[bytes]) -> list[Listed]:
        """Never asked, for a listing tells all."""
        return []

    async def list_changes(self, tree: Tree, since: bytes) -> tuple[list[Listed], bytes]:
        """Never asked, for what changed cannot be told."""
        return await self.list_tree(tree)

    async def checksums(self, tree: Tree, paths: Sequence[bytes]) -> dict[bytes, bytes]:
        """@return: none."""
        return {}

    async def push(
        self, tree: Tree, operations: Sequence[Operation], *, guarded: bool, again: bool = False
    ) -> Pushed:
        """See L{RemoteHost.push<remotedocker.sync._remote.RemoteHost.push>}; nothing can be guarded."""
        files, facts = await self._remote.filesystem(), await self.facts()
        pusher = _Pusher(files, facts.base + tree.place, tree.source, self._run)
        contents: list[Operation] = []
        for operation in operations:
            if isinstance(operation, (WriteFile, MakeSymlink)):
                contents.append(operation)
                continue
            await pusher.attempt(contents)
            contents = []
            await pusher.attempt([operation])
        await pusher.attempt(contents)
        await pusher.close_directories(operations)
        return pusher.pushed

    async def fetch(self, tree: Tree, paths: Sequence[bytes], sink: TarSink) -> None:
        """See L{RemoteHost.fetch<remotedocker.sync._remote.RemoteHost.fetch>}."""
        files, facts = await self._remote.filesystem(), await self.facts()
        root = facts.base + tree.place
        for start in range(0, len(paths), _IN_FLIGHT):
            some = paths[start : start + _IN_FLIGHT]
            contents = await _together(_reader(files, root, path) for path in some)
            for path, found in zip(some, contents, strict=True):
                if found is None:
                    continue
                entry, pieces = found
                await self._run(sink.begin, path, entry, b"")
                if pieces is None:
                    try:
                        await files.read_file(_at(root, path), sink.data)
                    except RemoteFileError:
                        # Cut off: what came is not given its name.
                        break
                else:
                    await self._run(sink.data, b"".join(pieces))
                await self._run(sink.end)


def _at(root: bytes, path: bytes) -> bytes:
    return root + b"/" + path if path else root


def _reason(error: RemoteFileError) -> str:
    return str(error.details.get("reason") or error.message)


async def _exists(files: IRemoteFilesystem, path: bytes) -> bool:
    try:
        await files.lstat(path)
    except RemoteFileNotFound:
        return False
    return True


async def _list_one(files: IRemoteFilesystem, root: bytes, directory: bytes) -> list[Listed]:
    try:
        entries = await files.list_directory(_at(root, directory))
    except RemoteFileNotFound:
        return []
    except RemoteFileError:
        return [Listed(directory, Entry(0o040000), unreadable=True)]
    records: list[Listed] = []
    for each in entries:
        path = directory + b"/" + each.name if directory else each.name
        entry = _entry(each.attributes)
        if entry is not None and entry.is_symlink:
            try:
                entry = entry._replace(target=await files.read_link(_at(root, path)))
            except RemoteFileError:
                entry = None
        records.append(Listed(path, entry))
    return records


def _reader(
    files: IRemoteFilesystem, root: bytes, path: bytes
) -> Callable[[], Awaitable[tuple[Entry, list[bytes] | None] | None]]:
    """@return: reads a small file whole; of a big one says what it is; gives None if it cannot read it."""

    async def read() -> tuple[Entry, list[bytes] | None] | None:
        try:
            entry = _entry(await files.lstat(_at(root, path)))
            if entry is None or not entry.is_file:
                return None
            if entry.size > _SMALL:
                return entry, None
            pieces: list[bytes] = []
            await files.read_file(_at(root, path), pieces.append)
        except RemoteFileError:
            return None
        return entry, pieces

    return read


class _Pusher:
    """Does operations on one tree, and notes how each went."""

    def __init__(self, files: IRemoteFilesystem, root: bytes, source: bytes, run: InThread) -> None:
        self.pushed = Pushed()
        self._files = files
        self._root = root
        self._source = source
        self._run = run
        self._serial = 0

    async def attempt(self, operations: Sequence[Operation]) -> None:
        """Does operations that do not depend on each other."""

        def doer(operation: Operation) -> Callable[[], Awaitable[None]]:
            return lambda: self._attempt(operation)

        await _together(doer(operation) for operation in operations)

    async def close_directories(self, operations: Sequence[Operation]) -> None:
        """Gives new directories that may not be written the mode for that, now that they are full."""
        for operation in reversed(operations):
            if isinstance(operation, MakeDirectory) and operation.entry.permissions & 0o700 != 0o700:
                mode = FileAttributes(mode=operation.entry.permissions)
                await self._files.set_attributes(_at(self._root, operation.path), mode)

    async def _attempt(self, operation: Operation) -> None:
        try:
            if isinstance(operation, WriteFile):
                await self._write(operation)
                return
            await self._do(operation)
        except RemoteFileError as error:
            self.pushed.failed.append((operation, _reason(error)))
        else:
            self.pushed.done.append((operation, None))

    async def _do(self, operation: Operation) -> None:
        files, path = self._files, _at(self._root, operation.path)
        if isinstance(operation, MakeDirectory):
            await files.make_directory(path, operation.entry.permissions | 0o700)
        elif isinstance(operation, Rename):
            await files.rename(_at(self._root, operation.old), path)
        elif isinstance(operation, Delete):
            removal = files.remove_directory if operation.expected.is_directory else files.remove
            await removal(path)
        elif isinstance(operation, SetMode):
            await files.set_attributes(path, _attributes(operation.entry))
        elif isinstance(operation, HardLink):
            temporary = self._temporary(path)
            await files.hard_link(_at(self._root, operation.existing), temporary)
            await files.rename(temporary, path)
        elif isinstance(operation, MakeSymlink):
            temporary = self._temporary(path)
            await files.symlink(operation.entry.target, temporary)
            await files.rename(temporary, path)

    def _temporary(self, path: bytes) -> bytes:
        self._serial += 1
        return posixpath.join(posixpath.dirname(path), b".remotedocker-upload-%d" % self._serial)

    async def _write(self, operation: WriteFile) -> None:
        """Writes a file in place, or beside it and then renames it."""
        path = _at(self._root, operation.path)
        try:
            descriptor, entry = await self._run(open_source, _at(self._source, operation.path))
        except OSError as error:
            self.pushed.skipped.append((operation, error.strerror or str(error)))
            return
        direct = operation.in_place or operation.expected is None
        target = path if direct else self._temporary(path)
        ends: list[Entry] = []

        def content() -> Generator[bytes, None, None]:
            ends.append((yield from read_source(descriptor, entry)))

        await self._files.write_file(target, content(), _attributes(entry))
        if target != path:
            await self._files.rename(target, path)
        self.pushed.done.append((operation, ends[0] if ends else entry))


def _attributes(entry: Entry) -> FileAttributes:
    return FileAttributes(mode=entry.permissions, mtime=entry.mtime // _SECOND if entry.is_file else None)
