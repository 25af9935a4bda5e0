# -*- test-case-name: tests.docker.test_eventstream -*-
"""
Tests for L{remotedocker.docker._eventstream}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ContainerEvent, EventStream


def event(action: str = "start", kind: str = "container", **attributes: str) -> bytes:
    """One event as dockerd 20.10 writes it."""
    return (
        b'{"status":"%(action)s","id":"e6ea","from":"busybox","Type":"%(kind)s","Action":"%(action)s",'
        b'"Actor":{"ID":"e6ea","Attributes":%(attributes)s},"scope":"local","time":1795438260,'
        b'"timeNano":1795438260336193527}'
    ) % {
        b"action": action.encode(),
        b"kind": kind.encode(),
        b"attributes": json.dumps(attributes).encode(),
    }


STREAM = (
    event("create", name='wire "a" {}', image="b\\u\\", note="\u2028\xe9")
    + b"\n"
    + event("connect", "network", container="e6ea")
    + b"\n\n\r\n"
    + event("create", "volume", driver="local")
    + event("mount", "volume", driver="local")
    + event("destroy", "volume", driver="local")
    + event("start", empty="")
    + event("health_status: healthy")
    + b"\x1e"
    + event("exec_create: sh -c a: b")
    + b'\n\x1e{"Type":"container","Action":"cut in a str\x1e'
    + event("die", exitCode="137")
)
EXPECTED = [
    ContainerEvent(action, "e6ea", attributes, 1795438260336193527, detail)
    for action, attributes, detail in (
        ("create", {"name": 'wire "a" {}', "image": "b\\u\\", "note": "\u2028\xe9"}, ""),
        ("network connect", {"container": "e6ea"}, ""),
        ("volume create", {"driver": "local"}, ""),
        ("volume destroy", {"driver": "local"}, ""),
        ("start", {"empty": ""}, ""),
        ("health_status", {}, "healthy"),
        ("exec_create", {}, "sh -c a: b"),
        ("die", {"exitCode": "137"}, ""),
    )
]


class EventStreamTests(SynchronousTestCase):
    """From bytes to events."""

    def test_at_once(self) -> None:
        """Newlines, record separators or nothing between the objects, events of ours come out in order."""
        self.assertEqual(EventStream().feed(STREAM), EXPECTED)

    def test_split_anywhere(self) -> None:
        """Wherever the stream is cut, the same events come out."""
        for index in range(len(STREAM) + 1):
            stream = EventStream()
            self.assertEqual(stream.feed(STREAM[:index]) + stream.feed(STREAM[index:]), EXPECTED)

    def test_byte_by_byte(self) -> None:
        """An event comes out with its last byte."""
        stream = EventStream()
        found = [stream.feed(STREAM[index : index + 1]) for index in range(len(STREAM))]
        self.assertEqual(sum(found, []), EXPECTED)
        self.assertEqual(found[-1], EXPECTED[-1:])

    @given(st.lists(st.binary(max_size=20)), st.data())
    def test_garbage(self, garbage: list[bytes], data: st.DataObject) -> None:
        """Whatever arrives, nothing is raised; after a record separator the next event is found."""
        stream = EventStream()
        for part in garbage:
            stream.feed(part)
        cut = data.draw(st.integers(0, 100))
        last = b"\x1e" + event("die")
        self.assertEqual(
            [each.action for each in stream.feed(last[:cut]) + stream.feed(last[cut:])][-1:], ["die"]
        )

    def test_newer_daemon(self) -> None:
        """Without the old members (gone in API 1.52), and with unknown ones, an event is understood."""
        self.assertEqual(
            EventStream().feed(b'{"New":[{}],"Type":"container","Action":"stop","Actor":{"ID":"x"}}'),
            [ContainerEvent("stop", "x")],
        )

    def test_passed_over(self) -> None:
        """What is no event of a container, or damaged, is passed over."""
        for text in (
            b"{}",
            b'{"Type":"container"}',
            b'{"Type":"container","Action":7,"Actor":{"ID":"x"}}',
            b'{"Type":"container","Action":"a","Actor":null}',
            b'{"Type":"container","Action":"a","Actor":{"ID":"x","Attributes":[1]}}',
            b'{"Type":"container","Action":"a","Actor":{"ID":"x"},"timeNano":"soon"}',
            b'{"Type":"network","Action":"create","Actor":{"ID":"x","Attributes":{"container":"y"}}}',
            b'{"Type":"network","Action":"connect","Actor":{"ID":"x"}}',
            b'{"message":"\xff"}',
            b"{not json}",
            b"[1] 3 null } ] ",
        ):
            stream = EventStream()
            self.assertEqual(stream.feed(text), [], text)
            self.assertEqual(len(stream.feed(event())), 1, text)

    def test_services(self) -> None:
        """Events of a swarm's services are told apart from those of containers."""
        (made,) = EventStream().feed(event("update", "service", name="web"))
        self.assertEqual((made.action, made.container_id), ("service update", "e6ea"))

    def test_too_long(self) -> None:
        """An object over the limit is passed over and not kept; the next one is found."""
        stream = EventStream(limit=300)
        for _ in range(20):
            self.assertEqual(stream.feed(b'{"a":{"x"' + b":{}" * 40), [])
        self.assertLess(len(stream._objects._held), 302)
        self.assertEqual(stream.feed(b"}}" * 50), [])
        self.assertEqual(len(stream.feed(event())), 1)

    def test_limit_is_per_object(self) -> None:
        """Many small objects in a row are no long one."""
        stream = EventStream(limit=400)
        self.assertEqual(len(stream.feed(event() * 20)), 20)
