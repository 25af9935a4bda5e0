# -*- test-case-name: tests.proxy.test_address -*-
"""
The values of C{--listen}, understood.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from ipaddress import ip_address

from attrs import frozen

__all__ = ["ListenAddress", "ListenKind"]

_HOST_PORT = re.compile(r"(?:tcp://)?(\[[^\[\]]+\]|[^:\[\]/=]*):([0-9]{1,5})/?")
_ARGUMENT = re.compile(r"(?:[^:\\]|\\.)*", re.DOTALL)
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9]*)=(.*)", re.DOTALL)
_UNIX_ARGUMENT = re.compile(r":(?:mode|lockfile|backlog)=")


class ListenKind(Enum):
    """What kind of an endpoint it is."""

    TCP = auto()
    UNIX = auto()
    DESCRIPTION = auto()
    """A Twisted server endpoint description, left to Twisted."""


@frozen
class ListenAddress:
    """
    Where to listen.

    @ivar text: as typed.
    @ivar kind: what it is.
    @ivar host: an IP address without brackets; C{""} for all addresses, or where there is none.
    @ivar port: its number, 0 for any.
    @ivar path: of a unix socket.
    @ivar names: what else a C{Host} field may say.
    """

    text: str
    kind: ListenKind
    host: str = ""
    port: int = 0
    path: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """
        @param text: C{HOST:PORT} (an IP address or C{localhost}; C{[::1]:PORT} for IPv6), C{unix:PATH}, or
            a Twisted server endpoint description; C{tcp://HOST:PORT} and C{unix:///PATH} as in
            C{DOCKER_HOST}, too.
        @raise ValueError: it is none of these.
        """
        if text.startswith("unix:") and not _UNIX_ARGUMENT.search(text):
            path = text.removeprefix("unix:").removeprefix("//")
            if not path.startswith("/"):
                raise ValueError(f"--listen {text}: the path of a unix socket must be absolute")
            return cls(text, ListenKind.UNIX, path=path)
        match = _HOST_PORT.fullmatch(text)
        if match is not None and match[1] not in ("tcp", "tcp6"):
            return cls._tcp(text, match[1].strip("[]"), int(match[2]))
        return cls._description(text)

    @classmethod
    def _tcp(cls, text: str, host: str, port: int) -> ListenAddress:
        if port > 65535:
            raise ValueError(f"--listen {text}: {port} is no port number")
        if host.lower() == "localhost":
            return cls(text, ListenKind.TCP, "127.0.0.1", port, names=("localhost",))
        try:
            address = str(ip_address(host)) if host else ""
        except ValueError:
            raise ValueError(f"--listen {text}: {host!r} is no IP address; names are not looked up") from None
        return cls(text, ListenKind.TCP, address, port, names=(_bracketed(address),) if address else ())

    @classmethod
    def _description(cls, text: str) -> ListenAddress:
        words = [re.sub(r"\\(.)", r"\1", word) for word in _ARGUMENT.findall(text)]
        kind = words[0]
        if not kind.isidentifier() or ":" not in text or "://" in text:
            raise ValueError(
                f"--listen {text}: write HOST:PORT, unix:PATH or a Twisted server endpoint description"
            )
        named = {match[1]: match[2] for match in map(_KEY.fullmatch, words[1:]) if match is not None}
        if kind == "unix":
            return cls(text, ListenKind.DESCRIPTION, path=named.get("address", words[2]))
        host = named.get("interface", "")
        return cls(text, ListenKind.DESCRIPTION, host, names=(_bracketed(host),) if host else ())

    @property
    def is_local(self) -> bool | None:
        """
        Whether only this machine can connect; None if that shows only when it listens.
        """
        if self.path:
            return True
        if self.kind is ListenKind.DESCRIPTION and not self.text.startswith(("tcp", "ssl")):
            return None
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def any_address(self) -> bool:
        """It listens on all addresses of the machine."""
        return not self.path and self.host in ("", "0.0.0.0", "::")

    @property
    def checks_browsers(self) -> bool:
        """Browsers can reach it."""
        return not self.path

    @property
    def docker_host(self) -> str:
        """What C{DOCKER_HOST} has to be."""
        if self.path:
            return f"unix://{self.path}"
        if not self.port:
            return self.text
        if self.any_address:
            return f"tcp://{'[::1]' if self.host == '::' else '127.0.0.1'}:{self.port}"
        return f"tcp://{_bracketed(self.host)}:{self.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
