# -*- test-case-name: tests.proxy.test_protocol -*-
"""
Tests for L{remotedocker.proxy._protocol} and L{remotedocker.proxy._upstream}: the proxy between clients and a
daemon, all in memory.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from remotedocker.proxy._commands import TurnOver, Upgraded
from remotedocker.proxy._upstream import DaemonProtocol, Valve
from tests.proxy.memory_case import ProxyCase
from tests.proxy.support import answer, chunked, request
from tests.support import MemoryClientEndpoint, Recorder

_GET = request("GET /v1.41/info")
_OK = answer("200 OK", b"{}")
_ATTACH = request("POST /v1.41/containers/x/attach?stream=1", headers="Host: \r\nUpgrade: tcp\r\n")
_SWITCH = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
_BIG = bytes(range(256)) * 16384
"""4 MiB."""


class RequestTests(ProxyCase):
    """Requests and answers."""

    def test_interfaces(self) -> None:
        """The protocols can be half-closed, the valve is a producer."""
        self.client()
        (protocol,) = self.proxy.connections
        verifyObject(IHalfCloseableProtocol, protocol)
        verifyObject(IHalfCloseableProtocol, DaemonProtocol(protocol, 1))
        verifyObject(IPushProducer, Valve(None))

    def test_keepAlive(self) -> None:
        """Requests of one client share one connection; two clients never do."""
        one, other = self.client(), self.client()
        self.assertEqual(self.daemons, [])
        self.exchange(one, _GET, _OK)
        self.exchange(one, _GET, chunked(b"abc"))
        self.exchange(other, _GET, _OK)
        self.assertEqual((len(self.daemons), self.remote.asked), (2, [False, False]))

    def test_byteByByte(self) -> None:
        """Connections that hold and deliver one byte at a time change nothing."""
        self.begin(capacity=1, read_size=1)
        client = self.client()
        self.exchange(client, request("POST /v1.41/images/load", b"layers"), chunked(b"abc"))
        self.send(client, _ATTACH)
        self.send(self.daemons[-1], _SWITCH + b"output")
        self.send(client, b"input")
        self.assertTrue(client.received.endswith(_SWITCH + b"output"))
        self.assertTrue(self.daemons[-1].received.endswith(_ATTACH + b"input"))

    def test_bulk(self) -> None:
        """Big requests ask for a connection that is fit for them."""
        self.exchange(self.client(), request("GET /v1.41/images/get?names=x"), _OK)
        self.assertEqual(self.remote.asked, [True])

    def test_idleClientCloses(self) -> None:
        """Both connections are closed with the client's."""
        client = self.client()
        self.exchange(client, _GET, _OK)
        client.transport.loseConnection()
        self.assertNothingLeft()

    def test_idleDaemonCloses(self) -> None:
        """A daemon that closes between requests is connected again for the next one."""
        client = self.client()
        self.exchange(client, _GET, _OK)
        self.daemons[0].transport.loseConnection()
        self.network.pump()
        self.assertFalse(client.eof)
        self.exchange(client, _GET, _OK)
        self.assertEqual(len(self.daemons), 2)

    def test_linkLostBetweenRequests(self) -> None:
        """So is one that was lost with the link."""
        client = self.client()
        self.exchange(client, _GET, _OK)
        self.remote.cut_channels()
        self.network.pump()
        self.exchange(client, _GET, _OK)

    def test_closeIsLingering(self) -> None:
        """After a last answer the client has a moment to take it, also if it is still sending."""
        client = self.client()
        self.send(client, request("GET /v1.41/info", headers="Host: d\r\nConnection: close\r\n"))
        self.send(self.daemons[0], _OK)
        self.assertEqual((client.received, client.eof, client.lost), (_OK, True, False))
        self.send(client, _BIG)
        self.assertFalse(client.lost)
        client.transport.loseConnection()
        self.assertNothingLeft()

    def test_lingeringEnds(self) -> None:
        """A client that does not close by itself is closed."""
        client = self.client()
        self.send(client, request("GET /v1.41/info", headers="Host: d\r\nConnection: close\r\n"))
        self.send(self.daemons[0], _OK)
        self.network.pump(10)
        self.assertEqual(self.proxy.connections, set())
        client.transport.loseConnection()
        self.assertNothingLeft()

    def test_answerBeforeTheWholeRequest(self) -> None:
        """A daemon that refuses and closes in the middle of an upload: the client reads its answer."""
        client = self.client()
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 4194304\r\n\r\n"
        self.send(client, head + _BIG[:1000])
        refused = answer("400 Bad Request", b"no", "Connection: close\r\n")
        self.send(self.daemons[0], refused)
        self.daemons[0].transport.loseConnection()
        self.send(client, _BIG[1000:])
        self.assertEqual(client.received, refused)
        self.assertTrue(client.eof)
        self.assertFalse(client.lost)

    def test_ping(self) -> None:
        """A ping is answered without a connection to the daemon, and again with one."""
        client = self.client()
        self.daemon.head = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n"
        self.send(client, request("HEAD /_ping") * 500)
        self.assertEqual(client.received, self.daemon.head * 500)
        self.assertEqual(self.daemons, [])
        self.daemon.head = None
        self.exchange(client, request("HEAD /_ping"), answer("200 OK"))

    def test_unavailable(self) -> None:
        """While there is no login, requests are answered 503, and the connection lives on."""
        client = self.client()
        self.remote.unavailable = True
        self.send(client, _GET)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n"))
        self.remote.unavailable = False
        self.exchange(client, _GET, _OK)

    def test_refused(self) -> None:
        """A daemon that refuses connections is 502, with the socket named."""
        self.network.listeners.pop("docker")
        client = self.client()
        self.send(client, _GET)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))
        self.assertIn(b"the Docker daemon at unix:///d.sock on me@remote cannot be reached", client.received)

    def test_linkLostInAnswer(self) -> None:
        """An answer in chunks that breaks off is closed; the client sees that it is short."""
        client = self.client()
        self.send(client, _GET)
        self.send(self.daemons[0], chunked(b"abc", end=False))
        self.remote.cut_channels()
        self.network.pump()
        self.assertEqual(client.received, chunked(b"abc", end=False))
        self.assertTrue(client.eof)

    def test_unexpectedError(self) -> None:
        """A bug is answered in neutral words, and logged."""
        self.containers.answers["starting"] = lambda: _failed(ZeroDivisionError("secret"))
        client = self.client()
        self.send(client, request("POST /v1.41/containers/x/start"))
        self.assertTrue(client.received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n"))
        self.assertNotIn(b"secret", client.received)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_notifyFails(self) -> None:
        """What fails when nobody waits for it is logged and hurts nobody."""
        client = self.client()
        self.containers.answers["starting"] = lambda: _done("full-id")
        self.containers.answers["started"] = lambda: _failed(ZeroDivisionError())
        self.send(client, request("POST /v1.41/containers/x/start"))
        client.transport.abortConnection()
        self.network.pump()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertNothingLeft()

    def test_abortAll(self) -> None:
        """All clients can be ended at once."""
        clients = [self.client(), self.client()]
        self.send(clients[0], _GET)
        self.proxy.abort_all()
        self.network.pump()
        self.assertTrue(all(client.lost for client in clients))
        self.assertNothingLeft()

    def test_dump(self) -> None:
        """What passes is recorded with the connection's number."""
        self.client()
        client = self.client()
        self.exchange(client, _GET, _OK)
        self.assertEqual({number for number, _ in self.dumped}, {2})
        self.assertEqual(self.dumped[-1][1], TurnOver(len(_GET), len(_OK)))


class ConnectingTests(ProxyCase):
    """While the daemon is being connected."""

    def setUp(self) -> None:
        """Connecting waits."""
        super().setUp()
        self.endpoint = MemoryClientEndpoint(self.network, "docker", held=True)

    def test_waits(self) -> None:
        """Requests wait for the connection."""
        client = self.client()
        self.send(client, _GET)
        self.assertEqual(client.received, b"")
        self.endpoint.release()
        self.network.pump()
        self.send(self.daemons[0], _OK)
        self.assertEqual(client.received, _OK)

    def test_clientGivesUp(self) -> None:
        """With the client the attempt ends."""
        client = self.client()
        self.send(client, _GET)
        client.transport.abortConnection()
        self.network.pump()
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assertNothingLeft()

    def test_connectedTooLate(self) -> None:
        """An attempt that could not be cancelled, and succeeds after all, is closed again."""
        late: list[DaemonProtocol] = []
        self.endpoint.connect = lambda factory: late.append(factory.buildProtocol(None)) or Deferred()  # type: ignore
        client = self.client()
        self.send(client, _GET)
        client.transport.abortConnection()
        self.network.pump()
        daemon = Recorder()
        self.network.connect(late[0], daemon)
        self.network.pump()
        self.assertTrue(daemon.lost)
        self.assertNothingLeft()

    def test_boundedMemory(self) -> None:
        """Meanwhile a client is not read far ahead."""
        client = self.client()
        client.transport.write(request("POST /v1.41/images/load", _BIG))
        self.network.pump()
        self.assertGreater(len(client.transport._buffer), 3_000_000)
        self.endpoint.release()
        self.network.pump()
        self.assertEqual(self.daemons[0].received, request("POST /v1.41/images/load", _BIG))

    def test_refused(self) -> None:
        """An attempt that fails is answered."""
        client = self.client()
        self.send(client, _GET)
        self.endpoint.refuse(ConnectionRefusedError())
        self.network.pump()
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))


class StreamTests(ProxyCase):
    """Connections that became raw streams: the half-close matrix."""

    def attached(self) -> tuple[Recorder, Recorder]:
        """@return: client and daemon, joined."""
        client = self.client()
        self.exchange(client, _ATTACH, _SWITCH)
        client.received.clear()
        self.daemons[-1].received.clear()
        return client, self.daemons[-1]

    def test_bothDirections(self) -> None:
        """Big streams cross each other whole."""
        client, daemon = self.attached()
        client.transport.write(_BIG)
        daemon.transport.write(_BIG)
        client.transport.loseWriteConnection()
        daemon.transport.loseWriteConnection()
        self.network.pump()
        self.assertTrue(client.received == _BIG and daemon.received == _BIG)
        self.assertTrue(client.eof and daemon.eof)
        for end in (client, daemon):
            end.transport.loseConnection()
        self.assertNothingLeft()

    def test_clientEndsAtOnce(self) -> None:
        """C{docker run} without input ends its side at once, and gets all of the output."""
        client, daemon = self.attached()
        client.transport.loseWriteConnection()
        self.network.pump()
        self.assertTrue(daemon.eof)
        self.send(daemon, b"output")
        daemon.transport.loseConnection()
        self.network.pump()
        self.assertEqual((client.received, client.eof), (b"output", True))
        client.transport.loseConnection()
        self.assertNothingLeft()
        self.assertEqual([what for _, what in self.dumped][-2:], [Upgraded(), TurnOver(0, 6)])

    def test_inputBeforeEnd(self) -> None:
        """C{echo hi | docker run -i}: input, then the end of file, then output."""
        client, daemon = self.attached()
        client.transport.write(b"hi\n")
        client.transport.loseWriteConnection()
        self.network.pump()
        self.assertEqual(daemon.events[-2:], ["data", "eof"])
        self.assertEqual(daemon.received, b"hi\n")
        self.assertFalse(client.eof)

    def test_earlyEnd(self) -> None:
        """Input and end of file that are sent before the 101 wait for it."""
        client = self.client()
        self.send(client, _ATTACH + b"hi\n")
        client.transport.loseWriteConnection()
        self.network.pump()
        daemon = self.daemons[0]
        self.assertEqual((daemon.received, daemon.eof), (_ATTACH, False))
        self.send(daemon, _SWITCH + b"first")
        self.assertEqual((daemon.received, daemon.eof), (_ATTACH + b"hi\n", True))
        self.assertEqual(client.received, _SWITCH + b"first")

    def test_daemonEndsWithItsFirstBytes(self) -> None:
        """A 101, output and the end of file in one go arrive in order."""
        client = self.client()
        self.send(client, _ATTACH)
        self.daemons[0].transport.write(_SWITCH + b"output")
        self.daemons[0].transport.loseConnection()
        self.network.pump()
        self.assertEqual((client.received, client.eof), (_SWITCH + b"output", True))

    def test_daemonEnds(self) -> None:
        """The daemon's end of file is passed on behind the output; input still goes."""
        client, daemon = self.attached()
        daemon.transport.write(_BIG)
        daemon.transport.loseWriteConnection()
        self.network.pump()
        self.assertTrue(client.received == _BIG and client.eof)
        self.send(client, b"late input")
        self.assertEqual(daemon.received, b"late input")

    def test_endIsHeld(self) -> None:
        """The end of an attached stream waits until what the container wrote is back."""
        gate: Deferred[None] = Deferred()
        self.containers.answers["collect"] = lambda: gate
        client, daemon = self.attached()
        self.send(daemon, b"output")
        daemon.transport.loseConnection()
        self.network.pump()
        self.assertEqual((client.received, client.eof), (b"output", False))
        gate.callback(None)
        self.network.pump()
        self.assertTrue(client.eof)
        self.assertEqual(self.containers.calls, [("collect", "x")])

    def test_linkLost(self) -> None:
        """When the link is lost, the client is reset: a proper end would look like success."""
        client, _ = self.attached()
        self.remote.cut_channels()
        self.network.pump()
        assert client.reason is not None
        self.assertTrue(client.reason.check(ConnectionLost))
        self.assertFalse(client.eof)
        self.assertNothingLeft()

    def test_execCutOff(self) -> None:
        """
        The question for the exit code of an exec whose stream was cut off is answered with an error, for a
        client on a unix socket cannot be reset; after a whole stream, or when the client left, it is not.
        """
        for end, status in (
            (lambda client, daemon: self.remote.cut_channels(), b"502 Bad Gateway"),
            (lambda client, daemon: daemon.transport.loseConnection(), b"200 OK"),
            (lambda client, daemon: client.transport.abortConnection(), b"200 OK"),
        ):
            client = self.client()
            start = request("POST /v1.41/exec/e1/start", b"{}", "Host: \r\nUpgrade: tcp\r\n")
            self.exchange(client, start, _SWITCH)
            end(client, self.daemons[-1])
            self.network.pump()
            asking = self.client()
            asking.transport.write(request("GET /v1.41/exec/e1/json"))
            self.network.pump()
            self.send(self.daemons[-1], answer("200 OK", b'{"ExitCode":null,"Running":true}'))
            self.assertIn(status, asking.received.split(b"\r\n")[0])

    def test_clientVanishes(self) -> None:
        """A client that vanishes closes the daemon's side."""
        client, daemon = self.attached()
        client.transport.abortConnection()
        self.network.pump()
        self.assertTrue(daemon.eof or daemon.lost)
        self.assertNothingLeft()

    def test_slowClient(self) -> None:
        """A client that stops reading stops the daemon; little is held on the way."""
        client, daemon = self.attached()
        client.transport.pauseProducing()
        daemon.transport.write(_BIG)
        self.network.pump()
        self.assertGreater(len(daemon.transport._buffer), 3_500_000)
        client.transport.resumeProducing()
        self.network.pump()
        self.assertTrue(client.received == _BIG)

    def test_slowDaemon(self) -> None:
        """A daemon that stops reading stops the client."""
        client, daemon = self.attached()
        daemon.transport.pauseProducing()
        client.transport.write(_BIG)
        self.network.pump()
        self.assertGreater(len(client.transport._buffer), 3_500_000)
        daemon.transport.resumeProducing()
        self.network.pump()
        self.assertTrue(daemon.received == _BIG)

    def test_notHTTP(self) -> None:
        """What is no HTTP is relayed both ways."""
        client = self.client()
        self.send(client, b"\x16\x03\x01hello")
        self.send(self.daemons[0], b"hello yourself")
        self.send(client, b"more")
        self.assertEqual(self.daemons[0].received, b"\x16\x03\x01hellomore")
        self.assertEqual(client.received, b"hello yourself")


class FlowTests(ProxyCase):
    """Back-pressure on requests and answers."""

    def test_slowClient(self) -> None:
        """A client that stops reading an answer stops the daemon, and gets all of it when it goes on."""
        client = self.client()
        self.send(client, request("GET /v1.41/images/get?names=x"))
        client.transport.pauseProducing()
        daemon = self.daemons[0]
        daemon.transport.write(answer("200 OK", _BIG))
        self.network.pump()
        self.assertGreater(len(daemon.transport._buffer), 3_500_000)
        client.transport.resumeProducing()
        self.network.pump()
        self.assertTrue(client.received == answer("200 OK", _BIG))

    def test_slowDaemon(self) -> None:
        """A daemon that stops reading an upload stops the client."""
        client = self.client()
        self.send(client, request("POST /v1.41/images/load", b"", "Host: d\r\nContent-Length: 4194304\r\n"))
        daemon = self.daemons[0]
        daemon.transport.pauseProducing()
        client.transport.write(_BIG)
        self.network.pump()
        self.assertGreater(len(client.transport._buffer), 3_500_000)
        daemon.transport.resumeProducing()
        self.network.pump()
        self.assertTrue(daemon.received.endswith(_BIG))
        self.send(daemon, _OK)
        self.assertEqual(client.received, _OK)

    def test_slowDaemonAnswers(self) -> None:
        """
        A daemon that stops reading, refuses and closes: the client's upload is drained, its answer arrives.
        """
        client = self.client()
        self.send(client, request("POST /v1.41/images/load", b"", "Host: d\r\nContent-Length: 4194304\r\n"))
        daemon = self.daemons[0]
        daemon.transport.pauseProducing()
        client.transport.write(_BIG)
        self.network.pump()
        refused = answer("400 Bad Request", b"no", "Connection: close\r\n")
        self.send(daemon, refused)
        self.assertEqual((client.received, client.eof), (refused, True))
        self.assertEqual(len(client.transport._buffer), 0)
        client.transport.loseConnection()
        self.assertNothingLeft()

    def test_slowDaemonGoes(self) -> None:
        """A client that was stopped by a daemon which is then lost is read again."""
        client = self.client()
        self.send(client, request("POST /v1.41/images/load", b"", "Host: d\r\nContent-Length: 4194304\r\n"))
        self.daemons[0].transport.pauseProducing()
        client.transport.write(_BIG)
        self.network.pump()
        self.remote.cut_channels()
        self.network.pump()
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))
        self.assertEqual(len(client.transport._buffer), 0)

    def test_heldAnswer(self) -> None:
        """While an answer waits for something, the daemon is read no further."""
        gate: Deferred[None] = Deferred()
        self.containers.answers["collect"] = lambda: gate
        client = self.client()
        self.send(client, request("POST /v1.41/containers/x/wait"))
        daemon = self.daemons[0]
        self.send(daemon, chunked(end=False))
        self.assertEqual(client.received, chunked(end=False))
        daemon.transport.write(b"400000\r\n" + _BIG + b"\r\n0\r\n\r\n")
        self.network.pump()
        self.assertEqual(client.received, chunked(end=False))
        self.assertGreater(len(daemon.transport._buffer), 3_500_000)
        gate.callback(None)
        self.network.pump()
        self.assertTrue(client.received == chunked(_BIG))

    def test_clientVanishesWhileStalled(self) -> None:
        """A client that stops reading and then vanishes leaves nothing."""
        client = self.client()
        self.send(client, request("GET /v1.41/images/get?names=x"))
        client.transport.pauseProducing()
        self.daemons[0].transport.write(answer("200 OK", _BIG))
        self.network.pump()
        client.transport.abortConnection()
        self.assertNothingLeft()


def _done(value: object) -> Deferred[object]:
    done: Deferred[object] = Deferred()
    done.callback(value)
    return done


def _failed(error: Exception) -> Deferred[object]:
    failed: Deferred[object] = Deferred()
    failed.errback(Failure(error))
    return failed
