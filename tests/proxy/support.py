# -*- test-case-name: tests.proxy.test_exchange -*-
"""
Scripts for an exchange, messages, and a whole proxy in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import error_body
from remotedocker.errors import DaemonUnreachable, RemoteDockerError
from remotedocker.proxy._commands import (
    ClientBytes,
    Command,
    Connect,
    DaemonConnected,
    Event,
    Record,
    Recorded,
    ToClient,
    ToDaemon,
)
from remotedocker.proxy._exchange import Exchange
from remotedocker.proxy._turn import Rules
from tests.fakes.containers import FakeContainers

__all__ = [
    "ScriptCase",
    "answer",
    "chunked",
    "error",
    "lost",
    "request",
]


def request(line: str, body: bytes = b"", headers: str = "Host: docker\r\n", length: bool = True) -> bytes:
    """
    @param line: method and target.
    @param length: there is a body of that length.
    """
    declared = f"Content-Length: {len(body)}\r\n" if length and body else ""
    return f"{line} HTTP/1.1\r\n{headers}{declared}\r\n".encode() + body


def answer(status: str, body: bytes = b"", headers: str = "", length: bool = True) -> bytes:
    """
    @param status: code and reason.
    @param length: its length is declared.
    """
    declared = f"Content-Length: {len(body)}\r\n" if length else ""
    return f"HTTP/1.1 {status}\r\n{headers}{declared}\r\n".encode() + body


def chunked(*chunks: bytes, head: str = "200 OK", end: bool = True) -> bytes:
    """An answer in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    start = f"HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return start + body + (b"0\r\n\r\n" if end else b"")


def error(status: str, message: str, close: bool = False, to_head: bool = False) -> bytes:
    """An answer that the proxy makes."""
    body = error_body(message)
    connection = "Connection: close\r\n" if close else ""
    made = answer(status, body, f"Content-Type: application/json\r\n{connection}")
    return made[: -len(body)] if to_head else made


def lost(reason: str) -> RemoteDockerError:
    """What the exchange says of a daemon that gave no answer."""
    return DaemonUnreachable(socket="unix:///d.sock", destination="me@remote", reason=reason)


def _merged(commands: list[Command]) -> list[Command]:
    """Sends in a row as one, and no records."""
    merged: list[Command] = []
    for command in commands:
        last = merged[-1] if merged else None
        if isinstance(command, ToClient) and isinstance(last, ToClient):
            merged[-1] = ToClient(last.data + command.data)
        elif isinstance(command, ToDaemon) and isinstance(last, ToDaemon):
            merged[-1] = ToDaemon(last.data + command.data)
        elif not isinstance(command, Record):
            merged.append(command)
    return merged


class ScriptCase(SynchronousTestCase):
    """
    Plays scripts: an event, and all the commands that it leads to. Sends in a row count as one.

    @ivar recorded: what C{--dump} would show.
    """

    def setUp(self) -> None:
        """A connection to which nothing has happened."""
        self.containers = FakeContainers()
        self.begin()

    def begin(self, **rules: Any) -> None:
        """A new connection, under other rules."""
        self.exchange = Exchange(Rules(view=self.containers, daemon_lost=lost, **rules))
        self.recorded: list[Recorded] = []

    def play(self, event: Event, *expected: Command) -> None:
        """C{event} leads to exactly these commands."""
        self.assertEqual(self.play_any(event), list(expected))

    def play_any(self, event: Event) -> list[Command]:
        """@return: what C{event} leads to."""
        commands = self.exchange.receive(event)
        self.recorded += [command.what for command in commands if isinstance(command, Record)]
        return _merged(commands)

    def forwarded(self, data: bytes, bulk: bool = False) -> None:
        """The first request of a connection, with nothing to be done about it, goes to the daemon."""
        self.play(ClientBytes(data), Connect(bulk))
        self.play(DaemonConnected(), ToDaemon(data))
