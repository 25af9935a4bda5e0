# -*- test-case-name: tests.integration.test_ports -*-
"""
Forwarded ports against C{ssh -L} to the same port, on the same link, in the same run::

    python -m benchmarks.ports [--rtt 0,50] [--rounds 5] [--mib 256]

Starts a remote host of its own, an agent and an C{ssh}; the ways are measured in turns, and the figures are
medians. For times, a ratio under 1 says that remotedocker is faster; for rates, one over 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

from attrs import frozen

from benchmarks.link import long_link
from tests.forwards.support import is_free
from tests.integration.agent import Agent, free_port, laptop_environment
from tests.integration.remote import EmbeddedRemote
from tests.integration.sandbox import wait_until
from tests.integration.stack import running_remote

__all__ = ["main"]

_WORKERS = 8

_KEEP_ALIVE = r"""while read -r line; do
case "$line" in ?) printf 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n';; esac
done"""
"""Answers each empty line, of which C{read} leaves the carriage return."""

_SERVE = """mkdir -p /www; echo hello >/www/index.html; httpd -p 80 -h /www
printf %s "$ANSWER" >/answer; nc -ll -p 81 -e sh /answer &
nc -ll -p 82 -e wc -c &
exec nc -ll -p 83 -e cat /dev/zero
"""

_CLOSED = "closed after the container's death"

_PAGE, _PAGES, _SINK, _SOURCE = 80, 81, 82, 83


def dial(port: int) -> socket.socket:
    """A connection to a local port."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def first_byte(port: int) -> float:
    """Seconds from the connect to the first byte of a page."""
    begin = time.perf_counter()
    with dial(port) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        if not connection.recv(1):
            raise ConnectionError("closed without an answer")
        taken = time.perf_counter() - begin
        while connection.recv(65536):
            pass
    return taken


def _pages(port: int, count: int) -> None:
    for _ in range(count):
        first_byte(port)


_connecting = threading.Lock()
"""The program that answers kept connections lets one of them queue; another one would be a second late."""


def _page(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    answer = b""
    while not answer.endswith(b"hello\n"):
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("closed in the middle")
        answer += data


def _pages_kept(port: int, count: int) -> None:
    with _connecting:
        connection = dial(port)
        _page(connection)
    with connection:
        for _ in range(count - 1):
            _page(connection)


def per_second(fetch: Callable[[int, int], None], port: int, seconds_each: float) -> float:
    """
    Pages each second, by C{_WORKERS} clients at once.

    @param seconds_each: about what one page takes; so many are fetched that it takes some seconds.
    """
    count = max(5, min(200, int(2.0 / seconds_each)))
    begin = time.perf_counter()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for future in [pool.submit(fetch, port, count) for _ in range(_WORKERS)]:
            future.result()
    return count * _WORKERS / (time.perf_counter() - begin)


def upload(port: int, mib: int) -> float:
    """MiB/s to the container, until it has counted them."""
    block = bytes(1 << 20)
    begin = time.perf_counter()
    with dial(port) as connection:
        for _ in range(mib):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        counted = connection.recv(100)
    if int(counted) != mib << 20:
        raise ConnectionError(f"{counted!r} of {mib} MiB arrived")
    return mib / (time.perf_counter() - begin)


def download(port: int, mib: int) -> float:
    """MiB/s from the container."""
    left = mib << 20
    begin = time.perf_counter()
    with dial(port) as connection:
        while left > 0:
            data = connection.recv(1 << 20)
            if not data:
                raise ConnectionError(f"{left} bytes are missing")
            left -= len(data)
    return mib / (time.perf_counter() - begin)


@frozen
class Measure:
    """
    @ivar name: for the table.
    @ivar unit: of the figures.
    @ivar port: the container's.
    @ivar of: measures a local port.
    @ivar scale: from what C{of} gives to C{unit}.
    """

    name: str
    unit: str
    port: int
    of: Callable[[int], float]
    scale: float = 1.0


def measures(rtt_ms: float, mib: int) -> Sequence[Measure]:
    """What is measured on a link with that round trip."""
    each = max(0.01, rtt_ms * 2 / 1000)
    return [
        Measure("first byte", "ms", _PAGE, first_byte, 1000),
        Measure("pages, a connection each", "1/s", _PAGE, lambda port: per_second(_pages, port, each)),
        Measure(
            "pages, kept connections", "1/s", _PAGES, lambda port: per_second(_pages_kept, port, each / 2)
        ),
        Measure("to the container", "MiB/s", _SINK, lambda port: upload(port, mib)),
        Measure("from the container", "MiB/s", _SOURCE, lambda port: download(port, mib)),
    ]


@contextlib.contextmanager
def child(arguments: Sequence[str]) -> Iterator[None]:
    """A process that ends when the context is left."""
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Bench:
    """An agent, an C{ssh -L}, and a container that both lead to."""

    def __init__(self, remote: EmbeddedRemote, directory: Path, host: str) -> None:
        self._remote = remote
        self._directory = directory
        self._host = host
        self._known_hosts = directory / "known_hosts"
        self._known_hosts.write_text(
            "".join(
                f"{host} {line.split(None, 1)[1]}\n" for line in remote.known_hosts.read_text().splitlines()
            )
        )
        self._agent = Agent(
            remote,
            directory / "agent",
            ("--ssh", f"{remote.user}@{host}:{remote.port}", "--known-hosts", str(self._known_hosts)),
        )

    def run(self, rounds: int, wanted: Sequence[Measure]) -> dict[str, dict[str, list[float]]]:
        """@return: for each measure and each way, a figure for each round."""
        self._agent.start()
        try:
            container = self._container()
            ours = {port: self._bound(container, port) for port in (_PAGE, _PAGES, _SINK, _SOURCE)}
            theirs = {port: free_port() for port in ours}
            with child(self._ssh(container, theirs)):
                ways = {"remotedocker": ours, "ssh -L": theirs}
                for way in ways.values():
                    self._wait(way[_PAGE])
                figures = self._measure(rounds, wanted, ways)
                figures[_CLOSED] = {"remotedocker": [self._closed() for _ in range(rounds)]}
                return figures
        finally:
            self._agent.stop()

    @staticmethod
    def _measure(
        rounds: int, wanted: Sequence[Measure], ways: dict[str, dict[int, int]]
    ) -> dict[str, dict[str, list[float]]]:
        figures: dict[str, dict[str, list[float]]] = {}
        for measure in wanted:
            found = figures[measure.name] = {name: [] for name in ways}
            for number in range(rounds * (10 if measure.of is first_byte else 1)):
                for name in sorted(ways, reverse=bool(number % 2)):
                    found[name].append(measure.of(ways[name][measure.port]) * measure.scale)
        return figures

    def _closed(self) -> float:
        """Milliseconds from the death of a container, by the daemon's clock, which is ours, to its port's."""
        container = self._docker("run", "-d", "-p", "80", "busybox", "sleep", "1000000")
        number = self._bound(container, 80)
        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(self._remote.docker, "kill", container)
            while not is_free(number):
                time.sleep(0.001)
            closed = time.time_ns()
            killed.result()
        filters = json.dumps({"event": ["die"], "container": [container]})
        query = urlencode({"since": 0, "until": int(time.time()) + 1, "filters": filters})
        died = self._remote.ask(f"/events?{query}")["timeNano"]
        return float(closed - died) / 1e6

    def _docker(self, *arguments: str) -> str:
        environment = {**laptop_environment(self._directory), "DOCKER_HOST": self._agent.docker_host}
        return subprocess.run(
            [self._remote.engine.cli, *arguments], env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def _container(self) -> str:
        publish = [option for port in (_PAGE, _PAGES, _SINK, _SOURCE) for option in ("-p", str(port))]
        answer = f"ANSWER={_KEEP_ALIVE}"
        return self._docker("run", "-d", *publish, "-e", answer, "busybox", "sh", "-c", _SERVE)

    def _bound(self, container: str, port: int) -> int:
        (document,) = json.loads(self._docker("inspect", container))
        return int(document["NetworkSettings"]["Ports"][f"{port}/tcp"][0]["HostPort"])

    def _ssh(self, container: str, numbers: dict[int, int]) -> list[str]:
        bound = self._remote.ask(f"/containers/{container}/json")["NetworkSettings"]["Ports"]
        tunnels = [
            option
            for port, number in numbers.items()
            for option in ("-L", f"127.0.0.1:{number}:127.0.0.1:{bound[f'{port}/tcp'][0]['HostPort']}")
        ]
        return [
            *("ssh", "-F", "/dev/null", "-N", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"),
            *("-i", str(self._remote.identity), "-o", f"UserKnownHostsFile={self._known_hosts}"),
            *("-p", str(self._remote.port), *tunnels, f"{self._remote.user}@{self._host}"),
        ]

    @staticmethod
    def _wait(port: int) -> None:
        def served() -> bool:
            try:
                return first_byte(port) > 0
            except OSError:
                return False

        wait_until(served, f"port {port} is served")


def measure_link(rtt_ms: float, rounds: int, wanted: Sequence[Measure]) -> dict[str, dict[str, list[float]]]:
    """Measures everything on one link."""
    directory = Path(tempfile.mkdtemp(prefix="ports-", dir="/var/tmp"))
    try:
        with running_remote() as remote, contextlib.ExitStack() as stack:
            host = stack.enter_context(long_link(remote, rtt_ms)) if rtt_ms else remote.host
            return Bench(remote, directory, host).run(rounds, wanted)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main(arguments: Sequence[str]) -> None:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description="Forwarded ports against ssh -L.")
    parser.add_argument("--rtt", default="0,50", help="round trips in ms, with commas between (0,50)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured (5)")
    parser.add_argument("--mib", type=int, default=256, help="MiB of each bulk transfer (256)")
    options = parser.parse_args(arguments)
    rows = []
    for rtt_ms in [float(text) for text in options.rtt.split(",")]:
        wanted = measures(rtt_ms, options.mib)
        figures = measure_link(rtt_ms, options.rounds, wanted)
        for measure in wanted:
            ours, theirs = (
                statistics.median(figures[measure.name][way]) for way in ("remotedocker", "ssh -L")
            )
            rows.append(
                f"| {rtt_ms:g} ms | {measure.name} | {ours:.1f} {measure.unit} | {theirs:.1f} {measure.unit} "
                f"| {ours / theirs:.2f} |"
            )
        closed = statistics.median(figures[_CLOSED]["remotedocker"])
        rows.append(f"| {rtt_ms:g} ms | {_CLOSED} | {closed:.1f} ms | | |")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{machine}, {date.today()}\n")
    print("| round trip | | remotedocker | `ssh -L` | ratio |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
