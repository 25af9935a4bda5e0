"""Local programs that are run for what they print."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from remotedocker.ssh._program import ProgramEnd, run_program
from tests.support import wait_until


class ProgramTests(TestCase):
    """L{run_program}."""

    def run_shell(self, script: str, limit: int = 100) -> Deferred[ProgramEnd]:
        """@return: fires with how a script of the shell ended."""
        return run_program(reactor, ["/bin/sh", "-c", script], {"WORD": "word"}, limit)

    async def test_ends(self) -> None:
        """What it prints and how it ends is told; it has the environment, and nothing to read."""
        ended = await self.run_shell("cat; echo $WORD; echo trouble >&2; exit 3")
        self.assertEqual(ended, ProgramEnd(3, b"word\n", b"trouble\n"))
        self.assertEqual((await self.run_shell("kill -9 $$")).status, None)

    async def test_limits(self) -> None:
        """Of much output the beginning is kept, of many complaints the end."""
        ended = await self.run_shell("seq 100000; seq 100000 >&2")
        self.assertEqual((ended.status, len(ended.stdout), ended.stdout[:4]), (0, 100, b"1\n2\n"))
        self.assertTrue(ended.stderr.endswith(b"\n100000\n"))
        self.assertLess(len(ended.stderr), 5000)

    async def test_cancelled(self) -> None:
        """One that is given up is killed."""
        pid = Path(self.mktemp())
        running = self.run_shell(f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000")
        await wait_until(reactor, pid.exists)
        running.cancel()
        await self.assertFailure(running, CancelledError)
        await wait_until(reactor, lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
