"""
The embedded remote itself: what the other tests rest on.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.base import IntegrationTestCase, Running
from tests.integration.checks import listens

_CHECKOUT = Path(__file__).resolve().parents[2]


class RemoteTests(IntegrationTestCase):
    """The remote is a host of its own."""

    def test_own_files(self) -> None:
        """It has none of the laptop's directories, and what it writes stays with it."""
        (self.scratch / "file").write_text("here")
        for path in (self.scratch, _CHECKOUT, Path(sys.prefix)):
            self.assertNotEqual(self.remote.run(["test", "-e", str(path)]).returncode, 0, str(path))
        for place in ("/root", "/home", "/srv", "/tmp", "/var/tmp", "/opt", "/etc", "/run"):
            name = f"{place}/{self.scratch.name}"
            self.remote.run(["mkdir", name], check=True)
            self.addCleanup(self.remote.run, ["rmdir", name])
            self.assertFalse(Path(name).exists() and Path(name) != self.scratch, name)
        self.assertNotEqual(self.remote.run(["touch", "/usr/bin/new"]).returncode, 0)

    def test_own_processes_and_network(self) -> None:
        """It sees its own processes and interfaces only; its loopback is not the laptop's."""
        self.assertEqual(self.remote.run(["cat", "/proc/1/comm"], check=True).stdout, b"sleep\n")
        interfaces = self.remote.run(["ls", "/sys/class/net"], check=True).stdout.split()
        self.assertEqual([name for name in interfaces if name.startswith(b"rd")], [])
        self.assertTrue(listens(22, self.remote.host))
        self.assertEqual(self.remote.run(["hostname"], check=True).stdout, b"remote\n")

    def test_two_at_once_and_nothing_left(self) -> None:
        """A second remote runs beside the first; when what started it is killed, nothing is left running."""
        _, (host, init, starter, _) = self._second()
        self.assertNotEqual(host, self.remote.host)
        self.assertTrue(listens(22, host))
        self.assertTrue(listens(22, self.remote.host))
        members = _members(int(init))
        self.assertGreater(len(members), 3)
        os.kill(int(starter), signal.SIGKILL)
        self.wait_for(
            lambda: not any(Path(f"/proc/{number}").exists() for number in members), "its processes are gone"
        )
        self.wait_for(lambda: _route(host) != _route(self.remote.host), "its interface is gone")

    def test_leftovers(self) -> None:
        """
        A new remote removes the files that a killed one left, and none of one that runs, though it cannot see
        the processes of any.
        """
        killed, (*_, left) = self._second()
        killed.kill()
        self.assertTrue(Path(left).exists())
        self._second("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
        self.assertFalse(Path(left).exists())
        self.assertTrue(self.remote.directory.exists())

    def _second(self, *prefix: str) -> tuple[Running, list[str]]:
        """
        Starts another remote.

        @return: what runs it; and its address, its init, the process that started it, and its directory.
        """
        script = "echo {HOST} {INIT} $PPID {DIRECTORY}; exec sleep 1000"
        script = script.replace("{", "${REMOTEDOCKER_TEST_")
        environment = {
            name: value for name, value in os.environ.items() if name != "REMOTEDOCKER_INTEGRATION"
        }
        command = [*prefix, sys.executable, "-m", "tests.integration.stack", "--", "sh", "-c", script]
        stack = Running(command, environment, cwd=_CHECKOUT)
        self.addCleanup(stack.kill)
        for wanted in (b"embedded remote", b"\n", b"\n"):
            stack.expect(wanted)
        facts = stack.stdout.decode().splitlines()[-1].split()
        self.addCleanup(self._remove, Path(facts[-1]))
        self.addCleanup(stack.kill)
        return stack, facts

    def _remove(self, directory: Path) -> None:
        """Removes the files of a remote whose processes are about to end."""

        def removed() -> bool:
            shutil.rmtree(directory, ignore_errors=True)
            return not directory.exists()

        self.wait_for(removed, f"{directory} is removed")

    def test_killed_sessions(self) -> None:
        """The count of killed sessions is that of the connections, and sshd goes on."""
        before = len(self.remote.ssh_sessions())
        command = [
            *("ssh", "-F", "/dev/null", "-i", str(self.remote.identity)),
            *("-o", f"UserKnownHostsFile={self.remote.known_hosts}"),
            *(f"{self.remote.user}@{self.remote.host}", "echo up; exec sleep 1000"),
        ]
        session = Running(command, dict(os.environ))
        self.addCleanup(session.kill)
        session.expect(b"up\n")
        self.assertEqual(self.remote.kill_ssh_sessions(), before + 1)
        self.assertEqual(session.finish().status, 255)
        self.assertTrue(listens(22, self.remote.host))


def _members(init: int) -> list[int]:
    """The processes of the sandbox with this init."""

    def namespace(number: int) -> str:
        try:
            return os.readlink(f"/proc/{number}/ns/pid")
        except OSError:
            return ""

    wanted = namespace(init)
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if namespace(int(path.name)) == wanted]


def _route(host: str) -> str:
    """By which interface the laptop would reach an address."""
    shown = subprocess.run(
        ["ip", "-o", "route", "get", host], capture_output=True, text=True, check=False
    ).stdout
    return shown.partition(" dev ")[2].partition(" ")[0] if " via " not in shown else "gateway"
