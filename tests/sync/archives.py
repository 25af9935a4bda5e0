"""Archives for tests: written by our writer, read by our reader."""

from __future__ import annotations

import stat

from attrs import Factory, define

from remotedocker.sync._packing import Member, write_members
from remotedocker.sync._tar import END, TarReader
from remotedocker.sync._tree import Entry

__all__ = ["FILE", "MEMBERS", "Found", "Recorder", "read", "write"]

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
