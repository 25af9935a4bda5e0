"""
The main job over a link with a round trip of 50 ms.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets

from benchmarks.link import long_link
from tests.integration.base import Docker, IntegrationTestCase
from tests.integration.checks import check_files, check_files_come_back, check_port

ROUND_TRIP_MS = 50.0


class LongLinkTests(IntegrationTestCase):
    """What holds on the local link holds on a long one."""

    def setUp(self) -> None:
        """Lays the link, and starts an agent that uses it."""
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        address = stack.enter_context(long_link(self.remote, ROUND_TRIP_MS))
        known_hosts = self.scratch / "known_hosts"
        known_hosts.write_text(self.remote.known_hosts.read_text().replace(self.remote.host, address))
        agent = self.own_agent("--ssh", f"{self.remote.user}@{address}", "--known-hosts", str(known_hosts))
        self.laptop: Docker = self.docker(agent.docker_host)

    def test_port(self) -> None:
        """A published port is opened, shown and closed."""
        check_port(self.laptop)

    def test_files(self) -> None:
        """A mounted directory is complete at the start, follows, and has what the container wrote."""
        check_files(self.laptop, self.scratch / "one")
        check_files_come_back(self.laptop, self.scratch / "two")

    def test_streams(self) -> None:
        """Input and output arrive whole, both at once."""
        data = secrets.token_bytes(4 * 2**20)
        outcome = self.laptop(
            "run", "--rm", "-i", "busybox", "sh", "-c", "tee /copy; md5sum </copy >&2", data=data
        )
        self.assertEqual((outcome.status, outcome.stdout == data), (0, True))
        self.assertEqual(outcome.stderr.split()[0].decode(), hashlib.md5(data).hexdigest())
