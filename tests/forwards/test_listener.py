# -*- test-case-name: tests.forwards.test_listener -*-
"""
One local port and its connections; the socket is real, the connections are in memory.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.forwards._listener import Listener
from remotedocker.forwards._plan import LocalAddress, Target
from tests.forwards.support import free_numbers, is_free
from tests.support import MemoryClientEndpoint, MemoryNetwork, MemoryServerEndpoint, Recorder

__all__ = ["ListenerTests"]


@define
class _Port:
    """What a reactor gives for an adopted port."""

    factory: IProtocolFactory
    stopped: bool = False

    def stopListening(self) -> Deferred[None]:
        """At once."""
        self.stopped = True
        return succeed(None)


@define
class _Reactor(Clock):
    """
    A clock that adopts ports.

    @ivar ports: those adopted, ever.
    """

    ports: list[_Port] = Factory(list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def adoptStreamPort(self, descriptor: int, family: int, factory: IProtocolFactory) -> _Port:
        """Remembers who would accept."""
        self.ports.append(_Port(factory))
        return self.ports[-1]


@define
class _Remote:
    """
    A remote whose ports are in memory.

    @ivar held: connecting waits.
    """

    network: MemoryNetwork
    held: bool = False
    endpoints: list[MemoryClientEndpoint] = Factory(list)

    def tcp_endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """One endpoint for each connection."""
        self.endpoints.append(MemoryClientEndpoint(self.network, f"{host}:{port}", self.held))
        return self.endpoints[-1]


class _Servers:
    """Everything that listens at one remote port, as recorders."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.accepted: list[Recorder] = []
        MemoryServerEndpoint(network, name).listen(self)  # type: ignore[arg-type]

    def doStart(self) -> None:
        """Nothing to start."""

    def buildProtocol(self, addr: object) -> Recorder:
        """A recorder for each connection."""
        self.accepted.append(Recorder())
        return self.accepted[-1]


class ListenerTests(SynchronousTestCase):
    """A listener, two remote ports, and a clock."""

    def setUp(self) -> None:
        """The remote ports 1 and 2 are listened on, 3 is not."""
        (number,) = free_numbers(1)
        self.address = LocalAddress("127.0.0.1", number)
        self.reactor = _Reactor()
        self.network = MemoryNetwork(self.reactor)
        self.remote = _Remote(self.network)
        self.one = _Servers(self.network, "127.0.0.1:1")
        self.two = _Servers(self.network, "127.0.0.1:2")
        remote: Any = self.remote
        self.listener = Listener(self.reactor, remote, self.address)
        self.addCleanup(self.listener.close)

    def connect(self) -> Recorder:
        """A client that is accepted."""
        client = Recorder()
        protocol = self.reactor.ports[-1].factory.buildProtocol(self.network.next_address())
        assert protocol is not None
        self.network.connect(client, protocol)
        return client

    def test_relays(self) -> None:
        """Bytes and ends of file go both ways, each alone."""
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        self.network.pump()
        (server,) = self.one.accepted
        client.transport.write(b"ping")
        client.transport.loseWriteConnection()
        self.network.pump()
        self.assertEqual((bytes(server.received), server.eof), (b"ping", True))
        self.assertFalse(client.eof)
        server.transport.write(b"pong")
        server.transport.loseConnection()
        self.network.pump()
        self.assertEqual(bytes(client.received), b"pong")
        self.assertTrue(client.eof)
        client.transport.loseConnection()
        self.network.pump()
        self.assertEqual(self.network.transports, set())

    def test_channel_at_once(self) -> None:
        """The remote connection is asked for in the instant of the accept, before anything is read."""
        self.listener.point(Target("127.0.0.1", 1))
        self.connect()
        self.assertEqual([endpoint.attempts for endpoint in self.remote.endpoints], [1])

    def test_refused(self) -> None:
        """A remote port on which nobody listens ends the local connection."""
        self.listener.point(Target("127.0.0.1", 3))
        client = self.connect()
        self.network.pump()
        self.assertTrue(client.lost)
        self.assertEqual(self.network.transports, set())

    def test_client_gives_up(self) -> None:
        """A client that goes before the remote is connected takes the attempt along."""
        self.remote.held = True
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        client.transport.abortConnection()
        self.network.pump()
        self.assertEqual(self.remote.endpoints[0].cancelled, 1)

    def test_refused_while_waiting(self) -> None:
        """A remote connection that fails late ends the client then."""
        self.remote.held = True
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        self.network.pump()
        self.assertFalse(client.lost)
        self.remote.endpoints[0].refuse(ConnectionRefusedError())
        self.network.pump()
        self.assertTrue(client.lost)

    def test_pointed_elsewhere(self) -> None:
        """New connections lead to the new port at once; those to the old one end within a second."""
        self.listener.point(Target("127.0.0.1", 1))
        old = self.connect()
        self.network.pump()
        self.listener.point(Target("127.0.0.1", 2))
        new = self.connect()
        self.network.pump()
        self.assertEqual((len(self.one.accepted), len(self.two.accepted)), (1, 1))
        self.assertFalse(old.lost)
        self.network.pump(1.0)
        self.assertTrue(old.lost)
        self.assertTrue(self.one.accepted[0].lost)
        self.assertFalse(new.lost)
        self.assertEqual(len(self.reactor.ports), 1)

    def test_pointed_to_the_same(self) -> None:
        """Pointing to where it leads already leaves connections alone."""
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        self.network.pump()
        self.listener.point(Target("127.0.0.1", 1))
        self.network.pump(10)
        self.assertFalse(client.lost)

    def test_suspended(self) -> None:
        """A suspended port is not accepted from, ends its connections and can be led anew."""
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        self.network.pump()
        self.listener.suspend()
        self.assertTrue(self.reactor.ports[0].stopped)
        self.assertFalse(is_free(self.address.number))
        self.network.pump(1.0)
        self.assertTrue(client.lost)
        self.listener.point(Target("127.0.0.1", 2))
        self.connect()
        self.network.pump()
        self.assertEqual(len(self.two.accepted), 1)
        self.assertEqual(len(self.reactor.ports), 2)

    def test_last_words(self) -> None:
        """What the container sent at its end still reaches the client when the port is closed already."""
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        self.network.pump()
        self.successResultOf(self.listener.close())
        self.assertTrue(is_free(self.address.number))
        self.one.accepted[0].transport.write(b"goodbye")
        self.one.accepted[0].transport.loseConnection()
        self.network.pump()
        self.assertEqual(bytes(client.received), b"goodbye")
        self.assertTrue(client.eof)
        self.network.pump(1.0)
        self.assertTrue(client.lost)
        self.assertEqual(self.network.transports, set())

    def test_closed_without_grace(self) -> None:
        """When the agent ends, connections end at once."""
        self.listener.point(Target("127.0.0.1", 1))
        client = self.connect()
        self.network.pump()
        self.listener.close(grace=False)
        self.network.pump()
        self.assertTrue(client.lost)
        self.assertTrue(self.one.accepted[0].lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_system_that_cannot_hold(self) -> None:
        """Where a port cannot be held without listening, what comes in while it leads nowhere is closed."""
        self.patch(self.listener._socket, "hold", lambda: None)
        self.listener.point(Target("127.0.0.1", 1))
        self.listener.suspend()
        self.assertFalse(self.reactor.ports[-1].stopped)
        self.assertIsNone(self.reactor.ports[-1].factory.buildProtocol(self.network.next_address()))
        self.listener.point(Target("127.0.0.1", 2))
        self.connect()
        self.network.pump()
        self.assertEqual(len(self.two.accepted), 1)
        self.assertEqual(len(self.reactor.ports), 1)
