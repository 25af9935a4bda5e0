# -*- test-case-name: tests.proxy.test_dump -*-
"""
Tests for L{remotedocker.proxy._dump}.
"""

from __future__ import annotations

import os
import stat
from datetime import datetime, timezone
from typing import Any

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from remotedocker.http import RequestHead, RequestParser, ResponseHead, ResponseParser
from remotedocker.proxy import Dump, open_dump
from remotedocker.proxy._commands import (
    Answered,
    OwnAnswer,
    Recorded,
    Requested,
    Rewritten,
    TurnOver,
    Upgraded,
)
from tests.proxy.support import answer, error, request


def _request(data: bytes) -> RequestHead:
    (head, *_) = RequestParser().feed(data)
    assert isinstance(head, RequestHead)
    return head


def _answer(data: bytes) -> ResponseHead:
    parser = ResponseParser()
    parser.expect(_request(request("GET /")))
    (head, *_) = parser.feed(data)
    assert isinstance(head, ResponseHead)
    return head


class DumpTests(SynchronousTestCase):
    """Records as text."""

    def shown(self, what: Recorded) -> list[str]:
        """@return: the lines of one record, without the first."""
        written: list[str] = []
        dump = Dump(written.append, lambda: datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc))
        dump(7, what)
        (text,) = written
        first, *lines = text.splitlines()
        self.assertEqual(first, "2026-11-23T12:00:00.000+00:00 #7")
        return lines

    def test_heads(self) -> None:
        """Heads are shown as they came, with their direction."""
        self.assertEqual(
            self.shown(Requested(_request(request("GET /v1.41/info")))),
            ["> GET /v1.41/info HTTP/1.1", "> Host: docker", "> "],
        )
        self.assertEqual(
            self.shown(Answered(_answer(answer("204 No Content", length=False)))),
            ["< HTTP/1.1 204 No Content", "< "],
        )

    def test_credentials(self) -> None:
        """Credentials in heads are masked, however they are spelled."""
        for name in ("X-Registry-Auth", "x-registry-config", "AUTHORIZATION", "Cookie"):
            shown = "\n".join(
                self.shown(
                    Requested(_request(request("POST /build", headers=f"{name}: c2VjcmV0\r\nA: b\r\n")))
                )
            )
            self.assertIn(f"> {name}: ***", shown)
            self.assertIn("> A: b", shown)
            self.assertNotIn("c2VjcmV0", shown)

    def test_credentialsInTarget(self) -> None:
        """So are build arguments and the like."""
        shown = self.shown(Requested(_request(request("POST /build?t=x&buildargs=secret&dockerfile=D"))))
        self.assertEqual(shown[0], "> POST /build?t=x&buildargs=***&dockerfile=D HTTP/1.1")

    def test_rewritten(self) -> None:
        """Bodies that are rewritten are shown before and after, a new target, too."""
        head = _request(request("POST /containers/create"))
        self.assertEqual(
            self.shown(Rewritten(head, b"{}\n", b'{"a": 1}\n', to_daemon=True)),
            ["= request rewritten", "- {}", '+ {"a": 1}'],
        )
        listed = _request(request("GET /containers/json?filters={}"))
        self.assertEqual(
            self.shown(Rewritten(listed, b"", b"", to_daemon=True, target=b"/containers/json")),
            ["= request rewritten", "+ /containers/json"],
        )
        self.assertEqual(self.shown(Rewritten(head, b"a", b"b", to_daemon=False))[0], "= answer rewritten")

    def test_authBody(self) -> None:
        """Bodies of C{/auth} are never shown."""
        head = _request(request("POST /v1.41/auth"))
        self.assertEqual(
            self.shown(Rewritten(head, b"secret", b"secret2", to_daemon=True)), ["= request rewritten"]
        )

    def test_bigBody(self) -> None:
        """Big bodies are cut."""
        head = _request(request("GET /containers/json"))
        shown = self.shown(Rewritten(head, b"x" * 300000, b"", to_daemon=False))
        self.assertEqual(shown[-1], "- ... and 37856 bytes more")

    def test_controlCharacters(self) -> None:
        """Nothing that is shown can command a terminal."""
        head = _request(request("POST /containers/create"))
        shown = self.shown(Rewritten(head, b"\x1b[2J\xff", b"", to_daemon=True))
        self.assertEqual(shown[1], "- \\x1b[2J\\xff")

    def test_others(self) -> None:
        """Our own answers, upgrades and the ends of turns."""
        own = self.shown(OwnAnswer(error("403 Forbidden", "no")))
        self.assertEqual((own[0], own[-1]), ("= answered by remotedocker", '< {"message":"no"}'))
        self.assertEqual(self.shown(Upgraded()), ["= a raw stream from here on"])
        self.assertEqual(self.shown(TurnOver(1, 2)), ["= 1 bytes to the daemon, 2 to the client"])


class OpenTests(SynchronousTestCase):
    """Where records go."""

    def logged(self) -> list[Any]:
        """@return: what is logged from now on."""
        events: list[Any] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return events

    def test_file(self) -> None:
        """They are added to a file that is its owner's alone, each at once."""
        path = self.mktemp()
        open_dump(path)(1, TurnOver(1, 2))
        dump = open_dump(path)
        dump(2, TurnOver(3, 4))
        with open(path) as file:
            text = file.read()
        self.assertEqual([line[-2:] for line in text.splitlines()[::2]], ["#1", "#2"])
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_fullDisk(self) -> None:
        """A file that cannot be written any more stops the dump, with one line in the log."""
        events = self.logged()
        dump = open_dump("/dev/full")
        dump(1, Upgraded())
        dump(1, Upgraded())
        self.assertEqual(
            [event["file"] for event in events if "stopped" in (event.get("log_format") or "")], ["/dev/full"]
        )

    def test_log(self) -> None:
        """C{-} is the log."""
        events = self.logged()
        open_dump("-")(1, Upgraded())
        self.assertTrue(any("a raw stream" in event.get("record", "") for event in events))

    def test_noFile(self) -> None:
        """A place that cannot be written is an error."""
        self.assertRaises(OSError, open_dump, "/nonexistent/file")
