# -*- test-case-name: tests.sync.test_placement -*-
"""
Whose files a bind source means: the laptop's, or the remote's own. Pure path logic.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from enum import Enum

__all__ = ["REMOTE_PREFIXES", "Meaning", "laptop_path", "meaning", "place_of"]

REMOTE_PREFIXES = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/boot",
    "/cgroup",
    "/lib/modules",
    "/usr/lib/modules",
    "/usr/src",
    "/etc/localtime",
    "/etc/timezone",
    "/tmp/.X11-unix",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/log/journal",
)
"""What is at or under one of these describes the machine that the container runs on."""

_DOCKER_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_DOCKER_SOCKET_ENDS = (
    "/.docker/run/docker.sock",
    "/.docker/desktop/docker.sock",
    "/.colima/default/docker.sock",
    "/.rd/docker.sock",
)


class Meaning(Enum):
    """What a bind source means, as far as its name tells."""

    DAEMON = "the remote daemon's socket"
    REMOTE = "the remote's own"
    LAPTOP = "the laptop's, if it is there"


def _covers(prefix: str, path: str) -> bool:
    prefix = posixpath.normpath("/" + prefix.lstrip("/"))
    return prefix == "/" or path == prefix or path.startswith(prefix.rstrip("/") + "/")


def meaning(path: str, prefixes: Sequence[str] = (), own_sockets: Sequence[str] = ()) -> Meaning:
    """
    @param path: absolute and normalised, with forward slashes.
    @param prefixes: from C{--remote-path}.
    @param own_sockets: where this agent listens.
    """
    sockets = {posixpath.normpath(each) for each in own_sockets}
    if path in sockets or path in _DOCKER_SOCKETS or path.endswith(_DOCKER_SOCKET_ENDS):
        return Meaning.DAEMON
    if path.startswith("/run/user/") and path.endswith("/docker.sock"):
        return Meaning.DAEMON
    if path == "/" or any(_covers(each, path) for each in (*REMOTE_PREFIXES, *prefixes)):
        return Meaning.REMOTE
    return Meaning.LAPTOP


def place_of(path: str) -> str:
    """
    @param path: an absolute path of the laptop: POSIX, or with a drive.
    @return: the path of its mirror below the agent's directory, with a slash in front: C{/c/src} for
        C{C:\\src}.
    """
    if len(path) > 1 and path[1] == ":":
        rest = path[2:].replace("\\", "/").strip("/")
        return f"/{path[0].lower()}/{rest}" if rest else f"/{path[0].lower()}"
    return path


def laptop_path(place: str, windows: bool = False) -> str:
    """@return: the path of which C{place} is the mirror's path; see L{place_of}."""
    if not windows:
        return place
    drive, _, rest = place.lstrip("/").partition("/")
    return f"{drive.upper()}:\\" + rest.replace("/", "\\")
