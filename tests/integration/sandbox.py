"""
A host of its own, made from namespaces: its own network, processes, host name and file system.

The file system is a new root with the machine's C{/usr} (read-only) and the few files of C{/etc} that
programs need. C{/root}, C{/home}, C{/srv}, C{/tmp}, C{/var}, C{/run} are the sandbox's own, and nothing
else of the machine is there: a file that a container on this host can read was brought there.

Everything inside is a descendant of one process, the init of the sandbox's process namespace. When it
dies, the kernel ends the rest and removes the namespaces with the network interfaces in them; it dies
with the process that started it, even if that one is killed.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.integration.engine import ENGINE_INSIDE
from tests.integration.prerequisites import search_path

__all__ = ["Sandbox", "SandboxError", "wait_until"]

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SHELL": "/bin/sh",
}

_ETC = (
    "alternatives",
    "bash.bashrc",
    "default",
    "ethertypes",
    "group",
    "host.conf",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "login.defs",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "profile",
    "protocols",
    "services",
    "shadow",
    "shells",
    "timezone",
)

_BOOTSTRAP = r"""
set -eu
mount --make-rprivate /
mount --bind "$NEW" "$NEW"
cd "$NEW"
for directory in bin lib lib32 lib64 libx32 sbin usr; do
    if [ -L "/$directory" ]; then
        cp -P "/$directory" .
    elif [ -d "/$directory" ]; then
        mkdir -p "$directory"
        mount --bind "/$directory" "$directory"
        mount -o remount,bind,ro "$directory"
    fi
done
mkdir -p dev proc sys
mount --rbind /dev dev
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/sshd run/lock run/exchange
mount --bind "$EXCHANGE" run/exchange
if [ -n "$ENGINE" ]; then
    mkdir -p ".$ENGINE_INSIDE"
    mount --bind "$ENGINE" ".$ENGINE_INSIDE"
    mount -o remount,bind,ro ".$ENGINE_INSIDE"
fi
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
hostname remote
ip link set lo up
trap '' CHLD
echo ready
exec sleep infinity
"""


class SandboxError(Exception):
    """The embedded remote could not be made, or something in it failed."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """
    Asks C{condition} until it is true.

    @raise SandboxError: it is not true within C{seconds}.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxError(f"not within {seconds:.0f} s: {what}")
        pause.wait(0.02)


def _command(*arguments: str) -> str:
    finished = subprocess.run(
        arguments, capture_output=True, text=True, env={**os.environ, "PATH": search_path()}, check=False
    )
    if finished.returncode != 0:
        raise SandboxError(f"{' '.join(arguments)}: {finished.stderr.strip() or finished.returncode}")
    return finished.stdout


def _free_network() -> ipaddress.IPv4Network:
    """A /30 inside 10.213.0.0/16 that no interface of this machine uses."""
    used = [
        ipaddress.ip_address(address["local"])
        for interface in json.loads(_command("ip", "-j", "-4", "address", "show"))
        for address in interface.get("addr_info", ())
    ]
    while True:
        number = secrets.randbelow(2**14 - 1) + 1
        network = ipaddress.IPv4Network((int(ipaddress.IPv4Address("10.213.0.0")) + 4 * number, 30))
        if not any(address in network for address in used):
            return network


class Sandbox:
    """
    One host of its own.

    @ivar directory: on the machine: the host's root is C{root} in it, C{exchange} is seen by both sides
        (inside as C{/run/exchange}), logs are beside them. Its path must be short: sockets are made in it.
    @ivar engine: a directory of the machine that is seen inside, read-only, as L{ENGINE_INSIDE}.
    @ivar local_address: the machine's address on the link to the host.
    @ivar address: the host's.
    @ivar init: the process id, on the machine, of the sandbox's init.
    """

    def __init__(self, directory: Path, engine: Path | None = None) -> None:
        self.directory = directory
        self.engine = engine
        self.root = directory / "root"
        self.exchange = directory / "exchange"
        self.address = ""
        self.local_address = ""
        self.init = 0
        self._init: subprocess.Popen[str] | None = None
        self._interface = ""

    def start(self) -> None:
        """
        @raise SandboxError: a step failed; L{stop} must still be called.
        """
        self._populate()
        self._begin()
        self._connect()

    def stop(self) -> None:
        """Ends every process inside and removes what was made, but not the logs. May be called again."""
        if self._init is not None:
            self._init.kill()
            self._init.wait()
            if self._init.stdout is not None:
                self._init.stdout.close()
            self._init = None
            wait_until(lambda: not Path(f"/proc/{self.init}").exists(), "the end of the sandbox's processes")
        for made in (self.root, self.exchange):
            shutil.rmtree(made, ignore_errors=True)

    def enter(self, *arguments: str) -> list[str]:
        """The command line that runs C{arguments} inside."""
        return [
            "nsenter",
            f"--target={self.init}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--wd=/root",
            "--",
            *arguments,
        ]

    def run(
        self, arguments: Sequence[str], data: bytes | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """
        Runs a command inside and waits for its end.

        @param data: its standard input.
        @raise SandboxError: C{check} was given and it failed.
        """
        finished = subprocess.run(
            self.enter(*arguments), input=data or b"", capture_output=True, env=_ENVIRONMENT, check=False
        )
        if check and finished.returncode != 0:
            raise SandboxError(f"{' '.join(arguments)}: {finished.stderr.decode(errors='replace').strip()}")
        return finished

    def spawn(self, arguments: Sequence[str], log: Path, path: str = "") -> subprocess.Popen[bytes]:
        """
        Starts a command inside, in the background, with its output appended to C{log}.

        @param path: directories to be searched before the usual C{PATH}.
        """
        environment = dict(_ENVIRONMENT)
        if path:
            environment["PATH"] = f"{path}:{environment['PATH']}"
        with log.open("ab") as output:
            return subprocess.Popen(
                self.enter(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )

    def _populate(self) -> None:
        self.root.mkdir(mode=0o755, parents=True)
        self.exchange.mkdir(mode=0o755)
        for name in ("home", "mnt", "opt", "run", "srv", "var/lib", "var/log", "var/cache", "etc/ssh"):
            (self.root / name).mkdir(mode=0o755, parents=True)
        (self.root / "root").mkdir(mode=0o700)
        for name in ("tmp", "var/tmp"):
            (self.root / name).mkdir()
            (self.root / name).chmod(0o1777)
        (self.root / "var/run").symlink_to("/run")
        for name in _ETC:
            source, copy = Path("/etc") / name, self.root / "etc" / name
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True)
            elif source.is_symlink():
                copy.symlink_to(os.readlink(source))
            elif source.exists():
                shutil.copy2(source, copy)
        self._add_user()
        (self.root / "etc/hostname").write_text("remote\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost remote\n::1 localhost\n")

    def _add_user(self) -> None:
        """C{developer}, who is not root but may use the daemon."""
        etc = self.root / "etc"
        with (etc / "passwd").open("a") as file:
            file.write("developer:x:4213:4213::/home/developer:/bin/sh\n")
        with (etc / "shadow").open("a") as file:
            file.write("developer:*:19000:0:99999:7:::\n")
        groups = [line for line in (etc / "group").read_text().splitlines() if not line.startswith("docker:")]
        groups += ["docker:x:4212:developer", "developer:x:4213:", ""]
        (etc / "group").write_text("\n".join(groups))
        home = self.root / "home/developer"
        home.mkdir(mode=0o700)
        os.chown(home, 4213, 4213)

    def _begin(self) -> None:
        self._init = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--ipc", "--net", "--pid"),
                *("--fork", "--kill-child=KILL", "--", "/bin/sh", "-c", _BOOTSTRAP),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.directory / "sandbox.log").open("wb"),
            env={
                **_ENVIRONMENT,
                "NEW": str(self.root),
                "EXCHANGE": str(self.exchange),
                "ENGINE": str(self.engine or ""),
                "ENGINE_INSIDE": ENGINE_INSIDE,
            },
            text=True,
        )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != "ready\n":
            raise SandboxError((self.directory / "sandbox.log").read_text() or "the sandbox did not start")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self.init = int(children[0])

    def _connect(self) -> None:
        network = _free_network()
        local, remote = network.hosts()
        self.local_address, self.address = str(local), str(remote)
        self._interface = f"rd{secrets.token_hex(5)}"
        _command(
            *("ip", "link", "add", self._interface, "type", "veth"),
            *("peer", "name", "eth0", "netns", str(self.init)),
        )
        _command("ip", "address", "add", f"{local}/30", "dev", self._interface)
        _command("ip", "link", "set", self._interface, "up")
        self.run(["ip", "address", "add", f"{remote}/30", "dev", "eth0"], check=True)
        self.run(["ip", "link", "set", "eth0", "up"], check=True)
        self.run(["ip", "route", "add", "default", "via", str(local)], check=True)
