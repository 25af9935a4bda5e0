"""What the remote is like, asked of real shells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._facts import STORE_NAME, Facts, read_facts, setup
from tests.sync.local_remote import busybox_tools


class FactsTests(SynchronousTestCase):
    """L{setup} and L{read_facts}."""

    def setUp(self) -> None:
        """A directory in which nothing is."""
        self.top = Path(self.mktemp()).absolute()
        self.top.mkdir()

    def ask(self, root: str, tools: Path | None = None) -> Facts | None:
        """@return: what a shell with C{tools} says."""
        path = os.environ["PATH"] if tools is None else str(tools)
        shell = "/bin/sh" if tools is None else str(tools / "sh")
        script = setup(os.fsencode(root), b"agent")
        environment = {"PATH": path, "HOME": str(self.top)}
        done = subprocess.run([shell], input=script, env=environment, capture_output=True, timeout=60)
        return read_facts(done.stdout)

    def test_full_tools(self) -> None:
        """The directories are made, where C{cd} leads from the home; the tools are those of this machine."""
        facts = self.ask("a/b")
        assert facts is not None
        self.assertEqual(facts.base, os.fsencode(self.top / "a" / "b" / "agent"))
        self.assertEqual(facts.stage, os.fsencode(self.top / "a" / "b" / ".stage-agent"))
        for directory in (facts.base, facts.stage):
            self.assertTrue(os.path.isdir(directory))
        self.assertEqual(facts.superuser, os.getuid() == 0)
        self.assertEqual((facts.coarse, facts.lists, facts.guards, facts.gnu_tar), (False, True, True, True))

    def test_small_tools(self) -> None:
        """Of busybox's tools it is known what they cannot do."""
        facts = self.ask("a", busybox_tools(self.top))
        assert facts is not None
        self.assertEqual((facts.lists, facts.gnu_tar), (False, False))

    def test_store(self) -> None:
        """The directory keeps the name that it was given first; another directory has another one."""
        first, again, other = self.ask("a"), self.ask("a"), self.ask("b")
        assert first is not None and again is not None and other is not None
        self.assertEqual(first.store, again.store)
        self.assertNotEqual(first.store, other.store)
        self.assertEqual((self.top / "a" / "agent" / os.fsdecode(STORE_NAME)).read_bytes(), first.store)

    def test_in_the_way(self) -> None:
        """Where no directory can be made, nothing is known."""
        (self.top / "file").write_text("x")
        self.assertIsNone(self.ask("file/a"))
