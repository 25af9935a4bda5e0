"""
Tests of L{remotedocker.streams._sendqueue}.
"""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.streams import SendQueue


class SendQueueTests(SynchronousTestCase):
    """A queue before a real socket."""

    def setUp(self) -> None:
        """Connects."""
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        self.queue = SendQueue(ours)

    def received(self) -> bytes:
        """What has arrived, and what is sent when there is room for it."""
        arrived = b""
        while True:
            try:
                arrived += self.theirs.recv(1 << 20)
            except BlockingIOError:
                return arrived
            self.assertTrue(self.queue.flush())

    def test_at_once(self) -> None:
        """What the socket takes does not wait."""
        self.queue.send([b"one ", b"", b"two"])
        self.assertFalse(self.queue)
        self.assertEqual(self.received(), b"one two")

    def test_more_than_the_socket_takes(self) -> None:
        """The rest waits, wherever it was cut, and nothing overtakes it."""
        pieces = [bytes((number % 251,)) * (7000 + number) for number in range(300)]
        for number in range(0, 300, 30):
            self.queue.send(pieces[number : number + 30])
        self.assertTrue(self.queue)
        self.assertLess(self.queue.size, sum(map(len, pieces)))
        self.assertEqual(self.received(), b"".join(pieces))
        self.assertEqual(self.queue.size, 0)

    def test_many_pieces(self) -> None:
        """More pieces than the system takes in one call arrive, too."""
        pieces = [b"%d " % number for number in range(3000)]
        self.queue.send(pieces)
        self.assertTrue(self.queue.flush())
        self.assertEqual(self.received(), b"".join(pieces))

    def test_added(self) -> None:
        """What is added waits for the next flush; nothing is not added."""
        self.queue.add(b"")
        self.assertFalse(self.queue)
        self.queue.add(memoryview(b"first "))
        self.queue.send([b"second"])
        self.assertEqual(self.queue.size, 12)
        self.assertTrue(self.queue.flush())
        self.assertEqual(self.received(), b"first second")

    def test_broken(self) -> None:
        """A socket that does not work any more is told of by the flush, not by who sends."""
        self.theirs.close()
        self.queue.send([b"lost"])
        self.assertEqual(self.queue.size, 4)
        self.assertFalse(self.queue.flush())

    def test_clear(self) -> None:
        """What waits can be dropped."""
        self.queue.add(b"dropped")
        self.queue.clear()
        self.assertTrue(self.queue.flush())
        self.assertEqual((self.queue.size, self.received()), (0, b""))
