# -*- test-case-name: tests.streams.test_hangup -*-
"""
Tests for L{remotedocker.streams._hangup}, on real sockets.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from remotedocker.streams import Hangups, prepare_socket
from tests.support import Recorder, wait_until


class HangupsTests(TestCase):
    """A half-closed client that goes away without a word."""

    def setUp(self) -> None:
        """Nobody is accepted yet."""
        self.hangups = Hangups(reactor)
        self.accepted = Recorder()
        self.vanished: list[bool] = []

    async def _accept(self, endpoint: Any, family: Any, address: Any) -> socket.socket:
        port = await endpoint.listen(Factory.forProtocol(lambda: self.accepted))
        self.addCleanup(port.stopListening)
        client = socket.socket(family)
        self.addCleanup(client.close)
        client.connect(address(port))
        client.shutdown(socket.SHUT_WR)
        await wait_until(reactor, lambda: self.accepted.eof)
        self.addCleanup(self._end)
        return client

    async def _unix(self) -> socket.socket:
        os.makedirs(self.mktemp())
        path = os.path.relpath(os.path.join(self.mktemp()))
        return await self._accept(UNIXServerEndpoint(reactor, path), socket.AF_UNIX, lambda port: path)

    async def _tcp(self) -> socket.socket:
        return await self._accept(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            socket.AF_INET,
            lambda port: ("127.0.0.1", port.getHost().port),
        )

    async def _end(self) -> None:
        if not self.accepted.lost:
            self.accepted.transport.abortConnection()
            await wait_until(reactor, lambda: self.accepted.lost)

    def _watch(self) -> Any:
        return self.hangups.watch(self.accepted.transport, lambda: self.vanished.append(True))

    async def test_unixClose(self) -> None:
        """The full close of a half-closed unix socket is noticed, once, and nothing stays registered."""
        verifyObject(IReadDescriptor, self.hangups)
        client = await self._unix()
        self._watch()
        client.close()
        await wait_until(reactor, lambda: self.vanished)
        self.assertEqual(self.hangups.fileno(), -1)
        self.assertEqual(self.vanished, [True])

    async def test_goneAlready(self) -> None:
        """One that vanished before it was watched is told of at once."""
        client = await self._unix()
        client.close()
        self.assertIsNone(self._watch())
        self.assertEqual(self.vanished, [True])
        self.assertEqual(self.hangups.fileno(), -1)

    async def test_tcpReset(self) -> None:
        """The reset of a half-closed TCP connection is noticed."""
        client = await self._tcp()
        self._watch()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await wait_until(reactor, lambda: self.vanished)

    async def test_keepalive(self) -> None:
        """Where only probes can show that a TCP client is gone, they begin soon."""
        await self._tcp()
        prepare_socket(self.accepted.transport)
        handle = self.accepted.transport.getHandle()
        self.assertEqual(
            [
                handle.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            ],
            [1, 15, 15],
        )
        self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)

    async def test_prepareUnix(self) -> None:
        """A unix socket has no such options, and needs none."""
        await self._unix()
        prepare_socket(self.accepted.transport)
        self.assertFalse(self.accepted.lost)

    async def test_stillThere(self) -> None:
        """A half-closed client that waits for its answer is left alone, and gets it."""
        client = await self._unix()
        forget = self._watch()
        self.accepted.transport.write(b"answer")
        client.setblocking(False)
        received = bytearray()

        def read() -> bool:
            try:
                received.extend(client.recv(100))
            except BlockingIOError:
                return False
            return received == b"answer"

        await wait_until(reactor, read)
        self.assertEqual(self.vanished, [])
        forget()
        forget()
        client.close()
        self.assertEqual(self.hangups.fileno(), -1)

    async def test_forgottenAfterClose(self) -> None:
        """A watch may be ended when the socket is closed already."""
        await self._unix()
        forget = self._watch()
        self.assertIsNone(self._watch())
        await self._end()
        forget()
        self.assertEqual(self.hangups.fileno(), -1)

    def test_noDescriptor(self) -> None:
        """A transport without a descriptor is not watched."""
        self.assertIsNone(self.hangups.watch(object(), lambda: None))
