# -*- test-case-name: tests.proxy.test_answer -*-
"""
One answer on its way from the daemon to the client: passed as it comes, held, or collected and rewritten,
as the request's rewriter wants.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from remotedocker.http import Data, EndOfMessage, Event, RequestHead, ResponseHead, encode_response
from remotedocker.proxy._asked import Effect
from remotedocker.proxy._commands import (
    Answered,
    Command,
    Hold,
    Notify,
    OwnAnswer,
    Record,
    Rewritten,
    ToClient,
)
from remotedocker.proxy._errors import error_answer
from remotedocker.proxy._rewriting import BodyFilter, Rewriter

__all__ = ["ANSWER_LIMIT", "Answer"]

ANSWER_LIMIT = 64 * 1024 * 1024
"""An answer with a bigger body than this passes as it is."""


class Answer:
    """
    The answer to one request.

    @param new_token: gives the token for the next L{Hold}.
    @param limit: the most bytes of a body that are collected.
    @ivar head: the final head, once it came.
    @ivar started: something of the final answer went to the client, or an answer of ours.
    @ivar received_all: the daemon sent all of it; what is not passed on yet is kept here.
    @ivar complete: all of it went.
    @ivar ours: the client was given an answer of ours instead; the daemon's is dropped.
    """

    def __init__(
        self,
        request: RequestHead,
        rewriter: Rewriter,
        new_token: Callable[[], int],
        limit: int = ANSWER_LIMIT,
    ) -> None:
        self._request = request
        self._rewriter = rewriter
        self._new_token = new_token
        self._limit = limit
        self._parts: deque[Event] = deque()
        self._waits_for: int | None = None
        self._head_released = False
        self._body_released = False
        self._collected: list[Data] | None = None
        self._collected_size = 0
        self._filter: BodyFilter | None = None
        self._chunked = False
        self.head: ResponseHead | None = None
        self.started = False
        self.received_all = False
        self.complete = False
        self.ours = False

    @property
    def held(self) -> bool:
        """It waits for an effect."""
        return self._waits_for is not None

    def receive(self, part: Event) -> Iterator[Command]:
        """The daemon sent another part."""
        self._parts.append(part)
        self.received_all = self.received_all or isinstance(part, EndOfMessage)
        yield from self._drain()

    def waits_for(self, token: int) -> bool:
        """Whether that effect is what it waits for."""
        return self._waits_for == token

    def released(self) -> Iterator[Command]:
        """What it waited for has come."""
        self._waits_for = None
        yield from self._drain()

    def rejected(self, error: Exception) -> Iterator[Command]:
        """
        What it waited for has failed. Before the head went out, the client is told instead of the answer;
        after it, the answer goes on.
        """
        self._waits_for = None
        if not self.started:
            self.started = self.ours = True
            answer = error_answer(error, self._request, close=False)
            yield Record(OwnAnswer(answer))
            yield ToClient(answer)
        yield from self._drain()

    def _drain(self) -> Iterator[Command]:
        while self._parts and not self.held:
            part = self._parts.popleft()
            if isinstance(part, ResponseHead):
                yield from self._pass_head(part)
            elif isinstance(part, Data):
                yield from self._pass_data(part)
            elif isinstance(part, EndOfMessage):
                yield from self._pass_end(part)

    def _wait(self, part: Event, effect: Effect) -> Hold:
        """Puts C{part} back until C{effect} has come."""
        self._parts.appendleft(part)
        self._waits_for = self._new_token()
        return Hold(self._waits_for, effect)

    def _pass_head(self, head: ResponseHead) -> Iterator[Command]:
        if head.status < 200 and head.status != 101:
            yield Record(Answered(head))
            yield ToClient(head.raw)
            return
        self.head = head
        if not self._head_released:
            self._head_released = True
            effect = self._rewriter.before_answer(head)
            if effect is not None:
                yield self._wait(head, effect)
                return
        yield Record(Answered(head))
        if self.ours:
            return
        if self._rewriter.wants_answer(head):
            self._collected = []
        else:
            self.started = True
            if head.headers.get(b"content-length") is None:
                self._filter = self._rewriter.body_filter(head)
                self._chunked = head.headers.get(b"transfer-encoding") is not None
            yield ToClient(head.raw)

    def _pass_data(self, part: Data) -> Iterator[Command]:
        if self.ours:
            return
        if self._collected is not None:
            self._collected.append(part)
            self._collected_size += len(part.payload)
            if self._collected_size > self._limit:
                yield from self._uncollected()
            return
        if not self._body_released:
            assert self.head is not None
            self._body_released = True
            effect = self._rewriter.before_body(self.head)
            if effect is not None:
                yield self._wait(part, effect)
                return
        if self._filter is None:
            yield ToClient(part.raw)
        else:
            yield from self._filtered(self._filter.feed(part.payload))

    def _filtered(self, content: bytes) -> Iterator[Command]:
        """Content of a body that is changed as it passes, in a framing of its own."""
        if content:
            yield ToClient(b"%x\r\n%b\r\n" % (len(content), content) if self._chunked else content)

    def _uncollected(self) -> Iterator[Command]:
        """Passes what was collected, as it came."""
        collected, self._collected = self._collected, None
        assert self.head is not None and collected is not None
        self.started = True
        yield ToClient(self.head.raw)
        for part in collected:
            yield ToClient(part.raw)

    def _pass_end(self, part: EndOfMessage) -> Iterator[Command]:
        self.complete = True
        if self._collected is not None and not self.ours:
            yield from self._pass_collected(part)
        elif not self.ours:
            if self._filter is not None:
                yield from self._filtered(self._filter.rest())
            if part.raw:
                yield ToClient(part.raw)
        for effect in self._rewriter.learned():
            yield Notify(effect)

    def _pass_collected(self, end: EndOfMessage) -> Iterator[Command]:
        head, collected = self.head, self._collected
        assert head is not None and collected is not None
        before = b"".join(part.payload for part in collected)
        after = self._rewriter.answer(head, before)
        if after is before or after == before:
            yield from self._uncollected()
            if end.raw:
                yield ToClient(end.raw)
            return
        self.started = True
        yield Record(Rewritten(self._request, before, after, to_daemon=False))
        yield ToClient(
            encode_response(head.status, head.headers, after, reason=head.reason, version=head.version)
        )
