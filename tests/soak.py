# -*- test-case-name: tests.ssh.test_soak -*-
"""
C{python -m tests.soak [NUMBER]}: so many mixed requests (20,000 without a number) through a whole agent and a
real sshd, which breaks every connection now and then; prints what the agent had open and how big it was
before and after.

The requests are of every kind that Docker's clients make: short ones, several on one connection, chunked
streams, uploads, hijacked connections with half-closes, containers with published ports, connections that the
client or the daemon gives up in the middle. Each is whole or an error.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.integration.agent import Child, free_port
from tests.support import wait_until
from tests.support.http_daemon import LOGS, HTTPDaemon
from tests.support.sshd import RunningSSHD, start_sshd

__all__ = ["Census", "Soak"]

_AT_ONCE = 16
#: A cut after so many requests.
_CUT_EVERY = 400
_SECONDS = 30.0


class Broken(Exception):
    """A request ended with an error, as it may when the link is cut."""


@define
class Census:
    """
    What there is at one moment.

    @ivar descriptors: that the agent has open, by kind.
    @ivar memory: of the agent, resident, in KiB.
    @ivar conversations: connections that the daemon sees.
    @ivar sessions: processes of the sshd.
    """

    descriptors: Mapping[str, int]
    memory: int
    conversations: int
    sessions: int

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.descriptors.items()))
        return (
            f"{sum(self.descriptors.values())} descriptors ({kinds}), {self.memory} KiB, "
            f"{self.conversations} connections at the daemon, {self.sessions} sshd processes"
        )


class _Agent(Child):
    """The agent, logged in to the test's sshd."""

    def __init__(self, directory: Path, server: RunningSSHD, daemon_socket: Path) -> None:
        super().__init__(directory)
        self._server = server
        self._daemon_socket = daemon_socket

    def command(self) -> list[str]:
        """See L{Child.command}."""
        server = self._server
        return [
            *(str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "remotedocker"),
            *("--ssh", server.destination, "--ssh-config", "/dev/null"),
            *("--identity", str(server.identity_file), "--known-hosts", str(server.known_hosts_file)),
            *("--state-dir", str(self.directory / "state"), "--listen", f"unix:{self.socket}"),
            *("--remote-docker", f"unix://{self._daemon_socket}"),
        ]

    def environment(self) -> Mapping[str, str]:
        """See L{Child.environment}."""
        root = str(Path(__file__).resolve().parents[1])
        return {**super().environment(), "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}

    def ready(self) -> bool:
        """Whether its log has the line C{Ready:}."""
        return "Ready:" in self.log_file.read_text(errors="replace")

    def descriptors(self) -> dict[str, int]:
        """@return: how many of each kind it has open."""
        assert self.process is not None
        folder = Path(f"/proc/{self.process.pid}/fd")
        kinds: Counter[str] = Counter()
        for name in os.listdir(folder):
            try:
                kinds[os.readlink(folder / name).split(":")[0].split("/")[-1]] += 1
            except FileNotFoundError:
                continue
        return dict(kinds)

    def memory(self) -> int:
        """@return: its resident memory in KiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


@implementer(IHalfCloseableProtocol)
class _Client(Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False
        self._waiting: tuple[Callable[[], bool], Deferred[None]] | None = None

    def dataReceived(self, data: bytes) -> None:
        """Kept."""
        self.received += data
        self._look()

    def readConnectionLost(self) -> None:
        """The end of the stream."""
        self.ended = True
        self._look()

    def writeConnectionLost(self) -> None:
        """Nothing follows from it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of everything."""
        self.ended = True
        self._look()

    def _look(self) -> None:
        """Tells who waits."""
        if self._waiting is not None and (self.ended or self._waiting[0]()):
            waiting, self._waiting = self._waiting[1], None
            waiting.callback(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        @raise Broken: the connection was lost before.
        """
        if not condition() and not self.ended:
            waiting: Deferred[None] = Deferred()
            self._waiting = (condition, waiting)
            await waiting
        if not condition():
            raise Broken("the connection was lost")


def _answer_end(data: bytes | bytearray) -> int:
    """@return: where the first answer in C{data} ends; 0 while that is not there."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return 0
    at = len(head) + 4
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        end = body.find(b"\r\n0\r\n\r\n")
        return at + end + 7 if end >= 0 else 0
    length = lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    end = at + int(length or 0)
    return end if end <= len(data) else 0


def _dechunked(body: bytes) -> bytes:
    """@return: the content of a chunked body that is whole."""
    content: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            return b"".join(content)
        content.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]


def _hangs(kind: str, result: object, seconds: float) -> None:
    """@raise AssertionError: always."""
    raise AssertionError(f"{kind!r} was neither answered nor ended in {seconds:.0f} s")


class _Echo(Protocol):
    """What a published port leads to."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """Sent back."""
        self.transport.write(data)


@define(eq=False, slots=False)
class Soak:
    """
    An agent, an sshd and a daemon, and the requests.

    @ivar outcomes: how many requests of each kind were answered, and how many broke off.
    @ivar before: after the first tenth of the requests, and a cut.
    @ivar after: at the end.
    """

    reactor: Any
    number: int
    outcomes: Counter[str] = field(factory=Counter)
    before: Census | None = None
    after: Census | None = None

    async def run(self) -> None:
        """Makes all requests; what must be whole and is not is an C{AssertionError}."""
        directory = Path(tempfile.mkdtemp(prefix="remotedocker-soak-"))
        server = start_sshd(directory / "sshd")
        echo = Factory.forProtocol(_Echo)
        echo.noisy = False
        listening = [self.reactor.listenTCP(0, echo, interface="127.0.0.1")]
        try:
            self._server = server
            self._daemon = HTTPDaemon(listening[0].getHost().port)
            listening.append(await self._daemon.listen(self.reactor, str(directory / "daemon.sock")))
            self._agent = _Agent(directory / "agent", server, directory / "daemon.sock")
            self._agent.launch()
            try:
                await self._soak()
            except BaseException:
                sys.stderr.write(self._agent.log() + "\n")
                raise
            finally:
                self._agent.stop()
        finally:
            for port in listening:
                await port.stopListening()
            server.stop(remove=True)
            shutil.rmtree(directory, ignore_errors=True)

    async def _soak(self) -> None:
        """All requests, in portions between which the link is cut."""
        await self._until(lambda: self._agent.log_file.exists() and self._agent.ready())
        self._left = self.number
        warm_up = max(self.number // 10, _CUT_EVERY)
        await self._portions(self.number - warm_up)
        self.before = await self._census()
        await self._portions(0)
        self.after = await self._census()

    async def _portions(self, until: int) -> None:
        """Makes requests until only so many are left."""
        while self._left > until:
            size = min(_CUT_EVERY, self._left - until)
            self._left -= size
            self._portion = size
            await gatherResults([ensureDeferred(self._worker()) for _ in range(_AT_ONCE)], consumeErrors=True)

    async def _worker(self) -> None:
        """One client after the other; the one in the middle finds the link cut."""
        while self._portion > 0:
            self._portion -= 1
            if self._portion == _CUT_EVERY // 2:
                self._server.cut()
            [kind] = random.choices(list(_KINDS), [weight for _, weight in _KINDS.values()])
            try:
                await ensureDeferred(_KINDS[kind][0](self)).addTimeout(
                    _SECONDS, self.reactor, partial(_hangs, kind)
                )
                self.outcomes[kind] += 1
            except (Broken, ConnectError) as error:
                self.outcomes[f"{kind}: {error}"] += 1

    async def _until(self, condition: Callable[[], object]) -> None:
        await wait_until(self.reactor, condition, timeout=_SECONDS)

    async def _census(self) -> Census:
        """@return: what there is, once all that was going on has ended."""
        await self._until(lambda: len(self._daemon.listeners) == 1)
        for name in list(self._daemon.containers):
            await self._request(b"DELETE", f"/containers/{name}?force=1")
        still = [0.0, ()]

        def settled() -> bool:
            now = (sorted(self._agent.descriptors().items()), len(self._daemon.conversations))
            if now != still[1]:
                still[:] = [self.reactor.seconds(), now]
            return bool(self.reactor.seconds() - still[0] > 1.5)

        await self._until(settled)
        return Census(
            self._agent.descriptors(),
            self._agent.memory(),
            len(self._daemon.conversations),
            len(self._server.sessions()),
        )

    # Requests

    async def _connect(self) -> _Client:
        endpoint = UNIXClientEndpoint(self.reactor, str(self._agent.socket))
        return await connectProtocol(endpoint, _Client())

    async def _ask(self, client: _Client, method: bytes, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """@return: status and content of the answer to one more request on a connection."""
        head = b"%s /v1.41%s HTTP/1.1\r\nHost: docker\r\n" % (method, path.encode())
        if body:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        client.transport.write(head + b"\r\n" + body)
        await client.until(lambda: _answer_end(client.received) > 0)
        end = _answer_end(client.received)
        answer = bytes(client.received[:end])
        del client.received[:end]
        status, (head, _, content) = int(answer[9:12]), answer.partition(b"\r\n\r\n")
        if status in (500, 502, 503):
            raise Broken(str(status))
        return status, _dechunked(content) if b"chunked" in head else content

    async def _request(self, method: bytes, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """@return: status and content of the answer to a request on a connection of its own."""
        client = await self._connect()
        try:
            return await self._ask(client, method, path, body)
        finally:
            client.transport.abortConnection()

    async def _list(self) -> None:
        status, content = await self._request(b"GET", "/containers/json")
        assert (status, type(json.loads(content))) == (200, list), content

    async def _ping(self) -> None:
        assert await self._request(b"GET", "/_ping") == (200, b"OK")

    async def _missing(self) -> None:
        status, _ = await self._request(b"GET", "/containers/nobody/json")
        assert status == 404, status

    async def _several(self) -> None:
        client = await self._connect()
        try:
            for path in ("/containers/json", "/version", "/_ping", "/containers/some/logs"):
                assert (await self._ask(client, b"GET", path))[0] == 200
        finally:
            client.transport.loseConnection()

    async def _logs(self) -> None:
        assert await self._request(b"GET", "/containers/some/logs?stdout=1") == (200, LOGS)

    async def _broken_logs(self) -> None:
        try:
            await self._request(b"GET", "/containers/broken/logs?stdout=1")
        except Broken:
            return
        raise AssertionError("a stream without its end seemed whole")

    async def _upload(self) -> None:
        body = os.urandom(1000) * 200
        status, content = await self._request(b"PUT", "/containers/some/archive?path=/", body)
        assert (status, json.loads(content)) == (200, {"received": len(body)})

    async def _given_up(self) -> None:
        client = await self._connect()
        client.transport.write(b"GET /v1.41/containers/some/logs?follow=1 HTTP/1.1\r\nHost: docker\r\n\r\n")
        await client.until(lambda: len(client.received) > 20_000 or client.received.startswith(b"HTTP/1.1 5"))
        client.transport.abortConnection()

    async def _attach(self) -> None:
        client = await self._connect()
        try:
            client.transport.write(
                b"POST /v1.41/containers/some/attach?stream=1 HTTP/1.1\r\nHost: docker\r\n"
                b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
            )
            await client.until(lambda: b"\r\n\r\n" in client.received)
            if not client.received.startswith(b"HTTP/1.1 101"):
                raise Broken(client.received[9:12].decode())
            content = os.urandom(100) * random.choice((1, 1000))
            client.transport.write(content)
            client.transport.loseWriteConnection()
            await client.until(lambda: client.received.endswith(b"\r\n\r\n" + content))
            await client.until(lambda: client.ended)
        finally:
            client.transport.abortConnection()

    async def _container(self) -> None:
        port = free_port()
        bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
        wanted = {
            "Image": "busybox",
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"PortBindings": bindings},
        }
        status, content = await self._request(b"POST", "/containers/create", json.dumps(wanted).encode())
        assert status == 201, content
        name = json.loads(content)["Id"]
        status, content = await self._request(b"POST", f"/containers/{name}/start")
        assert status == 204, content
        client: _Client = await connectProtocol(
            TCP4ClientEndpoint(self.reactor, "127.0.0.1", port), _Client()
        )
        try:
            client.transport.write(b"hello")
            await client.until(lambda: client.received == b"hello")
        finally:
            client.transport.abortConnection()
        status, content = await self._request(b"DELETE", f"/containers/{name}?force=1")
        assert status == 204, content


#: What is requested, and how often.
_KINDS: dict[str, tuple[Callable[[Soak], Any], int]] = {
    "list": (Soak._list, 25),
    "ping": (Soak._ping, 10),
    "missing": (Soak._missing, 10),
    "several on one connection": (Soak._several, 10),
    "logs": (Soak._logs, 10),
    "logs that break off": (Soak._broken_logs, 5),
    "upload": (Soak._upload, 5),
    "given up": (Soak._given_up, 5),
    "attach": (Soak._attach, 15),
    "container with a port": (Soak._container, 5),
}


async def _main(reactor: Any) -> None:
    """Runs it, and prints what came of it."""
    soak = Soak(reactor, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
    began = reactor.seconds()
    await soak.run()
    lines = [f"{count:6} {kind}" for kind, count in sorted(soak.outcomes.items())]
    lines.append(f"{sum(soak.outcomes.values()):6} in {reactor.seconds() - began:.0f} s")
    lines += [f"before: {soak.before}", f"after:  {soak.after}", ""]
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    react(lambda reactor: ensureDeferred(_main(reactor)))
