# -*- test-case-name: tests.proxy.test_listen -*-
"""
Tests for L{remotedocker.proxy._listen}, on real sockets.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from remotedocker.errors import CannotListen
from remotedocker.proxy import Endpoints, ListenAddress, ProxyFactory, ProxyOptions
from tests.fakes.containers import FakeContainers
from tests.fakes.fake_remote import FakeRemote
from tests.fakes.services import FakeServices
from tests.proxy.memory_case import PingingDaemon
from tests.proxy.support import request
from tests.support import MemoryNetwork, Recorder, short_directory, wait_until


class EndpointsTests(TestCase):
    """Several listeners."""

    def setUp(self) -> None:
        """A proxy."""
        self.daemon = PingingDaemon()
        self.daemon.head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        daemon: Any = self.daemon
        self.proxy = ProxyFactory(
            reactor,
            FakeRemote.in_memory(MemoryNetwork()),
            daemon,
            FakeContainers(),
            FakeServices(),
            ProxyOptions(),
        )

    def endpoints(self, *texts: str, allow: bool = False) -> Endpoints:
        """@return: listeners, closed at the end of the test."""
        made = Endpoints(reactor, [ListenAddress.parse(text) for text in texts], self.proxy, allow)
        self.addCleanup(made.close)
        return made

    def unix_path(self) -> str:
        """@return: an absolute path that is short enough."""
        return str(short_directory(self) / "s")

    async def refused(self, endpoints: Endpoints) -> str:
        """@return: why they do not open."""
        try:
            await endpoints.open()
        except CannotListen as error:
            return error.message
        raise AssertionError("they opened")

    async def ask(self, docker_host: str, headers: str = "Host: docker\r\n") -> Recorder:
        """@return: a client that has asked for a ping, and got some answer."""
        client = Recorder()
        port = int(docker_host.rpartition(":")[2])
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(Factory.forProtocol(lambda: client))
        client.transport.write(request("HEAD /_ping", headers=headers))
        await wait_until(reactor, lambda: client.received)
        return client

    async def test_portOfItsChoice(self) -> None:
        """With port 0 the real number is shown, and it answers there."""
        endpoints = self.endpoints("127.0.0.1:0")
        await endpoints.open()
        (docker_host,) = endpoints.docker_hosts
        self.assertRegex(docker_host, r"^tcp://127\.0\.0\.1:[1-9][0-9]+$")
        client = await self.ask(docker_host)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 200 OK\r\n"))
        client.transport.loseConnection()
        await wait_until(reactor, lambda: client.lost)

    async def test_checks(self) -> None:
        """A TCP listener refuses foreign hosts, and names itself."""
        endpoints = self.endpoints("127.0.0.1:0")
        await endpoints.open()
        (docker_host,) = endpoints.docker_hosts
        client = await self.ask(docker_host, "Host: evil.example\r\n")
        await wait_until(reactor, lambda: client.eof)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        client.transport.loseConnection()
        await wait_until(reactor, lambda: client.lost)

    async def test_several(self) -> None:
        """Listeners of every kind at once, in the order given."""
        path, other = self.unix_path(), self.unix_path()
        endpoints = self.endpoints(
            f"unix:{path}", "[::1]:0", "tcp:0:interface=127.0.0.1", f"unix:{other}:mode=600"
        )
        self.assertEqual(endpoints.unix_paths, (path, other))
        await endpoints.open()
        unix, ipv6, ipv4, described = endpoints.docker_hosts
        self.assertEqual((unix, described), (f"unix://{path}", f"unix://{other}"))
        self.assertRegex(ipv6, r"^tcp://\[::1\]:[1-9]")
        self.assertRegex(ipv4, r"^tcp://127\.0\.0\.1:[1-9]")

    async def test_close(self) -> None:
        """Closing ends the clients and frees the addresses."""
        path = self.unix_path()
        endpoints = self.endpoints("127.0.0.1:0", f"unix:{path}")
        await endpoints.open()
        client = await self.ask(endpoints.docker_hosts[0])
        await endpoints.close()
        await wait_until(reactor, lambda: client.lost)
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.proxy.connections, set())

    async def test_taken(self) -> None:
        """If one address is taken, none is listened on, and the message names it."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = f"127.0.0.1:{taken.getsockname()[1]}"
        path = self.unix_path()
        endpoints = self.endpoints(f"unix:{path}", text)
        self.assertIn(f"cannot listen on {text}: Address already in use", await self.refused(endpoints))
        self.assertFalse(os.path.exists(path))
        self.assertEqual(endpoints.docker_hosts, (f"unix://{path}", f"tcp://{text}"))

    async def test_remoteClients(self) -> None:
        """An address that other machines can reach has to be allowed."""
        for text in ("0.0.0.0:0", "[::]:0", "192.0.2.7:0", "tcp:0"):
            error = self.assertRaises(ValueError, self.endpoints, text)
            self.assertIn("--allow-remote-clients", str(error))
        allowed = self.endpoints("0.0.0.0:0", allow=True)
        await allowed.open()
        self.assertRegex(allowed.docker_hosts[0], r"^tcp://127\.0\.0\.1:[1-9]")

    async def test_reachedAfterAll(self) -> None:
        """If that shows only when it listens, it stops again."""
        endpoints = self.endpoints("haproxy:tcp:0")
        self.assertIn("--allow-remote-clients", await self.refused(endpoints))

    def test_notUnderstood(self) -> None:
        """A description that Twisted does not understand is refused with the value."""
        error = self.assertRaises(ValueError, self.endpoints, "nonsense:1")
        self.assertIn("--listen nonsense:1", str(error))
