# -*- test-case-name: tests.test_state -*-
"""
Tests for L{remotedocker.state}.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker import state
from remotedocker.state import StateDirectory, remove_leftovers, write_atomically

__all__ = ["LeftoverTests", "StateDirectoryTests", "WriteAtomicallyTests"]


def permissions(path: Path) -> int:
    """The permission bits of what is at C{path}."""
    return stat.S_IMODE(path.stat().st_mode)


class WriteAtomicallyTests(SynchronousTestCase):
    """L{write_atomically}."""

    def setUp(self) -> None:
        """A directory with one file."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "file"
        self.path.write_bytes(b"old")

    def test_replaces(self) -> None:
        """The new content is there, readable by its owner only, and nothing else is left."""
        write_atomically(self.path, b"new")
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(permissions(self.path), 0o600)
        self.assertEqual(os.listdir(self.directory), ["file"])

    def test_creates(self) -> None:
        """A file that was not there is made."""
        write_atomically(self.directory / "other", b"")
        self.assertEqual((self.directory / "other").read_bytes(), b"")

    def test_is_a_new_file(self) -> None:
        """The file is replaced, not written over: who has it open reads the old content to its end."""
        with self.path.open("rb") as reader:
            write_atomically(self.path, b"new")
            self.assertEqual(reader.read(), b"old")

    def test_synced_before_renamed(self) -> None:
        """The content reaches the disk before the name points to it."""
        calls = []
        fsync, replace = os.fsync, os.replace

        def recording_fsync(descriptor: int) -> None:
            calls.append("fsync")
            fsync(descriptor)

        def recording_replace(old: Path, new: Path) -> None:
            calls.append("replace")
            replace(old, new)

        self.patch(os, "fsync", recording_fsync)
        self.patch(os, "replace", recording_replace)
        write_atomically(self.path, b"new")
        self.assertEqual(calls, ["fsync", "replace"])

    def test_failure_leaves_the_old_content(self) -> None:
        """When the disk fails, the old content stays and no temporary file is left."""

        def broken(*arguments: object) -> None:
            raise OSError("no space left on device")

        for name in ("fsync", "replace"):
            self.patch(os, name, broken)
            self.assertRaises(OSError, write_atomically, self.path, b"new")
            self.assertEqual(self.path.read_bytes(), b"old")
            self.assertEqual(os.listdir(self.directory), ["file"])

    def test_missing_directory(self) -> None:
        """A directory that is missing is an L{OSError}."""
        self.assertRaises(OSError, write_atomically, self.directory / "none" / "file", b"new")


_KILLED = """
import os, pathlib, signal, sys
from remotedocker.state import write_atomically
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(pathlib.Path(sys.argv[1]), b"new")
"""
"""A process that is killed while it writes."""


class LeftoverTests(SynchronousTestCase):
    """L{remove_leftovers}."""

    def setUp(self) -> None:
        """A directory with what a killed process has left, and other files."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "file"
        self.path.write_bytes(b"old")
        (self.directory / ".hidden").touch()
        (self.directory / "file.0123456789ab").touch()
        (self.directory / ".directory.0123456789ab").mkdir()
        (self.directory / ".link.0123456789ab").symlink_to("file")
        self.others = sorted(os.listdir(self.directory))
        root = Path(state.__file__).parent.parent
        killed = subprocess.run([sys.executable, "-c", _KILLED, self.path.absolute()], cwd=root, check=False)
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        self.assertEqual(len(os.listdir(self.directory)), len(self.others) + 1)

    def test_removed(self) -> None:
        """What a killed process has left is removed, and nothing else."""
        remove_leftovers(self.directory)
        self.assertEqual(sorted(os.listdir(self.directory)), self.others)
        self.assertEqual(self.path.read_bytes(), b"old")

    def test_at_the_start(self) -> None:
        """So it is in the state directory, and in those inside, when they are prepared."""
        StateDirectory(self.directory).prepare()
        self.assertEqual(sorted(os.listdir(self.directory)), sorted([*self.others, "agent-id"]))
        (self.directory / ".file.0123456789ab").touch()
        StateDirectory(self.directory.parent).subdirectory(self.directory.name)
        self.assertNotIn(".file.0123456789ab", os.listdir(self.directory))

    def test_being_written(self) -> None:
        """What is being written is no leftover."""
        fsync = os.fsync

        def between(descriptor: int) -> None:
            remove_leftovers(self.directory)
            fsync(descriptor)

        self.patch(os, "fsync", between)
        write_atomically(self.path, b"new")
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(sorted(os.listdir(self.directory)), self.others)

    def test_taken_for_a_leftover(self) -> None:
        """A file that is removed before it is locked is made again."""
        flock = fcntl.flock
        removed: list[int] = []

        def late(descriptor: int, operation: int) -> None:
            if not removed:
                removed.append(descriptor)
                self.patch(fcntl, "flock", flock)
                remove_leftovers(self.directory)
            flock(descriptor, operation)

        self.patch(fcntl, "flock", late)
        write_atomically(self.path, b"new")
        self.assertEqual(len(removed), 1)
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(sorted(os.listdir(self.directory)), self.others)

    def test_no_locks(self) -> None:
        """Where the file system knows no locks files are written, and none is taken for a leftover."""
        before = sorted(os.listdir(self.directory))

        def unknown(descriptor: int, operation: int) -> None:
            raise OSError("no locks available")

        self.patch(fcntl, "flock", unknown)
        remove_leftovers(self.directory)
        write_atomically(self.path, b"new")
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(sorted(os.listdir(self.directory)), before)


class StateDirectoryTests(SynchronousTestCase):
    """L{StateDirectory}."""

    def setUp(self) -> None:
        """A directory that is not there yet, nor its parent."""
        self.path = Path(self.mktemp()) / "state"
        self.state = StateDirectory(self.path)

    def test_prepare(self) -> None:
        """The directory is made, for its owner only, and an id is drawn."""
        drawn = self.state.prepare()
        self.assertEqual(permissions(self.path), 0o700)
        self.assertRegex(drawn, "^[0-9a-f]{16}$")
        self.assertEqual(permissions(self.path / "agent-id"), 0o600)

    def test_the_id_is_kept(self) -> None:
        """A later start has the same id, whatever the object."""
        drawn = self.state.prepare()
        self.assertEqual(self.state.prepare(), drawn)
        self.assertEqual(StateDirectory(self.path).prepare(), drawn)

    def test_ids_differ(self) -> None:
        """Two directories have two ids."""
        other = StateDirectory(Path(self.mktemp()))
        self.assertNotEqual(self.state.prepare(), other.prepare())

    def test_empty_id(self) -> None:
        """An empty file, as a crash of another program may leave it, is as none."""
        self.path.mkdir(parents=True)
        (self.path / "agent-id").write_text("\n")
        self.assertRegex(self.state.prepare(), "^[0-9a-f]{16}$")

    def test_open_directory_is_closed(self) -> None:
        """A directory that others could read is made private."""
        self.path.mkdir(parents=True)
        self.path.chmod(0o755)
        self.state.prepare()
        self.assertEqual(permissions(self.path), 0o700)

    def test_subdirectory(self) -> None:
        """A subdirectory is made, for its owner only, and found again."""
        made = self.state.subdirectory("ports")
        self.assertEqual(made, self.path / "ports")
        self.assertEqual(permissions(made), 0o700)
        self.assertEqual(self.state.subdirectory("ports"), made)

    def test_unusable(self) -> None:
        """A file in the directory's place is an L{OSError}."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("")
        self.assertRaises(OSError, self.state.prepare)
