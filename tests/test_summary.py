# -*- test-case-name: tests.test_summary -*-
"""
Tests for L{tests.summary}.
"""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.summary import main, total

__all__ = ["SummaryTests"]


class SummaryTests(SynchronousTestCase):
    """The sums of several runs."""

    def test_sums(self) -> None:
        """Every run's line counts, wherever it stands among other output."""
        log = [
            "py311: commands[0]> python -m tests",
            "Ran 5 tests in 0.1s",
            "PASSED (skips=1, successes=4)",
            "FAILED (failures=2, errors=1, successes=7)",
            "PASSED (expectedFailures=1, successes=1)",
            "FAILED (unexpectedSuccesses=1)",
            "OK (successes=100) is no result",
        ]
        self.assertEqual(total(log), (13, 4, 1))

    def test_nothing_ran(self) -> None:
        """A log without a result adds up to nothing."""
        self.assertEqual(total(["PASSED", "Ran 0 tests in 0.000s"]), (0, 0, 0))

    def test_main(self) -> None:
        """The sums are printed in one line."""
        path = self.mktemp()
        with open(path, "w") as log:
            log.write("PASSED (successes=3)\n")
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        main(path)
        self.assertEqual(output.getvalue(), "3 passed, 0 failed, 0 skipped\n")
