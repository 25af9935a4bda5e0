"""Commands that are fed, with the real shells of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.trial.unittest import TestCase

from remotedocker.errors import SSHUnavailable
from remotedocker.sync._commands import READER, Commands
from remotedocker.sync._shell import CommandStream, StreamLost
from remotedocker.sync._shellwords import quote
from tests.support.waiting import wait_until
from tests.sync.local_remote import LocalRemote, busybox_tools


class CommandsTests(TestCase):
    """L{Commands}, where C{sh} is this machine's."""

    timeout = 60

    def setUp(self) -> None:
        """A remote that lets commands be started ahead."""
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.remote = self.make_remote()
        self.remote.room = True
        self.commands = Commands(self.remote)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.commands.close()))

    def make_remote(self) -> LocalRemote:
        """@return: the remote."""
        return LocalRemote(reactor, self.home)

    async def run_command(self, command: bytes, content: bytes = b"") -> bytes:
        """@return: what a command printed that was given C{content}."""
        output: list[bytes] = []
        stream = await self.commands.open(command, output.append)
        await self.feed(stream, content)
        return b"".join(output)

    async def feed(self, stream: CommandStream, content: bytes) -> None:
        """Returns when the command has ended well."""
        assert stream.transport is not None
        stream.transport.write(content)
        stream.finish()
        await stream.ended

    async def started(self, count: int) -> None:
        """Returns when so many commands were started, in all."""
        await wait_until(reactor, lambda: len(self.remote.commands) == count)

    async def test_input(self) -> None:
        """The command gets all that follows its line, and nothing of the line."""
        content = bytes(range(256)) * 1000
        self.assertEqual(await self.run_command(b"exec cat", content), content)
        self.assertEqual(await self.run_command(b"exec cat", b"\n" * 5), b"\n" * 5)

    async def test_any_word(self) -> None:
        """A quoted word may have any byte, newlines, backslashes and spaces at its ends too."""
        word = bytes(range(1, 256)) + b"\n'\n \\n"
        self.assertEqual(await self.run_command(b"printf %s " + quote(word)), word)
        os.mkdir(os.fsencode(self.home) + b"/a\nb")
        printed = await self.run_command(b"cd -- %s && pwd" % quote(os.fsencode(self.home) + b"/a\nb"))
        self.assertEqual(printed, os.fsencode(self.home) + b"/a\nb\n")

    async def test_status(self) -> None:
        """How the command ends is how the stream ends."""
        stream = await self.commands.open(b"cat; exit 3", len)
        stream.finish()
        await self.assertFailure(stream.ended, ProcessTerminated)

    async def test_ahead(self) -> None:
        """What was started ahead is taken, and when it is gone, the next one is started."""
        self.commands.prepare()
        self.commands.prepare()
        self.assertEqual(self.remote.commands, [READER])
        stream = await self.commands.open(b"exec cat", len)
        self.assertEqual(self.remote.commands, [READER])
        await self.feed(stream, b"x")
        await self.started(2)
        self.assertEqual(await self.run_command(b"echo x"), b"x\n")
        await self.started(3)

    async def test_several(self) -> None:
        """Who comes while the one started ahead is used gets one of its own."""
        self.commands.prepare()
        first = await self.commands.open(b"exec cat", len)
        self.assertEqual(await self.run_command(b"echo second"), b"second\n")
        await self.feed(first, b"")

    async def test_no_room(self) -> None:
        """Where nothing can be started ahead, commands are started when they are needed."""
        self.remote.room = False
        self.commands.prepare()
        self.assertEqual(self.remote.commands, [])
        self.assertEqual(await self.run_command(b"echo x"), b"x\n")
        self.assertEqual(self.remote.commands, [READER])

    async def test_died_ahead(self) -> None:
        """One that died before it was needed is replaced when it is."""
        self.commands.prepare()
        (process,) = self.remote.processes
        process.process.kill()
        await wait_until(reactor, lambda: not self.remote.processes)
        self.assertEqual(await self.run_command(b"echo x"), b"x\n")

    async def test_login_lost(self) -> None:
        """Nothing is started ahead while there is no login; who needs one is told so."""
        self.commands.prepare()
        self.remote.lose()
        await wait_until(reactor, lambda: not self.remote.processes)
        self.commands.prepare()
        self.assertEqual(len(self.remote.commands), 1)
        await self.assertFailure(self.run_in_background(), SSHUnavailable)
        self.remote.restore()
        self.assertEqual(await self.run_command(b"echo x"), b"x\n")

    def run_in_background(self) -> Deferred[bytes]:
        """@return: fires with what a command printed."""
        return Deferred.fromCoroutine(self.run_command(b"echo x"))

    async def test_close(self) -> None:
        """In the end nothing runs, neither what was begun nor what was started ahead; nothing can begin."""
        self.commands.prepare()
        stream = await self.commands.open(b"exec cat", len)
        self.commands.prepare()
        await self.commands.close()
        self.assertIsNotNone(stream.reason)
        self.assertEqual(self.remote.processes, [])
        await self.assertFailure(self.run_in_background(), StreamLost)


class BusyboxTests(CommandsTests):
    """The same where C{sh} is busybox's."""

    def make_remote(self) -> LocalRemote:
        """See L{CommandsTests.make_remote}."""
        return LocalRemote(reactor, self.home, busybox_tools(self.home))
