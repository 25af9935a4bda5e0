# -*- test-case-name: tests.daemon.test_fakes -*-
"""
A dockerd in memory, as far as our own questions go: containers, images, volumes, and C{/events} with its
memory of 256 events.

L{tests.contracts.daemon} holds it to what a real dockerd does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import Factory, define
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from remotedocker.http import EndOfMessage, Headers, RequestHead, RequestParser, encode_response
from tests.support import MemoryNetwork, MemoryServerEndpoint

__all__ = ["FakeContainer", "FakeDaemon"]

_KEPT_EVENTS = 256


@define
class FakeContainer:
    """What the daemon knows of a container."""

    container_id: str
    name: str
    image: str
    labels: dict[str, str] = Factory(dict)
    running: bool = False


class _Connection(Protocol):
    """One client of the daemon."""

    transport: Any

    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon
        self._parser = RequestParser()
        self.streaming = False

    def connectionMade(self) -> None:
        """Counted."""
        self._daemon.connections.append(self)
        self._daemon.accepted += 1

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Not counted any more."""
        self._daemon.connections.remove(self)

    def dataReceived(self, data: bytes) -> None:
        """Answers each request when it is complete."""
        head: RequestHead | None = None
        events = self._parser.feed(data)
        while events:
            for event in events:
                if isinstance(event, RequestHead):
                    head = event
                elif isinstance(event, EndOfMessage):
                    assert head is not None
                    self._daemon.serve(self, head)
            events = self._parser.next_message() if self._parser.between_messages else []

    def push(self, event: dict[str, Any]) -> None:
        """Sends one event in a chunk of its own."""
        text = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        self.transport.write(b"%x\r\n%b\r\n" % (len(text), text))


class FakeDaemon(ProtocolFactory):
    """
    Listens on a L{MemoryNetwork} as C{"docker"}.

    @ivar heads: of each request, in order.
    @ivar connections: those that are open.
    @ivar accepted: how many connections there ever were.
    @ivar overrides: raw answers, by path; None: no answer at all.
    @ivar on_request: called with each path before it is answered.
    @ivar images: what is exposed, by image name.
    @ivar volumes: the options of each, by name; all are of the C{local} driver.
    @ivar services: what is listed; None: the daemon is no manager of a swarm.
    """

    noisy = False

    def __init__(self, network: MemoryNetwork) -> None:
        self.heads: list[RequestHead] = []
        self.connections: list[_Connection] = []
        self.accepted = 0
        self.overrides: dict[str, bytes | None] = {}
        self.on_request: Callable[[str], None] = lambda path: None
        self.containers: dict[str, FakeContainer] = {}
        self.images: dict[str, list[str]] = {"busybox": [], "web": ["80/tcp", "53/udp"]}
        self.volumes: dict[str, dict[str, str]] = {}
        self.services: list[dict[str, Any]] | None = None
        self._clock = network.clock
        self._network = network
        self._history: list[dict[str, Any]] = []
        self._numbers = 0
        self.listen()

    @property
    def requests(self) -> list[str]:
        """Method and target of each request, in order."""
        return [f"{head.method.decode()} {head.target.decode()}" for head in self.heads]

    # What a test does.

    def listen(self) -> None:
        """Connections are accepted."""
        MemoryServerEndpoint(self._network, "docker").listen(self)

    def shut_down(self) -> None:
        """Ends all connections and refuses new ones."""
        self._network.listeners.pop("docker")
        self.drop_connections()
        self._history.clear()

    def drop_connections(self, streams_only: bool = False) -> None:
        """Ends connections, as dockerd does when it stops: by an end of file."""
        for connection in [*self.connections]:
            if connection.streaming or not streams_only:
                connection.transport.loseConnection()

    def create(self, name: str, image: str = "busybox", labels: dict[str, str] | None = None) -> str:
        """@return: the new container's id."""
        self._numbers += 1
        container_id = f"{self._numbers:02x}" * 32
        self.containers[container_id] = FakeContainer(container_id, name, image, labels or {})
        self.emit("create", container_id)
        return container_id

    def start(self, container_id: str) -> None:
        """The container runs."""
        self.containers[container_id].running = True
        self.emit("start", container_id)

    def kill(self, container_id: str) -> None:
        """The container ends."""
        self.emit("kill", container_id, signal="9")
        self.containers[container_id].running = False
        self.emit("die", container_id, exitCode="137")

    def remove(self, container_id: str) -> None:
        """The container is gone."""
        self.emit("destroy", container_id)
        del self.containers[container_id]

    def create_volume(self, name: str, options: dict[str, str]) -> None:
        """Makes a volume."""
        self.volumes[name] = options
        self._emit("volume", "create", name, {"driver": "local"})

    def remove_volume(self, name: str) -> None:
        """The volume is gone."""
        del self.volumes[name]
        self._emit("volume", "destroy", name, {"driver": "local"})

    def emit(self, action: str, container_id: str, **attributes: str) -> None:
        """Something happens to a container."""
        container = self.containers[container_id]
        named = {"image": container.image, "name": container.name}
        old = {"status": action, "id": container_id, "from": container.image}
        self._emit("container", action, container_id, {**container.labels, **named, **attributes}, old)

    def _emit(
        self,
        kind: str,
        action: str,
        reference: str,
        attributes: dict[str, str],
        old: dict[str, str] | None = None,
    ) -> None:
        """
        @param old: what only events of containers have, for clients of before API 1.22.
        """
        self._numbers += 1
        nanoseconds = int(self._clock.seconds()) * 10**9 + self._numbers
        event = {
            **(old or {}),
            "Type": kind,
            "Action": action,
            "Actor": {"ID": reference, "Attributes": attributes},
            "scope": "local",
            "time": nanoseconds // 10**9,
            "timeNano": nanoseconds,
        }
        self._history = [*self._history, event][-_KEPT_EVENTS:]
        for connection in self.connections:
            if connection.streaming:
                connection.push(event)

    # What a client sees.

    def buildProtocol(self, addr: IAddress | None = None) -> _Connection:
        """One more client."""
        assert isinstance(addr, IPv4Address)
        return _Connection(self)

    def serve(self, connection: _Connection, head: RequestHead) -> None:
        """Answers one request."""
        parts = urlsplit(head.target.decode("ascii"))
        self.heads.append(head)
        self.on_request(parts.path)
        if parts.path in self.overrides:
            raw = self.overrides[parts.path]
            if raw is not None:
                connection.transport.write(raw)
            return
        if parts.path == "/events":
            self._stream(connection, parse_qs(parts.query))
            return
        if parts.path == "/_ping":
            to_head = head.method == b"HEAD"
            self._reply(connection, 200, b"" if to_head else b"OK", b"text/plain; charset=utf-8")
            return
        if head.method == b"DELETE":
            self._delete(connection, parts.path.rpartition("/")[2])
            return
        document = self._document(parts.path, parse_qs(parts.query))
        status = 200
        if "message" in document:
            status = 503 if parts.path == "/services" else 404
        body = json.dumps(document).encode() + b"\n"
        self._reply(connection, status, body, b"application/json")

    def _delete(self, connection: _Connection, container_id: str) -> None:
        if container_id in self.containers:
            self.remove(container_id)
            connection.transport.write(encode_response(204, self._headers(b"application/json")))
            return
        body = json.dumps({"message": f"No such container: {container_id}"}).encode() + b"\n"
        self._reply(connection, 404, body, b"application/json")

    def _headers(self, content_type: bytes) -> Headers:
        date = formatdate(self._clock.seconds(), usegmt=True).encode()
        return Headers(
            (
                (b"Api-Version", b"1.41"),
                (b"Docker-Experimental", b"false"),
                (b"Ostype", b"linux"),
                (b"Server", b"Docker/20.10.24+dfsg1 (linux)"),
                (b"Date", date),
                (b"Content-Type", content_type),
            )
        )

    def _reply(self, connection: _Connection, status: int, body: bytes, content_type: bytes) -> None:
        connection.transport.write(encode_response(status, self._headers(content_type), body))

    def _stream(self, connection: _Connection, query: dict[str, list[str]]) -> None:
        head = encode_response(200, self._headers(b"application/json").adding(b"Content-Length", b""))
        connection.transport.write(head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        connection.streaming = True
        if "since" in query:
            seconds, _, fraction = query["since"][0].partition(".")
            since = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
            for event in self._history:
                if event["timeNano"] >= since:
                    connection.push(event)

    def _document(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/version":
            return {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "Os": "linux"}
        if path == "/containers/json":
            return [self._summary(container) for container in self.containers.values()]
        if path == "/volumes":
            return self._list_volumes(json.loads(query["filters"][0]))
        if path == "/services" and self.services is None:
            return {"message": "This node is not a swarm manager."}
        if path == "/services":
            return self.services
        _, kind, *name, last = path.split("/")
        reference = unquote("/".join(name))
        if last == "json" and kind == "containers":
            return self._inspect(reference)
        if last == "json" and kind == "images" and reference in self.images:
            exposed: dict[str, dict[str, str]] = {port: {} for port in self.images[reference]}
            return {"Id": "sha256:0", "Config": {"ExposedPorts": exposed or None}}
        return {"message": ("No such image: " if kind == "images" else "page not found: ") + reference}

    def _list_volumes(self, filters: dict[str, dict[str, bool]]) -> dict[str, Any]:
        assert filters["driver"] == {"local": True}
        wanted = filters.get("name")
        volumes = [
            {"Name": name, "Driver": "local", "Options": options or None, "Scope": "local"}
            for name, options in self.volumes.items()
            if wanted is None or any(re.search(each, name) for each in wanted)
        ]
        return {"Volumes": volumes, "Warnings": None}

    def _inspect(self, reference: str) -> dict[str, Any]:
        for container in self.containers.values():
            if container.name == reference or container.container_id.startswith(reference):
                return {
                    "Id": container.container_id,
                    "Name": f"/{container.name}",
                    "State": {"Running": container.running},
                    "Config": {"Image": container.image, "Labels": container.labels},
                    "NetworkSettings": {"Ports": {}},
                }
        return {"message": f"No such container: {reference}"}

    def _summary(self, container: FakeContainer) -> dict[str, Any]:
        return {
            "Id": container.container_id,
            "Names": [f"/{container.name}"],
            "Image": container.image,
            "Labels": container.labels,
            "State": "running" if container.running else "created",
            "Ports": [],
            "Mounts": [],
        }
