# -*- test-case-name: tests.proxy.test_exchange -*-
"""
The vocabulary between an L{Exchange<remotedocker.proxy._exchange.Exchange>}, which decides, and the protocol
that performs: what happened (events) and what is to be done (commands). All of it are values.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.http import RequestHead, ResponseHead
from remotedocker.proxy._asked import Effect

__all__ = [
    "AbortClient",
    "Answered",
    "ClientBytes",
    "ClientEnd",
    "ClientLost",
    "CloseClient",
    "CloseDaemon",
    "Command",
    "Connect",
    "DaemonBytes",
    "DaemonConnected",
    "DaemonEnd",
    "DaemonLost",
    "DaemonRefused",
    "EndDaemon",
    "Event",
    "Hijack",
    "Hold",
    "Notify",
    "OwnAnswer",
    "Record",
    "Recorded",
    "Rejected",
    "Report",
    "Requested",
    "Resolved",
    "Rewritten",
    "ToClient",
    "ToDaemon",
    "TurnOver",
    "Upgraded",
]


# Events: what happened.


@frozen
class ClientBytes:
    """The client sent something."""

    data: bytes


@frozen
class ClientEnd:
    """The client's end of file: it sends no more, and may still read."""


@frozen
class ClientLost:
    """The client's connection is over."""


@frozen
class DaemonConnected:
    """What L{Connect} asked for."""


@frozen
class DaemonRefused:
    """L{Connect} failed."""

    error: Exception


@frozen
class DaemonBytes:
    """The daemon sent something."""

    data: bytes


@frozen
class DaemonEnd:
    """The daemon's end of file."""


@frozen
class DaemonLost:
    """The connection to the daemon broke; nothing that was in flight will come."""

    error: Exception


@frozen
class Resolved:
    """The L{Hold} with that token came to its end, with C{value}."""

    token: int
    value: object = None


@frozen
class Rejected:
    """The L{Hold} with that token failed."""

    token: int
    error: Exception


Event = (
    ClientBytes
    | ClientEnd
    | ClientLost
    | DaemonConnected
    | DaemonRefused
    | DaemonBytes
    | DaemonEnd
    | DaemonLost
    | Resolved
    | Rejected
)


# What --dump shows.


@frozen
class Requested:
    """A request's head came from the client."""

    head: RequestHead


@frozen
class Answered:
    """An answer's head, interim ones too, came from the daemon."""

    head: ResponseHead


@frozen
class OwnAnswer:
    """The client gets this whole answer, made here."""

    data: bytes


@frozen
class Rewritten:
    """
    A message was changed on its way.

    @ivar request: the head of the request, also where the answer was changed.
    @ivar before: the body as it came.
    @ivar after: the body as it went on.
    @ivar to_daemon: it was a request.
    @ivar target: the target that the daemon gets, if that changed.
    """

    request: RequestHead
    before: bytes
    after: bytes
    to_daemon: bool
    target: bytes | None = None


@frozen
class Upgraded:
    """The connection is a raw stream from here on."""


@frozen
class TurnOver:
    """
    A request and its answer are complete.

    @ivar sent: bytes that the daemon was sent for it.
    @ivar received: bytes that the client was sent for it.
    """

    sent: int
    received: int


Recorded = Requested | Answered | OwnAnswer | Rewritten | Upgraded | TurnOver


# Commands: what is to be done.


@frozen
class Connect:
    """Open a connection to the daemon."""

    bulk: bool = False


@frozen
class ToDaemon:
    """Send to the daemon; only while it is connected."""

    data: bytes


@frozen
class EndDaemon:
    """Half-close: the daemon gets an end of file after what was sent before."""


@frozen
class CloseDaemon:
    """Give the connection to the daemon up, also one that is being made. No event of it comes any more."""


@frozen
class ToClient:
    """Send to the client."""

    data: bytes


@frozen
class CloseClient:
    """
    Close after what was sent before. What the client still sends is taken and dropped for a moment: a reset
    would destroy the answer on its way.
    """


@frozen
class AbortClient:
    """End the client's connection so that it does not look like a proper end."""


@frozen
class Hold:
    """Start C{effect}; L{Resolved} or L{Rejected} with this token follows."""

    token: int
    effect: Effect


@frozen
class Notify:
    """Start C{effect}; nobody waits for it."""

    effect: Effect


@frozen
class Hijack:
    """
    From here on the two connections are one raw stream.

    @ivar to_daemon: what the client sent early.
    @ivar to_client: what the daemon sent early.
    @ivar client_ended: the client's end of file came already.
    @ivar before_end: the daemon's end of file reaches the client after this.
    @ivar cut_off: started when the daemon's side breaks before its end of file.
    """

    to_daemon: bytes = b""
    to_client: bytes = b""
    client_ended: bool = False
    before_end: Effect | None = None
    cut_off: Effect | None = None


@frozen
class Record:
    """For C{--dump}."""

    what: Recorded


@frozen
class Report:
    """A bug: log it."""

    error: Exception


Command = (
    Connect
    | ToDaemon
    | EndDaemon
    | CloseDaemon
    | ToClient
    | CloseClient
    | AbortClient
    | Hold
    | Notify
    | Hijack
    | Record
    | Report
)
