# -*- test-case-name: tests.ssh.test_destination -*-
"""
Where to log in, as the user types it for C{--ssh}, and what else the user says about the login.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import frozen

__all__ = ["Destination", "DockerAddress", "SSHConfiguration", "parse_destination", "parse_docker_url"]

#: What OpenSSH refuses in a host name since 9.6, for they would be read by a shell in a C{ProxyCommand}; a
#: leading C{-} would be read as an option by C{ssh}.
_FORBIDDEN_IN_HOST = re.compile(r"[\s'\"`$\\;&<>|(){}@/?#]|^-")
_FORBIDDEN_IN_USER = re.compile(r"[\s'\"`$;&<>|(){}]|^-")


@frozen
class Destination:
    """
    A destination in its parts.

    @ivar user: the login name, or None where ssh_config or the local user decides.
    @ivar host: a host name, an address without brackets, or an alias of ssh_config.
    @ivar port: or None where ssh_config or the default (22) decides.
    """

    user: str | None
    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port is not None else self.host
        user = "" if self.user is None else f"{self.user}@"
        return f"{user}{host}" + ("" if self.port is None else f":{self.port}")


@frozen
class DockerAddress:
    """
    The daemon as seen from the remote host: a socket's path, or a host and a port.

    @ivar path: of a unix socket, or None.
    @ivar host: of a TCP daemon, or C{""}.
    @ivar port: of a TCP daemon, or 0.
    """

    path: str | None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class SSHConfiguration:
    """
    The user's part of how to log in; it wins over ssh_config.

    @ivar destination: as typed for C{--ssh}.
    @ivar identities: private keys, C{--identity}.
    @ivar ssh_config: a file instead of C{~/.ssh/config} and the system's, C{--ssh-config}.
    @ivar known_hosts: files instead of ssh_config's, C{--known-hosts}.
    @ivar accept_new_host_key: whether a host seen for the first time is trusted and recorded.
    @ivar remote_docker: C{unix:///path} or C{tcp://host:port}, C{--remote-docker}.
    @ivar wait_for_ssh: seconds that a request waits for a login that is being made again.
    @ivar connections: how many SSH connections; the first is for interactive streams.
    """

    destination: str
    identities: tuple[Path, ...] = ()
    ssh_config: Path | None = None
    known_hosts: tuple[Path, ...] = ()
    accept_new_host_key: bool = False
    remote_docker: str = "unix:///var/run/docker.sock"
    wait_for_ssh: float = 10.0
    connections: int = 2


def parse_destination(text: str) -> Destination:
    """
    Reads C{[user@]host[:port]}, C{ssh://[user@]host[:port]} or an alias; an IPv6 address with a port is in
    brackets.

    @raise ValueError: it is none of these; the message says why.
    """
    rest = text.strip()
    is_url = rest.lower().startswith("ssh://")
    if is_url:
        rest = rest[6:]
        rest = rest[:-1] if rest.endswith("/") else rest
        if "/" in rest:
            raise ValueError(f"{text!r}: an SSH destination has no path")
    elif "://" in rest:
        raise ValueError(f"{text!r}: the scheme must be ssh://")
    before, at, rest = rest.rpartition("@")
    user: str | None = None
    if at:
        user = unquote(before) if is_url else before
        if is_url and ":" in user:
            raise ValueError(f"{text!r}: a password does not belong into a destination")
        if not user:
            raise ValueError(f"{text!r}: the user before @ is empty")
        if _FORBIDDEN_IN_USER.search(user):
            raise ValueError(f"{text!r}: the user {user!r} has characters that cannot be in a login name")
    host, port_text = _split_port(text, rest)
    if not host:
        raise ValueError(f"{text!r}: there is no host")
    if _FORBIDDEN_IN_HOST.search(host):
        raise ValueError(f"{text!r}: the host {host!r} has characters that cannot be in a host name")
    return Destination(user, host, None if port_text is None else _port(text, port_text))


def _split_port(text: str, rest: str) -> tuple[str, str | None]:
    """@return: the host, and what is behind the last colon unless that belongs to a bare IPv6 address."""
    if rest.startswith("["):
        host, bracket, after = rest[1:].partition("]")
        if not bracket:
            raise ValueError(f"{text!r}: the bracket before the address is never closed")
        if after and not after.startswith(":"):
            raise ValueError(f"{text!r}: behind the bracket only :port may stand, not {after!r}")
        return host, after[1:] if after else None
    if rest.count(":") == 1:
        host, _, port = rest.partition(":")
        return host, port
    return rest, None


def _port(text: str, port: str) -> int:
    """@return: the number of a port."""
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r}: the port {port!r} is not a number from 1 to 65535")
    return int(port)


def parse_docker_url(url: str) -> DockerAddress:
    """
    Reads C{--remote-docker}.

    @raise ValueError: it is neither C{unix:///path} nor C{tcp://host:port}; the message says why.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        path = unquote(parts.netloc + parts.path)
        if not path.startswith("/"):
            raise ValueError(
                f"{url!r}: the path of the socket must be absolute, as in unix:///var/run/docker.sock"
            )
        return DockerAddress(path)
    if parts.scheme == "tcp":
        host, port = _split_port(url, parts.netloc)
        if not host or parts.path not in ("", "/"):
            raise ValueError(f"{url!r}: must be tcp://host:port")
        return DockerAddress(None, host, _port(url, port if port is not None else "2375"))
    raise ValueError(f"{url!r}: must be unix:///path or tcp://host:port, as seen from the remote host")
