"""
Tests for L{remotedocker.sync._choices}; what is asked of the remote is in L{tests.sync.test_mirrors}.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import BindMount
from remotedocker.errors import SourceUnusable
from remotedocker.sync._choices import Choice, choose
from remotedocker.sync._configuration import SyncConfiguration
from tests.support.short_paths import short_directory


class ChooseTests(SynchronousTestCase):
    """L{choose}."""

    def setUp(self) -> None:
        """A directory of the laptop."""
        self.top = short_directory(self)

    def chosen(self, source: str, **options: Any) -> Choice:
        """@return: what is chosen for a mount of C{source}."""
        return choose(BindMount(source, "/x"), SyncConfiguration(agent_id="a", **options))

    def test_laptops(self) -> None:
        """Directories and files are the laptop's, by their place without links; missing ones, too."""
        (self.top / "d").mkdir()
        (self.top / "f").write_text("x")
        (self.top / "link").symlink_to("d")
        real = os.path.realpath(os.fsencode(self.top))
        for name, place, is_file, missing in (
            ("d", b"/d", False, False),
            ("f", b"/f", True, False),
            ("link", b"/d", False, False),
            ("d/../f", b"/f", True, False),
            ("gone", b"/gone", False, True),
        ):
            choice = self.chosen(f"{self.top}/{name}")
            self.assertEqual(
                (choice.real, choice.is_file, choice.missing), (real + place, is_file, missing), name
            )

    def test_remotes(self) -> None:
        """Names that mean the remote, even behind a link, and sockets are the remote's own."""
        (self.top / "out").symlink_to("/proc/sys")
        (self.top / "daemon").symlink_to("/var/run/docker.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{self.top}/s")
        for source, meant in (
            ("/proc/cpuinfo", "/proc/cpuinfo"),
            (f"{self.top}/out", "/proc/sys"),
            (f"{self.top}/s", f"{self.top}/s"),
            ("/of/the/agent.sock", "/var/run/docker.sock"),
            ("relative", "relative"),
        ):
            choice = self.chosen(source, own_sockets=("/of/the/agent.sock",))
            self.assertEqual((choice.real, choice.source), (None, meant))
        self.assertIsNone(self.chosen(f"{self.top}/x", remote_prefixes=(str(self.top),)).real)

    def test_unusable(self) -> None:
        """What cannot be looked at is refused, with the reason."""
        (self.top / "f").write_text("x")
        error = self.assertRaises(SourceUnusable, self.chosen, f"{self.top}/f/below")
        self.assertIn("Not a directory", error.message)
