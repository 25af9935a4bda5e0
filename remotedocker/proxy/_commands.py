# -*- test-case-name: tests.proxy.test_exchange -*-
"""
The whole vocabulary between an L{Exchange<remotedocker.proxy._exchange.Exchange>}, which decides, and the
protocol that performs: what happened (events), what is to be done (commands), and what is asked of the rest
of the program (effects). All of it are values.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.docker import BindMount, CreatePlan, CreateSpec, ServicePlan, ServiceSpec
from remotedocker.http import RequestHead, ResponseHead

__all__ = [
    "AbortClient",
    "Answered",
    "ClientBytes",
    "ClientEnd",
    "ClientLost",
    "CloseClient",
    "CloseDaemon",
    "Collect",
    "CollectExec",
    "Command",
    "Connect",
    "CreateFailed",
    "Created",
    "DaemonBytes",
    "DaemonConnected",
    "DaemonEnd",
    "DaemonLost",
    "DaemonRefused",
    "Effect",
    "EndDaemon",
    "Event",
    "ExecCreated",
    "ExecBroke",
    "Hijack",
    "Hold",
    "Inspect",
    "Notify",
    "OwnAnswer",
    "Ping",
    "PlanCreate",
    "PlanService",
    "PlanVolume",
    "Record",
    "Recorded",
    "Rejected",
    "Report",
    "Requested",
    "Resolved",
    "Rewritten",
    "ServiceAnswered",
    "Started",
    "Starting",
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


# Effects: what is asked of the rest of the program.


@frozen
class Ping:
    """IDaemon.ping; resolves to a head, or None."""


@frozen
class Inspect:
    """IDaemon.inspect; resolves to None if there is no such container."""

    reference: str


@frozen
class PlanCreate:
    """IContainers.plan_create."""

    spec: CreateSpec


@frozen
class Created:
    """IContainers.created."""

    container_id: str
    name: str
    plan: CreatePlan


@frozen
class CreateFailed:
    """IContainers.create_failed."""

    plan: CreatePlan


@frozen
class Starting:
    """IContainers.starting; resolves to a container's id, or None."""

    reference: str


@frozen
class Started:
    """IContainers.started."""

    container_id: str
    succeeded: bool


@frozen
class Collect:
    """IContainers.collect."""

    reference: str


@frozen
class ExecCreated:
    """IContainers.exec_created."""

    exec_id: str
    reference: str


@frozen
class CollectExec:
    """IContainers.collect_exec."""

    exec_id: str


@frozen
class ExecBroke:
    """The stream of an exec broke at the daemon's side: L{CollectExec} fails once."""

    exec_id: str


@frozen
class PlanVolume:
    """IContainers.plan_volume; resolves to a placed mount."""

    mount: BindMount


@frozen
class PlanService:
    """IContainers.plan_volume for each mount, and IServices.plan; resolves to a plan with all of it."""

    reference: str
    spec: ServiceSpec


@frozen
class ServiceAnswered:
    """IServices.answered."""

    plan: ServicePlan


Effect = (
    Ping
    | Inspect
    | PlanCreate
    | Created
    | CreateFailed
    | Starting
    | Started
    | Collect
    | ExecCreated
    | CollectExec
    | ExecBroke
    | PlanVolume
    | PlanService
    | ServiceAnswered
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
