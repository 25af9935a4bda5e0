# -*- test-case-name: tests.docker.test_eventlabels -*-
"""
Tests for L{remotedocker.docker._eventlabels}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ContainerPort, CreateSpec, EventLabels, PortBinding, encode_labels
from remotedocker.docker._objectstream import ObjectStream
from tests.docker.test_answers import View
from tests.docker.test_eventstream import event

LABELS = encode_labels(
    "ab12", "nonce", CreateSpec("busybox", ports={ContainerPort(80): (PortBinding("", "8080"),)}), ()
)
FOREIGN = {**LABELS, "io.remotedocker.agent": "somebody else"}
BLANK = dict.fromkeys(LABELS, "")
STREAM = (
    event("create", name="web", **LABELS, color="blue {")
    + b"\n"
    + event("start", name="other", **FOREIGN)
    + b"\n\x1e"
    + event("tag", "image", name="made", **BLANK)
    + b"\n"
    + event("connect", "network", container="e6ea")
    + b'\n\x1e{"cut in a str\x1e'
    + event("die", **LABELS)
    + b"\n"
)
SHOWN = (
    event("create", name="web", color="blue {").replace(b'": "', b'":"').replace(b'", "', b'","')
    + b"\n"
    + event("start", name="other", **FOREIGN)
    + b"\n\x1e"
    + event("tag", "image", name="made").replace(b'": "', b'":"')
    + b"\n"
    + event("connect", "network", container="e6ea")
    + b'\n\x1e{"cut in a str\x1e'
    + event("die")
    + b"\n"
)


class EventLabelsTests(SynchronousTestCase):
    """L{EventLabels}."""

    def setUp(self) -> None:
        """The stream of an agent's client."""
        self.labels = EventLabels(View().owned)

    def test_hidden(self) -> None:
        """Our labels are gone from containers of this agent and from images; all else is as it came."""
        self.assertEqual(self.labels.feed(STREAM), SHOWN)

    @given(st.lists(st.integers(0, len(STREAM))))
    def test_cut_anywhere(self, cuts: list[int]) -> None:
        """However the stream is cut, the same comes out."""
        places = [0, *sorted(cuts), len(STREAM)]
        pieces = [STREAM[start:end] for start, end in zip(places, places[1:], strict=False)]
        labels = EventLabels(View().owned)
        self.assertEqual(b"".join(map(labels.feed, pieces)) + labels.rest(), SHOWN)

    def test_at_once(self) -> None:
        """An event is passed when its last byte has come, not before and not later."""
        one = event("start", name="web")
        self.assertEqual(self.labels.feed(one[:-1]), b"")
        self.assertEqual(self.labels.feed(one[-1:]), one)
        self.assertEqual(self.labels.feed(b"\n"), b"\n")

    def test_rest(self) -> None:
        """Of a stream that ends within an event nothing is lost."""
        self.assertEqual(self.labels.feed(b'\n{"Type":'), b"\n")
        self.assertEqual(self.labels.rest(), b'{"Type":')

    def test_no_event(self) -> None:
        """What is no event as the daemon writes it passes, whatever it names."""
        for text in (b'{"io.remotedocker.agent" 1}', b'{"Type":"container","Actor":"io.remotedocker.agent"}'):
            self.assertEqual(self.labels.feed(text), text)

    def test_too_long(self) -> None:
        """An object that is too long passes as it comes, and the next one is found."""
        labels = EventLabels(View().owned, ObjectStream(limit=300))
        long = event("create", name="web", note="x" * 300, **LABELS)
        self.assertEqual(labels.feed(long[:299]), b"")
        self.assertEqual(labels.feed(long[299:310]), long[:310])
        self.assertEqual(labels.feed(long[310:] + event("die")), long[310:] + event("die"))
