"""
remotedocker as a user starts it, as a child process; and C{ssh -L} in its place, which neither opens ports
nor carries files.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.remote import EmbeddedRemote
from tests.integration.sandbox import SandboxError, wait_until

__all__ = ["Agent", "AgentFailed", "Child", "OtherUsersAgent", "Tunnel", "free_port", "laptop_environment"]

_CHECKOUT = Path(__file__).resolve().parents[2]

_READY = re.compile(r"\bReady:.*")

_STOP_SECONDS = 20.0


class AgentFailed(Exception):
    """The agent did not start, ended by itself, or did not stop."""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def laptop_environment(home: Path) -> dict[str, str]:
    """This process's environment, without the user's own SSH and Docker settings."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DOCKER_", "COMPOSE_", "SSH_", "XDG_", "REMOTEDOCKER_"))
    }
    environment["HOME"] = str(home)
    return environment


class Child:
    """
    A process with a log, that ends with this one.

    @ivar directory: its own; the log is C{log} in it.
    @ivar docker_host: what C{DOCKER_HOST} must be to reach the daemon through it, by TCP.
    @ivar unix_host: the same by a unix socket.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_file = directory / "log"
        self.socket = directory / "docker.sock"
        self.port = free_port()
        self.docker_host = f"tcp://127.0.0.1:{self.port}"
        self.unix_host = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line."""
        raise NotImplementedError

    def prefix(self) -> list[str]:
        """What runs the command line."""
        setpriv = shutil.which("setpriv")
        return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []

    def ready(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """The process's environment."""
        return laptop_environment(self.directory)

    def start(self, seconds: float = 60.0) -> None:
        """
        Starts it and waits until it serves.

        @raise AgentFailed: it ended instead.
        """
        self.launch()
        try:
            wait_until(self._ready_or_ended, f"{self.command()[0]} serves", seconds)
        except SandboxError as error:
            self.kill()
            raise AgentFailed(f"{error}\n{self.log()}") from None
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Starts it and does not wait."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self.environment(),
            )

    def stop(self) -> int:
        """
        Asks it to end, and waits.

        @return: its exit status; negative for a signal.
        @raise AgentFailed: it did not end in time.
        """
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AgentFailed(f"it did not stop within {_STOP_SECONDS:.0f} s\n{self.log()}") from None
        finally:
            self.kill()

    def wait(self, seconds: float = 60.0) -> int:
        """Waits for it to end by itself, and returns its exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Ends it at once, without notice."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self, lines: int = 80) -> str:
        """The end of its log."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join([f"--- {self.log_file}", *text.splitlines()[-lines:]])

    def _ready_or_ended(self) -> bool:
        assert self.process is not None
        status = self.process.poll()
        if status is not None:
            raise AgentFailed(f"it ended with status {status}\n{self.log()}")
        return self.ready()


class Agent(Child):
    """
    C{twistd -n remotedocker}, listening on a TCP port of the loopback and on a unix socket.

    @param options: further options; C{--ssh} among them replaces the remote's destination.
    @ivar state: its state directory.
    @ivar identity: the private key.
    @ivar known_hosts: the file of host keys.
    """

    def __init__(self, remote: EmbeddedRemote, directory: Path, options: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self.remote = remote
        self.options = tuple(options)
        self.state = directory / "state"
        self.identity = remote.identity
        self.known_hosts = remote.known_hosts

    def command(self) -> list[str]:
        """See L{Child.command}."""
        twistd = Path(sys.executable).with_name("twistd")
        destination = () if "--ssh" in self.options else ("--ssh", self.remote.destination)
        return [
            *(str(twistd), "-n", "--pidfile=", "remotedocker", *destination, "--ssh-config", "/dev/null"),
            *("--identity", str(self.identity), "--known-hosts", str(self.known_hosts)),
            *("--state-dir", str(self.state)),
            *("--listen", f"127.0.0.1:{self.port}", "--listen", f"unix:{self.socket}"),
            *self.options,
        ]

    def environment(self) -> Mapping[str, str]:
        """See L{Child.environment}."""
        return {**super().environment(), "PYTHONPATH": str(_CHECKOUT), "PYTHONUNBUFFERED": "1"}

    def ready(self) -> bool:
        """Whether its log has the line C{Ready:}."""
        return self.ready_line() is not None

    def ready_line(self) -> str | None:
        """The line C{Ready:} of its log."""
        found = _READY.search(self.log_file.read_text(errors="replace"))
        return found[0] if found else None


_AS_USER = """
user=$1 group=$2 programs=$3
shift 3
number=0
for path in $programs; do
    number=$((number + 1))
    mkdir -p "$PWD/programs/$number"
    mount --bind "$path" "$PWD/programs/$number"
done
number=0
for path in $programs; do
    number=$((number + 1))
    above=
    for part in $(echo "$path" | tr / ' '); do
        above=$above/$part
        [ -d "$above" ] || mkdir "$above"
        case $(stat -c %A "$above") in *x|*t) ;; *) mount -t tmpfs -o mode=755 none "$above" ;; esac
    done
    mount --move "$PWD/programs/$number" "$path"
done
exec setpriv --pdeathsig KILL --reuid "$user" --regid "$group" --clear-groups -- "$@"
"""
"""
Runs a command as another user. The programs are where they are, even below directories that are closed to
others.
"""


class OtherUsersAgent(Agent):
    """
    An agent that does not run as root but as C{nobody}, as the tests' machine has that user.

    @param directory: it becomes that user's, and must be reachable.
    """

    user = pwd.getpwnam("nobody")

    def __init__(self, remote: EmbeddedRemote, directory: Path, options: Sequence[str] = ()) -> None:
        super().__init__(remote, directory, options)
        directory.mkdir()
        self.identity, self.known_hosts = directory / "identity", directory / "known_hosts"
        shutil.copy(remote.identity, self.identity)
        shutil.copy(remote.known_hosts, self.known_hosts)
        for path in (directory, self.identity, self.known_hosts):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def prefix(self) -> list[str]:
        """See L{Child.prefix}."""
        programs = {sys.prefix, sys.base_prefix, str(_CHECKOUT)} - {"/usr", "/"}
        return [
            *("unshare", "--mount", "--", "sh", "-euc", _AS_USER, "sh"),
            *(str(self.user.pw_uid), str(self.user.pw_gid), " ".join(sorted(programs))),
        ]


class Tunnel(Child):
    """C{ssh -L}: the daemon's API and nothing more."""

    def __init__(self, remote: EmbeddedRemote, directory: Path) -> None:
        super().__init__(directory)
        self.remote = remote

    def command(self) -> list[str]:
        """See L{Child.command}."""
        return [
            *(
                "ssh",
                "-F",
                "/dev/null",
                "-N",
                "-o",
                "ExitOnForwardFailure=yes",
                "-i",
                str(self.remote.identity),
            ),
            *("-o", f"UserKnownHostsFile={self.remote.known_hosts}", "-p", str(self.remote.port)),
            *(
                "-L",
                f"127.0.0.1:{self.port}:/var/run/docker.sock",
                "-L",
                f"{self.socket}:/var/run/docker.sock",
            ),
            f"{self.remote.user}@{self.remote.host}",
        ]

    def ready(self) -> bool:
        """Whether it listens."""
        return self.socket.exists()
