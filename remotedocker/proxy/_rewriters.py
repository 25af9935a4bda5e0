# -*- test-case-name: tests.proxy.test_rewriters -*-
"""
What is done about each endpoint, beside passing its bytes: one small class for each kind of treatment, and
the table that says which endpoint gets which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from attrs import define

from remotedocker.docker import (
    AnswerView,
    CreatePlan,
    CreateRequest,
    Endpoint,
    PlacedMount,
    Route,
    ServicePlan,
    ServiceRequest,
    VolumeRequest,
    rewrite_commit,
    translate_create_answer,
)
from remotedocker.http import RequestHead, ResponseHead, keeps_alive
from remotedocker.proxy._asked import (
    Collect,
    CollectExec,
    Created,
    CreateFailed,
    Effect,
    ExecBroke,
    ExecCreated,
    Inspect,
    Ping,
    PlanCreate,
    PlanService,
    PlanVolume,
    ServiceAnswered,
    Started,
    Starting,
)
from remotedocker.proxy._rewriting import Forward, Reply, Rewriter, TranslatedErrors
from remotedocker.proxy._translations import (
    EventsRewriter,
    ImageListRewriter,
    ImageRewriter,
    InspectRewriter,
    ListRewriter,
    ServiceInspectRewriter,
    ServiceListRewriter,
    SystemDfRewriter,
    TaskListRewriter,
    TaskRewriter,
    VolumeListRewriter,
    VolumeRewriter,
)

__all__ = ["rewriter_for"]

_LENGTH_OR_TYPE = re.compile(rb"Content-(?:Length|Type):", re.IGNORECASE)


def _pong_with_body(head: bytes) -> bytes:
    """
    @param head: of an answer to C{HEAD /_ping}.
    @return: the answer to C{GET /_ping}, its fields in the order in which Go's server writes them.
    """
    fields = [line for line in head.split(b"\r\n") if not _LENGTH_OR_TYPE.match(line)]
    fields[-2:] = [b"Content-Length: 2", b"Content-Type: text/plain; charset=utf-8", b"", b"OK"]
    return b"\r\n".join(fields)


class PingRewriter(Rewriter):
    """
    Answered from what is known of the daemon, while the login is proven alive; an answer that would have to
    look otherwise (HTTP/1.0, C{Connection: close}) is the daemon's to give.
    """

    collects = True

    def ask(self, body: bytes) -> Effect | None:
        """See L{Rewriter.ask}."""
        return Ping() if self.head.version == (1, 1) and keeps_alive(self.head) else None

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        if not isinstance(value, bytes):
            return Forward()
        return Reply(value if self.head.method == b"HEAD" else _pong_with_body(value))


@define(eq=False)
class CreateRewriter(TranslatedErrors):
    """C{POST /containers/create}: mounts placed, ports moved to the remote's loopback, labels added."""

    collects = True

    _request: CreateRequest | None = None
    _plan: CreatePlan | None = None
    _created: str = ""

    def ask(self, body: bytes) -> Effect | None:
        """See L{Rewriter.ask}."""
        self._request = CreateRequest.parse(body, self.view.owned)
        return PlanCreate(self._request.spec)

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        assert self._request is not None and isinstance(value, CreatePlan)
        self._plan = value
        return Forward(self._request.rewrite(value))

    def wants_answer(self, head: ResponseHead) -> bool:
        """Always."""
        return True

    def success(self, head: ResponseHead, body: bytes) -> bytes:
        """The id is learned, and our warnings added."""
        assert self._plan is not None
        container_id = _member(body, "Id")
        if head.status != 201 or not container_id:
            return body
        self._created = container_id
        placed = [warning for mount in self._plan.placed for warning in mount.warnings]
        return translate_create_answer(body, list(dict.fromkeys([*self._plan.warnings, *placed])))

    def learned(self) -> Sequence[Effect]:
        """See L{Rewriter.learned}."""
        if self._plan is None or not self._created:
            return self.failed()
        name = self.route.query.get("name", ("",))[0].lstrip("/")
        return (Created(self._created, name, self._plan),)

    def failed(self) -> Sequence[Effect]:
        """See L{Rewriter.failed}."""
        return () if self._plan is None else (CreateFailed(self._plan),)


@define(eq=False)
class StartRewriter(TranslatedErrors):
    """C{start} and C{restart}: files are complete and ports open before, ports lead somewhere after."""

    collects = True

    _container_id: str | None = None
    _told: bool = False

    def ask(self, body: bytes) -> Effect | None:
        """See L{Rewriter.ask}."""
        return Starting(self.reference)

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        self._container_id = value if isinstance(value, str) else None
        return Forward()

    def before_answer(self, head: ResponseHead) -> Effect | None:
        """204, or 304 for one that runs already, are successes."""
        if self._container_id is None:
            return None
        self._told = True
        return Started(self._container_id, head.status < 400)

    def failed(self) -> Sequence[Effect]:
        """See L{Rewriter.failed}."""
        if self._container_id is None or self._told:
            return ()
        return (Started(self._container_id, False),)


class StopRewriter(TranslatedErrors):
    """C{stop}, C{kill}, removal, C{docker cp}: the client is answered when what was written is back."""

    def before_answer(self, head: ResponseHead) -> Effect | None:
        """See L{Rewriter.before_answer}."""
        return Collect(self.reference) if head.status < 300 else None


class WaitRewriter(Rewriter):
    """
    C{wait}: the head passes at once (the CLI starts the container on it), the body is the container's end.
    """

    def before_body(self, head: ResponseHead) -> Effect | None:
        """See L{Rewriter.before_body}."""
        return Collect(self.reference) if head.status < 300 else None


class AttachRewriter(Rewriter):
    """C{attach}: the stream ends when what the container wrote is back."""

    def before_end(self) -> Effect | None:
        """See L{Rewriter.before_end}."""
        return Collect(self.reference)


@define(eq=False)
class ExecCreateRewriter(Rewriter):
    """C{POST /containers/{id}/exec}: its id is learned."""

    _exec_id: str = ""

    def wants_answer(self, head: ResponseHead) -> bool:
        """The id is in the body."""
        return head.status == 201

    def answer(self, head: ResponseHead, body: bytes) -> bytes:
        """Nothing is changed."""
        self._exec_id = _member(body, "Id")
        return body

    def learned(self) -> Sequence[Effect]:
        """See L{Rewriter.learned}."""
        return (ExecCreated(self._exec_id, self.reference),) if self._exec_id else ()


class ExecStartRewriter(Rewriter):
    """
    C{POST /exec/{id}/start}: its stream may break. A client on a unix socket, which cannot be reset, sees
    only that the stream ends; it asks for the exit code then, and that is where it is told.
    """

    def cut_off(self) -> Effect | None:
        """See L{Rewriter.cut_off}."""
        return ExecBroke(self.reference)


class ExecInspectRewriter(Rewriter):
    """C{GET /exec/{id}/json}: asked for the exit code when the exec has ended."""

    def before_answer(self, head: ResponseHead) -> Effect | None:
        """See L{Rewriter.before_answer}."""
        return CollectExec(self.reference) if head.status == 200 else None


@define(eq=False)
class VolumeCreateRewriter(VolumeRewriter):
    """C{POST /volumes/create}, where a volume can be a bind in disguise."""

    collects = True

    _request: VolumeRequest | None = None

    def ask(self, body: bytes) -> Effect | None:
        """See L{Rewriter.ask}."""
        self._request = VolumeRequest.parse(body)
        return None if self._request.mount is None else PlanVolume(self._request.mount)

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        if self._request is None or not isinstance(value, PlacedMount):
            return Forward()
        return Forward(self._request.rewrite(value))


@define(eq=False)
class ServiceRewriter(TranslatedErrors):
    """C{POST /services/create} and C{update}: mounts of its tasks placed, local ports taken, labels added."""

    collects = True

    _request: ServiceRequest | None = None
    _plan: ServicePlan | None = None

    def ask(self, body: bytes) -> Effect | None:
        """See L{Rewriter.ask}."""
        self._request = ServiceRequest.parse(body)
        return PlanService(self.reference, self._request.spec)

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        assert self._request is not None and isinstance(value, ServicePlan)
        self._plan = value
        return Forward(self._request.rewrite(value))

    def wants_answer(self, head: ResponseHead) -> bool:
        """Always."""
        return True

    def success(self, head: ResponseHead, body: bytes) -> bytes:
        """Our warnings are added."""
        assert self._plan is not None
        placed = [warning for mount in self._plan.placed for warning in mount.warnings]
        return translate_create_answer(body, list(dict.fromkeys([*self._plan.warnings, *placed])))

    def learned(self) -> Sequence[Effect]:
        """See L{Rewriter.learned}."""
        return self.failed()

    def failed(self) -> Sequence[Effect]:
        """See L{Rewriter.failed}."""
        return () if self._plan is None else (ServiceAnswered(self._plan),)


@define(eq=False)
class CommitRewriter(TranslatedErrors):
    """C{POST /commit}: an image that is made from one of our containers does not inherit our labels."""

    collects = True

    _body: bytes = b""

    def ask(self, body: bytes) -> Effect | None:
        """See L{Rewriter.ask}."""
        self._body = body
        return Inspect(self.route.query.get("container", ("",))[0])

    def forward(self, value: object) -> Forward | Reply:
        """See L{Rewriter.forward}."""
        config = (value.get("Config") if isinstance(value, dict) else None) or {}
        if self.view.owned(config.get("Labels") or {}) is None:
            return Forward()
        return Forward(rewrite_commit(self._body))


def _member(body: bytes, name: str) -> str:
    """A text member of a JSON object; C{""} if it is not there."""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""


_REWRITERS: Mapping[Endpoint, type[Rewriter]] = {
    Endpoint.PING: PingRewriter,
    Endpoint.CONTAINER_CREATE: CreateRewriter,
    Endpoint.CONTAINER_START: StartRewriter,
    Endpoint.CONTAINER_RESTART: StartRewriter,
    Endpoint.CONTAINER_STOP: StopRewriter,
    Endpoint.CONTAINER_KILL: StopRewriter,
    Endpoint.CONTAINER_DELETE: StopRewriter,
    Endpoint.CONTAINER_ARCHIVE_PUT: StopRewriter,
    Endpoint.CONTAINER_WAIT: WaitRewriter,
    Endpoint.CONTAINER_ATTACH: AttachRewriter,
    Endpoint.CONTAINER_ATTACH_WS: AttachRewriter,
    Endpoint.CONTAINER_INSPECT: InspectRewriter,
    Endpoint.CONTAINER_LIST: ListRewriter,
    Endpoint.COMMIT: CommitRewriter,
    Endpoint.EXEC_CREATE: ExecCreateRewriter,
    Endpoint.EXEC_START: ExecStartRewriter,
    Endpoint.EXEC_INSPECT: ExecInspectRewriter,
    Endpoint.EVENTS: EventsRewriter,
    Endpoint.IMAGE_INSPECT: ImageRewriter,
    Endpoint.IMAGE_LIST: ImageListRewriter,
    Endpoint.SYSTEM_DF: SystemDfRewriter,
    Endpoint.VOLUME_CREATE: VolumeCreateRewriter,
    Endpoint.VOLUME_INSPECT: VolumeRewriter,
    Endpoint.VOLUME_LIST: VolumeListRewriter,
    Endpoint.SERVICE_CREATE: ServiceRewriter,
    Endpoint.SERVICE_UPDATE: ServiceRewriter,
    Endpoint.SERVICE_INSPECT: ServiceInspectRewriter,
    Endpoint.SERVICE_LIST: ServiceListRewriter,
    Endpoint.TASK_INSPECT: TaskRewriter,
    Endpoint.TASK_LIST: TaskListRewriter,
}


def rewriter_for(head: RequestHead, route: Route, view: AnswerView) -> Rewriter:
    """The treatment of one request."""
    return _REWRITERS.get(route.endpoint, Rewriter)(head, route, view)
