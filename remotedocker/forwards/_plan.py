# -*- test-case-name: tests.forwards.test_plan -*-
"""
What is to be done to the local ports of one container: wanted against open. No sockets here.

Each binding that a user typed is a L{Slot}: it takes one number on one or several local addresses. A plan
is a sequence of actions; applied in order, it makes a second plan of the same wish empty. The meaning of
C{HostIp} and C{HostPort} is that of the daemon (API 1.41, libnetwork's port mapper).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from remotedocker.docker import ContainerPort, PortBinding, PortMap

__all__ = [
    "FORWARDED_PROTOCOLS",
    "Action",
    "Close",
    "Collision",
    "Host",
    "InvalidPort",
    "LocalAddress",
    "Numbers",
    "Open",
    "Opened",
    "Point",
    "Slot",
    "Target",
    "hosts_of",
    "plan_publish",
    "plan_reserve",
    "slots_of",
    "span_of",
    "target_of",
]

FORWARDED_PROTOCOLS = frozenset({"tcp"})
"""What can be opened locally. Bindings of other protocols are passed over: they stay on the remote."""

_LAST_PORT = 65535


class InvalidPort(ValueError):
    """A C{HostPort} that is no port, no range of ports and not empty."""


@frozen(order=True)
class LocalAddress:
    """
    A port on an address of this machine, for one protocol.

    @ivar host: a numeric address.
    """

    host: str
    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return _join(self.host, str(self.number))

    def overlaps(self, other: LocalAddress) -> bool:
        """Whether both cannot be open at once: the same number, and the same address or one for all."""
        if (self.number, self.protocol) != (other.number, other.protocol):
            return False
        mine, theirs = ipaddress.ip_address(self.host), ipaddress.ip_address(other.host)
        if mine.version != theirs.version:
            return False
        return mine == theirs or mine.is_unspecified or theirs.is_unspecified


@frozen(order=True)
class Host:
    """
    A local address to open a binding on.

    @ivar address: numeric.
    @ivar optional: passed over where this machine does not have it.
    """

    address: str
    optional: bool = False


@frozen(order=True)
class Slot:
    """
    One binding as typed.

    @ivar occurrence: 0 for the first, 1 for the next that is typed exactly alike for this container port.
    """

    port: ContainerPort
    binding: PortBinding
    occurrence: int = 0


@frozen
class Target:
    """Where connections are led, as seen from the remote host."""

    host: str
    number: int


@frozen
class Opened:
    """
    What is open for a slot now.

    @ivar number: the local number, the same on all addresses.
    @ivar hosts: the numeric addresses, in the daemon's order.
    @ivar target: where it leads; None while it leads nowhere (held for the container).
    """

    number: int
    hosts: tuple[str, ...]
    target: Target | None = None


@frozen
class Numbers:
    """
    The numbers that may be taken for a slot, in the order in which they are to be tried.

    @ivar span: all of them.
    @ivar preferred: to be tried first: what the slot had before.
    @ivar start: where to begin in C{span}; it goes round.
    @ivar avoid: known to be in use.
    """

    span: range
    preferred: int | None = None
    start: int | None = None
    avoid: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[int]:
        if self.preferred is not None and self.preferred in self.span and self.preferred not in self.avoid:
            yield self.preferred
        start = self.span.start if self.start not in self.span else self.start
        assert start is not None
        for number in (*range(start, self.span.stop), *range(self.span.start, start)):
            if number not in self.avoid and number != self.preferred:
                yield number


@frozen
class Open:
    """Open C{slot} on all of C{hosts}, at the first of C{numbers} that is free on each of them."""

    slot: Slot
    hosts: tuple[Host, ...]
    numbers: Numbers


@frozen
class Close:
    """Close C{slot} and end its connections."""

    slot: Slot


@frozen
class Point:
    """Lead new connections of C{slot} to C{target}, and end those that lead elsewhere."""

    slot: Slot
    target: Target


Action = Open | Close | Point


class Collision(Exception):
    """
    No number is left for a binding, by what is known to be open here.

    @ivar address: what was asked for, as the daemon writes it in its error.
    @ivar holders: the containers that have it; empty when the container is in its own way.
    """

    def __init__(self, address: str, holders: frozenset[str]) -> None:
        super().__init__(address)
        self.address = address
        self.holders = holders


def _join(host: str, number: str) -> str:
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def describe(host: str, span: range) -> str:
    """C{address:number} or C{address:first-last}, as the daemon writes it."""
    return _join(host, str(span.start) if len(span) == 1 else f"{span.start}-{span.stop - 1}")


def span_of(host_port: str, dynamic: range) -> range:
    """
    The numbers that a C{HostPort} admits.

    @param dynamic: what a port left open is chosen from.
    @raise InvalidPort: it is no port.
    """
    first, dash, last = host_port.partition("-")
    if not all(text.isascii() and text.isdigit() for text in ((first, last) if dash else (first or "0",))):
        raise InvalidPort(host_port)
    low = int(first or "0")
    high = int(last) if dash else low
    if low > high or high > _LAST_PORT or (dash and low == 0):
        raise InvalidPort(host_port)
    return range(low, high + 1) if low else dynamic


def hosts_of(host_ip: str, publish: Sequence[str]) -> tuple[Host, ...]:
    """
    The local addresses that a C{HostIp} means: itself; for C{""} and what is no address (C{localhost}; as
    the daemon did before version 29) those of C{--publish-address}. Of these, an IPv6 address beside an IPv4
    one may be missing on this machine.
    """
    try:
        if "%" not in host_ip:
            return (Host(str(ipaddress.ip_address(host_ip))),)
    except ValueError:
        pass
    versions = [ipaddress.ip_address(address).version for address in publish]
    return tuple(
        Host(address, optional=version == 6 and 4 in versions)
        for version, address in sorted(zip(versions, publish, strict=True), key=lambda pair: pair[0])
    )


def slots_of(requested: PortMap) -> tuple[Slot, ...]:
    """The bindings of protocols that can be opened here, in the order of port and typing."""
    slots = []
    for port in sorted(requested):
        if port.protocol not in FORWARDED_PROTOCOLS:
            continue
        seen: Counter[PortBinding] = Counter()
        for binding in requested[port]:
            slots.append(Slot(port, binding, seen[binding]))
            seen[binding] += 1
    return tuple(slots)


def plan_reserve(
    requested: PortMap,
    opened: Mapping[Slot, Opened],
    remembered: Mapping[Slot, int],
    taken: Mapping[LocalAddress, str],
    publish: Sequence[str],
    dynamic: range,
    start: int | None = None,
    spared: frozenset[int] = frozenset(),
) -> tuple[Action, ...]:
    """
    Opens what C{requested} asks for and is not open. What is open for a container port that C{requested}
    names, at another binding, is closed; other container ports are left as they are, for a port of
    C{PublishAllPorts} is not known before the container runs.

    A number typed is decided before a range, a range before a port left open.

    @param remembered: the number that a slot had before.
    @param taken: what other containers have open here, and which.
    @param dynamic: what a port left open is chosen from.
    @param start: where in C{dynamic} to begin.
    @param spared: numbers remembered for other containers; a port left open does not get one of these.
    @raise InvalidPort: a C{HostPort} is no port.
    @raise Collision: see there.
    """
    slots = slots_of(requested)
    spans = {slot: span_of(slot.binding.host_port, dynamic) for slot in slots}
    closing = [slot for slot in sorted(opened) if slot.port in requested and slot not in spans]
    mine = {
        LocalAddress(host, now.number, slot.port.protocol)
        for slot, now in opened.items()
        if slot not in closing
        for host in now.hosts
    }
    actions: list[Action] = [Close(slot) for slot in closing]
    missing = [slot for slot in slots if slot not in opened]
    for slot in sorted(missing, key=lambda slot: (_is_open(slot), len(spans[slot]))):
        hosts = hosts_of(slot.binding.host_ip, publish)
        span = spans[slot]
        blocked = _blocked(hosts, slot.port.protocol, mine, taken)
        avoid = frozenset(blocked)
        if _is_open(slot):
            avoid |= spared
        avoid = frozenset(number for number in avoid if number in span)
        numbers = Numbers(
            span=span,
            preferred=remembered.get(slot) if len(span) > 1 else None,
            start=start if _is_open(slot) else None,
            avoid=avoid,
        )
        first = next(iter(numbers), None)
        if first is None:
            holders = {blocked[number] for number in span if number in blocked}
            raise Collision(describe(hosts[0].address, span), frozenset(holders - {""}))
        actions.append(Open(slot, hosts, numbers))
        mine |= {LocalAddress(host.address, first, slot.port.protocol) for host in hosts}
    return tuple(actions)


def _is_open(slot: Slot) -> bool:
    """Whether the choice of the number is left to us."""
    return slot.binding.host_port in ("", "0")


def _blocked(
    hosts: Sequence[Host], protocol: str, mine: set[LocalAddress], taken: Mapping[LocalAddress, str]
) -> dict[int, str]:
    """@return: the numbers that are in use on any of C{hosts}, and by which container (C{""}: this one)."""
    blocked = {}
    for address, holder in (*taken.items(), *((address, "") for address in mine)):
        if any(address.overlaps(LocalAddress(host.address, address.number, protocol)) for host in hosts):
            blocked[address.number] = holder
    return blocked


def target_of(bindings: Sequence[PortBinding]) -> Target | None:
    """
    Where a port that the daemon published can be reached from the remote host; IPv4 before IPv6.

    @param bindings: an entry of C{NetworkSettings.Ports}.
    @return: None if it is not published.
    """
    targets = []
    for binding in bindings:
        if not binding.host_port.isdigit() or binding.host_port == "0":
            continue
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(binding.host_ip, binding.host_ip)
        targets.append(Target(host, int(binding.host_port)))
    return min(targets, key=lambda target: ":" in target.host, default=None)


def plan_publish(actual: PortMap, opened: Mapping[Slot, Opened]) -> tuple[Action, ...]:
    """
    Leads what is open to the ports that the daemon reports, and closes what it does not report.

    @param actual: C{NetworkSettings.Ports}.
    """
    actions: list[Action] = []
    for slot in sorted(opened):
        target = target_of(actual.get(slot.port, ()))
        if target is None:
            actions.append(Close(slot))
        elif target != opened[slot].target:
            actions.append(Point(slot, target))
    return tuple(actions)
