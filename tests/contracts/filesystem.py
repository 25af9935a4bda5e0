"""
What every L{IRemoteFilesystem} does: the same tests on the one in memory and on SFTP to a real sshd.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from remotedocker.errors import RemoteFileError, RemoteFileNotFound
from remotedocker.interfaces import FileAttributes, FileKind, IRemoteFilesystem, RemoteEntry

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["FilesystemContract"]

_TYPE_BITS = 0o170000


class FilesystemContract(_Base):
    """
    Mixed into a trial C{TestCase} that sets C{filesystem}, and C{base}: an empty directory in it (bytes,
    absolute).
    """

    filesystem: IRemoteFilesystem
    base: bytes

    def at(self, name: bytes) -> bytes:
        """@return: a path in the empty directory."""
        return self.base + b"/" + name

    async def read(self, name: bytes) -> bytes:
        """@return: a file's content."""
        parts: list[bytes] = []
        size = await self.filesystem.read_file(self.at(name), parts.append)
        content = b"".join(parts)
        self.assertEqual(size, len(content))
        return content

    async def write(self, name: bytes, content: bytes, **attributes: Any) -> int:
        """Writes a file."""
        return await self.filesystem.write_file(self.at(name), [content], FileAttributes(**attributes))

    async def names(self, name: bytes = b".") -> list[bytes]:
        """@return: the sorted names in a directory."""
        return sorted(entry.name for entry in await self.filesystem.list_directory(self.at(name)))

    def assert_fails(self, kind: type[Exception], doing: Deferred[Any]) -> Deferred[Any]:
        """@return: fires when C{doing} has failed with exactly that kind of error."""

        def check(error: Exception) -> Exception:
            self.assertIs(type(error), kind, str(error))
            return error

        return self.assertFailure(doing, kind).addCallback(check)

    async def test_interface(self) -> None:
        """It provides the interface, with all its methods and their arguments."""
        verifyObject(IRemoteFilesystem, self.filesystem)

    async def test_write_and_read(self) -> None:
        """A file that is written reads back the same, and the sizes are told."""
        self.assertEqual(await self.write(b"file", b"some content"), 12)
        self.assertEqual(await self.read(b"file"), b"some content")

    async def test_empty_file(self) -> None:
        """A file without chunks is there, and empty."""
        written = await self.filesystem.write_file(self.at(b"empty"), [], FileAttributes(mode=0o600))
        self.assertEqual(written, 0)
        self.assertEqual(await self.read(b"empty"), b"")

    async def test_many_chunks(self) -> None:
        """Chunks of every size arrive in order, one that is larger than a request can hold too."""
        pieces = [b"a", b"", b"bc" * 5000, bytes(range(256)) * 4000, b"d" * 7, b"e" * 300_001]
        await self.filesystem.write_file(self.at(b"file"), iter(pieces), FileAttributes())
        self.assertEqual(await self.read(b"file"), b"".join(pieces))

    async def test_overwrites_in_place(self) -> None:
        """
        Writing to a file that is there keeps the inode: another name of it shows the new content, all of it.
        """
        await self.write(b"file", b"a long old content")
        await self.filesystem.hard_link(self.at(b"file"), self.at(b"other"))
        await self.write(b"file", b"new")
        self.assertEqual(await self.read(b"other"), b"new")

    async def test_attributes_of_written_file(self) -> None:
        """Mode and time are set as asked, whatever the umask and the clock say."""
        await self.write(b"file", b"x", mode=0o666, mtime=1_234_567_890)
        found = await self.filesystem.lstat(self.at(b"file"))
        self.assertEqual((found.mode, found.size, found.mtime), (FileKind.FILE | 0o666, 1, 1_234_567_890))

    async def test_failing_chunks(self) -> None:
        """An exception of the iterator's is what the write fails with."""

        def chunks() -> Iterator[bytes]:
            yield b"a"
            raise ZeroDivisionError("the source is gone")

        writing = self.filesystem.write_file(self.at(b"file"), chunks(), FileAttributes())
        await self.assertFailure(writing, ZeroDivisionError)

    async def test_write_through_link(self) -> None:
        """Writing to a symbolic link writes to what it points to, and reading reads that."""
        await self.write(b"file", b"old")
        await self.filesystem.symlink(b"file", self.at(b"link"))
        await self.write(b"link", b"new")
        self.assertEqual(await self.read(b"file"), b"new")
        self.assertEqual(await self.read(b"link"), b"new")

    async def test_write_without_directory(self) -> None:
        """Where there is no directory, no file can be written."""
        await self.assert_fails(
            RemoteFileNotFound, self.filesystem.write_file(self.at(b"no/file"), [b"x"], FileAttributes())
        )

    async def test_write_to_directory(self) -> None:
        """A directory cannot be written as a file."""
        await self.filesystem.make_directory(self.at(b"directory"), 0o755)
        await self.assert_fails(
            RemoteFileError, self.filesystem.write_file(self.at(b"directory"), [b"x"], FileAttributes())
        )

    async def test_missing(self) -> None:
        """What is not there is told so by every operation on it."""
        files = self.filesystem
        missing = self.at(b"missing")
        for doing in (
            lambda: files.lstat(missing),
            lambda: files.read_file(missing, lambda data: None),
            lambda: files.list_directory(missing),
            lambda: files.remove(missing),
            lambda: files.remove_directory(missing),
            lambda: files.rename(missing, self.at(b"new")),
            lambda: files.read_link(missing),
            lambda: files.hard_link(missing, self.at(b"new")),
            lambda: files.set_attributes(missing, FileAttributes(mode=0o600)),
        ):
            error = await self.assert_fails(RemoteFileNotFound, doing())
            self.assertIn("missing", str(error))

    async def test_directories(self) -> None:
        """A directory is made with its mode whatever the umask says, is listed, and removed when empty."""
        await self.filesystem.make_directory(self.at(b"directory"), 0o777)
        found = await self.filesystem.lstat(self.at(b"directory"))
        self.assertEqual(found.mode, FileKind.DIRECTORY | 0o777)
        await self.write(b"directory/file", b"x")
        self.assertEqual(await self.names(b"directory"), [b"file"])
        await self.assert_fails(RemoteFileError, self.filesystem.remove_directory(self.at(b"directory")))
        await self.filesystem.remove(self.at(b"directory/file"))
        await self.filesystem.remove_directory(self.at(b"directory"))
        self.assertEqual(await self.names(), [])

    async def test_make_directory_again(self) -> None:
        """A directory that is there is not made again, and keeps its mode."""
        await self.filesystem.make_directory(self.at(b"directory"), 0o700)
        await self.assert_fails(RemoteFileError, self.filesystem.make_directory(self.at(b"directory"), 0o755))
        found = await self.filesystem.lstat(self.at(b"directory"))
        self.assertEqual(found.mode, FileKind.DIRECTORY | 0o700)

    async def test_make_directory_without_parent(self) -> None:
        """The directory above must be there."""
        await self.assert_fails(
            RemoteFileNotFound, self.filesystem.make_directory(self.at(b"no/directory"), 0o755)
        )

    async def test_list_attributes(self) -> None:
        """A listing says of each entry what C{lstat} does, links not followed, without the two dots."""
        await self.write(b"file", b"four", mode=0o640, mtime=1_000_000_000)
        await self.filesystem.make_directory(self.at(b"directory"), 0o755)
        await self.filesystem.symlink(b"nowhere", self.at(b"link"))
        entries: dict[bytes, RemoteEntry] = {
            entry.name: entry for entry in await self.filesystem.list_directory(self.base)
        }
        self.assertEqual(sorted(entries), [b"directory", b"file", b"link"])
        kinds = {name: (entry.attributes.mode or 0) & _TYPE_BITS for name, entry in entries.items()}
        self.assertEqual(
            kinds, {b"directory": FileKind.DIRECTORY, b"file": FileKind.FILE, b"link": FileKind.SYMLINK}
        )
        file = entries[b"file"].attributes
        self.assertEqual((file.size, file.mtime), (4, 1_000_000_000))

    async def test_large_directory(self) -> None:
        """A listing is whole, however many answers it takes."""
        names = [b"file-%04d-%s" % (number, b"x" * 60) for number in range(700)]
        await gatherResults(
            [self.filesystem.write_file(self.at(name), [], FileAttributes()) for name in names]
        )
        self.assertEqual(await self.names(), names)

    async def test_strange_names(self) -> None:
        """Names are bytes: spaces, newlines, quotes and what is not UTF-8."""
        names = sorted([b"a b", b"new\nline", b"'\"$`", b"\xff\xfe", "żółć".encode(), b"*", b"-rf"])
        for name in names:
            await self.write(name, name)
        self.assertEqual(await self.names(), names)
        for name in names:
            self.assertEqual(await self.read(name), name)

    async def test_rename(self) -> None:
        """A rename moves, and replaces what is there."""
        await self.write(b"old", b"content")
        await self.write(b"new", b"in the way")
        await self.filesystem.rename(self.at(b"old"), self.at(b"new"))
        self.assertEqual(await self.names(), [b"new"])
        self.assertEqual(await self.read(b"new"), b"content")

    async def test_rename_directory(self) -> None:
        """A directory moves with what is in it; one that is not empty is not replaced."""
        for name in (b"one", b"two"):
            await self.filesystem.make_directory(self.at(name), 0o755)
            await self.write(name + b"/file", name)
        await self.assert_fails(RemoteFileError, self.filesystem.rename(self.at(b"one"), self.at(b"two")))
        await self.filesystem.rename(self.at(b"one"), self.at(b"three"))
        self.assertEqual(await self.names(), [b"three", b"two"])
        self.assertEqual(await self.read(b"three/file"), b"one")

    async def test_links(self) -> None:
        """A symbolic link holds any target; it is seen, read and removed itself, not what it points to."""
        await self.write(b"file", b"stays")
        await self.filesystem.symlink(b"file", self.at(b"link"))
        await self.filesystem.symlink(b"../\xff/nowhere", self.at(b"dangling"))
        found = await self.filesystem.lstat(self.at(b"link"))
        self.assertEqual((found.mode or 0) & _TYPE_BITS, FileKind.SYMLINK)
        self.assertEqual(await self.filesystem.read_link(self.at(b"link")), b"file")
        self.assertEqual(await self.filesystem.read_link(self.at(b"dangling")), b"../\xff/nowhere")
        await self.filesystem.remove(self.at(b"link"))
        self.assertEqual(await self.read(b"file"), b"stays")
        await self.assert_fails(RemoteFileError, self.filesystem.symlink(b"x", self.at(b"file")))

    async def test_read_link_of_file(self) -> None:
        """A file is no link."""
        await self.write(b"file", b"x")
        await self.assert_fails(RemoteFileError, self.filesystem.read_link(self.at(b"file")))

    async def test_hard_link(self) -> None:
        """A hard link is another name of the same file, not of a copy, and never replaces."""
        await self.write(b"file", b"x")
        await self.filesystem.hard_link(self.at(b"file"), self.at(b"other"))
        await self.filesystem.set_attributes(self.at(b"other"), FileAttributes(mode=0o604))
        found = await self.filesystem.lstat(self.at(b"file"))
        self.assertEqual(found.mode, FileKind.FILE | 0o604)
        await self.assert_fails(
            RemoteFileError, self.filesystem.hard_link(self.at(b"file"), self.at(b"other"))
        )

    async def test_set_attributes(self) -> None:
        """What is given is set, what is None stays."""
        await self.write(b"file", b"x", mode=0o644, mtime=1_000_000_000)
        await self.filesystem.set_attributes(self.at(b"file"), FileAttributes(mode=0o755))
        found = await self.filesystem.lstat(self.at(b"file"))
        self.assertEqual((found.mode, found.mtime), (FileKind.FILE | 0o755, 1_000_000_000))
        await self.filesystem.set_attributes(self.at(b"file"), FileAttributes(mtime=1_100_000_000))
        found = await self.filesystem.lstat(self.at(b"file"))
        self.assertEqual((found.mode, found.mtime), (FileKind.FILE | 0o755, 1_100_000_000))

    async def test_set_attributes_of_link(self) -> None:
        """The time of a link can be set; what it points to stays as it is, its mode too."""
        await self.write(b"file", b"x", mode=0o644, mtime=1_000_000_000)
        await self.filesystem.symlink(b"file", self.at(b"link"))
        await self.filesystem.set_attributes(self.at(b"link"), FileAttributes(mtime=1_100_000_000))
        await self.filesystem.set_attributes(self.at(b"link"), FileAttributes(mode=0o600))
        file = await self.filesystem.lstat(self.at(b"file"))
        link = await self.filesystem.lstat(self.at(b"link"))
        self.assertEqual((file.mode, file.mtime), (FileKind.FILE | 0o644, 1_000_000_000))
        self.assertEqual(link.mtime, 1_100_000_000)

    async def test_remove_directory_as_file(self) -> None:
        """A directory is not removed as a file, nor a file as a directory."""
        await self.filesystem.make_directory(self.at(b"directory"), 0o755)
        await self.write(b"file", b"x")
        await self.assert_fails(RemoteFileError, self.filesystem.remove(self.at(b"directory")))
        await self.assertFailure(self.filesystem.remove_directory(self.at(b"file")), RemoteFileError)
        self.assertEqual(await self.names(), [b"directory", b"file"])

    async def test_real_path(self) -> None:
        """A path is made absolute and plain; a relative one begins at the home."""
        home = await self.filesystem.real_path(b".")
        self.assertTrue(home.startswith(b"/"))
        await self.filesystem.make_directory(self.at(b"directory"), 0o755)
        self.assertEqual(
            await self.filesystem.real_path(self.at(b"./directory/../directory")), self.at(b"directory")
        )

    async def test_at_once(self) -> None:
        """Many files are written and read at the same time, and none gets another's content."""

        async def one(number: int) -> bool:
            content = b"%d" % number * (number * 40)
            await self.filesystem.write_file(self.at(b"%d" % number), [content], FileAttributes())
            return await self.read(b"%d" % number) == content

        results = await gatherResults([Deferred.fromCoroutine(one(number)) for number in range(150)])
        self.assertEqual(results, [True] * 150)
