"""Commands whose standard streams lead to an SSH server: what flows, how they end, and the one for jumps."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.ssh import SSHConfiguration
from remotedocker.ssh._proxycommand import CommandLineEndpoint, jump_command
from remotedocker.ssh._sshconfig import ResolvedHost
from tests.support import FullCloseRecorder, wait_until


@implementer(IPushProducer)
class _Producer:
    """Records what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        """Recorded."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Recorded."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Recorded."""
        self.told.append("stop")


class CommandTests(TestCase):
    """L{CommandLineEndpoint}, with real commands."""

    def setUp(self) -> None:
        """A directory for what they need."""
        self.directory = Path(tempfile.mkdtemp(prefix="remotedocker-test-"))
        self.addCleanup(shutil.rmtree, self.directory)

    async def start(self, command: str, **environ: str) -> FullCloseRecorder:
        """@return: a protocol that talks with a command."""
        from twisted.internet import reactor

        endpoint = CommandLineEndpoint(
            reactor, command, {"PATH": os.environ.get("PATH", os.defpath), **environ}
        )
        verifyObject(IStreamClientEndpoint, endpoint)
        recorder: FullCloseRecorder = await endpoint.connect(Factory.forProtocol(FullCloseRecorder))
        self.addCleanup(self.end, recorder)
        return recorder

    async def end(self, recorder: FullCloseRecorder) -> None:
        """Ends the command, if it still runs."""
        if recorder.reason is None:
            recorder.transport.abortConnection()
            await self.ended(recorder)

    async def until(self, condition: Any) -> None:
        """Waits."""
        from twisted.internet import reactor

        await wait_until(reactor, condition, timeout=30.0)

    async def ended(self, recorder: FullCloseRecorder) -> BaseException:
        """@return: why the connection was lost."""
        await self.until(lambda: recorder.reason is not None)
        assert recorder.reason is not None and recorder.reason.value is not None
        return recorder.reason.value

    async def test_both_ways(self) -> None:
        """What is written the command reads, and what it prints is received."""
        recorder = await self.start("cat")
        verifyObject(ITransport, recorder.transport)
        verifyObject(IConsumer, recorder.transport)
        verifyObject(IPushProducer, recorder.transport)
        recorder.transport.write(b"one ")
        recorder.transport.writeSequence([b"two ", b"three"])
        await self.until(lambda: recorder.received == b"one two three")
        self.assertIn("cat", repr(recorder.transport.getPeer()))
        self.assertEqual(recorder.transport.getHost(), recorder.transport.getPeer())

    async def test_shell(self) -> None:
        """The user's shell runs it, with the environment that was given."""
        recorder = await self.start('printf \'%s|%s\' "$WORD" "$0" && cat', WORD="a b", SHELL="/bin/sh")
        await self.until(lambda: recorder.received == b"a b|/bin/sh")

    async def test_missing_shell(self) -> None:
        """A shell that is not there is a connection that is lost, not one that hangs."""
        try:
            reason = await self.ended(await self.start("cat", SHELL="/no/such/shell"))
        except OSError as error:
            reason = error
        self.assertIsInstance(reason, (OSError, ConnectionLost))

    async def test_last_words(self) -> None:
        """What the command complained of, in one line, is the reason, after all that it printed."""
        recorder = await self.start("sh -c 'echo data; echo no way >&2; echo there >&2; exit 3'")
        reason = await self.ended(recorder)
        self.assertIsInstance(reason, ConnectionLost)
        self.assertIn("ended: no way there", str(reason))
        self.assertEqual(recorder.received, b"data\n")

    async def test_many_words(self) -> None:
        """Of a long complaint the end is kept."""
        recorder = await self.start("sh -c 'seq 1 20000 >&2; echo the end >&2'")
        reason = str(await self.ended(recorder))
        self.assertIn(" 20000 the end", reason)
        self.assertLess(len(reason), 5000)

    async def test_silent_end(self) -> None:
        """A command that ends without a word is named, with how it ended."""
        reason = await self.ended(await self.start("sh -c 'exit 3'"))
        self.assertIn("exit code 3", str(reason))
        self.assertNotIsInstance(reason, ConnectionAborted)

    async def test_lose_connection(self) -> None:
        """In good order the command ends, and writing afterwards does no harm."""
        recorder = await self.start("cat")
        recorder.transport.loseConnection()
        recorder.transport.write(b"late")
        recorder.transport.writeSequence([b"late"])
        recorder.transport.loseConnection()
        self.assertIsInstance(await self.ended(recorder), ConnectionDone)
        self.assertEqual(recorder.received, b"")

    async def test_last_words_to_the_command(self) -> None:
        """What was written before the end is passed on."""
        file = self.directory / "file"
        recorder = await self.start(f"cat >{file}")
        recorder.transport.write(b"x" * 300_000)
        recorder.transport.write(b"goodbye")
        recorder.transport.loseConnection()
        await self.ended(recorder)
        self.assertEqual(file.read_bytes(), b"x" * 300_000 + b"goodbye")

    async def test_words_after_output(self) -> None:
        """A command that says why it ends after it has closed its output is heard."""
        recorder = await self.start("sh -c 'exec >&-; read line; echo too late >&2'")
        recorder.transport.write(b"line\n")
        self.assertIn("too late", str(await self.ended(recorder)))

    async def test_goes_on(self) -> None:
        """One that goes on without its streams is hung up."""
        recorder = await self.start("sleep 1000")
        recorder.transport.loseConnection()
        self.assertIsInstance(await self.ended(recorder), ConnectionDone)

    async def test_nobody_reads(self) -> None:
        """The end of interest ends the command."""
        recorder = await self.start("cat")
        recorder.transport.stopProducing()
        await self.ended(recorder)

    async def test_abort(self) -> None:
        """A command that ignores a hang-up, and waits for something else, is killed."""
        recorder = await self.start(
            "sh -c 'trap \"\" HUP; echo ready; while read line; do :; done; sleep 1000'"
        )
        await self.until(lambda: recorder.received == b"ready\n")
        recorder.transport.loseConnection()
        recorder.transport.abortConnection()
        self.assertIsInstance(await self.ended(recorder), ConnectionAborted)

    async def test_left_behind(self) -> None:
        """One that left somebody behind who holds its streams can be ended all the same."""
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        # Waits, until the fifo is opened, with the standard streams open.
        recorder = await self.start(f"sh -c 'cat <{fifo} & echo ready'")
        self.addCleanup(os.close, os.open(fifo, os.O_RDWR))
        await self.until(lambda: recorder.received == b"ready\n")
        await self.until(lambda: recorder.transport.transport.pid is None)
        recorder.transport.abortConnection()
        self.assertIsInstance(await self.ended(recorder), ConnectionAborted)

    async def test_slow_reader_here(self) -> None:
        """While nothing is read here, the command is not read; it goes on where it stopped."""
        recorder = await self.start("seq 1 200000")
        recorder.transport.pauseProducing()
        count = len(recorder.received)
        marker = self.directory / "marker"
        other = await self.start(f"sh -c 'echo done; touch {marker}'")
        await self.ended(other)
        self.assertEqual(len(recorder.received), count)
        recorder.transport.resumeProducing()
        await self.ended(recorder)
        self.assertEqual(bytes(recorder.received), b"".join(b"%d\n" % n for n in range(1, 200001)))

    async def test_slow_reader_there(self) -> None:
        """While the command does not read, the producer is paused; then everything arrives."""
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        gate = os.open(fifo, os.O_RDWR)
        self.addCleanup(os.close, gate)
        recorder = await self.start(f"sh -c 'read line <{fifo}; cat'")
        producer = _Producer()
        recorder.transport.registerProducer(producer, True)
        data = b"x" * 2_000_000
        recorder.transport.write(data)
        self.assertEqual(producer.told, ["pause"])
        os.write(gate, b"\n")
        await self.until(lambda: producer.told == ["pause", "resume"])
        await self.until(lambda: len(recorder.received) == len(data))
        recorder.transport.unregisterProducer()
        recorder.transport.loseConnection()
        await self.ended(recorder)
        recorder.transport.unregisterProducer()


class JumpTests(SynchronousTestCase):
    """L{jump_command}."""

    def words(self, jump: str, host: str = "inner", **changes: Any) -> list[str]:
        """@return: the command's words for a jump."""
        resolved = ResolvedHost(name="inner", host=host, port=2222, user="somebody", jump=jump)
        return shlex.split(jump_command(resolved, SSHConfiguration("inner", **changes)))

    def test_one(self) -> None:
        """One jump is logged in to, and leads on to the host."""
        words = self.words("outer")
        self.assertEqual(words[0], "ssh")
        self.assertEqual(words[-4:], ["-W", "[inner]:2222", "--", "outer"])
        self.assertNotIn("-J", words)

    def test_several(self) -> None:
        """Of several the last is logged in to, over those before it."""
        words = self.words("first,me@second:23,you@third:24")
        self.assertEqual(words[words.index("-J") + 1], "first,me@second:23")
        self.assertEqual(words[words.index("-l") + 1], "you")
        self.assertEqual(words[words.index("-p") + 1], "24")
        self.assertEqual(words[-1], "third")

    def test_ipv6(self) -> None:
        """Addresses with colons stay apart from ports."""
        words = self.words("ssh://me@[2001:db8::1]:23", "2001:db8::2")
        self.assertEqual(words[-4:], ["-W", "[2001:db8::2]:2222", "--", "2001:db8::1"])
        self.assertEqual(words[words.index("-p") + 1], "23")

    def test_options(self) -> None:
        """Our options are passed on to the jump."""
        words = self.words(
            "outer",
            ssh_config=Path("/a config"),
            identities=(Path("/one"), Path("/two keys")),
            known_hosts=(Path("/hosts"), Path("/more hosts")),
            accept_new_host_key=True,
        )
        self.assertEqual(words[1:7], ["-F", "/a config", "-i", "/one", "-i", "/two keys"])
        self.assertIn('UserKnownHostsFile="/hosts" "/more hosts"', words)
        self.assertIn("StrictHostKeyChecking=accept-new", words)

    def test_nothing_for_the_shell(self) -> None:
        """A name with the shell's signs in it is one word; a jump's with such is refused."""
        words = self.words("outer", "`id`; $(touch x)")
        self.assertEqual(words[-4:], ["-W", "[`id`; $(touch x)]:2222", "--", "outer"])
        for jump in ("$(touch x)", "-oProxyCommand=touch", "a;b"):
            self.assertRaises(ValueError, self.words, jump)

    def test_unreadable(self) -> None:
        """A jump that cannot be read is named."""
        error = self.assertRaises(ValueError, self.words, "first,http://second")
        self.assertIn("http://second", str(error))
