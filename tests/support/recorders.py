# -*- test-case-name: tests.streams.test_transports -*-
"""
Protocols that record what happens to their connection.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["FullCloseRecorder", "Recorder"]


@implementer(IHalfCloseableProtocol)
class Recorder(Protocol):
    """
    Records what happens to a connection, in order.

    @ivar received: all data.
    @ivar events: C{"made"}, C{"data"} (once for data in a row), C{"eof"}, C{"write closed"}, C{"lost"}.
    @ivar reason: why the connection was lost.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.reason: Failure | None = None

    @property
    def eof(self) -> bool:
        """The other side's end of file came."""
        return "eof" in self.events

    @property
    def lost(self) -> bool:
        """The connection is over."""
        return self.reason is not None

    def connectionMade(self) -> None:
        """Recorded."""
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        """Recorded."""
        self.received += data
        if self.events[-1:] != ["data"]:
            self.events.append("data")

    def readConnectionLost(self) -> None:
        """Recorded."""
        self.events.append("eof")

    def writeConnectionLost(self) -> None:
        """Recorded."""
        self.events.append("write closed")

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Recorded."""
        self.events.append("lost")
        self.reason = reason


class FullCloseRecorder(Protocol):
    """
    As L{Recorder}, for a protocol that knows no half-close.

    @ivar received: all data.
    @ivar reason: why the connection was lost.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Recorded."""
        self.received += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """Recorded."""
        self.reason = reason
