"""Files on their way into archives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._packing import UNSTABLE, Member, write_members, write_parts
from remotedocker.sync._tar import END
from remotedocker.sync._tree import Entry
from tests.sync.archives import FILE, read, write


class MembersTests(SynchronousTestCase):
    """L{write_members}."""

    def test_files(self) -> None:
        """Files are read when their turn comes, and told as they were then."""
        root = Path(self.mktemp())
        root.mkdir()
        (root / "big").write_bytes(b"0123456789" * 100_000)
        (root / "small").write_bytes(b"x")
        members = [Member(name, Entry(FILE, 5), bytes(root / name.decode())) for name in (b"big", b"small")]
        archive, sent = write(*members)
        found = read(archive)
        self.assertEqual([content for _, _, _, content in found], [b"0123456789" * 100_000, b"x"])
        for (name, entry, why), member in zip(sent, members, strict=True):
            status = os.stat(root / name.decode())
            assert entry is not None
            self.assertEqual((entry.size, entry.mtime, why), (status.st_size, status.st_mtime_ns, ""))
            self.assertEqual(name, member.name)

    def test_left_out(self) -> None:
        """What is no regular file any more is left out, with the reason, and a link is not followed."""
        root = Path(self.mktemp())
        root.mkdir()
        (root / "secret").write_text("x")
        (root / "link").symlink_to("secret")
        os.mkfifo(root / "pipe")
        names = [b"gone", b"link", b"pipe", b"secret"]
        archive, sent = write(*(Member(name, Entry(FILE), bytes(root / name.decode())) for name in names))
        self.assertEqual([name for name, *_ in read(archive)], [b"secret"])
        self.assertEqual([entry is None for _, entry, _ in sent], [True, True, True, False])
        self.assertEqual(
            [why for _, _, why in sent],
            [
                "No such file or directory",
                "Too many levels of symbolic links",
                "it is no regular file any more",
                "",
            ],
        )

    def test_shrinks_while_read(self) -> None:
        """
        A file that loses its end while it is read is filled up, so that what follows stays readable, and
        told as unlike anything that is there.
        """
        path = Path(self.mktemp())
        size = 2_500_000
        path.write_bytes(b"x" * size)
        sent: list[Entry | None] = []
        second = Member(b"after", Entry(FILE), content=b"y")
        written = write_members(
            [Member(b"f", Entry(FILE), bytes(path)), second], lambda _, entry, why: sent.append(entry)
        )
        pieces = [next(written)]
        os.truncate(path, 300_000)
        archive = b"".join([*pieces, *written]) + END
        found = read(archive)
        self.assertEqual([len(content) for *_, content in found], [size, 1])
        assert sent[0] is not None
        self.assertEqual(sent[0].mtime, UNSTABLE)

    def test_read_error(self) -> None:
        """An error in the middle of a file counts as its end."""
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 1000)

        def failing(descriptor: int, buffers: object) -> int:
            raise OSError(5, "Input/output error")

        self.patch(os, "readv", failing)
        archive, sent = write(Member(b"f", Entry(FILE), bytes(path)))
        self.assertEqual(read(archive)[0][3], bytes(1000))
        assert sent[0][1] is not None
        self.assertEqual(sent[0][1].mtime, UNSTABLE)

    def test_descriptors(self) -> None:
        """A writer that is dropped in the middle of a file leaves nothing open."""
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 2_000_000)
        before = len(os.listdir("/proc/self/fd"))
        written: Iterator[bytes] = write_members([Member(b"f", Entry(FILE), bytes(path))], lambda *_: None)
        next(written)
        del written
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class PartsTests(SynchronousTestCase):
    """L{write_parts}."""

    def setUp(self) -> None:
        """A directory for files."""
        self.root = Path(self.mktemp())
        self.root.mkdir()

    def member(self, name: str, content: bytes) -> Member:
        """@return: a new file that is to be written."""
        path = self.root / name
        path.write_bytes(content)
        return Member(name.encode(), Entry(FILE, len(content)), bytes(path))

    def test_one_archive(self) -> None:
        """Put together in the order of their names, the parts are one archive of all files, big and small."""
        big = [b"y" * 2_000_000, b"z" * 1_100_000]
        contents = [b"", b"x" * 512, *big, *(b"%d" % n * 60_000 for n in range(40))]
        members = [self.member(f"f{number}", content) for number, content in enumerate(contents)]
        told: list[tuple[bytes, Entry | None, str]] = []
        archive = b"".join(
            write_parts(b"o", members, lambda member, *what: told.append((member.name, *what)))
        )
        parts = read(archive + END)
        self.assertGreater(len(parts), 3)
        names = [name for name, *_ in parts]
        self.assertEqual(names, sorted(names))
        self.assertTrue(all(name.startswith(b"o/") for name in names))
        inner = {name: content for name, _, _, content in read(b"".join(content for *_, content in parts))}
        self.assertEqual(inner, {f"f{n}".encode(): content for n, content in enumerate(contents)})
        self.assertEqual([(name, why) for name, _, why in told], [(member.name, "") for member in members])

    def test_left_out(self) -> None:
        """A file that cannot be read is told with the reason; one that has shrunk is filled up, and told."""
        gone, shrunk = self.member("gone", b""), self.member("shrunk", b"x" * 1_400_000)
        (self.root / "gone").unlink()
        told: list[tuple[Entry | None, str]] = []
        pieces = write_parts(b"o", [gone, shrunk, self.member("f", b"f")], lambda _, *what: told.append(what))
        archive = next(pieces)
        os.truncate(self.root / "shrunk", 1000)
        parts = read(b"".join([archive, *pieces]) + END)
        inner = read(b"".join(content for *_, content in parts))
        self.assertEqual(
            [(name, len(content)) for name, _, _, content in inner], [(b"shrunk", 1_400_000), (b"f", 1)]
        )
        self.assertEqual([why for _, why in told], ["No such file or directory", "", ""])
        self.assertEqual(told[1][0] and told[1][0].mtime, UNSTABLE)

    def test_nothing(self) -> None:
        """Where no file can be read there is one part, an empty archive."""
        parts = read(b"".join(write_parts(b"o", [], lambda *_: None)) + END)
        self.assertEqual([(name, content) for name, _, _, content in parts], [(b"o/00000001", END)])
