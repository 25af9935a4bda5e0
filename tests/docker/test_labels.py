# -*- test-case-name: tests.docker.test_labels -*-
"""
Tests for L{remotedocker.docker._labels}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import (
    AGENT_LABEL,
    BindMount,
    ContainerPort,
    CreateSpec,
    MountForm,
    OwnedContainer,
    PortBinding,
    decode_labels,
    encode_labels,
    is_own_label,
)
from remotedocker.docker._labels import LABELS, blank_labels

_SPEC = CreateSpec(
    image="busybox",
    mounts=(
        BindMount("/a", "/x"),
        BindMount("/b", "/y", form=MountForm.MOUNT),
        BindMount("/c", "/z", form=MountForm.VOLUME),
    ),
    ports={
        ContainerPort(80): (PortBinding("", "8080"), PortBinding("::1", "")),
        ContainerPort(81): (),
        ContainerPort(53, "udp"): (PortBinding("", "53"),),
    },
    exposed=(ContainerPort(80), ContainerPort(9)),
    publish_all=True,
    labels={"a": "b"},
    binds=("/a:/x", "v:/w", '"\xe9\u2028'),
)
_FORWARDED = (ContainerPort(80), ContainerPort(81), ContainerPort(9))


class LabelTests(SynchronousTestCase):
    """What labels carry."""

    def test_round_trip(self) -> None:
        """Everything that is needed to show a user what was typed comes back."""
        labels = encode_labels("a" * 16, "nonce", _SPEC, iter(_FORWARDED))
        self.assertEqual(
            decode_labels({"a": "b", **labels}),
            OwnedContainer(
                agent_id="a" * 16,
                nonce="nonce",
                ports={
                    ContainerPort(80): (PortBinding("", "8080"), PortBinding("::1", "")),
                    ContainerPort(81): (),
                },
                publish_all=True,
                binds=("/a:/x", "v:/w", '"\xe9\u2028'),
                mounts={"/y": "/b", "/z": "/c"},
                exposed=(ContainerPort(81),),
                forwarded=_FORWARDED,
            ),
        )

    def test_nothing_asked(self) -> None:
        """A container without ports and mounts is owned too, and its labels are short."""
        labels = encode_labels("id", "n", CreateSpec("x"), ())
        self.assertEqual(set(labels), set(LABELS))
        self.assertEqual(labels[AGENT_LABEL], "id")
        self.assertEqual(labels["io.remotedocker.request"], "{}")
        self.assertEqual(decode_labels(labels), OwnedContainer("id", "n"))

    def test_no_markup(self) -> None:
        """The labels are ASCII, whatever was typed."""
        self.assertTrue(all(value.isascii() for value in encode_labels("i", "n", _SPEC, _FORWARDED).values()))

    def test_not_ours(self) -> None:
        """Without our labels, or with those of an image made from a container of ours, nobody owns it."""
        for labels in ({}, {"a": "b"}, blank_labels(), {AGENT_LABEL: "id"}):
            self.assertIsNone(decode_labels(labels))

    def test_damaged(self) -> None:
        """Labels that are not as they were written are none."""
        good = encode_labels("id", "n", _SPEC, _FORWARDED)
        for key in LABELS:
            self.assertIsNone(decode_labels({each: value for each, value in good.items() if each != key}))
        for request in (
            "",
            "{",
            "[]",
            "null",
            "[" * 100_000,
            '{"ports":[]}',
            '{"ports":{"x":[]}}',
            '{"ports":{"80/tcp":7}}',
            '{"ports":{"80/tcp":[["",8080]]}}',
            '{"ports":{"80/tcp":[[""]]}}',
            '{"forwarded":"80/tcp"}',
            '{"forwarded":["eighty"]}',
            '{"exposed":[80]}',
            '{"binds":"/a:/b"}',
            '{"binds":[null]}',
            '{"mounts":[]}',
            '{"mounts":{"/x":null}}',
        ):
            self.assertIsNone(decode_labels({**good, "io.remotedocker.request": request}), request)

    @given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x), max_leaves=5))
    def test_any_damage(self, value: object) -> None:
        """Whatever stands in the label, nothing is raised."""
        keys = ("ports", "forwarded", "exposed", "binds", "mounts", "publish_all")
        for document in (value, *({key: value} for key in keys)):
            decode_labels(
                {**encode_labels("i", "n", _SPEC, ()), "io.remotedocker.request": json.dumps(document)}
            )

    def test_is_own_label(self) -> None:
        """Ours are those with our prefix."""
        for key in LABELS:
            self.assertTrue(is_own_label(key))
        for key in ("", "io.remotedocker", "io.remotedockers.x", "com.docker.compose.project"):
            self.assertFalse(is_own_label(key))
