"""
What the tests of this package use: a daemon and a remote in memory, and a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.daemon import DaemonClient
from remotedocker.http import Headers, encode_response
from tests.fakes.fake_daemon import FakeDaemon
from tests.fakes.fake_remote import FakeRemote
from tests.support import MemoryNetwork

__all__ = ["MemoryCase", "json_answer"]

T = TypeVar("T")


def json_answer(body: bytes, status: int = 200, *fields: tuple[bytes, bytes]) -> bytes:
    """A response with this body."""
    return encode_response(status, Headers(((b"Content-Type", b"application/json"), *fields)), body)


class MemoryCase(SynchronousTestCase):
    """A client, not started, of a daemon in memory; time passes by L{pump} alone."""

    def setUp(self) -> None:
        """Everything anew."""
        super().setUp()
        self.network = MemoryNetwork()
        self.clock: Any = self.network.clock
        self.daemon = FakeDaemon(self.network)
        self.remote = FakeRemote.in_memory(self.network)
        self.client = DaemonClient(self.clock, self.remote, "/run/docker.sock")
        self.addCleanup(self.nothing_is_left)

    def nothing_is_left(self) -> None:
        """After a stop there is no connection, nothing waits, and nothing failed unseen."""
        self.client.stop()
        self.pump()
        self.assertEqual(self.network.failures, [])
        self.assertEqual(self.daemon.connections, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def pump(self, seconds: float = 0.0) -> None:
        """Lets time pass."""
        self.network.pump(seconds)

    def result(self, deferred: Deferred[T]) -> T:
        """@return: what it fires with as soon as everything has happened that can."""
        self.pump()
        return self.successResultOf(deferred)

    def error(self, deferred: Deferred[Any], *kinds: type[Exception]) -> Any:
        """@return: what it fails with."""
        self.pump()
        return self.failureResultOf(deferred, *kinds).value

    def at_request(self, path: str, act: Callable[[], object], times: int = 1) -> None:
        """Does something before the daemon answers the next C{times} requests for C{path}."""
        left = [times]

        def on_request(asked: str) -> None:
            if asked == path and left[0]:
                left[0] -= 1
                act()

        self.daemon.on_request = on_request
