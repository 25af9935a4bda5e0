"""
Our own questions to a daemon, put to the real one of the remote.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.contracts.daemon import DaemonContract
from tests.contracts.daemon_engine import EngineFixture
from tests.integration.base import attached_remote

__all__ = ["EngineDaemonTests"]


class EngineDaemonTests(DaemonContract, TestCase):
    """The contract that the daemon in memory keeps, too."""

    def make_fixture(self) -> EngineFixture:
        """The remote's daemon, without SSH."""
        fixture = EngineFixture(str(attached_remote().docker_socket))
        fixture.import_image()
        self.addCleanup(fixture.clean_up)
        return fixture
