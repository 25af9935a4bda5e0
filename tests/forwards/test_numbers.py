# -*- test-case-name: tests.forwards.test_numbers -*-
"""
Numbers that were chosen, on disk.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ContainerPort, PortBinding
from remotedocker.forwards._numbers import ChosenNumbers
from remotedocker.forwards._plan import Slot

__all__ = ["ChosenNumbersTests"]

FIRST = Slot(ContainerPort(80), PortBinding())
SECOND = Slot(ContainerPort(443), PortBinding("127.0.0.1", "8000-8010"), 1)


class ChosenNumbersTests(SynchronousTestCase):
    """In a directory of the test."""

    def setUp(self) -> None:
        """A directory that is not there yet."""
        self.directory = Path(self.mktemp())
        self.numbers = ChosenNumbers(self.directory)

    def test_empty(self) -> None:
        """Nothing is known at first, and asking writes nothing."""
        self.assertEqual(self.numbers.containers(), frozenset())
        self.assertEqual(self.numbers.of("one"), {})
        self.numbers.forget("one")
        self.numbers.remember("one", {})
        self.assertFalse(self.directory.exists())

    def test_kept(self) -> None:
        """What was remembered is known to the next agent in the same directory."""
        self.numbers.remember("one", {FIRST: 32768})
        self.numbers.remember("one", {SECOND: 8003})
        self.numbers.remember("two", {FIRST: 32769})
        again = ChosenNumbers(self.directory)
        self.assertEqual(again.of("one"), {FIRST: 32768, SECOND: 8003})
        self.assertEqual(again.containers(), {"one", "two"})
        self.assertEqual(again.of_others("one"), {32769})

    def test_forgotten(self) -> None:
        """What was forgotten is not known to the next agent."""
        self.numbers.remember("one", {FIRST: 32768})
        self.numbers.forget("one")
        self.assertEqual(ChosenNumbers(self.directory).containers(), frozenset())

    def test_no_news(self) -> None:
        """What is known already is not written again."""
        self.numbers.remember("one", {FIRST: 32768})
        (path,) = self.directory.iterdir()
        path.unlink()
        self.numbers.remember("one", {FIRST: 32768})
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_damaged(self) -> None:
        """A file that makes no sense is logged, and replaced at the next change."""
        self.numbers.remember("one", {FIRST: 32768})
        (path,) = self.directory.iterdir()
        entry = {
            "port": "http",
            "protocol": "tcp",
            "host_ip": "",
            "host_port": "",
            "occurrence": 0,
            "number": 1,
        }
        for content in (
            b"",
            b"{",
            b"\xff\xfe",
            b"[]",
            b"null",
            b'{"containers": []}',
            b'{"containers": {"one": 5}}',
            b'{"containers": {"one": [{}]}}',
            json.dumps({"containers": {"one": [entry]}}).encode(),
        ):
            path.write_bytes(content)
            damaged = ChosenNumbers(self.directory)
            with capturedLogs() as logged:
                self.assertEqual(damaged.containers(), frozenset(), content)
            self.assertEqual([event["log_level"] for event in logged], [LogLevel.warn])
            damaged.remember("two", {FIRST: 32769})
            self.assertEqual(ChosenNumbers(self.directory).of("two"), {FIRST: 32769})

    def test_cannot_be_written(self) -> None:
        """A directory that cannot be made is logged; the numbers are known to this agent."""
        self.directory.write_bytes(b"a file")
        with capturedLogs() as logged:
            self.numbers.remember("one", {FIRST: 32768})
        self.assertIn(LogLevel.warn, [event["log_level"] for event in logged])
        self.assertEqual(self.numbers.of("one"), {FIRST: 32768})
