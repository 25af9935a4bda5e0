"""
Channels of a real sshd, held to the contract of every transport: to a unix socket and to a TCP port.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from tests.contracts.transport import TransportContract
from tests.ssh.real import RealServerMixin
from tests.support import wait_until


class StreamlocalTests(RealServerMixin, TransportContract, TestCase):
    """Channels of the type C{direct-streamlocal@openssh.com}."""

    abort_is_told = False

    async def connect(self, near: IProtocol, far: Any) -> None:
        """Connects to a unix socket of this test's, over SSH."""
        path = os.path.join(self.mktemp_directory(), "socket")
        port = await UNIXServerEndpoint(reactor, path).listen(Factory.forProtocol(lambda: far))
        self.addCleanup(port.stopListening)
        remote = await self.log_in(remote_docker=f"unix://{path}")
        await remote.docker_endpoint().connect(Factory.forProtocol(lambda: near))
        await wait_until(reactor, lambda: far.transport is not None)


class TCPForwardTests(RealServerMixin, TransportContract, TestCase):
    """Channels of the type C{direct-tcpip}."""

    abort_is_told = False

    async def connect(self, near: IProtocol, far: Any) -> None:
        """Connects to a port of this test's, over SSH."""
        listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            Factory.forProtocol(lambda: far)
        )
        self.addCleanup(listening.stopListening)
        remote = await self.log_in()
        endpoint = remote.tcp_endpoint("127.0.0.1", listening.getHost().port)
        await endpoint.connect(Factory.forProtocol(lambda: near))
        await wait_until(reactor, lambda: far.transport is not None)
