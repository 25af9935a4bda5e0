"""
Runs a parser over input that comes in pieces, and sums up what it reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import Factory, define

from remotedocker.http import (
    Data,
    EndOfMessage,
    Event,
    Headers,
    RequestHead,
    RequestParser,
    ResponseHead,
    ResponseParser,
)

__all__ = ["Message", "bytewise", "observe_requests", "observe_responses", "request_head", "splits", "ways"]


@define
class Message:
    """
    One message as observed.

    @ivar body: the payload of all pieces.
    @ivar trailers: None while the message is incomplete.
    """

    head: RequestHead | ResponseHead
    body: bytes = b""
    trailers: Headers | None = None


@define
class _Summary:
    """
    Messages, and all C{raw} bytes.
    """

    messages: list[Message] = Factory(list)
    raw: bytes = b""

    def take(self, events: list[Event]) -> bool:
        """@return: whether a request's message ended."""
        ended = False
        for event in events:
            self.raw += event.raw
            if isinstance(event, (RequestHead, ResponseHead)):
                self.messages.append(Message(event))
            elif isinstance(event, Data):
                self.messages[-1].body += event.payload
            else:
                assert isinstance(event, EndOfMessage)
                self.messages[-1].trailers = event.trailers
                ended = True
        return ended


def bytewise(data: bytes) -> list[bytes]:
    """Each byte alone."""
    return [data[at : at + 1] for at in range(len(data))]


def splits(data: bytes) -> Iterator[list[bytes]]:
    """C{data} in two pieces, split at every point."""
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]


def ways(data: bytes) -> Iterator[list[bytes]]:
    """C{data} whole, byte by byte, and split at every point."""
    yield [data]
    yield bytewise(data)
    yield from splits(data)


def observe_requests(
    pieces: Iterable[bytes], count: int | None = None, ended: bool = False
) -> tuple[list[Message], bytes, bytes]:
    """
    Feeds C{pieces} to a L{RequestParser}.

    @param count: after so many messages no next one is begun; None: always.
    @param ended: the stream ends after them.
    @return: the messages, the C{raw} of all events, and what was left to take.
    """
    parser = RequestParser()
    summary = _Summary()
    for piece in pieces:
        events = parser.feed(piece)
        while summary.take(events) and len(summary.messages) != count:
            events = parser.next_message()
    if ended:
        assert parser.feed_eof() == []
    return summary.messages, summary.raw, parser.take_rest()


def observe_responses(
    pieces: Iterable[bytes], requests: Sequence[RequestHead], closed: bool = False
) -> tuple[list[Message], bytes, bytes]:
    """
    Feeds C{pieces} to a L{ResponseParser} that expects answers to C{requests}.

    @param closed: the stream ends after them.
    @return: the messages, the C{raw} of all events, and what was left to take.
    """
    parser = ResponseParser()
    for head in requests:
        parser.expect(head)
    summary = _Summary()
    for piece in pieces:
        summary.take(parser.feed(piece))
    if closed:
        summary.take(parser.feed_eof())
    return summary.messages, summary.raw, parser.take_rest()


def request_head(method: bytes = b"GET", target: bytes = b"/", *fields: tuple[bytes, bytes]) -> RequestHead:
    """A head to expect an answer to, or to ask questions about."""
    return RequestHead(method, target, (1, 1), Headers(fields), b"")
