# -*- test-case-name: tests.docker.test_ports -*-
"""
Ports as they stand in the daemon's documents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from remotedocker.docker._json import JSONObject, JSONValue
from remotedocker.docker._model import ContainerPort, PortBinding, PortMap

__all__ = [
    "LOOPBACK",
    "binding_objects",
    "parse_port",
    "published_ports",
    "read_bindings",
    "read_port_map",
]

LOOPBACK = PortBinding("127.0.0.1", "")
"""How a forwarded port is bound on the remote: out of reach of its network, at a port of its choosing."""

_PORT = re.compile(r"([0-9]{1,10})(?:/([A-Za-z]*))?")
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


def parse_port(key: str) -> ContainerPort | None:
    """
    @param key: C{80}, C{80/tcp}, C{53/UDP}: a key of C{PortBindings} or C{ExposedPorts}.
    @return: None for what the daemon refuses (a range, an unknown protocol).
    """
    match = _PORT.fullmatch(key)
    if match is None:
        return None
    number, protocol = int(match.group(1)), (match.group(2) or "tcp").lower()
    if not 0 < number < 65536 or protocol not in _PROTOCOLS:
        return None
    return ContainerPort(number, protocol)


def read_bindings(value: JSONValue) -> tuple[PortBinding, ...] | None:
    """
    @param value: a list of C{{"HostIp": "", "HostPort": ""}}, or null.
    @return: None if it is not well-formed.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        return None
    bindings = []
    for element in value:
        if not isinstance(element, JSONObject):
            return None
        host_ip, host_port = element.field("HostIp"), element.field("HostPort")
        if not isinstance(host_ip, (str, type(None))) or not isinstance(host_port, (str, type(None))):
            return None
        bindings.append(PortBinding(host_ip or "", host_port or ""))
    return tuple(bindings)


def read_port_map(value: JSONObject) -> dict[ContainerPort, tuple[PortBinding, ...]]:
    """
    The well-formed entries of a map of ports to bindings; different spellings of one port are taken together.
    """
    ports: dict[ContainerPort, tuple[PortBinding, ...]] = {}
    for key, bound in value.entries().items():
        port, bindings = parse_port(key), read_bindings(bound)
        if port is not None and bindings is not None:
            ports[port] = (*ports.get(port, ()), *bindings)
    return ports


def binding_objects(bindings: tuple[PortBinding, ...]) -> list[JSONValue]:
    """C{bindings} as the daemon writes them."""
    return [JSONObject([("HostIp", each.host_ip), ("HostPort", each.host_port)]) for each in bindings]


def published_ports(document: Mapping[str, Any]) -> PortMap:
    """
    C{NetworkSettings.Ports} of an inspect answer (plain C{json.loads}): what the daemon has bound; a port
    that is exposed and not published has no bindings.
    """
    ports: dict[ContainerPort, tuple[PortBinding, ...]] = {}
    for key, bindings in ((document.get("NetworkSettings") or {}).get("Ports") or {}).items():
        port = parse_port(key)
        if port is not None:
            ports[port] = tuple(
                PortBinding(each.get("HostIp", ""), each.get("HostPort", "")) for each in bindings or ()
            )
    return ports
