"""Pushes by one stream and by several, with the real shell and tools of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import RemoteFileError
from remotedocker.sync._commands import READER
from remotedocker.sync._flow import in_thread_of
from remotedocker.sync._operations import HardLink, MakeDirectory, Operation
from remotedocker.sync._remote import RemoteHost
from remotedocker.sync._shell import CommandStream, StreamLost
from remotedocker.sync._tree import entry_of
from remotedocker.sync._upload import streams_beside
from tests.support.waiting import wait_until
from tests.sync.test_remote import DIRECTORY, RemoteTestCase

_MEBIBYTE = 1024 * 1024


class ChoiceTests(SynchronousTestCase):
    """L{streams_beside}."""

    def test_choice(self) -> None:
        """Only much, on a long link, is worth other streams, and then no more than a server grants."""
        for files, size, round_trip, streams in (
            (100, 1000 * _MEBIBYTE, 0.0, 0),
            (100, 1000 * _MEBIBYTE, 0.001, 0),
            (100, _MEBIBYTE, 0.1, 0),
            (100, 10 * _MEBIBYTE, 0.1, 1),
            (100, 1000 * _MEBIBYTE, 0.1, 3),
            (2, 1000 * _MEBIBYTE, 0.1, 1),
            (1, 1000 * _MEBIBYTE, 0.1, 0),
            (0, 0, 0.1, 0),
        ):
            self.assertEqual(streams_beside(files, size, round_trip), streams, (files, size, round_trip))


class SeveralTests(RemoteTestCase):
    """Pushes over a long link."""

    async def setUp(self) -> None:
        """A link that is long, and a remote with room."""
        await super().setUp()
        self.remote.round_trip = 0.05
        self.remote.room = True

    def much(self) -> list[Operation]:
        """@return: 40 MiB of new files in new directories, one of them with a second name."""
        operations: list[Operation] = []
        for directory in range(4):
            operations.append(MakeDirectory(b"d%d" % directory, DIRECTORY))
            operations += [
                self.file(f"d{directory}/f{number}", os.urandom(_MEBIBYTE)) for number in range(10)
            ]
        os.link(self.laptop / "d3/f9", self.laptop / "d0/again")
        entry = entry_of(os.lstat(self.laptop / "d0/again"))
        return [*operations, HardLink(b"d0/again", b"d3/f9", entry)]

    def assert_same(self) -> None:
        """The remote has what the laptop has."""
        for directory, _, names in os.walk(self.laptop):
            inside = os.path.relpath(directory, self.laptop)
            for name in names:
                here = (self.laptop / inside / name).read_bytes()
                self.assertEqual((self.there / inside / name).read_bytes(), here, name)

    async def test_several(self) -> None:
        """Each file goes by one of several streams; links find what they link to; nothing stays behind."""
        operations = self.much()
        pushed = await self.push(operations)
        self.assertEqual((len(pushed.done), pushed.failed, pushed.skipped), (len(operations), [], []))
        self.assert_same()
        self.assertGreaterEqual(self.remote.commands.count(READER), 4)
        links = {os.stat(self.there / name).st_ino for name in ("d3/f9", "d0/again")}
        self.assertEqual(len(links), 1)
        self.assertEqual((self.there / "d1").stat().st_mode & 0o777, 0o755)
        self.assertEqual(os.listdir(self.home / ".remotedocker" / ".stage-a1b2"), [])

    async def test_no_room(self) -> None:
        """Where there is room for one stream only, it carries all."""
        self.remote.room = False
        pushed = await self.push(self.much())
        self.assertEqual((pushed.failed, pushed.skipped), ([], []))
        self.assert_same()

    async def test_unreadable(self) -> None:
        """A file that is gone is left out, whichever stream would have had it, and so is a link to it."""
        operations = self.much()
        gone = {"d0/f3", "d3/f9"}
        for name in gone:
            (self.laptop / name).unlink()
        pushed = await self.push(operations)
        self.assertEqual(
            {operation.path for operation, _ in pushed.skipped}, {b"d0/f3", b"d3/f9", b"d0/again"}
        )
        (self.laptop / "d0/again").unlink()
        self.assert_same()

    async def test_one_fails(self) -> None:
        """If one of the streams cannot do its part, the push fails with its cause; no file has its name."""
        operations = self.much()
        tar = self.home / "bin" / "tar"
        tar.parent.mkdir()
        flag = self.home / "first"
        # The first that comes works, the others do not.
        tar.write_text(
            f'#!/bin/sh\nif mkdir {flag} 2>/dev/null; then exec /bin/tar "$@"; fi\n'
            "echo tar: out of luck; cat > /dev/null; exit 2\n"
        )
        tar.chmod(0o755)
        self.remote.environment["PATH"] = f"{tar.parent}:{self.remote.environment['PATH']}"
        error = await self.assertFailure(
            Deferred.fromCoroutine(self.push(operations)), RemoteFileError, StreamLost
        )
        self.assertIn("out of luck", str(error))
        self.assertEqual(os.listdir(self.there), [])

    async def test_login_lost(self) -> None:
        """When the login is lost, the push ends, and no thread goes on reading."""
        operations = self.much()
        result = Deferred.fromCoroutine(self.push(operations))
        self.remote.lose()
        await self.assertFailure(result, StreamLost)
        self.assertFalse([each for each in os.listdir(self.there) if each.startswith("d")])

    async def test_cancelled(self) -> None:
        """One that is cancelled waits for none of its streams, though the remote says nothing more."""
        fed: list[None] = []
        self.patch(CommandStream, "finish", lambda _: fed.append(None))
        result = Deferred.fromCoroutine(self.push(self.much()))
        await wait_until(reactor, lambda: len(fed) == 3)
        result.cancel()
        self.failureResultOf(result, CancelledError)

    async def test_cancelled_in_threads(self) -> None:
        """One that is cancelled ends when the last of the threads that read for its streams has ended."""
        begun: list[Deferred[None]] = []
        in_thread = in_thread_of(reactor)

        def run(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            if function is not next:
                return in_thread(function, *arguments)
            begun.append(Deferred())
            return begun[-1]

        self.host = RemoteHost(self.remote, ".remotedocker", "a1b2", run)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.host.close()))
        result = Deferred.fromCoroutine(self.push(self.much()))
        await wait_until(reactor, lambda: len(begun) == 4)
        result.cancel()
        for each in reversed(begun):
            self.assertNoResult(result)
            each.callback(None)
        self.failureResultOf(result, CancelledError)
