# -*- test-case-name: tests.test_options -*-
"""
The command line: parsing, and errors that name the value. What an option means is decided elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

__all__ = ["Options", "default_listen_addresses", "default_state_directory", "parse_size"]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)

SYNC_MODES = ("two-way", "push", "once", "off")


def parse_size(text: str) -> int:
    """
    @param text: a number of bytes, or one with a unit: C{512MiB}, C{4G}, C{1.5 GB} (powers of 1024).
    @raise ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 512MiB or 4GiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def default_listen_addresses(environ: Mapping[str, str]) -> list[str]:
    """The endpoints without C{--listen}: TCP, and a unix socket where C{XDG_RUNTIME_DIR} is set."""
    addresses = ["127.0.0.1:23750"]
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        addresses.append(f"unix:{runtime}/remotedocker/docker.sock")
    return addresses


def default_state_directory(environ: Mapping[str, str]) -> Path:
    """C{$XDG_STATE_HOME/remotedocker}, by default in C{~/.local/state} (XDG Base Directory Specification)."""
    state_home = environ.get("XDG_STATE_HOME")
    base = Path(state_home) if state_home else Path(os.path.expanduser("~")) / ".local" / "state"
    return base / "remotedocker"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError(f"{text!r} is not a whole number above zero")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds")
    return value


def _sync_mode(text: str) -> str:
    if text not in SYNC_MODES:
        raise ValueError(f"{text!r} is none of {', '.join(SYNC_MODES)}")
    return text


_PARSERS: Mapping[str, Callable[[str], object]] = {
    "max-tree-size": parse_size,
    "max-tree-files": _count,
    "sync": _sync_mode,
    "wait-for-ssh": _seconds,
    "connections": _count,
}


class Options(UsageOptions):
    """The options of C{twistd remotedocker}."""

    synopsis = "[options] --ssh DEST"
    longdesc = (
        "Listens on a local Docker endpoint and carries the Docker API over SSH to a remote daemon: "
        "published ports answer on this machine, bind mounts hold this machine's files. "
        "Point DOCKER_HOST at one of the endpoints that the line `Ready:` names."
    )

    optParameters = [
        [
            "ssh",
            "s",
            None,
            "The remote host: [user@]host[:port], ssh://[user@]host[:port], or a Host of ssh_config",
        ],
        ["ssh-config", "F", None, "ssh_config file [default: ~/.ssh/config and the system's]"],
        [
            "remote-docker",
            "r",
            "unix:///var/run/docker.sock",
            "The daemon as seen from the remote host: unix:///path or tcp://host:port",
        ],
        [
            "sync-root",
            None,
            ".remotedocker",
            "Where mirrored trees live on the remote, absolute or in its home",
        ],
        ["max-tree-size", None, "4GiB", "A mounted tree over this size is refused"],
        ["max-tree-files", None, "500000", "A mounted tree of more files is refused"],
        ["sync", None, "two-way", "Bind mounts: two-way, push, once or off"],
        ["dump", None, None, "Write each request's and response's head to this file (-: the log)"],
        ["wait-for-ssh", None, "10", "Seconds that a request waits for a login that is being made again"],
        ["connections", None, "2", "SSH connections: the first interactive, the others for bulk"],
        ["state-dir", None, None, "Agent identity and snapshots [default: $XDG_STATE_HOME/remotedocker]"],
    ]

    optFlags = [
        ["accept-new-host-key", None, "Trust and record a host seen for the first time"],
        ["gitignore", None, "Also honour .gitignore files in mounted trees"],
        ["no-forward", None, "Pass ports through as asked, open none here"],
        ["forward-all", None, "Also open ports of containers that were not created through this agent"],
        ["http-only", None, "Refuse what is not HTTP instead of relaying it"],
        ["allow-remote-clients", None, "Permit a --listen address that is not loopback"],
    ]

    def __init__(self) -> None:
        super().__init__()
        for name in ("listen", "identity", "known-hosts", "publish-address", "remote-path", "ignore"):
            self[name] = []

    def opt_listen(self, address: str) -> None:
        """HOST:PORT, unix:PATH or a Twisted endpoint description; may be repeated
        [default: 127.0.0.1:23750, and unix:$XDG_RUNTIME_DIR/remotedocker/docker.sock]"""
        self["listen"].append(address)

    def opt_identity(self, path: str) -> None:
        """Private key file; may be repeated [default: ssh_config's, the agent's, ~/.ssh/id_*]"""
        self["identity"].append(path)

    def opt_known_hosts(self, path: str) -> None:
        """known_hosts file; may be repeated [default: ssh_config's, then ~/.ssh/known_hosts]"""
        self["known-hosts"].append(path)

    def opt_publish_address(self, address: str) -> None:
        """Where a -p without an address listens here; may be repeated [default: 127.0.0.1 and ::1]"""
        self["publish-address"].append(address)

    def opt_remote_path(self, prefix: str) -> None:
        """A bind source under this prefix means the remote's own path; may be repeated"""
        self["remote-path"].append(prefix)

    def opt_ignore(self, pattern: str) -> None:
        """Leave files of this gitignore pattern out of mounted trees; may be repeated"""
        self["ignore"].append(pattern)

    opt_l = opt_listen
    opt_i = opt_identity

    def postOptions(self) -> None:
        """
        Fills in the defaults that depend on the environment.

        @raise UsageError: no destination was given, or values contradict each other.
        """
        if not self["ssh"]:
            raise UsageError("--ssh is required: the remote host, for example --ssh root@host")
        for name, parse in _PARSERS.items():
            try:
                self[name] = parse(self[name])
            except ValueError as error:
                raise UsageError(f"--{name}: {error}") from None
        if self["no-forward"] and self["forward-all"]:
            raise UsageError("--no-forward and --forward-all contradict each other")
        for prefix in self["remote-path"]:
            if not prefix.startswith("/"):
                raise UsageError(f"--remote-path {prefix!r} is not an absolute path")
        if not self["listen"]:
            self["listen"] = default_listen_addresses(os.environ)
        if not self["publish-address"]:
            self["publish-address"] = ["127.0.0.1", "::1"]
        state = self["state-dir"]
        self["state-dir"] = Path(state).expanduser() if state else default_state_directory(os.environ)

    def paths(self, name: str) -> tuple[Path, ...]:
        """@return: the values of a repeatable option as paths, C{~} expanded."""
        values: list[Any] = self[name]
        return tuple(Path(value).expanduser() for value in values)
