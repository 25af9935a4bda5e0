# -*- test-case-name: tests.ssh.test_prompt -*-
"""
Asking the user: on the terminal, or by the program that C{SSH_ASKPASS} names, as ssh(1) chooses between them.

The reactor goes on while the user types. Passwords and passphrases with which a login succeeded are
remembered as long as this process runs, so that a login that is made again does not ask again. What may be
good only once is not: other questions of the server's, and what once was refused when it was given again.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import harmless
from remotedocker.ssh._program import run_program
from remotedocker.ssh._userauth import Answers

__all__ = ["Prompter"]

_TERMINAL = "/dev/tty"
_LONGEST_LINE = 1024


class Prompter:
    """
    Asks one question at a time.
    """

    _log = Logger()

    def __init__(self, reactor: Any, environ: Mapping[str, str], terminal: str = _TERMINAL) -> None:
        """
        @param terminal: the path of the controlling terminal.
        """
        self._reactor = reactor
        self._environ = dict(environ)
        self._terminal = terminal
        self._lock = DeferredLock()
        self._remembered: dict[str, str] = {}
        self._fleeting: set[str] = set()

    @property
    def able(self) -> bool:
        """Whether there is any way to ask."""
        return self._askpass() is not None or self._open_terminal(check_only=True) is not None

    def answers(self, batch_mode: bool = False, tries: int = 3) -> Answers:
        """
        @param batch_mode: nobody shall be asked.
        @param tries: see L{Answers}.
        @return: for one login: what is remembered is used once in it, for if it is asked again it was wrong.
        """
        if batch_mode or not tries or not self.able:
            return Answers()
        typed_now: dict[str, str] = {}
        given_again: set[str] = set()

        def forget(prompts: set[str]) -> None:
            self._fleeting |= prompts
            for prompt in prompts:
                self._remembered.pop(prompt, None)

        async def secret(prompt: str, visible: bool, lasting: bool) -> str | None:
            await self._lock.acquire()
            try:
                if prompt in given_again:
                    forget({prompt})
                elif lasting and prompt in self._remembered and prompt not in typed_now:
                    given_again.add(prompt)
                    return self._remembered[prompt]
                typed = await self._ask(prompt, visible)
                if typed is not None and lasting and not visible and prompt not in self._fleeting:
                    typed_now[prompt] = typed
                return typed
            finally:
                self._lock.release()

        def judged(good: bool) -> None:
            if good:
                self._remembered.update(typed_now)
            else:
                forget(given_again)

        return Answers(secret, judged, tries)

    def _askpass(self) -> str | None:
        """@return: the program that asks in a window, if there is one, and a display for it."""
        program = self._environ.get("SSH_ASKPASS")
        require = self._environ.get("SSH_ASKPASS_REQUIRE", "")
        display = self._environ.get("DISPLAY") or self._environ.get("WAYLAND_DISPLAY")
        if not program or require == "never" or not (display or require in ("force", "prefer")):
            return None
        return program

    def _open_terminal(self, check_only: bool = False) -> int | None:
        """
        @return: a descriptor of the terminal, or None where there is none; -1 stands for one if only checked.
        """
        if self._environ.get("SSH_ASKPASS_REQUIRE") == "force":
            return None
        try:
            descriptor = os.open(self._terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        background = _in_background(descriptor)
        if check_only or background:
            os.close(descriptor)
        if background:
            return None
        return -1 if check_only else descriptor

    async def _ask(self, prompt: str, visible: bool) -> str | None:
        """@return: what was typed; None when the user would not."""
        program = self._askpass()
        if program is not None and self._environ.get("SSH_ASKPASS_REQUIRE") in ("force", "prefer"):
            return await self._ask_by_program(program, prompt)
        descriptor = self._open_terminal()
        if descriptor is not None:
            try:
                return await _TerminalQuestion(self._reactor, descriptor, prompt, visible).answer
            except (OSError, termios.error) as error:
                self._log.warn("The terminal cannot be used: {error}", error=str(error))
                return None
            finally:
                os.close(descriptor)
        return None if program is None else await self._ask_by_program(program, prompt)

    async def _ask_by_program(self, program: str, prompt: str) -> str | None:
        """@return: the line that the program prints; None when it fails, which is how the user says no."""
        try:
            running = run_program(self._reactor, [program, prompt], self._environ, _LONGEST_LINE)
        except OSError as error:
            self._log.warn("SSH_ASKPASS {program} cannot be run: {error}", program=program, error=str(error))
            return None
        ended = await running
        line = ended.stdout.decode("utf-8", "replace").split("\n")[0].rstrip("\r")
        return line if ended.status == 0 else None


def _in_background(terminal: int) -> bool:
    """@return: whether using the terminal would stop this process, for another job has it now."""
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:
        return False


@implementer(IReadDescriptor)
class _TerminalQuestion:
    """
    A question on the terminal, and the line that is typed.

    @ivar answer: fires with the line; with None at the end of the file.
    """

    def __init__(self, reactor: Any, descriptor: int, prompt: str, visible: bool) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._typed = b""
        self._before: list[Any] | None = None
        self._visible = visible
        self.answer: Deferred[str | None] = Deferred(lambda _: self._restore())
        if not visible:
            self._before = termios.tcgetattr(descriptor)
            silent = termios.tcgetattr(descriptor)
            silent[3] &= ~termios.ECHO
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        try:
            os.write(descriptor, harmless(prompt).encode())
        except OSError:
            self._restore()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """What the reactor waits on."""
        return self._descriptor

    def logPrefix(self) -> str:
        """For logs."""
        return "terminal"

    def doRead(self) -> None:
        """Something was typed."""
        try:
            data = os.read(self._descriptor, _LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        before, end, _ = data.partition(b"\n")
        self._typed = (self._typed + before)[:_LONGEST_LINE]
        if end or not data:
            self._restore()
            line = self._typed.rstrip(b"\r")
            self.answer.callback(line.decode("utf-8", "replace") if end else None)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""
        self._restore()
        if not self.answer.called:
            self.answer.callback(None)

    def _restore(self) -> None:
        """Leaves the terminal as it was."""
        self._reactor.removeReader(self)
        if self._before is not None:
            before, self._before = self._before, None
            # A terminal that is gone needs neither, and whoever waits for the answer must still get it.
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
                os.write(self._descriptor, b"\n")
