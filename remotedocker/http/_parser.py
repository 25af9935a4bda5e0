# -*- test-case-name: tests.http.test_parser -*-
"""
Incremental observers of the two sides of an HTTP/1.1 connection: bytes in, events out. They do no I/O.

What they report can be passed on unchanged: the C{raw} of the events, in order, is the input. A head is
reported in the call in which its last byte came.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, TypeVar

from remotedocker.http._errors import ProtocolError
from remotedocker.http._events import Event, RequestHead, ResponseHead
from remotedocker.http._framing import BodyReader, LengthReader, UntilCloseReader, request_body, response_body
from remotedocker.http._headers import Headers
from remotedocker.http._section import (
    MAX_HEAD,
    RequestLine,
    Section,
    StatusLine,
    parse_request_line,
    parse_status_line,
)

__all__ = ["RequestParser", "ResponseParser"]

T = TypeVar("T")


class _State(Enum):
    """
    Where a parser is::

        requests:  HEAD -> BODY -> DONE,  DONE -> HEAD by next_message()
        responses: HEAD -> BODY -> DONE,  DONE -> HEAD by expect(),  HEAD -> HEAD after an interim one,
                   HEAD -> SWITCHED after a 101
        both:      any -> TAKEN by take_rest(),  any -> FAILED
    """

    HEAD = auto()
    BODY = auto()
    DONE = auto()
    SWITCHED = auto()
    TAKEN = auto()
    FAILED = auto()


class _Parser(ABC, Generic[T]):
    """What both sides have in common."""

    _status: int | None = None
    """The status of every error; None: the error's own."""

    def __init__(self, max_head: int, parse_start: Callable[[bytes], T], state: _State) -> None:
        self._max_head = max_head
        self._parse_start = parse_start
        self._state = state
        self._section: Section[T] = Section(max_head, parse_start)
        self._body: BodyReader = LengthReader(0)
        self._rest = bytearray()
        self._error: ProtocolError | None = None

    @property
    def buffered(self) -> int:
        """The number of bytes that were fed and not yet reported."""
        return self._section.buffered + self._body.buffered + len(self._rest)

    @property
    def between_messages(self) -> bool:
        """No message is in progress: none was begun, or the last one is complete."""
        return self._state is _State.DONE or (self._state is _State.HEAD and not self._section.buffered)

    def take_rest(self) -> bytes:
        """
        Ends the parser's life: from here on the stream is not HTTP.

        @return: everything that was fed and not reported.
        """
        rest = self._section.take_unparsed() + self._body.take_unparsed() + bytes(self._rest)
        self._section, self._body, self._rest = self._new_section(), LengthReader(0), bytearray()
        self._state = _State.TAKEN
        return rest

    def _new_section(self) -> Section[T]:
        return Section(self._max_head, self._parse_start)

    def _advance(self, data: bytes) -> list[Event]:
        """
        Parses C{data} to its end, or to where the state forbids to go on; the rest is kept.

        @raise ProtocolError: the peer broke the protocol; the same again at each later call.
        @raise RuntimeError: after L{take_rest}.
        """
        if self._error is not None:
            raise self._error
        if self._state is _State.TAKEN:
            raise RuntimeError("the stream was taken over and is not parsed any more")
        events: list[Event] = []
        try:
            while True:
                if self._state is _State.BODY:
                    events += self._body.feed(data)
                    if self._body.rest is None:
                        return events
                    data, self._body = self._body.rest, LengthReader(0)
                    self._state = self._after_message()
                elif self._state is _State.HEAD and data:
                    if not self._section.feed(data):
                        return events
                    raw, headers, data = self._section.take()
                    start, self._section = self._section.start, self._new_section()
                    assert start is not None
                    events.append(self._finish_head(start, headers, raw))
                else:
                    self._rest += data
                    return events
        except ProtocolError as error:
            raise self._fail(error) from None

    @abstractmethod
    def _finish_head(self, start: T, headers: Headers, raw: bytes) -> Event:
        """Sets state and body for what follows the head."""

    @abstractmethod
    def _after_message(self) -> _State:
        """@return: the state after a complete message."""

    def _fail(self, error: ProtocolError) -> ProtocolError:
        """@return: C{error}, with this side's status; every later call raises it too."""
        self._state = _State.FAILED
        self._error = ProtocolError(error.reason, self._status or error.status)
        return self._error


class RequestParser(_Parser[RequestLine]):
    """
    Observes what a client sends, one message at a time: after
    L{EndOfMessage<remotedocker.http.EndOfMessage>} it keeps what comes until L{next_message}.
    """

    def __init__(self, max_head: int = MAX_HEAD) -> None:
        """
        @param max_head: the largest head, and the most trailers, in bytes.
        """
        super().__init__(max_head, parse_request_line, _State.HEAD)
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """
        @return: what is newly known, at most to the end of the message.
        @raise ProtocolError: the client broke the protocol; the same again at each later call.
        """
        return self._advance(data)

    def feed_eof(self) -> list[Event]:
        """
        The client has closed its side. A message that waits for L{next_message} is still served.

        @return: nothing.
        @raise ProtocolError: a message is incomplete.
        """
        self._ended = True
        return self._check_ended([])

    def next_message(self) -> list[Event]:
        """
        Begins the next message.

        @return: what is known of it from bytes that came before.
        @raise ProtocolError: as from L{feed} and L{feed_eof}.
        @raise RuntimeError: the message before is not complete.
        """
        if self._state is not _State.DONE:
            raise RuntimeError("the message before is not complete")
        data = bytes(self._rest)
        self._rest.clear()
        self._state = _State.HEAD
        return self._check_ended(self._advance(data))

    def _finish_head(self, start: RequestLine, headers: Headers, raw: bytes) -> RequestHead:
        if len(headers.get_all(b"host")) > 1:
            raise ProtocolError("more than one Host is given")
        method, target, version = start
        head = RequestHead(method, target, version, headers, raw)
        self._body = request_body(head, self._max_head)
        self._state = _State.BODY
        return head

    def _after_message(self) -> _State:
        return _State.DONE

    def _check_ended(self, events: list[Event]) -> list[Event]:
        """@raise ProtocolError: the stream has ended and a message is incomplete."""
        if self._error is not None:
            raise self._error
        if self._ended and not self.between_messages:
            raise self._fail(ProtocolError("the stream ended in the middle of a request"))
        return events


class ResponseParser(_Parser[StatusLine]):
    """
    Observes what the daemon sends: interim responses as they come, then the final one, for each request
    that L{expect} named.
    """

    _status = 502

    def __init__(self, max_head: int = MAX_HEAD) -> None:
        """
        @param max_head: the largest head, and the most trailers, in bytes.
        """
        super().__init__(max_head, parse_status_line, _State.DONE)
        self._methods: deque[bytes] = deque()

    @property
    def switched(self) -> bool:
        """A 101 was reported; all that follows is for L{take_rest}."""
        return self._state is _State.SWITCHED

    @property
    def until_close(self) -> bool:
        """Only the end of the stream ends the message in progress."""
        return isinstance(self._body, UntilCloseReader)

    def expect(self, head: RequestHead) -> None:
        """One more final response will come, to C{head}."""
        self._methods.append(head.method)
        if self._state is _State.DONE and not self._rest:
            self._state = _State.HEAD

    def feed(self, data: bytes) -> list[Event]:
        """
        @return: what is newly known.
        @raise ProtocolError: the daemon broke the protocol, or said something that nobody asked for; the
            same again at each later call.
        """
        if self._state is _State.DONE and (data or self._rest):
            raise self._fail(ProtocolError("bytes came that answer no request"))
        return self._advance(data)

    def feed_eof(self) -> list[Event]:
        """
        The daemon has closed its side.

        @return: the end of the message that only this could end, or nothing.
        @raise ProtocolError: a response is incomplete, or did not come.
        """
        if self._error is not None:
            raise self._error
        if self._state is _State.HEAD or (self._state is _State.DONE and self._methods):
            raise self._fail(ProtocolError("the stream ended before the head of a response"))
        if self._state is not _State.BODY:
            return []
        try:
            events = self._body.eof()
        except ProtocolError as error:
            raise self._fail(error) from None
        self._body = LengthReader(0)
        self._state = _State.DONE
        return events

    def _finish_head(self, start: StatusLine, headers: Headers, raw: bytes) -> ResponseHead:
        version, status, reason = start
        head = ResponseHead(status, reason, version, headers, raw)
        if status == 101:
            self._state = _State.SWITCHED
        elif status >= 200:
            self._body = response_body(head, self._methods.popleft(), self._max_head)
            self._state = _State.BODY
        return head

    def _after_message(self) -> _State:
        return _State.HEAD if self._methods else _State.DONE
