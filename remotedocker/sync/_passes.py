# -*- test-case-name: tests.sync.test_mirror -*-
"""
One pass over a tree: look, compare, do what follows, and look again at what did not go as planned.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence

from attrs import Factory, define, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger

from remotedocker.errors import RemotePermissionDenied, SyncFailed, TreeStopped, harmless
from remotedocker.sync._agreement import Agreement
from remotedocker.sync._flow import InThread
from remotedocker.sync._host import Host
from remotedocker.sync._laptop import FileReceiver, LaptopTree, Pulled
from remotedocker.sync._listing import RemoteScan, changes, differences
from remotedocker.sync._names import Names
from remotedocker.sync._operations import Delete, Operation, Rename, SetMode, WriteFile
from remotedocker.sync._packing import UNSTABLE
from remotedocker.sync._reconcile import Conflict, Plan, danger, reconcile
from remotedocker.sync._remote import NOT_AS_EXPECTED, Pushed, Tree
from remotedocker.sync._said import known_cause
from remotedocker.sync._snapshot import SnapshotFile
from remotedocker.sync._stages import new_directories, stages, without
from remotedocker.sync._tree import (
    TEMPORARY_PREFIX,
    Agreed,
    Around,
    Entry,
    Moved,
    Scan,
    ancestors,
    inside,
    moved,
    shown,
)

__all__ = ["Look", "Passes"]

_ATTEMPTS = 4
"""How often a pass looks again at what did not go as planned."""


@define
class Look:
    """
    What the laptop's side is asked for by a pass.

    @ivar scan: looks at what may have changed there; the argument names paths to be looked at in any case.
    @ivar hidden: whether a path is none of this tree's.
    @ivar again: remembers paths to be looked at once more.
    @ivar anew: has the next look see everything.
    @ivar names: which names are one on the laptop.
    """

    scan: Callable[[set[bytes]], Deferred[Scan]]
    hidden: Callable[[bytes, bool], bool]
    again: Callable[[set[bytes]], None]
    anew: Callable[[], None]
    names: Callable[[], Names] = Names


@define
class Passes:
    """
    @ivar agreement: what both sides agreed on.
    @ivar comes_back: whether what changed at a path on the remote goes to the laptop.
    @ivar pinned: files that are mounted by themselves.
    @ivar known: the remote was listed since we last lost sight of it.
    """

    host: Host
    tree: Tree
    laptop: LaptopTree
    run: InThread
    snapshot: SnapshotFile
    look: Look
    comes_back: Callable[[bytes], bool]
    pinned: set[bytes]
    agreement: Agreement = Factory(Agreement)
    known: bool = False
    _stamp: bytes = field(init=False, default=b"")
    _told: set[tuple[bytes, str]] = field(init=False, factory=set)
    _examined: set[Conflict] = field(init=False, factory=set)
    _contested: set[bytes] = field(init=False, factory=set)
    _closed: set[bytes] = field(init=False, factory=set)
    _noted: Around | None = field(init=False, default=None)
    _waiting: bool = field(init=False, default=False)
    _log = Logger()

    async def converge(self, remote: bool) -> None:
        """
        Does one pass.

        @param remote: the remote is looked at, even if it is known.
        @raise RemoteDockerError: the trees may differ in more than conflicts.
        """
        failures: list[tuple[Operation, str]] = []
        for attempt in range(_ATTEMPTS):
            plan = await self._compare(remote or not self.known)
            if plan.idle:
                return
            failures, complete = [], True
            if plan.push:
                failures += await self._push(plan.push, attempt > 0)
            if plan.pull:
                complete = await self._pull(self._distinct(plan.pull)) and not self._waiting
            if not failures and complete:
                return
            remote = True
        if failures:
            operation, said = failures[0]
            raise self.host.error("write", self.laptop.absolute(operation.path), said)

    async def _compare(self, remote: bool) -> Plan:
        agreement = self.agreement
        looking = Deferred.fromCoroutine(self._list()) if remote else succeed(None)
        scanning = self.look.scan({*agreement.pending, *agreement.ours, *self._contested})
        try:
            scan = await scanning
        except CancelledError:
            looking.cancel()
            raise
        finally:
            await looking
        facts = await self.host.facts()
        reason = self._danger(scan, facts.store)
        if reason is not None:
            if not await self.run(self.snapshot.removed):
                raise self._stopped(reason)
            # The user's way to say that what was agreed on no longer counts.
            self.snapshot.close()
            agreement.start_anew()
            self.forget_remote(entirely=True)
            self.look.anew()
            return await self._compare(True)
        self._found(scan, facts.store)
        plan = await self.run(self._reconcile, scan, facts.coarse)
        agreement.settle(plan)
        self._contested = {*plan.conflicts, *plan.blocked}
        if plan.conflicts:
            await self._examine(plan)
        self._note()
        return plan

    def _danger(self, scan: Scan, store: bytes) -> str | None:
        """@return: why the tree must not be touched, or None."""
        agreement, around = self.agreement, self.agreement.around
        here = {path: moved(before, scan.places.get(path, before)) for path, before in around.places.items()}
        other = store and around.store and store != around.store
        there = Moved.SURELY if other else Moved.NO
        return danger(agreement.base, scan.delta, agreement.pending, here, there)

    def _found(self, scan: Scan, store: bytes) -> None:
        """Remembers where both sides are, which is where they should be."""
        around = self.agreement.around
        around.store = store or around.store
        for path, place in scan.places.items():
            if place is None:
                around.places.pop(path, None)
            else:
                around.places[path] = place

    def _note(self) -> None:
        """Puts what was agreed on into the journal."""
        changes = self.agreement.take_changes()
        if changes:
            self.snapshot.agreed(changes)
        around = self.agreement.around
        if around != self._noted and (self._noted is not None or self.agreement.base):
            self._noted = around.copy()
            self.snapshot.around(self._noted)
            self.agreement.changed = True

    async def _examine(self, plan: Plan) -> None:
        """Finds conflicts in which both sides have the same content after all: they are agreements."""
        doubtful = [
            conflict
            for conflict in plan.conflicts.values()
            if conflict.local is not None
            and conflict.remote is not None
            and conflict.local.is_file
            and conflict.remote.is_file
            and conflict.local.size == conflict.remote.size
            and conflict not in self._examined
        ]
        if not doubtful:
            return
        theirs = await self.host.checksums(self.tree, [conflict.path for conflict in doubtful])
        for conflict in doubtful:
            ours = await self.run(self.laptop.checksum, conflict.path, conflict.local)
            if ours is not None and ours.encode() == theirs.get(conflict.path):
                assert conflict.local is not None and conflict.remote is not None
                self.agreement.agree(conflict.path, Agreed(conflict.local, conflict.remote))
            else:
                self._examined.add(conflict)

    def _reconcile(self, scan: Scan, coarse: bool) -> Plan:
        agreement = self.agreement
        return reconcile(
            agreement.base,
            scan.delta,
            {path: entry for path, entry in agreement.pending.items() if path not in scan.unknown},
            comes_back=self.comes_back,
            ours=agreement.ours,
            pinned=self.pinned,
            kept=agreement.around.kept,
            coarse=coarse,
            closed=self._closed,
        )

    def failed(self, reason: str) -> SyncFailed:
        """@return: the error for this tree."""
        return SyncFailed(source=self._text(), destination=self.host.remote.destination, reason=reason)

    def _stopped(self, reason: str) -> TreeStopped:
        destination, snapshot = self.host.remote.destination, self.snapshot.pattern
        return TreeStopped(source=self._text(), destination=destination, reason=reason, snapshot=snapshot)

    def _text(self) -> str:
        return shown(self.tree.source)

    async def _list(self) -> None:
        """Brings L{Agreement.pending} up to date."""
        agreement, facts = self.agreement, await self.host.facts()
        if not self._stamp or not facts.lists:
            records, stamp = await self.host.list_tree(self.tree)
            found: RemoteScan = await self.run(differences, records, agreement.base, facts.coarse)
            agreement.pending.clear()
            kept = agreement.around.kept
            for path in [path for path, here in kept.items() if not here and path not in found.listed]:
                del kept[path]
        else:
            records, stamp = await self.host.list_changes(self.tree, self._stamp)
            found = await self.run(changes, records, agreement.base, facts.coarse)
            if found.incomplete:
                more = await self.host.list_parts(self.tree, found.incomplete)
                added: RemoteScan = await self.run(changes, more, agreement.base, facts.coarse, False)
                found.delta.update(added.delta)
                found.listed |= added.listed
                found.unknown |= added.unknown
        if b"" in found.unknown:
            # What is gone will be known only when everything was listed.
            stamp = b""
            self._tell(b"", "not all of it could be listed on the remote; what is gone there stays here")
        self._stamp, self.known = stamp, True
        self._take(found)

    def _take(self, found: RemoteScan) -> None:
        pending = self.agreement.pending
        for path in found.listed if pending else ():
            pending.pop(path, None)
        for path, entry in found.delta.items():
            if path.rpartition(b"/")[2].startswith(TEMPORARY_PREFIX):
                continue
            if entry is None and any(above in found.unknown for above in ancestors(path)):
                continue
            if path and self.look.hidden(path, entry is not None and entry.is_directory):
                continue
            pending[path] = entry

    def forget_remote(self, entirely: bool = False) -> None:
        """
        The remote must be looked at before anything is assumed of it.

        @param entirely: not even that its clock and its change times can be relied on.
        """
        self.known = False
        if entirely:
            self._stamp = b""

    async def _push(self, operations: Sequence[Operation], again: bool) -> list[tuple[Operation, str]]:
        """@return: what failed, and how."""
        agreement = self.agreement
        before = dict(agreement.ours)
        writing = agreement.writing(operations)
        if writing:
            self.snapshot.writing(writing)
        facts = await self.host.facts()
        try:
            guarded = self.comes_back(b"")
            pushed = await self.host.push(self.tree, operations, guarded=guarded, again=again)
        except BaseException:
            self.known = False
            raise
        self._record(pushed, facts.coarse, before)
        self._note()
        return pushed.failed

    def _record(self, pushed: Pushed, coarse: bool, before: Mapping[bytes, Entry | None]) -> None:
        agreement = self.agreement
        unstable = set()
        for operation, sent in pushed.done:
            self._closed.discard(operation.path)
            if operation.path in pushed.kept:
                agreement.around.kept[operation.path] = False
            if sent is not None and sent.mtime == UNSTABLE:
                # It lost its end while it was read: what the remote has now is nobody's work.
                agreement.ours[operation.path] = None
                unstable.add(operation.path)
                self.known = False
            else:
                agreement.pushed(operation, sent, coarse)
        for operation, reason in pushed.skipped:
            agreement.ours.pop(operation.path, None)
            unstable.add(operation.path)
            if reason != os.strerror(errno.ENOENT):
                self._tell(operation.path, reason)
        if pushed.failed:
            self.known = False
            self._stamp = b""
            for operation, said in pushed.failed:
                unstable.add(operation.path)
                if isinstance(operation, Rename):
                    unstable.add(operation.old)
                if (
                    isinstance(operation, (WriteFile, SetMode))
                    and known_cause(said) is RemotePermissionDenied
                ):
                    # A container may have made it as root; in a directory of ours it can be replaced.
                    self._closed.add(operation.path)
                if said == NOT_AS_EXPECTED:
                    # Nothing was written now; what was broken off earlier still is.
                    agreement.ours.pop(operation.path, None)
                    if operation.path in before:
                        agreement.ours[operation.path] = before[operation.path]
        if unstable:
            self.look.again(unstable)

    def _tell(self, path: bytes, reason: str) -> None:
        """Warns of a path, once for each reason."""
        if (path, reason) in self._told:
            return
        self._told.add((path, reason))
        whole = shown(self.laptop.absolute(path))
        self._log.warn("{path} is not synced: {reason}", path=whole, reason=harmless(reason))

    async def _pull(self, operations: Sequence[Operation]) -> bool:
        """
        Brings changes to the laptop; what fails stays pending.

        @return: whether nothing failed.
        """
        early, files, late = stages(operations)
        self.laptop.stage(new_directories(operations))
        results: list[Pulled] = []
        complete = True
        try:
            results.append(await self.run(self.laptop.apply, early))
            if files:
                receiver = FileReceiver(self.laptop, {each.path: each for each in files})
                ended = False
                try:
                    await self.host.fetch(self.tree, [each.path for each in files], receiver)
                    ended = True
                finally:
                    results.append(await self.run(receiver.finish, ended))
        finally:
            missing = await self.run(self.laptop.land)
            for pulled in results:
                complete = self._pulled(without(pulled, missing)) and complete
        late = [each for each in late if not inside(each.path, missing)]
        return self._pulled(await self.run(self.laptop.apply, late)) and complete

    def _distinct(self, operations: list[Operation]) -> list[Operation]:
        """@return: C{operations} without those whose names are one with others' on the laptop."""
        names, self._waiting = self.look.names(), False
        if names.exact:
            return operations
        leaving = {each.path for each in operations if isinstance(each, Delete)}
        base = self.agreement.base
        new = {each.path for each in operations if each.path not in base and each.path not in leaving}
        collisions = names.collisions(new, base)
        for path, other in collisions.items():
            if other in leaving:
                # Its name was only spelled anew: it is made when the old one is gone.
                self._waiting = True
            else:
                self._tell(path, f"this machine takes its name for that of {shown(other)}")
        return [each for each in operations if not inside(each.path, collisions)]

    def _pulled(self, pulled: Pulled) -> bool:
        for operation, local, remote in pulled.done:
            self.agreement.pulled(operation, local, remote)
            if isinstance(operation, Delete) and local is not None and local.is_directory:
                self.agreement.around.kept[operation.path] = True
        self._note()
        if pulled.failed:
            self.look.again({operation.path for operation, _ in pulled.failed})
            for operation, reason in pulled.failed:
                self._tell(operation.path, f"it could not be brought back: {reason}")
        return not pulled.failed
