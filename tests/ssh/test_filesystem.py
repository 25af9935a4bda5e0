"""SFTP to a real sshd, held to the contract of every remote file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotedocker.errors import RemoteFileNotFound, RemotePermissionDenied, SSHError
from remotedocker.interfaces import FileAttributes
from remotedocker.ssh._filesystem import RemoteFilesystem
from remotedocker.ssh._sftp import FX, SFTPClient
from remotedocker.ssh._wire import Reader, string, uint32
from tests.contracts.filesystem import FilesystemContract
from tests.ssh.real import RealServerMixin


class SFTPContractTests(RealServerMixin, FilesystemContract, TestCase):
    """The contract, over OpenSSH's sshd."""

    async def setUp(self) -> None:
        """An empty directory, in a login."""
        await self.log_in()
        self.filesystem = await self.remote.filesystem()
        self.base = os.fsencode(self.mktemp_directory())


class SFTPTests(RealServerMixin, TestCase):
    """What is special to SFTP."""

    async def test_shared(self) -> None:
        """All callers get the same session, those at the same time too."""
        await self.log_in()
        files = await gatherResults([self.remote.filesystem() for _ in range(5)])
        self.assertEqual(len(set(map(id, files))), 1)
        self.assertIs(await self.remote.filesystem(), files[0])

    async def test_lost(self) -> None:
        """
        When the login is lost, what is being done fails with an error of SSH's, and the next session works.
        """
        await self.log_in()
        files: Any = await self.remote.filesystem()
        await files.real_path(b".")
        path = os.fsencode(Path(self.mktemp_directory()) / "file")
        writing = files.write_file(path, iter(lambda: b"x" * 100_000, None), FileAttributes())
        self.server.cut()
        await self.assertFailure(writing, SSHError)
        await self.assertFailure(files.lstat(path), SSHError)
        again = await self.remote.filesystem()
        self.assertIsNot(again, files)
        self.assertTrue((await again.real_path(b".")).startswith(b"/"))

    async def test_large_file(self) -> None:
        """A file of many windows goes there and back whole."""
        await self.log_in()
        files = await self.remote.filesystem()
        path = os.fsencode(Path(self.mktemp_directory()) / "file")
        piece = os.urandom(1 << 20)
        written = await files.write_file(path, (piece for _ in range(24)), FileAttributes())
        self.assertEqual(written, 24 << 20)
        size = 0
        wrong = 0

        def consume(data: bytes) -> None:
            nonlocal size, wrong
            start = size % len(piece)
            expected = (piece + piece)[start : start + len(data)]
            wrong += data != expected
            size += len(data)

        self.assertEqual(await files.read_file(path, consume), written)
        self.assertEqual((size, wrong), (written, 0))

    async def test_words(self) -> None:
        """An error names the operation, the path and the host."""
        await self.log_in()
        files = await self.remote.filesystem()
        error = await self.assertFailure(files.lstat(b"/no/such/file"), RemoteFileNotFound)
        self.assertIn("looking at /no/such/file on", str(error))
        self.assertIn(self.remote.destination, str(error))

    async def test_no_subsystem(self) -> None:
        """A server without SFTP is told so, with the remedy."""
        self.start_server("Subsystem sftp /nonexistent/sftp-server")
        await self.log_in()
        error = await self.assertFailure(self.remote.filesystem(), SSHError)
        self.assertIn("Subsystem sftp", str(error))


class StrangeAnswerTests(SynchronousTestCase):
    """Servers whose answers make no sense."""

    def test_answers(self) -> None:
        """An answer that is cut, or names nothing, is the server's error and not an accident."""
        client = SFTPClient()
        files = RemoteFilesystem(client, "host")
        for answer, ask in (
            (b"\0\0\0\1", files.lstat),
            (uint32(0), files.real_path),
            (uint32(2) + 2 * (string(b"a") + string(b"") + uint32(0)), files.read_link),
            (uint32(1 << 31), files.read_link),
        ):
            client.request = lambda *_, answer=answer: succeed((FX.NAME, Reader(answer)))  # type: ignore[method-assign]
            error = self.failureResultOf(ask(b"/path"), SSHError).value
            self.assertIn("an answer of its SFTP makes no sense", str(error))


class PermissionTests(RealServerMixin, TestCase):
    """What an SSH user may not do."""

    async def test_denied(self) -> None:
        """A place that may not be written is told apart from one that is not there."""
        await self.log_in()
        files = await self.remote.filesystem()
        error = await self.assertFailure(files.make_directory(b"/sys/new", 0o755), RemotePermissionDenied)
        self.assertIn("--sync-root", str(error))
