# -*- test-case-name: tests.ssh.test_remote -*-
"""
Remote commands (RFC 4254 section 6): a session channel whose end tells how the command ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ProcessTerminated
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from remotedocker.interfaces import CommandResult
from remotedocker.ssh._channel import Channel
from remotedocker.ssh._wire import Reader, string

if TYPE_CHECKING:
    from remotedocker.ssh._connection import Connection

__all__ = ["CommandChannel", "CommandRunner", "SubsystemChannel"]

_STDERR_KEPT = 64 << 10
_STDERR_TYPE = 1


class CommandChannel(Channel):
    """
    A channel to a command's standard input and output. The far side's EOF alone does not end it, for the exit
    status may follow.

    @ivar exit_status: once the command has exited.
    @ivar exit_signal: without C{SIG}, once a signal has ended it.
    """

    ends_with_eof = False
    #: What the session shall run.
    request_name = b"exec"

    def __init__(self, connection: Connection, command: str) -> None:
        super().__init__(connection, b"session", b"", f"`{command}`")
        self._command = command
        self._stderr = b""
        self.exit_status: int | None = None
        self.exit_signal = ""

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB of standard error."""
        return self._stderr[-_STDERR_KEPT:]

    def confirmed(self, remote_id: int, window: int, packet: int) -> None:
        """Starts the command; what is written at once follows without waiting for the server's answer."""
        super().confirmed(remote_id, window, packet)
        self.request(self.request_name, string(self._command.encode()), True)

    def request_answered(self, success: bool) -> None:
        """The server started the command, or not."""
        if not success:
            self._break(ConnectionLost(f"the server does not run {self.description}"))

    def extended_received(self, kind: int, data: bytes) -> None:
        """Keeps the last of standard error."""
        if kind == _STDERR_TYPE:
            self._stderr += data
            if len(self._stderr) > 2 * _STDERR_KEPT:
                self._stderr = self._stderr[-_STDERR_KEPT:]
        super().extended_received(kind, data)

    def request_received(self, name: bytes, payload: bytes) -> bool:
        """RFC 4254 section 6.10."""
        reader = Reader(payload)
        if name == b"exit-status":
            self.exit_status = reader.uint32()
        elif name == b"exit-signal":
            self.exit_signal = reader.text()
        else:
            return False
        return True

    def _end_reason(self) -> Failure:
        """
        @return: C{ConnectionDone} for success, C{ProcessTerminated} with the last of standard error
            otherwise.
        """
        if self.exit_status == 0:
            return Failure(ConnectionDone())
        if self.exit_status is None and not self.exit_signal:
            return (
                super()._end_reason()
                if self.disconnecting
                else Failure(ConnectionLost("it never said how it ended"))
            )
        ended = ProcessTerminated(self.exit_status, self.exit_signal or None, self.exit_status)
        last_words = self.stderr.decode("utf-8", "replace").strip()
        ended.args = (f"{self.description} {ended}" + (f": {last_words}" if last_words else ""),)
        return Failure(ended)


class SubsystemChannel(CommandChannel):
    """A channel to a subsystem of the server's (RFC 4254 section 6.5), C{sftp} for example."""

    request_name = b"subsystem"


class CommandRunner(Protocol):
    """
    Feeds a command and collects what it prints.

    @ivar done: fires with a L{CommandResult}; fails with the reason if the channel was lost before the
        command ended.
    """

    def __init__(self, stdin: bytes) -> None:
        self._stdin = stdin
        self._stdout: list[bytes] = []
        self.done: Deferred[CommandResult] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        """The command has begun."""
        self.transport.write(self._stdin)
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """Standard output."""
        self._stdout.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The command has ended."""
        if self.done.called:
            return
        channel = self.transport
        if channel.exit_status is None and not channel.exit_signal:
            self.done.errback(reason)
            return
        output = b"".join(self._stdout)
        self.done.callback(CommandResult(channel.exit_status, channel.exit_signal, output, channel.stderr))
