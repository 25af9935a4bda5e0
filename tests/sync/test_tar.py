"""The format of tar archives, against Python's reader and the real C{tar}."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._tar import END, TarFormatError, TarReader, header
from remotedocker.sync._tree import Entry
from tests.sync.archives import FILE, MEMBERS, Found, Recorder, read, write


class WriterTests(SynchronousTestCase):
    """L{header}, as others understand it."""

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
