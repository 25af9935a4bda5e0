"""Noticing dead links, by a clock."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._heartbeat import Heartbeat, seconds_asleep


class HeartbeatTests(SynchronousTestCase):
    """L{Heartbeat}."""

    def setUp(self) -> None:
        """A link that answers."""
        self.clock = Clock()
        self.last_received = 0.0
        self.answers = True
        self.asked: list[float] = []
        self.dead: list[tuple[float, str]] = []
        self.rekeyed = 0
        self.slept = 1000.0

    def begin(self, interval: float = 0.0, count: int = 3) -> Heartbeat:
        """@return: a heartbeat of the link that this is."""
        return Heartbeat(self.clock, self, self, self._dead, interval, count, lambda: self.slept)  # type: ignore[arg-type]

    def _dead(self, reason: str) -> None:
        self.dead.append((self.clock.seconds(), reason))

    def ask_if_alive(self) -> Deferred[float]:
        """The question, and its answer a moment later."""
        self.asked.append(self.clock.seconds())
        if self.answers:
            self.clock.callLater(0.1, self._receive)
        return Deferred()

    def _receive(self) -> None:
        self.last_received = self.clock.seconds()

    def rekey_if_old(self) -> None:
        """Recorded."""
        self.rekeyed += 1

    def run_for(self, seconds: int) -> None:
        """Time passes."""
        self.clock.pump([0.25] * (seconds * 4))

    def test_idle_and_alive(self) -> None:
        """A silent server is asked every few seconds, and lives as long as it answers."""
        self.begin()
        self.run_for(60)
        self.assertEqual(self.dead, [])
        self.assertTrue(8 <= len(self.asked) <= 15, self.asked)
        self.assertGreater(self.rekeyed, 50)

    def test_busy(self) -> None:
        """A server that talks is not asked."""
        self.begin()
        for _ in range(60):
            self._receive()
            self.run_for(1)
        self.assertEqual(self.asked, [])

    def test_dead_while_idle(self) -> None:
        """A link that dies is noticed within 15 s of the last word, once."""
        self.begin()
        self.run_for(20)
        last_word = self.last_received
        self.answers = False
        self.run_for(60)
        self.assertEqual(len(self.dead), 1)
        self.assertLessEqual(self.dead[0][0] - last_word, 15)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dead_under_load(self) -> None:
        """So is one that dies in the middle of a stream."""
        self.begin()
        for _ in range(20):
            self._receive()
            self.run_for(1)
        self.answers = False
        last_word = self.last_received
        self.run_for(20)
        self.assertEqual(len(self.dead), 1)
        self.assertLessEqual(self.dead[0][0] - last_word, 15)

    def test_slow_answer(self) -> None:
        """Any word of the server's will do as an answer."""
        self.begin()
        self.answers = False
        for _ in range(10):
            self.run_for(8)
            self._receive()
        self.assertEqual(self.dead, [])

    def test_asleep(self) -> None:
        """After a sleep the server is asked at once, and a dead link is noticed within 2 s."""
        self.begin()
        self.run_for(10)
        self.answers = False
        self.sleep(3600)
        woken = self.clock.seconds()
        self.assertEqual(self.asked[-1], woken)
        self.run_for(3)
        self.assertEqual(len(self.dead), 1)
        self.assertLessEqual(self.dead[0][0] - woken, 2)

    def test_asleep_and_alive(self) -> None:
        """A link that outlived the sleep is kept."""
        self.begin()
        self.run_for(10)
        self.sleep(3600)
        self.run_for(30)
        self.assertEqual(self.dead, [])

    def sleep(self, seconds: float) -> None:
        """The machine sleeps, and wakes."""
        self.slept += seconds
        self.clock.advance(seconds)

    def test_busy_process(self) -> None:
        """A process that had no time for a while gives the server all the time that it is due."""
        self.begin()
        self.run_for(10)
        self.answers = False
        self.clock.advance(20)
        busy_until = self.clock.seconds()
        self.run_for(8)
        self.assertEqual(self.dead, [])
        self.run_for(4)
        self.assertEqual(len(self.dead), 1)
        self.assertGreaterEqual(self.dead[0][0] - busy_until, 9)

    def test_seconds_asleep(self) -> None:
        """The machine does not sleep while this is asked."""
        before = seconds_asleep()
        self.assertLess(abs(seconds_asleep() - before), 1)

    def test_suspect(self) -> None:
        """On a suspicion the server is asked at once, with little patience."""
        heartbeat = self.begin()
        self.run_for(2)
        self.answers = False
        heartbeat.suspect()
        self.run_for(5)
        self.assertEqual(len(self.dead), 1)

    def test_configured(self) -> None:
        """ServerAliveInterval and ServerAliveCountMax are followed."""
        self.begin(30, 2)
        self.answers = False
        self.run_for(29)
        self.assertEqual(self.asked, [])
        self.run_for(58)
        self.assertEqual((len(self.asked), self.dead), (1, []))
        self.run_for(5)
        self.assertEqual(len(self.dead), 1)

    def test_stopped(self) -> None:
        """Nothing is left of one that is stopped."""
        heartbeat = self.begin()
        self.run_for(2)
        heartbeat.stop()
        heartbeat.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
