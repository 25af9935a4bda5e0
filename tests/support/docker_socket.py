"""
A unix socket that answers as a Docker daemon's does, as far as C{_ping} and a few streams go.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["EchoDaemon"]

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nOK"


class _Conversation(Protocol):
    """Answers C{GET /_ping}, and echoes everything else."""

    def __init__(self, daemon: EchoDaemon) -> None:
        self._daemon = daemon

    def connectionMade(self) -> None:
        """Counted."""
        self._daemon.conversations.append(self)

    def dataReceived(self, data: bytes) -> None:
        """A request for C{_ping}, or something else."""
        self._daemon.received += len(data)
        assert self.transport is not None
        if data.startswith(b"GET /_ping"):
            self.transport.write(_OK)
            if b"Connection: close" in data:
                self.transport.loseConnection()
        elif not self._daemon.silent:
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Counted no more."""
        self._daemon.conversations.remove(self)


class EchoDaemon(Factory):
    """
    The daemon.

    @ivar conversations: the connections that stand.
    @ivar received: bytes, on all connections.
    @ivar silent: whether it does not echo.
    """

    noisy = False

    def __init__(self) -> None:
        self.conversations: list[Any] = []
        self.received = 0
        self.silent = False

    def buildProtocol(self, addr: object) -> Protocol:
        """One connection."""
        return _Conversation(self)

    async def listen(self, reactor: Any, path: str) -> Any:
        """@return: the listening port."""
        return await UNIXServerEndpoint(reactor, path, backlog=500).listen(self)
