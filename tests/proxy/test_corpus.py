# -*- test-case-name: tests.proxy.test_corpus -*-
"""
What real clients and a real daemon said to each other, through an exchange: where nothing is to be changed,
the bytes that come out are those that went in, however they are cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from remotedocker.docker import CreatePlan, PlacedMount
from remotedocker.http import Data, EndOfMessage, RequestParser, ResponseParser
from remotedocker.proxy._asked import PlanCreate
from remotedocker.proxy._commands import (
    ClientBytes,
    Command,
    Connect,
    DaemonBytes,
    DaemonConnected,
    DaemonEnd,
    Event,
    Hijack,
    Hold,
    Resolved,
    ToClient,
    ToDaemon,
)
from tests.corpus import TRANSCRIPTS, Transcript
from tests.proxy.support import ScriptCase, request


class _Wire:
    """Performs an exchange's commands as far as bytes go."""

    def __init__(self, case: ScriptCase) -> None:
        self._case = case
        self.to_daemon = b""
        self.to_client = b""
        self.raw: Hijack | None = None

    def happen(self, event: Event) -> None:
        """An event, and what follows from it at once."""
        for command in self._case.play_any(event):
            if isinstance(command, ToDaemon):
                self.to_daemon += command.data
            elif isinstance(command, ToClient):
                self.to_client += command.data
            elif isinstance(command, Hijack):
                self.raw = command
                self.to_daemon += command.to_daemon
                self.to_client += command.to_client
            else:
                for answer in self._answers(command):
                    self.happen(answer)

    def _answers(self, command: Command) -> Iterator[Event]:
        if isinstance(command, Connect):
            yield DaemonConnected()
        elif isinstance(command, Hold):
            yield Resolved(command.token, self._value(command))

    def _value(self, hold: Hold) -> object:
        if isinstance(hold.effect, PlanCreate):
            return CreatePlan(
                tuple(PlacedMount(each, each.source, False) for each in hold.effect.spec.mounts)
            )
        return None

    def client_says(self, data: bytes) -> None:
        """Bytes of the client, which are the relay's after an upgrade."""
        if self.raw is None:
            self.happen(ClientBytes(data))
        else:
            self.to_daemon += data

    def daemon_says(self, data: bytes) -> None:
        """Bytes of the daemon, which are the relay's after an upgrade."""
        if self.raw is None:
            self.happen(DaemonBytes(data))
        else:
            self.to_client += data


def _pieces(data: bytes, random: Random | None) -> Iterator[bytes]:
    """C{data} in pieces: single bytes, or of random lengths."""
    while data:
        size = 1 if random is None else random.randint(1, 200)
        yield data[:size]
        data = data[size:]


def _rewritten(transcript: Transcript) -> bool:
    """A create is sent on in another form, and asked for its body from here."""
    return any(target.partition(b"?")[0].endswith(b"/containers/create") for _, target in transcript.requests)


def _cuts(transcript: Transcript) -> list[Random | None]:
    """
    Bytes one by one; and at random, where there is one request only: an answer never comes with the end of
    the one before, for its request was not sent yet.
    """
    return [None, *(Random(seed) for seed in range(5))] if len(transcript.requests) == 1 else [None]


class CorpusTests(ScriptCase):
    """Every transcript, cut in several ways."""

    def through(self, transcript: Transcript, random: Random | None) -> _Wire:
        """@return: what came out."""
        self.begin()
        wire = _Wire(self)
        for piece in _pieces(transcript.client, random):
            wire.client_says(piece)
        for piece in _pieces(transcript.daemon + transcript.daemon_raw, random):
            wire.daemon_says(piece)
        for piece in _pieces(transcript.client_raw, random):
            wire.client_says(piece)
        if transcript.closed:
            wire.happen(DaemonEnd())
        return wire

    def test_sameBytes(self) -> None:
        """The daemon gets what the client sent, the client what the daemon sent; events in other chunks."""
        compared = 0
        for transcript in TRANSCRIPTS:
            for random in _cuts(transcript):
                wire = self.through(transcript, random)
                self.assertEqual(wire.raw is not None, transcript.upgraded or _is_stream(transcript))
                if not _rewritten(transcript):
                    compared += 1
                    sent = transcript.client + transcript.client_raw
                    received = transcript.daemon + transcript.daemon_raw
                    self.assertTrue(wire.to_daemon == sent, f"{transcript.name}: to the daemon")
                    if b"/events" in transcript.requests[0][1]:
                        self.assertEqual(_content(wire.to_client), _content(received), transcript.name)
                    else:
                        self.assertTrue(wire.to_client == received, f"{transcript.name}: to the client")
        self.assertGreater(compared, 50)

    def test_creates(self) -> None:
        """Of a create, the daemon's answer passes as it is: there is nothing to add to it."""
        for transcript in filter(_rewritten, TRANSCRIPTS):
            wire = self.through(transcript, None)
            self.assertTrue(wire.to_client.endswith(transcript.daemon), transcript.name)


def _content(answer: bytes) -> list[bytes]:
    """An answer's head and its content; complete, or this fails."""
    parser = ResponseParser()
    parser.expect(RequestParser().feed(request("GET /events"))[0])  # type: ignore[arg-type]
    head, *parts, end = parser.feed(answer)
    assert isinstance(end, EndOfMessage)
    return [head.raw, b"".join(part.payload for part in parts if isinstance(part, Data)), end.raw]


def _is_stream(transcript: Transcript) -> bool:
    """A raw stream without an upgrade."""
    return transcript.closed and transcript.statuses == (200,) and b"/attach" in transcript.requests[0][1]
