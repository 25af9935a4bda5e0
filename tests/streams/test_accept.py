# -*- test-case-name: tests.streams.test_accept -*-
"""
Tests for L{remotedocker.streams._accept}.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.streams import RelayFactory
from tests.support import MemoryClientEndpoint, MemoryNetwork, MemoryServerEndpoint, Recorder


class RelayFactoryTests(SynchronousTestCase):
    """A listener whose connections are relayed to a name in memory."""

    def setUp(self) -> None:
        """A listener C{local} relays to C{far}, where recorders accept."""
        self.network = MemoryNetwork()
        self.accepted: list[Recorder] = []
        self.refusals: list[Failure] = []
        far = Factory.forProtocol(self._accept)
        self.successResultOf(MemoryServerEndpoint(self.network, "far").listen(far))
        self.endpoint = MemoryClientEndpoint(self.network, "far")
        self.factory = RelayFactory(lambda: self.endpoint, self.refusals.append)
        self.successResultOf(MemoryServerEndpoint(self.network, "local").listen(self.factory))

    def _accept(self) -> Recorder:
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def _call(self) -> Recorder:
        client = Recorder()
        made = MemoryClientEndpoint(self.network, "local").connect(Factory.forProtocol(lambda: client))
        results: list[IProtocol] = []
        made.addCallback(results.append)
        self.network.pump()
        self.assertEqual(len(results), 1)
        return client

    def test_relays(self) -> None:
        """Each connection gets one of its own at the far side, and is counted when it is over."""
        clients = [self._call(), self._call()]
        for number, client in enumerate(clients):
            client.transport.write(b"%d" % number)
        self.network.pump()
        self.assertEqual([server.received for server in self.accepted], [b"0", b"1"])
        self.assertEqual(len(self.factory.relays), 2)
        for client, server in zip(clients, self.accepted, strict=True):
            server.transport.write(b"abc")
            server.transport.loseConnection()
            client.transport.loseWriteConnection()
        self.network.pump()
        self.assertEqual(self.factory.relays, set())
        self.assertEqual((self.factory.bytes_in, self.factory.bytes_out), (2, 6))

    def test_connectsAtOnce(self) -> None:
        """The far side is connected in the moment of the accept; the client's bytes wait for it."""
        self.endpoint = MemoryClientEndpoint(self.network, "far", held=True)
        client = self._call()
        self.assertEqual(self.endpoint.attempts, 1)
        client.transport.write(b"waiting")
        client.transport.loseWriteConnection()
        self.network.pump()
        self.assertEqual(self.accepted, [])
        self.endpoint.release()
        self.network.pump()
        self.assertEqual(self.accepted[0].events, ["made", "data", "eof"])

    def test_refused(self) -> None:
        """When the far side cannot be connected, the client is reset and the failure told."""
        self.endpoint = MemoryClientEndpoint(self.network, "far", held=True)
        client = self._call()
        self.endpoint.refuse(ConnectionRefusedError())
        self.network.pump()
        assert client.reason is not None
        self.assertTrue(client.reason.check(ConnectionLost))
        self.assertFalse(client.eof)
        self.assertEqual(len(self.refusals), 1)
        self.assertTrue(self.refusals[0].check(ConnectionRefusedError))
        self.assertEqual(self.factory.relays, set())

    def test_abortWhileConnecting(self) -> None:
        """Connections that still wait for the far side can be ended; the attempt is given up."""
        self.endpoint = MemoryClientEndpoint(self.network, "far", held=True)
        client = self._call()
        self.factory.abort_all()
        self.network.pump()
        self.assertTrue(client.lost)
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assertEqual(self.refusals, [])
        self.assertEqual(self.factory.relays, set())

    def test_abortAll(self) -> None:
        """All open connections can be ended at once."""
        clients = [self._call(), self._call()]
        self.factory.abort_all()
        self.network.pump()
        self.assertTrue(all(end.lost for end in [*clients, *self.accepted]))
        self.assertEqual(self.network.transports, set())

    def test_socketOptions(self) -> None:
        """Accepted TCP connections send at once and notice dead peers."""
        client = self._call()
        self.assertTrue(client.transport.peer.no_delay)
        self.assertTrue(client.transport.peer.keep_alive)
