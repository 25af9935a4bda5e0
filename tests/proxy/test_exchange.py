# -*- test-case-name: tests.proxy.test_exchange -*-
"""
Tests for L{remotedocker.proxy._exchange}: scripts of events and the commands that they lead to.
"""

from __future__ import annotations

from remotedocker.errors import BadRequest, BrowserRefused, NotHTTP, SSHUnavailable
from remotedocker.proxy._asked import Collect, ExecBroke, Ping
from remotedocker.proxy._checks import RequestCheck
from remotedocker.proxy._commands import (
    AbortClient,
    ClientBytes,
    ClientEnd,
    ClientLost,
    CloseClient,
    CloseDaemon,
    Connect,
    DaemonBytes,
    DaemonConnected,
    DaemonEnd,
    DaemonLost,
    DaemonRefused,
    EndDaemon,
    Hijack,
    Hold,
    Rejected,
    Resolved,
    ToClient,
    ToDaemon,
)
from tests.proxy.support import ScriptCase, answer, chunked, error, lost, request

_GET = request("GET /v1.41/info")
_OK = answer("200 OK", b"{}")
_DOWN = SSHUnavailable(destination="me@remote", state="connecting", reason="no route")


class PassingTests(ScriptCase):
    """Requests that nothing is to be done about."""

    def test_oneRequest(self) -> None:
        """The bytes of both messages pass as they are."""
        self.forwarded(_GET)
        self.play(DaemonBytes(_OK), ToClient(_OK))

    def test_keepAlive(self) -> None:
        """The next request uses the same connection to the daemon."""
        self.forwarded(_GET)
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(ClientBytes(_GET), ToDaemon(_GET))
        self.play(DaemonBytes(_OK), ToClient(_OK))

    def test_byteByByte(self) -> None:
        """Segments of one byte change nothing, and nothing waits longer than for the end of a head."""
        post = request("POST /v1.41/images/load", b"x" * 10)
        sent = b""
        self.play_any(ClientBytes(post[:5]))
        self.play_any(DaemonConnected())
        for byte in post[5:]:
            for command in self.play_any(ClientBytes(bytes([byte]))):
                if isinstance(command, ToDaemon):
                    sent += command.data
                elif isinstance(command, Connect):
                    self.play(DaemonConnected(), ToDaemon(post[: -len(b"x" * 10)]))
                    sent += post[:-10]
        self.assertEqual(sent, post)
        received = b""
        for byte in chunked(b"abc", b"de"):
            for command in self.play_any(DaemonBytes(bytes([byte]))):
                assert isinstance(command, ToClient)
                received += command.data
        self.assertEqual(received, chunked(b"abc", b"de"))

    def test_headAtOnce(self) -> None:
        """The head of an answer passes before there is any body."""
        self.forwarded(request("GET /v1.41/events"))
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.play(DaemonBytes(head), ToClient(head))
        self.play(DaemonBytes(b"2\r\n{}\r\n"), ToClient(b"2\r\n{}\r\n"))

    def test_bodyAsItComes(self) -> None:
        """A request's body is not waited for."""
        head = b"POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        self.play(ClientBytes(b"3\r\nabc\r\n"), ToDaemon(b"3\r\nabc\r\n"))
        self.play(ClientBytes(b"0\r\n\r\n"), ToDaemon(b"0\r\n\r\n"))
        self.play(DaemonBytes(_OK), ToClient(_OK))

    def test_interimAnswers(self) -> None:
        """100 Continue passes, and does not end the turn."""
        head = b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        self.play(DaemonBytes(interim), ToClient(interim))
        self.play(ClientBytes(b"abc"), ToDaemon(b"abc"))
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(ClientBytes(_GET), ToDaemon(_GET))

    def test_noBodies(self) -> None:
        """The answer to HEAD, 204 and 304 have no body, whatever they declare."""
        head = request("HEAD /v1.41/containers/x/archive?path=/")
        self.forwarded(head)
        missing = answer("404 Not Found", headers="Content-Length: 70\r\n", length=False)
        self.play(DaemonBytes(missing), ToClient(missing))
        post = request("POST /v1.41/containers/x/pause")
        for status in ("204 No Content", "304 Not Modified"):
            self.play(ClientBytes(post), ToDaemon(post))
            empty = answer(status, length=False)
            self.play(DaemonBytes(empty), ToClient(empty))

    def test_pipelined(self) -> None:
        """Requests sent ahead are dealt with one by one, in order."""
        second = request("GET /v1.41/version")
        self.play(ClientBytes(_GET + second), Connect(False))
        self.play(DaemonConnected(), ToDaemon(_GET))
        self.play(DaemonBytes(_OK), ToClient(_OK), ToDaemon(second))
        self.play(DaemonBytes(_OK), ToClient(_OK))

    def test_manyPipelinedErrors(self) -> None:
        """Thousands of bad requests in one segment are answered without recursion."""
        bad = request("POST /v1.41/volumes/create", b"[]")
        (one,) = self.play_any(ClientBytes(bad))
        assert isinstance(one, ToClient)
        self.assertTrue(one.data.startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertTrue(self.play_any(ClientBytes(bad * 3000)) == [ToClient(one.data * 3000)])

    def test_connectionClose(self) -> None:
        """A client that asks for it is closed after its answer, and so is the daemon."""
        last = request("GET /v1.41/info", headers="Host: d\r\nConnection: close\r\n")
        self.forwarded(last)
        self.play(DaemonBytes(_OK), ToClient(_OK), CloseDaemon(), CloseClient())

    def test_daemonCloses(self) -> None:
        """An answer that announces the end of the connection is the last."""
        self.forwarded(_GET)
        last = answer("200 OK", b"{}", "Connection: close\r\n")
        self.play(DaemonBytes(last), ToClient(last), CloseDaemon(), CloseClient())

    def test_http10(self) -> None:
        """
        HTTP/1.0 is answered and closed; the end of such an answer is the end of the daemon's connection.
        """
        old = b"GET /_version HTTP/1.0\r\n\r\n"
        self.forwarded(old)
        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        self.play(DaemonBytes(head + b"abc"), ToClient(head + b"abc"))
        self.play(DaemonEnd(), CloseDaemon(), CloseClient())

    def test_untilClose(self) -> None:
        """An answer without a length closes the client's connection, HTTP/1.1 or not: it shows the end."""
        self.forwarded(_GET)
        streamed = answer("200 OK", b"abc", length=False)
        self.play(DaemonBytes(streamed), ToClient(streamed))
        self.play(DaemonEnd(), CloseDaemon(), CloseClient())

    def test_earlyAnswer(self) -> None:
        """An answer that comes before the end of the request passes; then the rest of the request does."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n"
        self.play(ClientBytes(head + b"abc"), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head + b"abc"))
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(ClientBytes(b"def" + _GET), ToDaemon(b"def" + _GET))

    def test_earlyAnswerAndEnd(self) -> None:
        """A daemon that answers and closes without reading the whole request ends the client's connection."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(DaemonEnd(), CloseDaemon(), CloseClient())

    def test_earlyLastAnswer(self) -> None:
        """The same when the answer announces it."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        refused = answer("400 Bad Request", b"no", "Connection: close\r\n")
        self.play(DaemonBytes(refused), ToClient(refused), CloseDaemon(), CloseClient())

    def test_bulk(self) -> None:
        """A big request gets a connection that is fit for it; the one before is given up."""
        self.forwarded(_GET)
        self.play(DaemonBytes(_OK), ToClient(_OK))
        save = request("GET /v1.41/images/get?names=x")
        self.play(ClientBytes(save), CloseDaemon(), Connect(True))
        self.play(DaemonConnected(), ToDaemon(save))
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(ClientBytes(_GET), ToDaemon(_GET))


class EndTests(ScriptCase):
    """Ends of file and lost connections (half-close matrix of the wire reference)."""

    def test_idleClientEnds(self) -> None:
        """A client that ends its side between requests is done."""
        self.forwarded(_GET)
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(ClientEnd(), CloseDaemon(), CloseClient())
        self.play(ClientLost())

    def test_clientEndsWithoutAWord(self) -> None:
        """A client that sends nothing at all is closed."""
        self.play(ClientEnd(), CloseClient())

    def test_waitingClientEnds(self) -> None:
        """While the answer is awaited, the client's end of file goes on, and the answer still comes."""
        self.forwarded(_GET)
        self.play(ClientEnd(), EndDaemon())
        self.play(DaemonBytes(_OK), ToClient(_OK), CloseDaemon(), CloseClient())

    def test_endBeforeConnected(self) -> None:
        """An end of file that comes while the daemon is being connected goes behind the request."""
        self.play(ClientBytes(_GET), Connect(False))
        self.play(ClientEnd())
        self.play(DaemonConnected(), ToDaemon(_GET), EndDaemon())

    def test_endBehindPipelined(self) -> None:
        """With requests sent ahead, the end of file follows the last of them."""
        self.play(ClientBytes(_GET + _GET), Connect(False))
        self.play(DaemonConnected(), ToDaemon(_GET))
        self.play(ClientEnd())
        self.play(DaemonBytes(_OK), ToClient(_OK), ToDaemon(_GET), EndDaemon())
        self.play(DaemonBytes(_OK), ToClient(_OK), CloseDaemon(), CloseClient())

    def test_endInTheMiddle(self) -> None:
        """A request that breaks off is refused, and the daemon's connection given up."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        message = "malformed HTTP: the stream ended in the middle of a request"
        self.play(
            ClientEnd(),
            CloseDaemon(),
            ToClient(error("400 Bad Request", message, close=True)),
            CloseClient(),
        )

    def test_clientLost(self) -> None:
        """A client that vanishes takes the daemon's connection with it."""
        self.forwarded(_GET)
        self.play(ClientLost(), CloseDaemon())
        self.play(DaemonBytes(_OK))

    def test_clientLostWhileConnecting(self) -> None:
        """The same while it is being connected."""
        self.play(ClientBytes(_GET), Connect(False))
        self.play(ClientLost(), CloseDaemon())

    def test_idleDaemonEnds(self) -> None:
        """The client of a daemon that closes between requests stays, and the next request connects again."""
        for event in (DaemonEnd(), DaemonLost(_DOWN)):
            self.begin()
            self.forwarded(_GET)
            self.play(DaemonBytes(_OK), ToClient(_OK))
            self.play_any(event)
            self.play(ClientBytes(_GET), Connect(False))
            self.play(DaemonConnected(), ToDaemon(_GET))
            self.play(DaemonBytes(_OK), ToClient(_OK))

    def test_daemonEndsBeforeAnswer(self) -> None:
        """Without any answer the client gets ours, and may go on."""
        self.forwarded(_GET)
        message = lost("the connection ended before the answer did").message
        self.play(DaemonEnd(), CloseDaemon(), ToClient(error("502 Bad Gateway", message)))
        self.play(ClientBytes(_GET), Connect(False))

    def test_daemonEndsInAnswer(self) -> None:
        """An answer with a length that breaks off is closed: the client sees that it is short."""
        for part in (answer("200 OK", b"abc")[:-1], chunked(b"abc", end=False)):
            self.begin()
            self.forwarded(_GET)
            self.play(DaemonBytes(part), ToClient(part))
            self.play(DaemonEnd(), CloseDaemon(), CloseClient())

    def test_linkLostBeforeAnswer(self) -> None:
        """When SSH is lost the client is told that."""
        self.forwarded(_GET)
        self.play(DaemonLost(_DOWN), ToClient(error("503 Service Unavailable", _DOWN.message)))

    def test_linkLostInAnswer(self) -> None:
        """An answer whose end is the end of the connection is broken off, never closed."""
        self.forwarded(_GET)
        streamed = answer("200 OK", b"abc", length=False)
        self.play(DaemonBytes(streamed), ToClient(streamed))
        self.play(DaemonLost(_DOWN), AbortClient())

    def test_linkLostAfterAnswer(self) -> None:
        """What is lost after an early answer ends the client's connection."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(DaemonLost(_DOWN), CloseClient())

    def test_refused(self) -> None:
        """Where the daemon cannot be connected, the client is told why, and may try again."""
        self.play(ClientBytes(_GET), Connect(False))
        self.play(DaemonRefused(_DOWN), ToClient(error("503 Service Unavailable", _DOWN.message)))
        self.play(ClientBytes(_GET), Connect(False))
        self.play(DaemonConnected(), ToDaemon(_GET))

    def test_refusedHead(self) -> None:
        """An answer of ours to HEAD has no body, but its length."""
        self.play(ClientBytes(request("HEAD /v1.41/info")), Connect(False))
        expected = error("503 Service Unavailable", _DOWN.message, to_head=True)
        self.play(DaemonRefused(_DOWN), ToClient(expected))

    def test_refusedInTheMiddle(self) -> None:
        """With the request's body still on its way, the connection cannot live on."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        expected = error("503 Service Unavailable", _DOWN.message, close=True)
        self.play(DaemonRefused(_DOWN), ToClient(expected), CloseClient())

    def test_daemonTalksUnasked(self) -> None:
        """Bytes that answer no request end the daemon's connection, not the client's."""
        self.forwarded(_GET)
        self.play(DaemonBytes(_OK), ToClient(_OK))
        self.play(DaemonBytes(b"HTTP/1.1 408 Request Timeout\r\n\r\n"), CloseDaemon())
        self.play(ClientBytes(_GET), Connect(False))

    def test_garbageFromDaemon(self) -> None:
        """What is no HTTP from the daemon is 502."""
        self.forwarded(_GET)
        (close, reply) = self.play_any(DaemonBytes(b"\x15\x03\x01\r\n\r\n"))
        self.assertEqual(close, CloseDaemon())
        assert isinstance(reply, ToClient)
        self.assertTrue(reply.data.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))


class UpgradeTests(ScriptCase):
    """Connections that become raw streams."""

    attach = request("POST /v1.41/containers/x/attach?stream=1", headers="Host: \r\nUpgrade: tcp\r\n")
    switch = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

    def test_exec(self) -> None:
        """That the stream of an exec broke will be told."""
        self.forwarded(request("POST /v1.41/exec/e1/start", b"{}", "Host: \r\nUpgrade: tcp\r\n"))
        self.play(DaemonBytes(self.switch), ToClient(self.switch), Hijack(cut_off=ExecBroke("e1")))

    def test_attach(self) -> None:
        """After the 101 the connections are joined; the end waits for what the container wrote."""
        self.forwarded(self.attach)
        self.play(DaemonBytes(self.switch), ToClient(self.switch), Hijack(before_end=Collect("x")))
        self.play(DaemonBytes(b"not ours any more"))

    def test_everyKind(self) -> None:
        """Every endpoint that upgrades, and an upgrade anywhere else, is joined."""
        for line, bulk in (
            ("POST /v1.41/exec/e/start", False),
            ("POST /session", True),
            ("POST /grpc", True),
            ("GET /v1.41/containers/x/attach/ws", False),
            ("GET /v1.41/something", False),
        ):
            self.begin()
            self.forwarded(request(line, headers="Host: \r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"), bulk)
            (sent, joined) = self.play_any(DaemonBytes(self.switch))
            self.assertEqual(sent, ToClient(self.switch))
            self.assertIsInstance(joined, Hijack)

    def test_withoutUpgrade(self) -> None:
        """A 200 without a length is a raw stream, too, where a stream is asked for."""
        self.forwarded(request("POST /v1.41/exec/e/start", b"{}"))
        streamed = answer("200 OK", length=False)
        self.play(
            DaemonBytes(streamed + b"out"), ToClient(streamed), Hijack(b"", b"out", cut_off=ExecBroke("e"))
        )

    def test_splitAndLeftOvers(self) -> None:
        """A 101 that is split anywhere, and what follows it in its last segment, arrive whole."""
        stream = self.switch + b"PRI * HTTP/2.0\r\n\r\n"
        for cut in range(1, len(stream)):
            self.begin()
            self.forwarded(self.attach)
            commands = self.play_any(DaemonBytes(stream[:cut])) + self.play_any(DaemonBytes(stream[cut:]))
            if cut < len(self.switch):
                expected = [
                    ToClient(self.switch),
                    Hijack(b"", stream[len(self.switch) :], False, Collect("x")),
                ]
                self.assertEqual(commands, expected)

    def test_clientBytesWait(self) -> None:
        """What the client sends early waits for the 101, for dockerd would lose it."""
        self.play(ClientBytes(self.attach + b"early "), Connect(False))
        self.play(DaemonConnected(), ToDaemon(self.attach))
        self.play(ClientBytes(b"bird"))
        self.play(
            DaemonBytes(self.switch),
            ToClient(self.switch),
            Hijack(b"early bird", b"", False, Collect("x")),
        )

    def test_clientEndWaits(self) -> None:
        """An end of file waits for the 101, too; dockerd would give the request up."""
        self.forwarded(self.attach)
        self.play(ClientEnd())
        self.play(
            DaemonBytes(self.switch),
            ToClient(self.switch),
            Hijack(b"", b"", True, Collect("x")),
        )

    def test_refusedUpgrade(self) -> None:
        """A daemon that does not upgrade stays in HTTP, and so does the client's next request."""
        self.forwarded(self.attach)
        refused = answer("409 Conflict", b"{}")
        self.play(DaemonBytes(refused), ToClient(refused))
        self.play(ClientBytes(_GET), ToDaemon(_GET))

    def test_refusedAttach(self) -> None:
        """dockerd's raw error to an attach is passed up to the end of the connection."""
        self.forwarded(self.attach)
        refused = answer("404 Not Found", b"No such container: x\r\n", length=False)
        self.play(DaemonBytes(refused), ToClient(refused))
        self.play(DaemonEnd(), CloseDaemon(), CloseClient())

    def test_detachedExec(self) -> None:
        """An exec that is started detached is an ordinary request."""
        self.forwarded(request("POST /v1.41/exec/e/start", b'{"Detach":true}'))
        self.play(DaemonBytes(answer("200 OK")), ToClient(answer("200 OK")))
        self.play(ClientBytes(_GET), ToDaemon(_GET))


class RawTests(ScriptCase):
    """What is no HTTP."""

    hello = b"\x16\x03\x01\x02\x00\x01"

    def test_relayed(self) -> None:
        """A TLS hello, or garbage, is relayed as it is."""
        self.play(ClientBytes(self.hello), Connect(False))
        self.play(ClientBytes(b"more"))
        self.play(ClientEnd())
        self.play(DaemonConnected(), Hijack(self.hello + b"more", b"", True))

    def test_http2(self) -> None:
        """So is the preface of HTTP/2, also byte by byte."""
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        commands = [command for byte in preface for command in self.play_any(ClientBytes(bytes([byte])))]
        self.assertEqual(commands, [Connect(False)])
        self.play(DaemonConnected(), Hijack(preface))

    def test_printable(self) -> None:
        """Printable garbage too, wherever it is cut; nobody is connected before it shows what it is."""
        for garbage in (b"how do you do\r\n\r\n", b"hello\n", b"GET /\r\nHost: HTTP/1.1\r\n\r\n"):
            for split in range(1, len(garbage)):
                self.begin()
                pieces = (garbage[:split], garbage[split:])
                commands = [command for piece in pieces for command in self.play_any(ClientBytes(piece))]
                self.assertEqual(commands, [Connect(False)])
                self.play(DaemonConnected(), Hijack(garbage))

    def test_malformedIsHTTP(self) -> None:
        """A first line with the shape of HTTP is HTTP, wherever it is cut: 400, and never relayed."""
        for line in (
            b"GET /a b HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET /\tHTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/1.1 ",
            b"GET HTTP/1.1",
            b"\r\nGET / HTTP/1.1",
            b"GET / HTTP/1.1\nHost: d",
        ):
            data = line + b"\r\n\r\n"
            for split in range(1, len(data)):
                self.begin()
                commands = [
                    command
                    for piece in (data[:split], data[split:])
                    for command in self.play_any(ClientBytes(piece))
                ]
                refusal, closed = commands
                assert isinstance(refusal, ToClient)
                self.assertTrue(refusal.data.startswith(b"HTTP/1.1 400 Bad Request\r\n"), (line, split))
                self.assertEqual(closed, CloseClient())

    def test_undecided(self) -> None:
        """A stream that ends before it shows what it is, is relayed with its end."""
        self.play(ClientBytes(b"PRI"))
        self.play(ClientEnd(), Connect(False))
        self.play(DaemonConnected(), Hijack(b"PRI", b"", True))

    def test_daemonRefused(self) -> None:
        """Where the daemon cannot be connected there is nobody to tell: the client is broken off."""
        self.play(ClientBytes(self.hello), Connect(False))
        self.play(DaemonRefused(_DOWN), AbortClient())

    def test_clientLost(self) -> None:
        """A client that is gone before the daemon is there leaves nothing."""
        self.play(ClientBytes(self.hello), Connect(False))
        self.play(ClientLost(), CloseDaemon())

    def test_httpOnly(self) -> None:
        """With C{--http-only} it is refused."""
        refusal = NotHTTP(endpoint="tcp://127.0.0.1:23750")
        self.begin(http_only=refusal)
        expected = error("400 Bad Request", refusal.message, close=True)
        self.play(ClientBytes(self.hello), ToClient(expected), CloseClient())

    def test_staysChecked(self) -> None:
        """After a first request garbage is not relayed, printable or not."""
        for garbage in (self.hello + b"\r\n", b"how do you do\r\n\r\n"):
            self.begin()
            self.forwarded(_GET)
            self.play(DaemonBytes(_OK), ToClient(_OK))
            commands = self.play_any(ClientBytes(garbage))
            self.assertEqual(commands[-2:], [CloseDaemon(), CloseClient()])
            assert isinstance(commands[0], ToClient)
            self.assertTrue(commands[0].data.startswith(b"HTTP/1.1 400 Bad Request\r\n"))


class RefusalTests(ScriptCase):
    """Requests that are not taken."""

    def test_smuggling(self) -> None:
        """Framing on which two readers differ is 400, and nothing of it reaches the daemon."""
        for headers in (
            "Host: d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Host: d\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
            "Host: d\r\nContent-Length : 3\r\n",
            "Host: d\r\nX: a\r\n b\r\n",
            "Host: d\r\nTransfer-Encoding: identity\r\n",
            "Host: d\nContent-Length: 3\r\n",
        ):
            self.begin()
            commands = self.play_any(ClientBytes(request("POST /v1.41/info", headers=headers)))
            (reply, close) = commands
            assert isinstance(reply, ToClient)
            self.assertIn(b"\r\nConnection: close\r\n", reply.data)
            self.assertTrue(reply.data.startswith(b"HTTP/1.1 400 Bad Request\r\n"))
            self.assertEqual(close, CloseClient())

    def test_brokenBody(self) -> None:
        """A chunk that is malformed ends the request at both sides."""
        head = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.play(ClientBytes(head), Connect(True))
        self.play(DaemonConnected(), ToDaemon(head))
        commands = self.play_any(ClientBytes(b"zz\r\n"))
        self.assertEqual((commands[0], commands[-1]), (CloseDaemon(), CloseClient()))

    def test_browser(self) -> None:
        """A request that fails the check is answered and closed, and nothing else of it is looked at."""
        self.begin(check=RequestCheck())
        posted = request("POST /v1.41/containers/create", b"{}", "Host: localhost\r\nOrigin: http://evil\r\n")
        refused = error("403 Forbidden", BrowserRefused(header="Origin").message, close=True)
        self.play(ClientBytes(posted), ToClient(refused), CloseClient())

    def test_tooLarge(self) -> None:
        """A body that must be read whole has a limit."""
        self.play(ClientBytes(b"POST /v1.41/containers/create HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n"))
        (reply, close) = self.play_any(ClientBytes(b" " * 4194305))
        assert isinstance(reply, ToClient)
        self.assertTrue(reply.data.startswith(b"HTTP/1.1 413 "))
        self.assertEqual(close, CloseClient())


class FlowTests(ScriptCase):
    """When which side is read."""

    def test_ahead(self) -> None:
        """A client that sends far ahead is read no further until its turn comes."""
        self.forwarded(_GET)
        self.play(ClientBytes(request("GET /x", b"y" * 70000)))
        self.assertFalse(self.exchange.reads_client)
        self.play_any(DaemonBytes(_OK))
        self.assertTrue(self.exchange.reads_client)

    def test_waitingForDaemon(self) -> None:
        """A client that sends a lot before the daemon is there is read no further."""
        self.play_any(ClientBytes(request("POST /v1.41/images/load", b"y" * 70000)))
        self.assertFalse(self.exchange.reads_client)
        self.play_any(DaemonConnected())
        self.assertTrue(self.exchange.reads_client)

    def test_bigHead(self) -> None:
        """A big head is read to its end."""
        self.play(ClientBytes(b"GET / HTTP/1.1\r\nX-Registry-Config: " + b"x" * 900000))
        self.assertTrue(self.exchange.reads_client)
        (connect,) = self.play_any(ClientBytes(b"\r\n\r\n"))
        self.assertEqual(connect, Connect(False))

    def test_heldAnswer(self) -> None:
        """A daemon whose answer is held is read no further."""
        self.forwarded(request("POST /v1.41/containers/x/wait"))
        self.play(DaemonBytes(chunked(end=False)), ToClient(chunked(end=False)))
        self.assertTrue(self.exchange.reads_daemon)
        self.play(DaemonBytes(b"2\r\n{}\r\n0\r\n\r\n"), Hold(1, Collect("x")))
        self.assertFalse(self.exchange.reads_daemon)
        self.play(Resolved(1), ToClient(b"2\r\n{}\r\n0\r\n\r\n"))
        self.assertTrue(self.exchange.reads_daemon)

    def test_lostWhileHeld(self) -> None:
        """An answer that is complete, but held, comes out although the daemon is gone."""
        for event in (DaemonEnd(), DaemonLost(_DOWN)):
            self.begin()
            self.forwarded(request("POST /v1.41/containers/x/wait"))
            self.play(DaemonBytes(chunked(b"{}")), ToClient(chunked(end=False)), Hold(1, Collect("x")))
            self.play_any(event)
            self.play(Resolved(1), ToClient(b"2\r\n{}\r\n0\r\n\r\n"))
            self.play(ClientBytes(_GET), Connect(False))

    def test_brokenWhileHeld(self) -> None:
        """One that is not complete ends after what there is of it."""
        self.forwarded(request("POST /v1.41/containers/x/wait"))
        self.play(DaemonBytes(chunked(b"{}", end=False)), ToClient(chunked(end=False)), Hold(1, Collect("x")))
        self.play(DaemonLost(_DOWN))
        self.play(Resolved(1), ToClient(b"2\r\n{}\r\n"), CloseClient())


class PingTests(ScriptCase):
    """C{/_ping}."""

    head = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\nServer: d\r\nDate: now\r\n\r\n"
    whole = (
        b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: d\r\nDate: now\r\n"
        b"Content-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nOK"
    )

    def test_known(self) -> None:
        """While the login is proven alive, nothing goes to the daemon."""
        self.play(ClientBytes(request("HEAD /_ping")), Hold(1, Ping()))
        self.play(Resolved(1, self.head), ToClient(self.head))
        self.play(ClientBytes(request("GET /v1.41/_ping")), Hold(2, Ping()))
        self.play(Resolved(2, self.head), ToClient(self.whole))

    def test_unknown(self) -> None:
        """Otherwise the daemon is asked."""
        self.play(ClientBytes(request("GET /_ping")), Hold(1, Ping()))
        self.play(Resolved(1, None), Connect(False))
        self.play(DaemonConnected(), ToDaemon(request("GET /_ping")))

    def test_closes(self) -> None:
        """A client that asks for the end of the connection, or speaks HTTP/1.0, is answered by the daemon."""
        self.play(
            ClientBytes(request("GET /_ping", headers="Host: d\r\nConnection: close\r\n")), Connect(False)
        )

    def test_pipelined(self) -> None:
        """Requests behind a ping get their turn."""
        self.play(ClientBytes(request("GET /_ping") + _GET), Hold(1, Ping()))
        self.play(Resolved(1, self.head), ToClient(self.whole), Connect(False))

    def test_failed(self) -> None:
        """A failure is an answer of ours."""
        self.play(ClientBytes(request("GET /_ping")), Hold(1, Ping()))
        refused = BadRequest(reason="because")
        self.play(Rejected(1, refused), ToClient(error("400 Bad Request", "because")))
