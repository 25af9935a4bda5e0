"""
The parsers and h11, fed the same: what both accept, they understand alike; what only one accepts is listed.
"""

from __future__ import annotations

from collections.abc import Sequence

import h11
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import Headers, ProtocolError, RequestHead, ResponseHead
from tests.http.observing import Message, observe_requests, observe_responses, request_head

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)

_HUGE = 1 << 22


@frozen
class Understood:
    """
    The first message of a stream.

    @ivar start: method and target, or status and reason.
    @ivar fields: names in lower case, values.
    @ivar ended: the message is complete; then C{rest} is what follows it.
    """

    start: tuple[bytes, ...]
    version: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]
    ended: bool
    rest: bytes


def _lower(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """As h11 gives them: it also lowers the value of Transfer-Encoding."""
    return tuple(
        (name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in headers
    )


def _ours(message: Message, rest: bytes) -> Understood:
    head = message.head
    if isinstance(head, RequestHead):
        start = (head.method, head.target)
    else:
        start = (b"%d" % head.status, head.reason)
    return Understood(
        start,
        b"%d.%d" % head.version,
        _lower(head.headers),
        message.body,
        () if message.trailers is None else _lower(message.trailers),
        message.trailers is not None,
        rest if message.trailers is not None else b"",
    )


def read_request(pieces: Sequence[bytes]) -> Understood | None:
    """What the parser makes of a stream; None if it refuses it, or it holds no complete head."""
    try:
        messages, _, rest = observe_requests(pieces, count=1)
    except ProtocolError:
        return None
    return _ours(messages[0], rest) if messages else None


def read_response(pieces: Sequence[bytes], method: bytes) -> Understood | None:
    """The same of a response to C{method}."""
    try:
        messages, _, rest = observe_responses(pieces, [request_head(method)])
    except ProtocolError:
        return None
    final = [message for message in messages if isinstance(message.head, ResponseHead)]
    return _ours(final[0], rest) if final else None


def _drain(connection: h11.Connection, pieces: Sequence[bytes]) -> Understood | None:
    """What h11 makes of a stream."""
    head: h11.Request | h11.Response | None = None
    body, ended = b"", False
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    for piece in pieces:
        if piece:
            connection.receive_data(piece)
        while not ended:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return None
            if event in (h11.NEED_DATA, h11.PAUSED):
                break
            if isinstance(event, (h11.Request, h11.Response)):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers, ended = tuple((bytes(n), bytes(v)) for n, v in event.headers), True
    if head is None:
        return None
    if isinstance(head, h11.Request):
        start = (bytes(head.method), bytes(head.target))
    else:
        start = (b"%d" % head.status_code, bytes(head.reason))
    fields = tuple((bytes(name), bytes(value)) for name, value in head.headers)
    rest = connection.trailing_data[0] if ended else b""
    return Understood(start, bytes(head.http_version), fields, body, trailers, ended, rest)


def read_request_h11(pieces: Sequence[bytes]) -> Understood | None:
    """What h11 makes of a request."""
    return _drain(h11.Connection(h11.SERVER, max_incomplete_event_size=_HUGE), pieces)


def read_response_h11(pieces: Sequence[bytes], method: bytes) -> Understood | None:
    """What h11 makes of a response to C{method}."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HUGE)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    return _drain(connection, pieces)


TOKENS = st.text("!#$%&'*+-.^_`|~0123456789ABCabc", min_size=1, max_size=6).map(str.encode)
VALUES = st.text("".join(map(chr, range(0x20, 0x7F))) + "\t\xe9\xff", max_size=12).map(
    lambda text: text.strip(" \t").encode("latin-1")
)
FIELDS = st.lists(
    st.tuples(
        TOKENS, st.sampled_from([b":", b": ", b":\t "]), VALUES, st.sampled_from([b"", b" ", b" \t"])
    ).map(b"".join),
    max_size=4,
)
CHUNKS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=20), st.sampled_from([b"", b";a", b";a=b", b';a="b c"']), st.booleans()
    ),
    max_size=4,
)


def _chunked(chunks: list[tuple[bytes, bytes, bool]], trailers: list[bytes]) -> bytes:
    parts = [
        (b"%X" if upper else b"0%x") % len(data) + extension + b"\r\n" + data + b"\r\n"
        for data, extension, upper in chunks
    ]
    return b"".join(parts) + b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


BODIES = st.one_of(
    st.just((b"", b"")),
    st.binary(max_size=40).map(lambda body: (b"Content-Length: %d\r\n" % len(body), body)),
    st.builds(_chunked, CHUNKS, FIELDS).map(lambda body: (b"Transfer-Encoding: Chunked\r\n", body)),
)
TARGETS = st.text("".join(map(chr, range(0x21, 0x7F))), min_size=1, max_size=12).map(str.encode)


def _head(start: bytes, fields: list[bytes], framing: bytes) -> bytes:
    return start + b"\r\n" + b"".join(line + b"\r\n" for line in fields) + framing + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right in every respect, and bytes behind it."""
    framing, body = draw(BODIES)
    start = draw(TOKENS) + b" " + draw(TARGETS) + b" HTTP/1.1"
    rest = draw(st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\0\r\n"]))
    return _head(start, [b"Host: docker", *draw(FIELDS)], framing) + body + rest


@st.composite
def responses(draw: st.DrawFn, method: bytes) -> bytes:
    """A response to C{method} that is right in every respect."""
    framing, body = draw(BODIES)
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500, 599]))
    head = _head(b"HTTP/1.1 %d " % status + draw(VALUES), draw(FIELDS), framing)
    return head if method == b"HEAD" or status in (204, 304) else head + body


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A message into which a few bytes were put, or from which some were taken."""
    data = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 2))
        insert = draw(
            st.sampled_from(
                [
                    b"",
                    b"\n",
                    b"\r",
                    b"\r\n",
                    b" ",
                    b"\t",
                    b"\0",
                    b":",
                    b";",
                    b",",
                    b"5",
                    b"-",
                    b"\r\n ",
                    b"\x0b",
                ]
                + [b"\r\nContent-Length: 5", b"\r\nTransfer-Encoding: chunked", b"\r\nContent-Length: 5, 5"]
                + [b"\r\nHost: y", b"\xe9"]
            )
        )
        data = data[:at] + insert + data[at + size :]
    return data


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """C{data} cut at these points, as far as they are inside of it."""
    points = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in zip(points, points[1:], strict=False)]


CUTS = st.lists(st.integers(0, 300), max_size=6)


class AgreementTests(SynchronousTestCase):
    """Right messages are understood alike, wrong ones not in two ways."""

    @EXAMPLES
    @given(requests(), CUTS)
    def test_requests(self, data: bytes, cuts: list[int]) -> None:
        """Both accept a right request, and agree on all of it."""
        ours = read_request(_pieces(data, cuts))
        self.assertIsNotNone(ours)
        self.assertEqual(ours, read_request_h11([data]))

    @EXAMPLES
    @given(st.sampled_from([b"GET", b"HEAD"]), st.data(), CUTS)
    def test_responses(self, method: bytes, drawn: st.DataObject, cuts: list[int]) -> None:
        """Both accept a right response, and agree on all of it."""
        data = drawn.draw(responses(method))
        ours = read_response(_pieces(data, cuts), method)
        self.assertIsNotNone(ours)
        self.assertEqual(ours, read_response_h11([data], method))

    @EXAMPLES
    @given(damaged(requests()), CUTS)
    def test_damaged_requests(self, data: bytes, cuts: list[int]) -> None:
        """What both accept of a damaged request they understand alike; the rest is in the tables below."""
        theirs = read_request_h11([data])
        try:
            messages, _, rest = observe_requests(_pieces(data, cuts), count=1)
        except ProtocolError as error:
            if theirs is not None and theirs.ended:
                self.assertIn(error.reason, {reason for _, reason, _ in ONLY_H11})
        else:
            ours = _ours(messages[0], rest) if messages else None
            if ours is not None and theirs is None:
                self.assertTrue(_passed_by_us_alone(ours), ours)
            else:
                self.assertEqual(ours, theirs)

    @EXAMPLES
    @given(damaged(responses(b"GET")), CUTS)
    def test_damaged_responses(self, data: bytes, cuts: list[int]) -> None:
        """What both accept of a damaged response they understand alike."""
        ours, theirs = read_response(_pieces(data, cuts), b"GET"), read_response_h11([data], b"GET")
        if ours is not None and theirs is not None:
            self.assertEqual(ours, theirs)


def _request(*lines: bytes, body: bytes = b"") -> bytes:
    return b"".join(line + b"\r\n" for line in (b"POST / HTTP/1.1", *lines)) + b"\r\n" + body


ONLY_H11 = (
    ("LF alone as a line end", "a line ends with LF alone, not with CR LF", b"GET / HTTP/1.1\nHost: x\n\n"),
    (
        "folded fields",
        "a header line is folded or begins with white space",
        _request(b"Host: x", b"A: b", b" c"),
    ),
    (
        "control characters in values",
        "a header value has a control character",
        _request(b"Host: x", b"A: b\x08"),
    ),
    (
        "equal lengths given twice",
        "Content-Length is not one decimal number",
        _request(b"Host: x", b"Content-Length: 2, 2", body=b"ok"),
    ),
    (
        "a length beside a coding",
        "both Transfer-Encoding and Content-Length are given",
        _request(b"Host: x", b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    (
        "a coding in HTTP/1.0",
        "HTTP/1.0 has no Transfer-Encoding",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "white space behind a chunk's size, and control characters in its extension",
        "the size line of a chunk is malformed",
        _request(b"Host: x", b"Transfer-Encoding: chunked", body=b"1 \r\na\r\n0\r\n\r\n"),
    ),
    (
        "other minor versions",
        "the HTTP version is neither 1.0 nor 1.1",
        b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    ),
)
"""What h11 accepts and the parser refuses: the leniency, the parser's reason, and a request that has it."""

ONLY_OURS = (
    ("a request without Host, which dockerd answers", _request()),
    ("octets over 0x7E in a target, as Go", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (
        "names of framing in trailers, which nobody reads",
        _request(b"Host: x", b"Transfer-Encoding: chunked", body=b"0\r\nContent-Length: x\r\n\r\n"),
    ),
)
"""What the parser accepts and h11 refuses."""


def _passed_by_us_alone(understood: Understood) -> bool:
    """Whether one of L{ONLY_OURS} applies."""
    framing = {b"content-length", b"transfer-encoding", b"host"}
    return (
        b"host" not in dict(understood.fields)
        or any(octet > 0x7E for octet in understood.start[1])
        or not framing.isdisjoint(dict(understood.trailers))
    )


class DifferenceTests(SynchronousTestCase):
    """The tables of differences are true."""

    def test_only_h11(self) -> None:
        """What only h11 accepts is refused for the reason that is named."""
        for what, reason, data in ONLY_H11:
            self.assertIsNotNone(read_request_h11([data]), what)
            error = self.assertRaises(ProtocolError, observe_requests, [data])
            self.assertEqual(error.reason, reason, what)

    def test_only_ours(self) -> None:
        """What only the parser accepts is refused by h11."""
        for what, data in ONLY_OURS:
            understood = read_request([data])
            assert understood is not None, what
            self.assertTrue(_passed_by_us_alone(understood), what)
            self.assertIsNone(read_request_h11([data]), what)
