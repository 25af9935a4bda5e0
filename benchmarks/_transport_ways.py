"""
The ways to a remote daemon that are measured against each other, on a link without delay and on a long one.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import _transport_server
from benchmarks.link import long_link
from tests.integration.agent import Agent, Child, laptop_environment
from tests.integration.remote import EmbeddedRemote
from tests.integration.sandbox import wait_until

__all__ = ["DOCKER_SSH", "GCM", "OURS", "RAW", "SSH", "Bench", "Link"]

OURS, SSH, GCM = "remotedocker", "ssh -L", "ssh -L, aes128-gcm"
DOCKER_SSH, RAW = "docker -H ssh://", "raw TCP"

_DAEMON = "/var/run/docker.sock"
_STREAM = "/run/exchange/stream.sock"
_STREAM_PORT = 4444


class _Forward(Child):
    """C{ssh -L socket:socket}."""

    def __init__(self, link: Link, directory: Path, target: str, options: Sequence[str]) -> None:
        super().__init__(directory)
        self._link = link
        self._target = target
        self._options = options

    def command(self) -> list[str]:
        """See L{Child.command}."""
        return [
            *("ssh", "-F", str(self._link.ssh_config), "-N", "-o", "ExitOnForwardFailure=yes"),
            *(*self._options, "-L", f"{self.socket}:{self._target}", self._link.address),
        ]

    def ready(self) -> bool:
        """Whether it listens."""
        return self.socket.exists()


class Link:
    """
    One link to the remote, and the ways over it; each is set up when it is first asked for.

    @ivar rtt_ms: its round trip.
    @ivar address: the remote's, on this link.
    @ivar directory: for the files of its ways.
    @ivar ssh_config: what C{ssh} needs to log in on this link.
    """

    def __init__(self, remote: EmbeddedRemote, directory: Path, address: str, rtt_ms: float) -> None:
        self.remote = remote
        self.rtt_ms = rtt_ms
        self.address = address
        self.directory = directory
        self.directory.mkdir()
        known_hosts = directory / "known_hosts"
        known_hosts.write_text(remote.known_hosts.read_text().replace(remote.host, address))
        self.ssh_config = directory / "ssh_config"
        self.ssh_config.write_text(
            f"User {remote.user}\nIdentityFile {remote.identity}\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {known_hosts}\nGlobalKnownHostsFile /dev/null\nBatchMode yes\n"
        )
        self._shim = directory / "bin" / "ssh"
        self._shim.parent.mkdir()
        self._shim.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.ssh_config} "$@"\n')
        self._shim.chmod(0o755)
        self._known_hosts = known_hosts
        self._children: dict[tuple[str, str], Child] = {}

    def stop(self) -> None:
        """Ends every way."""
        for child in self._children.values():
            child.kill()
        self._children.clear()

    def docker_host(self, way: str) -> str:
        """C{DOCKER_HOST} for a way."""
        if way == DOCKER_SSH:
            return f"ssh://{self.remote.user}@{self.address}"
        if way == RAW:
            return f"tcp://{self.address}:{_STREAM_PORT}"
        return self._child(way, _DAEMON).unix_host

    def environment(self, way: str) -> dict[str, str]:
        """The environment of a docker CLI that takes a way."""
        inherited = laptop_environment(self.directory)
        path = f"{self._shim.parent}:{inherited['PATH']}"
        return {**inherited, "DOCKER_HOST": self.docker_host(way), "PATH": path}

    def process(self, way: str) -> int:
        """The process id of a way to the daemon."""
        process = self._child(way, _DAEMON).process
        assert process is not None
        return process.pid

    def connect_daemon(self, way: str) -> socket.socket:
        """A connection to the daemon."""
        return _connect(self._child(way, _DAEMON).socket)

    def connect_stream(self, way: str) -> socket.socket:
        """A connection to the program at L{_transport_server}."""
        if way == RAW:
            connection = socket.create_connection((self.address, _STREAM_PORT), timeout=120)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        return _connect(self._child(way, _STREAM).socket)

    def _child(self, way: str, target: str) -> Child:
        key = (way, target)
        if key not in self._children:
            directory = self.directory / f"w{len(self._children)}"
            child = self._make(way, target, directory)
            self._children[key] = child
            child.start()
        return self._children[key]

    def _make(self, way: str, target: str, directory: Path) -> Child:
        if way == OURS:
            options = ("--ssh", f"{self.remote.user}@{self.address}", "--known-hosts", str(self._known_hosts))
            return Agent(self.remote, directory, (*options, "--remote-docker", f"unix://{target}"))
        cipher = ("-c", "aes128-gcm@openssh.com") if way == GCM else ()
        return _Forward(self, directory, target, cipher)


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(120)
    connection.connect(str(path))
    return connection


class Bench:
    """
    The remote's side of what is measured, and the links to it.

    @param round_trips: in ms.
    """

    def __init__(self, remote: EmbeddedRemote, directory: Path, round_trips: Sequence[float]) -> None:
        self.remote = remote
        self._stack = ExitStack()
        self.links: dict[float, Link] = {}
        try:
            self._serve_streams()
            for number, rtt_ms in enumerate(round_trips):
                address = self._stack.enter_context(long_link(remote, rtt_ms)) if rtt_ms else remote.host
                link = self.links[rtt_ms] = Link(remote, directory / f"l{number}", address, rtt_ms)
                self._stack.callback(link.stop)
                wait_until(lambda address=address: _listens(address), f"{address} answers")  # type: ignore[misc]
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends everything but the remote."""
        self._stack.close()

    def _serve_streams(self) -> None:
        program = Path(_transport_server.__file__)
        shutil.copy(program, self.remote.sandbox.exchange)
        served = self.remote.sandbox.spawn(
            ["python3", f"/run/exchange/{program.name}", _STREAM, str(_STREAM_PORT), _DAEMON],
            self.remote.directory / "streams.log",
        )
        self._stack.callback(_end(served.kill, served.wait))
        made = self.remote.sandbox.exchange / os.path.basename(_STREAM)
        wait_until(made.exists, "the streams are served")


def _end(*steps: Callable[[], object]) -> Callable[[], None]:
    def perform() -> None:
        for step in steps:
            step()

    return perform


def _listens(address: str) -> bool:
    try:
        with socket.create_connection((address, _STREAM_PORT), timeout=5):
            return True
    except OSError:
        return False
