# -*- test-case-name: tests.sync.test_filehost -*-
"""
The remote's side of all mirrors where it gives us no shell: SFTP alone, many requests in flight.

SFTP version 3 knows times in whole seconds and cannot tell what changed since; a pass lists the whole tree.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import DeferredLock

from remotedocker.errors import RemoteFileError, RemoteFileNotFound
from remotedocker.interfaces import FileAttributes, IRemote, IRemoteFilesystem
from remotedocker.sync._cancelling import to_its_end
from remotedocker.sync._facts import STORE_NAME, Facts
from remotedocker.sync._filepush import FilePusher, entry_of_attributes, reason_of, together
from remotedocker.sync._flow import InThread
from remotedocker.sync._listing import Listed
from remotedocker.sync._operations import MakeSymlink, Operation, WriteFile
from remotedocker.sync._remote import Pushed
from remotedocker.sync._tar import TarSink
from remotedocker.sync._transfer import Tree
from remotedocker.sync._tree import Entry, shown

__all__ = ["FileHost", "FileSink"]

_IN_FLIGHT = 64
_SMALL = 256 * 1024


class FileSink(TarSink, Protocol):
    """What takes files that may break off one by one."""

    def lost(self, reason: str) -> None:
        """The file that began does not come to its end."""


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
        self._run = to_its_end(run)
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
            stage = posixpath.join(posixpath.dirname(base), b".stage-" + self._agent)
            await self._make(files, stage, False)
            for left in await files.list_directory(stage):
                await files.remove(posixpath.join(stage, left.name))
            store = await self._store(files, posixpath.join(base, STORE_NAME))
            self._facts = Facts(
                base, stage, False, coarse=True, lists=False, guards=True, gnu_tar=False, store=store
            )
        return self._facts

    async def _store(self, files: IRemoteFilesystem, path: bytes) -> bytes:
        """@return: what names our directory; it is given a name if it has none."""
        pieces: list[bytes] = []
        with suppress(RemoteFileNotFound):
            await files.read_file(path, pieces.append)
        if not any(pieces):
            pieces = [secrets.token_hex(12).encode("ascii")]
            await files.write_file(path, pieces, FileAttributes(mode=0o600))
        return b"".join(pieces)

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
                problems.append(reason_of(error))
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
                found = entry_of_attributes(await files.lstat(step))
            except RemoteFileNotFound:
                if wanted_file:
                    await files.write_file(step, [], FileAttributes(mode=0o600, mtime=0))
                else:
                    await files.make_directory(step, 0o700)
                continue
            if found is None or (depth == len(parts) and (found.is_symlink or found.is_file != wanted_file)):
                raise RemoteFileError(
                    operation="make",
                    path=shown(step),
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
            entry = entry_of_attributes(await files.lstat(root))
        except RemoteFileNotFound:
            return [], b"0"
        records: list[Listed] = []
        level = [Listed(b"", entry)]
        while level:
            directories = [each for each in level if each.entry is not None and each.entry.is_directory]
            records += [each for each in level if each.entry is None or not each.entry.is_directory]
            level = []
            for directory, names in zip(
                directories, await self._list_level(files, root, directories), strict=True
            ):
                records.append(directory._replace(unreadable=names is None))
                level += names or []
        return records, b"0"

    async def _list_level(
        self, files: IRemoteFilesystem, root: bytes, directories: Sequence[Listed]
    ) -> list[list[Listed] | None]:
        def lister(directory: Listed) -> Callable[[], Awaitable[list[Listed] | None]]:
            return lambda: _list_one(files, root, directory.path)

        return await together(lister(directory) for directory in directories)

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
        """See L{RemoteHost.push<remotedocker.sync._remote.RemoteHost.push>}."""
        files, facts = await self._remote.filesystem(), await self.facts()
        pusher = FilePusher(files, facts, tree, self._run, guarded)
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

    async def fetch(self, tree: Tree, paths: Sequence[bytes], sink: FileSink) -> None:
        """
        See L{RemoteHost.fetch<remotedocker.sync._remote.RemoteHost.fetch>}. When it ends, no thread is at
        C{sink} any more, even if it was cancelled.
        """
        files, facts = await self._remote.filesystem(), await self.facts()
        root = facts.base + tree.place
        for start in range(0, len(paths), _IN_FLIGHT):
            some = paths[start : start + _IN_FLIGHT]
            contents = await together(_reader(files, root, path) for path in some)
            for path, found in zip(some, contents, strict=True):
                if found is None:
                    continue
                entry, pieces = found
                await self._run(sink.begin, path, entry, b"")
                if pieces is None:
                    try:
                        await files.read_file(_at(root, path), sink.data)
                    except RemoteFileError as error:
                        await self._run(sink.lost, reason_of(error))
                        continue
                else:
                    await self._run(sink.data, b"".join(pieces))
                await self._run(sink.end)


def _at(root: bytes, path: bytes) -> bytes:
    return root + b"/" + path if path else root


async def _exists(files: IRemoteFilesystem, path: bytes) -> bool:
    try:
        await files.lstat(path)
    except RemoteFileNotFound:
        return False
    return True


async def _list_one(files: IRemoteFilesystem, root: bytes, directory: bytes) -> list[Listed] | None:
    """@return: what is in a directory; None if it cannot be read, or goes away meanwhile."""
    try:
        entries = await files.list_directory(_at(root, directory))
    except RemoteFileError:
        return None
    records: list[Listed] = []
    for each in entries:
        path = directory + b"/" + each.name if directory else each.name
        entry = entry_of_attributes(each.attributes)
        if entry is not None and entry.is_symlink:
            try:
                entry = entry._replace(target=await files.read_link(_at(root, path)))
            except RemoteFileError:
                records.append(Listed(path, None, unreadable=True))
                continue
        records.append(Listed(path, entry, unreadable=each.attributes.mode is None))
    return records


def _reader(
    files: IRemoteFilesystem, root: bytes, path: bytes
) -> Callable[[], Awaitable[tuple[Entry, list[bytes] | None] | None]]:
    """@return: reads a small file whole; of a big one says what it is; gives None if it cannot read it."""

    async def read() -> tuple[Entry, list[bytes] | None] | None:
        try:
            entry = entry_of_attributes(await files.lstat(_at(root, path)))
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
