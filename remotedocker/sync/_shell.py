# -*- test-case-name: tests.sync.test_shell -*-
"""
A shell on the remote that stays: each request costs one round trip and no new channel.

Requests are script text. Behind each the shell prints a mark that nothing else can print (random, new for
each session), so that the output may have any bytes. Requests may be sent before earlier ones were answered.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.sync._flow import Gate
from remotedocker.sync._shellwords import PREAMBLE

__all__ = ["CommandStream", "Shell", "StreamLost"]

Take = Callable[[bytes], object]
"""Takes a piece of what a script prints."""


class StreamLost(Exception):
    """The remote's command ended before it had answered."""


class Shell(Protocol):
    """The protocol of a C{sh} that reads its script from standard input."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(12).encode("ascii")
        self._pending: deque[tuple[bytes, Deferred[bytes], Take | None]] = deque()
        self._output = bytearray()
        self._searched = 0
        self._serial = 0
        self.alive = True
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Makes the shell's own messages part of the output, and its ways the same everywhere."""
        assert self.transport is not None
        self.transport.write(PREAMBLE)

    def request(self, script: bytes, take: Take | None = None) -> Deferred[bytes]:
        """
        @param take: gets what C{script} prints while it comes, but for its end; it must not raise.
        @return: fires with what C{script} printed, or the end of that. Fails with L{StreamLost}.
        """
        answer: Deferred[bytes] = Deferred()
        if not self.alive or self.transport is None:
            answer.errback(StreamLost("the shell on the remote has ended"))
            return answer
        self._serial += 1
        mark = b"\n%s %d\n" % (self._mark, self._serial)
        self._pending.append((mark, answer, take))
        self.transport.write(script + b"\nprintf '\\n%s %d\\n'\n" % (self._mark, self._serial))
        return answer

    def dataReceived(self, data: bytes) -> None:
        """Output; maybe the end of an answer."""
        self._output += data
        while self._pending:
            mark, answer, take = self._pending[0]
            found = self._output.find(mark, max(0, self._searched - len(mark)))
            if found < 0:
                if take is not None and len(self._output) > len(mark):
                    take(bytes(self._output[: -len(mark)]))
                    del self._output[: -len(mark)]
                self._searched = len(self._output)
                return
            text = bytes(self._output[:found])
            del self._output[: found + len(mark)]
            self._searched = 0
            self._pending.popleft()
            answer.callback(text)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fails what was not answered."""
        self.alive = False
        said = bytes(self._output[-400:]).decode("utf-8", "replace").strip()
        pending, self._pending = self._pending, deque()
        for _, answer, _ in pending:
            answer.errback(StreamLost(said or reason.getErrorMessage()))
        self.lost.callback(None)

    def close(self) -> None:
        """Ends the shell."""
        if self.alive and self.transport is not None:
            self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class CommandStream(Protocol):
    """
    The protocol of a command that is fed, or that feeds us.

    @ivar receive: takes what the command prints.
    @ivar gate: opens and closes as the transport wants more or less.
    @ivar ended: fires with C{None} when the command has ended well, and fails with what ended it otherwise.
    @ivar gone: fires with C{None} when it has ended, however.
    """

    def __init__(self) -> None:
        self.receive: Callable[[bytes], object] = len
        self.gate = Gate()
        self.ended: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        """Registers the gate."""
        assert self.transport is not None
        self.transport.registerProducer(self.gate, True)  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        """Output of the command."""
        self.receive(data)

    def readConnectionLost(self) -> None:
        """The command has closed its output."""

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def finish(self) -> None:
        """No more input for the command."""
        if self.reason is not None:
            return
        assert self.transport is not None
        self.transport.unregisterProducer()  # type: ignore[attr-defined]
        self.transport.loseWriteConnection()  # type: ignore[attr-defined]

    def abort(self) -> None:
        """Ends it at once, if it has not ended by itself; nobody asks how any more."""
        self.ended.addErrback(lambda _: None)
        if self.reason is None:
            assert self.transport is not None
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The command has ended."""
        self.reason = reason
        self.gone.callback(None)
        self.gate.fail(StreamLost(reason.getErrorMessage()))
        if reason.check(ConnectionDone):
            self.ended.callback(None)
        else:
            self.ended.errback(reason)
