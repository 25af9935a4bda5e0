"""What a script's output means."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import RemoteDiskFull, RemotePermissionDenied
from remotedocker.sync._said import cause_of, failures, kept, known_cause


class SaidTests(SynchronousTestCase):
    """L{failures}, L{kept} and the causes."""

    def test_failures(self) -> None:
        """Each step that failed has what was printed before it; directories that stay are no part of it."""
        output = b"rm: no\n\nF3 \nK/base/./d\0\nF4 mv: why\n\nF10 "
        self.assertEqual(list(failures(output)), [(3, "rm: no"), (4, ""), (10, "mv: why")])
        self.assertEqual(kept(output), [b"/base/d"])

    def test_cause(self) -> None:
        """The line with the cause counts, wherever it is; without one the end does."""
        output = (
            b"tar: a: Cannot write: No space left on device\n" + b"tar: b: Cannot open: No such file\n" * 50
        )
        self.assertEqual(cause_of(output), "tar: a: Cannot write: No space left on device")
        self.assertEqual(cause_of(b"x" * 1000 + b"the end\n")[-7:], "the end")
        self.assertIs(known_cause("Disk quota exceeded"), RemoteDiskFull)
        self.assertIs(known_cause("sh: Permission denied"), RemotePermissionDenied)
        self.assertIsNone(known_cause("No such file"))
