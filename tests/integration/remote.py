"""
The embedded remote: a sandboxed host with OpenSSH's sshd and a dockerd of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.integration.engine import Engine, find_engine
from tests.integration.sandbox import Sandbox, SandboxError, wait_until

__all__ = ["EmbeddedRemote", "remove_cgroups"]

_SSHD_CONFIG = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_ecdsa_key
HostKey /etc/ssh/ssh_host_rsa_key
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
LogLevel VERBOSE
PrintMotd no
Subsystem sftp /usr/lib/openssh/sftp-server
"""

_HOST_KEYS = {"ed25519": (), "ecdsa": (), "rsa": ("-b", "2048")}

_PREFIX = "REMOTEDOCKER_TEST_"

_STOP = """\
pid=$(cat "$1") && kill -TERM "$pid" || exit 0
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
"""

_PROCESSES = """\
for process in /proc/[0-9]*/stat; do
    read -r number name state parent rest <"$process" && echo "$number $name $state $parent"
done 2>/dev/null
"""

_DOCKERD_PID = "/run/docker.pid"
_SSHD_PID = "/run/sshd.pid"
_SECOND_SSHD_PID = "/run/sshd-second.pid"


def remove_cgroups(name: str) -> None:
    """Removes the control groups, in every hierarchy, that a dockerd left under C{name}."""
    root = Path("/sys/fs/cgroup")
    for top in (*root.glob(name), *root.glob(f"*/{name}")):
        for folder, _, _ in sorted(os.walk(top), reverse=True):
            try:
                os.rmdir(folder)
            except OSError:
                continue


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EmbeddedRemote:
    """
    A remote host with sshd and dockerd, on this machine, that shares none of its files.

    The laptop's side is this machine. The main thread must make it: the kernel ends the remote when the
    thread that started it ends.

    @ivar directory: where all of it lives, logs too (C{sshd.log}, C{dockerd.log}).
        Its name, by which its control group is called, too, must be unique on this machine.
    @ivar scratch: a directory of the laptop's for what must not outlive the remote.
    @ivar user: the SSH user.
    @ivar port: sshd's, on C{host}.
    @ivar identity: the private key (ed25519) that sshd accepts for C{user}.
    @ivar known_hosts: a file with the remote's host keys.
    @ivar docker_socket: the daemon's second socket, reached by this machine without SSH.
    """

    def __init__(self, directory: Path | str, engine: Engine | None = None) -> None:
        self.directory = Path(directory)
        self.engine = engine if engine is not None else find_engine(os.environ)
        self.sandbox = Sandbox(self.directory, self.engine.files)
        self.scratch = self.directory / "laptop"
        self.user = "root"
        self.port = 22
        self.identity = self.directory / "id_ed25519"
        self.known_hosts = self.directory / "known_hosts"
        self.docker_socket = self.sandbox.exchange / "docker.sock"
        self.busybox_tar = self.directory / "busybox.tar"
        self.cgroup = self.directory.name
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def attached(cls, environ: Mapping[str, str]) -> EmbeddedRemote:
        """
        The remote that another process started; see L{environment}.

        @raise KeyError: there is none.
        """
        remote = cls(environ[f"{_PREFIX}DIRECTORY"], find_engine(environ))
        remote.sandbox.init = int(environ[f"{_PREFIX}INIT"])
        remote.sandbox.address = environ[f"{_PREFIX}HOST"]
        remote.sandbox.local_address = environ[f"{_PREFIX}LOCAL_ADDRESS"]
        return remote

    def environment(self) -> dict[str, str]:
        """The variables by which another process finds this remote; shell scripts may use them too."""
        return {
            f"{_PREFIX}DIRECTORY": str(self.directory),
            f"{_PREFIX}INIT": str(self.sandbox.init),
            f"{_PREFIX}HOST": self.host,
            f"{_PREFIX}PORT": str(self.port),
            f"{_PREFIX}USER": self.user,
            f"{_PREFIX}LOCAL_ADDRESS": self.sandbox.local_address,
            f"{_PREFIX}IDENTITY": str(self.identity),
            f"{_PREFIX}KNOWN_HOSTS": str(self.known_hosts),
            f"{_PREFIX}DOCKER_SOCKET": str(self.docker_socket),
            f"{_PREFIX}BUSYBOX_TAR": str(self.busybox_tar),
            f"{_PREFIX}CLI": self.engine.cli,
            f"{_PREFIX}PLUGINS": str(self.engine.plugins or ""),
        }

    @property
    def destination(self) -> str:
        """The remote as C{--ssh} takes it."""
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def host(self) -> str:
        """The remote's address."""
        return self.sandbox.address

    def start(self) -> None:
        """
        Starts the remote; it can be used when this returns.

        @raise SandboxError: it could not be started; nothing is left running.
        """
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.sandbox.start()
            self._configure_ssh()
            self._start_sshd()
            self._start_dockerd()
            self._import_busybox()
            self._wait_for_dockerd()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process of the remote, and removes its files but for the logs. May be called again."""
        self.sandbox.stop()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        remove_cgroups(self.cgroup)
        self.busybox_tar.unlink(missing_ok=True)

    def run(
        self, arguments: Sequence[str], data: bytes | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a command on the remote, not through SSH; see L{Sandbox.run}."""
        return self.sandbox.run(arguments, data, check)

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs the engine's docker CLI straight at the daemon."""
        return subprocess.run(
            [self.engine.cli, "-H", f"unix://{self.docker_socket}", *arguments],
            capture_output=True,
            check=False,
        )

    def ask(self, path: str) -> Any:
        """
        What the daemon answers to a GET, from its JSON.

        @raise OSError: it cannot be reached.
        """
        connection = _UnixConnection(str(self.docker_socket))
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def post(self, path: str) -> None:
        """
        A POST without a body straight at the daemon: much quicker than the CLI.

        @raise SandboxError: it was refused.
        @raise OSError: the daemon cannot be reached.
        """
        connection = _UnixConnection(str(self.docker_socket))
        try:
            connection.request("POST", path)
            answer = connection.getresponse()
            if answer.status >= 300:
                raise SandboxError(f"POST {path}: {answer.status} {answer.read().decode()}")
        finally:
            connection.close()

    def ssh_sessions(self) -> list[int]:
        """The process ids, as the remote sees them, of the sshd processes that serve a connection."""
        processes = self._processes_inside()
        listener = self._listener()

        def serves(number: int, parent: int, name: str) -> bool:
            if name != "sshd" or number == listener:
                return False
            return parent == listener or processes.get(parent, (0, ""))[1] != "sshd"

        return [number for number, (parent, name) in processes.items() if serves(number, parent, name)]

    def kill_ssh_sessions(self) -> int:
        """
        Ends each SSH connection at once, as a lost link does; then its socket is closed. Returns how many
        there were.
        """
        sessions = self.ssh_sessions()
        family, processes = set(sessions), self._processes_inside()
        grown = -1
        while grown != len(family):
            grown = len(family)
            family |= {number for number, (parent, _) in processes.items() if parent in family}
        if family:
            self.run(["/bin/kill", "-KILL", *map(str, sorted(family))])
            wait_until(lambda: not family & set(self._processes_inside()), "the sessions are gone")
        return len(sessions)

    def _processes_inside(self) -> dict[int, tuple[int, str]]:
        """The remote's processes, without those that have ended: each one's parent and name."""
        found = {}
        for line in self.run(["/bin/sh", "-c", _PROCESSES]).stdout.decode(errors="replace").splitlines():
            number, name, state, parent = line.split(" ", 3)
            if state != "Z":
                found[int(number)] = (int(parent), name.strip("()"))
        return found

    def _listener(self) -> int:
        """The process id of the sshd that listens; 0 if there is none."""
        found = self.run(["cat", _SSHD_PID]).stdout.split()
        return int(found[0]) if found else 0

    def stop_sshd(self) -> None:
        """Ends the listening sshd, then each connection: from now on connections are refused."""
        self._stop(_SSHD_PID)
        self.run(["rm", "-f", _SSHD_PID])
        self.kill_ssh_sessions()

    def start_sshd(self) -> None:
        """Starts sshd again, if it does not run."""
        if not self._answers_ssh():
            self._start_sshd()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """While this lasts, all packets of SSH are dropped, both ways, and neither side is told."""
        rules = (("INPUT", "-p", "tcp", "--dport", "22"), ("OUTPUT", "-p", "tcp", "--sport", "22"))
        for chain, *match in rules:
            self.run(["iptables", "-w", "-I", chain, *match, "-j", "DROP"], check=True)
        try:
            yield
        finally:
            for chain, *match in rules:
                self.run(["iptables", "-w", "-D", chain, *match, "-j", "DROP"], check=True)

    def start_second_sshd(self, port: int, configuration: str) -> None:
        """Starts another sshd beside the first, with further lines of sshd_config."""
        text = _SSHD_CONFIG.replace("Port 22\n", f"Port {port}\n").replace(_SSHD_PID, _SECOND_SSHD_PID)
        (self.sandbox.root / "etc/ssh/second_config").write_text(f"{configuration}\n{text}")
        self._spawn(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/second_config"], "sshd.log")
        wait_until(lambda: self._answers_ssh(port), "the second sshd answers", 20)

    def stop_second_sshd(self) -> None:
        """Ends the listening process of the second sshd."""
        self._stop(_SECOND_SSHD_PID)

    def restart_sshd(self) -> None:
        """Ends sshd with all its connections and starts it again."""
        self.stop_sshd()
        self.start_sshd()

    def restart_dockerd(self) -> None:
        """Stops dockerd (and with it the containers, as the daemon does) and starts it again."""
        self.stop_dockerd()
        self.start_dockerd()

    def stop_dockerd(self) -> None:
        """Stops dockerd and waits for its end."""
        self._stop(_DOCKERD_PID)

    def start_dockerd(self) -> None:
        """Starts dockerd, if it does not run, and waits until it answers."""
        if not self._answers_http():
            self._start_dockerd()
            self._wait_for_dockerd()

    def logs(self) -> str:
        """The ends of sshd's and dockerd's logs, for the report of a failure."""
        parts = []
        for name in ("sandbox.log", "sshd.log", "dockerd.log"):
            log = self.directory / name
            if log.exists():
                parts.append(f"--- {name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(parts)

    def _stop(self, pid_file: str) -> None:
        self.run(["/bin/sh", "-c", _STOP, "stop", pid_file])

    def _configure_ssh(self) -> None:
        etc = self.sandbox.root / "etc/ssh"
        (etc / "sshd_config").write_text(_SSHD_CONFIG)
        lines = []
        for kind, size in _HOST_KEYS.items():
            key = etc / f"ssh_host_{kind}_key"
            self._keygen(key, kind, *size)
            lines.append(f"{self.host} {' '.join(key.with_suffix('.pub').read_text().split()[:2])}\n")
        self.known_hosts.write_text("".join(lines))
        self.identity.unlink(missing_ok=True)
        self._keygen(self.identity, "ed25519")
        public = self.identity.with_suffix(".pub").read_text()
        for name in ("root", "home/developer"):
            home = self.sandbox.root / name
            (home / ".ssh").mkdir(mode=0o700)
            (home / ".ssh/authorized_keys").write_text(public)
            for path in (home / ".ssh", home / ".ssh/authorized_keys"):
                os.chown(path, home.stat().st_uid, home.stat().st_gid)

    def _keygen(self, path: Path, kind: str, *options: str) -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", "remotedocker", "-f", str(path)],
            check=True,
        )

    def _start_sshd(self) -> None:
        self._spawn(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config"], "sshd.log")
        wait_until(self._sshd_answers, "sshd answers", 20)

    def _spawn(self, arguments: Sequence[str], log: str, path: str = "") -> None:
        self._processes.append(self.sandbox.spawn(arguments, self.directory / log, path))

    def _sshd_answers(self) -> bool:
        self._check_latest()
        return self._answers_ssh()

    def _answers_ssh(self, port: int = 0) -> bool:
        try:
            with socket.create_connection((self.host, port or self.port), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _start_dockerd(self) -> None:
        self.run(["rm", "-f", _DOCKERD_PID])
        self._spawn(
            [
                self.engine.program,
                *("--host", "unix:///var/run/docker.sock", "--host", "unix:///run/exchange/docker.sock"),
                *("--data-root", "/var/lib/docker", "--exec-root", "/run/docker", "--pidfile", _DOCKERD_PID),
                *("--cgroup-parent", f"/{self.cgroup}", "--storage-driver", "overlay2"),
                *self.engine.options,
            ],
            "dockerd.log",
            self.engine.path,
        )

    def _wait_for_dockerd(self) -> None:
        wait_until(self._dockerd_answers, "dockerd answers", 60)

    def _check_latest(self) -> None:
        if self._processes[-1].poll() is not None:
            raise SandboxError(f"a process of the remote ended\n{self.logs()}")

    def _dockerd_answers(self) -> bool:
        self._check_latest()
        return self._answers_http()

    def _answers_http(self) -> bool:
        try:
            return bool(self.ask("/version"))
        except (OSError, ValueError):
            return False

    def _import_busybox(self) -> None:
        """Makes C{busybox:latest} from the statically linked busybox; the root file system stays as a tar."""
        tree = self.directory / "busybox"
        for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"):
            (tree / name).mkdir(parents=True)
        (tree / "tmp").chmod(0o1777)
        (tree / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
        )
        (tree / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        program = shutil.which("busybox")
        assert program is not None
        shutil.copy(program, tree / "bin/busybox")
        for applet in subprocess.run(
            [program, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            if applet != "busybox":
                (tree / "bin" / applet).symlink_to("busybox")
        subprocess.run(
            [
                "tar",
                "--owner=0",
                "--group=0",
                "--sort=name",
                "-C",
                str(tree),
                "-cf",
                str(self.busybox_tar),
                ".",
            ],
            check=True,
        )
        shutil.rmtree(tree)
        self._wait_for_dockerd()
        imported = self.docker("import", "--change", 'CMD ["sh"]', str(self.busybox_tar), "busybox:latest")
        if imported.returncode != 0:
            raise SandboxError(imported.stderr.decode(errors="replace"))
