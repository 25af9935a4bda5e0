"""
Scripts, done by the real C{sh} on real directories; each operation in both ways: from the script, and from a
stage.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._operations import (
    Delete,
    HardLink,
    MakeDirectory,
    MakeSymlink,
    Operation,
    Rename,
    SetMode,
    WriteFile,
)
from remotedocker.sync._script import ScriptBuilder
from remotedocker.sync._shellwords import PREAMBLE, print_literal, quote, timestamp
from remotedocker.sync._transfer import Archive, Tree, read_small
from remotedocker.sync._tree import Entry, entry_of

ODD_NAMES = [
    b"-rf",
    b"a b",
    b"it's",
    b'"$HOME"',
    b"new\nline",
    b"\xff\xfe",
    b"*",
    b"%s",
    b"\\",
    b" ",
    b"`id`",
]
SHELLS = (["sh"], ["busybox", "sh"], ["bash", "--posix"])


def whole(archive: Archive) -> bytes:
    """@return: an archive that goes in one stream."""
    return b"".join([*archive.share(), *archive.rest()])


class WordTests(SynchronousTestCase):
    """Bytes as words of a shell."""

    def test_quote(self) -> None:
        """Each shell sees the word that was quoted."""
        words = [*ODD_NAMES, b"", b"'", b"''", b"a'b'c"]
        script = b"printf '%s\\0' " + b" ".join(map(quote, words))
        for shell in SHELLS:
            printed = subprocess.run([*shell, "-c", script], stdout=subprocess.PIPE, timeout=60).stdout
            self.assertEqual(printed.split(b"\0")[:-1], words, shell)

    def test_print_literal(self) -> None:
        """Each shell prints content of any bytes, those of a command's option too."""
        contents = [bytes(range(256)), b"", b"-n", b"--", b"%s %d\\n", b"\\", b"\0\0001", b"-"]
        for content in contents:
            for shell in SHELLS:
                command: list[str | bytes] = [*shell, "-c", print_literal(content)]
                printed = subprocess.run(command, stdout=subprocess.PIPE, timeout=60).stdout
                self.assertEqual(printed, content, shell)

    def test_timestamp(self) -> None:
        """C{touch} understands each time, and sets just that."""
        path = Path(self.mktemp())
        path.touch()
        table = [0, 10**9, 1_700_000_000_123_456_789, 1, -(10**9), -1, -1_500_000_000]
        for nanoseconds in table:
            subprocess.run(["touch", "-d", timestamp(nanoseconds, False), path], check=True, timeout=60)
            self.assertEqual(path.stat().st_mtime_ns, nanoseconds)
        self.assertEqual(timestamp(1_700_000_000_999_999_999, True), b"@1700000000")
        self.assertEqual(timestamp(-1, True), b"@-1")


class ScriptTestCase(SynchronousTestCase):
    """A laptop's tree, and its copy C{/t} below a base."""

    def setUp(self) -> None:
        """Makes both sides."""
        top = Path(self.mktemp()).absolute()
        self.source, self.base, self.stage = top / "laptop", top / "base", top / "stage"
        self.there = self.base / "t"
        for each in (self.source, self.there, self.stage):
            each.mkdir(parents=True)
        self.path = os.environ["PATH"]

    def entry(self, path: Path) -> Entry:
        """@return: what is there."""
        target = os.readlink(bytes(path)) if path.is_symlink() else b""
        return entry_of(os.lstat(path), target)

    def local(self, name: str, content: bytes = b"new", mode: int = 0o644, mtime: int = 10**18 + 7) -> Entry:
        """@return: a new file of the laptop."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        os.utime(path, ns=(mtime, mtime))
        return self.entry(path)

    def remote(self, name: str, content: bytes = b"old") -> Entry:
        """@return: a file that the remote has."""
        path = self.there / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(10**18 + 5, 10**18 + 5))
        return self.entry(path)

    def builder(self, **options: Any) -> ScriptBuilder:
        """@return: a builder for the tree."""
        return ScriptBuilder(bytes(self.base), b"/t", bytes(self.stage), bytes(self.source), **options)

    def do(self, operations: Sequence[Operation], inline: bool, **options: Any) -> dict[Operation, str]:
        """
        Does C{operations}.

        @return: those that failed, each with what was said.
        """
        if inline:
            builder = self.builder(**options)
            writes = [each for each in operations if isinstance(each, WriteFile)]
            read = read_small(Tree(b"/t", bytes(self.source)), writes)
            builder.inline = {each.write.path: each.content for each in read}
            builder.add(operations)
            output = self.shell(PREAMBLE + builder.prelude() + builder.script())
        else:
            options.setdefault("unpacks", True)
            stage = self.stage / "b"
            stage.mkdir()
            builder = self.builder(**options)
            builder.stage = bytes(stage)
            builder.add(operations)
            self.skipped: dict[int, str] = {}
            stream = whole(Archive(builder, {}, self.skipped))
            subprocess.run(["tar", "-C", stage, "-xpf", "-"], input=stream, check=True, timeout=60)
            output = self.shell((stage / "s").read_bytes())
            subprocess.run(["rm", "-rf", stage], check=True, timeout=60)
        failed: dict[Operation, str] = {}
        position = 0
        for found in re.finditer(rb"\nF(\d+) ", output):
            said = output[position : found.start()].decode()
            position = found.end()
            for operation in builder.steps[int(found[1])].operations:
                failed[operation] = said.strip()
        self.rest = output[position:]
        return failed

    def shell(self, script: bytes) -> bytes:
        """@return: what a script prints."""
        done = subprocess.run(
            ["sh"],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            timeout=60,
            env={"PATH": self.path},
        )
        return done.stdout


class OperationTests(ScriptTestCase):
    """Each kind of operation."""

    def each_way(self) -> list[tuple[bool, dict[str, Any]]]:
        """@return: whether the content is in the script, and the builder's options: all that there are."""
        ways: list[dict[str, Any]] = [{}, {"guarded": True}, {"guarded": True, "at_once": True}]
        return [(True, ways[0]), (True, ways[1]), *((False, way) for way in ways)]

    def test_new(self) -> None:
        """Directories, files, links and hard links appear, with mode and time; also where nothing was."""
        for inline, way in self.each_way():
            self.setUp()
            entry = self.local("d/e/run", bytes(range(256)), 0o751)
            os.link(self.source / "d/e/run", self.source / "d/e/same")
            directory = Entry(stat.S_IFDIR | 0o750)
            operations: list[Operation] = [
                MakeDirectory(b"d", directory),
                MakeDirectory(b"d/e", Entry(stat.S_IFDIR | 0o500)),
                WriteFile(b"d/e/run", entry, False),
                MakeSymlink(b"d/link", Entry(stat.S_IFLNK | 0o777, target=b"-e/run 'x")),
                HardLink(b"d/e/same", b"d/e/run", entry),
                HardLink(b"same", b"d/e/run", entry),
            ]
            self.assertEqual(self.do(operations, inline, **way), {})
            run = self.there / "d/e/run"
            self.assertEqual(run.read_bytes(), bytes(range(256)))
            self.assertEqual((run.stat().st_mode & 0o7777, run.stat().st_mtime_ns), (0o751, 10**18 + 7))
            self.assertEqual((self.there / "d/e").stat().st_mode & 0o7777, 0o500)
            self.assertEqual((self.there / "d").stat().st_mode & 0o7777, 0o750)
            self.assertEqual(os.readlink(self.there / "d/link"), "-e/run 'x")
            inodes = {(self.there / name).stat().st_ino for name in ("d/e/run", "d/e/same", "same")}
            self.assertEqual(len(inodes), 1)
            self.assertEqual(os.listdir(self.stage), [])
            self.assertEqual(self.rest, b"")

    def test_odd_names(self) -> None:
        """A name may have any byte."""
        for inline, way in self.each_way():
            self.setUp()
            operations: list[Operation] = []
            for name in ODD_NAMES:
                path = os.fsdecode(name)
                entry = self.local(f"d/{path}", name)
                operations += [
                    MakeDirectory(name, Entry(stat.S_IFDIR | 0o755)),
                    WriteFile(b"d/" + name, entry, False),
                ]
            operations.insert(0, MakeDirectory(b"d", Entry(stat.S_IFDIR | 0o755)))
            self.assertEqual(self.do(operations, inline, **way), {})
            self.assertEqual(sorted(os.listdir(bytes(self.there / "d"))), sorted(ODD_NAMES))
            self.assertEqual(sorted(os.listdir(bytes(self.there))), sorted([*ODD_NAMES, b"d"]))
            changes: list[Operation] = [
                *(Delete(name, Entry(stat.S_IFDIR | 0o755)) for name in ODD_NAMES),
                *(Rename(name, b"d/" + name, self.entry(self.there / "d")) for name in ODD_NAMES[:4]),
            ]
            self.assertEqual(self.do(changes, inline, **way), {})
            self.assertEqual(sorted(os.listdir(bytes(self.there))), sorted([*ODD_NAMES[:4], b"d"]))

    def test_overwritten(self) -> None:
        """A file written in place keeps its inode, another gets a new one at once; both get mode and time."""
        for inline, way in self.each_way():
            for in_place in (True, False):
                self.setUp()
                old = self.remote("f")
                (self.there / "f").chmod(0o600)
                old = self.entry(self.there / "f")
                entry = self.local("f", b"content", 0o755)
                self.assertEqual(self.do([WriteFile(b"f", entry, in_place, old)], inline, **way), {})
                found = self.entry(self.there / "f")
                self.assertEqual((found.mode, found.mtime, found.size), (entry.mode, entry.mtime, 7))
                self.assertEqual(found.inode == old.inode, in_place)

    def test_many_in_place(self) -> None:
        """Files in many directories that keep their inodes are overwritten by one command."""
        for way in ({}, {"guarded": True, "at_once": True}):
            self.setUp()
            operations, inodes = [], {}
            for number in range(40):
                name = f"d{number}/it's {number}"
                old = self.remote(name)
                inodes[name] = old.inode
                operations.append(WriteFile(name.encode(), self.local(name, b"x" * number, 0o700), True, old))
            self.assertEqual(self.do(operations, False, **way), {})
            for number, (name, inode) in enumerate(inodes.items()):
                found = self.entry(self.there / name)
                self.assertEqual((found.inode, found.size), (inode, number))
                self.assertEqual((found.mtime, found.permissions), (10**18 + 7, 0o700))

    def test_symlink_replaced(self) -> None:
        """A link takes the place of a file or of another link."""
        for inline, way in self.each_way():
            self.setUp()
            expected = [self.remote("f"), Entry(stat.S_IFLNK, target=b"x")]
            (self.there / "l").symlink_to("x")
            wanted = Entry(stat.S_IFLNK | 0o777, target=b"y")
            operations = [
                MakeSymlink(name, wanted, old) for name, old in zip((b"f", b"l"), expected, strict=True)
            ]
            self.assertEqual(self.do(operations, inline, **way), {})
            self.assertEqual([os.readlink(self.there / name) for name in "fl"], ["y", "y"])

    def test_renamed(self) -> None:
        """Files and directories are renamed, inside a directory and across; files over files."""
        for inline, way in self.each_way():
            self.setUp()
            entry = self.remote("d/f")
            target = self.remote("g")
            (self.there / "e").mkdir()
            directory = self.entry(self.there / "d")
            operations: list[Operation] = [
                Rename(b"e/d", b"d", directory),
                Rename(b"e/d/h", b"e/d/f", entry),
                Rename(b"i", b"e/d/h", entry),
            ]
            self.assertEqual(self.do(operations, inline, **way), {})
            self.assertEqual((self.there / "i").stat().st_ino, entry.inode)
            self.assertEqual((self.there / "e/d").stat().st_ino, directory.inode)
            self.assertEqual((self.there / "g").stat().st_ino, target.inode)

    def test_not_into_a_directory(self) -> None:
        """A rename to a name that is a directory fails, instead of moving into it."""
        for inline, way in self.each_way():
            self.setUp()
            entry = self.remote("f")
            (self.there / "d").mkdir()
            operation = Rename(b"d", b"f", entry)
            self.assertEqual(set(self.do([operation], inline, **way)), {operation})
            self.assertEqual((os.listdir(self.there / "d"), (self.there / "f").exists()), ([], True))

    def test_deleted(self) -> None:
        """
        Files, links and empty directories go. One that holds something (ignored here, or new) stays, and that
        is no failure: it would be one at every pass, and no container could start.
        """
        for inline, way in self.each_way():
            self.setUp()
            files = {name: self.remote(name) for name in ("a", "d/b", "d/c", "full/x")}
            (self.there / "l").symlink_to("a")
            directory = Entry(stat.S_IFDIR | 0o755)
            operations: list[Operation] = [
                Delete(b"l", self.entry(self.there / "l")),
                Delete(b"full", directory),
                Delete(b"d/c", files["d/c"]),
                Delete(b"d/b", files["d/b"]),
                Delete(b"d", directory),
                Delete(b"a", files["a"]),
            ]
            failed = self.do(operations, inline, **way)
            self.assertEqual(failed, {})
            self.assertEqual(os.listdir(self.there), ["full"])
            self.assertTrue((self.there / "full" / "x").exists())

    def test_mode(self) -> None:
        """Permissions and times are set, on nothing but what is meant."""
        for inline, way in self.each_way():
            self.setUp()
            found = self.remote("f")
            (self.there / "d").mkdir(0o755)
            secret = self.remote("secret")
            (self.there / "l").symlink_to("secret")
            link = SetMode(b"l", found._replace(mode=stat.S_IFREG | 0o777))
            operations = [
                SetMode(b"f", found._replace(mode=stat.S_IFREG | 0o4711, mtime=10**18 + 99), found),
                SetMode(b"d", Entry(stat.S_IFDIR | 0o1700), self.entry(self.there / "d")),
                link,
            ]
            self.assertEqual(set(self.do(operations, inline, **way)), {link})
            status = (self.there / "f").stat()
            self.assertEqual((status.st_mode & 0o7777, status.st_mtime_ns), (0o4711, 10**18 + 99))
            self.assertEqual((self.there / "d").stat().st_mode & 0o7777, 0o1700)
            self.assertEqual(self.entry(self.there / "secret"), secret)

    def test_single_file(self) -> None:
        """The tree may be one file."""
        for inline in (True, False):
            self.setUp()
            old = self.remote("f")
            self.local("f")
            self.there, self.source = self.there / "f", self.source / "f"
            builder = ScriptBuilder(bytes(self.base), b"/t/f", bytes(self.stage), bytes(self.source))
            builder.inline = {b"": b"new"} if inline else None
            builder.add([WriteFile(b"", self.entry(self.source), True, old)])
            if not inline:
                stream = whole(Archive(builder, {}, {}))
                subprocess.run(["tar", "-C", self.stage, "-xpf", "-"], input=stream, check=True, timeout=60)
            self.assertEqual(self.shell(PREAMBLE + builder.prelude() + builder.script()), b"")
            self.assertEqual((self.there.read_bytes(), self.there.stat().st_ino), (b"new", old.inode))

    def test_cannot_be_read(self) -> None:
        """A file that cannot be read is left out of the stream, and nothing else with it."""
        entry = self.local("d/a")
        gone = WriteFile(b"d/b", entry, False)
        linked = HardLink(b"d/c", b"d/b", entry)
        replaced = WriteFile(b"e", entry, True, self.remote("e"))
        new = WriteFile(b"f", self.local("f"), False)
        directory = MakeDirectory(b"d", Entry(stat.S_IFDIR | 0o755))
        alone = WriteFile(b"g", entry, False, self.remote("g"))
        present = WriteFile(b"d/a", entry, False)
        operations: list[Operation] = [directory, present, gone, linked, replaced, new, alone]
        failed = self.do(operations, False)
        self.assertLessEqual(
            {id(gone), id(replaced), id(alone), id(linked)}, {*self.skipped, *map(id, failed)}
        )
        self.assertEqual(os.listdir(self.there / "d"), ["a"])
        self.assertEqual(
            [(self.there / name).read_bytes() for name in "efg"],
            [b"old", b"new", b"old"],
        )

    def test_owner(self) -> None:
        """Where the SSH user may, files get their owner by number."""
        if os.getuid():
            self.assertNotIn(b"chown", self.builder(inline={}).script())
            return
        entry = self.local("f")._replace(owner=1234, group=4321)
        directory = Entry(stat.S_IFDIR | 0o755, owner=5, group=6)
        old = self.remote("g")
        operations: list[Operation] = [
            MakeDirectory(b"d", directory),
            WriteFile(b"f", entry, False),
            SetMode(b"g", old._replace(owner=7, group=8), old),
        ]
        self.assertEqual(self.do(operations, True, superuser=True), {})
        owners = [(status.st_uid, status.st_gid) for status in map(os.stat, (self.there / n for n in "dfg"))]
        self.assertEqual(owners, [(5, 6), (1234, 4321), (7, 8)])


class GuardTests(ScriptTestCase):
    """Nothing that somebody changed on the remote is overwritten or removed."""

    ways: list[tuple[bool, dict[str, Any]]] = [
        (True, {}),
        (False, {}),
        (False, {"at_once": True}),
    ]

    def refuses(self, make: Any, mine: bytes | None, **options: Any) -> None:
        """
        An operation on the file C{f} is planned, then the file changes.

        @param make: makes the operation of what is there before.
        @param mine: what is there when it is done, None for nothing.
        """
        for inline, way in self.ways:
            self.setUp()
            before = self.remote("f")
            self.local("f", b"from the laptop")
            operation = make(before)
            (self.there / "f").unlink()
            if mine is not None:
                (self.there / "f").write_bytes(mine)
            failed = self.do([operation], inline, guarded=True, **way, **options)
            self.assertEqual(failed, {operation: ""}, (inline, way))
            found = (self.there / "f").read_bytes() if (self.there / "f").exists() else None
            self.assertEqual(found, mine, (inline, way))

    def test_written(self) -> None:
        """A file that changed is not overwritten, in place or not."""
        entry = Entry(stat.S_IFREG | 0o644, 15, 10**18 + 7)
        for in_place in (True, False):
            self.refuses(lambda old, way=in_place: WriteFile(b"f", entry, way, old), b"by a container")

    def test_appeared(self) -> None:
        """Where there should be nothing, what came meanwhile stays."""
        entry = Entry(stat.S_IFREG | 0o644, 15, 10**18 + 7)
        self.refuses(lambda _: WriteFile(b"f", entry, False, None), b"by a container")
        link = Entry(stat.S_IFLNK | 0o777, target=b"x")
        self.refuses(lambda _: MakeSymlink(b"f", link, None), b"by a container")

    def test_link_over_changed(self) -> None:
        """A link does not take the place of a file that changed."""
        link = Entry(stat.S_IFLNK | 0o777, target=b"x")
        self.refuses(lambda old: MakeSymlink(b"f", link, old), b"by a container")
        self.refuses(lambda old: MakeSymlink(b"f", link, Entry(stat.S_IFLNK, target=b"y")), b"by a container")

    def test_deleted_after_a_change(self) -> None:
        """A file that changed is not removed."""
        self.refuses(lambda old: Delete(b"f", old), b"by a container")

    def test_mode_of_changed(self) -> None:
        """A file that changed does not get the time of another, by which the change would not be seen."""

        def touched(old: Entry) -> SetMode:
            return SetMode(b"f", old._replace(mode=stat.S_IFREG | 0o600, mtime=10**18 + 7), old)

        self.refuses(touched, b"by a container")

    def test_gone(self) -> None:
        """
        That a file is not there any more is told as any other change: without a message, by which it is told
        from what cannot be done.
        """
        entry = Entry(stat.S_IFREG | 0o644, 15, 10**18 + 7)
        self.refuses(lambda old: WriteFile(b"f", entry, True, old), None)

    def test_same_size(self) -> None:
        """A change that leaves the size is seen by its time; whole seconds must do if need be."""
        for coarse, seconds in ((False, 0), (True, 1)):
            for inline, way in self.ways:
                self.setUp()
                before = self.remote("f", b"1234")
                (self.there / "f").write_bytes(b"abcd")
                time = before.mtime + 1 + seconds * 10**9
                os.utime(self.there / "f", ns=(time, time))
                operation = WriteFile(b"f", self.local("f"), True, before)
                failed = self.do([operation], inline, guarded=True, coarse=coarse, **way)
                self.assertEqual(set(failed), {operation})
                self.assertEqual((self.there / "f").read_bytes(), b"abcd")

    def test_some_of_many(self) -> None:
        """
        Done all at once, nothing is done where one is different; done one by one, all others are done.
        """
        for at_once in (True, False):
            self.setUp()
            operations = []
            for number in range(60):
                name = f"d{number % 3}/f{number}"
                old = self.remote(name)
                operations.append(WriteFile(name.encode(), self.local(name), True, old))
            (self.there / "d1" / "f7").write_bytes(b"by a container")
            (self.there / "d2" / "f8").unlink()
            failed = self.do(operations, False, guarded=True, at_once=at_once)
            self.assertEqual((self.there / "d1" / "f7").read_bytes(), b"by a container")
            self.assertFalse((self.there / "d2" / "f8").exists())
            self.assertEqual(set(failed.values()), {""})
            if at_once:
                self.assertEqual(set(failed), set(operations))
                self.assertEqual((self.there / "d0" / "f0").read_bytes(), b"old")
            else:
                self.assertEqual((self.there / "d0" / "f0").read_bytes(), b"new")

    def test_rename_over_changed(self) -> None:
        """A rename does not take the place of a file that changed."""
        for inline, way in self.ways:
            self.setUp()
            old, target = self.remote("a"), self.remote("b")
            (self.there / "b").write_bytes(b"by a container")
            operation = Rename(b"b", b"a", old, target)
            self.assertEqual(set(self.do([operation], inline, guarded=True, **way)), {operation})
            self.assertEqual((self.there / "b").read_bytes(), b"by a container")

    def test_rename_over_new(self) -> None:
        """Nor of one that was not there."""
        for inline, way in self.ways:
            self.setUp()
            old = self.remote("a")
            (self.there / "b").write_bytes(b"by a container")
            operation = Rename(b"b", b"a", old)
            self.assertEqual(set(self.do([operation], inline, guarded=True, **way)), {operation})
            self.assertEqual((self.there / "b").read_bytes(), b"by a container")


class LinkInTheWayTests(ScriptTestCase):
    """A link that was planted on the remote leads nowhere."""

    def test_parent(self) -> None:
        """No operation goes through a link that stands where a directory should be."""
        for inline in (True, False):
            for way in ({}, {"guarded": True}):
                self.setUp()
                outside = self.base / "outside"
                (outside / "sub").mkdir(parents=True)
                (outside / "f").write_bytes(b"old")
                os.utime(outside / "f", ns=(10**18 + 5, 10**18 + 5))
                (self.there / "d").symlink_to(outside)
                old = self.entry(outside / "f")
                own = self.remote("own")
                entry = self.local("d/f")
                self.local("d/new")
                self.local("own")
                operations: list[Operation] = [
                    MakeDirectory(b"d/made", Entry(stat.S_IFDIR | 0o755)),
                    WriteFile(b"d/f", entry, True, old),
                    WriteFile(b"d/new", entry, False),
                    MakeSymlink(b"d/link", Entry(stat.S_IFLNK | 0o777, target=b"x")),
                    HardLink(b"d/hard", b"own", own),
                    HardLink(b"hard", b"d/f", own),
                    Rename(b"d/moved", b"own", own),
                    Rename(b"moved", b"d/f", own),
                    SetMode(b"d/f", old._replace(mode=stat.S_IFREG | 0o777), old),
                    Delete(b"d/f", old),
                    Delete(b"d/sub", Entry(stat.S_IFDIR | 0o755)),
                ]
                failed = self.do(operations, inline, **way)
                self.assertEqual(self.entry(outside / "f"), old)
                self.assertEqual(sorted(os.listdir(outside)), ["f", "sub"])
                missing = set(operations) - set(failed)
                self.assertEqual(missing, set())

    def test_in_the_place_of_a_file(self) -> None:
        """What is written in place is not written through a link that took the file's name."""
        for inline in (True, False):
            self.setUp()
            outside = self.base / "outside"
            outside.write_bytes(b"old")
            old = self.remote("f")
            (self.there / "f").unlink()
            (self.there / "f").symlink_to(outside)
            (self.there / "n").symlink_to(self.base / "new")
            self.do(
                [
                    WriteFile(b"f", self.local("f"), True, old),
                    WriteFile(b"n", self.local("n"), False, None),
                ],
                inline,
            )
            self.assertEqual(outside.read_bytes(), b"old")
            self.assertFalse((self.base / "new").exists())
