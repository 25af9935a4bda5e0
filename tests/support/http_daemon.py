"""
A daemon that speaks enough of Docker's API for C{ps}, C{run -p}, C{logs}, C{attach}, C{cp} and C{events}, at
no cost: its containers are names in a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["LOGS", "HTTPDaemon"]

#: What every container has logged.
LOGS = bytes(range(256)) * 256
_CHUNK = 10_000
_API = b"Api-Version: 1.41\r\nServer: Docker/20.10.24\r\n"


@implementer(IHalfCloseableProtocol)
class _Conversation(Protocol):
    """One connection: requests, one after the other, until one is an upgrade."""

    transport: Any

    def __init__(self, daemon: HTTPDaemon) -> None:
        self._daemon = daemon
        self._buffer = b""
        self._body_left = 0
        self._answer: Callable[[], None] | None = None
        self._body = b""
        self._raw = False

    def connectionMade(self) -> None:
        """Counted."""
        self._daemon.conversations.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Counted no more."""
        self._daemon.conversations.discard(self)
        self._daemon.listeners.discard(self)

    def readConnectionLost(self) -> None:
        """The end of what the client sends is the end of what it gets."""
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing follows from it."""

    def dataReceived(self, data: bytes) -> None:
        """A request, a part of a body, or, after an upgrade, what is echoed."""
        if self._raw:
            self.transport.write(data)
            return
        self._buffer += data
        while self._answer is not None or b"\r\n\r\n" in self._buffer:
            if self._answer is None:
                head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
                self._begin(head)
            taken, self._buffer = self._buffer[: self._body_left], self._buffer[self._body_left :]
            self._body += taken
            self._body_left -= len(taken)
            if self._body_left:
                return
            answer, self._answer = self._answer, None
            assert answer is not None
            answer()

    def _begin(self, head: bytes) -> None:
        """Reads a request's head."""
        line, *headers = head.split(b"\r\n")
        method, target, _ = line.split(b" ")
        lengths = [header[16:] for header in headers if header.lower().startswith(b"content-length: ")]
        self._body_left, self._body = int(lengths[0]) if lengths else 0, b""
        path = re.sub(r"^/v1\.\d+", "", target.decode()).partition("?")[0]
        for wanted, pattern, answer in self._ROUTES:
            found = re.fullmatch(pattern, path)
            if wanted == method and found:
                self._answer = partial(answer, self, *found.groups())
                return
        self._answer = lambda: self._json(404, {"message": f"page not found: {path}"})

    def _respond(self, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        """Answers."""
        head = b"HTTP/1.1 %d Whatever\r\n%sContent-Type: %s\r\n" % (status, _API, kind)
        if status != 204:
            head += b"Content-Length: %d\r\n" % len(body)
        self.transport.write(head + b"\r\n" + body)

    def _json(self, status: int, value: Any) -> None:
        """Answers with a value."""
        self._respond(status, json.dumps(value).encode())

    def _ping(self) -> None:
        self._respond(200, b"OK", b"text/plain")

    def _version(self) -> None:
        self._json(200, {"Version": "20.10.24", "ApiVersion": "1.41"})

    def _list(self) -> None:
        self._json(200, list(map(self._daemon.summary, self._daemon.containers)))

    def _create(self) -> None:
        made = self._daemon.create(json.loads(self._body))
        self._json(201, {"Id": made, "Warnings": []})

    def _inspect(self, name: str) -> None:
        if name in self._daemon.containers:
            self._json(200, self._daemon.inspect(name))
        else:
            self._json(404, {"message": f"No such container: {name}"})

    def _start(self, name: str) -> None:
        self._daemon.start(name)
        self._respond(204, b"")

    def _remove(self, name: str) -> None:
        self._daemon.remove(name)
        self._respond(204, b"")

    def _events(self) -> None:
        self._daemon.listeners.add(self)
        self._chunked_head(b"application/json")

    def tell(self, event: dict[str, Any]) -> None:
        """One more event."""
        self._chunk(json.dumps(event).encode() + b"\n")

    def _chunked_head(self, kind: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\n%sContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head % (_API, kind))

    def _chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _logs(self, name: str) -> None:
        self._chunked_head(b"application/vnd.docker.raw-stream")
        for at in range(0, len(LOGS), _CHUNK):
            self._chunk(LOGS[at : at + _CHUNK])
        self._chunk(b"")

    def _broken_logs(self) -> None:
        self._chunked_head(b"application/vnd.docker.raw-stream")
        self._chunk(LOGS)
        self.transport.loseConnection()

    def _archive(self, name: str) -> None:
        self._json(200, {"received": len(self._body)})

    def _attach(self, name: str) -> None:
        self._raw = True
        head = b"HTTP/1.1 101 UPGRADED\r\n%sContent-Type: application/vnd.docker.raw-stream\r\n"
        self.transport.write(head % _API + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")

    _ROUTES: tuple[tuple[bytes, str, Callable[..., None]], ...] = (
        (b"GET", "/_ping", _ping),
        (b"HEAD", "/_ping", _ping),
        (b"GET", "/version", _version),
        (b"GET", "/events", _events),
        (b"GET", "/containers/json", _list),
        (b"POST", "/containers/create", _create),
        (b"GET", "/containers/broken/logs", _broken_logs),
        (b"GET", "/containers/([^/]+)/logs", _logs),
        (b"GET", "/containers/([^/]+)/json", _inspect),
        (b"POST", "/containers/([^/]+)/start", _start),
        (b"POST", "/containers/([^/]+)/attach", _attach),
        (b"PUT", "/containers/([^/]+)/archive", _archive),
        (b"DELETE", "/containers/([^/]+)", _remove),
    )


class HTTPDaemon(Factory):
    """
    The daemon.

    @ivar conversations: the connections that stand.
    @ivar listeners: those of them that follow C{/events}.
    @ivar containers: id to what it was created with.
    """

    noisy = False

    def __init__(self, published: int = 0) -> None:
        """
        @param published: the port of the host's loopback to which every published port leads.
        """
        self.published = published
        self.conversations: set[_Conversation] = set()
        self.listeners: set[_Conversation] = set()
        self.containers: dict[str, dict[str, Any]] = {}
        self._running: set[str] = set()
        self._made = 0

    def buildProtocol(self, addr: object) -> Protocol:
        """One connection."""
        return _Conversation(self)

    async def listen(self, reactor: Any, path: str) -> Any:
        """@return: the listening port."""
        return await UNIXServerEndpoint(reactor, path, backlog=500).listen(self)

    def create(self, wanted: dict[str, Any]) -> str:
        """@return: the id of a new container."""
        self._made += 1
        made = f"{self._made:064x}"
        self.containers[made] = wanted
        self._tell("create", made)
        return made

    def start(self, name: str) -> None:
        """It runs."""
        self._running.add(name)
        self._tell("start", name)

    def remove(self, name: str) -> None:
        """It is gone."""
        if name in self._running:
            self._running.discard(name)
            self._tell("die", name)
        if name in self.containers:
            self._tell("destroy", name)
            del self.containers[name]

    def _tell(self, action: str, name: str) -> None:
        """Tells everybody who listens."""
        labels = self.containers[name].get("Labels") or {}
        event = {
            **{"Type": "container", "Action": action, "status": action, "id": name, "scope": "local"},
            **{"Actor": {"ID": name, "Attributes": labels}, "time": 1, "timeNano": 1_000_000_000},
        }
        for listener in list(self.listeners):
            listener.tell(event)

    def _bindings(self, name: str) -> dict[str, Any]:
        """@return: where its ports are on the host."""
        asked = (self.containers[name].get("HostConfig") or {}).get("PortBindings") or {}
        if name not in self._running:
            return {}
        return {port: [{"HostIp": "127.0.0.1", "HostPort": str(self.published)}] for port in asked}

    def summary(self, name: str) -> dict[str, Any]:
        """@return: as it stands in a list."""
        state = "running" if name in self._running else "created"
        ports = [
            {**{"PrivatePort": int(port.split("/")[0]), "Type": "tcp"}, **{"PublicPort": self.published}}
            for port in self._bindings(name)
        ]
        labels = self.containers[name].get("Labels") or {}
        return {
            "Id": name,
            "Names": [f"/{name}"],
            "State": state,
            "Labels": labels,
            "Ports": ports,
            "Mounts": [],
        }

    def inspect(self, name: str) -> dict[str, Any]:
        """@return: all about it."""
        wanted = self.containers[name]
        return {
            **{"Id": name, "Name": f"/{name}", "Mounts": []},
            "State": {"Running": name in self._running, "Status": self.summary(name)["State"]},
            "Config": {"Labels": wanted.get("Labels") or {}, "Image": wanted.get("Image", "")},
            "HostConfig": wanted.get("HostConfig") or {},
            "NetworkSettings": {"Ports": self._bindings(name)},
        }
