"""
What must hold of a container with a published port and a mounted directory, as functions that fail with
L{AssertionError}: the tests call them for agents of which it must hold, and for those of which it must not.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.integration.agent import free_port
from tests.integration.base import Docker
from tests.integration.sandbox import SandboxError, wait_until

__all__ = [
    "check_files",
    "check_files_come_back",
    "check_port",
    "fetch",
    "listens",
    "run_web_server",
    "tar_contents",
    "wait_for_page",
]

_ATTEMPT_SECONDS = 10.0


def fetch(port: int, path: str = "/", address: str = "127.0.0.1") -> bytes:
    """
    The body of a page.

    @raise OSError: there is none: nobody listens, the connection broke, the status is not 200, or the file
        became shorter while the server read it.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with contextlib.closing(
            opener.open(f"http://{address}:{port}{path}", timeout=_ATTEMPT_SECONDS)
        ) as response:
            body: bytes = response.read()
            return body
    except http.client.HTTPException as error:
        raise OSError(f"no whole answer: {error!r}") from error


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a connection to the port is accepted."""
    try:
        socket.create_connection((address, port), timeout=_ATTEMPT_SECONDS).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """
    L{wait_until} for a check.

    @raise AssertionError: not in time.
    """
    try:
        wait_until(condition, what, seconds)
    except SandboxError as error:
        raise AssertionError(str(error)) from None


def wait_for_page(port: int, wanted: bytes, path: str = "/", seconds: float = 30.0) -> None:
    """
    Fetches a page until it is C{wanted}.

    @raise AssertionError: it is not in time.
    """
    found: list[object] = [None]

    def same() -> bool:
        try:
            found[0] = fetch(port, path)
        except OSError as error:
            found[0] = error
        return found[0] == wanted

    try:
        wait_until(same, "the page", seconds)
    except SandboxError:
        raise AssertionError(f"port {port}{path}: {found[0]!r} instead of {wanted!r}") from None


def run_web_server(docker: Docker, *options: str, name: str = "web") -> str:
    """
    Runs busybox's httpd on the port 80 of a container, with the root C{/www}. It ends at once when it is
    stopped.

    @return: the container's name.
    @raise AssertionError: C{docker run} failed.
    """
    full_name = docker.name(name)
    outcome = docker(
        *("run", "-d", "--name", full_name, "--stop-signal", "KILL", *options),
        *("busybox", "sh", "-c", "mkdir -p /www; exec httpd -f -p 80 -h /www"),
    )
    if outcome.status != 0:
        raise AssertionError(outcome.stderr.decode(errors="replace"))
    return full_name


def check_port(docker: Docker, seconds: float = 30.0) -> None:
    """A published port answers on this machine, is shown as it was typed, and closes with the container."""
    port = free_port()
    name = run_web_server(docker, "-p", f"{port}:80")
    made = docker("exec", name, "sh", "-c", "echo inside > /www/page")
    assert made.status == 0, made
    wait_for_page(port, b"inside\n", "/page", seconds)
    shown = docker("port", name, "80/tcp").stdout.decode().split()
    assert f"127.0.0.1:{port}" in shown, shown
    stopped = docker("stop", "-t", "0", name)
    assert stopped.status == 0, stopped
    until(lambda: not listens(port), f"port {port} is closed", seconds)


def check_files(docker: Docker, directory: Path, seconds: float = 30.0) -> None:
    """
    A mounted directory of this machine is in the container before it starts; changes follow.

    @param directory: where to make it.
    """
    (directory / "inner").mkdir(parents=True)
    (directory / "page").write_text("first\n")
    (directory / "inner" / "program").write_text("#!/bin/sh\necho ran\n")
    (directory / "inner" / "program").chmod(0o755)
    (directory / "link").symlink_to("inner/program")
    mount = f"{directory}:/seen:ro"
    once = docker(
        "run", "--rm", "-v", mount, "busybox", "sh", "-c", "cat /seen/page; /seen/link; find /seen | sort"
    )
    expected = b"first\nran\n/seen\n/seen/inner\n/seen/inner/program\n/seen/link\n/seen/page\n"
    assert (once.status, once.stdout) == (0, expected), once
    name = docker.name("files")
    started = docker("run", "-d", "--name", name, "-v", mount, "busybox", "sleep", "1000")
    assert started.status == 0, started

    def content() -> bytes:
        return docker(
            "exec", name, "sh", "-c", "cd /seen; for f in $(find . -type f | sort); do echo $f; cat $f; done"
        ).stdout

    (directory / "page").write_text("second\n")
    (directory / "inner" / "program").unlink()
    (directory / "inner").rename(directory / "renamed")
    (directory / "renamed" / "new").write_text("new\n")
    wanted = b"./page\nsecond\n./renamed/new\nnew\n"
    until(lambda: content() == wanted, f"the container sees {wanted!r}", seconds)


def check_files_come_back(docker: Docker, directory: Path) -> None:
    """What a container wrote to a mounted directory is on this machine when C{docker run} returns."""
    directory.mkdir(parents=True)
    (directory / "source").write_text("source\n")
    script = "tr a-z A-Z < source > result; mkdir made; echo deep > made/file; rm source"
    outcome = docker("run", "--rm", "-v", f"{directory}:/work", "-w", "/work", "busybox", "sh", "-c", script)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, b"", b""), outcome
    found = {
        str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()
    }
    assert found == {"result": "SOURCE\n", "made/file": "deep\n"}, found


def tar_contents(archive: IO[bytes]) -> dict[str, str]:
    """SHA-256 of each file in a tar; newer daemons write another time into each image saved."""
    found: dict[str, str] = {}
    with archive, tarfile.open(fileobj=archive) as members:
        for member in members:
            file = members.extractfile(member)
            if file is not None:
                digest = hashlib.sha256()
                while block := file.read(2**20):
                    digest.update(block)
                found[member.name] = digest.hexdigest()
    return found
