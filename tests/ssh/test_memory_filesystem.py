"""The file system in memory, held to the contract of the real one."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotedocker.errors import RemotePermissionDenied, SSHError
from remotedocker.interfaces import FileAttributes
from tests.contracts.filesystem import FilesystemContract
from tests.fakes.filesystem import MemoryFilesystem


class MemoryFilesystemContractTests(FilesystemContract, TestCase):
    """The contract."""

    def setUp(self) -> None:
        """An empty directory."""
        self.filesystem = MemoryFilesystem()
        self.base = b"/srv/base"
        self.filesystem.make_tree(self.base)


class MemoryFilesystemTests(TestCase):
    """What it can do for tests."""

    def setUp(self) -> None:
        """A file in the home."""
        self.files = MemoryFilesystem()
        self.files.put(b"/root/file", b"content")

    def test_log_and_tree(self) -> None:
        """What was done is written down, and a tree is shown at one glance."""
        self.successResultOf(self.files.make_directory(b"/root/directory", 0o755))
        self.successResultOf(self.files.symlink(b"../file", b"/root/directory/link"))
        self.assertEqual(
            self.files.log, [("make_directory", b"/root/directory"), ("symlink", b"/root/directory/link")]
        )
        self.assertEqual(
            self.files.tree(b"/root"),
            {b"directory": None, b"directory/link": b"-> ../file", b"file": b"content"},
        )
        self.assertEqual(self.files.content(b"/root/directory/link"), b"content")

    def test_held(self) -> None:
        """Held operations are done when they are released, in their order."""
        self.files.held = []
        writing = self.files.write_file(b"/root/file", [b"new"], FileAttributes())
        looking = self.files.lstat(b"/root/file")
        self.assertNoResult(writing)
        self.files.release(1)
        self.assertEqual(self.successResultOf(writing), 3)
        self.assertNoResult(looking)
        self.files.release()
        self.assertEqual(self.successResultOf(looking).size, 3)

    def test_failures(self) -> None:
        """A chosen operation ends with a chosen error."""
        error = RemotePermissionDenied(operation="removing", path="/root/file", destination="memory")
        self.files.failures["remove", b"/root/file"] = error
        self.assertIs(self.failureResultOf(self.files.remove(b"/root/file")).value, error)

    def test_lost(self) -> None:
        """Once the login is lost, everything fails with that, what is held too."""
        self.files.held = []
        held = self.files.lstat(b"/root/file")
        self.files.lost = SSHError(destination="memory", reason="cut")
        self.files.release()
        self.assertIs(self.failureResultOf(held).value, self.files.lost)
        self.assertIs(self.failureResultOf(self.files.lstat(b"/root/file")).value, self.files.lost)
