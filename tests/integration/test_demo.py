"""
The demo does what it shows, and says so when it does not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.agent import laptop_environment
from tests.integration.base import IntegrationTestCase

_CHECKOUT = Path(__file__).resolve().parents[2]

_SECONDS = 180.0


class DemoTests(IntegrationTestCase):
    """C{make demo} with a remote host of the user's own."""

    def demo(self, destination: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        config = self.scratch / "ssh_config"
        config.write_text(
            f"IdentityFile {self.remote.identity}\nUserKnownHostsFile {self.remote.known_hosts}\n"
        )
        environment = {
            **laptop_environment(self.scratch),
            "REMOTEDOCKER_SSH": destination,
            "REMOTEDOCKER_SSH_CONFIG": str(config),
            "PYTHONPATH": str(_CHECKOUT),
        }
        return subprocess.run(
            [sys.executable, "-m", "tests.integration.demo"],
            cwd=_CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def test_success(self) -> None:
        """Every step is shown, its status is 0, and the remote has no container of it any more."""
        finished = self.demo(self.remote.destination)
        self.assertEqual(finished.returncode, 0, finished.stdout + finished.stderr)
        for shown in (
            f"$ twistd -n --pidfile= remotedocker --ssh {self.remote.destination}",
            "<h1>Hello from the laptop</h1>",
            "<h1>Edited on the laptop</h1>",
            "curl: (7)",
        ):
            self.assertIn(shown, finished.stdout)
        listed = self.remote.docker("ps", "-aq", "--filter", "name=remotedocker-demo")
        self.assertEqual((listed.returncode, listed.stdout), (0, b""))

    def test_failure(self) -> None:
        """A remote host that refuses the key is an error: the status is not 0, and the reason is shown."""
        finished = self.demo(f"nobody@{self.remote.host}")
        self.assertEqual(finished.returncode, 1, finished.stdout + finished.stderr)
        self.assertIn("ssh-copy-id", finished.stdout + finished.stderr)
