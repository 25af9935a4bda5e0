# -*- test-case-name: tests.ssh.test_primer -*-
"""
The first thing on every connection: a command that does nothing. OpenSSH's server turns TCP_NODELAY on for a
connection only when a session begins on it; one that only forwards would wait for the network's
acknowledgements before it sends small packets. After it the round trip is measured.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from remotedocker.ssh._command import CommandChannel
from remotedocker.ssh._connection import Connection

__all__ = ["Primer"]

_LONGEST_SECONDS = 5.0


class Primer:
    """
    Runs the command. Other sessions had better wait for its end (L{wait}), for the server may allow only one.
    """

    def __init__(self, clock: IReactorTime, connection: Connection) -> None:
        self._over_already = False
        self._done = False
        self._waiting: list[Deferred[None]] = []
        self._connection = connection
        self._channel = CommandChannel(connection, "true")
        self._call = clock.callLater(_LONGEST_SECONDS, self._over)
        connection.open(self._channel).addCallbacks(self._opened, self._over)

    def _opened(self, channel: CommandChannel) -> None:
        """The command is being started."""
        channel.attach(_Until(self._over))

    def _over(self, _: object = None) -> None:
        """The command has ended, was refused, or takes too long."""
        if self._over_already:
            return
        self._over_already = True
        if self._call.active():
            self._call.cancel()
        self._channel.abortConnection()
        self._connection.ask_if_alive().addBoth(self._measured)

    def _measured(self, _: object) -> None:
        """The server has answered, or the connection is lost."""
        self._done = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def deferred(self) -> Deferred[None]:
        """@return: fires when the command has ended, and the round trip is known."""
        waiting: Deferred[None] = Deferred(lambda cancelled: self._waiting.remove(cancelled))
        if self._done:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    async def wait(self) -> None:
        """Returns as L{deferred} fires."""
        await self.deferred()


class _Until(Protocol):
    """Calls a function when the command has ended."""

    def __init__(self, over: object) -> None:
        self._over = over

    def connectionMade(self) -> None:
        """It needs no input."""
        self.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended."""
        self._over()
