# -*- test-case-name: tests.streams.test_relay -*-
"""
Tests for L{remotedocker.streams._relay}.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from remotedocker.streams import Relay, RelayProtocol
from tests.streams.support import RelayCase
from tests.support import MemoryNetwork, Recorder

_BIG = bytes(range(256)) * 8192
"""2 MiB."""


class RelayTests(SynchronousTestCase):
    """Two connections in memory, joined."""

    def assertOver(self, case: RelayCase) -> None:
        """Nothing is left of either connection, and the end was told once."""
        self.assertEqual(case.network.transports, set())
        self.assertEqual(case.ended, [case.relay])
        self.assertEqual(case.network.failures, [])

    def test_interfaces(self) -> None:
        """The parts provide what Twisted asks of them."""
        relay = Relay()
        verifyObject(IPushProducer, relay.left)
        verifyObject(IHalfCloseableProtocol, RelayProtocol(relay.left))

    def test_bothDirections(self) -> None:
        """Bytes go through both ways, and are counted."""
        case = RelayCase.joined()
        case.client.transport.write(b"question")
        case.server.transport.write(b"the answer")
        case.network.pump()
        self.assertEqual((case.server.received, case.client.received), (b"question", b"the answer"))
        self.assertEqual((case.relay.left.received, case.relay.right.received), (8, 10))

    def test_bigBothDirections(self) -> None:
        """Big streams cross each other whole, with little held on the way."""
        case = RelayCase.joined(MemoryNetwork(capacity=7000, read_size=5000))
        case.client.transport.write(_BIG)
        case.server.transport.write(_BIG)
        case.client.transport.loseWriteConnection()
        case.server.transport.loseWriteConnection()
        case.network.pump()
        self.assertTrue(case.server.received == _BIG and case.client.received == _BIG)

    def test_halfCloseOfLeft(self) -> None:
        """The client's end of file arrives behind its data, and the answer still comes back."""
        case = RelayCase.joined()
        case.client.transport.write(_BIG)
        case.client.transport.loseWriteConnection()
        case.network.pump()
        self.assertTrue(case.server.received == _BIG)
        self.assertTrue(case.server.eof)
        self.assertFalse(case.client.eof or case.client.lost or case.server.lost)
        case.server.transport.write(_BIG)
        case.server.transport.loseWriteConnection()
        case.network.pump()
        self.assertTrue(case.client.received == _BIG)
        self.assertTrue(case.client.eof)

    def test_halfCloseOfRight(self) -> None:
        """The server's end of file is passed on alone; the client's input still gets through."""
        case = RelayCase.joined()
        case.server.transport.write(b"bye")
        case.server.transport.loseWriteConnection()
        case.network.pump()
        self.assertEqual(case.client.events, ["made", "data", "eof"])
        self.assertFalse(case.server.eof)
        case.client.transport.write(b"still here")
        case.network.pump()
        self.assertEqual(case.server.received, b"still here")

    def test_bothEnded(self) -> None:
        """When both directions have ended, both connections are closed cleanly."""
        case = RelayCase.joined()
        case.client.transport.loseWriteConnection()
        case.network.pump()
        case.server.transport.write(_BIG)
        case.server.transport.loseConnection()
        case.network.pump()
        case.client.transport.loseConnection()
        case.network.pump()
        self.assertTrue(case.client.received == _BIG)
        self.assertOver(case)

    def test_clientReadsNothing(self) -> None:
        """A reader that stops makes the sender stop; what is held on the way is bounded."""
        case = RelayCase.joined(MemoryNetwork(capacity=10000))
        case.client.transport.pauseProducing()
        sender = case.server.transport
        sent = 0
        for _ in range(200):
            if sender._buffer:
                break
            sender.write(bytes(10000))
            sent += 10000
            case.network.pump()
        self.assertLess(sent, 400000)
        self.assertLessEqual(case.relay.left.transport.most_buffered, 2 * 65536)
        case.client.transport.resumeProducing()
        case.network.pump()
        self.assertEqual(len(case.client.received), sent)

    def test_slowSideThenEndOfFile(self) -> None:
        """An end of file behind a full buffer arrives when the reader goes on, exactly once."""
        case = RelayCase.joined()
        case.client.transport.pauseProducing()
        case.server.transport.write(_BIG)
        case.server.transport.loseWriteConnection()
        case.network.pump()
        self.assertFalse(case.client.eof)
        case.client.transport.resumeProducing()
        case.network.pump()
        self.assertTrue(case.client.received == _BIG)
        self.assertEqual(case.client.events.count("eof"), 1)

    def test_abortOfServer(self) -> None:
        """A side that breaks makes the other break: a client must not take it for the end."""
        case = RelayCase.joined()
        case.server.transport.abortConnection()
        case.network.pump()
        assert case.client.reason is not None
        self.assertTrue(case.client.reason.check(ConnectionLost))
        self.assertFalse(case.client.eof)
        self.assertOver(case)

    def test_abortOfClient(self) -> None:
        """A client that vanishes ends the server's side."""
        case = RelayCase.joined()
        case.client.transport.abortConnection()
        case.network.pump()
        self.assertTrue(case.server.lost)
        self.assertOver(case)

    def test_goneAtItsEnd(self) -> None:
        """The end of a client that has vanished altogether is passed on as that, not as a half-close."""
        case = RelayCase.joined()
        case.client.transport.write(b"last words")
        case.network.pump()
        self.patch(case.relay, "watch_hangup", lambda transport, vanished: vanished())
        half_closes: list[bool] = []
        daemon = case.relay.right.transport
        self.patch(daemon, "loseWriteConnection", lambda: half_closes.append(True))
        case.relay.left.read_ended()
        self.assertTrue(daemon.disconnecting)
        case.network.pump()
        self.assertEqual((case.server.received, half_closes), (b"last words", []))
        self.assertEqual(case.ended, [case.relay])

    def test_serverGoneAfterItsEnd(self) -> None:
        """A server that ended properly and is gone when the client still sends costs the client nothing."""
        case = RelayCase.joined()
        case.client.transport.pauseProducing()
        case.server.transport.write(_BIG)
        case.server.transport.loseConnection()
        case.network.pump()
        case.client.transport.write(b"too late")
        case.client.transport.resumeProducing()
        case.network.pump()
        self.assertTrue(case.client.received == _BIG)
        self.assertTrue(case.client.eof)
        case.client.transport.loseConnection()
        case.network.pump()
        self.assertOver(case)

    def test_earlyDataAndEnd(self) -> None:
        """What the first side sent before the other was there is passed on when it comes, end of file too."""
        case = RelayCase()
        case.connect_left()
        case.relay.left.data_received(b"early ")
        case.relay.left.data_received(b"bird")
        case.relay.left.read_ended()
        case.relay.left.read_ended()
        case.connect_right()
        case.network.pump()
        self.assertEqual(case.server.events, ["made", "data", "eof"])
        self.assertEqual(case.server.received, b"early bird")

    def test_attachedAtOnce(self) -> None:
        """Two sides that are there already are joined without a pause of either."""
        case = RelayCase()
        ends = Recorder(), Recorder()
        case.network.connect(case.client, ends[0])
        case.network.connect(ends[1], case.server)
        pauses: list[object] = []
        for end in ends:
            self.patch(end.transport, "pauseProducing", partial(pauses.append, end))
        case.relay.left.data_received(b"early")
        case.relay.attach(ends[0].transport, ends[1].transport)
        case.network.pump()
        self.assertEqual((case.server.received, pauses), (b"early", []))

    def test_firstSideWaits(self) -> None:
        """Until the other side is there, nothing is read."""
        case = RelayCase()
        case.connect_left()
        case.client.transport.write(_BIG)
        case.network.pump()
        self.assertEqual(case.relay.left.received, 0)
        case.connect_right()
        case.network.pump()
        self.assertTrue(case.server.received == _BIG)

    def test_otherSideNeverComes(self) -> None:
        """When the other side fails, the one that waits is reset."""
        case = RelayCase()
        case.connect_left()
        case.relay.right.lost(Failure(ConnectionLost()))
        case.network.pump()
        assert case.client.reason is not None
        self.assertTrue(case.client.reason.check(ConnectionLost))
        self.assertOver(case)

    def test_otherSideComesTooLate(self) -> None:
        """A side that is connected after the first was lost is ended at once."""
        case = RelayCase()
        case.connect_left()
        case.client.transport.abortConnection()
        case.relay.left.transport.resumeProducing()
        case.network.pump()
        self.assertTrue(case.relay.left.gone)
        case.connect_right()
        case.network.pump()
        self.assertTrue(case.server.lost)
        self.assertOver(case)

    def test_lostWithoutHalfClose(self) -> None:
        """A side that closes in one go, cleanly, closes the other behind its data."""
        case = RelayCase.joined()
        case.relay.right.data_received(b"last words")
        case.relay.right.lost(Failure(ConnectionDone()))
        case.relay.right.lost(Failure(ConnectionDone()))
        case.network.pump()
        self.assertEqual(case.client.received, b"last words")
        self.assertTrue(case.client.eof)

    def _held(self) -> tuple[RelayCase, Deferred[None]]:
        """@return: a case in which the server's end of file is held, and what lets it go."""
        case, gate = RelayCase.joined(), Deferred[None]()
        case.relay.right.before_end = lambda: gate
        case.server.transport.write(b"output")
        return case, gate

    def test_endOfFileIsHeld(self) -> None:
        """An end of file can be made to wait; the data before it and the other direction do not."""
        case, gate = self._held()
        case.server.transport.loseWriteConnection()
        case.network.pump()
        case.client.transport.write(b"input")
        case.network.pump()
        self.assertEqual((case.client.received, case.server.received), (b"output", b"input"))
        self.assertFalse(case.client.eof)
        gate.callback(None)
        case.network.pump()
        self.assertTrue(case.client.eof)
        case.client.transport.loseConnection()
        case.network.pump()
        case.server.transport.loseConnection()
        case.network.pump()
        self.assertOver(case)

    def test_endIsHeldAfterTheOtherEnded(self) -> None:
        """With both directions ended, the connections stay until the one that is held is let go."""
        case, gate = self._held()
        case.client.transport.loseWriteConnection()
        case.server.transport.loseWriteConnection()
        case.network.pump()
        self.assertFalse(case.client.eof)
        gate.callback(None)
        case.network.pump()
        self.assertTrue(case.client.eof)
        self.assertEqual(case.ended, [case.relay])

    def test_closeIsHeld(self) -> None:
        """A server that is gone altogether after its end of file makes no difference to that."""
        case, gate = self._held()
        case.server.transport.loseConnection()
        case.network.pump()
        case.client.transport.write(b"into the void")
        case.network.pump()
        self.assertTrue(case.relay.right.gone)
        self.assertFalse(case.client.eof or case.client.lost)
        gate.callback(None)
        case.network.pump()
        self.assertEqual(case.client.events, ["made", "data", "eof"])

    def test_clientGoneWhileHeld(self) -> None:
        """A client that vanishes while an end of file waits for something ends everything."""
        case, gate = self._held()
        case.server.transport.loseWriteConnection()
        case.network.pump()
        case.client.transport.abortConnection()
        case.network.pump()
        gate.callback(None)
        case.network.pump()
        self.assertOver(case)

    def test_abort(self) -> None:
        """The whole relay can be ended."""
        case = RelayCase.joined()
        case.relay.abort()
        case.network.pump()
        self.assertTrue(case.client.lost and case.server.lost)
        self.assertOver(case)
