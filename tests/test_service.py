"""The composition root."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import AuthenticationFailed, DaemonUnreachable
from remotedocker.service import NEW_OBJECTS, Part, RemoteDockerService, assemble
from tests.support import short_directory
from tests.test_options import parsed


class Endpoints:
    """Listeners that can fail."""

    docker_hosts = ("tcp://127.0.0.1:23750", "unix:///run/docker.sock")

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.opened: Deferred[None] = succeed(None)

    def open(self) -> Deferred[None]:
        self.calls.append("listen")
        return self.opened

    def close(self) -> Deferred[None]:
        self.calls.append("stop listening")
        return succeed(None)


class Remote:
    """A host that logs in when told so."""

    destination = "root@host"

    def __init__(self) -> None:
        self.logged_in: Deferred[None] = Deferred()

    def when_connected(self) -> Deferred[None]:
        return self.logged_in


class Daemon:
    """A daemon whose first answers are failures."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def version(self) -> Deferred[dict[str, Any]]:
        return fail(self.failures.pop(0)) if self.failures else succeed({"Version": "20.10.24"})


class ServiceTests(SynchronousTestCase):
    """L{RemoteDockerService}."""

    def setUp(self) -> None:
        """A service of two parts that write down what happens."""
        self.calls: list[str] = []
        self.clock = Clock()
        self.endpoints = Endpoints(self.calls)
        self.remote = Remote()
        self.daemon = Daemon()
        self.service = RemoteDockerService(
            self.clock,
            self.endpoints,  # type: ignore[arg-type]
            self.remote,  # type: ignore[arg-type]
            self.daemon,  # type: ignore[arg-type]
            [self.part("remote"), self.part("daemon")],
            lambda: self.calls.append("give up"),
        )
        self.logged: list[LogEvent] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def part(self, name: str) -> Part:
        """@return: a part that writes down its start and its stop."""

        def stop() -> Deferred[None]:
            self.calls.append(f"stop {name}")
            return succeed(None)

        return Part(lambda: self.calls.append(f"start {name}"), stop)

    def said(self) -> list[str]:
        """What the service logged."""
        return [
            str(event["log_format"]).format(**event)
            for event in self.logged
            if event.get("log_namespace") == "remotedocker.service.RemoteDockerService"
        ]

    def test_ready(self) -> None:
        """It listens, logs in, asks the daemon, and then says so in one line."""
        self.service.startService()
        self.assertEqual(self.calls, ["listen", "start remote", "start daemon"])
        self.assertEqual(self.said(), [])
        self.remote.logged_in.callback(None)
        self.assertEqual(
            self.said(),
            [
                "Ready: DOCKER_HOST=tcp://127.0.0.1:23750 DOCKER_HOST=unix:///run/docker.sock"
                " (root@host, Docker 20.10.24)"
            ],
        )

    def test_daemon_not_there_yet(self) -> None:
        """As long as the daemon cannot be reached it is asked again; each reason is said once."""
        refused = DaemonUnreachable(socket="/s", destination="root@host", reason="refused")
        forbidden = DaemonUnreachable(socket="/s", destination="root@host", reason="forbidden")
        self.daemon.failures = [refused, refused, forbidden]
        self.service.startService()
        self.remote.logged_in.callback(None)
        for _ in range(3):
            self.clock.advance(2)
        self.assertEqual([line.split(":")[0] for line in self.said()], ["Not ready", "Not ready", "Ready"])

    def test_refused_login(self) -> None:
        """A login that is refused for good ends the process, with the remedy in the log."""
        self.service.startService()
        self.remote.logged_in.errback(AuthenticationFailed(destination="root@host", tried="id_rsa"))
        self.assertEqual(self.calls[-1], "give up")
        self.assertIn("ssh-copy-id root@host", self.said()[-1])

    def test_cannot_listen(self) -> None:
        """When an address cannot be listened on, nothing else begins."""
        self.endpoints.opened = fail(OSError("taken"))
        self.service.startService()
        self.assertEqual(self.calls, ["listen", "give up"])
        self.flushLoggedErrors(OSError)

    def test_stop(self) -> None:
        """It stops in the opposite order, also in the middle of a login."""
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.calls[3:], ["stop listening", "stop daemon", "stop remote"])
        self.assertNotIn("give up", self.calls)


class AssembleTests(SynchronousTestCase):
    """L{assemble}."""

    def options(self, *arguments: str) -> Any:
        """@return: a command line with a state directory of its own."""
        self.state = Path(self.mktemp())
        return parsed("--ssh", "root@192.0.2.1", "--state-dir", str(self.state), *arguments)

    def test_every_part(self) -> None:
        """From a command line the whole service is made, and nothing is connected or listened on."""
        service = assemble(Clock(), self.options("--listen", "127.0.0.1:0"), {})
        self.assertIsInstance(service, RemoteDockerService)
        self.assertEqual(len((self.state / "agent-id").read_text().strip()), 16)

    def test_garbage(self) -> None:
        """While it runs, Python looks for garbage less often."""
        service: Any = assemble(Clock(), self.options("--listen", "127.0.0.1:0"), {})
        before, (first, *_) = gc.get_threshold(), service._parts
        first.start()
        self.assertEqual(gc.get_threshold()[0], NEW_OBJECTS)
        self.successResultOf(Deferred.fromCoroutine(first.stop()))
        self.assertEqual(gc.get_threshold(), before)

    def test_dump(self) -> None:
        """The file for C{--dump} is made at once, for its owner alone; one that cannot be made is refused."""
        path = Path(self.mktemp())
        assemble(Clock(), self.options("--dump", str(path)), {})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertRaises(OSError, assemble, Clock(), self.options("--dump", f"{path}/no"), {})

    def test_bad_values(self) -> None:
        """A value that a part cannot use is refused before anything starts."""
        for arguments in [
            ("--listen", "nowhere"),
            ("--listen", "192.0.2.7:2375"),
            ("--remote-docker", "npipe:x"),
        ]:
            self.assertRaises(ValueError, assemble, Clock(), self.options(*arguments), {})


class ProcessTests(SynchronousTestCase):
    """C{twistd remotedocker} as a process."""

    def start_twistd(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts it."""
        self.state = short_directory(self)
        started = subprocess.Popen(
            [
                *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                *("--nodaemon", "--pidfile=", "remotedocker", "--state-dir", str(self.state)),
                *("--listen", f"unix:{self.state}/docker.sock"),
                *arguments,
            ],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(started.communicate)
        self.addCleanup(started.kill)
        return started

    def run_twistd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return self.end(self.start_twistd(*arguments))

    def end(self, started: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """Waits for its end."""
        stdout, stderr = started.communicate(timeout=60)
        return subprocess.CompletedProcess(started.args, started.returncode, stdout, stderr)

    def test_usage_error(self) -> None:
        """A wrong option ends it with a message (the status is C{twistd}'s, 0 before Twisted 25)."""
        ended = self.run_twistd("--ssh", "h", "--sync", "both")
        self.assertIn("'both' is none of two-way, push, once, off", ended.stdout + ended.stderr)

    def test_unusable_value(self) -> None:
        """A value that only a part of the service finds wrong is refused in a line, with no traceback."""
        ended = self.run_twistd("--ssh", "h", "--listen", "192.0.2.7:2375")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("--allow-remote-clients", ended.stdout + ended.stderr)
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)

    def test_permanent_failure(self) -> None:
        """What cannot get better by waiting ends it with status 1."""
        taken = short_directory(self) / "taken"
        taken.write_text("no socket")
        ended = self.run_twistd("--ssh", "root@192.0.2.1", "--listen", f"unix:{taken}")
        self.assertEqual(ended.returncode, 1, ended.stdout + ended.stderr)
        self.assertEqual(taken.read_text(), "no socket")

    def test_signal(self) -> None:
        """SIGTERM ends it, by that signal, in the middle of a login; SIGINT does, between two attempts."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            destination = f"root@127.0.0.1:{server.getsockname()[1]}"
            logging_in = self.start_twistd("--ssh", destination, "--ssh-config", "none")
            with server.accept()[0] as silent:
                self.assertEqual(silent.recv(4), b"SSH-")
                self.assert_ends(logging_in, signal.SIGTERM)
        waiting = self.start_twistd("--ssh", destination, "--ssh-config", "none")
        assert waiting.stdout is not None
        self.assertTrue(any("connection refused" in line for line in waiting.stdout))
        self.assert_ends(waiting, signal.SIGINT)

    def assert_ends(self, started: subprocess.Popen[str], number: signal.Signals) -> None:
        """It ends by a signal, without a trace."""
        started.send_signal(number)
        ended = self.end(started)
        self.assertEqual(ended.returncode, -number, ended.stdout + ended.stderr)
        self.assertNotIn("Traceback", ended.stdout + ended.stderr)
        self.assertFalse((self.state / "docker.sock").exists())
