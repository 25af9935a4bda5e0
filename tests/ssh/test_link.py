"""A login that is kept, by a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import HostKeyUnknown, PermanentSSHError, SSHError, SSHUnavailable
from remotedocker.ssh._link import Link


@define(eq=False)
class _Connection:
    """A connection as a link sees it."""

    alive: bool = True


@define(eq=False)
class _Login:
    """A login as a link sees it."""

    connection: _Connection = field(factory=_Connection)
    ended: Deferred[Exception] = field(factory=Deferred)
    closed: bool = False

    def abort(self, error: Exception) -> None:
        """Ends at once."""
        self.ended.callback(error)

    def close(self) -> None:
        """Ends when the test says so."""
        self.closed = True


class _Heartbeat:
    """Beats when the test says so."""

    def __init__(self, login: Any, dead: Any) -> None:
        self.dead = dead
        self.stopped = False
        self.suspected = False

    def suspect(self) -> None:
        """Recorded."""
        self.suspected = True

    def stop(self) -> None:
        """Recorded."""
        self.stopped = True


def _error(reason: str = "no route") -> SSHError:
    return SSHError(destination="host", reason=reason)


def _refusal() -> HostKeyUnknown:
    return HostKeyUnknown(destination="host", algorithm="ED25519", fingerprint="SHA256:x")


class LinkTests(SynchronousTestCase):
    """L{Link}."""

    def setUp(self) -> None:
        """A link that is started."""
        self.clock = Clock()
        self.attempts: list[Deferred[Any]] = []
        self.events: list[Any] = []
        self.heartbeats: list[_Heartbeat] = []
        self.file = Path(self.mktemp())
        self.link = Link(
            self.clock,
            "host",
            self._attempt,
            [self.file],
            self,
            10.0,
            self._heartbeat,  # type: ignore[arg-type]
        )
        self.link.start()
        self.clock.advance(0)

    def _attempt(self) -> Deferred[Any]:
        self.attempts.append(Deferred())
        return self.attempts[-1]

    def _heartbeat(self, login: Any, dead: Any) -> Any:
        self.heartbeats.append(_Heartbeat(login, dead))
        return self.heartbeats[-1]

    def link_up(self, login: Any) -> None:
        """Recorded."""
        self.events.append("up")

    def link_down(self, error: Exception) -> None:
        """Recorded."""
        self.events.append("down")

    def link_refused(self, error: PermanentSSHError) -> None:
        """Recorded."""
        self.events.append("refused")

    def succeed(self) -> _Login:
        """The attempt that is under way succeeds."""
        login = _Login()
        self.attempts[-1].callback(login)
        return login

    def fail(self, error: Exception | None = None) -> None:
        """The attempt that is under way fails."""
        self.attempts[-1].errback(_error() if error is None else error)

    def assert_nothing_left(self) -> None:
        """No timer is left."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_first_login(self) -> None:
        """Who waits gets the connection when the login stands; who comes later gets it at once."""
        waiting = self.link.connection()
        self.assertNoResult(waiting)
        login = self.succeed()
        self.assertIs(self.successResultOf(waiting), login.connection)
        self.assertIs(self.successResultOf(self.link.connection()), login.connection)
        self.assertEqual((self.events, self.link.login), (["up"], login))
        self.assert_nothing_left()

    def test_backoff(self) -> None:
        """Attempts come after 0.2 s and then ever more, up to 10 s, never in step."""
        pauses = []
        for _ in range(12):
            self.fail()
            before = self.clock.seconds()
            count = len(self.attempts)
            while len(self.attempts) == count:
                self.clock.advance(0.01)
            pauses.append(self.clock.seconds() - before)
        self.assertTrue(0.1 <= pauses[0] <= 0.22, pauses)
        self.assertTrue(all(5 <= pause <= 10.05 for pause in pauses[7:]), pauses)
        self.assertGreater(len({round(pause, 2) for pause in pauses[7:]}), 1)

    def test_lost(self) -> None:
        """After a loss a new login is made at once."""
        login = self.succeed()
        login.ended.callback(_error("reset"))
        self.assertEqual(self.events, ["up", "down"])
        self.assertIsNone(self.link.login)
        self.assertTrue(self.heartbeats[0].stopped)
        waiting = self.link.connection()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(len(self.attempts), 2)
        again = self.succeed()
        self.assertIs(self.successResultOf(waiting), again.connection)
        self.assertEqual(self.events, ["up", "down", "up"])

    def test_lost_at_once(self) -> None:
        """A server that ends each login at once is not asked without a pause, except for the first time."""
        pauses = []
        for _ in range(6):
            count = len(self.attempts)
            self.succeed().ended.callback(_error("reset"))
            before = self.clock.seconds()
            while len(self.attempts) == count:
                self.clock.advance(0.01)
            pauses.append(self.clock.seconds() - before)
        self.assertLess(pauses[0], 0.05)
        self.assertTrue(all(pause > 0.1 for pause in pauses[1:]), pauses)
        self.assertGreater(pauses[-1], 1.0)
        login = self.succeed()
        self.clock.advance(5)
        login.ended.callback(_error("reset"))
        count = len(self.attempts)
        self.clock.advance(0.01)
        self.clock.advance(0.01)
        self.assertEqual(len(self.attempts), count + 1)

    def test_lost_but_not_yet_told(self) -> None:
        """Whoever asks while a connection is being lost waits for the next one."""
        login = self.succeed()
        login.connection.alive = False
        waiting = self.link.connection()
        self.assertNoResult(waiting)
        login.ended.callback(_error("reset"))
        self.clock.advance(0)
        self.clock.advance(0)
        again = self.succeed()
        self.assertIs(self.successResultOf(waiting), again.connection)

    def test_dead(self) -> None:
        """When the heartbeat stops, the login is given up."""
        self.succeed()
        self.heartbeats[0].dead("no answer")
        self.assertEqual(self.events, ["up", "down"])

    def test_waiting_too_long(self) -> None:
        """Who waits in vain is told the state and the last reason."""
        self.fail(_error("no route"))
        waiting = self.link.connection()
        self.clock.advance(9)
        self.assertNoResult(waiting)
        self.clock.advance(1.1)
        error = self.failureResultOf(waiting, SSHUnavailable).value
        self.assertIn("no route", str(error))
        self.assertIn("connecting", str(error))
        self.assertEqual(error.status, 503)

    def test_before_any_reason(self) -> None:
        """While the first attempt is under way, that is the reason."""
        waiting = self.link.connection()
        self.clock.advance(10)
        self.assertIn("still being made", str(self.failureResultOf(waiting, SSHUnavailable).value))

    def test_hurry(self) -> None:
        """Somebody who waits makes the next attempt come sooner, but not at once after the last one."""
        for _ in range(8):
            self.fail()
            self.clock.pump([0.01] * 1001)
        count = len(self.attempts)
        self.fail()
        self.link.connection().addErrback(lambda failure: None)
        self.clock.advance(0.5)
        self.clock.advance(0)
        self.assertEqual(len(self.attempts), count)
        self.clock.advance(0.6)
        self.clock.advance(0)
        self.assertEqual(len(self.attempts), count + 1)

    def test_cancelled_wait(self) -> None:
        """Who waits no more leaves nothing behind."""
        waiting = self.link.connection()
        waiting.cancel()
        self.failureResultOf(waiting)
        self.succeed()
        self.assert_nothing_left()

    def test_refused(self) -> None:
        """A refusal before it ever worked ends it; all are told so."""
        waiting = self.link.connection()
        self.fail(_refusal())
        self.failureResultOf(waiting, HostKeyUnknown)
        self.failureResultOf(self.link.connection(), HostKeyUnknown)
        self.assertEqual(self.events, ["refused"])
        self.clock.advance(1000)
        self.assertEqual(len(self.attempts), 1)
        self.assert_nothing_left()

    def bar(self) -> None:
        """A login worked, was lost, and is refused now."""
        self.succeed().ended.callback(_error("reset"))
        self.clock.advance(0)
        self.clock.advance(0)
        self.fail(_refusal())

    def test_barred(self) -> None:
        """A refusal after it worked is tried again after a minute; meanwhile all are told at once."""
        self.bar()
        self.failureResultOf(self.link.connection(), HostKeyUnknown)
        self.clock.pump([1] * 58)
        self.assertEqual(len(self.attempts), 2)
        self.clock.pump([1] * 5)
        self.assertEqual(len(self.attempts), 3)
        self.assertNoResult(self.link.connection().addErrback(lambda failure: None))
        self.succeed()
        self.assertEqual(self.events, ["up", "down", "up"])

    def test_barred_until_change(self) -> None:
        """It is tried again soon after a file that it depends on was changed."""
        self.bar()
        self.clock.pump([1] * 10)
        self.assertEqual(len(self.attempts), 2)
        self.file.write_text("now it is known")
        self.clock.pump([1] * 3)
        self.assertEqual(len(self.attempts), 3)

    def test_unexpected(self) -> None:
        """Even a bug does not end the attempts."""
        self.fail(ZeroDivisionError("bug"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.pump([0.1] * 4)
        self.assertEqual(len(self.attempts), 2)

    def test_suspect(self) -> None:
        """A suspicion is passed on to the heartbeat, if there is one."""
        self.link.suspect()
        self.succeed()
        self.link.suspect()
        self.assertTrue(self.heartbeats[0].suspected)

    def test_start_again(self) -> None:
        """Starting what is started does nothing."""
        self.link.start()
        self.succeed()
        self.link.start()
        self.assertEqual(len(self.attempts), 1)

    def test_stop_connected(self) -> None:
        """Stopping closes the login, and is done when that has ended."""
        login = self.succeed()
        stopping = self.link.stop()
        self.assertTrue(login.closed)
        self.assertNoResult(stopping)
        login.ended.callback(_error("closed"))
        self.successResultOf(stopping)
        self.successResultOf(self.link.stop())
        self.failureResultOf(self.link.connection(), SSHUnavailable)
        self.assertEqual(self.events, ["up"])
        self.assert_nothing_left()

    def test_stop_stuck(self) -> None:
        """A login that does not end is ended."""
        self.succeed()
        stopping = self.link.stop()
        self.clock.advance(1)
        self.successResultOf(stopping)
        self.assert_nothing_left()

    def test_stop_connecting(self) -> None:
        """Stopping cancels an attempt; whoever waits is told."""
        waiting = self.link.connection()
        stopping = self.link.stop()
        self.successResultOf(stopping)
        self.failureResultOf(waiting, SSHUnavailable)
        self.assert_nothing_left()

    def test_stop_before_attempt(self) -> None:
        """So it does before the attempt has begun."""
        link = Link(self.clock, "host", self._attempt, [], self, 10.0, self._heartbeat)  # type: ignore[arg-type]
        link.start()
        stopping = link.stop()
        self.clock.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(len(self.attempts), 1)

    def test_stop_too_late(self) -> None:
        """An attempt that succeeds in spite of being cancelled is closed."""
        login = _Login()
        stubborn: Deferred[Any] = Deferred(lambda cancelled: cancelled.callback(login))
        link = Link(self.clock, "host", lambda: stubborn, [], self, 10.0, self._heartbeat)  # type: ignore[arg-type]
        link.start()
        self.clock.advance(0)
        self.successResultOf(link.stop())
        self.assertTrue(login.ended.called)

    def test_stop_waiting(self) -> None:
        """Stopping between attempts leaves no timer."""
        self.fail()
        self.successResultOf(self.link.stop())
        self.assert_nothing_left()

    def test_stop_barred(self) -> None:
        """Nor while it is barred."""
        self.bar()
        self.successResultOf(self.link.stop())
        self.assert_nothing_left()

    def test_stop_idle(self) -> None:
        """A link that was never started is stopped at once."""
        link = Link(self.clock, "host", self._attempt, [], self, 10.0, self._heartbeat)  # type: ignore[arg-type]
        self.successResultOf(link.stop())

    def test_stop_refused(self) -> None:
        """So is one that was refused."""
        self.fail(_refusal())
        self.successResultOf(self.link.stop())
