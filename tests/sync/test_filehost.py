# -*- test-case-name: tests.sync.test_filehost -*-
"""Mirrors on a remote that gives no shell, only SFTP: in memory, and a real sshd."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent

from remotedocker.docker import PlacedMount
from remotedocker.errors import RemoteFileError
from remotedocker.interfaces import FileAttributes, IRemoteFilesystem
from remotedocker.ssh import Remote, SSHConfiguration
from remotedocker.sync._filehost import FileHost
from remotedocker.sync._flow import in_thread_of
from remotedocker.sync._host import Host
from remotedocker.sync._laptop import FileReceiver, LaptopTree
from remotedocker.sync._transfer import Tree
from remotedocker.sync._trash import Trash
from tests.fakes.filesystem import MemoryFilesystem
from tests.support.sshd import start_sshd
from tests.support.waiting import wait_until
from tests.sync.local_remote import LocalRemote
from tests.sync.test_mirrors import MirrorsTestCase


class _FilesOnly(LocalRemote):
    """A remote whose user has no shell."""

    def __init__(self, home: Path) -> None:
        super().__init__(reactor, home)
        self.files = MemoryFilesystem()
        self.shell = ["/bin/false"]

    def filesystem(self) -> Deferred[IRemoteFilesystem]:
        """See L{IRemote}."""
        return succeed(self.files)


class FileHostTests(MirrorsTestCase):
    """L{FileHost}, asked by mirrors."""

    def setUp(self) -> None:
        """Makes both sides."""
        super().setUp()
        self.files_only = _FilesOnly(self.home)
        self.mirrors = self.make(self.files_only, self.state / "files-only")

    def there(self, placed: PlacedMount) -> dict[bytes, bytes | None]:
        """@return: the remote's tree."""
        return self.files_only.files.tree(os.fsencode(placed.remote_source))

    def here(self) -> dict[bytes, bytes | None]:
        """@return: the laptop's, in the same form."""
        found: dict[bytes, bytes | None] = {}
        for path in self.laptop.rglob("*"):
            name = os.fsencode(path.relative_to(self.laptop))
            if path.is_symlink():
                found[name] = b"-> " + os.fsencode(os.readlink(path))
            else:
                found[name] = path.read_bytes() if path.is_file() else None
        return found

    async def test_push(self) -> None:
        """Everything arrives; edits, renames, links and deletions follow."""
        for number in range(100):
            file = self.laptop / f"d{number % 7}" / f"f{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"%d" % number * number)
        (self.laptop / "big").write_bytes(os.urandom(600_000))
        (self.laptop / "link").symlink_to("d1")
        os.link(self.laptop / "big", self.laptop / "d1" / "other")
        (self.laptop / "closed").mkdir(mode=0o550)
        placed = await self.mount(self.laptop)
        self.assertEqual(self.there(placed), self.here())
        node = self.files_only.files.node(os.fsencode(placed.remote_source) + b"/closed")
        self.assertEqual(node.mode, 0o550)
        (self.laptop / "d1" / "f1").write_text("edited")
        (self.laptop / "new").write_text("new")
        (self.laptop / "new").rename(self.laptop / "d2" / "f2")
        (self.laptop / "d3").rename(self.laptop / "d1" / "moved")
        (self.laptop / "d4" / "f4").unlink()
        (self.laptop / "link").unlink()
        (self.laptop / "link").symlink_to("d2")
        await self.mirrors.ready("c1")
        self.assertEqual(self.there(placed), self.here())

    async def test_pull(self) -> None:
        """What somebody does on the remote comes back, big files too."""
        (self.laptop / "a").write_text("one")
        (self.laptop / "b").write_text("one")
        (self.laptop / "c").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        files, root = self.files_only.files, os.fsencode(placed.remote_source)
        files.now += 5
        files.put(root + b"/a", b"edited there")
        files.make_tree(root + b"/sub/deep")
        files.put(root + b"/sub/deep/big", b"x" * 700_000)
        files.put(root + b"/sub/small", b"small", 0o755)
        await files.remove(root + b"/b")
        await files.symlink(b"a", root + b"/link")
        await self.mirrors.collect("c1")
        self.assertEqual(self.there(placed), self.here())
        self.assertEqual((self.laptop / "a").read_text(), "edited there")
        self.assertEqual((self.laptop / "sub" / "small").stat().st_mode & 0o777, 0o755)
        self.assertEqual((self.laptop / "a").stat().st_mtime, files.now)

    async def test_conflict(self) -> None:
        """Both versions of a file that both sides changed are kept."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        files, path = self.files_only.files, os.fsencode(placed.remote_source) + b"/a"
        files.now += 5
        files.put(path, b"theirs")
        (self.laptop / "a").write_text("ours!")
        await self.mirrors.collect("c1")
        self.assertEqual(((self.laptop / "a").read_text(), files.content(path)), ("ours!", b"theirs"))

    async def test_single_file(self) -> None:
        """A single file has a place, and is written in it."""
        (self.laptop / "conf").write_text("one")
        placed = await self.mount(self.laptop / "conf")
        path = os.fsencode(placed.remote_source)
        node = self.files_only.files.node(path)
        (self.laptop / "conf").write_text("second")
        await self.mirrors.ready("c1")
        self.assertIs(self.files_only.files.node(path), node)
        self.assertEqual(node.content, b"second")

    async def test_only_on_the_remote(self) -> None:
        """A path that only the remote has is its own."""
        self.files_only.files.make_tree(b"/srv/theirs")
        placed = await self.mount("/srv/theirs")
        self.assertEqual((placed.remote_source, placed.mirrored), ("/srv/theirs", False))

    async def test_guards(self) -> None:
        """
        What somebody on the remote changed since the last look is not overwritten, replaced, renamed over,
        removed or given another time; both versions stay.
        """
        names = ("in-place", "replaced", "over", "removed", "mode", "link", "new")
        for name in names[:-2]:
            (self.laptop / name).write_text("one")
        (self.laptop / "link").symlink_to("one")
        (self.laptop / "moved").write_text("one")
        placed = await self.mount(self.laptop)
        files, root = self.files_only.files, os.fsencode(placed.remote_source)
        files.now += 5
        for name in names:
            if name == "link":
                await files.remove(root + b"/link")
            files.put(root + b"/" + name.encode(), b"theirs!")
        (self.laptop / "in-place").write_text("ours")
        (self.laptop / "tmp").write_text("ours")
        (self.laptop / "tmp").rename(self.laptop / "replaced")
        (self.laptop / "moved").rename(self.laptop / "over")
        (self.laptop / "removed").unlink()
        (self.laptop / "mode").chmod(0o755)
        (self.laptop / "link").unlink()
        (self.laptop / "link").symlink_to("two")
        (self.laptop / "new").write_text("ours")
        await self.mirrors.ready("c1")
        for name in names:
            self.assertEqual(files.content(root + b"/" + name.encode()), b"theirs!", name)
        for name in ("in-place", "replaced", "over", "new"):
            self.assertIn((self.laptop / name).read_text(), ("ours", "one"), name)
        self.assertEqual(os.readlink(self.laptop / "link"), "two")
        self.assertEqual((self.laptop / "removed").read_text(), "theirs!")
        self.assertEqual((self.laptop / "mode").read_text(), "theirs!")

    async def test_link_in_the_way(self) -> None:
        """A directory that became a symbolic link there is not followed."""
        (self.laptop / "d").mkdir()
        (self.laptop / "d" / "f").write_text("one")
        (self.laptop / "g").write_text("one")
        placed = await self.mount(self.laptop)
        files, root = self.files_only.files, os.fsencode(placed.remote_source)
        files.make_tree(b"/etc")
        await files.remove(root + b"/d/f")
        await files.remove_directory(root + b"/d")
        await files.symlink(b"/etc", root + b"/d")
        (self.laptop / "d" / "f").write_text("two")
        (self.laptop / "d" / "new").write_text("two")
        (self.laptop / "g").rename(self.laptop / "d" / "g")
        await self.mirrors.collect("c1")
        self.assertEqual(files.tree(b"/etc"), {})

    async def test_no_half_file(self) -> None:
        """A write that fails leaves nothing new, neither in the tree nor in the stage; nor does a kill."""
        (self.laptop / "old").write_text("one")
        placed = await self.mount(self.laptop)
        files = self.files_only.files
        stage = posixpath.join(files.home, b".remotedocker/.stage-a1b2")
        write_file = files.write_file
        full = RemoteFileError(operation="write", path="x", destination="dev@here", reason="no room")

        def half(path: bytes, chunks: Iterable[bytes], attributes: FileAttributes) -> Deferred[int]:
            return write_file(path, [b"half"], attributes).addCallback(lambda _: fail(full))

        self.patch(files, "write_file", half)
        (self.laptop / "new").write_text("content")
        (self.laptop / "tmp").write_text("two")
        (self.laptop / "tmp").rename(self.laptop / "old")
        error = await self.failing(self.mirrors.ready("c1"), RemoteFileError)
        self.assertIn("no room", error.message)
        self.assertEqual(self.there(placed), {b"old": b"one"})
        self.assertEqual(files.tree(stage), {})
        self.patch(files, "write_file", write_file)
        files.put(stage + b"/left", b"half")
        again = Host(self.files_only, ".remotedocker", "a1b2", in_thread_of(reactor))
        await again.facts()
        self.assertEqual(files.tree(stage), {})
        await self.mirrors.ready("c1")
        self.assertEqual(self.there(placed), {b"old": b"two", b"new": b"content"})

    async def test_unreadable(self) -> None:
        """What cannot be read there is neither gone nor of another mode; it does not come back."""
        (self.laptop / "d").mkdir()
        (self.laptop / "d" / "f").write_text("one")
        (self.laptop / "link").symlink_to("d")
        (self.laptop / "gone").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        files, root = self.files_only.files, os.fsencode(placed.remote_source)
        await files.remove(root + b"/gone")
        refusal = RemoteFileError(operation="read", path="x", destination="dev@here", reason="I/O error")
        files.failures["list_directory", root + b"/d"] = refusal
        files.failures["read_link", root + b"/link"] = refusal
        await self.mirrors.collect("c1")
        self.assertEqual(self.here(), {b"d": None, b"d/f": b"one", b"link": b"-> d"})
        self.assertEqual((self.laptop / "d").stat().st_mode & 0o777, 0o755)

    async def test_broken_off(self) -> None:
        """A big file that cannot be read to its end keeps no other from coming, and leaves nothing."""
        placed = await self.mount(self.laptop)
        files, root = self.files_only.files, os.fsencode(placed.remote_source)
        for number in range(70):
            files.put(root + b"/%02d" % number, b"%d" % number)
        files.put(root + b"/00", b"x" * 700_000)
        broken = RemoteFileError(operation="read", path="00", destination="dev@here", reason="broken disk")
        files.failures["read_file", root + b"/00"] = broken
        with capturedLogs() as logged:
            await self.mirrors.collect("c1")
        told = [each["reason"] for each in logged if "not synced" in each["log_format"]]
        self.assertEqual(told, ["it could not be brought back: broken disk"])
        self.assertEqual(sorted(self.here()), [b"%02d" % number for number in range(1, 70)])
        del files.failures["read_file", root + b"/00"]
        await self.mirrors.collect("c1")
        self.assertEqual(self.here(), self.there(placed))

    async def test_cancelled(self) -> None:
        """A fetch that is cancelled ends when the thread that it had at a file has ended, and not before."""
        begun: list[Deferred[None]] = []

        def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            begun.append(Deferred())
            return begun[-1].addCallback(lambda _: function(*arguments))

        host, files = FileHost(self.files_only, ".remotedocker", "a1b2", run), self.files_only.files
        root = (await host.facts()).base
        files.put(root + b"/a", b"x")
        files.put(root + b"/b", b"x")
        laptop = LaptopTree(bytes(self.laptop), False, Trash(self.state / "trash"))
        for steps in range(1, 6):
            begun.clear()
            receiver = FileReceiver(laptop, {})
            fetching = Deferred.fromCoroutine(host.fetch(Tree(b"", b"/"), [b"a", b"b"], receiver))
            for step in range(steps - 1):
                begun[step].callback(None)
            fetching.cancel()
            self.assertNoResult(fetching)
            begun[steps - 1].callback(None)
            self.failureResultOf(fetching, CancelledError)
            self.assertEqual(len(begun), steps)

    async def test_stopped_while_silent(self) -> None:
        """A remote that does not answer is not waited for at the end, however much it was asked."""
        files = self.files_only.files
        asked: list[None] = []

        def silent(*_: Any) -> Deferred[Any]:
            asked.append(None)
            return Deferred()

        for question in ("write_file", "read_file"):
            self.mirrors = self.make(self.files_only, self.state / question)
            placed = await self.mount(self.laptop, run=False)
            for number in range(100):
                (self.laptop / f"f{number}").write_text(question)
                files.put(os.fsencode(placed.remote_source) + b"/%d" % number, question.encode())
            asked.clear()
            silence = self.patch(files, question, silent)
            waiting = self.mirrors.collect("c1")
            await wait_until(reactor, lambda: len(asked) > 1)
            await self.mirrors.stop()
            silence.restore()
            await waiting

    async def test_what_the_shell_says(self) -> None:
        """What a remote that gives no shell says instead is told, without its codes for terminals."""
        # It ends when it has read all: what comes before a socket with unread bytes is closed may be lost.
        ask = r"""while read -r l; do case $l in "printf '\n"[0-9a-f]*) break;; esac; done"""
        self.files_only.shell = ["/bin/sh", "-c", ask + "; printf 'go away \\033[1m'"]
        self.mirrors = self.make(self.files_only, self.state / "other")
        with capturedLogs() as logged:
            await self.mount(self.laptop)
        told = [formatEvent(each) for each in logged if "no shell" in each["log_format"]]
        self.assertIn("(go away ?[1m)", told[0])

    async def test_kept_directory(self) -> None:
        """A directory that stays there for what is ignored in it does not come back."""
        self.mirrors = self.make(self.files_only, self.state / "other", ignore=("*.log",))
        (self.laptop / "d").mkdir()
        (self.laptop / "stays").write_text("x")
        placed = await self.mount(self.laptop)
        self.files_only.files.put(os.fsencode(placed.remote_source) + b"/d/x.log", b"x")
        (self.laptop / "d").rmdir()
        await self.mirrors.ready("c1")
        await self.mirrors.collect("c1")
        self.assertEqual(self.here(), {b"stays": b"x"})
        self.assertEqual(self.there(placed), {b"d": None, b"d/x.log": b"x", b"stays": b"x"})

    async def test_failures(self) -> None:
        """What the remote refuses fails the start with its words; a place in the way too."""
        (self.laptop / "a").write_text("one")
        placed = await self.mount(self.laptop)
        files, root = self.files_only.files, os.fsencode(placed.remote_source)
        refusal = RemoteFileError(operation="make", path="sub", destination="dev@here", reason="not today")
        files.failures["make_directory", root + b"/sub"] = refusal
        (self.laptop / "sub").mkdir()
        error = await self.failing(self.mirrors.ready("c1"), RemoteFileError)
        self.assertIn("not today", error.message)
        del files.failures["make_directory", root + b"/sub"]
        await self.mirrors.ready("c1")
        self.assertEqual(self.there(placed), self.here())


class RealFileHostTests(MirrorsTestCase):
    """An sshd that lets its user do SFTP and nothing else."""

    async def test_both_ways(self) -> None:
        """Files go there and come back."""
        top = self.state.parent
        sshd = start_sshd(top / "sshd", "ForceCommand internal-sftp")
        self.addCleanup(sshd.stop)
        configuration = SSHConfiguration(
            sshd.destination,
            identities=(sshd.identity_file,),
            known_hosts=(sshd.known_hosts_file,),
            ssh_config=Path("/dev/null"),
        )
        remote = Remote(reactor, configuration, os.environ)
        remote.start()
        self.addCleanup(remote.stop)
        await remote.when_connected()
        self.mirrors = self.make(remote, self.state / "real", sync_root=str(top / "root"))
        for number in range(200):
            file = self.laptop / f"d{number % 7}" / f"f{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"%d" % number * number)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        self.assertEqual(contents(there), contents(self.laptop))
        (self.laptop / "d1").rename(self.laptop / "renamed")
        (self.laptop / "d2" / "f2").write_text("edited here")
        await self.mirrors.ready("c1")
        (there / "d3" / "new").write_bytes(os.urandom(400_000))
        (there / "d4" / "f4").unlink()
        await self.mirrors.collect("c1")
        self.assertEqual(contents(there), contents(self.laptop))
        self.assertTrue((self.laptop / "d3" / "new").exists())


def contents(root: Path) -> dict[str, bytes | None]:
    """@return: what is in a directory, without times."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }
