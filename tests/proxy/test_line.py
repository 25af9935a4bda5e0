# -*- test-case-name: tests.proxy.test_line -*-
"""
Tests for L{remotedocker.proxy._line}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.proxy._commands import CloseDaemon, Connect, EndDaemon, ToDaemon
from remotedocker.proxy._line import Line


class LineTests(SynchronousTestCase):
    """One connection to the daemon, as it is known."""

    def setUp(self) -> None:
        """Nothing is connected."""
        self.line = Line()

    def test_opensOnce(self) -> None:
        """It is opened when it is not there."""
        self.assertEqual(list(self.line.open(False)), [Connect(False)])
        self.assertEqual(list(self.line.open(False)), [])
        self.assertEqual(list(self.line.connected()), [])
        self.assertEqual(list(self.line.open(False)), [])

    def test_waits(self) -> None:
        """Bytes wait until it is open, with the half-close behind them."""
        list(self.line.open(False))
        self.assertEqual([*self.line.send(b"a"), *self.line.send(b"bc"), *self.line.end()], [])
        self.assertEqual(self.line.waiting, 3)
        self.assertEqual(list(self.line.connected()), [ToDaemon(b"abc"), EndDaemon()])
        self.assertEqual(self.line.waiting, 0)

    def test_endsOnce(self) -> None:
        """A half-close is made once for each connection."""
        list(self.line.open(False))
        list(self.line.connected())
        self.assertEqual([*self.line.end(), *self.line.end()], [EndDaemon()])
        self.line.gone()
        list(self.line.open(False))
        list(self.line.connected())
        self.assertEqual(list(self.line.end()), [EndDaemon()])

    def test_bulk(self) -> None:
        """One that is fit for bulk serves everything; another is replaced for bulk."""
        self.assertEqual(list(self.line.open(True)), [Connect(True)])
        list(self.line.connected())
        self.assertEqual([*self.line.open(False), *self.line.open(True)], [])
        self.line.gone()
        list(self.line.open(False))
        self.assertEqual(list(self.line.open(True)), [CloseDaemon(), Connect(True)])

    def test_closed(self) -> None:
        """What is sent to one that is gone is dropped, and it is dropped once."""
        list(self.line.open(False))
        list(self.line.send(b"waits"))
        responses = self.line.responses
        self.assertEqual([*self.line.drop(), *self.line.drop()], [CloseDaemon()])
        self.assertEqual((list(self.line.send(b"late")), self.line.waiting), ([], 0))
        list(self.line.open(False))
        self.assertIsNot(self.line.responses, responses)
        self.assertEqual(list(self.line.connected()), [])
