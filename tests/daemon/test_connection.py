"""
Tests for L{remotedocker.daemon._connection}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.daemon import _connection
from remotedocker.daemon._connection import (
    ConnectionEnded,
    EventsProtocol,
    QuestionProtocol,
    error_reason,
    request,
)
from remotedocker.errors import DaemonError
from tests.support import MemoryNetwork, Recorder

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class RequestTests(SynchronousTestCase):
    """L{request}."""

    def test_raw(self) -> None:
        """The request is complete, and names no host that anybody could take offence at."""
        head = request("HEAD", "/_ping?a=b")
        self.assertEqual(
            head.raw, b"HEAD /_ping?a=b HTTP/1.1\r\nHost: docker\r\nUser-Agent: remotedocker\r\n\r\n"
        )
        self.assertEqual((head.method, head.target), (b"HEAD", b"/_ping?a=b"))

    def test_refuses_to_break_apart(self) -> None:
        """A target that is not encoded is an error of the caller."""
        self.assertRaises(ValueError, request, "GET", "/a b")
        self.assertRaises(ValueError, request, "GET", "/a\r\n")


class ErrorReasonTests(SynchronousTestCase):
    """L{error_reason}."""

    def test_docker(self) -> None:
        """The message of Docker's JSON."""
        self.assertEqual(error_reason(b'{"message":"no \\u00e9","code":1}\n'), "no \u00e9")

    def test_other(self) -> None:
        """Anything else as it is, but not at any length, and never nothing."""
        for body, reason in (
            (b"client version 1.99 is too new\n", "client version 1.99 is too new"),
            (b'{"error":"x"}', '{"error":"x"}'),
            (b'{"message":1}', '{"message":1}'),
            (b"[1]", "[1]"),
            (b'"text"', '"text"'),
            (b"\xff", "\ufffd"),
            (b" \r\n", "no reason given"),
            (b"", "no reason given"),
            (b"[" * 100_000, "[" * 1000),
        ):
            self.assertEqual(error_reason(body), reason)


class ConnectionCase(SynchronousTestCase):
    """A connection to somebody who plays the daemon."""

    def connect(self, protocol: QuestionProtocol | EventsProtocol) -> None:
        """Connects C{protocol} to L{daemon}."""
        self.network = MemoryNetwork()
        self.daemon = Recorder()
        self.network.connect(protocol, self.daemon)
        self.network.pump()

    def send(self, data: bytes) -> None:
        """The daemon sends something."""
        self.daemon.transport.write(data)
        self.network.pump()

    def close(self) -> None:
        """The daemon closes the connection."""
        self.daemon.transport.loseConnection()
        self.network.pump()


class QuestionTests(ConnectionCase):
    """L{QuestionProtocol}."""

    def setUp(self) -> None:
        """A connection on which nothing was asked."""
        self.forgotten: list[QuestionProtocol] = []
        self.protocol = QuestionProtocol(self.forgotten.append)
        self.connect(self.protocol)

    def test_answer(self) -> None:
        """The answer comes with its head and whole body, split anywhere; then the next can be asked."""
        for at in range(len(ANSWER) + 1):
            self.assertTrue(self.protocol.reusable)
            asked = self.protocol.ask(request("GET", "/x"))
            self.assertFalse(self.protocol.reusable)
            self.send(ANSWER[:at])
            self.send(ANSWER[at:])
            answer = self.successResultOf(asked)
            self.assertEqual((answer.head.status, answer.body), (200, b"hello"))
        self.assertEqual(bytes(self.daemon.received), request("GET", "/x").raw * (len(ANSWER) + 1))

    def test_lost(self) -> None:
        """A lost connection fails the question, and is forgotten."""
        asked = self.protocol.ask(request("GET", "/x"))
        self.send(ANSWER[:-1])
        self.daemon.transport.abortConnection()
        self.network.pump()
        self.failureResultOf(asked, ConnectionEnded)
        self.assertEqual(self.forgotten, [self.protocol])
        self.assertFalse(self.protocol.reusable)

    def test_lost_while_idle(self) -> None:
        """A connection on which nothing was asked can be lost, too."""
        self.close()
        self.assertEqual(self.forgotten, [self.protocol])
        self.assertFalse(self.protocol.reusable)
        self.failureResultOf(self.protocol.ask(request("GET", "/x")), ConnectionEnded)

    def test_cancelled(self) -> None:
        """A cancelled question ends the connection."""
        asked = self.protocol.ask(request("GET", "/x"))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.network.pump()
        self.assertTrue(self.daemon.lost)

    def test_unasked(self) -> None:
        """A daemon that speaks unasked loses the connection."""
        self.send(ANSWER)
        self.assertTrue(self.daemon.lost)
        self.assertFalse(self.protocol.reusable)

    def test_too_large(self) -> None:
        """An answer over the limit is an error, even if it is complete."""
        self.patch(_connection, "MAX_ANSWER", 4)
        asked = self.protocol.ask(request("GET", "/x"))
        self.send(ANSWER)
        error = self.failureResultOf(asked, DaemonError).value
        self.assertEqual(str(error), "the Docker daemon answered too much: more than 4 bytes")
        self.assertTrue(self.daemon.lost)
        self.assertFalse(self.protocol.reusable)

    def test_just_not_too_large(self) -> None:
        """An answer of the limit's size is none."""
        self.patch(_connection, "MAX_ANSWER", 5)
        asked = self.protocol.ask(request("GET", "/x"))
        self.send(ANSWER)
        self.assertEqual(self.successResultOf(asked).body, b"hello")

    def test_abort_after_the_end(self) -> None:
        """Ending a connection that is lost does nothing."""
        self.close()
        self.protocol.abort()


class EventsTests(ConnectionCase):
    """L{EventsProtocol}."""

    def setUp(self) -> None:
        """A connection on which the stream was asked for."""
        self.content: list[bytes] = []
        self.protocol = EventsProtocol(request("GET", "/events"), self.content.append)
        self.connect(self.protocol)

    def test_opened(self) -> None:
        """It asks at once, and is open with the head, before there is any event."""
        self.assertEqual(bytes(self.daemon.received), request("GET", "/events").raw)
        self.assertNoResult(self.protocol.opened)
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.successResultOf(self.protocol.opened)
        self.send(b"5\r\nhel")
        self.send(b"lo\r\n")
        self.assertEqual(b"".join(self.content), b"hello")
        self.assertNoResult(self.protocol.ended)

    def test_interim(self) -> None:
        """An interim answer is passed over."""
        self.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        self.assertNoResult(self.protocol.opened)
        self.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        self.successResultOf(self.protocol.opened)
        self.assertEqual(self.content, [b"hello"])

    def test_until_the_end(self) -> None:
        """A stream without framing ends with the connection."""
        self.send(b"HTTP/1.0 200 OK\r\n\r\nhello")
        self.close()
        self.assertIsInstance(self.successResultOf(self.protocol.ended), ConnectionEnded)

    def test_refused(self) -> None:
        """An answer that is no 200 is an error with the daemon's words, and no content."""
        self.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\n")
        self.assertNoResult(self.protocol.opened)
        self.send(b'{"message":"bad"}')
        error = self.failureResultOf(self.protocol.opened, DaemonError).value
        self.assertEqual(str(error), "the Docker daemon answered 400: bad")
        self.assertIs(self.successResultOf(self.protocol.ended), error)
        self.assertEqual(self.content, [])
        self.assertTrue(self.daemon.lost)

    def test_refused_at_length(self) -> None:
        """Of an error's body only the beginning is kept."""
        self.send(b"HTTP/1.1 500 Oh\r\n\r\n")
        for _ in range(20):
            self.send(b"x" * 10_000)
        self.assertEqual(len(self.protocol._body), 65536)
        self.close()
        error = self.failureResultOf(self.protocol.opened, DaemonError).value
        self.assertEqual(error.details, {"code": 500, "reason": "x" * 1000})

    def test_lost_before(self) -> None:
        """A connection that is lost before the answer fails the opening."""
        self.close()
        self.failureResultOf(self.protocol.opened, ConnectionEnded)
        self.successResultOf(self.protocol.ended)

    def test_malformed_after(self) -> None:
        """When the stream turns malformed, that is the reason of its end."""
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        self.failureResultOf(self.protocol.opened, DaemonError)
        self.assertIsInstance(self.successResultOf(self.protocol.ended), DaemonError)

    def test_cancelled(self) -> None:
        """Who gives up waiting for the opening, or for the end, ends the connection."""
        self.protocol.opened.cancel()
        self.failureResultOf(self.protocol.opened, CancelledError)
        self.network.pump()
        self.assertTrue(self.daemon.lost)
        self.setUp()
        self.send(b"HTTP/1.1 200 OK\r\n\r\n")
        self.protocol.ended.cancel()
        self.failureResultOf(self.protocol.ended, CancelledError)
        self.network.pump()
        self.assertTrue(self.daemon.lost)

    def test_reason_of_the_loss(self) -> None:
        """The end has the reason for which the connection was lost."""
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.close()
        self.assertEqual(str(self.successResultOf(self.protocol.ended)), "Connection was closed cleanly.")
