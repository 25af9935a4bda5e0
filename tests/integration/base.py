"""
What the tests on a real remote have in common: the remote, agents, docker CLIs, and the comparison of what a
command does through the agent with what it does straight at the daemon.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import pty
import re
import secrets
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.itrial import IReporter
from twisted.trial.reporter import TestResultDecorator
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer

from tests.integration.agent import Agent, AgentFailed, Tunnel, laptop_environment
from tests.integration.remote import EmbeddedRemote
from tests.integration.sandbox import wait_until
from tests.integration.stack import OBSTACLE_VARIABLE

__all__ = [
    "CLIS",
    "COMPOSE",
    "TERMINAL_SIZE",
    "Docker",
    "IntegrationTestCase",
    "Outcome",
    "Running",
    "attached_remote",
    "has_buildkit",
    "normalise",
]

COMMAND_SECONDS = 60.0
"""How long a command may take: far more than it needs."""

TERMINAL_SIZE = (33, 101)
"""Rows and columns of the terminals that commands get."""

_SUBSTITUTIONS = (
    # The CLI of 20.10 says this or not, depending on which of its two connections is faster.
    (re.compile(rb'time=.* msg="error waiting for container: context canceled"\n'), b""),
    (re.compile(rb"\b[0-9a-f]{64}\b"), b"<ID>"),
    (re.compile(rb"\b[0-9a-f]{12}\b"), b"<id>"),
    (re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), b"<time>"),
    (re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \w+"), b"<time>"),
    (re.compile(rb"(Less than a second|About a minute|\d+ (seconds?|minutes?)) ?(ago)?"), b"<while>"),
    (re.compile(rb"\b172\.\d+\.\d+\.\d+\b"), b"<address>"),
    (re.compile(rb" {2,}"), b"  "),
)


@attrs.frozen
class Outcome:
    """What a command did."""

    status: int
    stdout: bytes
    stderr: bytes

    def without_output(self) -> Outcome:
        """The status alone, of a command whose output differs from run to run."""
        return Outcome(self.status, b"", b"")

    def sorted(self) -> Outcome:
        """The lines of the output sorted, of a command that prints them in any order."""
        return Outcome(self.status, b"".join(sorted(self.stdout.splitlines(keepends=True))), self.stderr)


def normalise(output: bytes, label: str) -> bytes:
    """Without what differs from run to run: ids, times, and C{label} in names."""
    output = output.replace(label.encode(), b"<label>")
    for pattern, replacement in _SUBSTITUTIONS:
        output = pattern.sub(replacement, output)
    return output


def _find_clis() -> dict[str, str]:
    """Each docker CLI of this machine by its major version, oldest first."""
    found: dict[int, str] = {}
    extra = os.environ.get("REMOTEDOCKER_TEST_CLI", "")
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    for candidate in (extra, *(os.path.join(folder, "docker") for folder in folders)):
        if candidate and os.access(candidate, os.X_OK):
            shown = subprocess.run(
                [candidate, "--version"], capture_output=True, text=True, check=False
            ).stdout
            version = re.search(r"version (\d+)\.", shown)
            if version is not None:
                found.setdefault(int(version[1]), candidate)
    return {str(version): found[version] for version in sorted(found)}


CLIS: Mapping[str, str] = _find_clis()


def has_buildkit(version: str, path: str) -> bool:
    """
    Whether a CLI can build by BuildKit: older ones have its client built in, newer ones as the plugin buildx.
    """
    if int(version) < 23 or os.environ.get("REMOTEDOCKER_TEST_PLUGINS"):
        return True
    return subprocess.run([path, "buildx", "version"], capture_output=True, check=False).returncode == 0


COMPOSE: tuple[str, ...] = ("docker-compose",)
"""Compose of the engine's age. Version 1 cannot recreate containers of engine 25 and newer."""
if os.environ.get("REMOTEDOCKER_TEST_PLUGINS"):
    COMPOSE = (os.environ["REMOTEDOCKER_TEST_CLI"], "compose")


class Running:
    """
    A command that runs: its output is read while it does.

    @param terminal: give it a terminal instead of pipes; what it prints is then in C{stdout}.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        terminal: bool = False,
        cwd: Path | None = None,
    ) -> None:
        self.arguments = arguments
        self.stdout = b""
        self.stderr = b""
        self._seen = {"stdout": 0, "stderr": 0}
        self._descriptors: dict[int, str] = {}
        if terminal:
            self._input, follower = pty.openpty()
            fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *TERMINAL_SIZE, 0, 0))
            self._process = subprocess.Popen(
                arguments,
                stdin=follower,
                stdout=follower,
                stderr=follower,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
            os.close(follower)
            self._descriptors[self._input] = "stdout"
        else:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=cwd,
            )
            assert self._process.stdin and self._process.stdout and self._process.stderr
            self._input = os.dup(self._process.stdin.fileno())
            self._process.stdin.close()
            for name in ("stdout", "stderr"):
                pipe = getattr(self._process, name)
                self._descriptors[os.dup(pipe.fileno())] = name
                pipe.close()
        self.terminal = terminal

    def write(self, data: bytes) -> None:
        """Gives it input."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._input, view) :]

    def close_input(self) -> None:
        """Ends its input; with a terminal, as Ctrl-D does."""
        if self.terminal:
            self.write(b"\x04")
        elif self._input >= 0:
            os.close(self._input)
            self._input = -1

    def expect(self, wanted: bytes, seconds: float = COMMAND_SECONDS, stream: str = "stdout") -> None:
        """
        Reads until C{wanted} was printed, after what was expected before.

        @raise AssertionError: it was not.
        """
        deadline = time.monotonic() + seconds
        while (place := getattr(self, stream).find(wanted, self._seen[stream])) < 0:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(
                    f"{self.arguments} did not print {wanted!r}, but {self.stdout!r} {self.stderr!r}"
                )
        self._seen[stream] = place + len(wanted)

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def finish(self, seconds: float = COMMAND_SECONDS) -> Outcome:
        """
        Waits for its end, reading.

        @raise AssertionError: it has not ended in time; it is killed then.
        """
        deadline = time.monotonic() + seconds
        while self._descriptors:
            if not self._read(deadline - time.monotonic()) and self._descriptors:
                self.kill()
                raise AssertionError(
                    f"{self.arguments} did not end; it printed {self.stdout!r} {self.stderr!r}"
                )
        try:
            status = self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments} closed its output but did not end") from None
        self.kill()
        return Outcome(status, self.stdout, self.stderr)

    def kill(self) -> None:
        """Ends it at once. May be called again."""
        self._process.kill()
        self._process.wait()
        if self._input >= 0 and self._input not in self._descriptors:
            os.close(self._input)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._input = -1
        self._descriptors.clear()

    def _read(self, seconds: float) -> bool:
        """Reads once. False when nothing came in time, or all has been read."""
        ready, _, _ = select.select(list(self._descriptors), [], [], max(0.0, seconds))
        for descriptor in ready:
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                data = b""
            name = self._descriptors[descriptor]
            setattr(self, name, getattr(self, name) + data)
            if not data:
                del self._descriptors[descriptor]
                os.close(descriptor)
                if descriptor == self._input:
                    self._input = -1
        return bool(ready)


class Docker:
    """
    A docker CLI that speaks to one daemon's endpoint.

    @ivar label: unique; names made with L{name} begin with it.
    """

    def __init__(self, cli: str, host: str, home: Path, label: str, cwd: Path) -> None:
        self.cli = cli
        self.host = host
        self.label = label
        self.cwd = cwd
        self.environment = {
            **laptop_environment(home),
            "DOCKER_HOST": host,
            "DOCKER_CONFIG": str(home / ".docker"),
        }
        self.started: list[Running] = []
        plugins = os.environ.get("REMOTEDOCKER_TEST_PLUGINS")
        if plugins:
            (home / ".docker").mkdir(exist_ok=True)
            (home / ".docker/config.json").write_text(json.dumps({"cliPluginsExtraDirs": [plugins]}))

    def name(self, name: str) -> str:
        """A name for a container or an image that no other test uses."""
        return f"{self.label}-{name}"

    def __call__(self, *arguments: str, data: bytes = b"", seconds: float = COMMAND_SECONDS) -> Outcome:
        """Runs a command with C{data} as its whole input, to its end."""
        return self.program(self.cli, *arguments, data=data, seconds=seconds)

    def program(self, *arguments: str, data: bytes = b"", seconds: float = COMMAND_SECONDS) -> Outcome:
        """Runs any program in this CLI's environment."""
        try:
            finished = subprocess.run(
                arguments,
                input=data,
                capture_output=True,
                env=self.environment,
                cwd=self.cwd,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"{arguments} did not end; it printed {error.stdout!r} {error.stderr!r}"
            ) from None
        return Outcome(finished.returncode, finished.stdout, finished.stderr)

    def start(self, *arguments: str, terminal: bool = False) -> Running:
        """Starts a command that the test talks to."""
        running = Running([self.cli, *arguments], self.environment, terminal, self.cwd)
        self.started.append(running)
        return running

    def kill_started(self) -> None:
        """Ends what is still running of what L{start} started."""
        for running in self.started:
            running.kill()

    def close(self) -> None:
        """Removes the containers, volumes, networks and images named with L{name}."""
        mine = f"name=^/?{self.label}"
        for listing, removal in (
            (("ps", "-aq", "--filter", mine), ("rm", "-f", "-v")),
            (("volume", "ls", "-q", "--filter", mine), ("volume", "rm", "-f")),
            (("network", "ls", "-q", "--filter", mine), ("network", "rm")),
            (("images", "-q", f"{self.label}*"), ("rmi", "-f")),
        ):
            found = self(*listing).stdout.decode().split()
            if found:
                self(*removal, *found)


Scenario = Callable[[Docker], Sequence[Outcome]]


def attached_remote() -> EmbeddedRemote:
    """
    The remote of L{tests.integration.stack}.

    @raise SkipTest: there is none, and none is required.
    """
    try:
        return EmbeddedRemote.attached(os.environ)
    except KeyError:
        reason = os.environ.get(
            OBSTACLE_VARIABLE, "no embedded remote: run this by python -m tests.integration.stack"
        )
    if os.environ.get("REMOTEDOCKER_INTEGRATION") == "require":
        raise AssertionError(reason)
    raise SkipTest(reason)


_shared: dict[tuple[str, ...], Agent | Tunnel] = {}
_failed: dict[tuple[str, ...], str] = {}
_homes: list[Path] = []


def _temporary(remote: EmbeddedRemote) -> Path:
    path = Path(tempfile.mkdtemp(dir=remote.scratch))
    _homes.append(path)
    return path


def _end_shared() -> None:
    try:
        for agent in _shared.values():
            agent.stop()
    finally:
        for path in _homes:
            shutil.rmtree(path, ignore_errors=True)


atexit.register(_end_shared)


@implementer(IReporter)
class _Noting(TestResultDecorator):
    """
    A reporter that notes whether a test failed.

    @ivar failed: whether it did.
    """

    failed = False

    def addError(self, *arguments: Any) -> None:
        """See L{IReporter.addError}."""
        self.failed = True
        self._originalReporter.addError(*arguments)

    def addFailure(self, *arguments: Any) -> None:
        """See L{IReporter.addFailure}."""
        self.failed = True
        self._originalReporter.addFailure(*arguments)


class IntegrationTestCase(SynchronousTestCase):
    """
    @ivar remote: the remote host.
    @ivar scratch: an empty directory on the laptop, removed afterwards.
    """

    def run(self, result: Any = None) -> Any:
        """Notes whether the test fails, so that more can be reported then."""
        self._noting = _Noting(result if result is not None else self.defaultTestResult())
        return super().run(self._noting)

    def setUp(self) -> None:
        """Finds the remote, or says why there is none."""
        self.remote = attached_remote()
        self.scratch = Path(tempfile.mkdtemp(dir=self.remote.scratch))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def shared_agent(self, *options: str) -> Agent | Tunnel:
        """
        An agent with these options that other tests use too: it is started once and must not be harmed.
        C{REMOTEDOCKER_TEST_AGENT=ssh} puts a plain C{ssh -L} in its place, to try the tests themselves.
        """
        if options in _failed:
            raise AgentFailed(f"it did not start for an earlier test: {_failed[options]}")
        agent = _shared.get(options)
        if agent is None or agent.process is None or agent.process.poll() is not None:
            if os.environ.get("REMOTEDOCKER_TEST_AGENT") == "ssh":
                agent = Tunnel(self.remote, _temporary(self.remote))
            else:
                agent = Agent(self.remote, _temporary(self.remote), options)
            try:
                agent.start()
            except AgentFailed as error:
                _failed[options] = str(error).splitlines()[0]
                raise
            _shared[options] = agent
        self.addCleanup(self._report, agent, agent.log_file.stat().st_size)
        return agent

    def own_agent(self, *options: str, start: bool = True) -> Agent:
        """An agent of this test alone, stopped afterwards."""
        agent = Agent(self.remote, self.scratch / f"agent-{secrets.token_hex(2)}", options)
        self.addCleanup(self._report, agent, 0)
        self.addCleanup(agent.kill)
        if start:
            agent.start()
        return agent

    def tunnel(self) -> Tunnel:
        """C{ssh -L} in an agent's place, stopped afterwards."""
        tunnel = Tunnel(self.remote, self.scratch / f"tunnel-{secrets.token_hex(2)}")
        self.addCleanup(tunnel.kill)
        tunnel.start()
        return tunnel

    def docker(self, host: str, cli: str | None = None) -> Docker:
        """
        @param host: the C{DOCKER_HOST}.
        @param cli: which CLI; the newest of L{CLIS} if not given.
        """
        label = f"t{secrets.token_hex(4)}"
        home = self.scratch / label
        home.mkdir()
        docker = Docker(cli or list(CLIS.values())[-1], host, home, label, self.scratch)
        cleaner = Docker(docker.cli, f"unix://{self.remote.docker_socket}", home, label, self.scratch)
        self.addCleanup(cleaner.close)
        self.addCleanup(docker.kill_started)
        return docker

    def compare(self, scenario: Scenario, host: str, cli: str | None = None) -> Sequence[Outcome]:
        """
        Runs C{scenario} straight at the daemon and at C{host}, and fails where an exit status or an
        output differs.

        @return: the outcomes at C{host}.
        """
        direct = f"unix://{self.remote.docker_socket}"
        expected, found = self._play(scenario, direct, cli), self._play(scenario, host, cli)
        if found[1] != expected[1]:
            # On a machine that has much to do, Docker 26.1 loses the output of one in a hundred containers
            # that end at once, straight at the daemon. What is the agent's fault is there again.
            expected, found = self._play(scenario, direct, cli), self._play(scenario, host, cli)
        for position, (one, other) in enumerate(zip(expected[1], found[1], strict=True)):
            self.assertEqual(other, one, f"outcome {position}, through the agent and straight")
        return found[0]

    def _play(
        self, scenario: Scenario, host: str, cli: str | None
    ) -> tuple[Sequence[Outcome], Sequence[Outcome]]:
        """@return: the outcomes, and what can be compared of them."""
        docker = self.docker(host, cli)
        outcomes = scenario(docker)
        return outcomes, [
            Outcome(each.status, normalise(each.stdout, docker.label), normalise(each.stderr, docker.label))
            for each in outcomes
        ]

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """See L{wait_until}."""
        wait_until(condition, what, seconds)

    def _report(self, agent: Agent | Tunnel, offset: int) -> None:
        """Prints what the agent logged during a test that failed."""
        if self._noting.failed and agent.log_file.exists():
            print(f"\n--- {self.id()}: the agent's log")
            print(agent.log_file.read_bytes()[offset:].decode(errors="replace")[-8000:])
