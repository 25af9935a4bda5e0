# -*- test-case-name: tests.ssh.test_filesystem -*-
"""
The remote's files, over one SFTP session.

A new file takes two round trips: one for its handle; then its content, its attributes and its closing go in
one flight, for the server works on the requests of a session in their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.error import ConnectionClosed
from zope.interface import implementer

from remotedocker.errors import (
    RemoteDiskFull,
    RemoteFileError,
    RemoteFileNotFound,
    RemotePermissionDenied,
    SSHError,
)
from remotedocker.interfaces import FileAttributes, FileKind, IRemoteFilesystem, RemoteEntry
from remotedocker.ssh._channel import Channel
from remotedocker.ssh._sftp import FX, SFTPClient, SFTPStatus, pack_attributes
from remotedocker.ssh._wire import TruncatedMessage, string, uint32, uint64

__all__ = ["FilesystemSession", "RemoteFilesystem"]

_T = TypeVar("_T")

_TYPE_BITS = 0o170000
#: How many reads of one file are in flight at most, and writes whose answers have not come.
_READS_AHEAD = 16
_WRITES_AHEAD = 64


@implementer(IRemoteFilesystem)
class RemoteFilesystem:
    """See L{IRemoteFilesystem}."""

    def __init__(self, client: SFTPClient, destination: str) -> None:
        """
        @param client: one that is ready.
        @param destination: for messages.
        """
        self._client = client
        self._destination = destination
        self._handles = DeferredSemaphore(client.limits.handles)

    @property
    def alive(self) -> bool:
        """Whether the session has not ended."""
        return self._client.lost is None

    def close(self) -> None:
        """Ends the session."""
        self._client.transport.loseConnection()

    # Errors

    def _do(self, operation: str, path: bytes, work: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        """@return: fires with what C{work} returns; fails with errors that users understand."""

        async def done() -> _T:
            try:
                return await work
            except SFTPStatus as status:
                raise self._error(operation, path, status) from None
            except ConnectionClosed as error:
                raise SSHError(
                    destination=self._destination, reason=f"the SFTP session was lost ({error})"
                ) from None
            except TruncatedMessage as error:
                raise SSHError(
                    destination=self._destination, reason=f"an answer of its SFTP makes no sense ({error})"
                ) from None

        return Deferred.fromCoroutine(done())

    def _error(self, operation: str, path: bytes, status: SFTPStatus) -> RemoteFileError:
        """@return: the error that C{status} means."""
        kinds: dict[int, type[RemoteFileError]] = {
            FX.NO_SUCH_FILE: RemoteFileNotFound,
            FX.PERMISSION_DENIED: RemotePermissionDenied,
        }
        return kinds.get(status.code, RemoteFileError)(
            operation=operation,
            path=path.decode("utf-8", "replace"),
            destination=self._destination,
            reason=status.words or f"status {status.code}",
        )

    # Names

    def real_path(self, path: bytes) -> Deferred[bytes]:
        """See L{IRemoteFilesystem.real_path}."""

        async def work() -> bytes:
            return await self._client.name(FX.REALPATH, path)

        return self._do("finding", path, work())

    def lstat(self, path: bytes) -> Deferred[FileAttributes]:
        """See L{IRemoteFilesystem.lstat}."""
        return self._do("looking at", path, self._client.attributes(FX.LSTAT, path))

    def list_directory(self, path: bytes) -> Deferred[Sequence[RemoteEntry]]:
        """See L{IRemoteFilesystem.list_directory}."""
        return self._do("listing", path, self._list(path))

    async def _list(self, path: bytes) -> list[RemoteEntry]:
        """Asks for the next names before the last ones have come."""
        found: list[RemoteEntry] = []
        await self._handles.acquire()
        try:
            handle = await self._client.handle(FX.OPENDIR, string(path))
            asked = deque(self._names(handle) for _ in range(2))
            try:
                while True:
                    entries = await asked.popleft()
                    asked.append(self._names(handle))
                    found += [entry for entry in entries if entry.name not in (b".", b"..")]
            except SFTPStatus as status:
                if status.code != FX.EOF:
                    raise
            finally:
                for unneeded in asked:
                    self._client.forget(unneeded)
                self._client.forget(self._client.request(FX.CLOSE, string(handle)))
        finally:
            self._handles.release()
        return found

    def _names(self, handle: bytes) -> Deferred[list[RemoteEntry]]:
        """@return: fires with the next entries of a directory."""
        return Deferred.fromCoroutine(self._client.names(FX.READDIR, handle))

    def make_directory(self, path: bytes, mode: int) -> Deferred[None]:
        """See L{IRemoteFilesystem.make_directory}."""
        return self._do("making", path, self._make_directory(path, mode))

    async def _make_directory(self, path: bytes, mode: int) -> None:
        """Makes the directory, and looks in the same flight whether the server's umask took bits away."""
        attributes = FileAttributes(mode=mode)
        made = self._client.request(FX.MKDIR, string(path), pack_attributes(attributes))
        looked = Deferred.fromCoroutine(self._client.attributes(FX.LSTAT, path))
        try:
            await made
        except BaseException:
            self._client.forget(looked)
            raise
        found = await looked
        if found.mode is not None and (found.mode ^ mode) & 0o777:
            await self._client.request(FX.SETSTAT, string(path), pack_attributes(attributes))

    def rename(self, old: bytes, new: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.rename}."""
        return self._do("renaming", old, self._rename(old, new))

    async def _rename(self, old: bytes, new: bytes) -> None:
        """A server without the extension cannot replace atomically: there the old file goes first."""
        names = string(old) + string(new)
        if b"posix-rename@openssh.com" in self._client.extensions:
            await self._client.extended(b"posix-rename@openssh.com", names)
            return
        try:
            await self._client.request(FX.RENAME, names)
        except SFTPStatus as status:
            if status.code != FX.FAILURE:
                raise
            await self._client.request(FX.REMOVE, string(new))
            await self._client.request(FX.RENAME, names)

    def remove(self, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.remove}."""
        return self._do("removing", path, self._plain(FX.REMOVE, string(path)))

    def remove_directory(self, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.remove_directory}."""
        return self._do("removing", path, self._plain(FX.RMDIR, string(path)))

    async def _plain(self, kind: int, payload: bytes) -> None:
        """A request whose answer is only that it was done."""
        await self._client.request(kind, payload)

    def symlink(self, target: bytes, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.symlink}; the order of the two is OpenSSH's, which all others follow."""
        return self._do("making", path, self._plain(FX.SYMLINK, string(target) + string(path)))

    def read_link(self, path: bytes) -> Deferred[bytes]:
        """See L{IRemoteFilesystem.read_link}."""

        async def work() -> bytes:
            return await self._client.name(FX.READLINK, path)

        return self._do("reading", path, work())

    def hard_link(self, existing: bytes, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.hard_link}."""

        async def work() -> None:
            if b"hardlink@openssh.com" not in self._client.extensions:
                raise SFTPStatus(FX.OP_UNSUPPORTED, "the server's SFTP cannot make hard links")
            await self._client.extended(b"hardlink@openssh.com", string(existing) + string(path))

        return self._do("linking", existing, work())

    def set_attributes(self, path: bytes, attributes: FileAttributes) -> Deferred[None]:
        """See L{IRemoteFilesystem.set_attributes}."""
        return self._do("changing", path, self._set_attributes(path, attributes))

    async def _set_attributes(self, path: bytes, attributes: FileAttributes) -> None:
        """
        Uses C{lsetstat@openssh.com}. Some systems cannot set a mode in that way: then it is made sure that
        there is no link.
        """
        if (attributes.uid is None) != (attributes.gid is None):
            attributes = _both_owners(attributes, await self._client.attributes(FX.LSTAT, path))
        payload = string(path) + pack_attributes(attributes)
        if b"lsetstat@openssh.com" in self._client.extensions:
            try:
                await self._client.extended(b"lsetstat@openssh.com", payload)
                return
            except SFTPStatus as status:
                if status.code in (FX.NO_SUCH_FILE, FX.PERMISSION_DENIED):
                    raise
        found = await self._client.attributes(FX.LSTAT, path)
        if found.mode is not None and found.mode & _TYPE_BITS == FileKind.SYMLINK:
            return
        await self._client.request(FX.SETSTAT, payload)

    # Content

    def write_file(self, path: bytes, chunks: Iterable[bytes], attributes: FileAttributes) -> Deferred[int]:
        """See L{IRemoteFilesystem.write_file}."""
        return self._do("writing", path, self._write_file(path, chunks, attributes))

    async def _write_file(self, path: bytes, chunks: Iterable[bytes], attributes: FileAttributes) -> int:
        """Opens; then writes, sets and closes in one flight, as far as there is room for it."""
        client = self._client
        flags = FX.F_WRITE | FX.F_CREATE | FX.F_TRUNCATE
        asked: deque[Deferred[Any]] = deque()
        closed = False
        await client.room()
        await self._handles.acquire()
        try:
            initial = pack_attributes(FileAttributes(mode=attributes.mode))
            handle = await client.handle(FX.OPEN, string(path), uint32(flags), initial)
            try:
                written = await self._send_chunks(handle, chunks, asked)
                wanted = pack_attributes(evolve(await self._with_owner(handle, attributes), size=None))
                if wanted != uint32(0):
                    asked.append(client.request(FX.FSETSTAT, string(handle), wanted))
                asked.append(client.request(FX.CLOSE, string(handle)))
                closed = True
                while asked:
                    await asked.popleft()
            finally:
                for unneeded in asked:
                    client.forget(unneeded)
                if not closed:
                    client.forget(client.request(FX.CLOSE, string(handle)))
        except SFTPStatus as status:
            if status.code == FX.FAILURE and await self._is_full(path):
                raise RemoteDiskFull(
                    operation="writing", path=path.decode("utf-8", "replace"), destination=self._destination
                ) from None
            raise
        finally:
            self._handles.release()
        return written

    async def _send_chunks(self, handle: bytes, chunks: Iterable[bytes], asked: deque[Deferred[Any]]) -> int:
        """
        Sends the content; waits for room only, and takes the answers that have come.

        @param asked: gets the requests that are not yet answered.
        @return: how many bytes there were.
        """
        client = self._client
        offset = 0
        packed = string(handle)
        for chunk in _of_size(chunks, client.limits.write):
            asked.append(client.request(FX.WRITE, packed, uint64(offset), uint32(len(chunk)), chunk))
            offset += len(chunk)
            await client.room()
            while asked and (asked[0].called or len(asked) > _WRITES_AHEAD):
                await asked.popleft()
        return offset

    async def _with_owner(self, handle: bytes, attributes: FileAttributes) -> FileAttributes:
        """@return: C{attributes} with both of owner and group, if it has one of them."""
        if (attributes.uid is None) == (attributes.gid is None):
            return attributes
        return _both_owners(attributes, await self._client.attributes(FX.FSTAT, handle))

    async def _is_full(self, path: bytes) -> bool:
        """@return: whether there is no room on the disk, which the protocol has no code for."""
        if b"statvfs@openssh.com" not in self._client.extensions:
            return False
        try:
            _, reader = await self._client.extended(b"statvfs@openssh.com", string(path))
        except SFTPStatus:
            return False
        _, block, blocks, _, available, files, _, free_files = (reader.uint64() for _ in range(8))
        no_room = blocks > 0 and block * available < self._client.limits.write
        return no_room or (files > 0 and free_files == 0)

    def read_file(self, path: bytes, consume: Callable[[bytes], None]) -> Deferred[int]:
        """See L{IRemoteFilesystem.read_file}."""
        return self._do("reading", path, self._read_file(path, consume))

    async def _read_file(self, path: bytes, consume: Callable[[bytes], None]) -> int:
        """Keeps more and more reads in flight, until the file ends."""
        client = self._client
        await self._handles.acquire()
        try:
            handle = await client.handle(FX.OPEN, string(path), uint32(FX.F_READ), uint32(0))
            asked: deque[tuple[int, Deferred[Any]]] = deque()
            try:
                return await self._receive_chunks(handle, consume, asked)
            finally:
                for _, unneeded in asked:
                    client.forget(unneeded)
                client.forget(client.request(FX.CLOSE, string(handle)))
        finally:
            self._handles.release()

    async def _receive_chunks(
        self, handle: bytes, consume: Callable[[bytes], None], asked: deque[tuple[int, Deferred[Any]]]
    ) -> int:
        """@return: how many bytes there were."""
        size = self._client.limits.read
        offset, ahead = 0, 2
        next_offset = 0
        while True:
            while len(asked) < ahead:
                asked.append((next_offset, self._read(handle, next_offset, size)))
                next_offset += size
            at, answer = asked.popleft()
            try:
                _, reader = await answer
            except SFTPStatus as status:
                if status.code == FX.EOF:
                    return offset
                raise
            data = reader.string()
            consume(data)
            offset = at + len(data)
            if len(data) < size:
                # Cut short: what was asked for behind it does not fit any more.
                for _, unneeded in asked:
                    self._client.forget(unneeded)
                asked.clear()
                next_offset = offset
            ahead = min(ahead * 2, _READS_AHEAD)

    def _read(self, handle: bytes, offset: int, size: int) -> Deferred[Any]:
        """@return: fires with the answer to a read."""
        return self._client.request(FX.READ, string(handle), uint64(offset), uint32(size))


class FilesystemSession:
    """
    The one SFTP session that all callers share, made when it is first needed, and again when it was lost.
    """

    def __init__(self, destination: str, open_channel: Callable[[], Awaitable[Channel]]) -> None:
        """
        @param open_channel: gives a channel to the server's SFTP subsystem.
        """
        self._destination = destination
        self._open_channel = open_channel
        self._current: RemoteFilesystem | None = None
        self._lock = DeferredLock()

    async def get(self) -> RemoteFilesystem:
        """@return: the files, over a session that lives."""
        current = self._current
        if current is not None and current.alive:
            return current
        await self._lock.acquire()
        try:
            if self._current is None or not self._current.alive:
                self._current = await self._begin()
            return self._current
        finally:
            self._lock.release()

    async def _begin(self) -> RemoteFilesystem:
        """@return: the files, over a new session."""
        client = SFTPClient()
        channel = await self._open_channel()
        channel.attach(client)
        try:
            await client.ready
        except ConnectionClosed as error:
            raise SSHError(
                destination=self._destination,
                reason=f"its SFTP does not work ({error}); "
                "its sshd_config needs the line `Subsystem sftp internal-sftp`",
            ) from None
        return RemoteFilesystem(client, self._destination)


def _both_owners(attributes: FileAttributes, found: FileAttributes) -> FileAttributes:
    """@return: C{attributes}, with the owner or the group that it lacks."""
    return evolve(
        attributes,
        uid=found.uid if attributes.uid is None else attributes.uid,
        gid=found.gid if attributes.gid is None else attributes.gid,
    )


def _of_size(chunks: Iterable[bytes], size: int) -> Iterator[bytes | memoryview]:
    """
    @return: the same bytes, in pieces of C{size}; small ones are put together, large ones cut without a copy.
    """
    waiting: list[bytes] = []
    have = 0
    for chunk in chunks:
        if have + len(chunk) < size:
            waiting.append(chunk)
            have += len(chunk)
            continue
        if waiting:
            chunk = b"".join((*waiting, chunk))
            waiting, have = [], 0
        view = memoryview(chunk)
        whole = len(view) - len(view) % size
        for at in range(0, whole, size):
            yield view[at : at + size]
        if whole < len(view):
            waiting, have = [bytes(view[whole:])], len(view) - whole
    if waiting:
        yield b"".join(waiting)
