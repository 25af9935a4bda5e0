"""The command that does nothing, against Conch's server and a connection that is lost."""

from __future__ import annotations

from twisted.conch.error import ConchError
from twisted.conch.ssh.connection import OPEN_RESOURCE_SHORTAGE
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._connection import Connection
from remotedocker.ssh._primer import Primer
from tests.ssh.conch import FarChannel, InMemoryLoginMixin


class PrimerTests(InMemoryLoginMixin, SynchronousTestCase):
    """L{Primer}."""

    def setUp(self) -> None:
        """Logs in, and begins."""
        self.login = self.log_in()
        self.primer = Primer(self.clock, self.login.connection)
        self.waiting = self.primer.deferred()

    def far(self) -> FarChannel:
        """@return: the server's end of the command."""
        self.network.pump()
        (channel,) = self.server.channels
        return channel

    def assert_over(self) -> None:
        """Who waited, and who waits now, goes on; nothing is left."""
        self.successResultOf(self.waiting)
        self.successResultOf(self.primer.deferred())
        self.network.pump()
        self.assertEqual(self.login.connection.channels, {})

    def test_runs(self) -> None:
        """A session is opened, the command gets no input, and its end lets others go on."""
        far = self.far()
        self.assertEqual((far.name, far.events), (b"session", ["open", "request exec", "eof"]))
        self.assertNoResult(self.waiting)
        far.loseConnection()
        self.network.pump()
        self.assert_over()

    def test_refused(self) -> None:
        """A server that allows no session is left alone."""
        self.server.refuse_with = OPEN_RESOURCE_SHORTAGE
        self.network.pump()
        self.assertEqual(len(self.flushLoggedErrors(ConchError)), 1)
        self.assert_over()

    def test_takes_too_long(self) -> None:
        """After five seconds others go on, whatever the command does, and it is ended."""
        far = self.far()
        self.network.pump(4.9)
        self.assertNoResult(self.waiting)
        self.network.pump(0.2)
        self.assertIn("close", far.events)
        self.assert_over()

    def test_opening_takes_too_long(self) -> None:
        """So they do when the server does not even open the session; it is closed once it is open."""
        self.clock.rightNow += 5.0
        self.clock.advance(0.0)
        self.successResultOf(self.waiting)
        self.network.pump()
        self.assertIn("close", self.server.channels[0].events)
        self.assert_over()

    def test_lost(self) -> None:
        """When the connection is lost nobody waits in vain, and no timer runs on."""
        self.far()
        self.lose(self.login)
        self.assert_over()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > 0], [])

    def test_without_connection(self) -> None:
        """On a connection that is lost already it is over at once."""
        self.far().loseConnection()
        self.network.pump()
        calls = self.clock.getDelayedCalls()
        self.primer = Primer(self.clock, Connection(self.clock))
        self.successResultOf(self.primer.deferred())
        self.network.pump()
        self.assertEqual(self.clock.getDelayedCalls(), calls)

    def test_cancelled_wait(self) -> None:
        """Who waits no longer is forgotten; the others are not."""
        other = self.primer.deferred()
        other.cancel()
        self.failureResultOf(other, CancelledError)
        self.far().loseConnection()
        self.network.pump()
        self.assert_over()
