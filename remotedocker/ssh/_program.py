# -*- test-case-name: tests.ssh.test_program -*-
"""
Local programs that are run for what they print: C{SSH_ASKPASS}, and C{KnownHostsCommand}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

__all__ = ["ProgramEnd", "run_program"]

_STDERR_KEPT = 4096


@frozen
class ProgramEnd:
    """
    How a program ended.

    @ivar status: its exit status; None if a signal ended it.
    @ivar stdout: what it printed, up to a limit.
    @ivar stderr: the end of what it said.
    """

    status: int | None
    stdout: bytes
    stderr: bytes


def run_program(
    reactor: Any, words: Sequence[str], environ: Mapping[str, str], limit: int
) -> Deferred[ProgramEnd]:
    """
    @param words: the program's path, and its arguments; there is no shell.
    @param limit: bytes of its output that are kept.
    @return: fires when it has ended; cancelling kills it.
    @raise OSError: it cannot be run.
    """
    child = _Child(limit)
    reactor.spawnProcess(child, words[0], list(words), env=dict(environ))
    return child.ended


class _Child(ProcessProtocol):
    """A program that runs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stdout = self._stderr = b""
        self.ended: Deferred[ProgramEnd] = Deferred(self._kill)

    def _kill(self, _: Deferred[ProgramEnd]) -> None:
        """Nobody waits any more."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
        self.transport.loseConnection()

    def connectionMade(self) -> None:
        """It has nothing to read."""
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """It prints something."""
        self._stdout = (self._stdout + data)[: self._limit]

    def errReceived(self, data: bytes) -> None:
        """It complains."""
        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def processEnded(self, reason: Failure) -> None:
        """It is done."""
        if not self.ended.called:
            status = getattr(reason.value, "exitCode", None)
            self.ended.callback(ProgramEnd(status, self._stdout, self._stderr))
