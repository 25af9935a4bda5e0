# -*- test-case-name: tests.proxy.test_answer -*-
"""
Tests for L{remotedocker.proxy._answer}: an answer that is held, collected, or replaced.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import route
from remotedocker.errors import BadRequest
from remotedocker.http import Event, RequestHead, RequestParser, ResponseHead, ResponseParser
from remotedocker.proxy._answer import Answer
from remotedocker.proxy._asked import Collect, Effect, Started
from remotedocker.proxy._commands import Command, Hold, Record, ToClient
from remotedocker.proxy._rewriting import Rewriter
from tests.fakes.containers import FakeContainers
from tests.proxy.support import answer, chunked, error, request


class _Rewriter(Rewriter):
    """Does what a test says."""

    head_waits: Effect | None = None
    body_waits: Effect | None = None
    collected = False

    def before_answer(self, head: ResponseHead) -> Effect | None:
        return self.head_waits

    def before_body(self, head: ResponseHead) -> Effect | None:
        return self.body_waits

    def wants_answer(self, head: ResponseHead) -> bool:
        return self.collected

    def answer(self, head: ResponseHead, body: bytes) -> bytes:
        return body.upper()


class AnswerTests(SynchronousTestCase):
    """One answer."""

    def setUp(self) -> None:
        """The request was C{GET /x}."""
        self.parser = ResponseParser()
        (head, *_) = RequestParser().feed(request("GET /x"))
        assert isinstance(head, RequestHead)
        self.parser.expect(head)
        self.rewriter = _Rewriter(head, route(head.method, head.target), FakeContainers())
        self.answer = Answer(head, self.rewriter, lambda: 5, limit=100)

    def feed(self, data: bytes) -> list[Command]:
        """@return: what the daemon's bytes lead to, without records."""
        return self.commands(self.parser.feed(data))

    def commands(self, parts: list[Event]) -> list[Command]:
        """@return: what the parts lead to."""
        made = [command for part in parts for command in self.answer.receive(part)]
        return [command for command in made if not isinstance(command, Record)]

    def sent(self, commands: list[Command]) -> bytes:
        """@return: what the client is sent."""
        return b"".join(command.data for command in commands if isinstance(command, ToClient))

    def test_passes(self) -> None:
        """An answer that nothing is to be done about passes as it is."""
        whole = chunked(b"abc", b"de")
        self.assertEqual(self.sent(self.feed(whole)), whole)
        self.assertTrue(self.answer.complete and self.answer.started and self.answer.received_all)

    def test_headHeld(self) -> None:
        """While the head waits, nothing passes; after it everything does, in order."""
        self.rewriter.head_waits = Collect("x")
        whole = answer("200 OK", b"abc")
        self.assertEqual(self.feed(whole), [Hold(5, Collect("x"))])
        self.assertTrue(self.answer.held and self.answer.received_all)
        self.assertFalse(self.answer.started or self.answer.complete)
        self.assertTrue(self.answer.waits_for(5))
        self.assertFalse(self.answer.waits_for(4))
        self.assertEqual(self.sent(list(self.answer.released())), whole)
        self.assertTrue(self.answer.complete)

    def test_bothHeld(self) -> None:
        """Head and body can wait one after the other."""
        self.rewriter.head_waits = Started("x", True)
        self.rewriter.body_waits = Collect("x")
        whole = answer("200 OK", b"abc")
        self.assertEqual(self.feed(whole), [Hold(5, Started("x", True))])
        commands = [command for command in self.answer.released() if not isinstance(command, Record)]
        self.assertEqual(commands, [ToClient(whole[:-3]), Hold(5, Collect("x"))])
        self.assertEqual(self.sent(list(self.answer.released())), b"abc")

    def test_interimIsNotHeld(self) -> None:
        """An interim answer passes, and the final one waits all the same."""
        self.rewriter.head_waits = Collect("x")
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        self.assertEqual(self.feed(interim + answer("200 OK")), [ToClient(interim), Hold(5, Collect("x"))])

    def test_rejectedHead(self) -> None:
        """
        If what the head waits for fails, the client gets that instead, and the daemon's answer is dropped.
        """
        self.rewriter.head_waits = Collect("x")
        whole = chunked(b"abc", b"def")
        self.feed(whole[:-10])
        told = self.sent(list(self.answer.rejected(BadRequest(reason="no"))))
        self.assertEqual(told, error("400 Bad Request", "no"))
        self.assertTrue(self.answer.ours and self.answer.started)
        self.assertEqual(self.sent(self.feed(whole[-10:])), b"")
        self.assertTrue(self.answer.complete)

    def test_rejectedCollected(self) -> None:
        """The same for an answer that would have been rewritten."""
        self.rewriter.head_waits = Collect("x")
        self.rewriter.collected = True
        self.feed(answer("200 OK", b"abc"))
        told = self.sent(list(self.answer.rejected(BadRequest(reason="no"))))
        self.assertEqual(told, error("400 Bad Request", "no"))

    def test_rejectedBody(self) -> None:
        """If what the body waits for fails, it passes: its head is out."""
        self.rewriter.body_waits = Collect("x")
        whole = answer("200 OK", b"abc")
        self.assertEqual(self.sent(self.feed(whole)), whole[:-3])
        self.assertEqual(self.sent(list(self.answer.rejected(BadRequest(reason="no")))), b"abc")

    def test_rewritten(self) -> None:
        """A collected answer goes out whole, with its new length."""
        self.rewriter.collected = True
        self.assertEqual(self.feed(chunked(b"abc", b"de")[:-5]), [])
        self.assertFalse(self.answer.started)
        self.assertEqual(self.sent(self.feed(b"0\r\n\r\n")), answer("200 OK", b"ABCDE"))

    def test_unchanged(self) -> None:
        """One that comes out the same passes as it came."""
        self.rewriter.collected = True
        whole = chunked(b"ABC", b"DE")
        self.assertEqual(self.sent(self.feed(whole)), whole)

    def test_overTheLimit(self) -> None:
        """One that is too big passes as it came, from the moment that this shows."""
        self.rewriter.collected = True
        whole = chunked(b"a" * 60, b"b" * 60, b"c")
        first = self.sent(self.feed(whole[:150]))
        self.assertEqual(first, b"")
        second = self.sent(self.feed(whole[150:-8]))
        self.assertEqual(second + self.sent(self.feed(whole[-8:])), whole)
        self.assertTrue(second)

    def test_untilClose(self) -> None:
        """One that the end of the connection ends is given a length."""
        self.rewriter.collected = True
        self.feed(answer("200 OK", b"abc", length=False))
        self.assertEqual(self.sent(self.commands(self.parser.feed_eof())), answer("200 OK", b"ABC"))
