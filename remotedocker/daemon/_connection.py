# -*- test-case-name: tests.daemon.test_connection -*-
"""
Connections to the daemon's API: one that is asked one question after the other, and one that follows events.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from remotedocker.errors import DaemonError
from remotedocker.http import (
    Data,
    EndOfMessage,
    Event,
    Headers,
    ProtocolError,
    RequestHead,
    ResponseHead,
    ResponseParser,
    encode_request,
    keeps_alive,
)

__all__ = [
    "MAX_ANSWER",
    "Answer",
    "ConnectionEnded",
    "EventsProtocol",
    "QuestionProtocol",
    "error_reason",
    "request",
]

MAX_ANSWER = 64 * 1024 * 1024
"""The largest answer that is read, in bytes: a list of some ten thousand containers."""

_MAX_ERROR = 64 * 1024
_HEADERS = Headers(((b"Host", b"docker"), (b"User-Agent", b"remotedocker")))


class ConnectionEnded(Exception):
    """The connection was lost before the answer was complete."""


@frozen
class Answer:
    """
    A whole response.

    @ivar body: without framing.
    """

    head: ResponseHead
    body: bytes


def request(method: str, target: str) -> RequestHead:
    """A request without a body; C{raw} is what is to be sent."""
    raw_method, raw_target = method.encode("ascii"), target.encode("ascii")
    raw = encode_request(raw_method, raw_target, _HEADERS)
    return RequestHead(raw_method, raw_target, (1, 1), _HEADERS, raw)


def error_reason(body: bytes) -> str:
    """
    @return: what an error response says: the C{message} of Docker's JSON, or else the beginning of its text.
    """
    try:
        document = json.loads(body)
        message = document["message"]
        if isinstance(message, str):
            return message
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return body[:1000].decode("utf-8", "replace").strip() or "no reason given"


class _ResponseProtocol(Protocol, ABC):
    """Hands the parser's events to L{_received}; whatever ends the connection to L{_ended}."""

    transport: Any

    def __init__(self) -> None:
        self._parser = ResponseParser()

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a response."""
        try:
            events = self._parser.feed(data)
        except ProtocolError as error:
            self._break(DaemonError(code="with malformed HTTP", reason=error.reason))
        else:
            self._receive(events)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """The end of the stream completes a response without a length."""
        self.connected = 0
        try:
            self._receive(self._parser.feed_eof())
        except ProtocolError:
            pass
        self._ended(ConnectionEnded(reason.getErrorMessage()))

    def abort(self) -> None:
        """Ends the connection at once, if there still is one."""
        if self.connected:
            self.transport.abortConnection()

    def _break(self, error: Exception) -> None:
        self._ended(error)
        self.abort()

    def _receive(self, events: list[Event]) -> None:
        for event in events:
            self._received(event)

    def _send(self, head: RequestHead) -> None:
        self._parser.expect(head)
        self.transport.write(head.raw)

    @abstractmethod
    def _received(self, event: Event) -> None:
        """One event of the response."""

    @abstractmethod
    def _ended(self, error: Exception) -> None:
        """No more will come; may be called again when it was called."""


class QuestionProtocol(_ResponseProtocol):
    """
    One question at a time.

    @ivar reusable: another question can be asked.
    """

    def __init__(self, forget: Callable[[QuestionProtocol], None]) -> None:
        """
        @param forget: called when the connection is lost.
        """
        super().__init__()
        self.reusable = True
        self._forget = forget
        self._waiting: Deferred[Answer] | None = None
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._size = 0

    def ask(self, head: RequestHead) -> Deferred[Answer]:
        """
        @return: fires with the answer, whatever its status; cancelling it ends the connection. Fails with
            L{ConnectionEnded}, or L{DaemonError<remotedocker.errors.DaemonError>} if there is no sense
            in the answer.
        """
        self.reusable = False
        if not self.connected:
            return fail(ConnectionEnded("it was lost before the question"))
        waiting: Deferred[Answer] = Deferred(self._cancelled)
        self._waiting = waiting
        self._send(head)
        return waiting

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """The connection is of no more use."""
        super().connectionLost(reason)
        self.reusable = False
        self._forget(self)

    def _cancelled(self, waiting: Deferred[Answer]) -> None:
        self._waiting = None
        self.abort()

    def _received(self, event: Event) -> None:
        if isinstance(event, ResponseHead):
            self._head = event
        elif isinstance(event, Data):
            self._size += len(event.payload)
            self._body.append(event.payload)
            if self._size > MAX_ANSWER:
                self._break(DaemonError(code="too much", reason=f"more than {MAX_ANSWER} bytes"))
        elif isinstance(event, EndOfMessage):
            self._complete()

    def _complete(self) -> None:
        head, body = self._head, b"".join(self._body)
        assert head is not None
        self._head, self._body, self._size = None, [], 0
        self.reusable = bool(self.connected) and keeps_alive(head) and not self._parser.buffered
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(Answer(head, body))

    def _ended(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        self._body = []
        if waiting is not None:
            waiting.errback(error)


class EventsProtocol(_ResponseProtocol):
    """
    Follows one response that does not end by itself.

    @ivar opened: fires when the daemon has begun to answer with 200; fails with L{ConnectionEnded} or
        L{DaemonError<remotedocker.errors.DaemonError>}.
    @ivar ended: fires with the reason when the stream is over; never fails.
    """

    def __init__(self, head: RequestHead, consume: Callable[[bytes], None]) -> None:
        """
        @param consume: called with the content as it comes.
        """
        super().__init__()
        self.opened: Deferred[None] = Deferred(lambda _: self.abort())
        self.ended: Deferred[Exception] = Deferred(lambda _: self.abort())
        self._request = head
        self._consume = consume
        self._refusal: ResponseHead | None = None
        self._body = b""

    def connectionMade(self) -> None:
        """Asks."""
        self._send(self._request)

    def _received(self, event: Event) -> None:
        if isinstance(event, ResponseHead):
            if event.status == 200:
                self._open()
            elif event.status >= 200:
                self._refusal = event
        elif isinstance(event, Data):
            if self._refusal is None:
                self._consume(event.payload)
            else:
                self._body = (self._body + event.payload)[:_MAX_ERROR]
        elif self._refusal is not None:
            self._break(DaemonError(code=self._refusal.status, reason=error_reason(self._body)))
        else:
            self._break(ConnectionEnded("the daemon ended its answer"))

    def _open(self) -> None:
        if not self.opened.called:
            self.opened.callback(None)

    def _ended(self, error: Exception) -> None:
        if not self.opened.called:
            self.opened.errback(error)
        if not self.ended.called:
            self.ended.callback(error)
