# -*- test-case-name: tests.proxy.test_protocol -*-
"""
The connection to the daemon as a protocol, and the valve that stops reading a transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.streams import RelayEnd

__all__ = ["DaemonOwner", "DaemonProtocol", "Valve"]


@implementer(IPushProducer)
@define(eq=False)
class Valve:
    """
    Reads a transport only while nobody minds: neither the exchange nor the transport that is written to.

    After the transport's end of file, or when somebody else reads it, it is shut for good; a Twisted
    transport that is resumed after its end of file reports that again.
    """

    _transport: Any
    _unwanted: bool = False
    _full: bool = False
    _retired: bool = False
    _paused: bool = field(default=False, init=False)

    def set_wanted(self, wanted: bool) -> None:
        """Whether the exchange wants to be fed."""
        self._unwanted = not wanted
        self._set()

    def pauseProducing(self) -> None:
        """The other transport is full."""
        self._full = True
        self._set()

    def resumeProducing(self) -> None:
        """The other transport has room."""
        self._full = False
        self._set()

    def stopProducing(self) -> None:
        """The other transport is lost: it does not hold this one up any more."""
        self.resumeProducing()

    def retire(self) -> None:
        """Leaves the transport alone from now on."""
        self._retired = True

    def _set(self) -> None:
        pause = self._unwanted or self._full
        if self._retired or pause == self._paused:
            return
        self._paused = pause
        if pause:
            self._transport.pauseProducing()
        else:
            self._transport.resumeProducing()


class DaemonOwner(Protocol):
    """Who uses a L{DaemonProtocol}."""

    def daemon_made(self, daemon: DaemonProtocol) -> None:
        """It is connected."""

    def daemon_received(self, daemon: DaemonProtocol, data: bytes) -> None:
        """Bytes came."""

    def daemon_ended(self, daemon: DaemonProtocol) -> None:
        """The end of file came."""

    def daemon_lost(self, daemon: DaemonProtocol, reason: Failure) -> None:
        """The connection is over."""


@implementer(IHalfCloseableProtocol)
class DaemonProtocol(TwistedProtocol):
    """
    One connection to the daemon.

    @ivar attempt: which of its owner's attempts it belongs to.
    @ivar ended: its end of file came.
    @ivar relay_end: where everything goes once the connection is a raw stream.
    @ivar cut_off: called when that breaks before its end of file, and the client is still there.
    """

    transport: Any

    def __init__(self, owner: DaemonOwner, attempt: int) -> None:
        self._owner = owner
        self.attempt = attempt
        self.ended = False
        self.relay_end: RelayEnd | None = None
        self.cut_off: Callable[[], object] | None = None

    def connectionMade(self) -> None:
        """Reading is under control from now on."""
        self.valve = Valve(self.transport)
        self._owner.daemon_made(self)

    def dataReceived(self, data: bytes) -> None:
        """To the owner, or into the relay."""
        if self.relay_end is not None:
            self.relay_end.data_received(data)
        else:
            self._owner.daemon_received(self, data)

    def readConnectionLost(self) -> None:
        """To the owner, or into the relay."""
        self.ended = True
        self.valve.retire()
        if self.relay_end is not None:
            self.relay_end.read_ended()
        else:
            self._owner.daemon_ended(self)

    def writeConnectionLost(self) -> None:
        """The half-close was carried out: nothing is left to be done."""

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """To the owner, or into the relay."""
        self.valve.retire()
        if self.relay_end is not None:
            whole = self.ended or reason.check(ConnectionDone) or self.relay_end.peer.gone
            if self.cut_off is not None and not whole:
                self.cut_off()
            self.relay_end.lost(reason)
        else:
            self._owner.daemon_lost(self, reason)
