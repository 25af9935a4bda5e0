# -*- test-case-name: tests.docker.test_errorbody -*-
"""
Tests for L{remotedocker.docker._errorbody}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import error_body


class ErrorBodyTests(SynchronousTestCase):
    """Docker's form of an error."""

    def test_as_the_daemon_writes_it(self) -> None:
        """Quotes, backslashes and control characters are escaped; markup and other languages are not."""
        for message, body in (
            ("No such container: x", b'{"message":"No such container: x"}\n'),
            ('a "b"\n\t\\', b'{"message":"a \\"b\\"\\n\\t\\\\"}\n'),
            ("<&>\xe9", b'{"message":"<&>\xc3\xa9"}\n'),
            ("\x00\x1f\u2028", b'{"message":"\\u0000\\u001f\\u2028"}\n'),
        ):
            self.assertEqual(error_body(message), body)
