# -*- test-case-name: tests.packaging.test_examples -*-
"""
The example files of C{docs/examples}, used as the documents say, on the installed wheel.

The host that they name is replaced by one that refuses connections: the agent then goes on trying, which is
enough to see it started, kept and stopped.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from threading import Event
from time import monotonic

from twisted.trial.unittest import SynchronousTestCase

from tests.packaging.support import ROOT, Environment, built, installed

__all__ = ["SupervisorTests", "SystemdTests"]

EXAMPLES = ROOT / "docs" / "examples"

DEADLINE = 60.0
"""Seconds after which a test gives up waiting."""


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of loopback that refuses connections for as long as the block lasts: bound, not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def wait_until(condition: Callable[[], bool], describe: Callable[[], str]) -> None:
    """
    Asks again and again.

    @raise AssertionError: the condition did not come true; with what C{describe} tells.
    """
    end = monotonic() + DEADLINE
    pause = Event()
    while not condition():
        assert monotonic() < end, describe()
        pause.wait(0.1)


class SupervisorTests(SynchronousTestCase):
    """C{supervisord.conf}."""

    def setUp(self) -> None:
        """A home of its own, with the installed C{twistd} on the path."""
        self.environment: Environment = installed(built().wheel)
        # A short path: the names of unix sockets are limited.
        self.home = Path(mkdtemp(prefix="rd-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.state = self.home / ".local" / "state" / "remotedocker"
        self.state.mkdir(parents=True)
        (self.home / "run").mkdir(mode=0o700)
        self.variables = {
            "HOME": str(self.home),
            "PATH": f"{self.environment.path / 'bin'}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(self.home / "run"),
        }
        self.log = self.state / "remotedocker.log"

    def start(self, arguments: str) -> None:
        """Runs supervisord on the example, C{root@host} replaced by C{arguments}."""
        text = (EXAMPLES / "supervisord.conf").read_text("utf-8")
        self.assertEqual(text.count("--ssh root@host"), 1)
        self.configuration = self.home / "supervisord.conf"
        self.configuration.write_text(text.replace("--ssh root@host", f"--ssh {arguments}"))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(self.configuration)],
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

        def stop() -> None:
            daemon.terminate()
            daemon.communicate(timeout=DEADLINE)

        self.addCleanup(stop)

    def control(self, *arguments: str) -> str:
        """What C{supervisorctl} says."""
        return subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.configuration), *arguments],
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout

    def told(self) -> str:
        """All that is known, for a failed test."""
        log = self.log.read_text("utf-8") if self.log.exists() else ""
        return f"{self.control('status')}\n{log}"

    def logged(self, text: str) -> Callable[[], bool]:
        """Whether the agent's log has a text yet."""
        return lambda: self.log.exists() and text in self.log.read_text("utf-8")

    def test_kept_and_stopped(self) -> None:
        """The agent serves, says why it cannot log in, and is stopped without a trace."""
        with closed_port() as port, closed_port() as listening:
            pass
        with closed_port() as port:
            unix = "unix:%(ENV_XDG_RUNTIME_DIR)s/d.sock"
            self.start(f"root@127.0.0.1:{port} --listen 127.0.0.1:{listening} --listen {unix}")
            wait_until(lambda: (self.home / "run" / "d.sock").exists(), self.told)
            wait_until(self.logged(f"127.0.0.1:{port}"), self.told)
            self.assertRegex(self.control("status"), "remotedocker +(STARTING|RUNNING)")
            self.control("stop", "remotedocker")
            self.assertIn("STOPPED", self.control("status"))
            self.assertFalse((self.home / "run" / "d.sock").exists())
            self.assertNotIn("Traceback", self.log.read_text("utf-8"))

    def test_gives_up_on_a_wrong_command_line(self) -> None:
        """What can never work is not tried for ever."""
        self.start("root@host --sync sometimes")
        wait_until(lambda: "FATAL" in self.control("status"), self.told)
        self.assertIn("'sometimes' is none of two-way, push, once, off", self.log.read_text("utf-8"))


class SystemdTests(SynchronousTestCase):
    """C{remotedocker.service}."""

    def setUp(self) -> None:
        """Reads the file."""
        self.text = (EXAMPLES / "remotedocker.service").read_text("utf-8")
        self.lines = [line for line in self.text.splitlines() if line and not line.startswith("#")]

    def test_sections(self) -> None:
        """It has the three sections, and a command."""
        self.assertEqual(
            [line for line in self.lines if line.startswith("[")], ["[Unit]", "[Service]", "[Install]"]
        )
        self.assertEqual(len([line for line in self.lines if line.startswith("ExecStart=")]), 1)

    def test_systemd_takes_it(self) -> None:
        """Where systemd is installed, it finds nothing to complain about."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            self.assertIn("WantedBy=default.target", self.lines)
            return
        unit = Path(mkdtemp(dir=os.getcwd())) / "remotedocker.service"
        unit.write_text(self.text.replace("%h/.local/bin/twistd", "/bin/true"))
        done = subprocess.run(
            [analyze, "verify", "--user", "--man=no", str(unit)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(unit.parent), "HOME": str(unit.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        complaints = [line for line in done.stdout.splitlines() if "remotedocker" in line]
        self.assertEqual((done.returncode, complaints), (0, []), done.stdout)
