# -*- test-case-name: tests.ssh.test_filesystem -*-
"""
The SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL, section 4): many requests
in flight, each answered by its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.interfaces import FileAttributes, RemoteEntry
from remotedocker.ssh._wire import Reader, TruncatedMessage, string, uint32, uint64

__all__ = ["FX", "SFTPClient", "SFTPLimits", "SFTPStatus", "pack_attributes", "read_attributes"]


class FX:
    """Message types, open flags and status codes, by the draft's names."""

    INIT, VERSION = 1, 2
    OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = 3, 4, 5, 6, 7, 8, 9, 10
    OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(11, 21)
    STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
    EXTENDED, EXTENDED_REPLY = 200, 201

    F_READ, F_WRITE, F_CREATE, F_TRUNCATE = 0x01, 0x02, 0x08, 0x10

    OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = 0, 1, 2, 3, 4, 5
    OP_UNSUPPORTED = 8


_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 1, 2, 4, 8, 0x80000000
_LONGEST_REPLY = 1 << 20


class SFTPStatus(Exception):
    """
    The server said that a request failed, or that there is nothing more.

    @ivar code: see L{FX}.
    @ivar words: the server's own.
    """

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code, words)
        self.code = code
        self.words = words


@frozen
class SFTPLimits:
    """
    What one request may hold (C{limits@openssh.com}); what every server must take where that is not known.

    @ivar read: bytes.
    @ivar write: bytes.
    @ivar handles: files and directories open at a time.
    """

    read: int = 32768
    write: int = 32768
    handles: int = 100


def pack_attributes(attributes: FileAttributes) -> bytes:
    """@return: C{ATTRS}; owner and group only where both are known, the access time like the other."""
    flags = 0
    packed = b""
    if attributes.size is not None:
        flags |= _HAS_SIZE
        packed += uint64(attributes.size)
    if attributes.uid is not None and attributes.gid is not None:
        flags |= _HAS_OWNER
        packed += uint32(attributes.uid) + uint32(attributes.gid)
    if attributes.mode is not None:
        flags |= _HAS_MODE
        packed += uint32(attributes.mode & 0o7777)
    if attributes.mtime is not None:
        flags |= _HAS_TIMES
        seconds = min(max(attributes.mtime, 0), 0xFFFFFFFF)
        packed += uint32(seconds) + uint32(seconds)
    return uint32(flags) + packed


def read_attributes(reader: Reader) -> FileAttributes:
    """@return: what the next C{ATTRS} says."""
    flags = reader.uint32()
    size = reader.uint64() if flags & _HAS_SIZE else None
    uid = gid = mode = mtime = None
    if flags & _HAS_OWNER:
        uid, gid = reader.uint32(), reader.uint32()
    if flags & _HAS_MODE:
        mode = reader.uint32()
    if flags & _HAS_TIMES:
        reader.uint32()
        mtime = reader.uint32()
    if flags & _HAS_MORE:
        for _ in range(reader.uint32()):
            reader.string()
            reader.string()
    return FileAttributes(mode=mode, size=size, uid=uid, gid=gid, mtime=mtime)


@implementer(IPushProducer)
class SFTPClient(Protocol):
    """
    The client of one SFTP session.

    @ivar ready: fires with the client when the server has told its version and its limits.
    @ivar lost: why the session is over, once it is.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.limits = SFTPLimits()
        self.extensions: Mapping[bytes, bytes] = {}
        self.ready: Deferred[SFTPClient] = Deferred()
        self.lost: Exception | None = None
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._needed = 4
        self._next_id = 0
        self._waiting: dict[int, Deferred[tuple[int, Reader]]] = {}
        self._full = False
        self._wanting_room: list[Deferred[None]] = []

    # What comes in

    def connectionMade(self) -> None:
        """Says which version is spoken."""
        self.transport.registerProducer(self, True)
        self.transport.write(uint32(5) + bytes((FX.INIT,)) + uint32(3))

    def dataReceived(self, data: bytes) -> None:
        """Splits what was received into replies; only a reply that is cut is copied."""
        if self._partial:
            self._partial.append(data)
            self._partial_bytes += len(data)
            if self._partial_bytes < self._needed:
                return
            data = b"".join(self._partial)
            self._partial.clear()
        at, end = 0, len(data)
        while end - at >= 4:
            length = int.from_bytes(data[at : at + 4], "big")
            if not 0 < length <= _LONGEST_REPLY:
                self._end(ConnectionLost(f"the SFTP server sent a reply of {length} bytes"))
                return
            if end - at < 4 + length:
                self._needed = 4 + length
                break
            self._reply(data[at + 4], data[at + 5 : at + 4 + length])
            at += 4 + length
        else:
            self._needed = 4
        if at < end:
            self._partial.append(data[at:])
            self._partial_bytes = end - at

    def _reply(self, kind: int, payload: bytes) -> None:
        """One reply."""
        reader = Reader(payload)
        try:
            if kind == FX.VERSION:
                self._version(reader)
                return
            waiting = self._waiting.pop(reader.uint32(), None)
            if waiting is None:
                return
            if kind == FX.STATUS:
                code = reader.uint32()
                if code != FX.OK:
                    waiting.errback(SFTPStatus(code, "" if reader.at_end() else reader.text()))
                    return
            waiting.callback((kind, reader))
        except TruncatedMessage as error:
            self._end(ConnectionLost(f"the SFTP server's reply makes no sense ({error})"))

    def _version(self, reader: Reader) -> None:
        """The server's version, and what it can do beyond it."""
        reader.uint32()
        extensions = {}
        while not reader.at_end():
            name = reader.string()
            extensions[name] = reader.string()
        self.extensions = extensions
        if b"limits@openssh.com" not in extensions:
            self.ready.callback(self)
            return
        asked = self.extended(b"limits@openssh.com", b"")
        asked.addCallbacks(self._take_limits, lambda failure: None)
        asked.addCallback(lambda _: self.ready.called or self.ready.callback(self))

    def _take_limits(self, answer: tuple[int, Reader]) -> None:
        """What one request may hold; 0 stands for no limit."""
        reader = answer[1]
        reader.uint64()
        read, write, handles = reader.uint64(), reader.uint64(), reader.uint64()
        usual = SFTPLimits()
        self.limits = SFTPLimits(
            min(read or usual.read, 255 << 10),
            min(write or usual.write, 255 << 10),
            max(4, min((handles or usual.handles + 8) - 8, 512)),
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The session is over; nothing will be answered any more."""
        self._end(reason.value)

    def _end(self, error: Exception) -> None:
        """Fails everything that is waited for."""
        if self.lost is not None:
            return
        self.lost = error
        self.transport.loseConnection()
        waiting, self._waiting = self._waiting, {}
        self._full = False
        for one in waiting.values():
            one.errback(Failure(error))
        self.resumeProducing()
        if not self.ready.called:
            self.ready.errback(Failure(error))

    # What goes out

    def request(self, kind: int, *payload: bytes | memoryview) -> Deferred[tuple[int, Reader]]:
        """
        Sends a request.

        @return: fires with the reply's type and content; fails with L{SFTPStatus} when it says anything but
            OK, and with the reason when the session is over.
        """
        answered: Deferred[tuple[int, Reader]] = Deferred()
        if self.lost is not None:
            answered.errback(Failure(self.lost))
            return answered
        number = self._next_id
        self._next_id = (number + 1) & 0xFFFFFFFF
        self._waiting[number] = answered
        length = 5 + sum(map(len, payload))
        self.transport.writeSequence([uint32(length) + bytes((kind,)) + uint32(number), *payload])
        return answered

    def extended(self, name: bytes, payload: bytes) -> Deferred[tuple[int, Reader]]:
        """@return: as L{request}, for one of the server's L{extensions}."""
        return self.request(FX.EXTENDED, string(name), payload)

    async def room(self) -> None:
        """Waits until what is sent would not only wait here."""
        if self._full:
            waiting: Deferred[None] = Deferred()
            self._wanting_room.append(waiting)
            await waiting

    def pauseProducing(self) -> None:
        """Enough is waiting to be sent."""
        self._full = True

    def resumeProducing(self) -> None:
        """More can be sent."""
        self._full = False
        waiting, self._wanting_room = self._wanting_room, []
        for one in waiting:
            if self._full:
                self._wanting_room.append(one)
            else:
                one.callback(None)

    def stopProducing(self) -> None:
        """The channel is gone; L{connectionLost} follows."""

    # Requests with one answer of a known kind

    async def handle(self, kind: int, *payload: bytes) -> bytes:
        """@return: the handle that a request gives."""
        _, reader = await self.request(kind, *payload)
        return reader.string()

    async def attributes(self, kind: int, what: bytes) -> FileAttributes:
        """@return: what a request for attributes gives, of a path or a handle."""
        _, reader = await self.request(kind, string(what))
        return read_attributes(reader)

    async def names(self, kind: int, what: bytes) -> list[RemoteEntry]:
        """@return: what a request for names gives."""
        _, reader = await self.request(kind, string(what))
        found = []
        for _ in range(reader.uint32()):
            name = reader.string()
            reader.string()
            found.append(RemoteEntry(name, read_attributes(reader)))
        return found

    async def name(self, kind: int, what: bytes) -> bytes:
        """@return: the one name that a request gives."""
        found = await self.names(kind, what)
        if len(found) != 1:
            raise TruncatedMessage(f"{len(found)} names instead of one")
        return found[0].name

    def forget(self, request: Deferred[Any]) -> None:
        """Nobody wants to know how a request ends."""
        request.addErrback(lambda failure: None)
