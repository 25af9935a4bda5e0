"""The SSH transport's way to the socket, over a pair of real ones."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from remotedocker.ssh._socket import FastSocket, fast_socket

MUCH = 4 << 20


class Transport:
    """As much of Twisted's transport as is used; writes down what is asked of it."""

    def __init__(self, connected: Any) -> None:
        self.connected = connected
        self.calls: list[str] = []
        directlyProvides(self, IReadWriteDescriptor)

    def getHandle(self) -> Any:
        return self.connected

    def startWriting(self) -> None:
        self.calls.append("startWriting")

    def stopWriting(self) -> None:
        self.calls.append("stopWriting")

    def loseConnection(self) -> None:
        self.calls.append("loseConnection")

    def abortConnection(self) -> None:
        self.calls.append("abortConnection")


class Producer:
    """Writes down when it is to stop and to go on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")


class FastSocketTests(SynchronousTestCase):
    """L{FastSocket}."""

    def setUp(self) -> None:
        """A pair of sockets, ours not blocking."""
        ours, self.far = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(self.far.close)
        ours.setblocking(False)
        self.far.settimeout(10)
        self.transport: Any = Transport(ours)
        self.received: list[bytes] = []
        self.most = 1 << 30
        made = fast_socket(self.transport, self.receive)
        assert made is not None
        self.socket: FastSocket = made

    def receive(self, data: memoryview) -> int:
        """Takes what it may."""
        taken = bytes(data[: self.most])
        self.received.append(taken)
        return len(taken)

    def test_other_transports(self) -> None:
        """What is no socket of Twisted's is left as it is."""
        self.assertIsNone(fast_socket(object(), self.receive))
        self.assertIsNone(fast_socket(Transport("no socket"), self.receive))

    def test_write(self) -> None:
        """What the socket takes is sent at once, empty pieces are nothing."""
        self.socket.writeSequence([b"", b"one", b"", b"two", b""])
        self.socket.write(b"")
        self.assertEqual(self.far.recv(100), b"onetwo")
        self.assertEqual(self.transport.calls, [])

    def test_write_later(self) -> None:
        """What the socket does not take goes when it can, in order, and then the connection closes."""
        content = bytes(range(256)) * (MUCH // 256)
        self.socket.write(content)
        self.socket.loseConnection()
        self.assertEqual(self.transport.calls, ["startWriting"])
        got = bytearray()
        while len(got) < MUCH:
            got += self.far.recv(1 << 20)
            if len(got) < MUCH:
                self.assertIsNone(self.transport.doWrite())
        if "stopWriting" not in self.transport.calls:
            self.assertIsNone(self.transport.doWrite())
        self.assertEqual(bytes(got), content)
        self.assertEqual(self.transport.calls, ["startWriting", "stopWriting", "loseConnection"])

    def test_producer(self) -> None:
        """A producer stops while much is waiting."""
        producer = Producer()
        self.socket.registerProducer(producer, True)
        self.socket.write(bytes(MUCH))
        self.assertEqual(producer.calls, ["pause"])
        left = MUCH
        while left:
            left -= len(self.far.recv(1 << 20))
            if left:
                self.transport.doWrite()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_abort(self) -> None:
        """Nothing more is sent, and the transport is itself again."""
        self.socket.write(bytes(MUCH))
        self.socket.abortConnection()
        self.assertEqual(self.transport.calls, ["startWriting", "abortConnection"])
        self.assertFalse(hasattr(self.transport, "doRead"))

    def test_last_words(self) -> None:
        """What the server said before it closed is read, even if that is noticed while writing."""
        self.far.send(b"Exceeded MaxStartups")
        self.far.close()
        self.socket.write(b"hello")
        self.assertIs(self.transport.doWrite(), CONNECTION_LOST)
        self.assertEqual(self.received, [b"Exceeded MaxStartups"])

    def test_release(self) -> None:
        """Once the connection is lost no memory is kept, nor the transport held."""
        self.socket.write(bytes(MUCH))
        self.socket.release()
        self.assertEqual((self.socket._queue.size, len(self.socket._view)), (0, 0))
        self.assertFalse(hasattr(self.transport, "doRead"))

    def test_read(self) -> None:
        """What the receiver leaves it gets again, with what follows."""
        self.most = 4
        self.far.send(b"123456")
        self.assertIsNone(self.transport.doRead())
        self.far.send(b"78")
        self.assertIsNone(self.transport.doRead())
        self.assertEqual(self.received, [b"1234", b"5678"])
        self.assertIsNone(self.transport.doRead())
        self.far.close()
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)
