"""A real login and the fake one, held to the contract of every remote."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from remotedocker.interfaces import CommandResult
from tests.contracts.remote import RemoteContract
from tests.fakes.fake_remote import FakeRemote
from tests.ssh.real import RealServerMixin
from tests.support import MemoryNetwork, MemoryServerEndpoint
from tests.support.docker_socket import EchoDaemon


class _Echo(Protocol):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        """Sends it back."""
        self.transport.write(data)


class RealRemoteTests(RealServerMixin, RemoteContract, TestCase):
    """L{remotedocker.ssh.Remote} and OpenSSH's sshd."""

    async def setUp(self) -> None:
        """A daemon that echoes, and a login."""
        socket = os.path.join(self.mktemp_directory(), "docker.sock")
        self.daemon = EchoDaemon()
        listening = await self.daemon.listen(reactor, socket)
        self.addCleanup(listening.stopListening)
        self.start_server("")
        await self.log_in(remote_docker=f"unix://{socket}", connections=2)

    async def tearDown(self) -> None:
        """Waits until the daemon has no connection left."""
        await self.remote.stop()
        await self.until(lambda: not self.daemon.conversations)

    async def lose(self) -> None:
        """The server goes away."""
        self.server.stop()
        await self.until(lambda: not self.remote.connected)

    async def come_back(self) -> None:
        """The server is there again."""
        self.server.restart()
        await self.until(lambda: self.remote.connected)


class FakeRemoteTests(RemoteContract, TestCase):
    """The one that tests of other packages use."""

    async def setUp(self) -> None:
        """A daemon in memory."""
        network = MemoryNetwork(reactor)
        await MemoryServerEndpoint(network, "docker").listen(Factory.forProtocol(_Echo))
        self.remote = FakeRemote.in_memory(network)
        self.remote._run = lambda command, stdin: CommandResult(0, "", stdin, b"")

    async def lose(self) -> None:
        """As the fake does it."""
        self.remote.log_out()

    async def come_back(self) -> None:
        """As the fake does it."""
        self.remote.log_in()
