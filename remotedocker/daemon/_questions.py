# -*- test-case-name: tests.daemon.test_questions -*-
"""
Questions to the daemon, over connections that are kept for the next one: opening one costs a round trip.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from remotedocker.daemon._connection import Answer, ConnectionEnded, QuestionProtocol, request
from remotedocker.errors import DaemonUnreachable, RemoteDockerError
from remotedocker.interfaces import IRemote

__all__ = ["TIMEOUT", "Questions"]

TIMEOUT = 30.0
"""Seconds that the daemon may take for an answer."""

_MOST_CONNECTIONS = 8
"""Questions that are asked at the same time; more wait for their turn."""

_MOST_IDLE = 2
"""Connections that are kept for the next questions."""

P = TypeVar("P", bound=Protocol)
T = TypeVar("T")


class Questions:
    """
    Asks, and keeps the connections.

    A question is a GET, a HEAD or a DELETE: it makes no difference how often it is asked, so one that was
    lost with its connection is asked once more, on a new one.
    """

    def __init__(self, reactor: Any, remote: IRemote, socket: str) -> None:
        """
        @param socket: where the daemon listens, for messages.
        """
        self._reactor = reactor
        self._remote = remote
        self._socket = socket
        self._turns = DeferredSemaphore(_MOST_CONNECTIONS)
        self._idle: list[QuestionProtocol] = []
        self._connections: set[QuestionProtocol] = set()
        self._stopped = False

    async def ask(self, method: str, target: str) -> Answer:
        """
        @param target: path and query, encoded.
        @raise RemoteDockerError: there is no answer: L{DaemonUnreachable}, an L{SSHError
            <remotedocker.errors.SSHError>} or L{DaemonError<remotedocker.errors.DaemonError>}.
        """
        await self._turns.acquire()
        try:
            try:
                return await self._ask_over(await self._connection(), method, target)
            except ConnectionEnded:
                return await self._ask_over(await self._new_connection(), method, target)
        except ConnectionEnded as error:
            raise self.unreachable(f"the connection was lost before the answer ({error})") from error
        finally:
            self._turns.release()

    async def connect(self, protocol: P) -> P:
        """
        Connects C{protocol} to the daemon.

        @raise RemoteDockerError: it cannot be reached.
        """
        endpoint: IStreamClientEndpoint = self._remote.docker_endpoint()
        try:
            await endpoint.connect(Factory.forProtocol(lambda: protocol))
        except (RemoteDockerError, CancelledError):
            raise
        except Exception as error:
            raise self.unreachable(str(error) or type(error).__name__) from error
        return protocol

    async def in_time(self, answer: Deferred[T]) -> T:
        """
        @return: what C{answer} fires with; after L{TIMEOUT} it is cancelled.
        @raise DaemonUnreachable: there was no answer in time.
        """
        answer.addTimeout(TIMEOUT, self._reactor)
        try:
            return await answer
        except DeferredTimeoutError as error:
            raise self.unreachable(f"no answer in {TIMEOUT:.0f} s") from error

    def unreachable(self, reason: str) -> DaemonUnreachable:
        """An error about this daemon."""
        return DaemonUnreachable(socket=self._socket, destination=self._remote.destination, reason=reason)

    def stop(self) -> None:
        """Ends all connections; questions that are open fail."""
        self._stopped = True
        for connection in [*self._connections]:
            connection.abort()

    async def _connection(self) -> QuestionProtocol:
        """One that was kept, or a new one."""
        if self._idle:
            return self._idle.pop()
        return await self._new_connection()

    async def _new_connection(self) -> QuestionProtocol:
        if self._stopped:
            raise self.unreachable("remotedocker is stopping")
        connection = await self.connect(QuestionProtocol(self._forget))
        self._connections.add(connection)
        if self._stopped:
            connection.abort()
        return connection

    async def _ask_over(self, connection: QuestionProtocol, method: str, target: str) -> Answer:
        answer = await self.in_time(connection.ask(request(method, target)))
        if connection.reusable and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    def _forget(self, connection: QuestionProtocol) -> None:
        """The connection was lost."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
