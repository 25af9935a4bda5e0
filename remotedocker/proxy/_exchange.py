# -*- test-case-name: tests.proxy.test_exchange -*-
"""
One client connection's decisions, without any I/O: events in, commands out.

One request at a time is dealt with; what a client sends ahead waits in the parser. A request that nothing
is to be done about goes on byte by byte as it comes, and so does its answer. The connection to the daemon
is opened for the first request that goes there, used for all later ones, and is nobody else's.

Ends of file: a client that ends its side waits for its answer, so that is passed on as a half-close when
all of its requests have gone to the daemon; where a request may turn the connection into a raw stream,
after that is decided, for dockerd gives such a request up at an end of file. A daemon that ends its side
between two requests is connected again for the next one; the client is not told, for its library might not
try again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from remotedocker.docker import route
from remotedocker.errors import BodyTooLarge
from remotedocker.http import (
    Data,
    EndOfMessage,
    ProtocolError,
    RequestHead,
    RequestParser,
    ResponseHead,
    expects_continue,
    looks_like_http,
)
from remotedocker.http import Event as Part
from remotedocker.proxy import _commands as do
from remotedocker.proxy._answer import Answer
from remotedocker.proxy._errors import error_answer, is_bug
from remotedocker.proxy._line import Line
from remotedocker.proxy._rewriters import rewriter_for
from remotedocker.proxy._rewriting import Forward, Reply
from remotedocker.proxy._turn import Phase, Rules, Turn

__all__ = ["REQUEST_LIMIT", "Exchange"]

REQUEST_LIMIT = 4 * 1024 * 1024
"""The largest body of a request that is read whole."""

_AHEAD = 64 * 1024
"""With more than this waiting for the daemon, or sent ahead of an answer, the client is read no further."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


_Commands = Iterator[do.Command]


class Exchange:
    """One client connection."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._phase = Phase.SNIFFING
        self._first = b""
        self._requests = RequestParser()
        self._line = Line()
        self._turn: Turn | None = None
        self._next = False
        self._client_ended = False
        self._tokens = 0
        self._handlers: dict[type, Callable[..., _Commands]] = {
            do.ClientBytes: self._client_bytes,
            do.ClientEnd: self._client_end,
            do.ClientLost: self._client_lost,
            do.DaemonConnected: self._daemon_connected,
            do.DaemonRefused: self._daemon_refused,
            do.DaemonBytes: self._daemon_bytes,
            do.DaemonEnd: self._daemon_end,
            do.DaemonLost: self._daemon_lost,
            do.Resolved: self._resolved,
            do.Rejected: self._rejected,
        }

    def receive(self, event: do.Event) -> list[do.Command]:
        """@return: what is to be done now, in order."""
        if self._phase is Phase.OVER:
            return []
        if self._phase is Phase.ABANDONED:
            return list(self._abandoned(event))
        commands = list(self._handlers[type(event)](event))
        while self._next and self._phase is Phase.IDLE:
            self._next = False
            commands += self._parsed(self._requests.next_message)
        return commands

    @property
    def reads_client(self) -> bool:
        """Whether the client's bytes are wanted now."""
        ahead = self._line.waiting
        if self._turn is not None and self._turn.request_complete:
            ahead += self._requests.buffered
        return ahead <= _AHEAD

    @property
    def reads_daemon(self) -> bool:
        """Whether the daemon's bytes are wanted now."""
        return self._turn is None or not self._turn.answer.held

    # The client.

    def _client_bytes(self, event: do.ClientBytes) -> _Commands:
        data = event.data
        if self._phase is Phase.SNIFFING:
            data = self._first = self._first + data
            http = looks_like_http(data)
            if http is None:
                return
            if not http:
                yield from self._not_http()
                return
            self._phase = Phase.IDLE
            self._first = b""
        if self._phase is Phase.RAW:
            yield from self._line.send(data)
        else:
            yield from self._parsed(lambda: self._requests.feed(data))

    def _not_http(self) -> _Commands:
        if self._rules.http_only is not None:
            yield from self._refuse(self._rules.http_only, None)
            return
        self._phase = Phase.RAW
        yield from self._line.open(bulk=False)
        yield from self._line.send(self._first)

    def _client_end(self, event: do.ClientEnd) -> _Commands:
        self._client_ended = True
        if self._phase is Phase.SNIFFING and self._first:
            yield from self._not_http()
        elif self._phase is not Phase.RAW:
            yield from self._parsed(self._requests.feed_eof)
            if self._phase in (Phase.SNIFFING, Phase.IDLE):
                yield from self._close()
            elif self._phase is Phase.PASSING:
                yield from self._pass_end()

    def _client_lost(self, event: do.ClientLost) -> _Commands:
        yield from self._line.drop()
        turn = self._turn
        if turn is not None and turn.token is not None:
            self._phase = Phase.ABANDONED
            return
        self._phase = Phase.OVER
        if turn is not None:
            yield from self._tell_failed(turn)

    def _abandoned(self, event: do.Event) -> _Commands:
        """What was asked for the client's request has come to its end: undone, for the client is gone."""
        turn = self._turn
        if turn is None or not isinstance(event, (do.Resolved, do.Rejected)) or event.token != turn.token:
            return
        self._phase = Phase.OVER
        if isinstance(event, do.Resolved):
            try:
                turn.rewriter.forward(event.value)
            except Exception as error:
                yield do.Report(error)
            yield from self._tell_failed(turn)
        elif is_bug(event.error):
            yield do.Report(event.error)

    def _parsed(self, parse: Callable[[], list[Part]]) -> _Commands:
        """Deals with what the request parser reports."""
        try:
            parts = parse()
        except ProtocolError as error:
            yield from self._fail(error)
            return
        for part in parts:
            if self._phase is Phase.OVER:
                return
            if isinstance(part, RequestHead):
                yield from self._request_head(part)
            elif isinstance(part, (Data, EndOfMessage)):
                yield from self._request_part(part)

    # Requests.

    def _request_head(self, head: RequestHead) -> _Commands:
        yield do.Record(do.Requested(head))
        refusal = self._rules.check(head)
        if refusal is not None:
            yield from self._refuse(refusal, head)
            return
        meaning = route(head.method, head.target)
        rewriter = rewriter_for(head, meaning, self._rules.view)
        answer = Answer(head, rewriter, self._new_token, self._rules.answer_limit)
        self._turn = turn = Turn(head, meaning, rewriter, answer)
        if not rewriter.collects:
            yield from self._begin(turn, head.raw)
            return
        self._phase = Phase.COLLECTING
        turn.collect(head.raw)
        if expects_continue(head):
            yield do.ToClient(_CONTINUE)

    def _request_part(self, part: Data | EndOfMessage) -> _Commands:
        turn = self._turn
        assert turn is not None
        turn.request_complete = isinstance(part, EndOfMessage)
        if self._phase is Phase.PASSING:
            if part.raw:
                yield from self._send(turn, part.raw)
            if turn.request_complete:
                yield from self._pass_end()
                yield from self._go_on(turn)
        elif isinstance(part, Data):
            turn.collect(part.raw, part.payload)
            if turn.size > REQUEST_LIMIT:
                yield from self._fail(BodyTooLarge(limit=REQUEST_LIMIT))
        else:
            turn.collect(part.raw)
            yield from self._ask(turn)

    def _ask(self, turn: Turn) -> _Commands:
        self._phase = Phase.ASKING
        try:
            effect = turn.rewriter.ask(turn.body)
        except Exception as error:
            yield from self._fail(error)
            return
        if effect is None:
            yield from self._forward(turn, None)
        else:
            turn.token = self._new_token()
            yield do.Hold(turn.token, effect)

    def _forward(self, turn: Turn, value: object) -> _Commands:
        """Sends a collected request on, or answers it."""
        try:
            decided = turn.rewriter.forward(value)
            outgoing = turn.outgoing(decided) if isinstance(decided, Forward) else b""
        except Exception as error:
            yield from self._fail(error)
            return
        if isinstance(decided, Reply):
            yield from self._say(turn, decided.data)
            yield from self._end_turn(turn, turn.keeps_client)
            return
        if decided != Forward():
            yield do.Record(turn.rewritten(decided))
        turn.forget_body()
        yield from self._begin(turn, outgoing)
        yield from self._pass_end()

    def _begin(self, turn: Turn, data: bytes) -> _Commands:
        """The request goes to the daemon, C{data} first."""
        self._phase = Phase.PASSING
        yield from self._line.open(turn.route.endpoint.bulk)
        self._line.responses.expect(turn.head)
        turn.forwarded = True
        yield from self._send(turn, data)

    def _send(self, turn: Turn, data: bytes) -> _Commands:
        turn.sent += len(data)
        yield from self._line.send(data)

    def _pass_end(self) -> _Commands:
        """Passes the client's end of file on, if nothing more of it is to come."""
        turn = self._turn
        if turn is None or not self._client_ended or turn.may_turn_raw:
            return
        if turn.request_complete and not self._requests.buffered:
            yield from self._line.end()

    # The daemon.

    def _daemon_connected(self, event: do.DaemonConnected) -> _Commands:
        if self._phase is Phase.RAW:
            yield from self._hijack(do.Hijack(self._line.take_early(), b"", self._client_ended))
        else:
            yield from self._line.connected()

    def _hijack(self, hijack: do.Hijack) -> _Commands:
        self._phase = Phase.OVER
        yield do.Record(do.Upgraded())
        yield hijack

    def _daemon_refused(self, event: do.DaemonRefused) -> _Commands:
        self._line.gone()
        if self._phase is Phase.RAW:
            self._phase = Phase.OVER
            yield do.AbortClient()
        else:
            yield from self._fail(event.error)

    def _daemon_bytes(self, event: do.DaemonBytes) -> _Commands:
        turn = self._turn
        if turn is None or not turn.forwarded:
            yield from self._line.drop()
            return
        responses = self._line.responses
        try:
            parts = responses.feed(event.data)
        except ProtocolError as error:
            yield from self._fail(self._rules.daemon_lost(f"it sent no valid HTTP: {error.reason}"))
            return
        for index, part in enumerate(parts):
            yield from self._guarded(turn, turn.answer.receive(part))
            if self._turn is turn and isinstance(part, ResponseHead) and part is turn.answer.head:
                turn.until_close = responses.until_close
                if turn.is_raw:
                    early = b"".join(late.raw for late in parts[index + 1 :]) + responses.take_rest()
                    ahead = self._requests.take_rest()
                    ends = turn.rewriter.before_end(), turn.rewriter.cut_off()
                    yield from self._hijack(do.Hijack(ahead, early, self._client_ended, *ends))
                    return

    def _guarded(self, turn: Turn, commands: _Commands) -> _Commands:
        """Performs a step of the answer; a bug in it ends the turn. Then goes on if it is complete."""
        try:
            for command in commands:
                if isinstance(command, do.ToClient):
                    turn.received += len(command.data)
                yield command
        except Exception as error:
            yield from self._fail(error)
            return
        if turn.broken is not None and not turn.answer.complete and not turn.answer.held:
            yield from self._fail(turn.broken)
        else:
            yield from self._go_on(turn)

    def _daemon_end(self, event: do.DaemonEnd) -> _Commands:
        responses = self._line.responses
        yield from self._line.drop()
        turn = self._turn
        if turn is None or not turn.forwarded or turn.answer.received_all:
            yield from self._unread(turn)
            return
        try:
            parts = responses.feed_eof()
        except ProtocolError:
            yield from self._broken(
                turn, self._rules.daemon_lost("the connection ended before the answer did")
            )
            return
        for part in parts:
            yield from self._guarded(turn, turn.answer.receive(part))

    def _daemon_lost(self, event: do.DaemonLost) -> _Commands:
        self._line.gone()
        turn = self._turn
        if turn is None or not turn.forwarded or turn.answer.received_all:
            yield from self._unread(turn)
        else:
            yield from self._broken(turn, event.error)

    def _unread(self, turn: Turn | None) -> _Commands:
        """If the daemon has answered without reading the whole request, it will not read the rest."""
        if turn is not None and turn.answer.complete:
            yield from self._close()

    def _broken(self, turn: Turn, error: Exception) -> _Commands:
        """No more of the answer will come; what is held back of it comes first."""
        turn.broken = error
        if not turn.answer.held:
            yield from self._fail(error)

    # Effects.

    def _new_token(self) -> int:
        self._tokens += 1
        return self._tokens

    def _resolved(self, event: do.Resolved) -> _Commands:
        turn = self._turn
        if turn is not None and turn.token == event.token:
            turn.token = None
            yield from self._forward(turn, event.value)
        elif turn is not None and turn.answer.waits_for(event.token):
            yield from self._guarded(turn, turn.answer.released())

    def _rejected(self, event: do.Rejected) -> _Commands:
        turn = self._turn
        if turn is not None and turn.token == event.token:
            turn.token = None
            yield from self._fail(event.error)
        elif turn is not None and turn.answer.waits_for(event.token):
            if is_bug(event.error):
                yield do.Report(event.error)
            yield from self._guarded(turn, turn.answer.rejected(event.error))

    # The end of a turn.

    def _go_on(self, turn: Turn) -> _Commands:
        """Begins the next turn if this one is complete."""
        if self._turn is not turn or not turn.answer.complete:
            return
        if turn.request_complete:
            yield from self._end_turn(turn, turn.keeps_both)
        elif not turn.keeps_both:
            yield from self._close()

    def _end_turn(self, turn: Turn, alive: bool) -> _Commands:
        yield do.Record(do.TurnOver(turn.sent, turn.received))
        self._turn = None
        if alive and (self._requests.buffered or not self._client_ended):
            self._phase = Phase.IDLE
            self._next = True
        else:
            yield from self._close()

    def _fail(self, error: Exception) -> _Commands:
        """The turn cannot be completed: the client is told, if its answer has not begun."""
        if is_bug(error):
            yield do.Report(error)
        turn = self._turn
        if turn is None:
            yield from self._refuse(error, None)
            return
        if turn.forwarded:
            yield from self._line.drop()
        yield from self._tell_failed(turn)
        if turn.answer.started:
            # An answer with a length or in chunks is seen to be cut short; any other has to be broken off.
            yield from self._close(abort=turn.until_close)
        elif turn.keeps_client:
            yield from self._say(turn, error_answer(error, turn.head, close=False))
            yield from self._end_turn(turn, alive=True)
        else:
            yield from self._refuse(error, turn.head)

    def _tell_failed(self, turn: Turn) -> _Commands:
        for effect in turn.rewriter.failed():
            yield do.Notify(effect)

    def _say(self, turn: Turn | None, data: bytes) -> _Commands:
        """An answer of our own."""
        if turn is not None:
            turn.received += len(data)
        yield do.Record(do.OwnAnswer(data))
        yield do.ToClient(data)

    def _refuse(self, error: Exception, head: RequestHead | None) -> _Commands:
        yield from self._say(self._turn, error_answer(error, head, close=True))
        yield from self._close()

    def _close(self, abort: bool = False) -> _Commands:
        self._turn = None
        self._phase = Phase.OVER
        yield from self._line.drop()
        yield do.AbortClient() if abort else do.CloseClient()
