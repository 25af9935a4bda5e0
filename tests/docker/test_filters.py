# -*- test-case-name: tests.docker.test_filters -*-
"""
Tests for L{remotedocker.docker._filters}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ListFilter, split_filters, split_label_filter
from remotedocker.docker._json import JSONValue, read

_ENTRIES = (
    {
        "Id": "web",
        "Ports": [
            {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 81, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"},
        ],
        "Labels": {"a": "b"},
        "Mounts": [{"Type": "bind", "Source": "/home/me/site", "Destination": "/www"}],
    },
    {
        "Id": "db",
        "Ports": [],
        "Labels": {"io.remotedocker.agent": "other", "a": "c"},
        "Mounts": [{"Type": "volume", "Name": "data", "Source": "/var/lib/docker/x", "Destination": "/db"}],
    },
    {"Id": "bare", "Ports": None, "Labels": None},
)

_KEPT: tuple[tuple[Any, tuple[str, ...]], ...] = (
    ({"publish": ["8080"]}, ("web",)),
    ({"publish": {"8080": True}}, ("web",)),
    ({"publish": {"8080": False}}, ("web",)),
    ({"publish": ["8080/tcp"]}, ("web",)),
    ({"publish": ["8080/udp"]}, ()),
    ({"publish": ["5000-6000/udp"]}, ("web",)),
    ({"publish": ["80"]}, ()),
    ({"publish": ["0"]}, ("web",)),
    ({"publish": ["1", "8080"]}, ("web",)),
    ({"publish": []}, ()),
    ({"expose": ["80"]}, ("web",)),
    ({"expose": ["8080"]}, ()),
    ({"publish": ["1"], "expose": ["81"]}, ("web",)),
    ({"volume": ["/home/me/site"]}, ("web",)),
    ({"volume": ["/www", "nope"]}, ("web",)),
    ({"volume": ["data"]}, ("db",)),
    ({"volume": ["/var/lib/docker/x"]}, ()),
    ({"volume": ["/db"], "publish": ["8080"]}, ()),
    ({"label": ["io.remotedocker.agent"]}, ("db",)),
    ({"label": ["io.remotedocker.agent=other"]}, ("db",)),
    ({"label": ["io.remotedocker.agent=mine"]}, ()),
    ({"label": ["io.remotedocker.agent="]}, ()),
    ({"label": ["io.remotedocker.nonce"]}, ()),
)
"""Filters, and the ids of the entries that they keep."""

_LEFT: tuple[str, ...] = (
    "{}",
    '{"label":["a=b"],"status":{"running":true}}',
    '{"volume":[]}',
    '{"publish":["x"]}',
    '{"publish":["80:80"]}',
    '{"publish":["9-8"]}',
    '{"publish":["65536"]}',
    '{"publish":["80/TCP"]}',
    '{"publish":["8080"],"expose":["x"]}',
    '{"publish":"8080"}',
    '{"publish":null}',
    "[]",
    "{",
    "",
    "\udcff",
)
"""Filters that the daemon gets as they came: none of our business, or not well-formed."""


def query(filters: str, **others: str) -> Mapping[str, tuple[str, ...]]:
    """A query with these filters."""
    return {"filters": (filters,), **{key: (value,) for key, value in others.items()}}


def kept(only: ListFilter) -> list[str]:
    """The ids of the entries that a filter keeps."""
    parts: list[tuple[JSONValue, str]] = [
        (read(json.dumps(each).encode()), str(each["Id"])) for each in _ENTRIES
    ]
    return [container_id for _, container_id in only.apply(parts)]


class SplitFiltersTests(SynchronousTestCase):
    """What the daemon filters, and what is filtered here."""

    def test_kept(self) -> None:
        """The filters that we take mean what they mean to the daemon."""
        for filters, expected in _KEPT:
            theirs, only = split_filters(query(json.dumps(filters)))
            assert only is not None
            self.assertEqual(theirs, {})
            self.assertEqual(kept(only), list(expected), filters)

    def test_left_to_the_daemon(self) -> None:
        """Everything else is not touched."""
        for filters in _LEFT:
            asked = query(filters, all="1")
            theirs, only = split_filters(asked)
            self.assertIs(theirs, asked, filters)
            self.assertIsNone(only)
        for asked in ({}, {"all": ("1",)}, {"filters": ()}):
            self.assertIs(split_filters(asked)[0], asked)

    def test_both(self) -> None:
        """What is not ours goes on to the daemon, and the other parameters do."""
        filters = {
            "status": {"running": True},
            "publish": ["8080"],
            "label": ["a=b", "io.remotedocker.agent", 7],
        }
        theirs, only = split_filters(query(json.dumps(filters), size="1"))
        self.assertIsNotNone(only)
        self.assertEqual(theirs["size"], ("1",))
        self.assertEqual(
            json.loads(theirs["filters"][0]), {"status": {"running": True}, "label": {"a=b": True}}
        )

    def test_limit(self) -> None:
        """A limit counts what is left after our filters; as in the daemon it includes stopped containers."""
        theirs, only = split_filters(query('{"expose":["80"]}', limit="5"))
        assert only is not None
        self.assertEqual((theirs, only.limit), ({"all": ("1",)}, 5))
        for limit in ("0", "-1", "x", "\u0661", ""):
            theirs, only = split_filters(query('{"expose":["80"]}', limit=limit))
            assert only is not None
            self.assertEqual((theirs, only.limit), ({"limit": (limit,)}, None))
        self.assertEqual(kept(ListFilter(limit=2)), ["web", "db"])

    def test_no_object(self) -> None:
        """What is no container matches nothing."""
        self.assertFalse(ListFilter()(None))
        self.assertTrue(ListFilter()(read(b"{}")))

    def test_labels_alone(self) -> None:
        """Of images and services, labels of ours are taken out and nothing else."""
        query = {"filters": ('{"label":["io.remotedocker.agent"],"publish":["80"]}',)}
        theirs, only = split_label_filter(query)
        self.assertEqual(json.loads(theirs["filters"][0]), {"publish": {"80": True}})
        assert only is not None
        for labels, kept in (({"io.remotedocker.agent": "other"}, True), ({"a": "b"}, False)):
            for document in ({"Labels": labels}, {"Spec": {"Labels": labels}}):
                self.assertEqual(only(read(json.dumps(document).encode())), kept, document)
        query = {"filters": ('{"label":["a=b"],"publish":["80"]}',)}
        self.assertEqual(split_label_filter(query), (query, None))
