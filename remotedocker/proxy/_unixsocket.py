# -*- test-case-name: tests.proxy.test_unixsocket -*-
"""
A unix socket that only its owner can open, and of which there is one.

A socket that nobody listens on any more is replaced. To tell that from one whose owner lives, it is locked
(C{flock(2)} of a file beside it, which the kernel gives up with the process) and, for owners that know
nothing of that lock, tried.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import CannotListen

__all__ = ["OwnedSocketEndpoint"]

_LONGEST_PATH = 107
"""C{unix(7)}: C{sun_path} has 108 bytes with its final NUL."""


class _OwnedPort(unix.Port):
    """
    Removes at its end what is its own, and nothing else. (Twisted's removes whatever is there, and fails if
    nothing is.)
    """

    path: bytes = b""
    lock: int = -1
    inode: int = -1

    def connectionLost(self, reason: Failure) -> None:
        """Closes the socket, then removes it and gives the lock up."""
        try:
            if os.stat(self.path).st_ino == self.inode:
                os.unlink(self.path)
        except OSError:
            # Somebody has removed it before.
            pass
        tcp.Port.connectionLost(self, reason)
        _unlock(self.path, self.lock)


def _unlock(path: bytes, lock: int) -> None:
    try:
        os.unlink(path + b".lock")
    except OSError:
        # Somebody has removed it before.
        pass
    os.close(lock)


@implementer(IStreamServerEndpoint)
class OwnedSocketEndpoint:
    """
    Listens on a unix socket of mode 0600; its directory is made with mode 0700 if it is missing.

    @param path: absolute.
    """

    def __init__(self, reactor: Any, path: str, backlog: int) -> None:
        self._reactor = reactor
        self._path = os.fsencode(path)
        self._name = path
        self._backlog = backlog

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @return: fails with L{CannotListen} if somebody else listens there, or it cannot be made.
        """
        try:
            return succeed(self._listen(factory))
        except OSError as error:
            reason = f"{error.strerror or error}"
        except CannotListenError as error:
            reason = str(error.socketError)
        except CannotListen as error:
            return fail(error)
        return fail(CannotListen(address=f"unix:{self._name}", reason=reason))

    def _listen(self, factory: IProtocolFactory) -> _OwnedPort:
        if len(self._path) > _LONGEST_PATH:
            raise self._taken(f"the path is longer than {_LONGEST_PATH} bytes")
        os.makedirs(os.path.dirname(self._path) or b".", mode=0o700, exist_ok=True)
        lock = self._lock()
        try:
            self._remove_stale()
            port = _OwnedPort(self._path, factory, self._backlog, mode=0o600, reactor=self._reactor)
            mask = os.umask(0o177)
            try:
                port.startListening()
            finally:
                os.umask(mask)
        except BaseException:
            _unlock(self._path, lock)
            raise
        port.path = self._path
        port.lock = lock
        port.inode = os.stat(self._path).st_ino
        return port

    def _taken(self, reason: str) -> CannotListen:
        return CannotListen(address=f"unix:{self._name}", reason=reason)

    def _lock(self) -> int:
        """@return: a descriptor that holds the lock while it is open."""
        while True:
            lock = os.open(self._path + b".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_ino == os.stat(self._path + b".lock").st_ino:
                    return lock
            except BlockingIOError:
                os.close(lock)
                raise self._taken("another agent listens there") from None
            except FileNotFoundError:
                # The one who held it removed it in this moment: the lock is on a file that is no more.
                pass
            os.close(lock)

    def _remove_stale(self) -> None:
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise self._taken("there is a file of that name, which is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self._path)
            except ConnectionRefusedError:
                os.unlink(self._path)
                return
            except OSError as error:
                raise self._taken(f"it may be in use: {error.strerror}") from error
        raise self._taken("another program listens there")
