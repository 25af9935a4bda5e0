# -*- test-case-name: tests.ssh.test_memory_filesystem -*-
"""
The remote's files, in memory: what L{IRemoteFilesystem} promises, and nothing else.

L{tests.contracts.filesystem} holds it, and the real one over SFTP, to the same behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from remotedocker.errors import RemoteDockerError, RemoteFileError, RemoteFileNotFound, SSHError
from remotedocker.interfaces import FileAttributes, FileKind, IRemoteFilesystem, RemoteEntry

__all__ = ["MemoryFilesystem", "Node"]

_TYPE_BITS = 0o170000
_MOST_LINKS = 40


@define(eq=False)
class Node:
    """
    An inode.

    @ivar kind: see L{FileKind}.
    @ivar mode: permission bits alone.
    @ivar content: of a file.
    @ivar target: of a symbolic link.
    @ivar children: of a directory.
    """

    kind: int
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    content: bytes = b""
    target: bytes = b""
    children: dict[bytes, Node] = field(factory=dict)

    def attributes(self) -> FileAttributes:
        """@return: what C{lstat} says of it."""
        size = len(self.target) if self.kind == FileKind.SYMLINK else len(self.content)
        return FileAttributes(
            mode=self.kind | self.mode, size=size, uid=self.uid, gid=self.gid, mtime=self.mtime
        )

    def change(self, attributes: FileAttributes) -> None:
        """Sets what is not None."""
        if attributes.mode is not None and self.kind != FileKind.SYMLINK:
            self.mode = attributes.mode & 0o7777
        self.uid = self.uid if attributes.uid is None else attributes.uid
        self.gid = self.gid if attributes.gid is None else attributes.gid
        self.mtime = self.mtime if attributes.mtime is None else attributes.mtime


@implementer(IRemoteFilesystem)
class MemoryFilesystem:
    """
    See L{IRemoteFilesystem}.

    @ivar home: the SSH user's home, which is there.
    @ivar log: the name and the first path of each operation, in order.
    @ivar held: None: every operation is done at once. A list: those asked for wait in it, as functions that
        do them (L{release} does them in order).
    @ivar failures: an operation's name and path, to the error that it shall end with.
    @ivar now: what a change of a file makes its time, in seconds.
    """

    def __init__(self, home: bytes = b"/root") -> None:
        self.home = home
        self.root = Node(FileKind.DIRECTORY, 0o755)
        self.log: list[tuple[str, bytes]] = []
        self.held: list[Callable[[], None]] | None = None
        self.failures: dict[tuple[str, bytes], RemoteDockerError] = {}
        self.lost: SSHError | None = None
        self.now = 1_700_000_000
        self.make_tree(home)

    # For tests

    def make_tree(self, path: bytes, mode: int = 0o755) -> None:
        """Makes a directory and those above it."""
        node = self.root
        for name in path.strip(b"/").split(b"/"):
            node = node.children.setdefault(name, Node(FileKind.DIRECTORY, mode, mtime=self.now))

    def put(self, path: bytes, content: bytes, mode: int = 0o644) -> Node:
        """Puts a file there, as somebody on the remote would; the directory must be there."""
        parent, name = self._parent(path)
        node = parent.children.get(name)
        if node is None or node.kind != FileKind.FILE:
            node = parent.children[name] = Node(FileKind.FILE, mode)
        node.content, node.mode, node.mtime = content, mode, self.now
        return node

    def node(self, path: bytes) -> Node:
        """@return: what is at C{path}, links in its middle followed; raises L{RemoteFileNotFound}."""
        return self._find(path)

    def content(self, path: bytes) -> bytes:
        """@return: a file's content, links followed."""
        return self._find(path, follow=True).content

    def tree(self, path: bytes) -> dict[bytes, bytes | None]:
        """
        @return: relative path to content for everything under C{path}: None for directories, links as C{->
            target}.
        """
        found: dict[bytes, bytes | None] = {}

        def walk(prefix: bytes, node: Node) -> None:
            for name, child in sorted(node.children.items()):
                if child.kind == FileKind.DIRECTORY:
                    found[prefix + name] = None
                    walk(prefix + name + b"/", child)
                else:
                    link = child.kind == FileKind.SYMLINK
                    found[prefix + name] = b"-> " + child.target if link else child.content

        walk(b"", self._find(path))
        return found

    def release(self, count: int | None = None) -> None:
        """Does what is held, in order, and what is asked for meanwhile if C{count} is None."""
        assert self.held is not None, "nothing is held"
        done = 0
        while self.held and (count is None or done < count):
            self.held.pop(0)()
            done += 1

    # Finding

    def _parts(self, path: bytes) -> list[bytes]:
        """@return: the names on the way from the root."""
        if not path.startswith(b"/"):
            path = self.home + b"/" + path
        return [part for part in path.split(b"/") if part not in (b"", b".")]

    def _find(self, path: bytes, follow: bool = False, links: int = 0) -> Node:
        """@return: the node; links in the middle are followed, at the end only if C{follow}."""
        if links > _MOST_LINKS:
            raise self._failure("finding", path, "too many levels of symbolic links")
        trail = [self.root]
        parts = self._parts(path)
        for index, name in enumerate(parts):
            if name == b"..":
                trail = trail[:-1] or [self.root]
                continue
            child = trail[-1].children.get(name) if trail[-1].kind == FileKind.DIRECTORY else None
            if child is None:
                raise RemoteFileNotFound(
                    operation="finding", path=path.decode("utf-8", "replace"), destination="memory"
                )
            if child.kind == FileKind.SYMLINK and (follow or index < len(parts) - 1):
                where = b"/" + b"/".join(parts[:index])
                target = child.target if child.target.startswith(b"/") else where + b"/" + child.target
                rest = b"/".join(parts[index + 1 :])
                return self._find(target + (b"/" + rest if rest else b""), follow, links + 1)
            trail.append(child)
        return trail[-1]

    def _parent(self, path: bytes) -> tuple[Node, bytes]:
        """@return: the directory that C{path} is in, and the name in it."""
        parts = self._parts(path)
        parent = self._find(b"/" + b"/".join(parts[:-1]), follow=True)
        if parent.kind != FileKind.DIRECTORY:
            raise RemoteFileNotFound(
                operation="finding", path=path.decode("utf-8", "replace"), destination="memory"
            )
        return parent, parts[-1]

    def _failure(self, operation: str, path: bytes, reason: str) -> RemoteFileError:
        """@return: an error as the real one gives it."""
        return RemoteFileError(
            operation=operation, path=path.decode("utf-8", "replace"), destination="memory", reason=reason
        )

    def _do(self, name: str, path: bytes, work: Callable[[], Any]) -> Deferred[Any]:
        """Does an operation now, or when it is released."""
        self.log.append((name, path))
        if self.lost is not None:
            return fail(self.lost)

        def attempt() -> Any:
            if self.lost is not None:
                raise self.lost
            if (name, path) in self.failures:
                raise self.failures[name, path]
            return work()

        if self.held is None:
            try:
                return succeed(attempt())
            except Exception:
                return fail()
        waiting: Deferred[Any] = Deferred()

        def do() -> None:
            try:
                result = attempt()
            except Exception:
                waiting.errback()
            else:
                waiting.callback(result)

        self.held.append(do)
        return waiting

    # The interface

    def real_path(self, path: bytes) -> Deferred[bytes]:
        """See L{IRemoteFilesystem.real_path}."""

        def work() -> bytes:
            found: list[bytes] = []
            parts = self._parts(path)
            while parts:
                part = parts.pop(0)
                found = found[:-1] if part == b".." else [*found, part]
                try:
                    node = self._find(b"/" + b"/".join(found))
                except RemoteFileNotFound:
                    continue
                if node.kind == FileKind.SYMLINK:
                    rest = [each for each in node.target.split(b"/") if each not in (b"", b".")]
                    found, parts = [] if node.target.startswith(b"/") else found[:-1], [*rest, *parts]
            return b"/" + b"/".join(found)

        return self._do("real_path", path, work)

    def lstat(self, path: bytes) -> Deferred[FileAttributes]:
        """See L{IRemoteFilesystem.lstat}."""
        return self._do("lstat", path, lambda: self._find(path).attributes())

    def list_directory(self, path: bytes) -> Deferred[Sequence[RemoteEntry]]:
        """See L{IRemoteFilesystem.list_directory}."""

        def work() -> list[RemoteEntry]:
            node = self._find(path, follow=True)
            if node.kind != FileKind.DIRECTORY:
                raise RemoteFileNotFound(
                    operation="listing", path=path.decode("utf-8", "replace"), destination="memory"
                )
            return [RemoteEntry(name, child.attributes()) for name, child in node.children.items()]

        return self._do("list_directory", path, work)

    def make_directory(self, path: bytes, mode: int) -> Deferred[None]:
        """See L{IRemoteFilesystem.make_directory}."""
        return self._do(
            "make_directory", path, lambda: self._add(path, Node(FileKind.DIRECTORY, mode & 0o7777))
        )

    def _add(self, path: bytes, node: Node) -> None:
        """Puts a node where nothing is."""
        parent, name = self._parent(path)
        if name in parent.children:
            raise self._failure("making", path, "Failure")
        node.mtime = parent.mtime = self.now
        parent.children[name] = node

    def write_file(self, path: bytes, chunks: Iterable[bytes], attributes: FileAttributes) -> Deferred[int]:
        """See L{IRemoteFilesystem.write_file}."""

        def work() -> int:
            try:
                node = self._find(path, follow=True)
            except RemoteFileNotFound:
                node = Node(FileKind.FILE)
                self._add(path, node)
            if node.kind != FileKind.FILE:
                raise self._failure("writing", path, "Failure")
            node.content, node.mtime = b"", self.now
            for chunk in chunks:
                node.content += chunk
            node.change(evolve(attributes, size=None))
            return len(node.content)

        return self._do("write_file", path, work)

    def read_file(self, path: bytes, consume: Callable[[bytes], None]) -> Deferred[int]:
        """See L{IRemoteFilesystem.read_file}."""

        def work() -> int:
            node = self._find(path, follow=True)
            if node.kind != FileKind.FILE:
                raise self._failure("reading", path, "Failure")
            if node.content:
                consume(node.content)
            return len(node.content)

        return self._do("read_file", path, work)

    def rename(self, old: bytes, new: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.rename}."""

        def work() -> None:
            source, source_name = self._parent(old)
            node = self._find(old)
            parent, name = self._parent(new)
            there = parent.children.get(name)
            if there is node:
                return
            if there is not None:
                both = (node.kind == FileKind.DIRECTORY, there.kind == FileKind.DIRECTORY)
                if both[0] != both[1] or there.children:
                    raise self._failure("renaming", old, "Failure")
            del source.children[source_name]
            parent.children[name] = node

        return self._do("rename", old, work)

    def remove(self, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.remove}."""

        def work() -> None:
            if self._find(path).kind == FileKind.DIRECTORY:
                raise self._failure("removing", path, "Failure")
            parent, name = self._parent(path)
            del parent.children[name]

        return self._do("remove", path, work)

    def remove_directory(self, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.remove_directory}."""

        def work() -> None:
            node = self._find(path)
            if node.kind != FileKind.DIRECTORY or node.children:
                raise self._failure("removing", path, "Failure")
            parent, name = self._parent(path)
            del parent.children[name]

        return self._do("remove_directory", path, work)

    def symlink(self, target: bytes, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.symlink}."""
        link = Node(FileKind.SYMLINK, 0o777, target=target)
        return self._do("symlink", path, lambda: self._add(path, link))

    def read_link(self, path: bytes) -> Deferred[bytes]:
        """See L{IRemoteFilesystem.read_link}."""

        def work() -> bytes:
            node = self._find(path)
            if node.kind != FileKind.SYMLINK:
                raise self._failure("reading", path, "Bad message")
            return node.target

        return self._do("read_link", path, work)

    def hard_link(self, existing: bytes, path: bytes) -> Deferred[None]:
        """See L{IRemoteFilesystem.hard_link}."""

        def work() -> None:
            node = self._find(existing)
            if node.kind == FileKind.DIRECTORY:
                raise self._failure("linking", path, "Failure")
            parent, name = self._parent(path)
            if name in parent.children:
                raise self._failure("linking", path, "Failure")
            parent.children[name] = node

        return self._do("hard_link", path, work)

    def set_attributes(self, path: bytes, attributes: FileAttributes) -> Deferred[None]:
        """See L{IRemoteFilesystem.set_attributes}."""

        def work() -> None:
            self._find(path).change(attributes)

        return self._do("set_attributes", path, work)
