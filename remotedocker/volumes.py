# -*- test-case-name: tests.test_volumes -*-
"""
Volumes of the C{local} driver that are binds (C{o=bind}): which path of the remote each one is.

A container that mounts such a volume has the mirror behind it as one that mounts the directory itself has;
and the mirror is followed for as long as there is the volume, whoever mounts it.

The daemon is asked for all volumes with each list of containers, for one when it was made, and for those that
a create names. That question is under way beside the create, so a start seldom waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from remotedocker.docker import BindMount, mounted_together, volume_mount
from remotedocker.errors import RemoteDockerError
from remotedocker.interfaces import IDaemon, IMirrors

__all__ = ["Volumes"]


class Volumes:
    """
    What is known of volumes, by their names. The daemon is asked in turn: no answer is older than the last.
    """

    _log = Logger()

    def __init__(self, daemon: IDaemon, mirrors: IMirrors) -> None:
        self._daemon = daemon
        self._mirrors = mirrors
        self._mounts: dict[str, BindMount | None] = {}
        self._unsure: set[str] = set()
        self._complete = False
        self._lock = DeferredLock()

    def listed(self) -> None:
        """The containers were listed: the volumes are, too."""
        self._background(self._list)

    def event(self, action: str, name: str) -> None:
        """
        A volume was made, or is gone.

        @param action: as in L{ContainerEvent<remotedocker.docker.ContainerEvent>}.
        """
        if action == "volume create":
            self.look([name])
        elif action == "volume destroy":
            self._background(lambda: self._gone(name))

    def look(self, names: Iterable[str]) -> None:
        """What is known of volumes may be old; the daemon is asked again."""
        self._unsure.update(names)
        self._background(self._settle)

    def sources(self, volumes: Mapping[str, bool]) -> Deferred[dict[str, bool]]:
        """
        @param volumes: the names of volumes, to whether they are mounted read-only.
        @return: fires with the paths behind them, to the same, when nothing is asked any more. Fails as
            L{IDaemon.volumes}.
        """

        async def found() -> dict[str, bool]:
            self._unsure.update(name for name in volumes if name not in self._mounts)
            await self._settle()
            mounts = [(self._mounts[name], read_only) for name, read_only in volumes.items()]
            return mounted_together(
                (mount.source, read_only or mount.read_only)
                for mount, read_only in mounts
                if mount is not None
            )

        return self._lock.run(lambda: Deferred.fromCoroutine(found()))

    async def _gone(self, name: str) -> None:
        if self._mounts.pop(name, None) is not None:
            self._tell()

    async def _list(self) -> None:
        documents = await self._daemon.volumes()
        self._mounts = {document["Name"]: volume_mount(document) for document in documents}
        self._complete = True
        self._tell()

    async def _settle(self) -> None:
        """Asks for those that are not known for sure."""
        names, self._unsure = self._unsure, set()
        if not names:
            return
        try:
            documents = await self._daemon.volumes(sorted(names))
        except RemoteDockerError:
            self._unsure |= names
            raise
        self._mounts.update(dict.fromkeys(names))
        self._mounts.update({document["Name"]: volume_mount(document) for document in documents})
        self._tell()

    def _tell(self) -> None:
        """Tells the mirrors, once all volumes are known."""
        if self._complete:
            mounts = [mount for mount in self._mounts.values() if mount is not None]
            self._mirrors.keeping(mounted_together((mount.source, mount.read_only) for mount in mounts))

    def _background(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does C{work} in turn, for nobody who waits; after a failure the next list or start asks again."""

        async def run() -> None:
            try:
                await work()
            except RemoteDockerError as error:
                self._log.warn("volumes: {error}", error=error.message)

        self._lock.run(lambda: Deferred.fromCoroutine(run())).addErrback(
            lambda failure: self._log.failure("volumes", failure)
        )
