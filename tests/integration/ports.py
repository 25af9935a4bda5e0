"""
What the tests of published ports on a real remote have in common.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

from tests.forwards.support import free_numbers, is_free
from tests.integration.agent import Agent, Tunnel
from tests.integration.base import Docker, IntegrationTestCase, Outcome

__all__ = ["ECHO", "HELD", "SERVE", "PortsTestCase", "fetch", "is_refused", "published"]

SERVE = "mkdir -p /www; echo {page} >/www/index.html; exec httpd -f -p {port} -h /www"
"""A shell command that serves one page until it is killed."""

ECHO = ("nc", "-ll", "-p", "80", "-e", "cat")
"""A command that sends back what each connection sends."""

HELD = ("sleep", "1000000")
"""A command that serves nothing."""

_SECONDS = 20.0


def fetch(number: int, host: str = "127.0.0.1", seconds: float = _SECONDS) -> str | None:
    """
    The page at a local port.

    @return: None if no connection is let in, or it is closed without an answer.
    """
    with suppress(ConnectionError):
        with socket.create_connection((host, number), timeout=seconds) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while data := connection.recv(65536):
                answer += data
        head, separator, page = answer.partition(b"\r\n\r\n")
        if separator and head.startswith(b"HTTP/1.") and b" 200 " in head.splitlines()[0]:
            return page.decode().strip()
    return None


def is_refused(number: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens on a local port."""
    try:
        with socket.create_connection((host, number), timeout=_SECONDS):
            return False
    except ConnectionRefusedError:
        return True


def published(outcome: Outcome) -> list[str]:
    """The addresses that C{docker port CONTAINER PORT} printed."""
    return outcome.stdout.decode().split()


class PortsTestCase(IntegrationTestCase):
    """
    @ivar free: four numbers in a row that nobody on this machine has.
    """

    def setUp(self) -> None:
        """Finds free numbers."""
        super().setUp()
        self.free = free_numbers(4)

    def cli(self, agent: Agent | Tunnel) -> Docker:
        """The newest CLI, at an agent."""
        return self.docker(agent.docker_host)

    def done(self, outcome: Outcome) -> str:
        """Asserts that a command succeeded; @return: what it printed."""
        self.assertEqual(outcome.status, 0, str(outcome))
        return outcome.stdout.decode().strip()

    def serve(
        self,
        docker: Docker,
        name: str,
        *options: str,
        port: int = 80,
        page: str = "hello",
        image: str = "busybox",
    ) -> str:
        """Runs a container that serves a page; @return: its id."""
        command = SERVE.format(port=port, page=page)
        return self.run_detached(docker, name, *options, command=("sh", "-c", command), image=image)

    def run_detached(
        self,
        docker: Docker,
        name: str,
        *options: str,
        command: tuple[str, ...] = HELD,
        image: str = "busybox",
    ) -> str:
        """Runs a container, which ends at once when it is stopped; @return: its id."""
        options = ("--name", docker.name(name), "--stop-signal", "KILL", *options)
        return self.done(docker("run", "-d", *options, image, *command))

    def shows(self, number: int, page: str = "hello", host: str = "127.0.0.1") -> None:
        """Waits until a local port leads to a page."""
        self.wait_for(lambda: fetch(number, host) == page, f"{host}:{number} shows {page!r}")

    def refuses(self, number: int, host: str = "127.0.0.1") -> None:
        """Waits until nobody listens on a local port."""
        self.wait_for(lambda: is_refused(number, host), f"{host}:{number} refuses")

    def frees(self, number: int) -> None:
        """Waits until a local port is anybody's."""
        self.wait_for(lambda: is_free(number), f"{number} is free")

    def inspect(self, docker: Docker, name: str) -> Any:
        """What C{docker inspect} tells of a container."""
        return json.loads(self.done(docker("inspect", docker.name(name))))[0]

    def on_remote(self, container: str) -> Any:
        """What the daemon itself tells of a container."""
        return self.remote.ask(f"/containers/{container}/json")

    def remote_bindings(self, container: str, port: str = "80/tcp") -> list[dict[str, str]]:
        """Where the daemon itself has bound a port."""
        return self.on_remote(container)["NetworkSettings"]["Ports"].get(port) or []

    def number_of(self, docker: Docker, name: str, port: str = "80/tcp") -> int:
        """The local number that C{docker port} tells."""
        addresses = published(docker("port", docker.name(name), port))
        self.assertTrue(addresses)
        return int(addresses[0].rpartition(":")[2])
