# -*- test-case-name: tests.daemon.test_client -*-
"""
The remote daemon as the other packages see it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred
from zope.interface import implementer

from remotedocker.daemon._connection import Answer, error_reason
from remotedocker.daemon._pong import Pong
from remotedocker.daemon._questions import Questions
from remotedocker.daemon._watch import EventWatch
from remotedocker.docker import ContainerPort, parse_port
from remotedocker.errors import DaemonError, NoSuchContainer
from remotedocker.interfaces import IContainerObserver, IDaemon, IRemote

__all__ = ["DaemonClient"]

_NO_NAMES = frozenset({"", ".", ".."})
"""Segments of a path that Go's router takes away, so that the question would become another one."""

_NO_MANAGER = re.compile("not (a swarm manager|part of a swarm)")
"""
What dockerd says (with 503, and with 406 before 17.04) where it has no services to tell of. A manager that
cannot tell at the moment, for want of a leader or of a key, answers 503, too.
"""


class _Missing(Exception):
    """The daemon answered 404."""


@implementer(IDaemon)
class DaemonClient:
    """
    Asks the daemon, and follows its events between L{start} and L{stop}.

    No API version is named in the questions, so each daemon answers in its own newest; what is read of the
    answers is the same in all.
    """

    def __init__(self, reactor: Any, remote: IRemote, socket: str = "/var/run/docker.sock") -> None:
        """
        @param socket: where the daemon listens, for messages.
        """
        self._remote = remote
        self._pong = Pong(reactor)
        self._questions = Questions(reactor, remote, socket)
        self._watch = EventWatch(reactor, remote, self._questions, self._pong, self._list_containers)

    def start(self) -> None:
        """Begins to follow the events; questions can be asked without."""
        self._watch.start()

    def stop(self) -> Deferred[None]:
        """Ends everything. Open questions fail; fires when nothing is left."""
        stopped = self._watch.stop()
        self._questions.stop()
        return stopped

    def inspect(self, reference: str) -> Deferred[dict[str, Any]]:
        """See L{IDaemon.inspect}."""
        return Deferred.fromCoroutine(self._inspect(reference))

    def list_containers(self) -> Deferred[Sequence[dict[str, Any]]]:
        """See L{IDaemon.list_containers}."""
        return Deferred.fromCoroutine(self._list_containers())

    def image_ports(self, image: str) -> Deferred[tuple[ContainerPort, ...]]:
        """See L{IDaemon.image_ports}."""
        return Deferred.fromCoroutine(self._image_ports(image))

    def remove(self, container_id: str) -> Deferred[None]:
        """See L{IDaemon.remove}."""
        return Deferred.fromCoroutine(self._remove(container_id))

    def services(self) -> Deferred[Sequence[dict[str, Any]] | None]:
        """See L{IDaemon.services}."""
        return Deferred.fromCoroutine(self._services())

    def volumes(self, names: Sequence[str] = ()) -> Deferred[Sequence[dict[str, Any]]]:
        """See L{IDaemon.volumes}."""
        return Deferred.fromCoroutine(self._volumes(names))

    def version(self) -> Deferred[dict[str, Any]]:
        """See L{IDaemon.version}."""
        return Deferred.fromCoroutine(self._object("/version"))

    def ping(self) -> bytes | None:
        """See L{IDaemon.ping}. The head is one for C{HEAD}: the length that it declares is 0."""
        return self._pong.head() if self._remote.connected else None

    def watch(self, observer: IContainerObserver) -> None:
        """See L{IDaemon.watch}."""
        self._watch.add_observer(observer)

    async def _inspect(self, reference: str) -> dict[str, Any]:
        name = reference.lstrip("/")
        if not _NO_NAMES.isdisjoint(name.split("/")):
            raise NoSuchContainer(reference=reference)
        try:
            return _as_object(await self._ask(f"/containers/{quote(name, safe='')}/json"))
        except _Missing:
            raise NoSuchContainer(reference=reference) from None

    async def _remove(self, container_id: str) -> None:
        answer = await self._questions.ask(
            "DELETE", f"/containers/{quote(container_id, safe='')}?force=1&v=1"
        )
        if answer.head.status not in (204, 404):
            raise DaemonError(code=answer.head.status, reason=error_reason(answer.body))

    async def _list_containers(self) -> list[dict[str, Any]]:
        answer = await self._ask_known("/containers/json?all=1")
        return _as_list(_parse(answer), answer, "containers")

    async def _services(self) -> list[dict[str, Any]] | None:
        try:
            answer = await self._ask("/services")
            return _as_list(_parse(answer), answer, "services")
        except _Missing:
            return None
        except DaemonError as error:
            if _NO_MANAGER.search(error.message):
                return None
            raise

    async def _volumes(self, names: Sequence[str]) -> list[dict[str, Any]]:
        filters = {"driver": {"local": True}} | ({"name": dict.fromkeys(names, True)} if names else {})
        query = urlencode({"filters": json.dumps(filters, separators=(",", ":"))})
        try:
            answer = await self._ask(f"/volumes?{query}")
        except _Missing:
            return []
        except DaemonError as error:
            if error.details["code"] == 403:
                return []
            raise
        volumes = _as_list(_as_object(answer).get("Volumes") or [], answer, "volumes")
        # The daemon takes a name for a part of one, or for a pattern.
        return [each for each in volumes if not names or each.get("Name") in names]

    async def _image_ports(self, image: str) -> tuple[ContainerPort, ...]:
        if not image:
            return ()
        try:
            document = _as_object(await self._ask(f"/images/{quote(image, safe='/:@')}/json"))
        except _Missing:
            return ()
        exposed = (document.get("Config") or {}).get("ExposedPorts") or {}
        ports = [port for port in map(parse_port, exposed) if port is not None]
        return tuple(sorted(ports))

    async def _object(self, target: str) -> dict[str, Any]:
        return _as_object(await self._ask_known(target))

    async def _ask_known(self, target: str) -> Answer:
        """As L{_ask}, where a 404 is an error as any other."""
        try:
            return await self._ask(target)
        except _Missing as error:
            raise DaemonError(code=404, reason=str(error)) from None

    async def _ask(self, target: str) -> Answer:
        """
        @return: an answer of status 200.
        @raise _Missing: it is a 404.
        @raise DaemonError: it is another.
        """
        answer = await self._questions.ask("GET", target)
        if answer.head.status == 404:
            raise _Missing(error_reason(answer.body))
        if answer.head.status != 200:
            raise DaemonError(code=answer.head.status, reason=error_reason(answer.body))
        return answer


def _parse(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise DaemonError(code=answer.head.status, reason=f"the answer is no JSON ({error})") from None


def _as_list(document: Any, answer: Answer, what: str) -> list[dict[str, Any]]:
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise DaemonError(code=answer.head.status, reason=f"the list of {what} is no list of objects")
    return document


def _as_object(answer: Answer) -> dict[str, Any]:
    document = _parse(answer)
    if not isinstance(document, dict):
        raise DaemonError(code=answer.head.status, reason="the answer is no JSON object")
    return document
