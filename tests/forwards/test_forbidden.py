"""Ports where the SSH server forwards to none."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotedocker.docker import ContainerPort, PortBinding
from remotedocker.errors import ForwardingForbidden
from remotedocker.forwards import Forwards
from tests.ssh.real import RealServerMixin
from tests.support.sshd import free_port


class ForbiddenTests(RealServerMixin, TestCase):
    """L{Forwards} behind a real sshd."""

    async def make(self, config: str) -> Forwards:
        """@return: forwards over a login to a server of that configuration."""
        self.start_server(config)
        remote = await self.log_in()
        forwards = Forwards(reactor, remote, Path(self.mktemp_directory()), ("127.0.0.1",))
        self.addCleanup(forwards.close)
        return forwards

    async def test_forbidden(self) -> None:
        """
        With C{AllowTcpForwarding no} a container with ports does not start, for that reason, and nothing is
        left open; one without does.
        """
        forwards = await self.make("AllowTcpForwarding no")
        wanted = {ContainerPort(80): (PortBinding("127.0.0.1", str(free_port())),)}
        error = await self.assertFailure(forwards.reserve("c1", "web", wanted), ForwardingForbidden)
        for part in ("the ports of web", "AllowTcpForwarding", "--no-forward"):
            self.assertIn(part, str(error))
        self.assertFalse(forwards.containers())
        await forwards.reserve("c2", "plain", {})

    async def test_allowed(self) -> None:
        """With C{AllowTcpForwarding local} it does."""
        forwards = await self.make("AllowTcpForwarding local")
        await forwards.reserve("c1", "web", {ContainerPort(80): (PortBinding("127.0.0.1", ""),)})
        self.assertEqual(forwards.containers(), {"c1"})
