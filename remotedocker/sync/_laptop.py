# -*- test-case-name: tests.sync.test_laptop -*-
"""
Changes to the laptop's side of a tree, made with the distrust that a remote deserves.

Each name is reached from the root through directories opened one by one, none of which may be a symbolic
link (C{O_NOFOLLOW}); C{..} and absolute names are refused. What is replaced or removed must still be what it
was at the last look, and is kept in the trash. A directory that is new, with all that comes into it, is made
beside its place under a temporary name, and gets its own when it is complete. Runs in a thread.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from attrs import Factory, define, field

from remotedocker.sync._operations import (
    Delete,
    MakeDirectory,
    MakeSymlink,
    Operation,
    SetMode,
    WriteFile,
)
from remotedocker.sync._trash import Trash
from remotedocker.sync._tree import TEMPORARY_PREFIX, Entry, entry_of, inside

__all__ = ["FileReceiver", "LaptopTree", "Pulled", "Refused"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SECOND = 1_000_000_000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_BITS = 0o1777
"""Permission bits that may come from the remote: not C{setuid} and C{setgid}."""


class Refused(Exception):
    """A change was not made; the text says why."""


@define
class Pulled:
    """
    How changes to the laptop went.

    @ivar done: each operation that was done, what the laptop has there now, and what the remote had.
    @ivar failed: each that was not, with the reason.
    """

    done: list[tuple[Operation, Entry | None, Entry | None]] = Factory(list)
    failed: list[tuple[Operation, str]] = Factory(list)


def _is_plain(name: bytes) -> bool:
    """Whether it names something in its directory."""
    return name not in (b"", b".", b"..") and b"\0" not in name


@define
class LaptopTree:
    """
    @ivar root: absolute path of the tree: a directory, or a single file.
    @ivar is_file: which of them.
    @ivar trash: keeps what is replaced or removed.
    @ivar staged: new directories that are not complete, to the temporary names that they have until L{land}.
    """

    root: bytes
    is_file: bool
    trash: Trash
    staged: dict[bytes, bytes] = field(init=False, factory=dict)

    def split(self, path: bytes) -> list[bytes]:
        """
        @return: the names that lead to C{path} from L{top}.
        @raise Refused: C{path} is no path inside the tree.
        """
        if not path:
            return [os.path.basename(self.root)] if self.is_file else []
        parts = path.split(b"/")
        if self.is_file or not all(map(_is_plain, parts)):
            raise Refused("the name would lead outside the mounted directory")
        for depth in range(len(parts) if self.staged else 0):
            temporary = self.staged.get(b"/".join(parts[: depth + 1]))
            if temporary is not None:
                parts[depth] = temporary
                break
        return parts

    def stage(self, directories: Iterable[bytes]) -> None:
        """
        From now on until L{land}, what is done at and in C{directories} is done at temporary names.

        @param directories: nothing is there yet; none is in another.
        """
        self.staged = {path: _temporary() for path in directories}

    def is_staged(self, path: bytes) -> bool:
        """@return: whether the directory C{path} is not in its place yet."""
        return inside(path, self.staged)

    def land(self) -> dict[bytes, str]:
        """
        Gives the directories of L{stage} their names. Where there is something by now, that stays, and what
        was made is removed.

        @return: the directories that are not there, with the reasons.
        """
        staged, self.staged = self.staged, {}
        failed: dict[bytes, str] = {}
        for path, temporary in staged.items():
            try:
                with self.parent(path) as (descriptor, name):
                    try:
                        os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
                    except OSError as error:
                        failed[path] = error.strerror or str(error)
                        _remove(descriptor, temporary)
            except OSError as error:
                failed.setdefault(path, error.strerror or str(error))
        return failed

    @property
    def top(self) -> bytes:
        """The directory from which names are reached."""
        return os.path.dirname(self.root) or b"/" if self.is_file else self.root

    @contextmanager
    def parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """
        Opens the directory of C{path} on a way without symbolic links.

        @return: its descriptor and the last name; for the root of a directory tree, C{"."}.
        """
        parts = self.split(path)
        descriptor = os.open(self.top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _OPEN_DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor, parts[-1] if parts else b"."
        finally:
            os.close(descriptor)

    def look(self, descriptor: int, name: bytes) -> Entry | None:
        """@return: what is there now."""
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(status.st_mode) else b""
        return entry_of(status, target)

    def check(self, descriptor: int, name: bytes, expected: Entry | None) -> Entry | None:
        """
        @return: what is there now.
        @raise Refused: it is not what was there at the last look.
        """
        if expected is None:
            if os.access(name, os.F_OK, dir_fd=descriptor, follow_symlinks=False):
                raise Refused("it was changed on the laptop meanwhile")
            return None
        found = self.look(descriptor, name)
        if found is None:
            raise Refused("it was changed on the laptop meanwhile")
        whole = found.is_directory or (found.size, found.mtime) == (expected.size, expected.mtime)
        if (found.mode, found.target) != (expected.mode, expected.target) or not whole:
            raise Refused("it was changed on the laptop meanwhile")
        return found

    def checksum(self, path: bytes, expected: Entry) -> str | None:
        """@return: the SHA-256 of a file in hexadecimal, if it can be read and is what it should be."""
        digest = hashlib.sha256()
        try:
            with self.parent(path) as (descriptor, name):
                self.check(descriptor, name, expected)
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            with os.fdopen(opened, "rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except (OSError, Refused):
            return None
        return digest.hexdigest()

    def absolute(self, path: bytes) -> bytes:
        """@return: the absolute path, for the trash and for messages."""
        return self.root + b"/" + path if path else self.root

    def apply(self, operations: Sequence[Operation]) -> Pulled:
        """Makes all changes but the writing of files, for which see L{FileReceiver}."""
        pulled = Pulled()
        for operation in operations:
            try:
                entry = self._apply(operation)
            except Refused as refused:
                pulled.failed.append((operation, str(refused)))
            except OSError as error:
                pulled.failed.append((operation, error.strerror or str(error)))
            else:
                remote = None if isinstance(operation, Delete) else operation.entry
                pulled.done.append((operation, entry, remote))
        return pulled

    def clean(self, leftovers: Sequence[bytes]) -> None:
        """Removes temporary files and directories of agents that were killed."""
        for path in leftovers:
            if not _is_left(os.path.basename(path)):
                continue
            with suppress(OSError, Refused), self.parent(path) as (descriptor, name):
                _remove(descriptor, name)

    def _apply(self, operation: Operation) -> Entry | None:
        with self.parent(operation.path) as (descriptor, name):
            if isinstance(operation, MakeDirectory):
                found = self.look(descriptor, name)
                if found is None:
                    os.mkdir(name, operation.entry.permissions & _KEPT_BITS | 0o700, dir_fd=descriptor)
                elif not found.is_directory:
                    raise Refused("it was changed on the laptop meanwhile")
            elif isinstance(operation, Delete):
                self._delete(operation, descriptor, name)
            elif isinstance(operation, MakeSymlink):
                if self.check(descriptor, name, operation.expected) is not None:
                    self.trash.keep(descriptor, name, self.absolute(operation.path))
                temporary = _temporary()
                os.symlink(operation.entry.target, temporary, dir_fd=descriptor)
                os.replace(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            elif isinstance(operation, SetMode):
                self._set_mode(operation, descriptor, name)
            return self.look(descriptor, name)

    def _delete(self, operation: Delete, descriptor: int, name: bytes) -> None:
        if self.look(descriptor, name) is None:
            return
        self.check(descriptor, name, operation.expected)
        if not operation.path:
            raise Refused("the root of a mount is never removed")
        if operation.expected.is_directory:
            with suppress(OSError):
                os.rmdir(name, dir_fd=descriptor)
            return
        self.trash.keep(descriptor, name, self.absolute(operation.path))
        os.unlink(name, dir_fd=descriptor)

    def _set_mode(self, operation: SetMode, descriptor: int, name: bytes) -> None:
        found = self.check(descriptor, name, operation.expected)
        if found is None or found.is_symlink:
            raise Refused("it was changed on the laptop meanwhile")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        opened = os.open(name, flags, dir_fd=descriptor)
        try:
            os.fchmod(opened, operation.entry.permissions & _KEPT_BITS)
            if operation.entry.is_file:
                os.utime(opened, ns=(time.time_ns(), operation.entry.mtime))
        finally:
            os.close(opened)


def _remove(descriptor: int, name: bytes) -> None:
    """
    Removes C{name}, and what is in it, from a directory.

    @raise OSError: something of it is left.
    """
    left, directories = [name], []
    while left:
        path = left.pop()
        if not stat.S_ISDIR(os.stat(path, dir_fd=descriptor, follow_symlinks=False).st_mode):
            os.unlink(path, dir_fd=descriptor)
            continue
        directories.append(path)
        inner = os.open(path, _OPEN_DIRECTORY, dir_fd=descriptor)
        try:
            left += [path + b"/" + os.fsencode(each) for each in os.listdir(inner)]
        finally:
            os.close(inner)
    for path in reversed(directories):
        os.rmdir(path, dir_fd=descriptor)


def _temporary() -> bytes:
    return b"%s%d-%s" % (TEMPORARY_PREFIX, os.getpid(), secrets.token_hex(8).encode("ascii"))


def _is_left(name: bytes) -> bool:
    """Whether a temporary file's process, whose number is in its name, is gone."""
    number = name[len(TEMPORARY_PREFIX) :].partition(b"-")[0]
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError):
        return False
    return False


@define
class FileReceiver:
    """
    Takes files from a tar stream; each is written beside its place and then renamed to it, unless its
    directory is not in its own place yet.

    @ivar wanted: what was asked for; anything else in the stream is passed over.
    """

    tree: LaptopTree
    wanted: Mapping[bytes, WriteFile]
    pulled: Pulled = Factory(Pulled)
    _current: WriteFile | None = field(init=False, default=None)
    _entry: Entry | None = field(init=False, default=None)
    _file: int = field(init=False, default=-1)
    _directory: int = field(init=False, default=-1)
    _where: bytes = field(init=False, default=b"")
    _staged: bool = field(init=False, default=False)
    _name: bytes = field(init=False, default=b"")
    _prefix: bytes = field(init=False, factory=lambda: _temporary())
    _count: int = field(init=False, default=0)
    _temporary: bytes = field(init=False, default=b"")
    _unanswered: dict[bytes, WriteFile] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._unanswered = dict(self.wanted)

    def begin(self, name: bytes, entry: Entry, link: bytes) -> None:
        """A file begins: opens its temporary file."""
        path = b"" if self.tree.is_file else name[2:] if name[:2] == b"./" else name
        operation = self._unanswered.pop(path, None)
        if operation is None:
            return
        if link or not entry.is_file:
            self.pulled.failed.append((operation, "it is no regular file any more"))
            return
        known = operation.entry
        if entry.size == known.size and entry.mtime // _SECOND == known.mtime // _SECOND:
            # The listing knows the fraction of the second, the stream does not.
            entry = known if entry.mode == known.mode else entry._replace(mtime=known.mtime)
        self._count += 1
        try:
            self._enter(path)
            self._temporary = self._name if self._staged else b"%s-%d" % (self._prefix, self._count)
            self._file = os.open(self._temporary, _CREATE, entry.permissions & 0o777, dir_fd=self._directory)
            self._current, self._entry = operation, entry
        except (OSError, Refused) as error:
            self._fail(operation, error)

    def _enter(self, path: bytes) -> None:
        """Opens the directory of C{path}, unless it is that of the file before."""
        where, _, name = path.rpartition(b"/")
        if self._directory >= 0 and where == self._where and _is_plain(name) and not self.tree.is_file:
            self._name = name
            return
        self._name = self.tree.split(path)[-1]
        self._leave()
        with self.tree.parent(path) as (descriptor, _):
            self._directory, self._where = os.dup(descriptor), where
            self._staged = self.tree.is_staged(where)

    def _leave(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
        self._directory = -1

    def data(self, piece: bytes | memoryview) -> None:
        """Content."""
        operation = self._current
        if operation is None:
            return
        try:
            while (written := os.write(self._file, piece)) < len(piece):
                piece = piece[written:]
        except OSError as error:
            self._fail(operation, error)

    def end(self) -> None:
        """The file is complete: gives it its name, if what is there is still what was."""
        operation, entry = self._current, self._entry
        if operation is None or entry is None:
            return
        try:
            os.utime(self._file, ns=(entry.mtime, entry.mtime))
            local = entry_of(os.fstat(self._file))
            mode = stat.S_IFREG | entry.mode & _KEPT_BITS
            if local.mode != mode:
                os.fchmod(self._file, mode & _KEPT_BITS)
                local = local._replace(mode=mode)
            if not self._staged:
                self._give_name(operation)
        except (OSError, OverflowError, Refused) as error:
            self._fail(operation, error)
            return
        self.pulled.done.append((operation, local, entry))
        self._close()

    def _give_name(self, operation: WriteFile) -> None:
        directory, name = self._directory, self._name
        if self.tree.check(directory, name, operation.expected) is not None:
            self.tree.trash.keep(directory, name, self.tree.absolute(operation.path))
        os.replace(self._temporary, name, src_dir_fd=directory, dst_dir_fd=directory)

    def lost(self, reason: str) -> None:
        """The file that began does not come to its end."""
        if self._current is not None:
            self._fail(self._current, Refused(reason))

    def finish(self, ended: bool) -> Pulled:
        """
        No more comes.

        @param ended: the stream came to its end; otherwise it was cut off, and nothing is told of what did
            not come: there is one reason for all of it, and it is asked for again.
        @return: what became of what was wanted.
        """
        if ended:
            self.lost("the stream of files was cut off")
            for operation in self._unanswered.values():
                self.pulled.failed.append((operation, "the remote could not read it"))
        self._discard()
        self._leave()
        return self.pulled

    def _fail(self, operation: WriteFile, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self.pulled.failed.append((operation, reason))
        self._discard()

    def _discard(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._directory)
        self._close()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._current = self._entry = None
