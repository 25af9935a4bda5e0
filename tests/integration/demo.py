"""
The main job, shown step by step: C{python -m tests.integration.demo}, or C{make demo}.

Every command is printed as it is run. The remote host is the one that C{REMOTEDOCKER_SSH} names
(C{[user@]host[:port]}; C{REMOTEDOCKER_SSH_CONFIG} names another ssh_config than C{ssh} reads). Without it
an embedded one is started on this machine, which takes root and Debian's packages.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.integration.agent import AgentFailed, Child, free_port
from tests.integration.prerequisites import install, missing_packages, obstacle, search_path
from tests.integration.remote import EmbeddedRemote
from tests.integration.sandbox import SandboxError, wait_until
from tests.integration.stack import end_on_signals, running_remote

__all__ = ["DemoFailed", "main"]

_SECONDS = 60.0

_LAPTOP_PACKAGES = {"docker": "docker.io", "curl": "curl"}


class DemoFailed(Exception):
    """A step did not do what it should."""


def say(text: str) -> None:
    """Prints a sentence between the commands."""
    print(f"\n# {text}", flush=True)


class _Service(Child):
    """C{twistd} as a user starts it, without the tests' own settings."""

    def __init__(self, directory: Path, options: Sequence[str]) -> None:
        super().__init__(directory)
        self.port = _preferred_port(23750)
        self.docker_host = f"tcp://127.0.0.1:{self.port}"
        self._options = options

    def command(self) -> list[str]:
        """See L{Child.command}."""
        listen = () if self.port == 23750 else ("--listen", f"127.0.0.1:{self.port}")
        return ["twistd", "-n", "--pidfile=", "remotedocker", *self._options, *listen]

    def environment(self) -> Mapping[str, str]:
        """See L{Child.environment}."""
        return _environment()

    def ready(self) -> bool:
        """See L{Child.ready}."""
        return "Ready:" in self.log_file.read_text(errors="replace")


def _environment() -> dict[str, str]:
    """The user's, with this Python's programs first (C{twistd}), and without a Docker context."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{search_path()}"
    return environment


def _preferred_port(number: int) -> int:
    """C{number} if nobody listens there, else another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return free_port()
    return number


class Demonstration:
    """
    @ivar directory: where the commands run.
    """

    def __init__(self, directory: Path, service: _Service) -> None:
        self.directory = directory
        self.service = service
        self.port = _preferred_port(8080)
        self.name = f"remotedocker-demo-{os.getpid()}"
        self._environment = _environment()

    def run(self) -> None:
        """
        All the steps.

        @raise DemoFailed: one failed.
        """
        say("The service that you would start once and keep running:")
        print(f"$ {shlex.join(self.service.command())} &", flush=True)
        self.service.start(_SECONDS)
        print("\n".join(line for line in self.service.log().splitlines() if "Ready:" in line))
        try:
            self._use()
        finally:
            self._execute(f"docker rm -f {self.name}")
        say("The service is stopped.")
        print("$ kill %1", flush=True)
        self.service.stop()

    def _use(self) -> None:
        say("Every Docker client on this machine is now pointed at the remote daemon:")
        self._set("DOCKER_HOST", self.service.docker_host)
        self.step("docker version --format 'engine {{.Server.Version}}, on {{.Server.Os}}/{{.Server.Arch}}'")
        say("A page on this machine, served by a container on the remote host, at a port of this machine:")
        self.step("mkdir site && echo '<h1>Hello from the laptop</h1>' > site/index.html")
        self.step(
            f"docker run -d --name {self.name} -p {self.port}:80 -v $PWD/site:/www "
            "busybox httpd -f -p 80 -h /www"
        )
        self.step(f"docker port {self.name}", f"127.0.0.1:{self.port}\n")
        self.step(
            f"curl --silent --show-error http://localhost:{self.port}/", "<h1>Hello from the laptop</h1>\n"
        )
        say("An edit on this machine is seen by the container:")
        self.step("echo '<h1>Edited on the laptop</h1>' > site/index.html")
        self.step(
            f"curl --silent --show-error http://localhost:{self.port}/", "<h1>Edited on the laptop</h1>\n"
        )
        say("What the container writes comes back:")
        self.step(f"docker exec {self.name} sh -c 'echo written in the container > /www/answer'")
        self.step("cat site/answer", "written in the container\n")
        say("When the container stops, its port on this machine is closed:")
        self.step(f"docker stop -t 0 {self.name}")
        self.step(
            f"curl --silent --show-error http://localhost:{self.port}/", status=lambda status: status == 7
        )
        say("The container is removed.")
        self.step(f"docker rm {self.name}")

    def step(
        self,
        command: str,
        wanted: str | None = None,
        status: Callable[[int], bool] = lambda status: status == 0,
    ) -> None:
        """
        Prints a command, runs it until it does what it should, and prints its last output.

        @param wanted: what its output must contain; it is run again until it does, for a while.
        @raise DemoFailed: it does not.
        """
        print(f"$ {command}", flush=True)
        deadline = time.monotonic() + (_SECONDS if wanted is not None or not status(0) else 0)
        last: list[subprocess.CompletedProcess[str]] = []

        def done() -> bool:
            last[:] = [self._execute(command)]
            return status(last[0].returncode) and (wanted is None or wanted in last[0].stdout)

        try:
            wait_until(done, command, deadline - time.monotonic())
        except SandboxError:
            raise DemoFailed(
                f"{command}: status {last[0].returncode}, {last[0].stdout}{last[0].stderr}"
            ) from None
        finally:
            if last:
                print(last[0].stdout + last[0].stderr, end="", flush=True)

    def _execute(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def _set(self, name: str, value: str) -> None:
        print(f"$ export {name}={value}", flush=True)
        self._environment[name] = value


@contextlib.contextmanager
def _own_remote(destination: str) -> Iterator[list[str]]:
    config = os.environ.get("REMOTEDOCKER_SSH_CONFIG")
    yield ["--ssh", destination, *(("--ssh-config", config) if config else ())]


@contextlib.contextmanager
def _embedded_remote() -> Iterator[list[str]]:
    say("No REMOTEDOCKER_SSH=user@host is set: starting a remote host on this machine, with files,")
    print("# network, sshd and dockerd of its own.", flush=True)
    with running_remote() as remote:
        print(f"# It is {remote.destination}, engine {remote.ask('/version')['Version']}.", flush=True)
        yield _options(remote)


def _options(remote: EmbeddedRemote) -> list[str]:
    return [
        *("--ssh", f"{remote.user}@{remote.host}", "--identity", str(remote.identity)),
        *("--known-hosts", str(remote.known_hosts), "--state-dir", str(remote.directory / "state")),
    ]


def _prepare(destination: str) -> str | None:
    """Installs what is missing, if that can be done. Returns what the user has to do instead, if anything."""
    path = search_path()
    if destination:
        missing = sorted(
            package for name, package in _LAPTOP_PACKAGES.items() if not shutil.which(name, path=path)
        )
    else:
        missing = missing_packages()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"Installing what is missing: {' '.join(missing)}")
        install(missing)
        missing = []
    if destination:
        return f"apt-get install --no-install-recommends {' '.join(missing)}" if missing else None
    reason = obstacle()
    if reason is None:
        return None
    packages = f"\n    apt-get install --no-install-recommends {' '.join(missing)}" if missing else ""
    return (
        f"{reason}.\nUse a remote host that you can log in to,\n    REMOTEDOCKER_SSH=user@host make demo\n"
        f"or run `make demo` as root on Debian, with these packages:{packages or ' all are installed'}"
    )


def main() -> int:
    """
    @return: the exit status: 0 if everything was as it should be.
    """
    end_on_signals()
    destination = os.environ.get("REMOTEDOCKER_SSH", "")
    directory = Path(tempfile.mkdtemp(prefix="remotedocker-demo-"))
    service: _Service | None = None
    try:
        remedy = _prepare(destination)
        if remedy is not None:
            print(remedy)
            return 1
        with _own_remote(destination) if destination else _embedded_remote() as options:
            (directory / "work").mkdir()
            service = _Service(directory / "service", options)
            try:
                Demonstration(directory / "work", service).run()
            except (DemoFailed, SandboxError):
                print(service.log())
                raise
            finally:
                service.kill()
    except (DemoFailed, AgentFailed, SandboxError, subprocess.SubprocessError, OSError, LookupError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    say("That was all; nothing is left running.")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
