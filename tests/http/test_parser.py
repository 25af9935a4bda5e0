"""
Tests for L{RequestParser} and L{ResponseParser}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.http import (
    MAX_HEAD,
    Data,
    EndOfMessage,
    Headers,
    ProtocolError,
    RequestHead,
    RequestParser,
    ResponseHead,
    ResponseParser,
)
from tests.corpus import TRANSCRIPTS, Transcript
from tests.http.observing import observe_requests, observe_responses, request_head, ways

HOST = b"Host: docker\r\n"


def request(*lines: bytes, body: bytes = b"") -> bytes:
    """A request to C{POST /x} with these header lines."""
    return b"POST /x HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


class CorpusTests(SynchronousTestCase):
    """Conversations of real programs are understood alike, whole and in pieces."""

    def check_requests(self, transcript: Transcript, pieces: list[bytes]) -> list[RequestHead]:
        """@return: the heads that the client sent, after everything it sent was found right."""
        requests, raw, rest = observe_requests(pieces, len(transcript.requests))
        self.assertEqual((raw, rest), (transcript.client, transcript.client_raw))
        heads = [message.head for message in requests if isinstance(message.head, RequestHead)]
        self.assertEqual(tuple((head.method, head.target) for head in heads), transcript.requests)
        self.assertNotIn(None, [message.trailers for message in requests])
        return heads

    def check_responses(self, transcript: Transcript, heads: list[RequestHead], pieces: list[bytes]) -> None:
        """What the daemon answered to C{heads}."""
        responses, raw, rest = observe_responses(pieces, heads, transcript.closed)
        self.assertEqual((raw, rest), (transcript.daemon, transcript.daemon_raw))
        answers = [message.head for message in responses if isinstance(message.head, ResponseHead)]
        self.assertEqual(tuple(head.status for head in answers), transcript.statuses)
        final = [message for message in responses if message.trailers is not None]
        self.assertEqual(tuple(message.body for message in final), transcript.bodies)

    def test_every_way(self) -> None:
        """Everything in one piece, every byte alone, and two pieces split at every point of either side."""
        for transcript in TRANSCRIPTS:
            heads: list[RequestHead] = []
            for pieces in ways(transcript.client + transcript.client_raw):
                heads = self.check_requests(transcript, pieces)
            for pieces in ways(transcript.daemon + transcript.daemon_raw):
                self.check_responses(transcript, heads, pieces)

    def test_trailing(self) -> None:
        """What is pipelined behind is kept back, and is understood when its turn comes."""
        more = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
        for transcript in TRANSCRIPTS:
            if not transcript.upgraded:
                messages, raw, rest = observe_requests([transcript.client + more], ended=True)
                self.assertEqual(raw, transcript.client + more)
                self.assertEqual((len(messages), rest), (len(transcript.requests) + 1, b""))


class RequestParserTests(SynchronousTestCase):
    """L{RequestParser}."""

    def refused(self, data: bytes, ended: bool = False) -> ProtocolError:
        """@return: the error that C{data} raises, in whatever pieces it comes."""
        errors = [
            self.assertRaises(ProtocolError, observe_requests, pieces, ended=ended) for pieces in ways(data)
        ]
        self.assertEqual({error.status for error in errors}, {errors[0].status})
        return errors[0]

    def test_refused(self) -> None:
        """What two readers could understand differently is refused with 400."""
        for data in (
            b"GET /\r\n",
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET / HTTP/1.1\rHost: x\r\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n",
            request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
            request(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
            request(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
            request(b"Content-Length: 5, 5", body=b"hello"),
            request(b"Content-Length: +5", body=b"hello"),
            request(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
            request(b"Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n"),
            request(b"Transfer-Encoding: chunked", body=b"5\nhello\r\n0\r\n\r\n"),
            request(b"Transfer-Encoding: chunked", body=b"5\r\nhello, world\r\n0\r\n\r\n"),
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ):
            self.assertEqual(self.refused(data).status, 400, data)

    def test_version(self) -> None:
        """Another HTTP version is refused with 505."""
        self.assertEqual(self.refused(b"GET / HTTP/2.0\r\n\r\n").status, 505)

    def test_cut_off(self) -> None:
        """A stream that ends in a message is an error; between messages it is none."""
        whole = request(b"Content-Length: 2", body=b"ok")
        for size in range(1, len(whole)):
            self.assertEqual(self.refused(whole[:size], ended=True).status, 400)
        for data in (b"", whole, whole + whole):
            for pieces in ways(data):
                self.assertEqual(observe_requests(pieces, ended=True)[1], data)

    def test_error_stays(self) -> None:
        """After an error, every call raises it again."""
        parser = RequestParser()
        first = self.assertRaises(ProtocolError, parser.feed, b"\n")
        calls: tuple[Callable[[], object], ...] = (
            lambda: parser.feed(b"GET / HTTP/1.1\r\n\r\n"),
            lambda: parser.feed(b""),
            parser.feed_eof,
        )
        for call in calls:
            self.assertIs(self.assertRaises(ProtocolError, call), first)
        self.assertFalse(parser.between_messages)

    def test_error_in_the_next_message(self) -> None:
        """What is pipelined is judged when its turn comes, not before."""
        parser = RequestParser()
        self.assertEqual(len(parser.feed(request() + b"BAD\r\n\r\n")), 2)
        self.assertRaises(ProtocolError, parser.next_message)

    def test_one_at_a_time(self) -> None:
        """After the end of a message nothing is reported until the next one is asked for."""
        parser = RequestParser()
        first, second = request(b"Content-Length: 2", body=b"ok"), request(b"A: b")
        events = parser.feed(first + second[:10])
        self.assertEqual([type(event) for event in events], [RequestHead, Data, EndOfMessage])
        self.assertTrue(parser.between_messages)
        self.assertEqual(parser.buffered, 10)
        self.assertEqual(parser.feed(second[10:]), [])
        self.assertEqual(parser.buffered, len(second))
        head, end = parser.next_message()
        assert isinstance(head, RequestHead)
        self.assertEqual(head.headers.items, ((b"Host", b"docker"), (b"A", b"b")))
        self.assertEqual((end, parser.buffered), (EndOfMessage(b"", Headers()), 0))

    def test_next_message_in_the_middle(self) -> None:
        """Asking for the next message in the middle of one is an error of the caller."""
        parser = RequestParser()
        self.assertRaises(RuntimeError, parser.next_message)
        parser.feed(b"GET ")
        self.assertRaises(RuntimeError, parser.next_message)

    def test_between_messages(self) -> None:
        """Before the first byte and after the last one of a message none is in progress."""
        parser = RequestParser()
        self.assertTrue(parser.between_messages)
        parser.feed(b"P")
        self.assertFalse(parser.between_messages)
        parser.feed(request(b"Content-Length: 2")[1:])
        self.assertFalse(parser.between_messages)
        parser.feed(b"ok")
        self.assertTrue(parser.between_messages)
        self.assertEqual(parser.next_message(), [])
        self.assertTrue(parser.between_messages)

    def test_pipelined_before_the_end(self) -> None:
        """A stream that ended is still served for what was pipelined, and a torn one is found out."""
        parser = RequestParser()
        parser.feed(request() + request() + b"GET /torn HT")
        self.assertEqual(parser.feed_eof(), [])
        self.assertEqual(len(parser.next_message()), 2)
        self.assertRaises(ProtocolError, parser.next_message)

    def test_head_at_once(self) -> None:
        """A head is reported with its last byte, before the body."""
        data = request(b"Content-Length: 2")
        for pieces in ways(data):
            parser = RequestParser()
            events = [event for piece in pieces for event in parser.feed(piece)]
            [head] = events
            assert isinstance(head, RequestHead)
            self.assertEqual((head.raw, head.version, head.target), (data, (1, 1), b"/x"))

    def test_take_rest(self) -> None:
        """Wherever the stream is taken over, what was not reported is handed out, and that is the end."""
        chunked = request(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\nA: b\r\n\r\n") + b"rest"
        for pieces in ways(chunked):
            parser = RequestParser()
            raw = b"".join(event.raw for event in parser.feed(pieces[0]))
            self.assertEqual(raw + parser.take_rest(), pieces[0])
            self.assertEqual((parser.buffered, parser.between_messages), (0, False))
            self.assertRaises(RuntimeError, parser.feed, b"x")

    def test_fallback(self) -> None:
        """Bytes of something else than HTTP are handed out untouched, if nothing refused them yet."""
        parser = RequestParser()
        self.assertEqual(parser.feed(b"SSH-2.0-x"), [])
        self.assertEqual(parser.take_rest(), b"SSH-2.0-x")

    def test_largest_head(self) -> None:
        """A head of the greatest size passes, byte by byte too; a larger one is refused with 431."""
        start = b"GET / HTTP/1.1\r\nX-Registry-Config: "
        data = start + b"x" * (MAX_HEAD - len(start) - 4) + b"\r\n\r\n"
        for pieces in ([data], [data[at : at + 7] for at in range(0, len(data), 7)]):
            parser = RequestParser()
            events = [event for piece in pieces for event in parser.feed(piece)]
            self.assertEqual(events[0].raw, data)
        error = self.assertRaises(ProtocolError, RequestParser().feed, b"x" + data)
        self.assertEqual(error.status, 431)

    def test_limit_of_the_head(self) -> None:
        """The limit can be set, and each head has it anew."""
        data = request()
        parser = RequestParser(max_head=len(data))
        for _ in range(3):
            parser.feed(data)
            parser.next_message()
        self.assertRaises(ProtocolError, RequestParser(max_head=len(data) - 1).feed, data)

    def test_missing_host(self) -> None:
        """A request without a Host passes: the daemon answers it."""
        self.assertEqual(len(RequestParser().feed(b"GET / HTTP/1.1\r\n\r\n")), 2)

    def test_get_with_body(self) -> None:
        """Any method may have a body."""
        data = b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"
        [message], raw, rest = observe_requests([data], ended=True)
        self.assertEqual((message.body, raw, rest), (b"ok", data, b""))


class ResponseParserTests(SynchronousTestCase):
    """L{ResponseParser}."""

    def expecting(self, *methods: bytes) -> ResponseParser:
        """A parser that waits for answers to such requests."""
        parser = ResponseParser()
        for method in methods:
            parser.expect(request_head(method))
        return parser

    def test_interim(self) -> None:
        """Interim responses come as heads alone, before the final one."""
        parser = self.expecting(b"POST")
        events = parser.feed(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertEqual(
            [event.status if isinstance(event, ResponseHead) else type(event) for event in events],
            [100, 103, 200, EndOfMessage],
        )
        self.assertTrue(parser.between_messages)

    def test_switched(self) -> None:
        """After a 101 nothing is parsed: what came and what comes is for whoever takes over."""
        for pieces in ways(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nHTTP/1.1 raw\n"):
            parser = self.expecting(b"POST")
            events = [event for piece in pieces for event in parser.feed(piece)]
            self.assertEqual([type(event) for event in events], [ResponseHead])
            self.assertTrue(parser.switched)
            self.assertEqual(parser.buffered, 13)
            self.assertEqual(parser.feed_eof(), [])
            self.assertEqual(parser.take_rest(), b"HTTP/1.1 raw\n")

    def test_until_close(self) -> None:
        """A response without a length lasts until the stream ends, and says so."""
        parser = self.expecting(b"POST")
        self.assertFalse(parser.until_close)
        events = parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
        self.assertEqual(events[1:], [Data(b"abc", b"abc")])
        self.assertTrue(parser.until_close)
        self.assertFalse(parser.between_messages)
        self.assertEqual(parser.feed_eof(), [EndOfMessage(b"", Headers())])
        self.assertFalse(parser.until_close)
        self.assertTrue(parser.between_messages)
        self.assertEqual(parser.feed_eof(), [])

    def test_empty_until_close(self) -> None:
        """Such a response may be empty."""
        messages, _, _ = observe_responses([b"HTTP/1.0 200 OK\r\n\r\n"], [request_head()], closed=True)
        self.assertEqual((messages[0].body, messages[0].trailers), (b"", Headers()))

    def test_head(self) -> None:
        """The answer to HEAD ends with its head, and the next answer follows."""
        parser = self.expecting(b"HEAD", b"GET")
        events = parser.feed(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 70\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )
        self.assertEqual(
            [type(event) for event in events], [ResponseHead, EndOfMessage, ResponseHead, Data, EndOfMessage]
        )

    def test_one_by_one(self) -> None:
        """Requests may be named one after the other, or ahead."""
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        parser = self.expecting(b"POST")
        self.assertEqual(len(parser.feed(answer)), 2)
        parser.expect(request_head())
        parser.expect(request_head())
        self.assertEqual(len(parser.feed(answer + answer)), 4)

    def test_unasked(self) -> None:
        """Bytes that answer nothing are refused: they would be taken for the answer to what comes next."""
        parser = ResponseParser()
        self.assertEqual(parser.feed(b""), [])
        error = self.assertRaises(ProtocolError, parser.feed, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertEqual(error.status, 502)

    def test_more_than_the_answer(self) -> None:
        """An answer with bytes behind it is reported; then the connection is of no more use."""
        parser = self.expecting(b"POST")
        self.assertEqual(len(parser.feed(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")), 2)
        self.assertEqual(parser.buffered, 19)
        parser.expect(request_head())
        self.assertRaises(ProtocolError, parser.feed, b"")

    def test_more_than_the_answer_then_the_end(self) -> None:
        """Bytes that answered nothing do not become an answer when the stream ends."""
        parser = self.expecting(b"POST")
        parser.feed(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        parser.expect(request_head())
        self.assertRaises(ProtocolError, parser.feed_eof)

    def test_cut_off(self) -> None:
        """A stream that ends before or in an answer is an error, the same at each later call."""
        for data in (
            b"",
            b"H",
            b"HTTP/1.1 200 OK\r\nContent-Len",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        ):
            parser = self.expecting(b"GET")
            parser.feed(data)
            error = self.assertRaises(ProtocolError, parser.feed_eof)
            self.assertEqual(error.status, 502)
            self.assertIs(self.assertRaises(ProtocolError, parser.feed_eof), error)
            self.assertIs(self.assertRaises(ProtocolError, parser.feed, b"x"), error)

    def test_end_between_answers(self) -> None:
        """A stream that ends when nothing is asked is no error."""
        self.assertEqual(ResponseParser().feed_eof(), [])

    def test_refused(self) -> None:
        """A daemon that breaks the protocol is refused with 502, however its bytes come."""
        for data in (
            b"ICY 200 OK\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\n",
            b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        ):
            for pieces in ways(data):
                error = self.assertRaises(ProtocolError, observe_responses, pieces, [request_head()])
                self.assertEqual(error.status, 502, data)

    def test_take_rest(self) -> None:
        """A stream taken over in the middle of a response gives out what was not reported."""
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        for pieces in ways(data):
            parser = self.expecting(b"GET")
            raw = b"".join(event.raw for event in parser.feed(pieces[0]))
            self.assertEqual(raw + parser.take_rest(), pieces[0])
            self.assertRaises(RuntimeError, parser.feed, b"x")
