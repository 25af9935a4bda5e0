# -*- test-case-name: tests.sync.test_mirrors -*-
"""
All mirrors: which mount belongs to which, and what the rest of the program asks of them.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from remotedocker.docker import BindMount, MountForm, PlacedMount
from remotedocker.errors import RemoteDockerError, SourceUnusable, SyncFailed
from remotedocker.interfaces import IMirrors, IRemote, IRemoteObserver
from remotedocker.state import remove_leftovers, write_atomically
from remotedocker.sync._choices import Choice, choose, settle_missing
from remotedocker.sync._configuration import SyncConfiguration, SyncMode
from remotedocker.sync._flow import all_of, in_thread_of
from remotedocker.sync._host import Host
from remotedocker.sync._mirror import Means, Mirror
from remotedocker.sync._owed import Owed
from remotedocker.sync._placement import laptop_path, place_of
from remotedocker.sync._shell import StreamLost
from remotedocker.sync._snapshot import SnapshotFile
from remotedocker.sync._trash import Trash
from remotedocker.sync._tree import shown, under

__all__ = ["Mirrors"]

_SERVICE, _VOLUME = "service ", "volume "
"""Services and volumes that have a source use its mirror under these names, and the source."""


@implementer(IMirrors, IRemoteObserver)
class Mirrors:
    """
    @param state: the state directory; snapshots, the trash and the list of conflicts are kept in it.
    """

    _log = Logger()

    def __init__(self, reactor: Any, remote: IRemote, configuration: SyncConfiguration, state: Path) -> None:
        self._configuration = configuration
        self._remote = remote
        self._state = state
        run = in_thread_of(reactor)
        self._host = Host(remote, configuration.sync_root, configuration.agent_id, run)
        trash = Trash(state / "trash")
        self._means = Means(reactor, self._host, run, configuration, trash, lambda: self._resynced)
        self._mirrors: dict[bytes, Mirror] = {}
        self._used: dict[str, dict[bytes, bool]] = {}
        self._running: set[str] = set()
        self._ending: dict[str, Deferred[None]] = {}
        self._resynced = False
        self._leaving: dict[str, Deferred[None]] = {}
        self._base = ""
        self._early: dict[str, dict[str, bool]] = {}
        self._writes: dict[str, set[str]] = {}
        self._owed = Owed(state / "owed.json", run)
        self._awaited: set[str] = set()
        self._expiring = LoopingCall(run, trash.expire)
        self._expiring.clock = reactor

    def start(self) -> None:
        """Prepares the state directory and follows the login."""
        for name in ("trees", "trash"):
            (self._state / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(self._state / "trees")
        if self._configuration.mode is SyncMode.OFF:
            return
        if self._configuration.mode is SyncMode.TWO_WAY:
            self._owed.load()
            for user, sources in self._owed.sources.items():
                # They run until the daemon's list says otherwise.
                self._running.add(user)
                self.attach(user, dict.fromkeys(sources, False))
        self._remote.add_observer(self)
        self._expiring.start(24 * 3600)
        if self._remote.connected:
            self.connected()

    async def _stop(self) -> None:
        if self._expiring.running:
            self._expiring.stop()
        await all_of([Deferred.fromCoroutine(mirror.stop()) for mirror in list(self._mirrors.values())])
        await self._owed.saved()
        await self._host.close()

    def stop(self) -> Deferred[None]:
        """@return: fires when all work has ended and what was agreed is saved."""
        return Deferred.fromCoroutine(self._stop())

    def connected(self) -> None:
        """See L{IRemoteObserver}. Only paths can be translated from now on; trees wait for L{resynced}."""
        Deferred.fromCoroutine(self._find_base()).addErrback(self._quietly)

    async def _find_base(self) -> bytes:
        """@return: where the mirrors are; what was attached before that was known is attached now."""
        base = (await self._host.facts()).base
        self._base = base.decode("utf-8", "surrogateescape")
        early, self._early = self._early, {}
        for container_id, sources in early.items():
            self.attach(container_id, sources)
        return base

    def resynced(self) -> None:
        """See L{IMirrors.resynced}."""
        if self._configuration.mode is not SyncMode.OFF and not (self._resynced and self._base):
            self._resynced = True
            Deferred.fromCoroutine(self._resume()).addErrback(self._quietly)

    async def _resume(self) -> None:
        await self._find_base()
        if not self._resynced:
            return  # the login was lost meanwhile
        for mirror in list(self._mirrors.values()):
            mirror.resume()
        leaving, self._leaving = self._leaving, {}
        for user, left in leaving.items():
            # A service may have come back.
            released = succeed(None) if user in self._running else self.release(user)
            released.chainDeferred(left)
        for user in self._owed.sources.keys() - self._running - leaving.keys():
            self._finish(user) if user in self._used else self.release(user)

    def _quietly(self, failure: Any) -> None:
        """What failed is tried again at the next login, start or change; mirrors have told why."""
        failure.trap(RemoteDockerError, StreamLost)

    def disconnected(self, reason: Exception) -> None:
        """See L{IRemoteObserver}."""
        self._resynced = False
        for mirror in self._mirrors.values():
            mirror.lost()

    def place(self, mounts: Sequence[BindMount]) -> Deferred[tuple[PlacedMount, ...]]:
        """See L{IMirrors.place}."""
        return Deferred.fromCoroutine(self._place(mounts))

    async def _place(self, mounts: Sequence[BindMount]) -> tuple[PlacedMount, ...]:
        if self._configuration.mode is SyncMode.OFF:
            return tuple(PlacedMount(mount, mount.source, False) for mount in mounts)
        choices = [choose(mount, self._configuration) for mount in mounts]
        if all(choice.real is None and not choice.missing for choice in choices):
            return tuple(PlacedMount(each.mount, each.source, False) for each in choices)
        try:
            base = await self._find_base()
            await settle_missing([choice for choice in choices if choice.missing], self._host)
            placed = await self._make(list(choices), base)
            await self._serve([each for each in placed if each.mirrored])
            return placed
        except StreamLost as lost:
            raise SourceUnusable(source=mounts[0].source, reason=str(lost)) from lost

    async def _serve(self, placed: Sequence[PlacedMount]) -> None:
        """
        The mounts of a service, and a volume by itself, are complete before it is made, and used from then
        on: of the starts and ends of its containers we are not told.
        """
        for each in placed:
            if each.mount.form is MountForm.SERVICE:
                user = _SERVICE + each.remote_source
            elif not each.mount.target:
                user = _VOLUME + each.remote_source
            else:
                continue
            self._awaited.add(user)
            self.attach(user, {each.remote_source: each.mount.read_only})
            await self.ready(user)
            self.running(user)

    def serving(self, sources: Mapping[str, bool]) -> None:
        """See L{IMirrors.serving}."""
        self._keep(_SERVICE, sources)

    def keeping(self, sources: Mapping[str, bool]) -> None:
        """See L{IMirrors.keeping}."""
        self._keep(_VOLUME, sources)

    def _keep(self, kind: str, sources: Mapping[str, bool]) -> None:
        users = {kind + source: {source: read_only} for source, read_only in sources.items()}
        for user, mounted in users.items():
            self._awaited.discard(user)
            self.attach(user, mounted)
            if user in {*self._used, *self._early}:
                self.running(user)
        known = {*self._used, *self._early, *self._owed.sources}
        for user in known.difference(users, self._awaited):
            if user.startswith(kind):
                self.release(user)

    def containers(self) -> frozenset[str]:
        """See L{IMirrors.containers}."""
        return frozenset(user for user in self._owed.sources if not user.startswith((_SERVICE, _VOLUME)))

    async def _make(self, choices: Sequence[Choice], base: bytes) -> tuple[PlacedMount, ...]:
        """Measures the trees, makes their places and begins the first push."""
        mirrors: dict[bytes, list[Mirror]] = {}
        for choice in choices:
            if choice.real is not None:
                mirrors[choice.real] = self._mirrors_for(choice.real, choice.is_file)
        each_once = {id(mirror): mirror for group in mirrors.values() for mirror in group}
        measured = [Deferred.fromCoroutine(mirror.measure()) for mirror in each_once.values()]
        warnings = dict(zip(each_once, await all_of(measured), strict=False))
        wanted = [choice for choice in choices if choice.real is not None]
        places = [(_place(choice.real or b""), choice.is_file) for choice in wanted]
        for choice, problem in zip(wanted, await self._host.make_places(places), strict=False):
            if problem:
                raise self._host.error("make", base + _place(choice.real or b""), problem)
        for mirror in each_once.values():
            mirror.wish(remote=False).addErrback(self._quietly)
        placed: list[PlacedMount] = []
        for choice in choices:
            if choice.real is None:
                placed.append(PlacedMount(choice.mount, choice.source, False))
                continue
            source = (base + _place(choice.real)).decode("utf-8", "surrogateescape")
            lines = [line for mirror in mirrors[choice.real] for line in warnings.pop(id(mirror), [])]
            placed.append(PlacedMount(choice.mount, source, True, tuple(lines)))
        return tuple(placed)

    def _mirrors_for(self, real: bytes, is_file: bool) -> list[Mirror]:
        """@return: the mirror that keeps C{real}, made if there is none, and those of parts of it."""
        keeper = self._mirrors.get(real)
        if keeper is not None and keeper.is_file != is_file:
            keeper = None
        if keeper is None:
            keeper = self._keeper(real)
        if keeper is None:
            snapshot = SnapshotFile(self._state / "trees", real)
            keeper = Mirror(self._means, real, _place(real), is_file, snapshot, self._report)
            self._mirrors[real] = keeper
            parts = [root for root in self._mirrors if root != real and under(root, real)]
            keeper.eye.excluded = frozenset(root[len(real) :].lstrip(b"/") for root in parts)
        if is_file:
            keeper.passes.pinned.add(real[len(keeper.root) :].lstrip(b"/"))
        inner = [
            mirror for root, mirror in self._mirrors.items() if root != keeper.root and under(root, real)
        ]
        return [keeper, *inner]

    def _keeper(self, real: bytes) -> Mirror | None:
        """@return: the mirror of a directory above C{real} that C{real} is part of."""
        above = os.path.dirname(real)
        while True:
            mirror = self._mirrors.get(above)
            if mirror is not None:
                inside = real[len(above) :].lstrip(b"/")
                return None if mirror.is_file or mirror.eye.hidden(inside, True) else mirror
            if above in (b"/", b""):
                return None
            above = os.path.dirname(above)

    def attach(self, container_id: str, remote_sources: Mapping[str, bool]) -> None:
        """See L{IMirrors.attach}."""
        if self._configuration.mode is SyncMode.OFF:
            return
        if not self._base:
            self._early.setdefault(container_id, {}).update(remote_sources)
            return
        for source, read_only in remote_sources.items():
            path = self.laptop_path(source)
            if path is None:
                continue
            real = os.fsencode(path)
            for mirror in self._mirrors_for(real, os.path.isfile(real)):
                used = self._used.setdefault(container_id, {})
                used[mirror.root] = used.get(mirror.root, True) and read_only
                if not read_only:
                    mirror.writable.add(
                        real[len(mirror.root) :].lstrip(b"/") if under(real, mirror.root) else b""
                    )
                mirror.use(container_id, container_id in self._running)
            if not read_only:
                self._writes.setdefault(container_id, set()).add(source)
        if container_id in self._running:
            self._owe(container_id)

    def _owe(self, user: str) -> None:
        """It may write from now on: what it wrote last must come back, whatever becomes of this agent."""
        if self._configuration.mode is SyncMode.TWO_WAY:
            self._owed.add(user, self._writes.get(user, ()))

    def _of(self, container_id: str) -> list[tuple[Mirror, bool]]:
        """@return: the mirrors of a container, each with whether it has it read-only."""
        used = self._used.get(container_id, {})
        return [(self._mirrors[root], read_only) for root, read_only in used.items()]

    def ready(self, container_id: str) -> Deferred[None]:
        """See L{IMirrors.ready}."""
        return Deferred.fromCoroutine(self._ready(container_id))

    async def _ready(self, container_id: str) -> None:
        early = self._early.get(container_id)
        if early:
            # The agent has just begun.
            try:
                await self._find_base()
            except StreamLost as lost:
                destination = self._remote.destination
                raise SyncFailed(source=min(early), destination=destination, reason=str(lost)) from lost
        await all_of([mirror.wish(remote=False) for mirror, _ in self._of(container_id)])
        self._owe(container_id)

    def running(self, container_id: str) -> None:
        """See L{IMirrors.running}."""
        self._running.add(container_id)
        self._owe(container_id)
        for mirror, _ in self._of(container_id):
            mirror.use(container_id, True)

    def collect(self, container_id: str) -> Deferred[None]:
        """See L{IMirrors.collect}; for one that was released, of what it had last."""
        ending = self._ending.get(container_id)
        if ending is not None:
            return _after(ending)
        found: Deferred[Any] = succeed(None)
        if container_id in self._early:
            found = Deferred.fromCoroutine(self._find_base()).addErrback(self._quietly)
        return found.addCallback(lambda _: self._bring(container_id)).addCallback(lambda _: None)

    def _bring(self, user: str) -> Deferred[bool]:
        """@return: fires when what it wrote before is here; with False if some of it is to come later."""

        def failed(failure: Any, mirror: Mirror) -> bool:
            self._quietly(failure)
            # Where the laptop has no place for it (any more), only a new mount would be one.
            return not os.path.lexists(mirror.root)

        waiting = [
            mirror.wish(remote=True).addCallbacks(lambda _: True, failed, errbackArgs=(mirror,))
            for mirror, read_only in self._of(user)
            if not read_only and mirror.two_way
        ]
        return Deferred.fromCoroutine(all_of(waiting)).addCallback(all)

    def _finish(self, user: str) -> Deferred[None]:
        """Brings back what it wrote last. It is owed until it is here."""

        def brought(complete: bool) -> None:
            if complete and user not in self._running:
                self._owed.settle(user)

        return self._bring(user).addCallback(brought)

    def stopped(self, container_id: str) -> None:
        """See L{IMirrors.stopped}; what it wrote last is brought back, even if nobody waits for that."""
        self._running.discard(container_id)
        for mirror, _ in self._of(container_id):
            mirror.use(container_id, False)
        if self._resynced and container_id in self._used and container_id in self._owed.sources:
            self._finish(container_id)

    def release(self, container_id: str) -> Deferred[None]:
        """See L{IMirrors.release}."""
        self._running.discard(container_id)
        self._early.pop(container_id, None)
        if container_id in self._ending:
            return _after(self._ending[container_id])
        if container_id not in self._used and container_id not in self._owed.sources:
            return succeed(None)
        if not self._resynced or not self._base:
            for mirror, _ in self._of(container_id):
                mirror.use(container_id, False)
            return _after(self._leaving.setdefault(container_id, Deferred()))
        if container_id not in self._used:
            # Of what the daemon has no more, only what is owed is known.
            self.attach(container_id, dict.fromkeys(self._owed.sources.get(container_id, ()), False))
        self._writes.pop(container_id, None)
        if container_id not in self._used:
            self._owed.settle(container_id)
            return succeed(None)
        ending = self._finish(container_id)
        mirrors = self._of(container_id)
        del self._used[container_id]
        self._ending[container_id] = ending

        def ended(result: None) -> None:
            del self._ending[container_id]
            if container_id not in self._used:
                for mirror, _ in mirrors:
                    mirror.leave(container_id)

        return _after(ending.addCallback(ended))

    def laptop_path(self, remote_path: str) -> str | None:
        """See L{IMirrors.laptop_path}."""
        if not self._base or not remote_path.startswith(self._base + "/"):
            return None
        return laptop_path(posixpath.normpath(remote_path[len(self._base) :]))

    def _report(self) -> None:
        """Writes the list of conflicts."""
        paths = [path for mirror in self._mirrors.values() for path in mirror.conflicts]
        for path in paths:
            self._log.warn(
                "Conflict: {path} was changed here and on the remote; each side keeps its own version",
                path=shown(path),
            )
        try:
            write_atomically(self._state / "conflicts", b"".join(path + b"\n" for path in paths))
        except OSError as error:
            self._log.warn("The list of conflicts cannot be written: {reason}", reason=error)


def _after(first: Deferred[None]) -> Deferred[None]:
    """@return: fires after C{first}, which goes on to its other callbacks."""
    following: Deferred[None] = Deferred()

    def follow(result: None) -> None:
        following.callback(None)

    first.addCallback(follow)
    return following


def _place(real: bytes) -> bytes:
    return os.fsencode(place_of(os.fsdecode(real)))
