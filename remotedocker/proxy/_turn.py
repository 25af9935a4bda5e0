# -*- test-case-name: tests.proxy.test_exchange -*-
"""
What the exchanges of a listener have in common, and what is remembered of a connection and of one request.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from attrs import define, field, frozen

from remotedocker.docker import AnswerView, Route
from remotedocker.errors import NotHTTP, RemoteDockerError
from remotedocker.http import (
    RequestHead,
    encode_request,
    expects_continue,
    keeps_alive,
    wants_upgrade,
)
from remotedocker.proxy._answer import ANSWER_LIMIT, Answer
from remotedocker.proxy._commands import Rewritten
from remotedocker.proxy._rewriting import Forward, Rewriter

__all__ = ["Phase", "Rules", "Turn"]


def _accept_all(head: RequestHead) -> RemoteDockerError | None:
    return None


@frozen
class Rules:
    """
    What the exchanges of one listener have in common.

    @ivar view: for the translation of answers.
    @ivar daemon_lost: makes the error for an answer that did not come, from the reason.
    @ivar check: why a request is refused, or None.
    @ivar http_only: what is no HTTP is refused with this error; None: relayed.
    @ivar answer_limit: see L{Answer}.
    """

    view: AnswerView
    daemon_lost: Callable[[str], RemoteDockerError]
    check: Callable[[RequestHead], RemoteDockerError | None] = _accept_all
    http_only: NotHTTP | None = None
    answer_limit: int = ANSWER_LIMIT


class Phase(Enum):
    """
    Where the connection is::

        SNIFFING -> IDLE (the first bytes are HTTP) or RAW (they are not)
        IDLE -> COLLECTING or PASSING (a request's head came)
        COLLECTING -> ASKING (the request is complete) -> PASSING (it goes to the daemon)
        ASKING, PASSING -> IDLE (the answer is complete)
        ASKING -> ABANDONED (the client is gone; what is asked comes to its end first)
        any -> OVER
    """

    SNIFFING = auto()
    RAW = auto()
    IDLE = auto()
    COLLECTING = auto()
    ASKING = auto()
    PASSING = auto()
    ABANDONED = auto()
    OVER = auto()


@define(eq=False)
class Turn:
    """
    One request and its answer.

    @ivar request_complete: its last byte came.
    @ivar token: what L{Rewriter.ask} waits for.
    @ivar forwarded: it is on its way to the daemon.
    @ivar until_close: only the end of the daemon's connection ends the answer.
    @ivar broken: why the rest of the answer will not come.
    @ivar sent: bytes to the daemon.
    @ivar received: bytes to the client.
    """

    head: RequestHead
    route: Route
    rewriter: Rewriter
    answer: Answer
    _raw: list[bytes] = field(factory=list)
    _payload: list[bytes] = field(factory=list)
    size: int = 0
    request_complete: bool = False
    token: int | None = None
    forwarded: bool = False
    until_close: bool = False
    broken: Exception | None = None
    sent: int = 0
    received: int = 0

    @property
    def may_turn_raw(self) -> bool:
        """Whether a good answer makes the connection a raw stream."""
        return self.route.endpoint.may_hijack or wants_upgrade(self.head)

    @property
    def is_raw(self) -> bool:
        """
        Whether the answer's head made it one: a 101; or, for clients that ask for no upgrade, a 200 without a
        length.
        """
        head = self.answer.head
        if head is None:
            return False
        return head.status == 101 or (head.status == 200 and self.may_turn_raw and self.until_close)

    @property
    def keeps_client(self) -> bool:
        """Whether the client's connection lives on after an answer of ours."""
        return self.request_complete and keeps_alive(self.head)

    @property
    def keeps_both(self) -> bool:
        """Whether both connections live on after the daemon's answer."""
        head = self.answer.head
        return keeps_alive(self.head) and head is not None and keeps_alive(head) and not self.until_close

    @property
    def body(self) -> bytes:
        """What was collected, without chunk framing."""
        return b"".join(self._payload)

    def collect(self, raw: bytes, payload: bytes = b"") -> None:
        """Keeps a part of the request."""
        self._raw.append(raw)
        if payload:
            self._payload.append(payload)
            self.size += len(payload)

    def outgoing(self, decided: Forward) -> bytes:
        """
        The collected request as the daemon gets it. C{100 Continue} was sent from here already, if the client
        waited for it.
        """
        head = self.head
        if decided.body is None and decided.target is None and not expects_continue(head):
            return b"".join(self._raw)
        headers = head.headers.without(b"Expect")
        if decided.body is not None and head.headers.get(b"Content-Type") is None:
            headers = headers.adding(b"Content-Type", b"application/json")
        has_body = any(head.headers.get(name) for name in (b"Content-Length", b"Transfer-Encoding"))
        return encode_request(
            head.method,
            head.target if decided.target is None else decided.target,
            headers,
            decided.body if decided.body is not None else self.body if has_body else None,
            version=head.version,
        )

    def rewritten(self, decided: Forward) -> Rewritten:
        """What is changed in it."""
        before = self.body
        after = before if decided.body is None else decided.body
        return Rewritten(self.head, before, after, to_daemon=True, target=decided.target)

    def forget_body(self) -> None:
        """It was sent."""
        self._raw.clear()
        self._payload.clear()
