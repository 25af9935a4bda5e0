"""
Tests for L{DaemonClient}.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotedocker.daemon import DaemonClient
from tests.contracts.daemon import DaemonContract, DaemonFixture
from tests.fakes.fake_daemon import FakeDaemon
from tests.fakes.fake_remote import FakeRemote
from tests.support import MemoryNetwork


class MemoryFixture:
    """The daemon in memory."""

    image = "web"

    def __init__(self) -> None:
        network = MemoryNetwork(reactor)
        self.daemon = FakeDaemon(network)
        self.remote = FakeRemote.in_memory(network)
        self.client = DaemonClient(reactor, self.remote)
        self.start = self.daemon.start
        self.kill = self.daemon.kill
        self.remove = self.daemon.remove
        self.make_exec = self.daemon.make_exec
        self.log_in = self.remote.log_in
        self.log_out = self.remote.log_out

    def create(self, name: str, labels: Mapping[str, str]) -> str:
        """See L{DaemonFixture.create}."""
        return self.daemon.create(name, self.image, dict(labels))


class MemoryDaemonTests(DaemonContract, TestCase):
    """The contract, on the daemon in memory."""

    def make_fixture(self) -> DaemonFixture:
        """One in memory."""
        return MemoryFixture()
