"""Channels that are open ahead, by a clock."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._pool import WarmChannels


class _Channel:
    """A channel as the pool sees it."""

    def __init__(self) -> None:
        self.usable = True
        self.aborted = False

    def abortConnection(self) -> None:
        """Recorded."""
        self.aborted = True


class WarmChannelsTests(SynchronousTestCase):
    """L{WarmChannels}."""

    def setUp(self) -> None:
        """A pool of three."""
        self.clock = Clock()
        self.opening: list[Deferred[Any]] = []
        self.opened: list[_Channel] = []
        self.pool = WarmChannels(self.clock, self._open, 3)

    def _open(self) -> Deferred[Any]:
        self.opening.append(Deferred())
        return self.opening[-1]

    def open_all(self) -> None:
        """What is being opened is open."""
        self.clock.advance(0)
        opening, self.opening = self.opening, []
        for one in opening:
            self.opened.append(_Channel())
            one.callback(self.opened[-1])

    def test_filled(self) -> None:
        """So many are opened at once."""
        self.assertEqual(len(self.opening), 3)
        self.assertIsNone(self.pool.take())
        self.open_all()
        self.assertEqual(len(self.pool), 3)
        self.assertEqual(self.opening, [])

    def test_taken(self) -> None:
        """The oldest is given; those that were taken are replaced together, when half are gone."""
        self.open_all()
        self.assertIs(self.pool.take(), self.opened[0])
        self.assertEqual(self.opening, [])
        self.assertIs(self.pool.take(), self.opened[1])
        self.assertEqual(len(self.opening), 2)
        self.open_all()
        self.assertEqual(len(self.pool), 3)
        self.assertEqual(len(self.opened), 5)

    def test_closed_by_daemon(self) -> None:
        """One that the daemon has closed is not given."""
        self.open_all()
        self.opened[0].usable = self.opened[1].usable = False
        self.assertIs(self.pool.take(), self.opened[2])
        self.open_all()
        self.assertEqual(len(self.pool), 3)

    def test_old(self) -> None:
        """An old one is closed and replaced, long before the daemon would do it."""
        self.open_all()
        self.clock.pump([10] * 13)
        self.assertTrue(all(channel.aborted for channel in self.opened[:3]))
        self.open_all()
        self.assertEqual(len(self.pool), 3)

    def test_daemon_down(self) -> None:
        """After a refusal none is opened before somebody's own attempt has worked."""
        for one in self.opening:
            one.errback(ZeroDivisionError())
        self.opening.clear()
        self.clock.pump([10] * 20)
        self.assertIsNone(self.pool.take())
        self.clock.advance(0)
        self.assertEqual(self.opening, [])
        self.pool.worked()
        self.assertEqual(len(self.opening), 3)

    def test_stopped(self) -> None:
        """
        Nothing is left of a pool that is stopped: what is ready is closed, what is being opened cancelled.
        """
        self.open_all()
        self.pool.take()
        self.pool.take()
        self.clock.advance(0)
        opening = self.opening[0]
        self.pool.stop()
        self.assertTrue(opening.called)
        self.assertTrue(all(channel.aborted for channel in self.opened[2:]))
        self.clock.advance(0)
        self.assertEqual((self.clock.getDelayedCalls(), len(self.pool)), ([], 0))
