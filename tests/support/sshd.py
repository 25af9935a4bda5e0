"""
OpenSSH's own sshd for tests: unprivileged configuration, its own host keys, a port of the loopback that is
free.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from attrs import define

from tests.support.openssh import OpenSSH, find_program, own_openssh

__all__ = ["RunningSSHD", "free_port", "make_key", "sshd_available", "start_sshd"]

_STARTED_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def sshd_available() -> bool:
    """@return: whether there is an sshd to start."""
    return find_program("sshd") is not None and find_program("ssh-keygen") is not None


def free_port() -> int:
    """@return: a TCP port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(path: Path, kind: str = "ed25519", *options: str, passphrase: str = "") -> Path:
    """
    Makes a key with ssh-keygen.

    @param options: more of its options.
    @return: C{path}, where the private key is.
    """
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


#: Private and public halves of host keys, by kind: making an RSA key takes longer than starting a server.
_HOST_KEYS: dict[str, tuple[bytes, bytes]] = {}


def _host_key(path: Path, kind: str) -> Path:
    """@return: C{path}, where one of the host keys now is that all servers of this process share."""
    public = Path(f"{path}.pub")
    if kind not in _HOST_KEYS:
        make_key(path, kind)
        _HOST_KEYS[kind] = (path.read_bytes(), public.read_bytes())
    else:
        path.touch(mode=0o600)
        path.write_bytes(_HOST_KEYS[kind][0])
        public.write_bytes(_HOST_KEYS[kind][1])
    return path


@define
class RunningSSHD:
    """
    An sshd that listens.

    @ivar port: on 127.0.0.1.
    @ivar user: who may log in.
    @ivar identity_file: a private key (ed25519) that is accepted.
    @ivar known_hosts_file: has the host keys, as C{[127.0.0.1]:port}.
    @ivar directory: configuration, keys and log.
    @ivar openssh: of which release it is.
    """

    port: int
    user: str
    identity_file: Path
    known_hosts_file: Path
    directory: Path
    openssh: OpenSSH
    process: subprocess.Popen[bytes]

    @property
    def destination(self) -> str:
        """As for C{--ssh}."""
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.directory / "log").read_text("utf-8", "replace")

    def authorize(self, public_key: Path) -> None:
        """Lets the key in a C{.pub} file log in."""
        with (self.directory / "authorized_keys").open("a") as file:
            file.write(public_key.read_text())

    def restart(self) -> None:
        """Starts it again on the same port, after L{stop}."""
        self.process = _launch(self.openssh, self.directory, self.port)

    def sessions(self) -> list[int]:
        """@return: the process ids of the logins that it serves."""
        return _children(self.process.pid)

    def cut(self) -> None:
        """Ends every login at once, as a broken network would, and listens on."""
        for pid in self.sessions():
            self.end_session(pid)

    def end_session(self, pid: int) -> None:
        """Ends one login's process, and those that it has started."""
        # The login first: it could still tell of the others' end.
        for process in (pid, *_children(pid)):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def stop(self, remove: bool = False) -> None:
        """
        Ends it, and every login with it.

        @param remove: whether its directory is removed.
        """
        if self.process.poll() is None:
            self.cut()
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        if remove:
            shutil.rmtree(self.directory, ignore_errors=True)


def _children(pid: int) -> list[int]:
    """@return: the process ids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def start_sshd(directory: Path | str, extra_config: str = "", openssh: OpenSSH | None = None) -> RunningSSHD:
    """
    Starts an sshd, and waits until it answers.

    @param directory: an empty one, or one that does not yet exist.
    @param extra_config: lines of sshd_config, which take the place of those here with the same first word.
    @param openssh: the machine's own, or another one.
    """
    openssh = openssh or own_openssh()
    directory = Path(directory).absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    user = pwd.getpwuid(os.getuid()).pw_name
    host_keys = []
    for kind in ("ed25519", "ecdsa", "rsa"):
        host_keys.append(_host_key(directory / f"host_{kind}", kind))
    identity = make_key(directory / "identity")
    shutil.copy(directory / "identity.pub", directory / "authorized_keys")
    port = free_port()
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(
        "".join(
            f"[127.0.0.1]:{port} {' '.join(Path(f'{key}.pub').read_text().split()[:2])}\n"
            for key in host_keys
        )
    )
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        *(f"HostKey {key}" for key in host_keys),
        f"AuthorizedKeysFile {directory}/authorized_keys",
        f"PidFile {directory}/pid",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        "AcceptEnv *",
        "MaxStartups 100",
        "Subsystem sftp internal-sftp",
        "LogLevel VERBOSE",
        *openssh.config,
    ]
    set_otherwise = {line.split()[0].lower() for line in extra_config.splitlines() if line.strip()}
    kept = [line for line in lines if line.split()[0].lower() not in set_otherwise]
    (directory / "sshd_config").write_text("\n".join([*kept, extra_config, ""]))
    process = _launch(openssh, directory, port)
    return RunningSSHD(port, user, identity, known_hosts, directory, openssh, process)


def _end_with_parent() -> None:
    """In the server's process: Linux ends it when the tests' process is gone, even if that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _launch(openssh: OpenSSH, directory: Path, port: int) -> subprocess.Popen[bytes]:
    """@return: an sshd that answers on C{port}."""
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [openssh.sshd, "-D", "-e", "-f", str(directory / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,
        )
    until = time.monotonic() + _STARTED_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                if probe.recv(4) == b"SSH-":
                    return process
        except OSError:
            select_nothing(0.02)
    process.kill()
    process.wait()
    raise AssertionError("sshd did not start: " + (directory / "log").read_text("utf-8", "replace"))


def select_nothing(seconds: float) -> None:
    """Waits a moment, before sshd is asked again whether it listens."""
    select.select([], [], [], seconds)
