# -*- test-case-name: tests.proxy.test_dump -*-
"""
C{--dump}: what passes, for people to read, with credentials masked.

Heads are shown as they came; of bodies only those that are rewritten here, before and after; raw streams and
other bodies as the number of their bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, TextIO

from twisted.logger import Logger

from remotedocker.docker import Endpoint, route
from remotedocker.proxy._commands import (
    Answered,
    OwnAnswer,
    Recorded,
    Requested,
    Rewritten,
    TurnOver,
    Upgraded,
)

__all__ = ["Dump", "open_dump"]

_SECRET_FIELDS = re.compile(
    rb"^((?:X-Registry-Auth|X-Registry-Config|Authorization|Proxy-Authorization|Cookie|Set-Cookie"
    rb"|X-Docker-Expose-Session-Sharedkey)[ \t]*:)[^\r\n]*",
    re.IGNORECASE | re.MULTILINE,
)
_SECRET_PARAMETERS = re.compile(
    rb"([?&](?:[a-z]*password|[a-z]*token|[a-z]*auth|buildargs)=)[^&\s]*", re.IGNORECASE
)
_LONGEST_BODY = 256 * 1024


def _masked(head: bytes) -> bytes:
    """A head, or a target, without credentials."""
    return _SECRET_PARAMETERS.sub(rb"\1***", _SECRET_FIELDS.sub(rb"\1 ***", head))


def _indented(prefix: str, data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8", "backslashreplace").splitlines():
        # Whatever a client sends, a terminal that shows the dump obeys none of it.
        yield prefix + "".join(
            char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in line
        )


def _body(prefix: str, body: bytes) -> Iterator[str]:
    yield from _indented(prefix, body[:_LONGEST_BODY])
    if len(body) > _LONGEST_BODY:
        yield f"{prefix}... and {len(body) - _LONGEST_BODY} bytes more"


def _requested(what: Requested) -> Iterator[str]:
    yield from _indented("> ", _masked(what.head.raw))


def _answered(what: Answered) -> Iterator[str]:
    yield from _indented("< ", _masked(what.head.raw))


def _own_answer(what: OwnAnswer) -> Iterator[str]:
    yield "= answered by remotedocker"
    head, _, body = what.data.partition(b"\r\n\r\n")
    yield from _indented("< ", _masked(head))
    yield from _indented("< ", body)


def _rewritten(what: Rewritten) -> Iterator[str]:
    yield f"= {'request' if what.to_daemon else 'answer'} rewritten"
    if what.target is not None:
        yield from _indented("+ ", _masked(what.target))
    if route(what.request.method, what.request.target).endpoint is Endpoint.AUTH:
        return
    if what.before != what.after:
        yield from _body("- ", what.before)
        yield from _body("+ ", what.after)


def _upgraded(what: Upgraded) -> Iterator[str]:
    yield "= a raw stream from here on"


def _turn_over(what: TurnOver) -> Iterator[str]:
    yield f"= {what.sent} bytes to the daemon, {what.received} to the client"


_WRITERS: Mapping[type, Callable[[Any], Iterator[str]]] = {
    Requested: _requested,
    Answered: _answered,
    OwnAnswer: _own_answer,
    Rewritten: _rewritten,
    Upgraded: _upgraded,
    TurnOver: _turn_over,
}


class Dump:
    """
    Writes what passes.

    @param write: takes one record, of several lines.
    @param now: the time of day.
    """

    def __init__(
        self, write: Callable[[str], None], now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        self._write = write
        self._now = now

    def __call__(self, connection: int, what: Recorded) -> None:
        """
        @param connection: the number of the client connection.
        """
        stamp = self._now().isoformat(timespec="milliseconds")
        lines = [f"{stamp} #{connection}", *_WRITERS[type(what)](what)]
        self._write("\n".join(lines) + "\n")


class _ToLog:
    """Records as log lines."""

    _log = Logger()

    def __call__(self, text: str) -> None:
        """One record."""
        self._log.info("{record}", record=text.rstrip("\n"))


class _ToFile:
    """Records at the end of a file, each at once."""

    _log = Logger()

    def __init__(self, name: str, file: TextIO) -> None:
        self._name = name
        self._file = file
        self._failed = False

    def __call__(self, text: str) -> None:
        """One record; a full disk stops the dump, nothing else."""
        if self._failed:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._failed = True
            self._log.error("--dump {file} stopped: {error}", file=self._name, error=error)


def open_dump(destination: str) -> Dump:
    """
    @param destination: the file's path (mode 0600, added to); C{-}: the log.
    @raise OSError: it cannot be written.
    """
    if destination == "-":
        return Dump(_ToLog())
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return Dump(_ToFile(destination, os.fdopen(descriptor, "w", encoding="utf-8")))
