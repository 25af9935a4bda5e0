"""One mirror: passes, who waits for them, and what they leave for later."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import (
    ILogObserver,
    Logger,
    LogLevel,
    capturedLogs,
    formatEvent,
    globalLogPublisher,
)
from twisted.trial.unittest import TestCase
from zope.interface import provider

from remotedocker.errors import RemoteDiskFull, RemoteDockerError, SyncFailed, TreeStopped, TreeTooLarge
from remotedocker.sync._configuration import SyncConfiguration, SyncMode
from remotedocker.sync._flow import InThread, in_thread_of
from remotedocker.sync._host import Host
from remotedocker.sync._mirror import Means, Mirror
from remotedocker.sync._names import Names
from remotedocker.sync._operations import Delete, MakeDirectory, Operation, SetMode, WriteFile
from remotedocker.sync._shell import StreamLost
from remotedocker.sync._snapshot import SnapshotFile
from remotedocker.sync._stages import stages
from remotedocker.sync._tar import TarSink
from remotedocker.sync._transfer import Tree
from remotedocker.sync._trash import Trash
from remotedocker.sync._tree import Entry, Place, entry_of
from tests.support.waiting import wait_until
from tests.sync.local_remote import LocalRemote


class MirrorTestCase(TestCase):
    """A directory of the laptop and its mirror."""

    timeout = 60

    async def setUp(self) -> None:
        """Makes both."""
        top = Path(self.mktemp()).absolute()
        self.laptop, self.home, self.state = top / "laptop", top / "home", top / "state"
        for each in (self.laptop, self.home, self.state):
            each.mkdir(parents=True)
        self.remote = LocalRemote(reactor, self.home)
        self.reports = 0
        self.mirror = await self.make()
        self.there = self.home / "mirrors" / "a1" / "copy"

    names = Names()

    async def make(self, run: InThread | None = None, **options: Any) -> Mirror:
        """
        @param run: the mirror's threads, if not the reactor's.
        @return: a mirror that is used by one running container, and stopped with the test.
        """
        configuration = SyncConfiguration(agent_id="a1", sync_root="mirrors", **options)
        run = run or in_thread_of(reactor)
        self.host = host = Host(self.remote, "mirrors", "a1", in_thread_of(reactor))
        trash = Trash(self.state / "trash")
        means = Means(reactor, host, run, configuration, trash, names=lambda _: self.names)
        root = bytes(self.laptop)
        mirror = Mirror(means, root, b"/copy", False, SnapshotFile(self.state, root), self.report)
        mirror.writable.add(b"")
        self.addCleanup(lambda: Deferred.fromCoroutine(host.close()))
        self.addCleanup(lambda: Deferred.fromCoroutine(mirror.stop()))
        await host.make_places([(b"/copy", False)])
        return mirror

    async def make_unreliable(self, listed: str, end: str) -> Path:
        """
        Makes the mirror, of four files, anew on a remote whose C{find} can be broken.

        @param listed: the one file that it lists then.
        @param end: the shell command that it ends with then.
        @return: while this file is there, it is broken.
        """
        await self.host.close()
        tools, flag = self.state / "tools", self.state / "broken"
        tools.mkdir()
        real = shutil.which("find")
        (tools / "find").write_text(
            f'#!/bin/sh\n[ -e {flag} ] || exec {real} "$@"\n'
            f'{real} . -path ./a -prune -o -path . -printf "+$F" -o -name {listed} -printf "$F"\n{end}\n'
        )
        (tools / "find").chmod(0o755)
        self.remote.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
        self.mirror = await self.make()
        for name in "abcd":
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        return flag

    def report(self) -> None:
        """Counts."""
        self.reports += 1

    async def fails(self, waiting: Deferred[Any], kind: type[RemoteDockerError] = SyncFailed) -> str:
        """@return: with what it fails."""
        try:
            await waiting
        except kind as error:
            return error.message
        raise AssertionError("it did not fail")


class WishTests(MirrorTestCase):
    """L{Mirror.wish}."""

    async def test_complete(self) -> None:
        """After a wish, what was there before it is on the remote, with a watcher and without."""
        for watch in (False, True):
            if watch:
                self.mirror.watch()
            (self.laptop / f"f{watch}").write_text("x")
            await self.mirror.wish(remote=False)
            self.assertTrue((self.there / f"f{watch}").exists())

    async def test_both_ways(self) -> None:
        """A wish that looks at the remote brings back what was written there."""
        (self.laptop / "a").write_text("x")
        await self.mirror.wish(remote=False)
        (self.there / "b").write_text("theirs")
        await self.mirror.wish(remote=True)
        self.assertEqual((self.laptop / "b").read_text(), "theirs")

    async def test_measured_beside_a_pass(self) -> None:
        """What was saved is loaded once, whoever asks first: the journal of a pass is not begun anew."""
        loads: list[None] = []
        load = SnapshotFile.load

        def counted(snapshot: SnapshotFile) -> Any:
            loads.append(None)
            return load(snapshot)

        self.patch(SnapshotFile, "load", counted)
        pass_over = self.mirror.wish(remote=True)
        await self.mirror.measure()
        await pass_over
        self.assertEqual(len(loads), 1)

    async def test_saved_in_turn(self) -> None:
        """A state is saved when the one before it is: two at once could end with the older one."""
        await self.mirror.wish(remote=False)
        self.mirror._saving.cancel()
        begun: list[Deferred[None]] = []

        def slow(function: Any, *arguments: Any) -> Deferred[None]:
            begun.append(Deferred())
            return begun[-1].addCallback(lambda _: function(*arguments))

        self.patch(self.mirror._means, "run", slow)
        first, second = self.mirror._save(), self.mirror._save()
        self.assertEqual(len(begun), 1)
        begun[0].callback(None)
        await first
        self.assertEqual(len(begun), 2)
        begun[1].callback(None)
        await second

    async def test_logged_once(self) -> None:
        """A tree that fails in the same way again and again is logged once, until it is well."""
        said: list[str] = []

        @provider(ILogObserver)
        def note(event: Any) -> None:
            said.append(event["reason"])

        self.patch(Mirror, "_log", Logger(observer=note))
        (self.laptop / "f").write_text("x")
        await self.mirror.wish(remote=False)
        for _ in range(2):
            self.laptop.rename(self.laptop.with_name("away"))
            for _ in range(3):
                await self.fails(self.mirror.wish(remote=True))
            self.laptop.with_name("away").rename(self.laptop)
            await self.mirror.wish(remote=True)
        self.assertEqual(len(said), 2, said)

    async def test_wish_during_a_pass(self) -> None:
        """A wish that comes while a pass runs is for the next one, which sees what came before it."""
        first = self.mirror.wish(remote=False)
        (self.laptop / "late").write_text("x")
        second = self.mirror.wish(remote=False)
        await first
        await second
        self.assertTrue((self.there / "late").exists())

    async def test_login_lost(self) -> None:
        """Without a login a wish fails; what changed is not forgotten until the next."""
        self.mirror.watch()
        await self.mirror.wish(remote=False)
        (self.laptop / "f").write_text("x")
        self.remote.lose()
        await self.fails(self.mirror.wish(remote=False), RemoteDockerError)
        self.remote.restore()
        await self.mirror.wish(remote=False)
        self.assertTrue((self.there / "f").exists())

    async def test_unexpected(self) -> None:
        """After an error that nobody foresaw, all who wait are told, and what changed is not forgotten."""
        self.mirror.watch()
        await self.mirror.wish(remote=False)
        (self.laptop / "f").write_text("x")
        push = self.host.push
        later: list[Deferred[None]] = []

        def broken(*_: Any, **__: Any) -> Any:
            later.append(self.mirror.wish(remote=False))
            raise ValueError("nobody foresaw this")

        self.patch(self.host, "push", broken)
        await self.fails(self.mirror.wish(remote=False))
        await self.fails(later[0])
        logged: list[Any] = []
        await wait_until(reactor, lambda: logged.extend(self.flushLoggedErrors(ValueError)) or logged)
        self.assertEqual(len(logged), 1)
        self.patch(self.host, "push", push)
        await self.mirror.wish(remote=False)
        self.assertTrue((self.there / "f").exists())

    async def test_stopped(self) -> None:
        """Who waits when it stops is told, and so is who comes later."""
        waiting = [self.mirror.wish(remote=True), self.mirror.wish(remote=False)]
        stopping = Deferred.fromCoroutine(self.mirror.stop())
        for each in (*waiting, self.mirror.wish(remote=False)):
            self.assertIn("stopping", await self.fails(each))
        await stopping

    async def test_too_large(self) -> None:
        """A tree over its limit is refused, with both figures and the option."""
        mirror = await self.make(max_tree_size=2048)
        (self.laptop / "f").write_bytes(bytes(5000))
        message = await self.fails(mirror.wish(remote=False), TreeTooLarge)
        for part in ("4.9 KiB", "2.0 KiB", "--max-tree-size"):
            self.assertIn(part, message)

    async def test_grown_too_large(self) -> None:
        """A tree that nobody uses is measured each time, whatever passes were done since it was refused."""
        mirror = await self.make(max_tree_files=5)
        for number in range(9):
            (self.laptop / f"f{number}").write_text("x")
        for _ in range(2):
            await self.fails(Deferred.fromCoroutine(mirror.measure()), TreeTooLarge)
        for number in range(7):
            (self.laptop / f"f{number}").unlink()
        await mirror.wish(remote=False)
        for number in range(7):
            (self.laptop / f"f{number}").write_text("x")
        await self.fails(Deferred.fromCoroutine(mirror.measure()), TreeTooLarge)


class StopTests(MirrorTestCase):
    """L{Mirror.stop}, at any moment of a pass."""

    async def make_slow(self, name: str) -> list[Deferred[None]]:
        """
        Makes the mirror anew.

        @return: gets what a call of the function C{name} in a thread waits for.
        """
        begun: list[Deferred[None]] = []
        in_thread = in_thread_of(reactor)

        def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            if function.__name__ != name:
                return in_thread(function, *arguments)
            begun.append(Deferred())
            return begun[-1].addCallback(lambda _: function(*arguments))

        self.mirror = await self.make(run)
        return begun

    def silence(self, question: str) -> list[None]:
        """
        The remote answers C{question} no more.

        @return: gets something when it is asked.
        """
        asked: list[None] = []

        async def silent(*_: Any, **__: Any) -> None:
            asked.append(None)
            await Deferred()

        self.patch(self.host, question, silent)
        return asked

    async def test_silent_remote(self) -> None:
        """Whatever the remote is asked, its answer is not waited for."""
        (self.laptop / "f").write_text("x")
        (self.there / "g").write_text("x")
        for question in ("facts", "list_tree", "push", "fetch"):
            self.mirror = await self.make()
            asked = self.silence(question)
            waiting = self.mirror.wish(remote=True)
            await wait_until(reactor, asked.copy)
            await self.mirror.stop()
            self.assertIn("stopping", await self.fails(waiting))

    async def test_scanning(self) -> None:
        """A thread that looks at the laptop is waited for, the remote that is looked at beside is not."""
        begun = await self.make_slow("whole")
        asked = self.silence("list_tree")
        waiting = self.mirror.wish(remote=True)
        await wait_until(reactor, lambda: asked and begun)
        stopping = Deferred.fromCoroutine(self.mirror.stop())
        self.assertNoResult(stopping)
        begun[0].callback(None)
        await stopping
        self.assertIn("stopping", await self.fails(waiting))

    async def test_changing_the_laptop(self) -> None:
        """A thread that changes the laptop has ended when the mirror is stopped."""
        begun = await self.make_slow("apply")
        (self.there / "d").mkdir()
        waiting = self.mirror.wish(remote=True)
        await wait_until(reactor, lambda: begun)
        stopping = Deferred.fromCoroutine(self.mirror.stop())
        self.assertNoResult(stopping)
        begun[0].callback(None)
        await stopping
        self.assertEqual((os.listdir(self.laptop), len(begun)), (["d"], 1))
        self.assertIn("stopping", await self.fails(waiting))

    async def test_pulling(self) -> None:
        """What had come is known to the next one; nothing is added to a journal that was closed."""
        begun = await self.make_slow("finish")
        await self.mirror.wish(remote=True)
        self.mirror._saving.cancel()
        await self.mirror._save()
        (self.there / "f").write_text("theirs")
        (self.there / "g").write_text("never comes")
        received: list[None] = []

        async def fetch(tree: Tree, paths: Sequence[bytes], sink: TarSink) -> None:
            sink.begin(b"./f", entry_of(os.lstat(self.there / "f")), b"")
            sink.data(b"theirs")
            sink.end()
            received.append(None)
            await Deferred()

        self.patch(self.host, "fetch", fetch)
        waiting = self.mirror.wish(remote=True)
        await wait_until(reactor, lambda: received)
        stopping = Deferred.fromCoroutine(self.mirror.stop())
        self.assertNoResult(stopping)
        begun[0].callback(None)
        await stopping
        self.assertIsNone(self.mirror._snapshot._open)
        self.assertIn("stopping", await self.fails(waiting))
        self.mirror = await self.make()
        await self.mirror._load()
        self.assertEqual(sorted(self.mirror.passes.agreement.base), [b"", b"f"])

    async def test_saving(self) -> None:
        """A state that is being saved is waited for."""
        begun = await self.make_slow("save")
        await self.mirror.wish(remote=False)
        await wait_until(reactor, lambda: self.mirror._worker is None)
        self.mirror._saving.cancel()
        self.mirror._save()
        stopping = Deferred.fromCoroutine(self.mirror.stop())
        self.assertNoResult(stopping)
        begun[0].callback(None)
        await stopping
        self.assertEqual(len(begun), 1)
        self.assertIsNone(self.mirror._snapshot._open)


class SafetyTests(MirrorTestCase):
    """Nothing is lost."""

    async def test_conflict(self) -> None:
        """A conflict is reported once, both versions stay, and it ends when one side gives in."""
        (self.laptop / "f").write_text("both")
        await self.mirror.wish(remote=True)
        (self.laptop / "f").write_text("mine")
        (self.there / "f").write_text("theirs!")
        await self.mirror.wish(remote=True)
        await self.mirror.wish(remote=True)
        self.assertEqual(self.mirror.conflicts, [bytes(self.laptop / "f")])
        self.assertEqual(
            ((self.laptop / "f").read_text(), (self.there / "f").read_text()), ("mine", "theirs!")
        )
        self.assertEqual(self.reports, 1)
        (self.there / "f").unlink()
        await self.mirror.wish(remote=True)
        self.assertEqual(((self.there / "f").read_text(), self.mirror.conflicts), ("mine", []))
        self.assertEqual(self.reports, 2)

    async def test_shrinks_while_it_is_sent(self) -> None:
        """A file that loses its end while it is sent is sent again, and is no conflict with itself."""
        uncut: list[Path] = []

        def shrinking(read: Callable[[int, Any], Any]) -> Callable[[int, Any], Any]:
            def read_shrunk(descriptor: int, what: Any) -> Any:
                if uncut and os.fstat(descriptor).st_ino == uncut[0].stat().st_ino:
                    os.truncate(uncut.pop(), 10)
                return read(descriptor, what)

            return read_shrunk

        self.patch(os, "read", shrinking(os.read))
        self.patch(os, "readv", shrinking(os.readv))
        for size in (1000, 300_000):
            path = self.laptop / f"f{size}"
            path.write_bytes(b"x" * size)
            uncut.append(path)
            await self.mirror.wish(remote=False)
            self.assertEqual(uncut, [])
            await self.mirror.wish(remote=False)
            await self.mirror.wish(remote=True)
            self.assertEqual(self.mirror.conflicts, [])
            self.assertEqual((self.there / path.name).read_bytes(), b"x" * 10)
            self.assertEqual(path.read_bytes(), b"x" * 10)

    async def test_listing_cut_off(self) -> None:
        """What a C{find} that was killed did not come to list is not taken for gone."""
        flag = await self.make_unreliable("a", "kill -9 $$")
        for entirely in (True, False):
            self.mirror.passes.forget_remote(entirely)
            flag.touch()
            await self.fails(self.mirror.wish(remote=True))
            self.assertEqual(sorted(os.listdir(self.laptop)), ["a", "b", "c", "d"])
            flag.unlink()
            await self.mirror.wish(remote=True)
        self.assertEqual(sorted(os.listdir(self.laptop)), ["a", "b", "c", "d"])

    async def test_fetch_cut_off(self) -> None:
        """When the stream of files is cut off one reason is told, not one for each file that did not come."""
        await self.mirror.wish(remote=True)
        for number in range(100):
            (self.there / f"{number}").write_text("x")

        async def cut(tree: Tree, paths: Sequence[bytes], sink: TarSink) -> None:
            sink.begin(b"./0", Entry(0o100644), b"")
            raise StreamLost("the stream of files was cut off")

        patched = self.patch(self.host, "fetch", cut)
        with capturedLogs() as logged:
            for _ in range(3):
                await self.fails(self.mirror.wish(remote=True))
        (told,) = (formatEvent(each) for each in logged if each["log_level"] >= LogLevel.warn)
        self.assertIn("the stream of files was cut off", told)
        self.assertEqual(os.listdir(self.laptop), [])
        patched.restore()
        await self.mirror.wish(remote=True)
        self.assertEqual(len(os.listdir(self.laptop)), 100)

    async def test_before_the_epoch(self) -> None:
        """A file from before 1970 is pushed once, and can be overwritten on either side."""
        for time in (-1_000_000_000_000_000, -1_500_000_000, -500_000_000):
            (self.laptop / "f").write_text(f"old {time}")
            os.utime(self.laptop / "f", ns=(0, time))
            await self.mirror.wish(remote=True)
            received = self.remote.received
            await self.mirror.wish(remote=False)
            self.assertEqual(self.remote.received, received)
            self.assertEqual((self.there / "f").stat().st_mtime_ns, time)
            self.mirror.passes.forget_remote(entirely=True)
            await self.mirror.wish(remote=True)
            self.assertEqual((self.laptop / "f").stat().st_mtime_ns, time)
            (self.there / "f").write_text("theirs")
            os.utime(self.there / "f", ns=(0, time - 250_000_000))
            await self.mirror.wish(remote=True)
            self.assertEqual((self.laptop / "f").read_text(), "theirs")
            self.assertEqual((self.laptop / "f").stat().st_mtime_ns, time - 250_000_000)

    async def test_emptied(self) -> None:
        """A side that is emptied stops the mirror; nothing is deleted on the other, until it is back."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        for side, other in ((self.laptop, self.there), (self.there, self.laptop)):
            side.rename(f"{side}.away")
            side.mkdir()
            message = await self.fails(self.mirror.wish(remote=True))
            self.assertIn("nothing was changed or deleted", message)
            self.assertEqual(sorted(os.listdir(other)), ["a", "b", "c"])
            side.rmdir()
            Path(f"{side}.away").rename(side)
            await self.mirror.wish(remote=True)

    async def test_unmounted(self) -> None:
        """
        A root on another file system, with a stray file and without some of its names, stops the tree;
        whoever removes the snapshot begins anew, and nothing is deleted.
        """
        for name in "abc":
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        places = self.mirror.passes.agreement.around.places
        here = places[b""]
        (self.laptop / "a").unlink()
        (self.laptop / "stray").write_text("x")
        places[b""] = Place(here.device + 1, here.inode + 1)
        for _ in range(2):
            message = await self.fails(self.mirror.wish(remote=False), TreeStopped)
            self.assertIn("another file system", message)
        self.assertEqual(sorted(os.listdir(self.there)), ["a", "b", "c"])
        for file in self.state.glob(message.rpartition("/")[2]):
            file.unlink()
        await self.mirror.wish(remote=True)
        self.assertEqual(sorted(os.listdir(self.there)), ["a", "b", "c", "stray"])
        self.assertEqual(sorted(os.listdir(self.laptop)), ["a", "b", "c", "stray"])

    async def test_numbered_anew(self) -> None:
        """A file system that got another number, as after a restart, is the same one: deletions are."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        places = self.mirror.passes.agreement.around.places
        here = places[b""]
        places[b""] = here._replace(device=here.device + 1)
        (self.laptop / "a").unlink()
        await self.mirror.wish(remote=False)
        self.assertEqual(sorted(os.listdir(self.there)), ["b", "c"])
        self.assertEqual(places[b""], here)
        places[b""] = here._replace(device=here.device + 1)
        for name in "bc":
            (self.laptop / name).rename(self.laptop / f"new {name}")
        await self.fails(self.mirror.wish(remote=False), TreeStopped)
        self.assertEqual(sorted(os.listdir(self.there)), ["b", "c"])

    async def test_unmounted_inside(self) -> None:
        """What was mounted in the tree and is no longer was not deleted; this is known after a restart."""
        (self.laptop / "disk").mkdir()
        for name in ("a", "disk/b", "disk/c"):
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        here = self.mirror.passes.agreement.around.places[b""]
        self.mirror.passes.agreement.around.places[b"disk"] = Place(here.device + 1, here.inode + 1)
        (self.laptop / "a").write_text("again")
        self.mirror.watch()
        await self.mirror.wish(remote=False)
        self.mirror.passes.agreement.around.places[b"disk"] = Place(here.device + 1, here.inode + 1)
        self.mirror.passes._note()
        await self.mirror.stop()
        shutil.rmtree(self.laptop / "disk")
        self.mirror = await self.make()
        message = await self.fails(self.mirror.wish(remote=False), TreeStopped)
        self.assertIn("disk in it", message)
        self.assertEqual(sorted(os.listdir(self.there / "disk")), ["b", "c"])

    async def test_other_store(self) -> None:
        """Where the remote's directory is another one, what is gone or old there does not come back."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        (self.there.parent / ".remotedocker-store").unlink()
        (self.there / "a").unlink()
        (self.there / "b").write_text("older")
        await self.host.close()
        self.mirror = await self.make()
        message = await self.fails(self.mirror.wish(remote=True), TreeStopped)
        self.assertIn("on the remote", message)
        self.assertEqual([(self.laptop / name).read_text() for name in "abc"], ["a", "b", "c"])

    async def test_listing_error(self) -> None:
        """What a C{find} that met an error did not list is not taken for gone; without the error it is."""
        flag = await self.make_unreliable("b", "exit 1")
        (self.there / "d").unlink()
        for entirely in (True, False):
            self.mirror.passes.forget_remote(entirely)
            flag.touch()
            await self.mirror.wish(remote=True)
            self.assertEqual(sorted(os.listdir(self.laptop)), ["a", "b", "c", "d"])
            flag.unlink()
        await self.mirror.wish(remote=True)
        self.assertEqual(sorted(os.listdir(self.laptop)), ["a", "b", "c"])

    async def test_below_a_conflict(self) -> None:
        """What is written below a conflict while the tree is watched is pushed when that is over."""
        (self.laptop / "d").write_text("file")
        await self.mirror.wish(remote=True)
        self.mirror.watch()
        await self.mirror.wish(remote=True)
        (self.laptop / "d").unlink()
        (self.laptop / "d").mkdir()
        (self.laptop / "d" / "early").write_text("x")
        (self.there / "d").write_text("theirs!")
        await self.mirror.wish(remote=True)
        (self.laptop / "d" / "late").write_text("x")
        await self.mirror.wish(remote=True)
        self.assertEqual(self.mirror.conflicts, [bytes(self.laptop / "d")])
        (self.there / "d").unlink()
        await self.mirror.wish(remote=True)
        self.assertEqual(self.mirror.conflicts, [])
        self.assertEqual(sorted(os.listdir(self.there / "d")), ["early", "late"])

    async def test_ignored_keeps_its_directory(self) -> None:
        """
        A directory that one side removed stays on the other for what is ignored in it, does not come back,
        and has what is written to it later.
        """
        self.mirror = await self.make(ignore=("*.log",))
        for side, other in ((self.laptop, self.there), (self.there, self.laptop)):
            (side / "d" / "e").mkdir(parents=True)
            (side / "d" / "e" / "f").write_text("x")
            (side / "stays").write_text("x")
            await self.mirror.wish(remote=True)
            (other / "d" / "e" / "x.log").write_text("x")
            shutil.rmtree(side / "d")
            for entirely in (False, True):
                await self.mirror.wish(remote=True)
                self.assertEqual(sorted(os.listdir(side)), ["stays"])
                self.assertEqual(os.listdir(other / "d" / "e"), ["x.log"])
                self.mirror.passes.forget_remote(entirely)
            await self.mirror.stop()
            self.mirror = await self.make(ignore=("*.log",))
            await self.mirror.wish(remote=True)
            self.assertEqual(sorted(os.listdir(side)), ["stays"])
            (other / "d" / "e" / "new").write_text("x")
            await self.mirror.wish(remote=True)
            self.assertEqual(os.listdir(side / "d" / "e"), ["new"])
            shutil.rmtree(other / "d")
            await self.mirror.wish(remote=True)
            self.assertEqual(sorted(os.listdir(side)), ["stays"])

    async def test_full_disk(self) -> None:
        """A C{tar} that has no room, whether it reads on or not, fails with the cause."""
        await self.host.close()
        tools = self.state / "tools"
        tools.mkdir()
        words = "tar: x: Cannot write: No space left on device"
        self.remote.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
        for number in range(100):
            (self.laptop / f"f{number}").write_bytes(os.urandom(10_000))
        for reading in ("cat > /dev/null", ":"):
            (tools / "tar").write_text(
                f"#!/bin/sh\n[ $1 != --version ] || exit 0\necho '{words}'\n{reading}\necho later\nexit 2\n"
            )
            (tools / "tar").chmod(0o755)
            self.mirror = await self.make()
            message = await self.fails(self.mirror.wish(remote=False), RemoteDiskFull)
            self.assertIn("no space left", message)
            await self.mirror.stop()
            self.assertEqual(os.listdir(self.there), [])
            self.assertEqual(os.listdir(self.home / "mirrors" / ".stage-a1"), [])

    async def test_restart(self) -> None:
        """What was agreed on is known after a restart: a deletion meanwhile is one."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        await self.mirror.wish(remote=True)
        await self.mirror.stop()
        (self.laptop / "a").unlink()
        (self.there / "b").unlink()
        self.mirror = await self.make()
        await self.mirror.wish(remote=True)
        self.assertEqual((os.listdir(self.laptop), os.listdir(self.there)), (["c"], ["c"]))


class NameTests(MirrorTestCase):
    """A laptop that takes names for one that differ in case only."""

    names = Names(case=True)

    async def test_never_merged(self) -> None:
        """
        Of the remote's names that are one here, the one that was here stays; the others are reported and left
        where they are, with all that is in them, until they are the only ones.
        """
        said: list[str] = []

        @provider(ILogObserver)
        def observer(event: Any) -> None:
            said.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        (self.laptop / "readme").write_text("mine")
        (self.laptop / "src").mkdir()
        (self.laptop / "src" / "x").write_text("mine")
        await self.mirror.wish(remote=True)
        (self.there / "README").write_text("theirs")
        (self.there / "SRC").mkdir()
        (self.there / "SRC" / "x").write_text("theirs")
        (self.there / "SRC" / "y").write_text("theirs")
        (self.there / "new").write_text("a")
        (self.there / "NEW").write_text("b")
        (self.there / "plain").write_text("c")
        for entirely in (False, True):
            await self.mirror.wish(remote=True)
            found = sorted(str(path.relative_to(self.laptop)) for path in self.laptop.rglob("*"))
            self.assertEqual(found, ["plain", "readme", "src", "src/x"])
            self.assertEqual((self.there / "README").read_text(), "theirs")
            self.assertEqual((self.laptop / "readme").read_text(), "mine")
            self.mirror.passes.forget_remote(entirely)
        for name in ("README", "SRC", "new", "NEW"):
            line = [each for each in said if f"/{name} is not synced: this machine takes its name" in each]
            self.assertEqual(len(line), 1, name)
        (self.there / "new").unlink()
        await self.mirror.wish(remote=True)
        self.assertEqual((self.laptop / "NEW").read_text(), "b")

    async def test_spelled_anew(self) -> None:
        """A name that is spelled in another case is renamed, here and there."""
        (self.laptop / "readme").write_text("mine")
        await self.mirror.wish(remote=True)
        self.mirror.watch()
        await self.mirror.wish(remote=True)
        (self.laptop / "readme").rename(self.laptop / "README")
        await self.mirror.wish(remote=False)
        self.assertEqual(os.listdir(self.there), ["README"])
        (self.there / "README").rename(self.there / "Readme")
        await self.mirror.wish(remote=True)
        self.assertEqual(os.listdir(self.laptop), ["Readme"])


class UseTests(MirrorTestCase):
    """Who uses a mirror, and what for."""

    async def test_watched_while_used(self) -> None:
        """While a container runs, changes travel by themselves, both ways; when it is gone, no longer."""
        self.mirror.use("c1", True)
        (self.laptop / "here").write_text("x")
        await wait_until(reactor, (self.there / "here").exists)
        (self.there / "back").write_text("x")
        await wait_until(reactor, (self.laptop / "back").exists)
        self.mirror.leave("c1")
        self.assertEqual(self.mirror.users, {})

    async def test_one_way(self) -> None:
        """With C{--sync push} nothing comes back."""
        mirror = await self.make(mode=SyncMode.PUSH)
        self.assertFalse(mirror.two_way)
        (self.laptop / "a").write_text("x")
        await mirror.wish(remote=False)
        (self.there / "theirs").write_text("x")
        await mirror.wish(remote=True)
        self.assertEqual(os.listdir(self.laptop), ["a"])


class StageTests(TestCase):
    """In which order the laptop is changed."""

    def test_order(self) -> None:
        """What makes room comes before the files; other removals and modes come last."""
        file, directory = Entry(0o100644, 1), Entry(0o040500)
        operations: list[Operation] = [
            Delete(b"d", file),
            MakeDirectory(b"d", directory),
            WriteFile(b"d/f", file, False),
            Delete(b"gone", file),
            SetMode(b"x", file),
        ]
        early, files, late = stages(operations)
        self.assertEqual(early, operations[:2])
        self.assertEqual(files, operations[2:3])
        opened = Entry(0o040700)
        self.assertEqual(late, [SetMode(b"d", directory, opened), *operations[3:]])
