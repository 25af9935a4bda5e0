# -*- test-case-name: tests.test_errors -*-
"""
Tests for L{remotedocker.errors}.
"""

from __future__ import annotations

import ast
from http import HTTPStatus
from pathlib import Path
from string import Formatter

from twisted.trial.unittest import SynchronousTestCase

import remotedocker
from remotedocker import errors
from remotedocker.errors import (
    AuthenticationFailed,
    HostKeyUnknown,
    PermanentSSHError,
    RemoteDockerError,
    RemoteFileError,
    SourceMissing,
    SSHError,
    harmless,
)

__all__ = ["ErrorTests", "UseTests"]


def all_errors() -> dict[str, type[RemoteDockerError]]:
    """Every error class, by its name."""
    exported = {name: getattr(errors, name) for name in errors.__all__}
    return {name: value for name, value in exported.items() if isinstance(value, type)}


def fields(error: type[RemoteDockerError]) -> set[str]:
    """The names that an error's sentence has places for."""
    return {name for _, name, _, _ in Formatter().parse(error.__doc__ or "") if name}


class ErrorTests(SynchronousTestCase):
    """The sentences that users read."""

    def test_all_are_exported(self) -> None:
        """Every error class of the module is in C{__all__}, in one family."""
        defined = {
            name
            for name, value in vars(errors).items()
            if isinstance(value, type)
            and issubclass(value, Exception)
            and value.__module__ == errors.__name__
        }
        self.assertEqual(defined, set(all_errors()))
        self.assertEqual(
            [name for name, error in all_errors().items() if not issubclass(error, RemoteDockerError)], []
        )

    def test_every_sentence_is_filled(self) -> None:
        """The docstring, in one line, with its places filled, is the message."""
        for name, error in all_errors().items():
            details = {field: f"<{field}>" for field in fields(error)}
            raised = error(**details)
            self.assertEqual(raised.message, str(raised))
            self.assertNotIn("\n", raised.message, name)
            self.assertNotIn("  ", raised.message, name)
            self.assertNotIn("{", raised.message, name)
            for value in details.values():
                self.assertIn(value, raised.message, name)
            self.assertEqual(raised.details, details)

    def test_every_class_has_its_own_sentence(self) -> None:
        """No class inherits its parent's sentence."""
        sentences = [error.__doc__ for error in all_errors().values()]
        self.assertNotIn(None, sentences)
        self.assertEqual(len(set(sentences)), len(sentences))

    def test_statuses(self) -> None:
        """Each is answered with an error status of HTTP."""
        for name, error in all_errors().items():
            self.assertGreaterEqual(HTTPStatus(error.status), 400, name)

    def test_missing_detail(self) -> None:
        """An error cannot be made without what its sentence needs."""
        self.assertRaises(KeyError, SourceMissing)

    def test_braces_in_a_detail(self) -> None:
        """What stands in a detail is not read as a place to fill."""
        self.assertIn("/srv/{reason}", SourceMissing(source="/srv/{reason}").message)

    def test_commands_to_the_terminal(self) -> None:
        """What others have said, or named, cannot command the terminal on which a message is shown."""
        reason = "\x1b]0;title\x07 \x9b2J \r line\n\tanother \udcff \u3000 \u202f sch\u00f6n"
        message = SSHError(destination="host", reason=reason).message
        self.assertTrue(
            message.endswith("?]0;title? ?2J ? line\n\tanother ? \u3000 \u202f sch\u00f6n"), message
        )
        self.assertEqual(harmless("\x7f\x85"), "??")

    def test_commands(self) -> None:
        """The commands in a sentence work as they stand, whatever the destination."""
        for destination, arguments in (
            ("root@host", "root@host"),
            ("root@host:2222", "-p 2222 root@host"),
            ("host:2222", "-p 2222 host"),
            ("me@[fe80::1]:22022", "-p 22022 me@fe80::1"),
            ("me@fe80::1", "me@fe80::1"),
            ("DOMAIN\\me@host:22", "-p 22 'DOMAIN\\me@host'"),
        ):
            message = AuthenticationFailed(destination=destination, tried="").message
            self.assertTrue(message.startswith(f"{destination} accepted"))
            self.assertIn(f"try `ssh {arguments}`", message)
            self.assertIn(f"`ssh-copy-id {arguments}`", message)

    def test_families(self) -> None:
        """A refusal for good is an SSH error; both are answered as SSH being down."""
        self.assertTrue(issubclass(AuthenticationFailed, PermanentSSHError))
        self.assertTrue(issubclass(HostKeyUnknown, SSHError))
        self.assertEqual(SSHError.status, 503)
        self.assertFalse(issubclass(RemoteFileError, SSHError))


class UseTests(SynchronousTestCase):
    """How the package makes its errors."""

    def test_details_fit(self) -> None:
        """Wherever an error is made, exactly the details of its sentence are given."""
        known = all_errors()
        wrong = []
        made = 0
        for path in sorted(Path(remotedocker.__file__).parent.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                    continue
                if node.func.id not in known:
                    continue
                made += 1
                given = {keyword.arg for keyword in node.keywords}
                if node.args or (None not in given and given != fields(known[node.func.id])):
                    wrong.append(f"{path}:{node.lineno} {ast.unparse(node)}")
        self.assertEqual(wrong, [])
        self.assertGreater(made, 0)
