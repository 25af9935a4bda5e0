"""The remote's side, with the real shell and tools of this machine, GNU's and busybox's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotedocker.errors import RemoteDiskFull, RemoteFileError, RemotePermissionDenied, SSHUnavailable
from remotedocker.sync._flow import in_thread_of
from remotedocker.sync._operations import Delete, HardLink, MakeDirectory, Operation, Rename, WriteFile
from remotedocker.sync._remote import RemoteHost, Tree
from remotedocker.sync._shell import StreamLost
from remotedocker.sync._tar import END, TarFormatError, TarReader, header
from remotedocker.sync._transfer import Receiver, read_small
from remotedocker.sync._tree import Entry, entry_of
from tests.support.waiting import wait_until
from tests.sync.local_remote import LocalRemote, busybox_tools

DIRECTORY = Entry(stat.S_IFDIR | 0o755)
FILE = Entry(stat.S_IFREG | 0o644, 3, 10**18)


class Sink:
    """Keeps the files of an archive."""

    def __init__(self) -> None:
        self.files: dict[bytes, bytes] = {}
        self.entries: dict[bytes, Entry] = {}
        self._name = b""

    def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
        """A member begins."""
        self._name = name
        self.files[name], self.entries[name] = b"", entry

    def data(self, piece: bytes | memoryview) -> None:
        """Content."""
        self.files[self._name] += bytes(piece)

    def end(self) -> None:
        """A member is complete."""


class Losing(Sink):
    """Loses the login when the first file has begun, before more is taken."""

    def __init__(self, remote: LocalRemote) -> None:
        super().__init__()
        self._remote = remote

    def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
        """A member begins."""
        super().begin(name, entry, link)
        blockingCallFromThread(self._remote.reactor, self._remote.lose)


class RemoteTestCase(TestCase):
    """A laptop's tree, a remote's home, and the place of the tree's copy."""

    timeout = 60

    async def setUp(self) -> None:
        """Makes both sides and the place."""
        self.top = Path(self.mktemp()).absolute()
        self.laptop, self.home = self.top / "laptop", self.top / "home"
        for each in (self.laptop, self.home):
            each.mkdir(parents=True)
        self.remote = self.make_remote()
        self.host = self.make_host()
        self.tree = Tree(b"/src", bytes(self.laptop))
        self.there = self.home / ".remotedocker" / "a1b2" / "src"
        self.assertEqual(await self.host.make_places([(b"/src", False)]), [""])

    def make_remote(self) -> LocalRemote:
        """@return: the remote."""
        return LocalRemote(reactor, self.home)

    def make_host(self, root: str = ".remotedocker") -> RemoteHost:
        """@return: a host that is closed with the test."""
        host = RemoteHost(self.remote, root, "a1b2", in_thread_of(reactor))
        self.addCleanup(lambda: Deferred.fromCoroutine(host.close()))
        return host

    def runs_more_than(self, commands: int) -> bool:
        """@return: whether the remote was given more commands than that."""
        return len(self.remote.commands) > commands

    def file(self, name: str, content: bytes = b"new") -> WriteFile:
        """@return: a new file of the laptop, to be pushed."""
        path = self.laptop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return WriteFile(name.encode(), entry_of(os.lstat(path)), False)

    async def push(self, operations: Sequence[Operation], again: bool = False, guarded: bool = True) -> Any:
        """@return: how it went."""
        return await self.host.push(self.tree, operations, guarded=guarded, again=again)

    def bulk(self) -> list[Operation]:
        """@return: more files than a shell is given, and their directory."""
        files = [self.file(f"many/f{number}", b"%d" % number) for number in range(60)]
        return [MakeDirectory(b"many", DIRECTORY), *files]


class HostTests(RemoteTestCase):
    """L{RemoteHost}, where the tools are GNU's."""

    full = True

    async def test_facts(self) -> None:
        """What the remote can do is known, and where things are."""
        facts = await self.host.facts()
        base = self.home / ".remotedocker"
        self.assertEqual((facts.base, facts.stage), (bytes(base / "a1b2"), bytes(base / ".stage-a1b2")))
        self.assertEqual(facts.superuser, os.getuid() == 0)
        self.assertEqual(
            (facts.coarse, facts.lists, facts.guards, facts.gnu_tar),
            (not self.full, self.full, self.full, self.full),
        )

    async def test_one_shell(self) -> None:
        """However many ask at once, one shell answers."""
        await gatherResults([Deferred.fromCoroutine(self.host.ask(b"echo %d" % n)) for n in range(9)])
        self.assertEqual(self.remote.commands, ["exec sh"])

    async def test_small(self) -> None:
        """A few small files are written by the shell that stays; what was read is told."""
        write = self.file("f", bytes(range(256)))
        pushed = await self.push([write])
        self.assertEqual(pushed.done, [(write, entry_of(os.lstat(self.laptop / "f")))])
        self.assertEqual((self.there / "f").read_bytes(), bytes(range(256)))
        self.assertEqual(self.remote.commands, ["exec sh"])

    async def test_bulk(self) -> None:
        """Many go as one stream; nothing is left where they were on the way."""
        operations = self.bulk()
        pushed = await self.push(operations)
        self.assertEqual((len(pushed.done), pushed.failed, pushed.skipped), (61, [], []))
        self.assertEqual(
            {(self.there / f"many/f{n}").read_bytes() for n in range(60)}, {b"%d" % n for n in range(60)}
        )
        self.assertEqual(os.listdir(self.home / ".remotedocker" / ".stage-a1b2"), [])
        self.assertEqual(len(self.remote.commands), 2)

    async def test_changed_since_it_was_seen(self) -> None:
        """
        A file that changes between the look at it and its reading is on the remote as it was read: what is
        told of it is what a look at the remote finds.
        """
        for content in (b"new", b"x" * 200_000):
            write = self.file("f", content)
            (self.laptop / "f").write_bytes(content.upper())
            os.utime(self.laptop / "f", ns=(10**18, 1_700_000_000 * 10**9))
            (self.laptop / "f").chmod(0o600)
            ((_, sent),) = (await self.push([write])).done
            there = os.lstat(self.there / "f")
            self.assertEqual((self.there / "f").read_bytes(), content.upper())
            self.assertEqual((sent.size, sent.mtime), (there.st_size, there.st_mtime_ns))
            self.assertEqual(sent.mode, there.st_mode)
            (self.there / "f").unlink()

    async def test_cannot_be_read(self) -> None:
        """What cannot be read here is skipped with the reason; all else is done."""
        for others in ([self.file("a")], self.bulk()):
            missing = WriteFile(b"gone", FILE, False)
            pushed = await self.push([*others, missing])
            self.assertEqual(
                [(each.path, why) for each, why in pushed.skipped], [(b"gone", "No such file or directory")]
            )
            self.assertEqual(len(pushed.done), len(others))
            self.assertEqual(pushed.failed, [])

    async def test_failed(self) -> None:
        """What the remote cannot do is told with its words; all else is done."""
        (self.there / "full").mkdir()
        for others in ([self.file("a")], self.bulk()):
            delete = Delete(b"full", FILE)
            pushed = await self.push([*others, delete], guarded=False)
            ((operation, said),) = pushed.failed
            self.assertIs(operation, delete)
            self.assertIn("directory", said)
            self.assertEqual(len(pushed.done), len(others))

    async def test_links(self) -> None:
        """Hard links to files of the same stream, in their own directory and in others."""
        operations = self.bulk()
        entry = entry_of(os.lstat(self.laptop / "many/f1"))
        pushed = await self.push(
            [*operations, HardLink(b"many/g", b"many/f1", entry), HardLink(b"g", b"many/f1", entry)]
        )
        self.assertEqual(pushed.failed, [])
        inodes = {(self.there / name).stat().st_ino for name in ("many/f1", "many/g", "g")}
        self.assertEqual(len(inodes), 1)

    async def test_places(self) -> None:
        """Places are made as what they shall be; one that cannot be is told, and the others are made."""
        (self.home / ".remotedocker" / "a1b2" / "file").write_text("x")
        outside = self.home / "outside"
        outside.mkdir()
        (self.home / ".remotedocker" / "a1b2" / "link").symlink_to(outside)
        names: list[tuple[bytes, bool]] = [
            (b"/it's/a b", False),
            (b"/dir/conf", True),
            (b"/file/below", False),
            (b"/link/below", False),
            (b"/link/conf", True),
            (b"/last", False),
        ]
        problems = await self.host.make_places(names)
        self.assertEqual([not problem for problem in problems[:3] + problems[-1:]], [True, True, False, True])
        base = self.home / ".remotedocker" / "a1b2"
        self.assertTrue((base / "it's" / "a b").is_dir())
        self.assertEqual((base / "dir" / "conf").read_bytes(), b"")
        self.assertFalse((outside / "conf").exists())
        (base / "dir" / "conf").write_text("kept")
        self.assertEqual(await self.host.make_places([(b"/dir/conf", True)]), [""])
        self.assertEqual((base / "dir" / "conf").read_text(), "kept")

    async def test_existing(self) -> None:
        """What the remote itself has is known."""
        odd = self.home / "it's\n%s"
        odd.mkdir()
        paths = [bytes(self.home), b"/nothing/here", bytes(odd)]
        self.assertEqual(await self.host.existing(paths), [True, False, True])
        self.assertEqual(await self.host.existing([]), [])

    async def test_root_in_the_way(self) -> None:
        """Where the directory of the mirrors cannot be, that is told, and each try ends its shell."""
        (self.home / "file").write_text("x")
        host = self.make_host("file/below")
        before = len(self.remote.processes)
        for _ in range(2):
            with self.assertRaises(RemoteFileError) as caught:
                await host.facts()
            self.assertIn("file/below", caught.exception.message)
        await wait_until(reactor, lambda: len(self.remote.processes) == before)

    async def test_login_lost(self) -> None:
        """What waits fails when the login is lost; after the next there is a new shell."""
        asked = Deferred.fromCoroutine(self.host.ask(b"read x"))
        await wait_until(reactor, lambda: self.remote.processes)
        self.remote.lose()
        with self.assertRaises(StreamLost):
            await asked
        with self.assertRaises(SSHUnavailable):
            await self.host.ask(b"echo x")
        self.remote.restore()
        self.assertEqual(await self.host.ask(b"echo x"), b"x\n")

    async def test_lost_at_its_begin(self) -> None:
        """A shell that is lost before it has answered, while there is a login (again), is asked for again."""
        host = self.make_host("other")
        asked = Deferred.fromCoroutine(host.ask(b"echo x"))
        await wait_until(reactor, lambda: len(self.remote.processes) == 2)
        self.remote.lose()
        self.remote.restore()
        self.assertEqual(await asked, b"x\n")

    async def test_login_lost_in_a_stream(self) -> None:
        """A stream fails when the login is lost in it, either way, and nothing hangs."""
        self.file("big", b"x" * 3_000_000)
        write = WriteFile(b"big", entry_of(os.lstat(self.laptop / "big")), False)
        (self.there / "other").write_bytes(b"x" * 3_000_000)
        works: list[Callable[[], Any]] = [
            lambda: self.push([write]),
            lambda: self.host.fetch(self.tree, [b"other"], Sink()),
        ]
        for work in works[: 2 if self.full else 1]:
            commands = len(self.remote.commands)
            result = Deferred.fromCoroutine(work())
            await wait_until(reactor, partial(self.runs_more_than, commands))
            self.remote.lose()
            try:
                await result
            except StreamLost:
                pass
            self.remote.restore()
            await self.host.facts()

    async def test_closed(self) -> None:
        """After the end there is no shell, however often it is closed."""
        for _ in range(2):
            await self.host.close()
        with self.assertRaises(StreamLost):
            await self.host.ask(b"echo x")
        self.assertEqual(self.remote.processes, [])

    async def test_renamed(self) -> None:
        """What is renamed keeps its inode."""
        await self.push(self.bulk())
        inode = (self.there / "many").stat().st_ino
        pushed = await self.push([Rename(b"n", b"many", DIRECTORY)])
        self.assertEqual(pushed.failed, [])
        self.assertEqual((self.there / "n").stat().st_ino, inode)


class FetchTests(RemoteTestCase):
    """L{RemoteHost.fetch}; only a remote whose C{find} can list is asked for files."""

    async def test_fetch(self) -> None:
        """Files are read with content and time; links are not followed, and what is not there is not told."""
        (self.there / "d").mkdir()
        (self.there / "d" / "it's\n").write_bytes(b"content")
        os.utime(self.there / "d" / "it's\n", ns=(0, 1_600_000_000 * 10**9))
        os.link(self.there / "d" / "it's\n", self.there / "same")
        (self.there / "link").symlink_to("d")
        (self.there / "-x").write_bytes(b"option")
        sink = Sink()
        paths = [b"d/it's\n", b"gone", b"link", b"same", b"-x"]
        await self.host.fetch(self.tree, paths, sink)
        names = {name.removeprefix(b"./"): content for name, content in sink.files.items()}
        self.assertNotIn(b"gone", names)
        self.assertEqual((names[b"d/it's\n"], names[b"-x"]), (b"content", b"option"))
        entries = {name.removeprefix(b"./"): entry for name, entry in sink.entries.items()}
        self.assertTrue(entries[b"link"].is_symlink)
        self.assertEqual(entries[b"d/it's\n"].mtime, 1_600_000_000 * 10**9)
        self.assertEqual(names[b"same"], b"content")

    async def test_fetch_much(self) -> None:
        """Any number of files, of any size, arrives."""
        paths = []
        for number in range(1200):
            (self.there / f"f{number}").write_bytes(b"%d" % number)
            paths.append(b"f%d" % number)
        (self.there / "big").write_bytes(b"y" * 9_000_000)
        sink = Sink()
        await self.host.fetch(self.tree, [*paths, b"big"], sink)
        self.assertEqual(len(sink.files), 1201)
        self.assertEqual(len(sink.files[b"./big"]), 9_000_000)

    async def test_fetch_cancelled(self) -> None:
        """One that is cancelled ends when the thread at the sink has, even if nothing more was to come."""
        begun, goes_on = Event(), Event()
        closing: list[None] = []
        close = Receiver.close

        class Slow(Sink):
            def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
                """Waits for the test."""
                begun.set()
                goes_on.wait(30)
                super().begin(name, entry, link)

        def noted(receiver: Receiver) -> Any:
            closing.append(None)
            return close(receiver)

        self.patch(Receiver, "close", noted)
        (self.there / "f").write_bytes(b"content")
        sink = Slow()
        result = Deferred.fromCoroutine(self.host.fetch(self.tree, [b"f"], sink))
        await wait_until(reactor, lambda: closing and begun.is_set())
        result.cancel()
        self.assertNoResult(result)
        goes_on.set()
        await self.assertFailure(result, CancelledError)
        self.assertEqual(sink.files, {b"./f": b"content"})

    async def test_fetch_cut_off(self) -> None:
        """When the login is lost that is told: what did not come is not taken for what could not be read."""
        (self.there / "big").write_bytes(bytes(30_000_000))
        for gnu in (True, False):
            facts = await self.host.facts()
            self.host._facts = evolve(facts, gnu_tar=gnu)
            sink = Losing(self.remote)
            with self.assertRaises(StreamLost) as caught:
                await self.host.fetch(self.tree, [b"big", b"other"], sink)
            self.assertIn("the stream of files was cut off", str(caught.exception))
            self.assertEqual(list(sink.files), [b"./big"])
            self.remote.restore()

    async def test_fetch_given_up(self) -> None:
        """A fetch that is cancelled ends when no thread is taking files any more."""
        (self.there / "big").write_bytes(bytes(30_000_000))
        begun, go_on = Event(), Event()

        class Slow(Sink):
            """Waits in the thread."""

            def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
                """A member begins."""
                super().begin(name, entry, link)
                begun.set()
                go_on.wait(30)

        sink = Slow()
        ended: list[object] = []
        fetching = Deferred.fromCoroutine(self.host.fetch(self.tree, [b"big"], sink)).addBoth(ended.append)
        await wait_until(reactor, begun.is_set)
        fetching.cancel()
        self.assertEqual(ended, [])
        go_on.set()
        await wait_until(reactor, lambda: ended)
        self.assertIsInstance(ended[0], Failure)
        taken = len(sink.files[b"./big"])
        await self.host.facts()
        self.assertEqual(len(sink.files[b"./big"]), taken)

    async def test_fetch_single_file(self) -> None:
        """The root may be a file."""
        (self.there / "f").write_bytes(b"content")
        sink = Sink()
        await self.host.fetch(Tree(b"/src/f", b"/f"), [b""], sink)
        self.assertEqual(list(sink.files.values()), [b"content"])

    async def test_fetch_of_nothing(self) -> None:
        """From a tree that is gone nothing comes, whether the end or the names are faster."""
        sink = Sink()
        try:
            await self.host.fetch(Tree(b"/gone", b"/x"), [b"f"], sink)
        except StreamLost:
            pass
        self.assertEqual(sink.files, {})


class BusyboxTests(HostTests):
    """The same where every tool is busybox's."""

    full = False

    def make_remote(self) -> LocalRemote:
        """@return: the remote."""
        return LocalRemote(reactor, self.home, busybox_tools(self.top))


class ErrorTests(SynchronousTestCase):
    """L{RemoteHost.error}."""

    def test_table(self) -> None:
        """The remote's words decide the kind of the error."""

        class Nowhere:
            destination = "dev@here"

        host = RemoteHost(Nowhere(), ".x", "a", None)  # type: ignore[arg-type]
        table = [
            ("cp: error writing 'x': No space left on device", RemoteDiskFull),
            ("cp: x: Disk quota exceeded", RemoteDiskFull),
            ("mv: Permission denied", RemotePermissionDenied),
            ("chown: Operation not permitted", RemotePermissionDenied),
            ("mv: Is a directory", RemoteFileError),
        ]
        for said, kind in table:
            error = host.error("write", b"/a\xff", said)
            self.assertIs(type(error), kind)
            for part in ("dev@here", "/a\\xff", said if kind is RemoteFileError else "write"):
                self.assertIn(part, error.message)


class Transport:
    """Notes whether it is held back."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def pauseProducing(self) -> None:
        """No more for now."""
        self.log.append("pause")

    def resumeProducing(self) -> None:
        """More."""
        self.log.append("resume")


class ReceiverTests(SynchronousTestCase):
    """L{Receiver}, with a thread that works when it is told to."""

    def setUp(self) -> None:
        """A receiver."""
        self.calls: list[tuple[Deferred[Any], Any]] = []
        self.sink = Sink()

        def run(function: Any, *arguments: Any) -> Deferred[Any]:
            result: Deferred[Any] = Deferred()
            self.calls.append((result, lambda: function(*arguments)))
            return result

        self.receiver = Receiver(TarReader(self.sink), run)
        self.receiver.transport = self.transport = Transport()

    def work(self) -> None:
        """Does what is to be done in a thread."""
        while self.calls:
            result, call = self.calls.pop(0)
            try:
                result.callback(call())
            except Exception:
                result.errback()

    def test_held_back(self) -> None:
        """Who sends faster than the thread works is held back, and goes on when it has caught up."""
        self.receiver.take(header(b"f", FILE._replace(size=9_000_000)))
        for _ in range(9):
            self.receiver.take(bytes(1_000_000))
        self.assertEqual((self.transport.log, len(self.calls)), (["pause"], 1))
        self.work()
        self.assertEqual(self.transport.log, ["pause", "resume"])
        self.receiver.check()
        self.assertEqual(len(self.sink.files[b"f"]), 9_000_000)

    def test_closed(self) -> None:
        """The end waits until no thread is at it any more; what comes after it is thrown away."""
        self.receiver.take(header(b"f", FILE._replace(size=9_000_000)))
        self.receiver.take(bytes(5_000_000))
        closed = Deferred.fromCoroutine(self.receiver.close())
        self.receiver.take(bytes(4_000_000))
        self.assertNoResult(closed)
        self.work()
        self.successResultOf(closed)
        self.receiver.take(bytes(512))
        self.assertEqual((self.calls, self.transport.log), ([], ["pause"]))
        self.assertEqual(len(self.sink.files[b"f"]), 5_000_000)

    def test_nothing(self) -> None:
        """With nothing to do there is nothing to wait for."""
        self.successResultOf(Deferred.fromCoroutine(self.receiver.close()))

    def test_error(self) -> None:
        """What is no archive is told at the end; what follows is thrown away, and nobody stays held back."""
        self.receiver.take(b"rubbish" * 1_000_000)
        self.work()
        self.receiver.take(END)
        self.assertEqual(self.calls, [])
        for _ in range(2):
            self.assertRaises(TarFormatError, self.receiver.check)
        self.assertEqual(self.transport.log, ["pause", "resume"])


class SmallFileTests(SynchronousTestCase):
    """L{read_small}."""

    def test_read(self) -> None:
        """Content, facts, and reasons."""
        root = Path(self.mktemp())
        root.mkdir()
        contents = {b"empty": b"", b"a": b"x" * 511, b"b": b"x" * 512, b"\xff": bytes(range(256))}
        for name, content in contents.items():
            Path(os.fsdecode(bytes(root) + b"/" + name)).write_bytes(content)
        (root / "grown").write_bytes(bytes(1 << 21))
        (root / "link").symlink_to("a")
        names = [*contents, b"grown", b"link", b"gone"]
        found = read_small(Tree(b"/x", bytes(root)), [WriteFile(name, FILE, False) for name in names])
        for small in found[:4]:
            self.assertEqual(small.content, contents[small.write.path])
            assert small.entry is not None
            self.assertEqual(small.entry.size, len(small.content))
        self.assertEqual([small.entry for small in found[4:]], [None] * 3)
        self.assertIn("grew", found[4].reason)
        self.assertEqual(found[6].reason, "No such file or directory")
