# -*- test-case-name: tests.proxy.test_unixsocket -*-
"""
Tests for L{remotedocker.proxy._unixsocket}, on real sockets.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from remotedocker.errors import CannotListen
from remotedocker.proxy._unixsocket import OwnedSocketEndpoint
from tests.support import Recorder, wait_until


class OwnedSocketTests(TestCase):
    """One socket in a directory of its own, with a short path."""

    def setUp(self) -> None:
        """Nobody listens."""
        self.directory = os.path.relpath(self.mktemp())
        self.path = os.path.join(self.directory, "run", "d.sock")

    async def listen(self) -> IListeningPort:
        """@return: the port, closed at the end of the test."""
        port = await OwnedSocketEndpoint(reactor, self.path, 50).listen(Factory.forProtocol(Recorder))
        self.addCleanup(port.stopListening)
        return port

    async def refused(self) -> str:
        """@return: why it cannot listen."""
        endpoint = OwnedSocketEndpoint(reactor, self.path, 50)
        try:
            await endpoint.listen(Factory.forProtocol(Recorder))
        except CannotListen as error:
            self.assertIn(f"unix:{self.path}", error.message)
            return error.message
        raise AssertionError("it listens")

    def mode(self, path: str) -> int:
        """@return: permission bits."""
        return stat.S_IMODE(os.stat(path).st_mode)

    async def test_private(self) -> None:
        """The socket and its new directory are its owner's alone, and connections work."""
        verifyObject(IStreamServerEndpoint, OwnedSocketEndpoint(reactor, self.path, 50))
        await self.listen()
        self.assertEqual((self.mode(self.path), self.mode(os.path.dirname(self.path))), (0o600, 0o700))
        client = Recorder()
        await UNIXClientEndpoint(reactor, self.path).connect(Factory.forProtocol(lambda: client))
        client.transport.loseConnection()
        await wait_until(reactor, lambda: client.lost)

    async def test_directoryStays(self) -> None:
        """A directory that is there keeps its mode."""
        os.makedirs(os.path.dirname(self.path), mode=0o755)
        await self.listen()
        self.assertEqual(self.mode(os.path.dirname(self.path)), 0o755)

    async def test_removed(self) -> None:
        """When it stops listening, socket and lock are gone."""
        port = await self.listen()
        await port.stopListening()  # type: ignore[misc]
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    async def test_again(self) -> None:
        """It can be listened on again at once."""
        port = await self.listen()
        await port.stopListening()  # type: ignore[misc]
        await self.listen()

    async def test_removedByOthers(self) -> None:
        """A socket, lock or both that somebody removed before are no trouble at the end."""
        port = await self.listen()
        os.unlink(self.path)
        os.unlink(self.path + ".lock")
        await port.stopListening()  # type: ignore[misc]

    async def test_replacedByOthers(self) -> None:
        """What somebody else put in its place stays."""
        port = await self.listen()
        os.unlink(self.path)
        with open(self.path, "w"):
            pass
        await port.stopListening()  # type: ignore[misc]
        self.assertTrue(os.path.exists(self.path))

    async def test_stale(self) -> None:
        """A socket of a process that died is replaced."""
        os.makedirs(os.path.dirname(self.path))
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(self.path)
        dead.close()
        with open(self.path + ".lock", "w"):
            pass
        await self.listen()
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)

    async def test_otherAgent(self) -> None:
        """Where another agent listens, nothing is touched."""
        await self.listen()
        inode = os.stat(self.path).st_ino
        self.assertIn("another agent listens there", await self.refused())
        self.assertEqual(os.stat(self.path).st_ino, inode)

    async def test_lockedByOther(self) -> None:
        """Also if it has its lock, but not yet its socket."""
        os.makedirs(os.path.dirname(self.path))
        with open(self.path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertIn("another agent", await self.refused())
            self.assertTrue(os.path.exists(self.path + ".lock"))

    async def test_otherProgram(self) -> None:
        """A socket on which another program listens, such as a dockerd, is left alone."""
        os.makedirs(os.path.dirname(self.path))
        other: Any = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(self.path)
        other.listen()
        self.assertIn("another program listens there", await self.refused())
        self.assertTrue(os.path.exists(self.path))

    async def test_file(self) -> None:
        """A file is never replaced."""
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "w") as file:
            file.write("precious")
        self.assertIn("no socket", await self.refused())
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    async def test_noDirectory(self) -> None:
        """A directory that cannot be made is an error with its cause."""
        os.makedirs(self.directory)
        with open(os.path.join(self.directory, "run"), "w"):
            pass
        self.assertIn("exists", (await self.refused()).lower())

    async def test_longPath(self) -> None:
        """A path that no socket can have is refused in words."""
        self.path = os.path.join(self.directory, "x" * 120)
        self.assertIn("longer than 107 bytes", await self.refused())
