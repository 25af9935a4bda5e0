"""
Tests for L{remotedocker.daemon._pong}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.daemon._pong import Pong, date_of
from remotedocker.http import Headers, RequestHead, ResponseHead, ResponseParser

ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Api-Version: 1.41\r\n"
    b"Builder-Version: 2\r\n"
    b"Content-Length: 0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"date: Mon, 23 Nov 2026 15:00:00 GMT\r\n"
    b"X-Unknown: kept\r\n"
    b"\r\n"
)


def parse(raw: bytes) -> ResponseHead:
    """The head of an answer to HEAD."""
    parser = ResponseParser()
    parser.expect(RequestHead(b"HEAD", b"/_ping", (1, 1), Headers(), b""))
    head = parser.feed(raw)[0]
    assert isinstance(head, ResponseHead)
    return head


class PongTests(SynchronousTestCase):
    """L{Pong}."""

    def setUp(self) -> None:
        """A clock at the start of the epoch."""
        self.clock = Clock()
        self.pong = Pong(self.clock)

    def test_none(self) -> None:
        """Before the first answer there is none."""
        self.assertIsNone(self.pong.head())

    def test_kept(self) -> None:
        """Every field is kept, with the date of now."""
        self.pong.keep(parse(ANSWER))
        self.clock.advance(86400)
        expected = ANSWER.replace(b"date: Mon, 23 Nov 2026 15:00:00 GMT\r\n", b"")
        self.assertEqual(self.pong.head(), expected[:-2] + b"Date: Fri, 02 Jan 1970 00:00:00 GMT\r\n\r\n")
        self.clock.advance(61)
        self.assertIn(b"Date: Fri, 02 Jan 1970 00:01:01 GMT\r\n", self.pong.head() or b"")

    def test_forgotten(self) -> None:
        """It can be forgotten."""
        self.pong.keep(parse(ANSWER))
        self.pong.forget()
        self.assertIsNone(self.pong.head())

    def test_no_pong(self) -> None:
        """An error is no pong, and ends the one before."""
        self.pong.keep(parse(ANSWER))
        self.pong.keep(parse(b"HTTP/1.1 404 Not Found\r\n\r\n"))
        self.assertIsNone(self.pong.head())


class DateTests(SynchronousTestCase):
    """L{date_of}."""

    def test_date(self) -> None:
        """The date is read as UTC, in seconds."""
        self.assertEqual(date_of(parse(ANSWER)), 1795446000)

    def test_no_date(self) -> None:
        """A date that is missing or means nothing is none."""
        for field in (b"", b"Date:\r\n", b"Date: yesterday\r\n", b"Date: Mon, 99 Nov 9999 15:00:00 GMT\r\n"):
            self.assertIsNone(date_of(parse(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n")), field)
