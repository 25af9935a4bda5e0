# -*- test-case-name: tests.sync.test_mirrors -*-
"""
Mirrors on real directories of this machine, through the real shell and tools.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.docker import BindMount, MountForm, PlacedMount
from remotedocker.errors import RemoteDockerError, SourceMissing, SyncFailed, TreeTooLarge
from remotedocker.interfaces import IMirrors, IRemoteObserver
from remotedocker.sync import Mirrors, SyncConfiguration, SyncMode
from remotedocker.sync._laptop import LaptopTree
from remotedocker.sync._mirror import Mirror
from remotedocker.sync._shell import Shell
from tests.support.waiting import wait_until
from tests.sync.local_remote import LocalRemote, busybox_tools


def _content(path: bytes) -> bytes:
    try:
        return Path(os.fsdecode(path)).read_bytes()
    except FileNotFoundError:
        return b"(gone)"


def tree(root: Path) -> dict[str, Any]:
    """@return: what is in a directory: content, mode and time of each name."""
    found: dict[str, Any] = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            key = os.fsdecode(path[len(os.fsencode(root)) + 1 :])
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("directory", oct(status.st_mode & 0o7777))
            elif stat.S_ISREG(status.st_mode):
                content = _content(path)
                found[key] = ("file", oct(status.st_mode & 0o7777), status.st_mtime_ns, content)
    return found


@implementer(IRemoteObserver)
@define
class Resync:
    """
    Tells mirrors that the containers are listed and the ports put right.

    @ivar prompt: whether it does so at once at each login; otherwise a test does.
    """

    mirrors: Mirrors
    prompt: bool = True

    def connected(self) -> None:
        """See L{IRemoteObserver}."""
        if self.prompt:
            self.mirrors.resynced()

    def disconnected(self, reason: Exception) -> None:
        """See L{IRemoteObserver}."""


class MirrorsTestCase(TestCase):
    """A laptop's directory, a remote's home, and mirrors between them."""

    timeout = 60
    busybox = False

    def setUp(self) -> None:
        """Makes both sides."""
        top = Path(self.mktemp()).absolute()
        self.laptop = top / "laptop"
        self.home = top / "home"
        self.state = top / "state"
        for each in (self.laptop, self.home, self.state):
            each.mkdir(parents=True)
        self.remote = LocalRemote(reactor, self.home, busybox_tools(top) if self.busybox else None)
        self.mirrors: Mirrors = self.make()

    def make(
        self, remote: Any = None, state: Path | None = None, prompt: bool = True, **options: Any
    ) -> Mirrors:
        """@return: mirrors that are stopped with the test."""
        remote = remote or self.remote
        configuration = SyncConfiguration(**{"agent_id": "a1b2", **options})
        mirrors = Mirrors(reactor, remote, configuration, state or self.state)
        mirrors.start()
        self.resync = Resync(mirrors, prompt)
        remote.add_observer(self.resync)
        if remote.connected:
            self.resync.connected()
        self.addCleanup(mirrors.stop)
        return mirrors

    async def mount(
        self, source: Path | str, container: str = "c1", read_only: bool = False, run: bool = True
    ) -> PlacedMount:
        """Creates and starts a container that mounts C{source}."""
        (placed,) = await self.mirrors.place([BindMount(str(source), "/x", read_only)])
        self.mirrors.attach(container, {placed.remote_source: read_only})
        await self.mirrors.ready(container)
        if run:
            self.mirrors.running(container)
        return placed

    async def failing(self, deferred: Deferred[Any], kind: type[RemoteDockerError]) -> RemoteDockerError:
        """@return: the error with which C{deferred} fails."""
        try:
            await deferred
        except kind as error:
            return error
        raise AssertionError(f"it did not fail with {kind.__name__}")

    async def equal(self, placed: PlacedMount, laptop: Path | None = None) -> None:
        """Waits until both sides have the same."""
        here, there = laptop or self.laptop, Path(placed.remote_source)
        await wait_until(
            reactor, lambda: tree(here) == tree(there), lambda: f"{tree(here)}\n{tree(there)}", timeout=20
        )


class PushTests(MirrorsTestCase):
    """From the laptop to the remote."""

    def test_interfaces(self) -> None:
        """L{Mirrors} provides what the rest of the program asks for."""
        verifyObject(IMirrors, self.mirrors)
        verifyObject(IRemoteObserver, self.mirrors)

    async def test_complete_at_ready(self) -> None:
        """Files, modes, times, links and empty directories are there when C{ready} fires."""
        (self.laptop / "sub" / "empty").mkdir(parents=True)
        (self.laptop / "a.txt").write_bytes(b"hello\n")
        (self.laptop / "sub" / "run").write_bytes(bytes(range(256)))
        (self.laptop / "sub" / "run").chmod(0o751)
        (self.laptop / "link").symlink_to("sub/run")
        (self.laptop / "closed").mkdir(mode=0o550)
        placed = await self.mount(self.laptop)
        self.assertEqual(tree(self.laptop), tree(Path(placed.remote_source)))
        self.assertTrue(placed.mirrored)
        self.assertEqual(placed.remote_source, f"{self.home}/.remotedocker/a1b2{self.laptop}")
        self.assertEqual(self.mirrors.laptop_path(placed.remote_source), str(self.laptop))

    async def test_many_files(self) -> None:
        """A tree too big for the shell goes as one stream, and is equal then."""
        for number in range(300):
            file = self.laptop / f"d{number % 7}" / f"f{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"%d" % number * number)
        placed = await self.mount(self.laptop)
        self.assertEqual(tree(self.laptop), tree(Path(placed.remote_source)))
        self.assertEqual(os.listdir(self.home / ".remotedocker" / ".stage-a1b2"), [])

    async def test_odd_names(self) -> None:
        """Names may have any byte but NUL and the slash."""
        names = [b"-rf", b"a b", b"it's", b'"$HOME"', b"new\nline", b"\xff\xfe", b"*", b"%s", b"\\", b" "]
        for name in names:
            Path(os.fsdecode(os.fsencode(self.laptop) + b"/" + name)).write_bytes(name)
        placed = await self.mount(self.laptop)
        self.assertEqual(tree(self.laptop), tree(Path(placed.remote_source)))

    async def test_edits_follow(self) -> None:
        """What is written, created, deleted and renamed while it is watched happens on the remote."""
        for name in ("edit", "replace", "delete", "rename"):
            (self.laptop / name).write_text(name)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        inodes = {name: (there / name).stat().st_ino for name in ("edit", "replace", "rename")}
        with open(self.laptop / "edit", "a") as file:
            file.write(" more")
        (self.laptop / "new").write_text("replaced")
        (self.laptop / "new").rename(self.laptop / "replace")
        (self.laptop / "delete").unlink()
        (self.laptop / "rename").rename(self.laptop / "renamed")
        (self.laptop / "created").write_text("created")
        await self.equal(placed)
        self.assertEqual((there / "edit").stat().st_ino, inodes["edit"])
        self.assertNotEqual((there / "replace").stat().st_ino, inodes["replace"])
        self.assertEqual((there / "renamed").stat().st_ino, inodes["rename"])

    async def test_directory_renamed(self) -> None:
        """A renamed directory keeps its files' inodes: it is renamed, not copied."""
        (self.laptop / "old").mkdir()
        for number in range(100):
            (self.laptop / "old" / f"f{number}").write_text("x" * number)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        inode = (there / "old" / "f7").stat().st_ino
        (self.laptop / "old").rename(self.laptop / "new")
        await self.equal(placed)
        self.assertEqual((there / "new" / "f7").stat().st_ino, inode)
        (self.laptop / "new" / "f7").write_text("after")
        await self.equal(placed)

    async def test_single_file_stays_live(self) -> None:
        """A file that is mounted by itself keeps its inode on the remote, even if it is replaced here."""
        file = self.laptop / "conf"
        file.write_text("one")
        placed = await self.mount(file)
        there = Path(placed.remote_source)
        self.assertEqual(there.read_text(), "one")
        inode = there.stat().st_ino
        (self.laptop / "tmp").write_text("second")
        (self.laptop / "tmp").rename(file)
        await wait_until(reactor, lambda: there.read_text() == "second")
        self.assertEqual(there.stat().st_ino, inode)
        self.assertEqual(sorted(os.listdir(there.parent)), ["conf"])

    async def test_changed_before_the_start(self) -> None:
        """C{ready} includes every change made before it was called."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop)
        for number in range(20):
            (self.laptop / "a").write_text(f"number {number}")
            (self.laptop / f"n{number}").write_text("new")
            await self.mirrors.ready("c1")
            self.assertEqual(tree(self.laptop), tree(Path(placed.remote_source)))

    async def test_nothing_changed_asks_nothing(self) -> None:
        """A second start with nothing changed needs no command on the remote."""
        (self.laptop / "a").write_text("one")
        await self.mount(self.laptop, run=False)
        before = len(self.remote.commands), self.remote.received
        await self.mirrors.ready("c1")
        self.assertEqual((len(self.remote.commands), self.remote.received), before)

    async def test_round_trips(self) -> None:
        """With nothing changed, a start asks nothing, an end once, and another mount of the tree twice."""
        (self.laptop / "a").write_text("one")
        await self.mount(self.laptop, run=False)
        await self.mirrors.collect("c1")
        asked: list[bytes] = []
        request = Shell.request

        def counted(shell: Shell, script: bytes, *others: Any) -> Deferred[bytes]:
            asked.append(script)
            return request(shell, script, *others)

        self.patch(Shell, "request", counted)
        commands = len(self.remote.commands)
        await self.mirrors.ready("c1")
        self.assertEqual(len(asked), 0)
        await self.mirrors.collect("c1")
        self.assertEqual(len(asked), 1)
        await self.mount(self.laptop, "c2", run=False)
        self.assertLessEqual(len(asked), 3)
        self.assertEqual(len(self.remote.commands), commands)

    async def test_hard_links(self) -> None:
        """Two names of one file are two names of one file on the remote."""
        (self.laptop / "a").write_text("one")
        os.link(self.laptop / "a", self.laptop / "b")
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        self.assertEqual((there / "a").stat().st_ino, (there / "b").stat().st_ino)
        os.link(self.laptop / "a", self.laptop / "c")
        await self.equal(placed)
        (self.laptop / "sub").mkdir()
        (self.laptop / "sub" / "big").write_bytes(bytes(200_000))
        os.link(self.laptop / "sub" / "big", self.laptop / "linked")
        os.link(self.laptop / "a", self.laptop / "sub" / "d")
        await self.equal(placed)
        self.assertEqual((there / "sub" / "big").stat().st_ino, (there / "linked").stat().st_ino)
        self.assertEqual((there / "sub" / "d").stat().st_ino, (there / "a").stat().st_ino)
        self.assertEqual((there / "a").stat().st_ino, (there / "c").stat().st_ino)

    async def test_what_cannot_be_synced(self) -> None:
        """A fifo is passed over with a warning, once."""
        os.mkfifo(self.laptop / "pipe")
        (self.laptop / "a").write_text("one")
        (placed,) = await self.mirrors.place([BindMount(str(self.laptop), "/x")])
        self.assertEqual(placed.warnings, (f"{self.laptop}/pipe is not synced: it is a named pipe",))
        (again,) = await self.mirrors.place([BindMount(str(self.laptop), "/x")])
        self.assertEqual(again.warnings, ())
        self.flushLoggedErrors()

    async def test_limits(self) -> None:
        """A tree over a limit is refused, with both figures."""
        self.mirrors = self.make(max_tree_files=3)
        for number in range(5):
            (self.laptop / f"f{number}").write_text("x")
        error = await self.failing(self.mirrors.place([BindMount(str(self.laptop), "/x")]), TreeTooLarge)
        self.assertIn("has 6 files, more than 3 allowed by --max-tree-files", error.message)
        self.mirrors = self.make(max_tree_size=4)
        error = await self.failing(self.mirrors.place([BindMount(str(self.laptop), "/x")]), TreeTooLarge)
        self.assertIn("has 5 bytes, more than 4 bytes allowed by --max-tree-size", error.message)

    async def test_ignored(self) -> None:
        """Ignored names are not pushed, and what the remote has under them is not deleted."""
        (self.laptop / ".remotedockerignore").write_text("*.log\n/build\n")
        (self.laptop / "a.log").write_text("x")
        (self.laptop / "build").mkdir()
        (self.laptop / "build" / "out").write_text("x")
        (self.laptop / "src").write_text("x")
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        self.assertEqual(sorted(tree(there)), [".remotedockerignore", "src"])
        (there / "b.log").write_text("theirs")
        (self.laptop / "c.log").write_text("ours")
        (self.laptop / "more").write_text("x")
        await wait_until(reactor, lambda: (there / "more").exists())
        await self.mirrors.collect("c1")
        self.assertTrue((there / "b.log").exists())
        self.assertFalse((there / "c.log").exists())
        self.assertFalse((self.laptop / "b.log").exists())

    async def test_removed_around_an_ignored_file(self) -> None:
        """A directory removed here, in which the remote has an ignored file, stops no start."""
        (self.laptop / ".remotedockerignore").write_text("*.pyc\n")
        (self.laptop / "pkg").mkdir()
        (self.laptop / "pkg" / "a.py").write_text("x")
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        (there / "pkg" / "a.pyc").write_text("theirs")
        (self.laptop / "pkg" / "a.py").unlink()
        (self.laptop / "pkg").rmdir()
        await self.mirrors.ready("c1")
        self.assertEqual([path.name for path in (there / "pkg").iterdir()], ["a.pyc"])
        (self.laptop / "later").write_text("x")
        await self.mirrors.ready("c1")
        self.assertTrue((there / "later").exists())


class PlaceTests(MirrorsTestCase):
    """Whose files a source means."""

    async def test_missing_on_both(self) -> None:
        """C{-v} makes a directory on both sides; C{--mount} is refused with the daemon's words."""
        missing = self.laptop / "not" / "there"
        placed = await self.mount(missing)
        self.assertTrue(missing.is_dir())
        self.assertTrue(Path(placed.remote_source).is_dir())
        other = str(self.laptop / "other")
        mount = BindMount(other, "/x", form=MountForm.MOUNT, create_source=False)
        error = await self.failing(self.mirrors.place([mount]), SourceMissing)
        self.assertEqual(
            error.message, f'invalid mount config for type "bind": bind source path does not exist: {other}'
        )

    async def test_remotes_own(self) -> None:
        """Devices, sockets and prefixes are left alone; our own socket means the remote's daemon."""
        self.mirrors = self.make(remote_prefixes=("/srv/data",), own_sockets=("/home/me/docker.sock",))
        before = len(self.remote.commands)
        sources = ["/dev/null", "/", "/srv/data/x", "/etc/localtime", "/home/me/docker.sock"]
        placed = await self.mirrors.place([BindMount(source, "/x") for source in sources])
        self.assertEqual([each.remote_source for each in placed], [*sources[:-1], "/var/run/docker.sock"])
        self.assertFalse(any(each.mirrored for each in placed))
        self.assertEqual(len(self.remote.commands), before)

    async def test_off(self) -> None:
        """With C{--sync off} every source is the remote's."""
        self.mirrors = self.make(mode=SyncMode.OFF)
        (placed,) = await self.mirrors.place([BindMount(str(self.laptop), "/x")])
        self.assertEqual((placed.remote_source, placed.mirrored), (str(self.laptop), False))

    async def test_nested(self) -> None:
        """A mount inside another is part of its copy, in either order."""
        (self.laptop / "in" / "ner").mkdir(parents=True)
        (self.laptop / "in" / "ner" / "f").write_text("one")
        (self.laptop / "g").write_text("two")
        inner = await self.mount(self.laptop / "in" / "ner", "c1")
        outer = await self.mount(self.laptop, "c2")
        self.assertEqual(tree(self.laptop), tree(Path(outer.remote_source)))
        self.assertEqual(inner.remote_source, outer.remote_source + "/in/ner")
        (self.laptop / "in" / "ner" / "f").write_text("three")
        (self.laptop / "in" / "h").write_text("four")
        await self.equal(outer)
        again = await self.mount(self.laptop / "in", "c3")
        self.assertEqual(again.remote_source, outer.remote_source + "/in")


class PullTests(MirrorsTestCase):
    """From the remote to the laptop."""

    async def test_collect(self) -> None:
        """What was written, created, deleted and replaced on the remote is here after C{collect}."""
        for name in ("edit", "delete"):
            (self.laptop / name).write_text(name)
        (self.laptop / "sub").mkdir()
        (self.laptop / "sub" / "x").write_text("x")
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        (there / "edit").write_text("edited there")
        (there / "delete").unlink()
        (there / "sub" / "x").unlink()
        (there / "sub").rmdir()
        (there / "out" / "deep").mkdir(parents=True)
        (there / "out" / "deep" / "program").write_bytes(b"\x7fELF" * 1000)
        (there / "out" / "deep" / "program").chmod(0o4755)
        (there / "out" / "link").symlink_to("deep/program")
        await self.mirrors.collect("c1")
        self.assertEqual((self.laptop / "edit").read_text(), "edited there")
        self.assertEqual(
            sorted(tree(self.laptop)), ["edit", "out", "out/deep", "out/deep/program", "out/link"]
        )
        program = self.laptop / "out" / "deep" / "program"
        self.assertEqual(program.stat().st_mode & 0o7777, 0o755)
        self.assertEqual(program.stat().st_mtime_ns, (there / "out" / "deep" / "program").stat().st_mtime_ns)
        trash = [path.name for path in (self.state / "trash").rglob("*") if path.is_file()]
        self.assertEqual(sorted(trash), ["delete", "edit", "x"])

    async def test_released(self) -> None:
        """What a container wrote that is removed at once is brought back too, and can be waited for."""
        placed = await self.mount(self.laptop)
        (Path(placed.remote_source) / "out").write_text("last words")
        self.mirrors.release("c1")
        await self.mirrors.collect("c1")
        self.assertEqual((self.laptop / "out").read_text(), "last words")
        await self.mirrors.collect("c1")

    async def test_service(self) -> None:
        """The mount of a service is complete when it is placed, and current from then on, both ways."""
        (self.laptop / "a").write_text("one")
        mount = BindMount(str(self.laptop), "/x", form=MountForm.SERVICE)
        (placed,) = await self.mirrors.place([mount])
        there = Path(placed.remote_source)
        self.assertEqual((there / "a").read_text(), "one")
        (self.laptop / "b").write_text("two")
        (there / "c").write_text("three")
        await wait_until(reactor, lambda: (there / "b").exists() and (self.laptop / "c").exists())

    async def test_volume(self) -> None:
        """So it is with a volume that is a bind, until the daemon has it no more."""
        (self.laptop / "a").write_text("one")
        (placed,) = await self.mirrors.place([BindMount(str(self.laptop), "", form=MountForm.VOLUME)])
        there = Path(placed.remote_source)
        self.assertEqual((there / "a").read_text(), "one")
        self.mirrors.serving({})
        self.mirrors.keeping({})
        (self.laptop / "b").write_text("two")
        (there / "c").write_text("three")
        await wait_until(reactor, lambda: (there / "b").exists() and (self.laptop / "c").exists())
        self.assertEqual(self.mirrors.containers(), frozenset())
        self.mirrors.keeping({placed.remote_source: False})
        (there / "d").write_text("last")
        self.mirrors.keeping({})
        await wait_until(reactor, (self.laptop / "d").exists)
        owed = self.state / "owed.json"
        await wait_until(reactor, lambda: json.loads(owed.read_bytes())["owed"] == {})

    async def test_volume_of_an_agent_before(self) -> None:
        """A volume that the daemon lists is followed, whoever made it; one elsewhere is not ours."""
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        self.mirrors.release("c1")
        await self.mirrors.collect("c1")
        self.mirrors.keeping({placed.remote_source: False, str(self.laptop.parent): False})
        (self.laptop / "b").write_text("two")
        (there / "c").write_text("three")
        await wait_until(reactor, lambda: (there / "b").exists() and (self.laptop / "c").exists())

    async def test_ended_without_a_login(self) -> None:
        """Nobody waits for what cannot come; it comes with the next login."""
        placed = await self.mount(self.laptop)
        (Path(placed.remote_source) / "out").write_text("last words")
        self.remote.lose()
        await self.mirrors.collect("c1")
        self.remote.restore()
        await wait_until(reactor, (self.laptop / "out").exists)
        self.mirrors.stopped("c1")
        self.remote.lose()
        self.mirrors.release("c1")
        await self.mirrors.collect("c1")

    async def test_ended(self) -> None:
        """What a container wrote just before its end is brought back, even if nobody asks."""
        placed = await self.mount(self.laptop)
        await self.mirrors.collect("c1")
        (Path(placed.remote_source) / "out").write_text("last words")
        self.mirrors.stopped("c1")
        await wait_until(reactor, (self.laptop / "out").exists)
        await self.equal(placed)

    async def test_while_running(self) -> None:
        """While the container runs nobody needs to ask."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop)
        (Path(placed.remote_source) / "b").write_text("two")
        await wait_until(reactor, lambda: (self.laptop / "b").exists())
        await self.equal(placed)

    async def test_came_from_there(self) -> None:
        """What is changed here in a directory that was made, or renamed, on the remote follows, too."""
        (self.laptop / "old" / "deep").mkdir(parents=True)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        (there / "made" / "in").mkdir(parents=True)
        (there / "made" / "in" / "file").write_text("theirs")
        (there / "old").rename(there / "renamed")
        await self.equal(placed)
        for name in ("made/new", "made/in/file", "renamed/new", "renamed/deep/new"):
            (self.laptop / name).write_text("ours")
            await self.mirrors.ready("c1")
            self.assertEqual((there / name).read_text(), "ours")
            (self.laptop / name).write_text("ours again")
            await self.equal(placed)

    async def test_moved_there(self) -> None:
        """A directory that was moved into the tree on the remote comes back with all that is in it."""
        (self.laptop / "old").mkdir()
        (self.laptop / "old" / "deep").mkdir()
        (self.laptop / "old" / "deep" / "f").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        await deferLater(reactor, 0.3, lambda: None)
        (there / "old").rename(there / "new")
        await self.mirrors.collect("c1")
        self.assertEqual(tree(self.laptop), tree(there))

    async def test_read_only(self) -> None:
        """Nothing comes back from a read-only mount."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop, read_only=True)
        (Path(placed.remote_source) / "b").write_text("two")
        await self.mirrors.collect("c1")
        self.assertEqual(sorted(tree(self.laptop)), ["a"])

    async def test_conflict(self) -> None:
        """A file changed on both sides stays as it is on each, and is reported until both agree."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        (there / "a").write_text("theirs")
        (self.laptop / "a").write_text("ours!")
        await self.mirrors.collect("c1")
        await self.mirrors.ready("c1")
        self.assertEqual(((self.laptop / "a").read_text(), (there / "a").read_text()), ("ours!", "theirs"))
        self.assertEqual((self.state / "conflicts").read_text(), f"{self.laptop}/a\n")
        (there / "a").unlink()
        await self.mirrors.collect("c1")
        self.assertEqual((there / "a").read_text(), "ours!")
        self.assertEqual((self.state / "conflicts").read_text(), "")

    async def test_same_content_on_both(self) -> None:
        """A file that both sides gave the same content is no conflict."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        (there / "a").write_text("same")
        (there / "b").write_text("same")
        (self.laptop / "a").write_text("same")
        (self.laptop / "b").write_text("same")
        await self.mirrors.collect("c1")
        self.assertFalse((self.state / "conflicts").exists())
        (there / "a").write_text("next")
        await self.mirrors.collect("c1")
        self.assertEqual((self.laptop / "a").read_text(), "next")

    async def test_directory_made_on_both(self) -> None:
        """A directory of the same name that was made here while the other one came: both sides get both."""
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        land = LaptopTree.land

        def taken(laptop: LaptopTree) -> dict[bytes, str]:
            if laptop.staged:
                (self.laptop / "d").mkdir(exist_ok=True)
                (self.laptop / "d" / "ours").write_text("ours")
            return land(laptop)

        self.patch(LaptopTree, "land", taken)
        (there / "d" / "e").mkdir(parents=True)
        for name in ("d/theirs", "d/e/f"):
            (there / name).write_text(name)
        await self.mirrors.collect("c1")
        await self.mirrors.ready("c1")
        self.assertEqual(sorted(tree(self.laptop)), ["d", "d/e", "d/e/f", "d/ours", "d/theirs"])
        self.assertEqual(tree(self.laptop), tree(there))

    async def test_leftovers(self) -> None:
        """Temporary files of an agent that was killed are removed, those of one that lives are not."""
        gone = subprocess.Popen(["true"])
        gone.wait()
        (self.laptop / f".remotedocker-{gone.pid}-abc").write_text("half")
        (self.laptop / f".remotedocker-{os.getpid()}-abc").write_text("half")
        placed = await self.mount(self.laptop, run=False)
        self.assertEqual(sorted(tree(self.laptop)), [f".remotedocker-{os.getpid()}-abc"])
        self.assertEqual(tree(Path(placed.remote_source)), {})

    async def test_unseen_change_is_not_overwritten(self) -> None:
        """A push compares what it would overwrite with what it knows, and finds the conflict."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        (there / "a").write_text("theirs")
        (self.laptop / "a").write_text("ours!")
        await self.mirrors.ready("c1")
        self.assertEqual((there / "a").read_text(), "theirs")
        self.assertEqual((self.laptop / "a").read_text(), "ours!")

    async def test_remote_emptied(self) -> None:
        """A copy that was emptied on the remote stops the tree; nothing is deleted here."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        placed = await self.mount(self.laptop, run=False)
        for file in Path(placed.remote_source).iterdir():
            file.unlink()
        await self.mirrors.collect("c1")
        self.assertEqual(sorted(tree(self.laptop)), ["a", "b", "c"])
        error = await self.failing(self.mirrors.ready("c1"), SyncFailed)
        self.assertIn("all that was in it (3 names) is gone on the remote", error.message)

    async def test_single_file_gone(self) -> None:
        """Where a single file's copy was removed there, the empty one in its place does not come back."""
        file = self.laptop / "conf"
        file.write_text("precious")
        placed = await self.mount(file, run=False)
        Path(placed.remote_source).unlink()
        again = await self.mount(file, "c2", run=False)
        await self.mirrors.collect("c2")
        self.assertEqual(file.read_text(), "precious")
        self.assertEqual(Path(again.remote_source).read_text(), "precious")

    async def test_laptop_emptied(self) -> None:
        """A directory that was emptied here stops the tree; nothing is deleted on the remote."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        placed = await self.mount(self.laptop, run=False)
        for file in self.laptop.iterdir():
            file.unlink()
        await self.failing(self.mirrors.ready("c1"), SyncFailed)
        self.assertEqual(sorted(tree(Path(placed.remote_source))), ["a", "b", "c"])


class BusyboxTests(MirrorsTestCase):
    """A remote that has nothing but busybox: its times have whole seconds only."""

    busybox = True

    def same(self, placed: PlacedMount) -> None:
        """Both sides have the same, but for the times."""
        here, there = (
            {name: value[:2] + value[3:] for name, value in tree(root).items()}
            for root in (self.laptop, Path(placed.remote_source))
        )
        self.assertEqual(here, there)

    async def test_both_ways(self) -> None:
        """Everything goes there and comes back: bulk and single changes, links, deletions and renames."""
        for number in range(80):
            file = self.laptop / f"d{number % 5}" / f"f {number}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"%d" % number * number)
        (self.laptop / "link").symlink_to("d1/f 1")
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        self.same(placed)
        (self.laptop / "d1" / "f 1").write_text("edited here")
        (self.laptop / "d2").rename(self.laptop / "moved")
        (self.laptop / "d3" / "f 3").unlink()
        await self.mirrors.ready("c1")
        self.same(placed)
        (there / "d1" / "f 6").write_text("edited there")
        (there / "new\nname").write_text("made there")
        (there / "d4" / "f 9").unlink()
        (there / "d4").rename(there / "d5")
        (there / "second").symlink_to("link")
        await self.mirrors.collect("c1")
        self.same(placed)
        self.assertEqual((self.laptop / "d1" / "f 6").read_text(), "edited there")
        self.assertEqual((self.laptop / "new\nname").read_text(), "made there")
        self.assertEqual(os.readlink(self.laptop / "second"), "link")
        self.assertFalse((self.laptop / "d4").exists())


class RestartTests(MirrorsTestCase):
    """Lost logins and new agents."""

    async def restart(self) -> None:
        """Stops the mirrors and makes new ones on the same state."""
        await self.mirrors.stop()
        self.mirrors = self.make()
        await wait_until(reactor, lambda: self.mirrors.laptop_path(f"{self.home}/.remotedocker/a1b2/x"))

    async def test_restart(self) -> None:
        """After a restart both sides' changes since then are found."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        await self.mirrors.stop()
        (self.laptop / "a").write_text("changed here")
        (there / "b").write_text("changed there")
        (there / "c").unlink()
        self.mirrors = self.make()
        self.mirrors.attach("c1", {placed.remote_source: False})
        self.mirrors.running("c1")
        await self.equal(placed)
        self.assertEqual(sorted(tree(self.laptop)), ["a", "b"])
        self.assertEqual((there / "a").read_text(), "changed here")
        self.assertEqual((self.laptop / "b").read_text(), "changed there")

    async def test_stopped_together(self) -> None:
        """Trees end side by side: while one waits for a thread, no other goes on as before."""
        for name in "ab":
            (self.laptop / name).mkdir()
            await self.mount(self.laptop / name, name)
        stop = Mirror.stop
        begun: list[Deferred[None]] = []

        async def slow(mirror: Mirror) -> None:
            begun.append(Deferred())
            await begun[-1]
            await stop(mirror)

        self.patch(Mirror, "stop", slow)
        stopping = self.mirrors.stop()
        self.assertEqual(len(begun), 2)
        for each in begun:
            self.assertNoResult(stopping)
            each.callback(None)
        await stopping

    async def test_start_right_after_a_restart(self) -> None:
        """A start waits for its files even if the new agent does not know yet where they are kept."""
        placed = await self.mount(self.laptop, run=False)
        await self.mirrors.stop()
        (self.laptop / "a").write_text("changed here")
        self.mirrors = self.make()
        self.mirrors.attach("c1", {placed.remote_source: False})
        await self.mirrors.ready("c1")
        self.assertEqual((Path(placed.remote_source) / "a").read_text(), "changed here")
        await self.mirrors.stop()
        self.remote.connected = False
        self.mirrors = self.make()
        self.mirrors.attach("c1", {placed.remote_source: False})
        await self.failing(self.mirrors.ready("c1"), RemoteDockerError)
        await self.mirrors.collect("c1")
        self.remote.connected = True

    async def test_end_right_after_a_restart(self) -> None:
        """So does whoever waits for an end."""
        placed = await self.mount(self.laptop, run=False)
        await self.mirrors.stop()
        (Path(placed.remote_source) / "a").write_text("changed there")
        self.mirrors = self.make()
        self.mirrors.attach("c1", {placed.remote_source: False})
        await self.mirrors.collect("c1")
        self.assertEqual((self.laptop / "a").read_text(), "changed there")

    async def test_killed_while_it_saved(self) -> None:
        """What an agent has left that was killed while it saved a tree is removed by the next one."""
        await self.mirrors.stop()
        left = self.state / "trees" / ".0f0f.agreed.0123456789ab"
        left.write_bytes(b"half")
        self.mirrors = self.make()
        self.assertFalse(left.exists())

    async def test_damaged_snapshot(self) -> None:
        """Without its snapshot a tree is compared anew, and nothing is deleted."""
        for name in "abc":
            (self.laptop / name).write_text(name)
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        await self.mirrors.stop()
        for file in (self.state / "trees").iterdir():
            file.write_bytes(file.read_bytes()[:-5])
        (self.laptop / "a").unlink()
        (there / "b").unlink()
        self.mirrors = self.make()
        await self.mount(self.laptop, run=False)
        await self.equal(placed)
        self.assertEqual(sorted(tree(self.laptop)), ["a", "b", "c"])

    async def test_login_lost(self) -> None:
        """What changes while there is no login is there after the next one."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop)
        self.remote.lose()
        (self.laptop / "a").write_text("two")
        (self.laptop / "b").write_text("new")
        (Path(placed.remote_source) / "c").write_text("theirs")
        await self.failing(self.mirrors.ready("c1"), RemoteDockerError)
        self.remote.restore()
        await self.equal(placed)
        self.assertEqual(sorted(tree(self.laptop)), ["a", "b", "c"])


class OwedTests(MirrorsTestCase):
    """What a container wrote last comes back, whatever becomes of the agent and of the login."""

    async def again(self, **options: Any) -> None:
        """Another agent takes over; the one before has told nobody of an end."""
        await self.mirrors.stop()
        self.mirrors = self.make(**options)

    async def known(self) -> None:
        """Waits until the remote's base is known: only then a source is seen to be a mirror."""
        await wait_until(reactor, lambda: self.mirrors.laptop_path(f"{self.home}/.remotedocker/a1b2/x"))

    async def settled(self) -> None:
        """Waits until nothing is owed, to the next agent's knowledge, too."""
        file = self.state / "owed.json"
        await wait_until(
            reactor, lambda: file.exists() and json.loads(file.read_bytes())["owed"] == {}, file.read_text
        )
        self.assertEqual(self.mirrors.containers(), frozenset())

    async def test_ended_meanwhile(self) -> None:
        """What ended while there was no agent comes back, whether the end is told early or late."""
        for number, (early, removed) in enumerate(itertools.product((True, False), repeat=2)):
            name = f"c{number}"
            placed = await self.mount(self.laptop, name)
            await self.mirrors.stop()
            (Path(placed.remote_source) / f"out{number}").write_text("last words")
            self.mirrors = self.make()
            self.assertEqual(self.mirrors.containers(), {name})
            if not early:
                await self.known()
            if not removed:
                self.mirrors.attach(name, {placed.remote_source: False})
            (self.mirrors.release if removed else self.mirrors.stopped)(name)
            await wait_until(reactor, lambda: not self.mirrors.containers())
            self.assertEqual((self.laptop / f"out{number}").read_text(), "last words")
            self.mirrors.release(name)
        await self.settled()

    async def test_runs_on(self) -> None:
        """What still runs is followed before the daemon is asked, and owes until its end."""
        placed = await self.mount(self.laptop)
        await self.again()
        (Path(placed.remote_source) / "out").write_text("words")
        await wait_until(reactor, (self.laptop / "out").exists)
        self.mirrors.running("c1")
        self.assertEqual(self.mirrors.containers(), {"c1"})
        self.mirrors.stopped("c1")
        await self.settled()

    async def test_never_ran(self) -> None:
        """A container that was only created, or mounts nothing read-write, owes nothing; nor with C{push}."""
        (placed,) = await self.mirrors.place([BindMount(str(self.laptop), "/x")])
        self.mirrors.attach("c1", {placed.remote_source: False})
        await self.mount(self.laptop, "c2", read_only=True)
        self.assertEqual(self.mirrors.containers(), frozenset())
        await self.again(mode=SyncMode.PUSH)
        await self.mount(self.laptop, "c3")
        self.assertEqual(self.mirrors.containers(), frozenset())

    async def test_refused_start(self) -> None:
        """A start that the daemon refused leaves nothing that is owed."""
        await self.mount(self.laptop, run=False)
        self.assertEqual(self.mirrors.containers(), {"c1"})
        self.mirrors.stopped("c1")
        await self.settled()

    async def test_ended_without_a_login(self) -> None:
        """What could not come for want of a login comes with the next one, even of what was removed."""
        for name in ("c1", "c2"):
            placed = await self.mount(self.laptop, name)
            (Path(placed.remote_source) / name).write_text("last words")
        self.remote.lose()
        self.mirrors.stopped("c1")
        self.mirrors.release("c2")
        await self.mirrors.collect("c2")
        self.assertEqual(self.mirrors.containers(), {"c1", "c2"})
        self.remote.restore()
        await wait_until(reactor, lambda: not self.mirrors.containers())
        self.assertEqual(sorted(tree(self.laptop)), ["c1", "c2"])
        await self.settled()

    async def test_in_danger(self) -> None:
        """A copy that was emptied meanwhile deletes nothing here, and is still owed."""
        for name in "ab":
            (self.laptop / name).write_text(name)
        placed = await self.mount(self.laptop)
        await self.mirrors.stop()
        for name in "ab":
            (Path(placed.remote_source) / name).unlink()
        self.mirrors = self.make()
        await self.known()
        self.mirrors.release("c1")
        await self.mirrors.collect("c1")
        self.assertEqual(sorted(tree(self.laptop)), ["a", "b"])
        self.assertEqual(self.mirrors.containers(), {"c1"})

    async def test_no_place_here(self) -> None:
        """Where the laptop's directory is gone nothing comes back, nothing is made, and nothing is owed."""
        placed = await self.mount(self.laptop)
        (self.laptop / "kept").write_text("x")
        await self.equal(placed)
        await self.mirrors.stop()
        shutil.rmtree(self.laptop)
        (Path(placed.remote_source) / "out").write_text("last words")
        self.mirrors = self.make()
        await self.known()
        self.mirrors.release("c1")
        await self.settled()
        self.assertFalse(self.laptop.exists())
        self.assertEqual(sorted(tree(Path(placed.remote_source))), ["kept", "out"])

    async def test_another_root(self) -> None:
        """What lies below another directory of the remote now is no mirror, and is not owed any more."""
        await self.mount(self.laptop)
        await self.mirrors.stop()
        mirrors = self.make(sync_root="elsewhere")
        await wait_until(reactor, lambda: mirrors.laptop_path(f"{self.home}/elsewhere/a1b2/x"))
        mirrors.release("c1")
        self.assertEqual(mirrors.containers(), frozenset())

    async def test_service(self) -> None:
        """
        The mirror of a service is followed by the next agent, and left with its last words when no service
        has it; one that is just being made is waited for.
        """
        mount = BindMount(str(self.laptop), "/x", form=MountForm.SERVICE)
        (placed,) = await self.mirrors.place([mount])
        there, mounted = Path(placed.remote_source), {placed.remote_source: False, "/of/the/remote": False}
        self.mirrors.serving({})
        (there / "a").write_text("awaited")
        await wait_until(reactor, (self.laptop / "a").exists)
        self.mirrors.serving(mounted)
        await self.again()
        (self.laptop / "b").write_text("while it was down")
        self.mirrors.serving(mounted)
        (there / "c").write_text("words")
        await wait_until(reactor, lambda: (there / "b").exists() and (self.laptop / "c").exists())
        (there / "d").write_text("last words")
        self.mirrors.serving({})
        await self.settled()
        self.assertEqual((self.laptop / "d").read_text(), "last words")

    async def test_service_gone_meanwhile(self) -> None:
        """What a service wrote that was removed while there was no agent comes back."""
        (placed,) = await self.mirrors.place([BindMount(str(self.laptop), "/x", form=MountForm.SERVICE)])
        await self.mirrors.stop()
        (Path(placed.remote_source) / "out").write_text("last words")
        self.mirrors = self.make()
        self.mirrors.serving({})
        await self.settled()
        self.assertEqual((self.laptop / "out").read_text(), "last words")

    async def test_pushed_after_a_restart(self) -> None:
        """With C{push}, too, what changed while there was no agent follows into what still runs."""
        await self.again(mode=SyncMode.PUSH)
        placed = await self.mount(self.laptop)
        await self.mirrors.stop()
        (self.laptop / "a").write_text("meanwhile")
        self.mirrors = self.make(mode=SyncMode.PUSH)
        self.mirrors.attach("c1", {placed.remote_source: False})
        self.mirrors.running("c1")
        await self.equal(placed)


class NameTests(MirrorsTestCase):
    """Names that would command the terminal on which the log is read."""

    async def test_harmless(self) -> None:
        """No line of the log, nor a warning for the client, has their codes, nor those that others say."""
        code = "\x1b]0;title\x07"
        self.laptop = self.laptop / f"root{code}"
        self.laptop.mkdir()
        os.mkfifo(self.laptop / f"fifo{code}")
        (self.laptop / f"both{code}").write_text("one")
        with capturedLogs() as logged:
            placed = await self.mount(self.laptop, run=False)
            there = Path(placed.remote_source)
            (self.laptop / f"both{code}").write_text("ours")
            (there / f"both{code}").write_text("theirs!")
            await self.mirrors.collect("c1")
            mirror = self.mirrors._mirrors[os.fsencode(self.laptop)]
            mirror.passes._tell(b"x", f"said {code}")
            there.rename(there.with_name("away"))
            await self.mirrors.collect("c1")
        lines = [formatEvent(each) for each in logged] + list(placed.warnings)
        told = "".join(lines)
        for part in ("fifo?]0;title?", "both?]0;title?", "said ?]0;title?", "no longer there on the remote"):
            self.assertIn(part, told)
        self.assertEqual([line for line in lines if "\x1b" in line or "\x07" in line], [])


class ResyncTests(MirrorsTestCase):
    """After a login files wait until the containers were listed and the ports put right."""

    async def lost_and_back(self) -> PlacedMount:
        """Both sides change while there is no login; then there is one, and no list yet."""
        placed = await self.mount(self.laptop)
        self.resync.prompt = False
        self.remote.lose()
        await wait_until(reactor, lambda: self.mirror()._worker is None)
        (self.laptop / "here").write_text("x")
        (Path(placed.remote_source) / "there").write_text("y")
        self.remote.restore()
        return placed

    def mirror(self) -> Mirror:
        """@return: that of the laptop's directory."""
        return self.mirrors._mirrors[os.fsencode(self.laptop)]

    async def unasked(self) -> None:
        """Waits until a change was noticed, and it was time for a pass and for a look."""
        mirror = self.mirror()
        polling = mirror._polling
        assert polling is not None
        await wait_until(
            reactor, lambda: mirror._dirty and mirror._soon is None and mirror._polling is not polling
        )

    async def test_waits(self) -> None:
        """Neither what changed here nor what changed there travels before that; both do after it."""
        placed = await self.lost_and_back()
        await self.unasked()
        self.assertIsNone(self.mirror()._worker)
        self.assertEqual(sorted(tree(self.laptop)), ["here"])
        self.assertEqual(sorted(tree(Path(placed.remote_source))), ["there"])
        self.mirrors.resynced()
        await self.equal(placed)
        self.assertEqual(sorted(tree(self.laptop)), ["here", "there"])

    async def test_asked_for(self) -> None:
        """What a client waits for is done: the daemon that would list may be down, and then nothing would."""
        placed = await self.lost_and_back()
        await self.mirrors.ready("c1")
        self.assertTrue((Path(placed.remote_source) / "here").exists())
        await self.mirrors.collect("c1")
        self.assertTrue((self.laptop / "there").exists())
        other = self.laptop.parent / "other"
        other.mkdir()
        (other / "file").write_text("x")
        placed = await self.mount(other, "c2")
        self.assertEqual(tree(other), tree(Path(placed.remote_source)))

    async def test_lost_again(self) -> None:
        """A login that is lost again before the trees are looked at leaves that to the next list."""
        placed = await self.lost_and_back()
        self.mirrors.resynced()
        self.remote.lose()
        self.remote.restore()
        await self.unasked()
        self.assertIsNone(self.mirror()._worker)
        self.assertFalse((self.laptop / "there").exists())
        self.mirrors.resynced()
        await self.equal(placed)

    async def test_first_login(self) -> None:
        """A new agent knows the paths at its login, and looks at the trees after the first list."""
        placed = await self.mount(self.laptop)
        await self.mirrors.stop()
        (Path(placed.remote_source) / "out").write_text("words")
        self.mirrors = self.make(prompt=False)
        await wait_until(reactor, lambda: self.mirrors.laptop_path(placed.remote_source))
        mirror = self.mirror()
        await wait_until(reactor, lambda: mirror._soon is None)
        self.assertIsNone(mirror._worker)
        self.mirrors.resynced()
        await wait_until(reactor, (self.laptop / "out").exists)

    async def test_ended_meanwhile(self) -> None:
        """What the list says has ended is brought back after it; who waits for a removed one is told then."""
        for name in ("c1", "c2"):
            placed = await self.mount(self.laptop, name)
        await self.lost_and_back()
        self.mirrors.stopped("c1")
        released = self.mirrors.release("c2")
        again = self.mirrors.release("c2")
        self.assertIsNone(self.mirror()._worker)
        self.assertFalse(released.called or again.called)
        self.mirrors.resynced()
        await released
        await again
        self.assertTrue((self.laptop / "there").exists())
        await wait_until(reactor, lambda: not self.mirrors.containers())
        self.assertEqual(self.mirror().users, {"c1": False})
        await self.mirrors.release("c1")
        self.assertEqual(self.mirror().users, {})
        await self.equal(placed)

    async def test_service_back(self) -> None:
        """A service that was not listed once, and is again before the trees are looked at, is followed on."""
        mount = BindMount(str(self.laptop), "/x", form=MountForm.SERVICE)
        (placed,) = await self.mirrors.place([mount])
        self.mirrors.serving({placed.remote_source: False})
        self.resync.prompt = False
        self.remote.lose()
        self.remote.restore()
        self.mirrors.serving({})
        self.mirrors.serving({placed.remote_source: False})
        self.mirrors.resynced()
        (Path(placed.remote_source) / "out").write_text("words")
        await wait_until(reactor, (self.laptop / "out").exists)
        self.assertEqual(list(self.mirror().users.values()), [True])

    async def test_nothing_mirrored(self) -> None:
        """One without mirrors, and with C{off} any, is gone at once."""
        self.resync.prompt = False
        self.remote.lose()
        await self.mirrors.release("c9")
        self.mirrors = self.make(mode=SyncMode.OFF, prompt=False)
        self.mirrors.attach("c1", {"/x": False})
        self.mirrors.running("c1")
        self.mirrors.resynced()
        await self.mirrors.release("c1")
