# -*- test-case-name: tests.proxy.test_protocol -*-
"""
A whole proxy in memory: clients, the proxy's protocols, and a daemon that does what a test says.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import NoSuchContainer
from remotedocker.proxy import ListenAddress, ProxyFactory, ProxyOptions
from remotedocker.proxy._commands import Recorded
from tests.fakes.containers import FakeContainers
from tests.fakes.fake_remote import FakeRemote
from tests.fakes.services import FakeServices
from tests.support import MemoryClientEndpoint, MemoryNetwork, MemoryServerEndpoint, Recorder

__all__ = ["PingingDaemon", "ProxyCase"]


class _Remote(FakeRemote):
    """
    A remote that remembers for what its connections were asked.

    @ivar asked: C{bulk} of each.
    """

    asked: list[bool]

    def docker_endpoint(self, bulk: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote.docker_endpoint}."""
        self.asked.append(bulk)
        return super().docker_endpoint(bulk)


class PingingDaemon:
    """
    What the proxy wants to know of L{IDaemon}.

    @ivar head: what a ping is answered.
    @ivar containers: what an inspect is answered, by reference.
    """

    def __init__(self) -> None:
        self.head: bytes | None = None
        self.containers: dict[str, dict[str, Any]] = {}

    def inspect(self, reference: str) -> Deferred[dict[str, Any]]:
        """See L{IDaemon.inspect}."""
        if reference in self.containers:
            return succeed(self.containers[reference])
        return fail(NoSuchContainer(reference=reference))

    def ping(self) -> bytes | None:
        """See L{IDaemon.ping}."""
        return self.head


class ProxyCase(SynchronousTestCase):
    """
    Clients connect to C{"proxy"}, the proxy to C{"docker"}, where recorders accept.

    @ivar daemons: the daemon's ends of its connections, in order.
    @ivar dumped: what C{--dump} is told, with the connection's number.
    """

    listen = "unix:/run/test.sock"

    def setUp(self) -> None:
        """A proxy that nobody is connected to."""
        self.begin()

    def begin(self, http_only: bool = False, **network: Any) -> None:
        """A new proxy."""
        self.network = MemoryNetwork(**network)
        self.addCleanup(self._check)
        self.daemons: list[Recorder] = []
        self.endpoint = MemoryClientEndpoint(self.network, "docker")
        self.remote = _Remote(lambda name: self.endpoint)
        self.remote.asked = []
        self.daemon = PingingDaemon()
        daemon: Any = self.daemon
        self.containers = FakeContainers()
        self.dumped: list[tuple[int, Recorded]] = []
        options = ProxyOptions(
            http_only=http_only,
            remote_docker="unix:///d.sock",
            dump=lambda number, what: self.dumped.append((number, what)),
        )
        self.proxy = ProxyFactory(
            self.network.clock,
            self.remote,
            daemon,
            self.containers,
            FakeServices(),
            options,
        )
        listener = self.proxy.listener(ListenAddress.parse(self.listen))
        self.successResultOf(MemoryServerEndpoint(self.network, "proxy").listen(listener))
        self.successResultOf(
            MemoryServerEndpoint(self.network, "docker").listen(Factory.forProtocol(self._accept))
        )

    def _check(self) -> None:
        self.assertEqual(self.network.failures, [])

    def _accept(self) -> Recorder:
        self.daemons.append(Recorder())
        return self.daemons[-1]

    def client(self) -> Recorder:
        """@return: a client that is connected to the proxy."""
        client = Recorder()
        connected: list[IProtocol] = []
        endpoint = MemoryClientEndpoint(self.network, "proxy")
        endpoint.connect(Factory.forProtocol(lambda: client)).addCallback(connected.append)
        self.network.pump()
        self.assertEqual(connected, [client])
        return client

    def send(self, sender: Recorder, data: bytes) -> None:
        """Sends, and waits until all is quiet."""
        sender.transport.write(data)
        self.network.pump()

    def exchange(self, client: Recorder, request: bytes, answer: bytes) -> None:
        """One request goes through to the newest of the daemon's connections, and its answer comes back."""
        self.send(client, request)
        daemon = self.daemons[-1]
        self.assertTrue(daemon.received.endswith(request))
        before = len(client.received)
        self.send(daemon, answer)
        self.assertEqual(bytes(client.received[before:]), answer)

    def assertNothingLeft(self) -> None:
        """No connection, no timer, no client is left."""
        self.network.pump(10)
        self.assertEqual(self.network.transports, set())
        self.assertEqual(self.network.clock.getDelayedCalls(), [])
        self.assertEqual(self.proxy.connections, set())
