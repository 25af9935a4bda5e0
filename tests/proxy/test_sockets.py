# -*- test-case-name: tests.proxy.test_sockets -*-
"""
The proxy on real sockets: what only they show.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from remotedocker.proxy import Endpoints, ListenAddress, ProxyFactory, ProxyOptions
from tests.fakes.containers import FakeContainers
from tests.fakes.fake_remote import FakeRemote
from tests.fakes.services import FakeServices
from tests.proxy.memory_case import PingingDaemon
from tests.proxy.support import request
from tests.support import Recorder, short_directory, wait_until


class VanishingClientTests(TestCase):
    """Clients that are killed while they wait for output."""

    def setUp(self) -> Any:
        """A proxy on a unix socket and on TCP, in front of a daemon that only records."""
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        directory = str(short_directory(self))
        self.daemons: list[Recorder] = []
        upstream = os.path.join(directory, "d")
        port = await UNIXServerEndpoint(reactor, upstream).listen(Factory.forProtocol(self._accept))
        self.addCleanup(port.stopListening)
        self.addCleanup(self._end)
        pinging: Any = PingingDaemon()
        self.proxy = ProxyFactory(
            reactor,
            FakeRemote(lambda name: UNIXClientEndpoint(reactor, upstream)),
            pinging,
            FakeContainers(),
            FakeServices(),
            ProxyOptions(),
        )
        self.path = os.path.join(directory, "p")
        addresses = [ListenAddress.parse(text) for text in (f"unix:{self.path}", "127.0.0.1:0")]
        self.endpoints = Endpoints(reactor, addresses, self.proxy)
        await self.endpoints.open()
        self.addCleanup(self.endpoints.close)

    def _accept(self) -> Recorder:
        self.daemons.append(Recorder())
        return self.daemons[-1]

    async def _end(self) -> None:
        self.proxy.abort_all()
        for daemon in self.daemons:
            if not daemon.lost:
                daemon.transport.abortConnection()
        await wait_until(reactor, lambda: all(daemon.lost for daemon in self.daemons))

    async def waiting(self, client: socket.socket, data: bytes, answer: bytes = b"") -> Recorder:
        """
        @return: the daemon's end, after C{data} came there, C{answer} went back, and the client ended its
            side.
        """
        self.addCleanup(client.close)
        client.sendall(data)
        await wait_until(reactor, lambda: self.daemons and self.daemons[-1].received == data)
        daemon = self.daemons[-1]
        if answer:
            daemon.transport.write(answer)
            client.setblocking(False)
            await wait_until(reactor, lambda: _readable(client))
            client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        await wait_until(reactor, lambda: daemon.eof)
        self.assertEqual(len(self.proxy.connections), 1)
        return daemon

    def unix(self) -> socket.socket:
        """@return: a client."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        return client

    def tcp(self) -> socket.socket:
        """@return: a client."""
        number = int(self.endpoints.docker_hosts[1].rpartition(":")[2])
        return socket.create_connection(("127.0.0.1", number))

    async def gone(self) -> None:
        """Waits until nothing is left of the client."""
        await wait_until(reactor, lambda: not self.proxy.connections and self.daemons[-1].lost)

    async def close_daemon(self) -> None:
        """The daemon closes when its client is gone, as dockerd does."""
        daemon = self.daemons[-1]
        await wait_until(reactor, lambda: not self.proxy.connections)
        daemon.transport.loseConnection()
        await self.gone()

    async def test_request(self) -> None:
        """A client that closes while its answer is awaited is noticed, though nothing is written to it."""
        client = self.unix()
        await self.waiting(client, request("POST /v1.41/containers/x/wait"))
        client.close()
        await self.close_daemon()

    async def test_stream(self) -> None:
        """So is one that is attached, and has ended its input long before."""
        client = self.unix()
        attach = request("POST /v1.41/containers/x/attach", headers="Host: \r\nUpgrade: tcp\r\n")
        await self.waiting(client, attach, b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
        client.close()
        await self.close_daemon()

    async def test_reset(self) -> None:
        """And one whose TCP connection is reset."""
        client = self.tcp()
        await self.waiting(client, request("POST /containers/x/wait", headers="Host: localhost\r\n"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await self.close_daemon()


def _readable(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except BlockingIOError:
        return b""
