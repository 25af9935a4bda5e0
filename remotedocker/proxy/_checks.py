# -*- test-case-name: tests.proxy.test_checks -*-
"""
Which requests a TCP listener takes.

Everybody on the machine can reach a loopback port, and so can every web page that a browser there shows: it
sends body-less requests blindly, and by DNS rebinding reads answers, too. dockerd itself looks at neither
C{Origin} nor C{Host}. No Docker client sends the fields that browsers add, or names another host than the
endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from twisted.internet.abstract import isIPAddress, isIPv6Address

from remotedocker.errors import BrowserRefused, ForeignHost, RemoteDockerError
from remotedocker.http import RequestHead

__all__ = ["RequestCheck"]

_OF_BROWSERS = ("Origin", "Sec-Fetch-Site", "Referer")
_LOCAL_NAMES = frozenset({"", "docker", "localhost", "127.0.0.1", "[::1]", "api.moby.localhost"})
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")
_ABSOLUTE_FORM = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?#]*)")


class RequestCheck:
    """
    Refuses what comes from browsers, and requests for other hosts.

    @param names: hosts that are this endpoint's beside the usual ones (C{""} and loopback), as in a C{Host}
        field, without the port.
    @param any_address: every IP address is this endpoint's, for it listens on all (a page of a rebound name
        still names the name).
    @param endpoint: what C{DOCKER_HOST} should be, for the message.
    """

    def __init__(self, names: Iterable[str] = (), any_address: bool = False, endpoint: str = "") -> None:
        self._names = _LOCAL_NAMES | {name.lower() for name in names}
        self._any_address = any_address
        self.endpoint = endpoint

    def __call__(self, head: RequestHead) -> RemoteDockerError | None:
        """@return: why the request is refused, or None."""
        for name in _OF_BROWSERS:
            if head.headers.get(name.encode("ascii")) is not None:
                return BrowserRefused(header=name)
        hosts = [value.decode("latin-1") for value in head.headers.get_all(b"host")]
        absolute = _ABSOLUTE_FORM.match(head.target)
        if absolute is not None:
            hosts.append(absolute[1].decode("latin-1"))
        for host in hosts:
            if not self._is_ours(host):
                return ForeignHost(host=host, endpoint=self.endpoint)
        return None

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return name in self._names or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    if name.startswith("["):
        return isIPv6Address(name[1:-1])
    return isIPAddress(name)
