# -*- test-case-name: tests.sync.test_mirror -*-
"""
One tree and its copy on the remote: when to look, and who waits for it.

All work on a tree is done in passes, one at a time. Whoever asks for a state gets an answer after a pass that
began after the asking. What is not known to the end (a lost connection, a step that failed) is looked at
again, never assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, fail
from twisted.logger import Logger

from remotedocker.errors import RemoteDockerError, SSHError
from remotedocker.sync._cancelling import to_its_end
from remotedocker.sync._configuration import SyncConfiguration, SyncMode
from remotedocker.sync._eye import Eye
from remotedocker.sync._flow import InThread
from remotedocker.sync._host import Host
from remotedocker.sync._ignore import GIT_IGNORE_FILE, IGNORE_FILE
from remotedocker.sync._laptop import LaptopTree
from remotedocker.sync._names import Names, names_of
from remotedocker.sync._passes import Look, Passes
from remotedocker.sync._remote import Tree
from remotedocker.sync._shell import StreamLost
from remotedocker.sync._snapshot import SnapshotFile
from remotedocker.sync._trash import Trash
from remotedocker.sync._tree import Scan, shown, under
from remotedocker.sync._watch import make_watcher

__all__ = ["Means", "Mirror"]

_FIRST = 0.01
"""Seconds from the first event of a burst to the pass."""

_REST = 0.05
"""Seconds between passes while changes keep coming."""

_SAVE = 30.0
"""Seconds from a change to the next snapshot; until then it is in the journal."""

_JOURNAL = 8 * 1024 * 1024
"""Bytes of a journal after which a snapshot is made at once."""

_POLL = 1.0


@frozen
class _Wish:
    """Somebody waits for a pass that looks at the remote too (or not)."""

    remote: bool
    done: Deferred[None]


@define
class Means:
    """
    What mirrors work with.

    @ivar run: see L{to_its_end}.
    @ivar resynced: whether passes may be made that nobody waits for (L{IMirrors.resynced}).
    """

    reactor: Any
    host: Host
    run: InThread = field(converter=to_its_end)
    configuration: SyncConfiguration
    trash: Trash
    resynced: Callable[[], bool] = lambda: True
    watcher: Callable[..., Any] = make_watcher
    names: Callable[[bytes], Names] = names_of


class Mirror:
    """
    @param root: absolute path on the laptop, without symbolic links.
    @param place: the path of the copy below the agent's directory, with a slash in front.
    @param is_file: whether the root is a single file.
    @param report: called when conflicts may have changed.

    @ivar eye: looks at the laptop's side.
    @ivar writable: paths in it that are mounted read-write.
    @ivar users: the containers that have it, each to whether it runs.
    """

    _log = Logger()

    def __init__(
        self,
        means: Means,
        root: bytes,
        place: bytes,
        is_file: bool,
        snapshot: SnapshotFile,
        report: Callable[[], None],
    ) -> None:
        self.root = root
        self.place = place
        self.is_file = is_file
        self.writable: set[bytes] = set()
        self.users: dict[str, bool] = {}
        self._means = means
        self._snapshot = snapshot
        self._report = report
        self._dirty: set[bytes] = set()
        self._whole = True
        self._fresh: Scan | None = None
        self._taken: set[bytes] = set()
        self._taken_whole = False
        self._watcher: Any = None
        self._wishes: list[_Wish] = []
        self._worker: Deferred[None] | None = None
        self._stopped = False
        self._loaded = False
        self._disk = DeferredLock()
        self._soon: Any = None
        self._saving: Any = None
        self._polling: Any = None
        tree, laptop = Tree(place, root), LaptopTree(root, is_file, means.trash)
        self.eye = Eye(means.configuration, laptop, probe=means.names)
        look = Look(self._scan, self.eye.hidden, self._again, self._look_anew, lambda: self.eye.names)
        self.passes = Passes(
            means.host, tree, laptop, means.run, snapshot, look, self._comes_back, {b""} if is_file else set()
        )

    @property
    def conflicts(self) -> list[bytes]:
        """The absolute paths on the laptop at which both sides changed."""
        return [self.passes.laptop.absolute(path) for path in sorted(self.passes.agreement.conflicts)]

    def _comes_back(self, path: bytes) -> bool:
        if self._means.configuration.mode is not SyncMode.TWO_WAY:
            return False
        if b"" in self.writable:
            return True
        return any(under(path, prefix) or under(prefix, path) for prefix in self.writable)

    @property
    def two_way(self) -> bool:
        """Whether anything can come back."""
        return bool(self.writable) and self._means.configuration.mode is SyncMode.TWO_WAY

    async def measure(self) -> list[str]:
        """
        Looks at the laptop's side as a whole, before anything is sent.

        @return: warnings of names that cannot be mirrored, each path once.
        @raise TreeTooLarge: it has more than the limits allow.
        """
        await self._load()
        self.watch()
        looking = self._worker is not None and self._taken_whole
        if self._watcher is not None and self.users and not (self._whole or looking):
            # It was measured for those, and what changed since is known.
            return []
        scan = await self._means.run(self.eye.whole, self.passes.agreement.base)
        if self._watcher is not None and self._worker is None:
            # The first pass needs not look again at what was not told of since.
            self._fresh, self._whole = scan, False
        return self.eye.problems(scan)

    def watch(self) -> None:
        """Begins to watch the laptop's side, unless that is done or not wanted."""
        if self._watcher is not None or self._stopped:
            return
        if self._means.configuration.mode not in (SyncMode.TWO_WAY, SyncMode.PUSH):
            return
        top = self.passes.laptop.top
        try:
            self._watcher = self._means.watcher(self._means.reactor, top, self._changed, self._missed)
            self.eye.entering, self.eye.entered = self._watcher.add, self._watcher.watches
            if self.is_file:
                self._watcher.add(top)
        except OSError as error:
            self._missed(error.strerror or str(error))
        self._whole = True

    def unwatch(self) -> None:
        """Ends watching; the next pass looks at everything."""
        watcher, self._watcher = self._watcher, None
        self.eye.entering = self.eye.entered = None
        self._whole = True
        if watcher is not None:
            watcher.stop()

    def _missed(self, reason: str) -> None:
        self._log.warn(
            "Changes in {root} may go unseen until the next start: {reason}", root=self._text(), reason=reason
        )
        self._whole = True
        self._later(_REST)

    def _text(self) -> str:
        return shown(self.root)

    def _changed(self, path: bytes) -> None:
        """The watcher says that something may have changed at C{path}."""
        if path == self.root:
            inside = b""
        elif path.startswith(self.root + b"/") and not self.is_file:
            inside = path[len(self.root) + 1 :]
        else:
            return
        if inside.rpartition(b"/")[2] in (IGNORE_FILE, GIT_IGNORE_FILE):
            self._whole = True
        self._dirty.add(inside)
        self._later(_FIRST)

    def _again(self, paths: set[bytes]) -> None:
        self._dirty |= paths

    def _look_anew(self) -> None:
        self._whole, self._fresh = True, None

    def _later(self, seconds: float) -> None:
        if self._soon is None and not self._stopped and self._worker is None:
            self._soon = self._means.reactor.callLater(seconds, self._now)

    def _now(self) -> None:
        self._soon = None
        if self._means.resynced():
            self._start()

    def resume(self) -> None:
        """Makes the passes that were not made before the resync."""
        if any(self.users.values()):
            self.wish(remote=True).addErrback(lambda _: None)
        elif self._changes_known:
            self._later(_FIRST)

    @property
    def _changes_known(self) -> bool:
        return bool(self._dirty) or self._whole and self._watcher is not None

    def wish(self, remote: bool) -> Deferred[None]:
        """
        @param remote: what changed on the remote is looked for too.
        @return: fires after a pass that begins after this call; fails as it does.
        """
        if self._stopped:
            return fail(self.passes.failed("remotedocker is stopping"))
        wish = _Wish(remote, Deferred())
        self._wishes.append(wish)
        self._start()
        return wish.done

    def _start(self) -> None:
        if self._worker is None and not self._stopped:
            self._worker = Deferred.fromCoroutine(self._work())
            self._worker.addErrback(self._bug)

    def _bug(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("A pass over {root} failed", failure, root=self._text())

    async def _work(self) -> None:
        """Does passes until nobody waits and nothing changed."""
        again = True
        wishes: list[_Wish] = []
        try:
            while again and not self._stopped:
                wishes, self._wishes = self._wishes, []
                error = await self._pass(any(wish.remote for wish in wishes))
                done, wishes = wishes, []
                for wish in done:
                    wish.done.callback(None) if error is None else wish.done.errback(error)
                again = bool(self._wishes)
        finally:
            self._worker = None
            wishes, self._wishes = [*wishes, *self._wishes], []
            reason = (
                "remotedocker is stopping" if self._stopped else "of an error in remotedocker (see its log)"
            )
            for wish in wishes:
                wish.done.errback(self.passes.failed(reason))
            if self._changes_known and not self._failing:
                self._later(_REST)

    _failing = False
    _complaint = ""

    async def _pass(self, remote: bool) -> Exception | None:
        """@return: why the trees may differ, if they may."""
        before = self.conflicts
        self._taken, self._taken_whole = set(), False
        try:
            await self._load()
            await self.passes.converge(remote)
        except (StreamLost, RemoteDockerError) as error:
            return self._failed(error)
        except BaseException:
            # What was to be looked at still is.
            self._failing = True
            raise
        else:
            self._failing, self._complaint = False, ""
            return None
        finally:
            if self._failing:
                self._dirty |= self._taken
                self._whole = self._whole or self._taken_whole
            self._save_soon()
            if self.conflicts != before:
                self._report()

    def _failed(self, error: StreamLost | RemoteDockerError) -> RemoteDockerError:
        """Tells of a reason once, and of the login, whose loss is told elsewhere, at the first failure."""
        cut_off = isinstance(error, StreamLost)
        told = self.passes.failed(str(error)) if isinstance(error, StreamLost) else error
        of_the_login = isinstance(error, SSHError)
        if cut_off or of_the_login:
            self.lost()
        news = not self._failing or not of_the_login and told.message != self._complaint
        self._failing = True
        if news and (not cut_off or self._means.host.remote.connected):
            self._log.warn("{root}: {reason}", root=self._text(), reason=told.message)
            self._complaint = told.message
        return told

    def lost(self) -> None:
        """The login was lost: the remote must be looked at again."""
        self.passes.forget_remote()

    async def _load(self) -> None:
        """Once: to load beside a pass would begin a journal anew that it writes to."""
        if not self._loaded:
            await self._disk.run(lambda: Deferred.fromCoroutine(self._load_saved()))

    async def _load_saved(self) -> None:
        if self._loaded:
            return
        saved = await self._means.run(self._snapshot.load)
        self._loaded = True
        if saved is not None:
            self.passes.agreement.base = saved.base
            self.passes.agreement.ours.update(saved.ours)
            self.passes.agreement.around = saved.around

    def _scan(self, paths: set[bytes]) -> Deferred[Scan]:
        """What a pass asks: looks at what may have changed."""
        if self._watcher is not None:
            self._watcher.drain()
        dirty, self._dirty = self._dirty, set()
        whole = self._whole or self._watcher is None
        fresh, self._fresh = self._fresh, None
        base = self.passes.agreement.base
        self.eye.places = dict(self.passes.agreement.around.places)
        if whole:
            scanning = self._means.run(self.eye.whole, base)
        else:
            scanning = self._means.run(self.eye.parts, {*dirty, *paths}, base, fresh)
        self._whole = False
        self._taken |= dirty
        self._taken_whole = self._taken_whole or whole or fresh is not None

        def noted(scan: Scan) -> Scan:
            self.eye.problems(scan)
            return scan

        return scanning.addCallback(noted)

    def _save_soon(self) -> None:
        if self.passes.agreement.changed and self._saving is None and not self._stopped:
            seconds = _SAVE if self._snapshot.size < _JOURNAL else 0.0
            self._saving = self._means.reactor.callLater(seconds, self._save)

    def _save(self) -> Deferred[None]:
        """One at a time: an older state must not take the place of a newer one, whose journals are gone."""
        self._saving = None
        saved: Deferred[None] = self._disk.run(self._save_now)
        return saved

    def _save_now(self) -> Deferred[None]:
        agreement = self.passes.agreement
        agreement.changed = False
        base, ours, around = dict(agreement.base), dict(agreement.ours), agreement.around.copy()
        saving = self._means.run(self._snapshot.save, self._snapshot.checkpoint(), base, ours, around)

        def failed(failure: Any) -> None:
            agreement.changed = True
            self._log.warn(
                "The state of {root} cannot be saved: {reason}", root=self._text(), reason=failure.value
            )

        return saving.addErrback(failed)

    def use(self, container_id: str, running: bool) -> None:
        """The container has this mirror; while it runs, what it writes is looked for."""
        self.users[container_id] = running
        if running:
            watched = self._watcher is not None
            self.watch()
            if not watched and self._watcher is not None:
                # It runs already: what changed before it was watched is looked for, too.
                self._later(_FIRST)
            self._poll_later()

    def leave(self, container_id: str) -> None:
        """The container is gone."""
        self.users.pop(container_id, None)
        if not self.users:
            self.unwatch()

    def _poll_later(self) -> None:
        if self._polling is None and self.two_way and any(self.users.values()) and not self._stopped:
            self._polling = self._means.reactor.callLater(_POLL, self._poll)

    def _poll(self) -> None:
        self._polling = None
        if not self._means.host.remote.connected or not self._means.resynced():
            self._poll_later()
            return
        self.wish(remote=True).addErrback(lambda _: None).addBoth(lambda _: self._poll_later())

    async def stop(self) -> None:
        """
        Ends everything, without a word from the remote; returns when no thread is at it any more and what was
        agreed is saved.
        """
        self._stopped = True
        for call in (self._soon, self._saving, self._polling):
            if call is not None and call.active():
                call.cancel()
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            wish.done.errback(self.passes.failed("remotedocker is stopping"))
        worker = self._worker
        if worker is not None:
            worker.cancel()
            await worker
        self.unwatch()
        await self._disk.acquire()
        try:
            if self.passes.agreement.changed:
                await self._save_now()
            self._snapshot.close()
        finally:
            self._disk.release()
