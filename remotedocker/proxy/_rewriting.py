# -*- test-case-name: tests.proxy.test_rewriters -*-
"""
What can be done about a request and its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import define, frozen

from remotedocker.docker import AnswerView, Route, translate_error
from remotedocker.http import RequestHead, ResponseHead
from remotedocker.proxy._asked import Effect

__all__ = ["BodyFilter", "Forward", "Reply", "Rewriter", "TranslatedErrors"]


@frozen
class Forward:
    """
    What the daemon gets.

    @ivar body: None: as it came.
    @ivar target: None: as it came.
    """

    body: bytes | None = None
    target: bytes | None = None


@frozen
class Reply:
    """The client gets this whole answer, the daemon nothing."""

    data: bytes


class BodyFilter(Protocol):
    """Changes the body of an answer as it passes."""

    def feed(self, data: bytes) -> bytes:
        """
        @param data: a piece of the body, cut anywhere.
        @return: what is passed on now.
        """

    def rest(self) -> bytes:
        """The body is complete: what was kept of it."""


@define(eq=False)
class Rewriter:
    """
    One request and its answer; this one passes everything.

    The exchange asks it, in this order, where the questions apply:

     1. L{Rewriter.ask}, if it C{collects}: what has to be known before the request goes on;
     2. L{Rewriter.forward}: what goes on, or the whole answer;
     3. L{Rewriter.before_answer}: what the answer's head waits for;
     4. L{Rewriter.wants_answer}, then L{Rewriter.answer}: the new body of the answer;
     5. L{Rewriter.before_body}: what the first byte of a body that is passed waits for, and
        L{Rewriter.body_filter}: what it passes through;
     6. L{Rewriter.before_end}: what the end of a hijacked stream waits for, and L{Rewriter.cut_off}: what is
        told when it breaks instead;
     7. L{Rewriter.failed}, instead of the rest, if no answer comes.

    @cvar collects: the request is read whole before anything of it goes on.
    """

    head: RequestHead
    route: Route
    view: AnswerView

    collects = False

    @property
    def reference(self) -> str:
        """The container, exec or volume in the path."""
        return self.route.reference or ""

    def ask(self, body: bytes) -> Effect | None:
        """
        The request is complete.

        @raise RemoteDockerError: answered instead.
        """
        return None

    def forward(self, value: object) -> Forward | Reply:
        """
        @param value: what the effect came to.
        """
        return Forward()

    def before_answer(self, head: ResponseHead) -> Effect | None:
        """What the head of the (final) answer waits for."""
        return None

    def before_body(self, head: ResponseHead) -> Effect | None:
        """What the first byte of the body waits for."""
        return None

    def body_filter(self, head: ResponseHead) -> BodyFilter | None:
        """What an answer's body, of no declared length, is passed through; None: it passes as it comes."""
        return None

    def wants_answer(self, head: ResponseHead) -> bool:
        """Whether L{answer} is to see the answer's body."""
        return False

    def answer(self, head: ResponseHead, body: bytes) -> bytes:
        """@return: the new body; the same object: nothing is changed."""
        return body

    def learned(self) -> Sequence[Effect]:
        """What others are told after L{answer}."""
        return ()

    def before_end(self) -> Effect | None:
        """What the client's end of file waits for, after a hijack."""
        return None

    def cut_off(self) -> Effect | None:
        """What is told when a hijacked stream breaks at the daemon's side, before its end of file."""
        return None

    def failed(self) -> Sequence[Effect]:
        """The request was forwarded, and no answer came; or the client went before it was."""
        return ()


class TranslatedErrors(Rewriter):
    """Remote paths in the daemon's error messages become the laptop's."""

    def wants_answer(self, head: ResponseHead) -> bool:
        """Errors only."""
        return head.status >= 400

    def answer(self, head: ResponseHead, body: bytes) -> bytes:
        """Errors are translated."""
        if head.status >= 400:
            return translate_error(body, self.view.laptop_path)
        return self.success(head, body)

    def success(self, head: ResponseHead, body: bytes) -> bytes:
        """What becomes of an answer that is no error, if it was wanted."""
        return body
