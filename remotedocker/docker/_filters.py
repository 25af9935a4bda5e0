# -*- test-case-name: tests.docker.test_filters -*-
"""
The filters of lists that ask for what only we know: published ports as the user sees
them, laptop paths, and labels without ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import frozen

from remotedocker.docker._json import JSONObject, JSONValue, Number, read_object, write
from remotedocker.docker._labels import is_own_label
from remotedocker.errors import BadRequest

__all__ = ["ListFilter", "split_filters", "split_label_filter"]

_Part = TypeVar("_Part")

Predicate = Callable[[JSONObject], bool]

_Made = tuple[Mapping[str, list[str]], Predicate | None]
"""The filters that are left to the daemon, and what is applied here."""

_Row = tuple[tuple[str, ...], Callable[[Mapping[str, list[str]]], _Made]]
"""Filters by name, and what is made of them."""


@frozen
class ListFilter:
    """
    What of a translated list of containers a user asked for.

    @ivar predicates: all of them must hold for an entry.
    @ivar limit: at most so many entries are kept; None: all.
    """

    predicates: tuple[Predicate, ...] = ()
    limit: int | None = None

    def __call__(self, entry: JSONValue) -> bool:
        """Whether C{entry}, translated, was asked for."""
        return isinstance(entry, JSONObject) and all(predicate(entry) for predicate in self.predicates)

    def apply(self, parts: list[tuple[JSONValue, _Part]]) -> list[tuple[JSONValue, _Part]]:
        """Those of C{parts} whose first member was asked for."""
        return [part for part in parts if self(part[0])][: self.limit]


def split_filters(
    query: Mapping[str, tuple[str, ...]],
) -> tuple[Mapping[str, tuple[str, ...]], ListFilter | None]:
    """
    Takes those filters out of a query of C{GET /containers/json} that the daemon would apply to what is not
    shown to the user.

    @return: the query for the daemon, and what is left to do to its (translated) answer; None: nothing, and
        the query is the same object. Filters that are not well-formed are left for the daemon to refuse.
    """
    return _split(query, _FILTERS)


def split_label_filter(
    query: Mapping[str, tuple[str, ...]],
) -> tuple[Mapping[str, tuple[str, ...]], ListFilter | None]:
    """
    As L{split_filters}, of C{GET /images/json} and C{GET /services}: labels alone.
    """
    return _split(query, _FILTERS[-1:])


def _split(
    query: Mapping[str, tuple[str, ...]], table: tuple[_Row, ...]
) -> tuple[Mapping[str, tuple[str, ...]], ListFilter | None]:
    given = query.get("filters", ())[:1]
    filters = _read_filters(given[0]) if given else None
    if filters is None:
        return query, None
    predicates: list[Predicate] = []
    kept = dict(filters)
    try:
        for names, predicate in table:
            ours = {name: kept.pop(name) for name in names if name in kept}
            theirs, made = predicate(ours)
            kept.update(theirs)
            if made is not None:
                predicates.append(made)
    except ValueError:
        return query, None
    if not predicates:
        return query, None
    changed = dict(query)
    limit = _limit(query)
    if limit is not None:
        # The daemon would count entries that are then left out; with a limit it shows stopped ones too.
        changed.pop("limit")
        changed["all"] = ("1",)
    changed.pop("filters")
    if kept:
        document = JSONObject(
            [(name, JSONObject([(value, True) for value in values])) for name, values in kept.items()]
        )
        changed["filters"] = (write(document).decode("utf-8"),)
    return changed, ListFilter(tuple(predicates), limit)


def _limit(query: Mapping[str, tuple[str, ...]]) -> int | None:
    given = query.get("limit", ("",))[0]
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else None


def _read_filters(text: str) -> dict[str, list[str]] | None:
    """A C{filters} parameter: lists of values (before API 1.22), or objects with the values as keys."""
    try:
        document = read_object(text.encode("utf-8", "surrogateescape"))
    except BadRequest:
        return None
    filters: dict[str, list[str]] = {}
    for name, values in document.entries().items():
        if isinstance(values, JSONObject):
            filters[name] = list(values.entries())
        elif isinstance(values, list):
            filters[name] = [value for value in values if isinstance(value, str)]
        else:
            return None
    return filters


_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")


def _port_set(values: list[str]) -> frozenset[tuple[str, str]]:
    """
    @param values: each C{80}, C{80/udp} or C{80-90/tcp}.
    @return: numbers and protocols.
    """
    ports: set[tuple[str, str]] = set()
    for value in values:
        match = _PORTS.fullmatch(value)
        if match is None:
            raise ValueError(value)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < 65536:
            raise ValueError(value)
        ports.update((str(number), match[3] or "tcp") for number in range(first, last + 1))
    return frozenset(ports)


def _by_port(filters: Mapping[str, list[str]]) -> _Made:
    """C{publish} and C{expose}; as in the daemon, one matching port of either is enough."""
    if not filters:
        return {}, None
    published, exposed = (_port_set(filters.get(name, [])) for name in ("publish", "expose"))

    def matches(entry: JSONObject) -> bool:
        return any(
            _entry_key(port, "PublicPort") in published or _entry_key(port, "PrivatePort") in exposed
            for port in entry.children("Ports")
        )

    return {}, matches


def _entry_key(port: JSONObject, field: str) -> tuple[str, str]:
    number = port.field(field)
    return (number.text if isinstance(number, Number) else "0", port.text("Type"))


def _by_volume(filters: Mapping[str, list[str]]) -> _Made:
    """C{volume}: a mount's name, or its source if it has none, or its destination."""
    wanted = frozenset(filters.get("volume", ()))
    if not wanted:
        return filters, None

    def matches(entry: JSONObject) -> bool:
        return any(
            (mount.text("Name") or mount.text("Source")) in wanted or mount.text("Destination") in wanted
            for mount in entry.children("Mounts")
        )

    return {}, matches


def _by_own_label(filters: Mapping[str, list[str]]) -> _Made:
    """C{label} with one of our labels: matches where the user can see it."""
    values = filters.get("label", [])
    ours = [value for value in values if is_own_label(value)]
    if not ours:
        return filters, None
    theirs = [value for value in values if not is_own_label(value)]

    def matches(entry: JSONObject) -> bool:
        owner = entry if entry.field("Spec") is None else entry.child("Spec")
        shown = owner.child("Labels").entries()
        return all(
            key in shown and (not equals or shown[key] == value)
            for key, equals, value in (each.partition("=") for each in ours)
        )

    return ({"label": theirs} if theirs else {}), matches


_FILTERS: tuple[_Row, ...] = (
    (("publish", "expose"), _by_port),
    (("volume",), _by_volume),
    (("label",), _by_own_label),
)
"""Which filters are looked at together, and what is made of them."""
