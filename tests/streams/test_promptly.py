"""
Tests of L{remotedocker.streams._promptly}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from remotedocker.streams import make_prompt, read_at_once


class _Reactor:
    """Remembers who wants to write."""

    def __init__(self) -> None:
        self.writers: list[object] = []
        self.started = 0

    def addWriter(self, writer: object) -> None:
        """One more."""
        self.started += 1
        self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        """One less, if it is one."""
        if writer in self.writers:
            self.writers.remove(writer)

    def addReader(self, reader: object) -> None:
        """Of no interest."""

    def removeReader(self, reader: object) -> None:
        """Of no interest."""

    def callLater(self, delay: float, function: Any, *arguments: Any) -> None:
        """Of no interest."""


@implementer(IPushProducer)
class _Producer:
    """Counts."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Stop."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Go on."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """It is over."""
        self.told.append("stop")


class PromptlyTests(SynchronousTestCase):
    """A transport on a real socket pair, with a reactor that does nothing by itself."""

    def setUp(self) -> None:
        """Connects."""
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        self.reactor = _Reactor()
        server: Any = Server
        self.transport = server(ours, Protocol(), ("", 0), None, 0, self.reactor)
        make_prompt(self.transport)

    def received(self) -> bytes:
        """What has arrived."""
        try:
            return self.theirs.recv(1 << 20)
        except BlockingIOError:
            return b""

    def run_reactor(self) -> object:
        """Lets whoever waits write once, and returns what came of it."""
        return self.reactor.writers[0].doWrite()  # type: ignore[attr-defined]

    def fill(self) -> int:
        """Writes until the socket takes no more, and returns how much was written."""
        written = 0
        while not self.reactor.writers:
            self.transport.write(bytes(4096))
            written += 4096
        return written

    def drain(self) -> bytes:
        """Lets everything arrive."""
        arrived = b""
        while True:
            data = self.received()
            arrived += data
            if self.reactor.writers:
                self.run_reactor()
            elif not data:
                return arrived

    def test_at_once(self) -> None:
        """A small write has arrived when the call returns, and the reactor was not asked for anything."""
        self.transport.write(b"small")
        self.assertEqual(self.received(), b"small")
        self.assertEqual(self.reactor.started, 0)

    def test_large(self) -> None:
        """A large write waits for the reactor."""
        self.transport.write(bytes(100_000))
        self.assertEqual(self.received(), b"")
        self.assertEqual(self.drain(), bytes(100_000))
        self.assertEqual(self.reactor.writers, [])

    def test_order(self) -> None:
        """A small write does not overtake what waits."""
        large = bytes(100_000)
        self.transport.write(large)
        self.transport.writeSequence([b"second ", b"third "])
        self.assertEqual(self.received(), b"")
        self.run_reactor()
        self.transport.write(b"fourth")
        self.assertEqual(self.drain(), large + b"second third fourth")

    def test_full_socket(self) -> None:
        """What the socket does not take is sent when it does, and later writes go out at once again."""
        written = self.fill()
        self.transport.write(b"last")
        self.assertEqual(self.drain(), bytes(written) + b"last")
        self.transport.write(b"after")
        self.assertEqual(self.received(), b"after")
        self.assertEqual(self.reactor.writers, [])

    def test_producer(self) -> None:
        """A producer is paused when too much waits, and resumed when it is sent."""
        producer = _Producer()
        self.transport.registerProducer(producer, True)
        self.transport.write(bytes(400_000))
        self.assertEqual(producer.told, ["pause"])
        self.drain()
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_lose_connection(self) -> None:
        """A connection that is to end after what was written is left to the reactor, and ends."""
        self.transport.write(b"goodbye")
        self.transport.loseConnection()
        self.assertEqual(self.received(), b"goodbye")
        self.assertIsNotNone(self.run_reactor())

    def test_lose_write_connection(self) -> None:
        """A half-close follows what was written."""
        self.transport.write(b"goodbye")
        self.transport.loseWriteConnection()
        self.run_reactor()
        self.assertEqual(self.received(), b"goodbye")
        self.assertEqual(self.theirs.recv(1), b"")

    def test_broken(self) -> None:
        """A connection that is broken is found to be so by the reactor, not by who writes."""
        self.theirs.close()
        self.transport.write(b"x")
        self.assertIsNotNone(self.run_reactor())

    def test_aborted(self) -> None:
        """After an abort nothing is sent."""
        self.transport.abortConnection()
        self.transport.write(b"x")
        self.assertEqual(self.received(), b"")

    def test_read_at_once(self) -> None:
        """What has come is read without the reactor; where nothing has, or the end, that is left to it."""
        received: list[bytes] = []
        self.patch(self.transport.protocol, "dataReceived", received.append)
        read_at_once(self.transport)
        self.theirs.send(b"early")
        read_at_once(self.transport)
        self.assertEqual(received, [b"early"])
        self.theirs.close()
        read_at_once(self.transport)
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)
        read_at_once(StringTransport())

    def test_twice(self) -> None:
        """Preparing a transport again changes nothing."""
        make_prompt(self.transport)
        self.transport.write(b"small")
        self.assertEqual(self.received(), b"small")
        self.assertEqual(self.reactor.started, 0)

    def test_other_transports(self) -> None:
        """Any other transport is simply written to."""
        other = StringTransport()
        make_prompt(other)
        other.write(b"x")
        self.assertEqual(other.value(), b"x")
