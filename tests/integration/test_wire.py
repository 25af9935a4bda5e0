"""
Bytes on the wire: what a raw client gets through the agent and straight from the daemon, and what happens
when one side of a stream stops.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.base import IntegrationTestCase
from tests.integration.checks import tar_contents

_SECONDS = 30.0

_DATE = re.compile(rb"(?m)^Date: .*\r$")

_CREATE = b'{"Image": "no-such-image:ever", "Unknown": {"kept": 1}}'


def _request(start: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((start, b"Host: docker", *fields, b"", body))


_LAST = b"Connection: close"
_JSON = b"Content-Type: application/json"
_CREATION = b"POST /v1.41/containers/create HTTP/1.1"

_EXCHANGES = {
    "keep-alive and pipelining": b"".join(
        (
            _request(b"GET /_ping HTTP/1.1"),
            _request(b"HEAD /_ping HTTP/1.1"),
            _request(b"GET /v1.41/containers/absent/json HTTP/1.1"),
            _request(b"HEAD /v1.41/containers/absent/archive?path=/ HTTP/1.1"),
            _request(b"GET /v1.41/images/busybox/json HTTP/1.1", _LAST),
        )
    ),
    "HTTP/1.0": b"GET /_ping HTTP/1.0\r\n\r\n",
    "HTTP/1.0 with an error": b"GET /v1.41/containers/absent/json HTTP/1.0\r\n\r\n",
    "no such page": _request(b"GET /nowhere HTTP/1.1", _LAST),
    "no such method": _request(b"PATCH /_ping HTTP/1.1", _LAST),
    "an empty host": b"GET /_ping HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n",
    "an absolute target": _request(b"GET http://docker/v1.41/images/busybox/json HTTP/1.1", _LAST),
    "a length": _request(_CREATION, _JSON, b"Content-Length: %d" % len(_CREATE), _LAST, body=_CREATE),
    "chunks and trailers": _request(
        _CREATION,
        *(_JSON, b"Transfer-Encoding: chunked", b"Trailer: X-T", _LAST),
        body=b"10\r\n%s\r\n%x;e=x\r\n%s\r\n0\r\nX-T: v\r\n\r\n"
        % (_CREATE[:16], len(_CREATE) - 16, _CREATE[16:]),
    ),
    "a stream": _request(b"GET /v1.41/events?since=1&until=2 HTTP/1.1", _LAST),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not a whole TLS hello\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "garbage": b"\x00\xff\x01garbage\r\n\r\n",
    "printable garbage": b"how do you do\r\n\r\n",
}


def _connect(address: str | int | Path) -> socket.socket:
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=_SECONDS)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_SECONDS)
    connection.connect(str(address))
    return connection


def _everything(connection: socket.socket) -> bytes:
    """What comes until the other side ends."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


class RawClientTests(IntegrationTestCase):
    """A client that writes its own HTTP."""

    def exchange(self, address: str | int | Path, data: bytes, piece: int) -> bytes:
        """Sends C{data} in pieces of C{piece} bytes, and returns the answer without its dates."""
        with _connect(address) as connection:
            for start in range(0, len(data), piece):
                connection.sendall(data[start : start + piece])
            return _DATE.sub(b"Date: \r", _everything(connection))

    def test_same_bytes(self) -> None:
        """Every answer is the daemon's own, byte for byte, however the request is cut."""
        agent = self.shared_agent()
        for name, data in _EXCHANGES.items():
            direct = self.exchange(self.remote.docker_socket, data, len(data))
            self.assertTrue(direct.startswith(b"HTTP/1."), (name, direct))
            for piece in (len(data), 7):
                self.assertEqual(self.exchange(agent.socket, data, piece), direct, name)

    def test_expect_continue(self) -> None:
        """The daemon's C{100 Continue} arrives before the body is sent."""
        fields = (_JSON, b"Expect: 100-continue", b"Content-Length: %d" % len(_CREATE), _LAST)
        head = _request(_CREATION, *fields)
        answers = []
        for address in (self.remote.docker_socket, self.shared_agent().socket):
            with _connect(address) as connection:
                connection.sendall(head)
                self.assertEqual(connection.recv(65536), b"HTTP/1.1 100 Continue\r\n\r\n")
                connection.sendall(_CREATE)
                answers.append(_DATE.sub(b"Date: \r", _everything(connection)))
        self.assertEqual(*answers)

    def test_attach_by_websocket(self) -> None:
        """C{attach/ws} becomes a stream of the client's frames one way, and of the container's the other."""
        name = self.docker("").name("echo")
        command = ("create", "-i", "--name", name, "busybox", "sh", "-c", "read line; echo got $line")
        target = f"/v1.41/containers/{name}/attach/ws?stream=1&stdin=1&stdout=1"
        fields = (
            *(b"Connection: Upgrade", b"Upgrade: websocket", b"Origin: http://docker"),
            *(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        )
        # RFC 6455 section 5.2: a whole text message of six bytes, masked with zeros.
        question = b"\x81\x86\x00\x00\x00\x00hello\n"
        answers = []
        for address in (self.remote.docker_socket, self.shared_agent().socket):
            self.assertEqual(self.remote.docker(*command).returncode, 0)
            try:
                with _connect(address) as connection:
                    connection.sendall(_request(f"GET {target} HTTP/1.1".encode(), *fields) + question)
                    answer = _until(connection, b"\r\n\r\n")
                    self.remote.post(f"/containers/{name}/start")
                    answer += _until(connection, b"got hello\n")
            finally:
                self.remote.docker("rm", "-f", name)
            answers.append(answer.partition(b"got hello\n")[0])
        self.assertTrue(answers[0].startswith(b"HTTP/1.1 101 "), answers)
        self.assertEqual(*answers)

    def test_no_json(self) -> None:
        """A create whose body cannot be read is refused as Docker refuses, and not forwarded."""
        for body in (b"", b"{nope", b"[]"):
            data = _request(_CREATION, _JSON, b"Content-Length: %d" % len(body), _LAST, body=body)
            head, _, answer = self.exchange(self.shared_agent().socket, data, len(data)).partition(
                b"\r\n\r\n"
            )
            self.assertTrue(head.startswith(b"HTTP/1.1 400 Bad Request\r\n"), head)
            self.assertIn(b"\r\nContent-Type: application/json\r\n", head)
            self.assertEqual(list(json.loads(answer)), ["message"])

    def test_http_only(self) -> None:
        """With C{--http-only} what is not HTTP is refused, and what is HTTP is not."""
        agent = self.own_agent("--http-only")
        for name in ("a TLS hello", "printable garbage"):
            answer = self.exchange(agent.port, _EXCHANGES[name], 1000)
            self.assertIn(b"--http-only", answer)
        answer = self.exchange(agent.port, _EXCHANGES["HTTP/1.0"], 1000)
        self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK\r\n"), answer)

    def test_browsers(self) -> None:
        """On the TCP port a request of a web page, or for a foreign host, gets 403 and does nothing."""
        agent = self.shared_agent()
        for lines in (
            b"Host: 127.0.0.1:%d\r\nOrigin: http://evil.example\r\n" % agent.port,
            b"Host: 127.0.0.1:%d\r\nSec-Fetch-Site: cross-site\r\n" % agent.port,
            b"Host: evil.example:%d\r\n" % agent.port,
        ):
            request = b"GET /v1.41/info HTTP/1.1\r\n%sConnection: close\r\n\r\n" % lines
            answer = self.exchange(agent.port, request, 1000)
            self.assertTrue(answer.startswith(b"HTTP/1.1 403 "), answer)
            self.assertIn(b"\r\nContent-Type: application/json\r\n", answer)
            self.assertIn("message", json.loads(answer.partition(b"\r\n\r\n")[2]))


class StoppedReaderTests(IntegrationTestCase):
    """A side that stops reading stops the other; nothing piles up between them, and nothing is lost."""

    SIZE = 96 * 2**20
    ALLOWED = 24 * 2**20
    """
    Bytes that may be under way while the reader stops: kernel buffers of three connections and two SSH
    windows; far less than what is sent.
    """

    def rest(self, count: Callable[[], int], what: str) -> int:
        """Waits until C{count} grows no more for a second, and returns it."""
        seen = [count(), time.monotonic()]

        def rests() -> bool:
            now = count()
            if now != seen[0]:
                seen[:] = [now, time.monotonic()]
            return time.monotonic() - seen[1] > 1.0

        self.wait_for(rests, f"{what} rests", 60)
        return int(seen[0])

    def memory(self, number: int) -> int:
        """The resident memory of a process in bytes."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{number}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def read_bytes(self, number: int) -> int:
        """What a process has read so far."""
        return int(Path(f"/proc/{number}/io").read_text().split()[1])

    def test_download(self) -> None:
        """A client that stops in the middle of C{GET /images/…/get} stops the daemon."""
        image, layer, content = (
            f"t{secrets.token_hex(4)}",
            self.scratch / "layer.tar",
            self.scratch / "content",
        )
        with content.open("wb") as file:
            for _ in range(self.SIZE >> 20):
                file.write(secrets.token_bytes(2**20))
        with tarfile.open(layer, "w") as archive:
            archive.add(content, "content")
        self.assertEqual(self.remote.docker("import", str(layer), image).returncode, 0)
        self.addCleanup(self.remote.docker, "rmi", "-f", image)
        agent = self.own_agent()
        assert agent.process is not None
        number = agent.process.pid
        request = f"GET /images/{image}/get HTTP/1.0\r\n\r\n".encode()
        with _connect(self.remote.docker_socket) as connection:
            connection.sendall(request)
            expected = tar_contents(io.BytesIO(_everything_after_head(connection)))
        with _connect(agent.socket) as connection:
            memory, read = self.memory(number), self.read_bytes(number)
            connection.sendall(request)
            first = connection.recv(1000)
            self.assertLess(
                self.rest(lambda: self.read_bytes(number), "the agent's reading") - read, self.ALLOWED
            )
            self.assertLess(self.memory(number) - memory, self.ALLOWED)
            received = tar_contents(io.BytesIO(_everything_after_head(connection, first)))
        self.assertEqual(received, expected)

    def test_upload(self) -> None:
        """A container that does not read stops the client that sends to it; then it gets every byte."""
        agent = self.own_agent()
        assert agent.process is not None
        number = agent.process.pid
        docker = self.docker(agent.unix_host)
        name = docker.name("stopped")
        script = "while ! [ -e /go ]; do sleep 0.1; done; md5sum"
        self.assertEqual(docker("create", "-i", "--name", name, "busybox", "sh", "-c", script).status, 0)
        data = secrets.token_bytes(2**20) * 64
        with _connect(agent.socket) as connection:
            connection.sendall(
                f"POST /v1.41/containers/{name}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
            )
            self.assertIn(b" 101 ", connection.recv(65536))
            self.assertEqual(docker("start", name).status, 0)
            memory = self.memory(number)
            connection.setblocking(False)
            sent = [0]

            def send() -> int:
                try:
                    sent[0] += connection.send(data[sent[0] : sent[0] + 2**20])
                except BlockingIOError:
                    pass
                return sent[0]

            self.assertLess(self.rest(send, "the sending"), self.ALLOWED)
            self.assertLess(self.memory(number) - memory, self.ALLOWED)
            self.assertEqual(docker("exec", name, "touch", "/go").status, 0)
            connection.settimeout(_SECONDS)
            connection.sendall(data[sent[0] :])
            connection.shutdown(socket.SHUT_WR)
            output = _everything(connection)
        self.assertIn(hashlib.md5(data).hexdigest().encode(), output)


def _until(connection: socket.socket, wanted: bytes) -> bytes:
    """
    What comes up to C{wanted}, and perhaps more.

    @raise AssertionError: the other side ended before.
    """
    received = b""
    while wanted not in received:
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


def _everything_after_head(connection: socket.socket, received: bytes = b"") -> bytes:
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    parts = [received.partition(b"\r\n\r\n")[2]]
    while data := connection.recv(2**20):
        parts.append(data)
    return b"".join(parts)
