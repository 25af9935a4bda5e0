"""Archives: ours read by the real C{tar} and by Python's, theirs read by us at every split."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from attrs import Factory, define
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._tar import END, UNSTABLE, Member, TarFormatError, TarReader, header, write_members
from remotedocker.sync._tree import Entry

FILE = stat.S_IFREG | 0o644
Found = tuple[bytes, Entry, bytes, bytes]


@define
class Recorder:
    """A L{TarSink<remotedocker.sync._tar.TarSink>} that keeps all."""

    members: list[Found] = Factory(list)
    current: list[bytes] | None = None
    begun: tuple[bytes, Entry, bytes] | None = None

    def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
        """A member begins."""
        assert self.current is None
        self.current, self.begun = [], (name, entry, link)

    def data(self, piece: bytes | memoryview) -> None:
        """Content."""
        assert self.current is not None
        self.current.append(bytes(piece))

    def end(self) -> None:
        """A member is complete."""
        assert self.current is not None and self.begun is not None
        self.members.append((*self.begun, b"".join(self.current)))
        self.current = self.begun = None


def read(archive: bytes, *splits: int) -> list[Found]:
    """@return: what a reader finds that gets C{archive} in pieces."""
    recorder = Recorder()
    reader = TarReader(recorder)
    start = 0
    for split in (*splits, len(archive)):
        reader.feed(archive[start:split])
        start = split
    assert reader.finished
    return recorder.members


def write(*members: Member) -> tuple[bytes, list[tuple[bytes, Entry | None, str]]]:
    """@return: an archive, and what was told of each member."""
    sent: list[tuple[bytes, Entry | None, str]] = []
    pieces = [*write_members(members, lambda member, entry, why: sent.append((member.name, entry, why)))]
    return b"".join(pieces) + END, sent


MEMBERS: list[tuple[Member, bytes]] = [
    (Member(b"d", Entry(stat.S_IFDIR | 0o750, 0, 5_000_000_000)), b""),
    (Member(b"d/file", Entry(FILE, 0, 1_700_000_000_123_456_789), content=b"content"), b"content"),
    (Member(b"empty", Entry(FILE, 0, 0)), b""),
    (Member(b"block", Entry(stat.S_IFREG | 0o4755, 0, 10**9), content=bytes(512)), bytes(512)),
    (Member(b"link", Entry(stat.S_IFLNK | 0o777, 0, 10**9, b"d/file")), b""),
    (Member(b"hard", Entry(FILE, 7, 10**9), link=b"d/file"), b""),
    (Member(b"n" * 100, Entry(FILE, 0, 10**9)), b""),
    (Member(b"n" * 101, Entry(FILE, 0, 10**9)), b""),
    (Member(b"x/" * 200 + b"\xff\n ", Entry(FILE, 0, 10**9), content=b"x"), b"x"),
    (Member(b"long", Entry(stat.S_IFLNK | 0o777, 0, 1, b"t" * 300)), b""),
    (Member(b"hard2", Entry(FILE, 0, 10**9), link=b"n" * 101), b""),
    (Member(b"before", Entry(FILE, 0, -1_500_000_000)), b""),
    (Member(b"before2", Entry(FILE, 0, -2_000_000_000)), b""),
    (Member(b"owned", Entry(FILE, 0, 10**9, owner=3_000_000, group=4_000_000)), b""),
]


class WriterTests(SynchronousTestCase):
    """L{write_members} and L{header}."""

    def test_read_by_others(self) -> None:
        """Python's reader finds every fact that was written."""
        archive, _ = write(*(member for member, _ in MEMBERS))
        with tarfile.open(fileobj=io.BytesIO(archive), errorlevel=2, encoding="latin-1") as found:
            infos = found.getmembers()
            self.assertEqual(len(infos), len(MEMBERS))
            for info, (member, content) in zip(infos, MEMBERS, strict=True):
                entry = member.entry
                self.assertEqual(info.mode, entry.permissions, member.name)
                self.assertEqual((info.uid, info.gid), (entry.owner, entry.group), member.name)
                if member.link is None:
                    self.assertAlmostEqual(float(info.mtime), entry.mtime / 1e9, places=6)
                if info.isreg():
                    extracted = found.extractfile(info)
                    assert extracted is not None
                    self.assertEqual(extracted.read(), content)
            self.assertEqual([infos[0].isdir(), infos[4].issym(), infos[5].islnk()], [True, True, True])
            self.assertEqual(infos[9].linkname, "t" * 300)
            self.assertEqual(infos[10].linkname, "n" * 101)

    def test_unpacked(self) -> None:
        """The real C{tar} restores names of any byte, modes, times to the nanosecond, and links."""
        root = Path(self.mktemp())
        root.mkdir()
        archive, _ = write(*(member for member, _ in MEMBERS[:9]))
        done = subprocess.run(["tar", "-C", root, "-xpf", "-", "--no-same-owner"], input=archive, timeout=60)
        self.assertEqual(done.returncode, 0)
        self.assertEqual((root / "d" / "file").stat().st_mtime_ns, 1_700_000_000_123_456_789)
        self.assertEqual((root / "d").stat().st_mode, stat.S_IFDIR | 0o750)
        self.assertEqual((root / "block").stat().st_mode & 0o7777, 0o4755)
        self.assertEqual((root / "hard").stat().st_ino, (root / "d" / "file").stat().st_ino)
        self.assertEqual(os.readlink(root / "link"), "d/file")
        self.assertTrue(os.path.exists(os.fsencode(root) + b"/" + b"x/" * 200 + b"\xff\n "))

    def test_big_size(self) -> None:
        """A file over 8 GiB has its size in an extended header."""
        size = 8**11 + 1
        info = tarfile.TarInfo.frombuf(header(b"big", Entry(FILE, size, 10**9))[-512:], "ascii", "strict")
        self.assertEqual(info.size, 0)
        self.assertIn(b"size=%d\n" % size, header(b"big", Entry(FILE, size, 10**9)))

    def test_record_lengths(self) -> None:
        """The length of a record counts its own digits, also where that adds one."""
        for length in (*range(85, 110), *range(975, 1010)):
            archive = header(b"p" * (length + 16), Entry(FILE, 0, 10**9)) + END
            self.assertEqual(read(archive)[0][0], b"p" * (length + 16))

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
        size = 600_000
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

        def failing(descriptor: int, size: int) -> bytes:
            raise OSError(5, "Input/output error")

        self.patch(os, "read", failing)
        archive, sent = write(Member(b"f", Entry(FILE), bytes(path)))
        self.assertEqual(read(archive)[0][3], bytes(1000))
        assert sent[0][1] is not None
        self.assertEqual(sent[0][1].mtime, UNSTABLE)

    def test_descriptors(self) -> None:
        """A writer that is dropped in the middle of a file leaves nothing open."""
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 1_000_000)
        before = len(os.listdir("/proc/self/fd"))
        written: Iterator[bytes] = write_members([Member(b"f", Entry(FILE), bytes(path))], lambda *_: None)
        next(written)
        del written
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class ReaderTests(SynchronousTestCase):
    """L{TarReader}."""

    def expected(self) -> list[Found]:
        """@return: what L{MEMBERS} are, read again."""
        found = []
        for member, content in MEMBERS:
            entry = member.entry
            mtime = 10**9 if member.link is not None else entry.mtime
            size = len(content)
            found.append(
                (
                    member.name,
                    Entry(entry.mode, size, mtime, entry.target),
                    member.link or b"",
                    content,
                )
            )
        return found

    def test_own_archives(self) -> None:
        """All that the writer can say is understood."""
        archive, _ = write(*(member for member, _ in MEMBERS))
        self.assertEqual(read(archive), self.expected())

    def test_every_split(self) -> None:
        """It does not matter where the bytes are cut."""
        archive, _ = write(*(member for member, _ in MEMBERS[:5]))
        whole = read(archive)
        for split in range(0, len(archive), 7):
            self.assertEqual(read(archive, split), whole, split)
        long, _ = write(*(member for member, _ in MEMBERS[8:10]))
        self.assertEqual(read(long, *range(1, len(long))), read(long))

    def test_others(self) -> None:
        """Archives of GNU C{tar} in each of its formats, and of busybox, are understood."""
        root = Path(self.mktemp()).absolute()
        deep = root / ("d" * 90) / ("e" * 90)
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(b"content")
        (deep / "link").symlink_to("t" * 150)
        os.link(deep / "file", root / "hard")
        commands = [["tar", f"--format={format}"] for format in ("posix", "gnu", "ustar", "oldgnu")]
        for command in [*commands, ["busybox", "tar"]]:
            names = ["hard", "d" * 90]
            done = subprocess.run(
                [*command, "-cf", "-", *names],
                cwd=root,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=60,
            )
            found = {name: (entry, link, content) for name, entry, link, content in read(done.stdout)}
            relative = os.fsencode(deep.relative_to(root))
            entry = found[relative + b"/file"][0]
            self.assertEqual((entry.is_file, found[b"hard"][0].size), (True, 7), command)
            self.assertEqual(found[b"hard"][2], b"content", command)
            self.assertEqual(found[relative + b"/file"][1], b"hard", command)
            self.assertTrue(found[relative][0].is_directory, command)
            if "--format=ustar" not in command:
                self.assertEqual(found[relative + b"/link"][0].target, b"t" * 150, command)

    def test_other_kinds(self) -> None:
        """A device is no file; a global header means nothing to us."""
        info = tarfile.TarInfo("tty")
        info.type = tarfile.CHRTYPE
        (member,) = read(info.tobuf() + END)
        self.assertEqual((member[1].is_file, member[1].is_directory), (False, False))
        block = bytearray(header(b"@", Entry(FILE, 12, 10**9)))
        block[156:157] = b"g"
        with_global = sealed(block) + b"12 comment=\n" + bytes(500) + info.tobuf() + END
        self.assertEqual(read(with_global), [member])
        old = tarfile.TarInfo("old")
        old.type = tarfile.AREGTYPE
        self.assertTrue(read(old.tobuf() + END)[0][1].is_file)

    def test_numbers(self) -> None:
        """Numbers may be octal, blank or binary."""
        block = bytearray(header(b"f", Entry(FILE, 0, 0)))
        block[136:148] = b"\x80" + (12345).to_bytes(11, "big")
        block[100:108] = b" " * 8
        (member,) = read(sealed(block) + END)
        self.assertEqual((member[1].mtime, member[1].permissions), (12345 * 10**9, 0))

    def test_after_the_end(self) -> None:
        """What follows the end marker is not looked at."""
        archive, _ = write(MEMBERS[0][0])
        self.assertEqual(read(archive + b"rubbish" * 1000), read(archive))

    def test_malformed(self) -> None:
        """What is no archive is refused as such, wherever it is wrong."""
        good = header(b"f", Entry(FILE, 0, 10**9))
        big = bytearray(good)
        big[124:136] = b"%011o\0" % (2 << 20)
        big[156:157] = b"x"
        letters = bytearray(good)
        letters[124:136] = b"twelve bytes"
        table = [
            bytes(512 - 1) + b"x",
            b"x" * 512,
            sealed(big),
            sealed(letters),
            *(
                extended(records)
                for records in (
                    b"x path=a\n",
                    b"99 path=a\n",
                    b"2 p=a\n",
                    b"-5 path=a\n",
                    b"12 size=-10\n",
                    b"11 size=no\n",
                    b"13 mtime=now\n",
                    b"11 mtime=\n",
                )
            ),
        ]
        for number, archive in enumerate(table):
            try:
                TarReader(Recorder()).feed(archive + END)
            except TarFormatError:
                continue
            self.fail(f"number {number} was taken for an archive")


def sealed(block: bytearray) -> bytes:
    """@return: a header with its checksum put right."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(records: bytes) -> bytes:
    """@return: an extended header with these records, and a member."""
    block = bytearray(header(b"@", Entry(FILE, len(records), 10**9)))
    block[156:157] = b"x"
    return sealed(block) + records + bytes(-len(records) % 512) + header(b"f", Entry(FILE, 0, 10**9))
