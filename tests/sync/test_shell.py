"""The shell that stays, and commands that are fed, over transports in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ProcessTerminated
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from remotedocker.sync._shell import CommandStream, Shell, StreamLost
from remotedocker.sync._shellwords import PREAMBLE


class ShellTests(SynchronousTestCase):
    """L{Shell}."""

    def setUp(self) -> None:
        """A shell whose other end is this test."""
        self.transport = StringTransport()
        self.shell = Shell()
        self.shell.makeConnection(self.transport)

    def request(self, script: bytes) -> tuple[Deferred[bytes], bytes]:
        """@return: what is asked, and the mark with which the answer ends."""
        self.transport.clear()
        answer = self.shell.request(script)
        sent = self.transport.value()
        head = script + b"\nprintf '"
        self.assertTrue(sent.startswith(head) and sent.endswith(b"'\n"), sent)
        return answer, sent[len(head) : -2].replace(b"\\n", b"\n")

    def test_preamble(self) -> None:
        """The shell is told first of all to speak in one way."""
        self.assertEqual(self.transport.value(), PREAMBLE)

    def test_every_split(self) -> None:
        """The answer is what comes before the mark, wherever the bytes are cut."""
        for content in (b"", b"some\nlines", b"\n", b"\0\xff"):
            answer, mark = self.request(b"script")
            whole = content + mark
            for split in range(len(whole)):
                if split:
                    answer, mark = self.request(b"script")
                    whole = content + mark
                self.shell.dataReceived(whole[:split])
                self.assertNoResult(answer)
                self.shell.dataReceived(whole[split:])
                self.assertEqual(self.successResultOf(answer), content)
        answer, mark = self.request(b"script")
        for byte in b"content" + mark:
            self.shell.dataReceived(bytes([byte]))
        self.assertEqual(self.successResultOf(answer), b"content")

    def test_almost_a_mark(self) -> None:
        """What looks like the beginning of the mark, or is an earlier one, is content."""
        first, old = self.request(b"a")
        self.shell.dataReceived(old)
        answer, mark = self.request(b"b")
        self.assertNotEqual(mark, old)
        content = mark[:-2] + mark[:5] + old
        self.shell.dataReceived(content + mark)
        self.assertEqual(self.successResultOf(answer), content)
        self.assertEqual(self.successResultOf(first), b"")

    def test_several_at_once(self) -> None:
        """Requests may be sent before earlier ones were answered; the answers come in order."""
        asked = [self.request(b"script %d" % number) for number in range(3)]
        self.shell.dataReceived(b"".join(b"answer" + mark for _, mark in asked[:2]) + b"ans")
        self.assertEqual([self.successResultOf(answer) for answer, _ in asked[:2]], [b"answer"] * 2)
        self.assertNoResult(asked[2][0])
        self.shell.dataReceived(b"wer" + asked[2][1])
        self.assertEqual(self.successResultOf(asked[2][0]), b"answer")

    def test_taken_as_it_comes(self) -> None:
        """Who asks for it gets an answer piece by piece, and no part of the mark; the next is whole."""
        for split in range(1, 60):
            pieces: list[bytes] = []
            self.transport.clear()
            answer = self.shell.request(b"a", pieces.append)
            sent = self.transport.value()
            mark = sent[sent.index(b"printf '") + 8 : -2].replace(b"\\n", b"\n")
            following, second = self.request(b"b")
            whole = bytes(range(40)) * 3 + mark + b"after" + second
            for start in range(0, len(whole), split):
                self.shell.dataReceived(whole[start : start + split])
            self.assertTrue(pieces)
            pieces.append(self.successResultOf(answer))
            self.assertEqual(b"".join(pieces), bytes(range(40)) * 3)
            self.assertEqual(self.successResultOf(following), b"after")

    def test_marks_differ(self) -> None:
        """Two shells have different marks: what one printed does not end an answer of the other."""
        _, mark = self.request(b"x")
        self.setUp()
        self.assertNotEqual(self.request(b"x")[1], mark)

    def test_lost(self) -> None:
        """All that was not answered fails, with what the shell said last; so does what is asked later."""
        asked = [self.request(b"x")[0] for _ in range(2)]
        self.shell.dataReceived(b"sh: cannot go on\n")
        self.shell.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.shell.alive)
        self.assertIsNone(self.successResultOf(self.shell.lost))
        for answer in (*asked, self.shell.request(b"later")):
            error = self.failureResultOf(answer, StreamLost).value
            self.assertIn("cannot go on" if answer in asked else "has ended", str(error))
        self.shell.close()

    def test_lost_without_a_word(self) -> None:
        """Without a message the reason of the loss is told."""
        answer, _ = self.request(b"x")
        self.shell.connectionLost(Failure(ConnectionLost("the line was cut")))
        self.assertIn("the line was cut", str(self.failureResultOf(answer, StreamLost).value))

    def test_not_connected(self) -> None:
        """A shell that never stood has no answers."""
        self.failureResultOf(Shell().request(b"x"), StreamLost)
        Shell().close()

    def test_close(self) -> None:
        """Closing ends the connection; being answered once more does no harm."""
        self.shell.close()
        self.assertTrue(self.transport.disconnecting)
        self.shell.dataReceived(b"late output")


class HalfTransport(StringTransport):
    """A transport that notes its half-close."""

    finished = False

    def loseWriteConnection(self) -> None:
        """No more is written."""
        self.finished = True


class CommandStreamTests(SynchronousTestCase):
    """L{CommandStream}."""

    def setUp(self) -> None:
        """A command whose other end is this test."""
        self.received: list[bytes] = []
        self.stream = CommandStream()
        self.stream.receive = self.received.append
        self.transport: Any = HalfTransport()
        self.stream.makeConnection(self.transport)

    def test_interface(self) -> None:
        """It is told of the end of the output alone."""
        verifyObject(IHalfCloseableProtocol, self.stream)
        self.stream.readConnectionLost()
        self.stream.writeConnectionLost()
        self.assertNoResult(self.stream.ended)

    def test_output(self) -> None:
        """Output is handed on as it comes."""
        self.stream.dataReceived(b"a")
        self.stream.dataReceived(b"b")
        self.assertEqual(self.received, [b"a", b"b"])

    def test_aborted_when_lost(self) -> None:
        """How one ended that is given up is told to nobody, even if it was lost just before."""
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.stream.abort()
        self.assertIsNone(self.successResultOf(self.stream.ended))

    def test_back_pressure(self) -> None:
        """While the transport is full, nothing may be written."""
        self.transport.producer.pauseProducing()
        ready = Deferred.fromCoroutine(self.stream.gate.ready())
        self.assertNoResult(ready)
        self.transport.producer.resumeProducing()
        self.successResultOf(ready)

    def test_finish(self) -> None:
        """The command is told that there is no more."""
        self.stream.finish()
        self.assertTrue(self.transport.finished)
        self.assertIsNone(self.transport.producer)

    def test_ended_well(self) -> None:
        """C{ended} fires when the command ends; nothing can be written then."""
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.successResultOf(self.stream.ended))
        self.failureResultOf(Deferred.fromCoroutine(self.stream.gate.ready()), StreamLost)

    def test_finished_too_late(self) -> None:
        """A command that has ended already needs not be told that there is no more."""
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.stream.finish()
        self.assertFalse(self.transport.finished)

    def test_ended_badly(self) -> None:
        """A status other than 0 is a failure, and wakes up who waits to write."""
        self.stream.gate.pauseProducing()
        ready = Deferred.fromCoroutine(self.stream.gate.ready())
        self.stream.connectionLost(Failure(ProcessTerminated(1)))
        self.failureResultOf(self.stream.ended, ProcessTerminated)
        self.failureResultOf(ready, StreamLost)
