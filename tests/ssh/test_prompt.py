"""Questions on a terminal, and by a program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotedocker.ssh._prompt import Prompter
from remotedocker.ssh._userauth import Answers
from tests.support import wait_until


class _PromptTestCase(TestCase):
    """What the tests here share."""

    def make_prompter(self, terminal: str = "/no/such/terminal", **environ: str) -> Prompter:
        """@return: a prompter with that environment."""
        from twisted.internet import reactor

        return Prompter(reactor, {"PATH": os.environ.get("PATH", os.defpath), **environ}, terminal)

    def ask(self, prompter: Prompter, prompt: str, visible: bool = False) -> Deferred[str | None]:
        """@return: fires with the answer."""
        answers = prompter.answers()
        assert answers.secret is not None
        answering = self.given(answers.secret(prompt, visible, True))
        return answering.addCallback(lambda answer: (answers.judged(True), answer)[1])

    def given(self, answer: Awaitable[str | None]) -> Deferred[str | None]:
        """@return: C{answer}, which then can be waited for together with other things."""

        async def wait() -> str | None:
            return await answer

        return Deferred.fromCoroutine(wait())

    async def until(self, condition: Any) -> None:
        """Waits."""
        from twisted.internet import reactor

        await wait_until(reactor, condition)


class TerminalTests(_PromptTestCase):
    """A terminal, its other end in the test's hands."""

    def setUp(self) -> None:
        """Opens one."""
        self.ours, self.theirs = os.openpty()
        os.set_blocking(self.ours, False)
        self.addCleanup(os.close, self.ours)
        self.addCleanup(os.close, self.theirs)
        self.prompter = self.make_prompter(os.ttyname(self.theirs))
        self.shown = b""

    def echoes(self) -> bool:
        """@return: whether what is typed is shown."""
        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def sees(self, words: bytes) -> bool:
        """@return: whether the terminal shows these words by now."""
        try:
            self.shown += os.read(self.ours, 65536)
        except BlockingIOError:
            pass
        return words in self.shown

    async def test_hidden(self) -> None:
        """A secret is not shown while it is typed, and the terminal is left as it was."""
        self.assertTrue(self.prompter.able)
        answer = self.ask(self.prompter, "Secret: ")
        await self.until(lambda: self.sees(b"Secret: "))
        self.assertFalse(self.echoes())
        os.write(self.ours, b"open sesame\n")
        self.assertEqual(await answer, "open sesame")
        self.assertTrue(self.echoes())
        self.assertFalse(self.sees(b"sesame"))

    async def test_visible(self) -> None:
        """What may be seen is shown."""
        answer = self.ask(self.prompter, "Colour: ", True)
        await self.until(lambda: self.sees(b"Colour: "))
        os.write(self.ours, b"blue\n")
        await self.until(lambda: self.sees(b"blue"))
        self.assertEqual(await answer, "blue")

    async def test_end_of_file(self) -> None:
        """Who types the end of the file does not answer."""
        answer = self.ask(self.prompter, "Secret: ")
        await self.until(lambda: self.sees(b"Secret: "))
        os.write(self.ours, b"\x04")
        self.assertIsNone(await answer)

    async def test_long_line(self) -> None:
        """A line that is too long is cut, and ends the question all the same."""
        answer = self.ask(self.prompter, "Secret: ")
        await self.until(lambda: self.sees(b"Secret: "))
        os.write(self.ours, b"x" * 3000 + b"\n")
        self.assertEqual(await answer, "x" * 1024)

    async def test_cancelled(self) -> None:
        """A question that is given up leaves the terminal as it was; the next one can be asked."""
        answer = self.ask(self.prompter, "Secret: ")
        await self.until(lambda: self.sees(b"Secret: "))
        answer.cancel()
        await self.assertFailure(answer, CancelledError)
        self.assertTrue(self.echoes())
        again = self.ask(self.prompter, "Again: ")
        await self.until(lambda: self.sees(b"Again: "))
        os.write(self.ours, b"yes\n")
        self.assertEqual(await again, "yes")

    async def test_one_at_a_time(self) -> None:
        """A second question waits for the first one's answer."""
        first = self.ask(self.prompter, "First: ")
        second = self.ask(self.prompter, "Second: ")
        await self.until(lambda: self.sees(b"First: "))
        self.assertFalse(self.sees(b"Second: "))
        os.write(self.ours, b"1\n")
        self.assertEqual(await first, "1")
        await self.until(lambda: self.sees(b"Second: "))
        os.write(self.ours, b"2\n")
        self.assertEqual(await second, "2")

    async def test_remembered(self) -> None:
        """A password that was good is asked for once, and again only when it is not good any more."""
        answer = self.ask(self.prompter, "me@host's password: ")
        await self.until(lambda: self.sees(b"password: "))
        os.write(self.ours, b"right\n")
        self.assertEqual(await answer, "right")
        answers = self.prompter.answers()
        assert answers.secret is not None
        self.assertEqual(await answers.secret("me@host's password: ", False, True), "right")
        await self.types(answers, "me@host's password: ", "other")
        answers.judged(True)
        # What did not do a second time may be a code that is good only once: it is never given again.
        await self.types(self.prompter.answers(), "me@host's password: ", "third")

    async def types(self, answers: Answers, prompt: str, answer: str, lasting: bool = True) -> None:
        """Expects that the user is asked."""
        self.shown = b""
        assert answers.secret is not None
        typed = self.given(answers.secret(prompt, False, lasting))
        await self.until(lambda: self.sees(prompt.encode()))
        os.write(self.ours, answer.encode() + b"\n")
        self.assertEqual(await typed, answer)

    async def test_remembered_when_good(self) -> None:
        """An answer with which no login succeeded is not remembered, nor one that is good only once."""
        answers = self.prompter.answers()
        await self.types(answers, "Password: ", "wrong")
        answers.judged(False)
        await self.types(self.prompter.answers(), "Password: ", "lost on the way")
        answers = self.prompter.answers()
        await self.types(answers, "One-time password: ", "123456", lasting=False)
        answers.judged(True)
        await self.types(self.prompter.answers(), "One-time password: ", "654321", lasting=False)

    async def test_refused_later(self) -> None:
        """A remembered password with which the server ends the login is not tried again and again."""
        first = self.prompter.answers()
        await self.types(first, "Password: ", "old")
        first.judged(True)
        second = self.prompter.answers()
        assert second.secret is not None
        self.assertEqual(await second.secret("Password: ", False, True), "old")
        second.judged(False)
        await self.types(self.prompter.answers(), "Password: ", "new")

    async def test_gone_terminal(self) -> None:
        """When the prompt cannot be written nobody is asked, and typing is shown as before."""

        def fail(*arguments: Any) -> int:
            raise OSError(5, "Input/output error")

        self.patch(os, "write", fail)
        self.assertIsNone(await self.ask(self.prompter, "Password: "))
        self.assertTrue(self.echoes())

    async def test_commands_to_the_terminal(self) -> None:
        """A server's prompt cannot command the terminal."""
        answer = self.ask(self.prompter, "\x1b]0;title\x07Code\x9b2J: ")
        await self.until(lambda: self.sees(b"2J: "))
        self.assertIn(b"?]0;title?Code?2J: ", self.shown)
        os.write(self.ours, b"1\n")
        self.assertEqual(await answer, "1")


class ProgramTests(_PromptTestCase):
    """C{SSH_ASKPASS}."""

    def program(self, script: str) -> str:
        """@return: the path of a program."""
        directory = Path(tempfile.mkdtemp(prefix="remotedocker-test-"))
        self.addCleanup(shutil.rmtree, directory)
        path = directory / "askpass"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return str(path)

    async def test_answers(self) -> None:
        """It is given the prompt, and the first line that it prints is the answer."""
        program = self.program('echo "to $1"; echo more')
        prompter = self.make_prompter(SSH_ASKPASS=program, DISPLAY=":0")
        self.assertTrue(prompter.able)
        self.assertEqual(await self.ask(prompter, "A question"), "to A question")

    async def test_refuses(self) -> None:
        """Its failure is the user's refusal; so is a program that is not there."""
        for program in (self.program("echo no; exit 1"), "/no/such/program"):
            prompter = self.make_prompter(SSH_ASKPASS=program, SSH_ASKPASS_REQUIRE="force")
            self.assertIsNone(await self.ask(prompter, "A question"))

    async def test_cancelled(self) -> None:
        """A question that is given up ends it."""
        prompter = self.make_prompter(SSH_ASKPASS=self.program("exec sleep 1000"), DISPLAY=":0")
        answer = self.ask(prompter, "A question")
        answer.cancel()
        await self.assertFailure(answer, CancelledError)
        from twisted.internet import reactor

        await self.until(lambda: not [r for r in reactor.getReaders() if "ProcessReader" in repr(r)])

    def test_nobody_to_ask(self) -> None:
        """Without a terminal, and a program that may be used, nothing is asked."""
        for environ in (
            {},
            {"SSH_ASKPASS": "/bin/true"},
            {"SSH_ASKPASS": "/bin/true", "DISPLAY": ":0", "SSH_ASKPASS_REQUIRE": "never"},
        ):
            prompter = self.make_prompter(**environ)
            self.assertFalse(prompter.able)
            self.assertIsNone(prompter.answers().secret)

    def test_batch_mode(self) -> None:
        """Who wants not to be asked is not."""
        prompter = self.make_prompter(SSH_ASKPASS="/bin/true", SSH_ASKPASS_REQUIRE="force")
        self.assertIsNone(prompter.answers(batch_mode=True).secret)
        self.assertIsNone(prompter.answers(tries=0).secret)
        self.assertEqual(prompter.answers(tries=2).tries, 2)


_JOBS = """
import os, pty, sys
from remotedocker.ssh._prompt import Prompter
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
child, terminal = pty.fork()
if child:
    os.waitpid(child, 0)
else:
    os.write(log, b"foreground: %a\\n" % Prompter(None, {}).able)
    job = os.fork()
    if job:
        os.waitpid(job, 0)
    else:
        os.setpgid(0, 0)
        os.write(log, b"background: %a\\n" % Prompter(None, {}).able)
    os._exit(0)
"""


class JobTests(SynchronousTestCase):
    """Foreground and background."""

    def test_background(self) -> None:
        """A process in the background leaves the terminal alone, which would stop it, and asks nobody."""
        log = Path(self.mktemp())
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", _JOBS, str(log)], check=True, env=environ)
        self.assertEqual(log.read_text(), "foreground: True\nbackground: False\n")
