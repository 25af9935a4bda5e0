"""
What the embedded remote, and other tests that run servers, need from this machine, and how it gets there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PROGRAMS", "install", "missing_packages", "obstacle", "search_path"]

PROGRAMS: Mapping[str, str] = {
    "dockerd": "docker.io",
    "docker-compose": "docker-compose",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "rsync": "rsync",
    "busybox": "busybox-static",
    "curl": "curl",
    "dropbear": "dropbear-bin",
    "git": "git",
}
"""Each program that must be there, and the Debian package that brings it."""

_NO_SERVICES = "#!/bin/sh\nexit 101\n"


def search_path() -> str:
    """C{PATH} with the system administrator's directories, where sshd and dockerd are."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"


def missing_packages() -> list[str]:
    """The Debian packages that are needed and not installed, sorted."""
    path = search_path()
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})


def obstacle() -> str | None:
    """One line that says why no embedded remote can be started here; None if it can."""
    if not sys.platform.startswith("linux"):
        return "the embedded remote needs Linux"
    if os.geteuid() != 0:
        return "the embedded remote needs root (network and mount namespaces)"
    missing = missing_packages()
    if missing:
        return f"missing packages: apt-get install --no-install-recommends {' '.join(missing)}"
    return None


def install(packages: list[str]) -> None:
    """
    Installs Debian packages without starting the services that they bring.

    @raise subprocess.CalledProcessError: apt-get failed.
    """
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text(_NO_SERVICES)
        policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
        subprocess.run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
            env=environment,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    finally:
        if ours:
            policy.unlink()


if __name__ == "__main__":
    wanted = missing_packages()
    if wanted and os.geteuid() == 0:
        install(wanted)
    reason = obstacle()
    if reason is not None:
        sys.exit(reason)
