# -*- test-case-name: tests.docker.test_mounts -*-
"""
Tests for what several mounts of one thing come to; the mount objects of requests have theirs in
L{tests.docker.test_create}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import mounted_together


class MountedTogetherTests(SynchronousTestCase):
    """L{mounted_together}."""

    def test_all_must_say_so(self) -> None:
        """A source is read-only only if all who mount it say so, in whatever order."""
        for said, expected in (
            ([True], True),
            ([False], False),
            ([True, True], True),
            ([True, False], False),
            ([False, True], False),
            ([True, False, True], False),
        ):
            self.assertEqual(mounted_together([("/m", each) for each in said]), {"/m": expected}, said)

    def test_apart(self) -> None:
        """Sources do not count for each other, and keep the order in which they came."""
        together = mounted_together(iter([("/b", True), ("/a", False), ("/b/c", True)]))
        self.assertEqual(list(together.items()), [("/b", True), ("/a", False), ("/b/c", True)])
        self.assertEqual(mounted_together([]), {})
