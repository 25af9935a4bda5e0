# -*- test-case-name: tests.streams.test_relay -*-
"""
Two connections joined: what comes in at one goes out at the other.

What is guarded against:

 - Memory. Each transport is the producer of the other: a reader that stops makes the transport that writes to
   it full, which pauses the one that is read. What is held is a transport's own buffer and one read.
 - Half-close. The end of file of one side is passed on alone, after everything that was sent before it, and
   the other direction goes on. C{docker run} without a terminal ends its input at once and then waits for
   output.
 - Short successes. A side that breaks before its end of file makes the other break, too; a clean close would
   look as if everything had arrived.
 - Late wake-ups. A Twisted transport that is resumed after its end of file reports it again, and one that is
   half-closed after it was lost raises; so neither is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.streams._hangup import Hangups

__all__ = ["Relay", "RelayEnd", "RelayProtocol"]


@implementer(IPushProducer)
class RelayEnd:
    """
    One side of a L{Relay}: whoever owns its transport's protocol tells it what happens.

    @ivar transport: None before L{attach} and after the connection was lost.
    @ivar received: bytes that came in here.
    @ivar ended: its end of file came.
    @ivar gone: its connection is over.
    @ivar before_end: what its end of file, or its clean close, waits for before the other side gets it; None:
        nothing. It must not fail.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._early: list[bytes] = []
        self._forget_hangup: Callable[[], None] | None = None
        self.transport: Any = None
        self.peer: RelayEnd = self
        self.received = 0
        self.ended = False
        self.gone = False
        self.before_end: Callable[[], Deferred[None]] | None = None
        self._end_held = False
        self._aborted = False

    def attach(self, transport: Any) -> None:
        """The side is connected. It reads nothing until both are."""
        self.transport = transport
        if self.peer.gone:
            transport.abortConnection()
            return
        if self.peer.transport is None:
            transport.pauseProducing()
        self._relay.join_if_ready()

    def data_received(self, data: bytes) -> None:
        """Bytes came in; before the other side is there they are kept."""
        self.received += len(data)
        if self._relay.joined:
            if self.peer.transport is not None:
                self.peer.transport.write(data)
        else:
            self._early.append(data)

    def read_ended(self) -> None:
        """The end of file came in."""
        if self.ended:
            return
        self.ended = True
        if self._relay.joined:
            self.pass_end()

    def lost(self, reason: Failure) -> None:
        """The connection is over."""
        if self.gone:
            return
        self.gone = True
        self.transport = None
        self._forget()
        self._relay.end_lost(self, reason)

    # For the relay.

    def replay(self) -> None:
        """Passes on what came before the other side was there, and begins to read."""
        early, self._early = self._early, []
        if early:
            self.peer.transport.write(b"".join(early))
        if self.ended:
            self.pass_end()
        else:
            self.resumeProducing()

    def pass_end(self) -> None:
        """Passes the end of file on, when nothing holds it; with both directions ended, closes both."""
        before_end, self.before_end = self.before_end, None
        if before_end is None:
            self._pass_end()
        else:
            self._end_held = True
            before_end().addBoth(lambda _: self._release_end())

    def _release_end(self) -> None:
        self._end_held = False
        self._pass_end()

    @property
    def end_passed(self) -> bool:
        """The other side was given the end of file."""
        return self.ended and not self._end_held

    def _pass_end(self) -> None:
        peer = self.peer
        if peer.transport is not None:
            peer.transport.unregisterProducer()
            if self.gone or peer.end_passed:
                self.close()
                peer.close()
                return
        if self.transport is not None:
            self._forget_hangup = self._relay.watch_hangup(self.transport, self.abort)
        if self._aborted:
            # Nobody is there any more: that can be said together with the end.
            peer.close()
        elif peer.transport is not None:
            peer.transport.loseWriteConnection()

    def close(self) -> None:
        """Closes once everything is written."""
        self._forget()
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """Ends the connection at once; what was not sent is dropped."""
        self._aborted = True
        self._forget()
        if self.transport is not None:
            self.transport.abortConnection()

    def _forget(self) -> None:
        if self._forget_hangup is not None:
            self._forget_hangup()
            self._forget_hangup = None

    # IPushProducer, for the peer's transport.

    def pauseProducing(self) -> None:
        """The other side is full."""
        if self.transport is not None and not self.ended:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The other side has room."""
        if self.transport is not None and not self.ended:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other side is lost; L{lost} deals with it."""


class Relay:
    """
    Joins two connections.

    @param on_end: called once, when both are over.
    @param hangups: tells when a half-closed side vanishes.
    @ivar left: one side.
    @ivar right: the other.
    @ivar joined: both are connected.
    """

    def __init__(self, on_end: Callable[[Relay], None] | None = None, hangups: Hangups | None = None) -> None:
        self._on_end = on_end
        self._hangups = hangups
        self.joined = False
        self.left = RelayEnd(self)
        self.right = RelayEnd(self)
        self.left.peer, self.right.peer = self.right, self.left

    def abort(self) -> None:
        """Ends both connections at once."""
        self.left.abort()
        self.right.abort()

    def attach(self, left: Any, right: Any) -> None:
        """Both sides are connected already."""
        self.left.transport, self.right.transport = left, right
        self.join_if_ready()

    def join_if_ready(self) -> None:
        """Begins when both sides are attached."""
        if self.joined or self.left.transport is None or self.right.transport is None:
            return
        self.joined = True
        ends = (self.left, self.right)
        for end in ends:
            end.transport.registerProducer(end.peer, True)
        for end in ends:
            if end.transport is not None and end.peer.transport is not None:
                end.replay()

    def end_lost(self, end: RelayEnd, reason: Failure) -> None:
        """One side is over: the other ends in the same way, after what it still has to send."""
        peer = end.peer
        if peer.gone:
            self._finish()
        elif not self.joined or not (end.ended or reason.check(ConnectionDone)):
            peer.abort()
        elif not end.ended:
            end.read_ended()
        elif end.end_passed:
            peer.close()

    def watch_hangup(self, transport: Any, vanished: Callable[[], None]) -> Callable[[], None] | None:
        """@return: what ends the watch."""
        return None if self._hangups is None else self._hangups.watch(transport, vanished)

    def _finish(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)


@implementer(IHalfCloseableProtocol)
class RelayProtocol(Protocol):
    """A protocol that does nothing but feed one end of a relay."""

    def __init__(self, end: RelayEnd) -> None:
        self._end = end

    def connectionMade(self) -> None:
        """The side is there."""
        self._end.attach(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """To the other side."""
        self._end.data_received(data)

    def readConnectionLost(self) -> None:
        """To the other side, alone."""
        self._end.read_ended()

    def writeConnectionLost(self) -> None:
        """The half-close was carried out: nothing is left to be done."""

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """The other side ends, too."""
        self._end.lost(reason)
