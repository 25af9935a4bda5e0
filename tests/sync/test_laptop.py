"""Changes to the laptop's side, with a remote that lies and a user who works meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._laptop import FileReceiver, LaptopTree, Pulled, Refused
from remotedocker.sync._operations import (
    Delete,
    MakeDirectory,
    MakeSymlink,
    Operation,
    SetMode,
    WriteFile,
)
from remotedocker.sync._trash import Trash
from remotedocker.sync._tree import TEMPORARY_PREFIX, Entry, entry_of

DIRECTORY = Entry(stat.S_IFDIR | 0o755)
LINK = Entry(stat.S_IFLNK | 0o777, target=b"x")
FILE = Entry(stat.S_IFREG | 0o640, 3, 10**18 + 5)
DAY = 1_700_000_000


class LaptopTestCase(SynchronousTestCase):
    """A tree, a place outside of it, and a trash."""

    def setUp(self) -> None:
        """Makes them."""
        self.top = Path(self.mktemp()).absolute()
        self.root, self.outside = self.top / "tree", self.top / "outside"
        self.root.mkdir(parents=True)
        self.outside.mkdir()
        self.now = float(DAY)
        self.trash = Trash(self.top / "trash", lambda: self.now)
        self.tree = LaptopTree(bytes(self.root), False, self.trash)

    def entry(self, name: str) -> Entry:
        """@return: what is there."""
        path = self.root / name if name else self.root
        return entry_of(os.lstat(path), os.fsencode(os.readlink(path)) if path.is_symlink() else b"")

    def file(self, name: str, content: bytes = b"old") -> Entry:
        """@return: a new file of the tree."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(content)
        return self.entry(name)

    def kept(self) -> dict[str, bytes | str]:
        """@return: by name: the content of the files in the trash, and where links in it point."""
        found: dict[str, bytes | str] = {}
        for directory, directories, files in os.walk(self.top / "trash"):
            for name in (*directories, *files):
                path = Path(directory, name)
                if path.is_symlink():
                    found[path.name] = os.readlink(path)
                elif path.is_file():
                    found[path.name] = path.read_bytes()
        return found

    def done(self, operation: Operation) -> Entry | None:
        """@return: what the laptop has after an operation that must succeed."""
        pulled = self.tree.apply([operation])
        self.assertEqual(pulled.failed, [])
        ((_, local, _),) = pulled.done
        return local

    def refused(self, operation: Operation) -> str:
        """@return: why an operation was not done."""
        pulled = self.tree.apply([operation])
        self.assertEqual(pulled.done, [])
        ((_, reason),) = pulled.failed
        return reason

    def receive(
        self,
        write: WriteFile,
        content: bytes | None,
        entry: Entry = FILE,
        name: bytes | None = None,
        **way: Any,
    ) -> Pulled:
        """@return: what becomes of one file whose content comes (or not)."""
        receiver = FileReceiver(self.tree, {write.path: write})
        if content is not None:
            receiver.begin(b"./" + write.path if name is None else name, entry, way.get("link", b""))
            receiver.data(content)
            receiver.end()
        return receiver.finish(True)

    def temporaries(self) -> list[str]:
        """@return: our temporary files and directories that are left, anywhere."""
        prefix = TEMPORARY_PREFIX.decode()
        found = [name for _, directories, files in os.walk(self.top) for name in (*directories, *files)]
        return [name for name in found if name.startswith(prefix)]


class OperationTests(LaptopTestCase):
    """L{LaptopTree.apply}."""

    def test_make_directory(self) -> None:
        """A directory is made, ours to write in, without C{setgid}; one that is there is kept."""
        entry = self.done(MakeDirectory(b"d", Entry(stat.S_IFDIR | 0o2550)))
        assert entry is not None
        self.assertEqual(entry.mode & ~0o022, stat.S_IFDIR | 0o750)
        self.file("d/a")
        self.done(MakeDirectory(b"d", DIRECTORY))
        self.assertTrue((self.root / "d" / "a").exists())

    def test_directory_where_something_came(self) -> None:
        """Where the user made a file or a link meanwhile, no directory counts as made."""
        self.file("f")
        (self.root / "l").symlink_to(self.outside)
        for name in (b"f", b"l"):
            self.assertIn("changed on the laptop", self.refused(MakeDirectory(name, DIRECTORY)))
        self.assertEqual((self.root / "f").read_bytes(), b"old")

    def test_delete(self) -> None:
        """A file that is removed is kept in the trash; a link too, as a link; an empty directory is not."""
        file = self.file("d/f")
        (self.root / "l").symlink_to("d/f")
        operations = [
            Delete(b"l", self.entry("l")),
            Delete(b"d/f", file),
            Delete(b"d", self.entry("d")),
        ]
        for operation in operations:
            self.assertIsNone(self.done(operation))
            if operation.path != b"d":
                self.assertIsNone(self.done(operation))
        self.assertEqual(os.listdir(self.root), [])
        self.assertEqual(self.kept(), {"f": b"old", "l": "d/f"})

    def test_not_deleted(self) -> None:
        """What the user changed, or put there, is not removed; nor is the root."""
        before = self.file("f")
        self.file("f", b"changed")
        self.assertIn("changed on the laptop", self.refused(Delete(b"f", before)))
        directory = Delete(b"f", DIRECTORY)
        self.assertIn("changed on the laptop", self.refused(directory))
        self.assertIn("never removed", self.refused(Delete(b"", self.entry(""))))
        self.assertEqual((self.root / "f").read_bytes(), b"changed")
        self.file("d/mine")
        self.assertIsNotNone(self.done(Delete(b"d", self.entry("d"))))
        self.assertTrue((self.root / "d" / "mine").exists())

    def test_not_without_trash(self) -> None:
        """What cannot be kept is not removed and not replaced."""
        (self.top / "trash").write_text("in the way")
        file = self.file("f")
        self.refused(Delete(b"f", file))
        self.refused(MakeSymlink(b"f", LINK, file))
        pulled = self.receive(WriteFile(b"f", FILE, False, file), b"new")
        self.assertEqual(len(pulled.failed), 1)
        self.assertEqual((self.root / "f").read_bytes(), b"old")
        self.assertEqual(self.temporaries(), [])

    def test_symlink(self) -> None:
        """A link is made, or takes the place of what was there, which is kept."""
        self.done(MakeSymlink(b"l", LINK))
        self.done(MakeSymlink(b"l", LINK._replace(target=b"\xff y"), self.entry("l")))
        self.done(MakeSymlink(b"f", LINK, self.file("f")))
        self.assertEqual(os.readlink(bytes(self.root / "l")), b"\xff y")
        self.assertEqual(self.kept(), {"l": "x", "f": b"old"})

    def test_no_symlink(self) -> None:
        """It does not take the place of what the user changed or made."""
        before = self.file("f")
        self.file("f", b"changed")
        for expected in (before, None, LINK):
            self.refused(MakeSymlink(b"f", LINK, expected))
        self.refused(MakeSymlink(b"gone", LINK, before))
        self.assertEqual((self.root / "f").read_bytes(), b"changed")
        self.assertEqual((self.temporaries(), os.listdir(self.root)), ([], ["f"]))

    def test_mode(self) -> None:
        """Permissions and times are set; C{setuid} and C{setgid} never come."""
        file = self.file("f")
        entry = self.done(SetMode(b"f", Entry(stat.S_IFREG | 0o6755, 3, 10**18 + 3), file))
        assert entry is not None
        self.assertEqual((entry.permissions, entry.mtime), (0o755, 10**18 + 3))
        (self.root / "d").mkdir()
        entry = self.done(SetMode(b"d", Entry(stat.S_IFDIR | 0o3700), self.entry("d")))
        self.assertEqual(entry and entry.permissions, 0o1700)
        entry = self.done(SetMode(b"", Entry(stat.S_IFDIR | 0o711), self.entry("")))
        self.assertEqual(entry and entry.permissions, 0o711)

    def test_mode_of_something_else(self) -> None:
        """They are not set on what changed, nor through a link."""
        before = self.file("f")
        secret = self.outside / "secret"
        secret.write_text("x")
        secret.chmod(0o600)
        (self.root / "l").symlink_to(secret)
        self.refused(SetMode(b"l", Entry(stat.S_IFREG | 0o777), self.entry("l")))
        self.refused(SetMode(b"gone", Entry(stat.S_IFREG | 0o777), before))
        self.refused(SetMode(b"gone", Entry(stat.S_IFREG | 0o777), None))
        self.file("f", b"changed")
        self.refused(SetMode(b"f", Entry(stat.S_IFREG | 0o777), before))
        self.assertEqual(secret.stat().st_mode & 0o777, 0o600)


class EscapeTests(LaptopTestCase):
    """A name from the remote never leads outside the tree."""

    def test_names(self) -> None:
        """Names with C{..}, absolute and senseless ones are refused."""
        (self.outside / "f").write_text("x")
        for path in (
            b"../outside/f",
            b"/etc/x",
            b"a/../../outside/f",
            b"a//b",
            b"./f",
            b".",
            b"..",
            b"a/",
            b"a\0b",
        ):
            self.assertRaises(Refused, self.tree.split, path)
            operations: list[Operation] = [
                MakeDirectory(path, DIRECTORY),
                MakeSymlink(path, LINK),
                SetMode(path, FILE, FILE),
                Delete(path, FILE),
            ]
            for operation in operations:
                self.assertIn("outside", self.refused(operation))
            pulled = self.receive(WriteFile(path, FILE, False), b"new", name=path)
            self.assertEqual(pulled.done, [])
        self.assertEqual((self.outside / "f").read_text(), "x")
        self.assertEqual(sorted(os.listdir(self.top)), ["outside", "tree"])

    def test_planted_link(self) -> None:
        """A link that the remote planted as a parent is not followed."""
        (self.outside / "f").write_text("x")
        old = entry_of(os.lstat(self.outside / "f"))
        self.done(MakeSymlink(b"d", LINK._replace(target=bytes(self.outside))))
        operations: list[Operation] = [
            MakeDirectory(b"d/new", DIRECTORY),
            MakeSymlink(b"d/new", LINK),
            MakeSymlink(b"d/f", LINK, old),
            SetMode(b"d/f", Entry(stat.S_IFREG | 0o777), old),
            Delete(b"d/f", old),
            MakeDirectory(b"d/e/f", DIRECTORY),
        ]
        for operation in operations:
            self.refused(operation)
        for path, expected in ((b"d/f", old), (b"d/new", None)):
            self.assertEqual(self.receive(WriteFile(path, FILE, False, expected), b"new").done, [])
        self.assertEqual(os.listdir(self.outside), ["f"])
        self.assertEqual(entry_of(os.lstat(self.outside / "f")), old)

    def test_link_in_the_trash(self) -> None:
        """A link that went to the trash is not a way out of it: what is removed later stays inside."""
        for number in range(2):
            self.setUp()
            target = self.outside if number else self.outside / "nothing"
            self.done(MakeSymlink(b"d", LINK._replace(target=bytes(target))))
            self.done(Delete(b"d", self.entry("d")))
            self.done(Delete(b"d/f", self.file("d/f", b"planted")))
            self.assertEqual(os.listdir(self.outside), [])
            self.assertEqual(self.kept()["f"], b"planted")

    def test_file_in_the_trash(self) -> None:
        """A file that went to the trash is not in the way of a directory of its name."""
        self.done(Delete(b"d", self.file("d")))
        self.done(Delete(b"d/e/f", self.file("d/e/f", b"second")))
        self.assertEqual(self.kept(), {"d": b"old", "f": b"second"})

    def test_single_file(self) -> None:
        """Of a tree that is one file, only that is reached."""
        self.file("f")
        self.file("other")
        tree = LaptopTree(bytes(self.root / "f"), True, self.trash)
        self.assertEqual((tree.split(b""), tree.top), ([b"f"], bytes(self.root)))
        self.assertRaises(Refused, tree.split, b"other")
        self.assertEqual(tree.absolute(b""), bytes(self.root / "f"))
        self.assertEqual(LaptopTree(b"/f", True, self.trash).top, b"/")


class ReceiverTests(LaptopTestCase):
    """L{FileReceiver}."""

    def test_new(self) -> None:
        """A file appears with content, mode and time, without C{setuid}; what the laptop has then is told."""
        write = WriteFile(b"f", FILE, False)
        pulled = self.receive(write, b"new", FILE._replace(mode=stat.S_IFREG | 0o4751))
        ((operation, local, remote),) = pulled.done
        self.assertIs(operation, write)
        self.assertEqual(local, self.entry("f"))
        assert local is not None and remote is not None
        self.assertEqual((local.permissions, local.mtime, remote.permissions), (0o751, FILE.mtime, 0o4751))
        self.assertEqual((self.root / "f").read_bytes(), b"new")
        self.assertEqual(self.temporaries(), [])

    def test_replaced(self) -> None:
        """What was there is kept in the trash, and a reader that has it open still reads it whole."""
        old = self.file("f")
        with open(self.root / "f", "rb") as reader:
            self.assertEqual(self.receive(WriteFile(b"f", FILE, False, old), b"new").failed, [])
            self.assertEqual(reader.read(), b"old")
        self.assertEqual(((self.root / "f").read_bytes(), self.kept()), (b"new", {"f": b"old"}))

    def test_changed_meanwhile(self) -> None:
        """What the user changed, made or removed is not replaced, and nothing is left behind."""
        before = self.file("f")
        self.file("f", b"mine")
        directory = self.root / "d"
        directory.mkdir()
        table: list[tuple[bytes, Entry | None]] = [
            (b"f", before),
            (b"f", None),
            (b"d", None),
            (b"gone", before),
        ]
        for path, expected in table:
            pulled = self.receive(WriteFile(path, FILE, False, expected), b"new")
            self.assertIn("changed on the laptop", pulled.failed[0][1])
        self.assertEqual((self.root / "f").read_bytes(), b"mine")
        self.assertEqual((sorted(os.listdir(self.root)), self.temporaries()), (["d", "f"], []))

    def test_changed_while_it_came(self) -> None:
        """The look at what is there comes after the last byte."""
        old = self.file("f")
        write = WriteFile(b"f", FILE, False, old)
        receiver = FileReceiver(self.tree, {b"f": write})
        receiver.begin(b"./f", FILE, b"")
        receiver.data(b"ne")
        self.file("f", b"mine")
        receiver.data(b"w")
        receiver.end()
        self.assertEqual(len(receiver.finish(True).failed), 1)
        self.assertEqual((self.root / "f").read_bytes(), b"mine")

    def test_not_read(self) -> None:
        """A stream that ends in the middle of a file leaves nothing of it, and names what did not come."""
        old = self.file("f")
        wanted = {path: WriteFile(path, FILE, False, old if path == b"f" else None) for path in (b"f", b"g")}
        receiver = FileReceiver(self.tree, wanted)
        receiver.begin(b"./f", FILE, b"")
        receiver.data(b"n")
        pulled = receiver.finish(True)
        self.assertEqual(
            {operation.path: reason for operation, reason in pulled.failed},
            {b"f": "the stream of files was cut off", b"g": "the remote could not read it"},
        )
        self.assertEqual((os.listdir(self.root), (self.root / "f").read_bytes()), (["f"], b"old"))

    def test_cut_off(self) -> None:
        """
        Of a stream that was cut off, too, nothing is left but what came to its end; nothing is told of the
        rest, for the remote may well have it.
        """
        old = self.file("f")
        paths = [b"e", b"f", *(b"%d" % number for number in range(1000))]
        wanted = {path: WriteFile(path, FILE, False, old if path == b"f" else None) for path in paths}
        receiver = FileReceiver(self.tree, wanted)
        receiver.begin(b"./e", FILE, b"")
        receiver.data(b"new")
        receiver.end()
        receiver.begin(b"./f", FILE, b"")
        receiver.data(b"n")
        pulled = receiver.finish(False)
        self.assertEqual(([operation.path for operation, _, _ in pulled.done], pulled.failed), ([b"e"], []))
        self.assertEqual((sorted(os.listdir(self.root)), self.temporaries()), (["e", "f"], []))
        self.assertEqual((self.root / "f").read_bytes(), b"old")

    def test_one_lost(self) -> None:
        """A file that does not come to its end is named with the reason, and the next ones come."""
        receiver = FileReceiver(self.tree, {path: WriteFile(path, FILE, False) for path in (b"f", b"g")})
        for path in (b"f", b"g"):
            receiver.begin(path, FILE, b"")
            receiver.data(path)
            if path == b"f":
                receiver.lost("Input/output error")
        receiver.end()
        receiver.lost("nothing is under way")
        pulled = receiver.finish(True)
        self.assertEqual(
            [(each.path, reason) for each, reason in pulled.failed], [(b"f", "Input/output error")]
        )
        self.assertEqual((os.listdir(self.root), self.temporaries()), (["g"], []))

    def test_not_asked_for(self) -> None:
        """What was not asked for is passed over, and so is what comes twice."""
        write = WriteFile(b"f", FILE, False)
        receiver = FileReceiver(self.tree, {b"f": write})
        for name in (b"./g", b"../outside/g", b"/etc/g", b"f", b"./f"):
            receiver.begin(name, FILE, b"")
            receiver.data(name)
            receiver.end()
        self.assertEqual(len(receiver.finish(True).done), 1)
        self.assertEqual((os.listdir(self.root), os.listdir(self.outside)), (["f"], []))
        self.assertEqual((self.root / "f").read_bytes(), b"f")

    def test_another_kind(self) -> None:
        """What is no regular file any more is not taken."""
        for entry, link in ((LINK, b""), (DIRECTORY, b""), (FILE, b"./other")):
            pulled = self.receive(WriteFile(b"f", FILE, False), b"", entry, link=link)
            self.assertIn("no regular file", pulled.failed[0][1])
        self.assertEqual(os.listdir(self.root), [])

    def test_senseless_time(self) -> None:
        """A time that no file can have fails that file, not the stream."""
        pulled = self.receive(WriteFile(b"f", FILE, False), b"new", FILE._replace(mtime=1 << 120))
        self.assertEqual((len(pulled.failed), os.listdir(self.root)), (1, []))

    def test_several(self) -> None:
        """Files of several directories come in any order; one that fails does not stop the others."""
        for name in ("a", "b"):
            (self.root / name).mkdir()
        paths = [b"a/1", b"a/2", b"gone/x", b"b/1", b"a/3", b"top"]
        receiver = FileReceiver(self.tree, {path: WriteFile(path, FILE, False) for path in paths})
        for path in paths:
            receiver.begin(b"./" + path, FILE, b"")
            receiver.data(memoryview(path))
            receiver.end()
        pulled = receiver.finish(True)
        self.assertEqual([operation.path for operation, _ in pulled.failed], [b"gone/x"])
        for path in set(paths) - {b"gone/x"}:
            self.assertEqual((self.root / path.decode()).read_bytes(), path)

    def test_disk_full(self) -> None:
        """Without space the file fails with the cause, what was there stays, and nothing else is left."""
        old = self.file("f")
        write = os.write

        def full(descriptor: int, data: bytes) -> int:
            if len(data) > 3:
                return write(descriptor, data[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(os, "write", full)
        pulled = self.receive(WriteFile(b"f", FILE, False, old), b"longer")
        self.assertEqual([reason for _, reason in pulled.failed], ["No space left on device"])
        self.assertEqual((os.listdir(self.root), (self.root / "f").read_bytes()), (["f"], b"old"))

    def test_single_file(self) -> None:
        """The one file of a tree is replaced, whatever the stream calls it."""
        self.tree = LaptopTree(bytes(self.root / "f"), True, self.trash)
        old = self.file("f")
        pulled = self.receive(WriteFile(b"", FILE, False, old), b"new", name=b"./../../etc/f")
        self.assertEqual((pulled.failed, (self.root / "f").read_bytes()), ([], b"new"))

    def test_descriptors(self) -> None:
        """Nothing stays open, whatever happened."""
        before = len(os.listdir("/proc/self/fd"))
        self.test_several()
        self.setUp()
        self.test_cut_off()
        self.setUp()
        self.test_disk_full()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class NewDirectoryTests(LaptopTestCase):
    """L{LaptopTree.stage} and L{LaptopTree.land}."""

    def begin(self) -> None:
        """The directory C{d}, with another one and a link in it, is being made, and one file has come."""
        self.tree.stage([b"d"])
        link = MakeSymlink(b"d/l", LINK)
        made = self.tree.apply([MakeDirectory(b"d", DIRECTORY), MakeDirectory(b"d/e", DIRECTORY), link])
        self.receiver = FileReceiver(self.tree, {p: WriteFile(p, FILE, False) for p in (b"d/e/f", b"d/g")})
        self.receiver.begin(b"./d/e/f", FILE, b"")
        self.receiver.data(b"new")
        self.receiver.end()
        self.assertEqual(made.failed, [])
        self.made = made.done

    def test_complete(self) -> None:
        """Nobody sees it before all is in it; then it is there as a whole, with what was told of it."""
        self.begin()
        self.assertNotIn("d", os.listdir(self.root))
        self.assertTrue(self.tree.is_staged(b"d") and self.tree.is_staged(b"d/e"))
        self.assertFalse(self.tree.is_staged(b"") or self.tree.is_staged(b"de"))
        done = [*self.made, *self.receiver.finish(False).done]
        self.assertEqual(self.tree.land(), {})
        for operation, local, _ in done:
            found = self.entry(os.fsdecode(operation.path))
            self.assertEqual((found.inode, found.mode), (local and local.inode, local and local.mode))
        self.assertEqual((self.root / "d" / "e" / "f").read_bytes(), b"new")
        self.assertEqual(self.temporaries(), [])
        self.assertFalse(self.tree.is_staged(b"d"))

    def test_cut_off(self) -> None:
        """A file that did not come to its end is not in it."""
        self.begin()
        self.receiver.begin(b"./d/g", FILE, b"")
        self.receiver.data(b"n")
        self.receiver.finish(False)
        self.tree.land()
        self.assertEqual(sorted(os.listdir(self.root / "d")), ["e", "l"])

    def test_name_is_taken(self) -> None:
        """What the user has put in its place meanwhile stays as it is, and nothing else is left."""
        path = self.root / "d"

        def directory() -> None:
            path.mkdir()
            (path / "mine").write_text("mine")

        for take in (directory, lambda: path.write_text("mine"), lambda: path.symlink_to(self.outside)):
            self.begin()
            take()
            before = self.entry("d")
            self.receiver.finish(True)
            self.assertEqual(list(self.tree.land()), [b"d"])
            self.assertEqual((self.entry("d"), self.temporaries()), (before, []))
            self.assertEqual(os.listdir(self.outside), [])
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def test_could_not_be_made(self) -> None:
        """One that could not even be begun is told."""
        self.tree.stage([b"no/d"])
        self.assertEqual(self.tree.land(), {b"no/d": os.strerror(errno.ENOENT)})


class LeftoverTests(LaptopTestCase):
    """L{LaptopTree.clean} and L{LaptopTree.checksum}."""

    def test_clean(self) -> None:
        """Temporary files and directories of processes that are gone are removed; all others stay."""
        ended = subprocess.run(["sh", "-c", "echo $$"], stdout=subprocess.PIPE, timeout=60).stdout.strip()
        prefix = TEMPORARY_PREFIX
        left = prefix + ended + b"-0123"
        kept = [b"%s%d-0123" % (prefix, os.getpid()), prefix + b"notes", prefix + b"1-0", b"a"]
        for name in (left, *kept):
            self.file(os.fsdecode(name))
        directory = self.root / os.fsdecode(left + b"4")
        (directory / "inner").mkdir(parents=True)
        (directory / "inner" / "f").write_text("x")
        (directory / "l").symlink_to(self.outside)
        (self.outside / "f").write_text("x")
        self.tree.clean([left, left + b"4", *kept, b"gone/" + left, b"../" + left])
        self.assertEqual(sorted(os.listdir(bytes(self.root))), sorted(kept))
        self.assertEqual(os.listdir(self.outside), ["f"])

    def test_checksum(self) -> None:
        """The content of a file, if that is still what it was, and no link's."""
        before = self.file("f")
        digest = hashlib.sha256(b"old").hexdigest()
        self.assertEqual(self.tree.checksum(b"f", before), digest)
        self.file("f", b"changed")
        self.assertIsNone(self.tree.checksum(b"f", before))
        (self.root / "l").symlink_to("f")
        self.assertIsNone(self.tree.checksum(b"l", self.entry("l")))
        self.assertIsNone(self.tree.checksum(b"../f", before))


class TrashTests(LaptopTestCase):
    """L{Trash}."""

    def keep(self, name: str, content: bytes) -> None:
        """Has the trash keep a file of the tree."""
        self.file(name, content)
        with self.tree.parent(name.encode()) as (descriptor, last):
            self.trash.keep(descriptor, last, bytes(self.root / name))

    def test_where(self) -> None:
        """A file is found by the day and its path; nobody else may look."""
        self.keep("d/f", b"x")
        (kept,) = (self.top / "trash").glob("*/**/f")
        self.assertTrue(str(kept).endswith(f"{self.root}/d/f"))
        day = kept.relative_to(self.top / "trash").parts[0]
        self.assertRegex(day, r"^\d{4}-\d\d-\d\d$")
        self.assertEqual((self.top / "trash" / day).stat().st_mode & 0o077, 0)

    def test_twice(self) -> None:
        """What comes there twice in a day is kept twice."""
        for content in (b"one", b"two", b"three"):
            self.keep("f", content)
            (self.root / "f").unlink()
        self.assertEqual(sorted(self.kept().values(), key=str), [b"one", b"three", b"two"])

    def test_other_file_system(self) -> None:
        """Where no second name can be given, a copy is made."""

        def link(*_: Any, **__: Any) -> None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        self.patch(os, "link", link)
        self.keep("f", b"x" * 3_000_000)
        (self.root / "l").symlink_to("f")
        with self.tree.parent(b"l") as (descriptor, name):
            self.trash.keep(descriptor, name, bytes(self.root / "l"))
        self.assertEqual(self.kept(), {"f": b"x" * 3_000_000, "l": "f"})

    def test_expire(self) -> None:
        """After seven days it is gone, not before; what is not ours stays."""
        self.trash.expire()
        self.keep("f", b"x")
        (self.top / "trash" / "zzz").mkdir()
        for days in (1, 7):
            self.now = DAY + days * 86400
            self.trash.expire()
            self.assertEqual(len(self.kept()), 1, days)
        self.now = DAY + 8 * 86400
        self.trash.expire()
        self.assertEqual(os.listdir(self.top / "trash"), ["zzz"])
