"""
What is measured over a link: each function takes the link and a way, and gives one figure.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks._transport_server import DOWN, ECHO, HEAD, UP
from benchmarks._transport_ways import Link

__all__ = [
    "IMAGE",
    "Idle",
    "bulk_down",
    "bulk_up",
    "connect_cycle",
    "docker_load",
    "docker_ps",
    "docker_run",
    "docker_save",
    "echo_latencies",
    "idle_agent",
    "idle_logs",
    "make_image",
    "many_ps",
    "ping_pong",
]

IMAGE = "bench:latest"
_SLEEPER = "bench-sleeper"
_BLOCK = bytes(1 << 20)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_REQUEST = bytes(200)


def _took(begin: float) -> float:
    return time.perf_counter() - begin


def _receive(connection: socket.socket, size: int) -> None:
    room = bytearray(1 << 20)
    while size > 0:
        taken = connection.recv_into(room, min(size, len(room)))
        if not taken:
            raise ConnectionError(f"{size} bytes are missing")
        size -= taken


def bulk_up(link: Link, way: str, size: int) -> float:
    """Seconds for C{size} bytes to the remote's socket, until it has them all."""
    with link.connect_stream(way) as connection:
        connection.sendall(HEAD.pack(0, UP, size + 1) + b".")
        begin = time.perf_counter()
        left = size
        while left > 0:
            left -= connection.send(memoryview(_BLOCK)[: min(left, len(_BLOCK))])
        _receive(connection, 1)
        return _took(begin)


def bulk_down(link: Link, way: str, size: int) -> float:
    """Seconds for C{size} bytes from the remote's socket."""
    with link.connect_stream(way) as connection:
        begin = time.perf_counter()
        connection.sendall(HEAD.pack(0, DOWN, size))
        _receive(connection, size)
        return _took(begin)


def connect_cycle(link: Link, way: str, count: int) -> float:
    """Seconds, the median, for a connection with a request of 200 bytes, as long an answer, and the close."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        with link.connect_stream(way) as connection:
            connection.sendall(HEAD.pack(0, ECHO, 0) + _REQUEST)
            _receive(connection, len(_REQUEST))
        times.append(_took(begin))
    return statistics.median(times)


def ping_pong(link: Link, way: str, count: int) -> float:
    """Seconds, the median, for 200 bytes there and back on an open connection."""
    times = []
    with link.connect_stream(way) as connection:
        connection.sendall(HEAD.pack(0, ECHO, 0))
        for _ in range(count):
            begin = time.perf_counter()
            connection.sendall(_REQUEST)
            _receive(connection, len(_REQUEST))
            times.append(_took(begin))
    return statistics.median(times[count // 10 :])


def _docker(
    link: Link, way: str, *arguments: str, data: Path | None = None, output: int = subprocess.PIPE
) -> float:
    with open(data or os.devnull, "rb") as source:
        environment = link.environment(way)
        begin = time.perf_counter()
        finished = subprocess.run(
            [link.remote.engine.cli, *arguments],
            env=environment,
            stdin=source,
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )
        taken = _took(begin)
    if finished.returncode != 0:
        raise RuntimeError(f"{way}: docker {' '.join(arguments)}: {finished.stderr.decode(errors='replace')}")
    return taken


def docker_ps(link: Link, way: str) -> float:
    """Seconds for C{docker ps}."""
    return _docker(link, way, "ps")


def docker_run(link: Link, way: str) -> float:
    """Seconds for C{docker run --rm busybox true}."""
    return _docker(link, way, "run", "--rm", "busybox", "true")


def make_image(link: Link, directory: Path, mib: int) -> Path:
    """
    Has the remote's daemon make L{IMAGE} from random bytes.

    @return: the archive that C{docker save} makes of it.
    """
    archive = directory / f"image-{mib}.tar"
    if not archive.exists():
        content = directory / "content"
        content.mkdir(exist_ok=True)
        with (content / "random").open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(1 << 20))
        tree = directory / "content.tar"
        subprocess.run(["tar", "-C", str(content), "-cf", str(tree), "."], check=True)
        imported = link.remote.docker("import", str(tree), IMAGE)
        if imported.returncode == 0:
            imported = link.remote.docker("save", "-o", str(archive), IMAGE)
        if imported.returncode != 0:
            raise RuntimeError(imported.stderr.decode(errors="replace"))
        tree.unlink()
        (content / "random").unlink()
    return archive


def docker_load(link: Link, way: str, archive: Path) -> float:
    """Seconds for C{docker load}, of an image that the daemon does not have."""
    link.remote.docker("rmi", "-f", IMAGE)
    return _docker(link, way, "load", "-q", data=archive)


def docker_save(link: Link, way: str, archive: Path) -> float:
    """Seconds for C{docker save} of what is in C{archive}."""
    if link.remote.docker("inspect", IMAGE).returncode:
        link.remote.docker("load", "-i", str(archive))
    return _docker(link, way, "save", IMAGE, output=subprocess.DEVNULL)


def many_ps(link: Link, way: str, count: int) -> float:
    """Seconds for so many C{docker ps} at once; any that fails raises."""
    link.docker_host(way)
    begin = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(docker_ps, link, way) for _ in range(count)]:
            future.result()
    return _took(begin)


def _ask(
    link: Link, way: str, method: str, path: str, body: object = None, upgrade: bool = False
) -> socket.socket:
    """@return: a connection on which an HTTP request was sent."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Length: {len(data)}\r\n"
    if body is not None:
        head += "Content-Type: application/json\r\n"
    if upgrade:
        head += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
    connection = link.connect_daemon(way)
    connection.sendall(f"{head}\r\n".encode() + data)
    return connection


def _answer_head(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connection.recv(1)
        if not data:
            raise ConnectionError(f"closed after {answer!r}")
        answer += data
    return answer


def _sleeper(link: Link) -> None:
    """Has a container that waits."""
    if link.remote.docker("inspect", _SLEEPER).returncode:
        started = link.remote.docker("run", "-d", "--name", _SLEEPER, "busybox", "sleep", "100000")
        if started.returncode:
            raise RuntimeError(started.stderr.decode(errors="replace"))


def _exec_cat(link: Link, way: str) -> socket.socket:
    """@return: the streams of C{cat} in a container; what comes back is in frames of 8 bytes more."""
    body = {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True}
    with _ask(link, way, "POST", f"/v1.41/containers/{_SLEEPER}/exec", body) as connection:
        length = int(_answer_head(connection).lower().split(b"content-length:")[1].split()[0])
        identity = json.loads(connection.recv(length, socket.MSG_WAITALL))["Id"]
    stream = _ask(link, way, "POST", f"/v1.41/exec/{identity}/start", {"Detach": False}, upgrade=True)
    _answer_head(stream)
    return stream


def _echoes(stream: socket.socket, wanted: Callable[[int], bool]) -> list[float]:
    times: list[float] = []
    while wanted(len(times)):
        begin = time.perf_counter()
        stream.sendall(b"x")
        _receive(stream, 9)
        times.append(_took(begin))
        select.select((), (), (), 0.01)
    return times


def echo_latencies(link: Link, way: str, archive: Path, count: int) -> tuple[float, float]:
    """Seconds, the 95th percentile, of an echo through C{exec}: idle, and while an image is loaded."""
    _sleeper(link)
    with _exec_cat(link, way) as stream:
        _echoes(stream, lambda done: done < 5)
        idle = _echoes(stream, lambda done: done < count)
        loading = threading.Thread(target=docker_load, args=(link, way, archive))
        loading.start()
        _echoes(stream, lambda done: done < 10)
        busy = _echoes(stream, lambda done: loading.is_alive())
        loading.join()
    return _percentile(idle), _percentile(busy)


def _percentile(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


class Idle:
    """
    What a process takes while nothing happens.

    @ivar mib: of resident memory, or how much more than before.
    @ivar cpu: of a core, from 0 to 1.
    """

    def __init__(self, mib: float, cpu: float) -> None:
        self.mib = mib
        self.cpu = cpu


def _resident(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE / (1 << 20)


def _cpu_used(process: int, seconds: float) -> float:
    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))

    before = ticks()
    select.select((), (), (), seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


def idle_agent(link: Link, way: str, seconds: float) -> Idle:
    """The memory of the process that has just begun to serve, and what it uses of a core."""
    process = link.process(way)
    cpu = _cpu_used(process, seconds)
    return Idle(_resident(process), cpu)


@contextlib.contextmanager
def _logs(link: Link, way: str, count: int) -> Iterator[None]:
    path = f"/v1.41/containers/{_SLEEPER}/logs?follow=1&stdout=1"
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(_ask(link, way, "GET", path))
            _answer_head(connection)
        yield


def idle_logs(link: Link, way: str, count: int, seconds: float) -> Idle:
    """What so many C{docker logs -f} of a silent container add."""
    _sleeper(link)
    process = link.process(way)
    with _logs(link, way, 10):
        pass
    before = _resident(process)
    with _logs(link, way, count):
        cpu = _cpu_used(process, seconds)
        return Idle(_resident(process) - before, cpu)
