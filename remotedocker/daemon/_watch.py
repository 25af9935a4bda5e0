# -*- test-case-name: tests.daemon.test_watch -*-
"""
Following C{GET /events}, across lost streams and lost logins.

Truth is what the list says; events say when it changes. So that nothing falls between the two, each round is

 1. C{HEAD /_ping}: the daemon's clock, and the pong for the proxy;
 2. open the stream, I{since} the last event or that clock: dockerd begins its answer before it subscribes
    (API 1.41), and only what is asked for by time is sure to come; it keeps the last 256 events for this;
 3. list the containers, tell the observers;
 4. tell them the events, those that came meanwhile first. C{since} includes its moment, so what was told
    before is dropped by time, id and action.

When the observers have dealt with the list, and the login that it was made on still stands, they are told.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.daemon._connection import ConnectionEnded, EventsProtocol, request
from remotedocker.daemon._pong import Pong, date_of
from remotedocker.daemon._questions import Questions
from remotedocker.docker import ContainerEvent, EventStream
from remotedocker.errors import RemoteDockerError
from remotedocker.interfaces import IContainerObserver, IRemote, IRemoteObserver

__all__ = ["EventWatch"]

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
_REMEMBERED = 1024
_SECOND = 10**9

_KINDS = ("container", "network", "service", "volume")
_FILTERS = json.dumps({"type": dict.fromkeys(_KINDS, True)}, separators=(",", ":"))

Listing = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]


@implementer(IRemoteObserver)
class EventWatch:
    """
    Follows the events from L{start} to L{stop}, and tells the observers.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, remote: IRemote, questions: Questions, pong: Pong, listing: Listing
    ) -> None:
        """
        @param listing: asks for all containers.
        """
        self._reactor = reactor
        self._remote = remote
        self._questions = questions
        self._pong = pong
        self._listing = listing
        self._observers: list[IContainerObserver] = []
        self._running: Deferred[None] | None = None
        self._stream: EventsProtocol | None = None
        self._alarm: IDelayedCall | None = None
        self._since: int | None = None
        self._told: dict[tuple[int, str, str, str], None] = {}
        self._complaint = ""
        self._again_at_once = False
        self._stopped = False
        self._login = 0

    def add_observer(self, observer: IContainerObserver) -> None:
        """Tells C{observer} of everything from the next list on, which is made at once."""
        self._observers.append(observer)
        if self._stream is not None:
            self._again_at_once = True
            self._stream.abort()

    def start(self) -> None:
        """Begins to follow."""
        self._remote.add_observer(self)
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._stopped_or_bug)

    def stop(self) -> Deferred[None]:
        """@return: fires when nothing is followed any more."""
        self._stopped = True
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        return succeed(None)

    def connected(self) -> None:
        """See L{IRemoteObserver.connected}: no reason to wait any longer."""
        if self._alarm is not None and self._alarm.active():
            self._alarm.reset(0)

    def disconnected(self, reason: Exception) -> None:
        """See L{IRemoteObserver.disconnected}."""
        self._pong.forget()
        self._login += 1

    async def _run(self) -> None:
        """
        Round after round, with growing pauses while the daemon cannot be reached; ends when the login was
        refused for good.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._remote.when_connected()
            except RemoteDockerError as error:
                self._log.error("no events will be followed: {reason}", reason=error.message)
                return
            try:
                reason = await self._round()
                pause = _FIRST_PAUSE
                self._complain(f"the stream ended: {reason}")
            except (RemoteDockerError, ConnectionEnded) as error:
                self._complain(str(error))
            if self._stopped:
                # What was under way had an error of its own for having been cancelled.
                return
            if not self._again_at_once:
                await self._wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            self._again_at_once = False

    async def _round(self) -> Exception:
        """@return: why the stream ended, if everything could be opened before."""
        stream: EventsProtocol | None = None
        login = self._login
        try:
            answer = await self._questions.ask("HEAD", "/_ping")
            self._pong.keep(answer.head)
            sink = _Sink(self._tell)
            stream = EventsProtocol(request("GET", self._target(date_of(answer.head))), sink.consume)
            await self._questions.connect(stream)
            self._stream = stream
            await self._questions.in_time(stream.opened)
            self._tell_list(await self._listing(), login)
            sink.open()
            self._log.info("following the events of the daemon on {host}", host=self._remote.destination)
            self._complaint = ""
            return await stream.ended
        finally:
            self._stream = None
            self._pong.forget()
            if stream is not None:
                stream.abort()

    def _target(self, clock: int | None) -> str:
        """
        @param clock: the daemon's time in seconds. It caps C{since}, for a clock that was put back.
        @return: what to ask for.
        """
        now = self._since if clock is None else clock * _SECOND
        self._since = now if self._since is None or now is None else min(self._since, now)
        query = {"filters": _FILTERS}
        if self._since is not None:
            query["since"] = f"{self._since // _SECOND}.{self._since % _SECOND:09d}"
        return "/events?" + urlencode(query)

    def _tell_list(self, containers: Sequence[Mapping[str, Any]], login: int) -> None:
        """
        @param login: the one on which it was asked for.
        """

        def settled(result: object) -> None:
            if login == self._login and not self._stopped:
                self._tell_all(lambda observer: observer.list_settled())

        done = self._tell_all(lambda observer: observer.containers_listed(containers))
        DeferredList(done).addCallback(settled)

    def _tell_all(self, tell: Callable[[IContainerObserver], object]) -> list[Deferred[Any]]:
        """@return: for each observer, fires when it is done; one that fails is logged."""

        def failed(failure: Failure, observer: IContainerObserver) -> None:
            self._log.failure("{observer} failed at the list of containers", failure, observer=observer)

        return [maybeDeferred(tell, observer).addErrback(failed, observer) for observer in self._observers]

    def _tell(self, events: Iterable[ContainerEvent]) -> None:
        for event in events:
            key = (event.time_ns, event.container_id, event.action, event.detail)
            if key in self._told:
                continue
            self._told[key] = None
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
            self._since = max(self._since or 0, event.time_ns)
            for observer in self._observers:
                try:
                    observer.container_event(event)
                except Exception:
                    self._log.failure("{observer} failed at {event}", observer=observer, event=event.action)

    def _complain(self, reason: str) -> None:
        """Logs why events are not followed now, unless we ended them; the same reason once."""
        if reason != self._complaint and not self._again_at_once and not self._stopped:
            self._complaint = reason
            self._log.warn("events are not followed, trying again: {reason}", reason=reason)

    async def _wait(self, seconds: float) -> None:
        """Returns after some time, or when a login succeeds."""
        over: Deferred[None] = Deferred()
        self._alarm = self._reactor.callLater(seconds, over.callback, None)
        try:
            await over
        finally:
            if self._alarm.active():
                self._alarm.cancel()

    def _stopped_or_bug(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("following the daemon's events", failure)


class _Sink:
    """Where the stream's content goes: events are kept until the list was told."""

    def __init__(self, tell: Callable[[Iterable[ContainerEvent]], None]) -> None:
        self._tell = tell
        self._parser = EventStream()
        self._early: list[ContainerEvent] | None = []

    def consume(self, content: bytes) -> None:
        """Content of the stream, cut anywhere."""
        events = self._parser.feed(content)
        if self._early is None:
            self._tell(events)
        else:
            self._early += events

    def open(self) -> None:
        """Lets the events pass."""
        early, self._early = self._early, None
        self._tell(early or ())
