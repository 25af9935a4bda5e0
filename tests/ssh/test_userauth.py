"""Proving who the user is, to Conch's server in one process."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import AuthenticationFailed, SSHError
from remotedocker.ssh import _keys
from remotedocker.ssh._keys import FileIdentity
from remotedocker.ssh._userauth import Answers
from tests.ssh import conch
from tests.ssh.conch import InMemoryLoginMixin


def answers(*replies: str | None) -> tuple[Answers, list[tuple[str, bool, bool]]]:
    """@return: somebody who gives these replies in order, and what they were asked."""
    waiting = list(replies)
    asked: list[tuple[str, bool, bool]] = []

    async def secret(prompt: str, visible: bool, lasting: bool) -> str | None:
        asked.append((prompt, visible, lasting))
        return waiting.pop(0)

    return Answers(secret), asked


class UserAuthenticationTests(InMemoryLoginMixin, SynchronousTestCase):
    """L{UserAuthentication}."""

    def attempt(self, methods: tuple[str, ...], answering: Answers, **changes: object) -> object:
        """@return: the login, or the error that it ends with."""
        self.make_server(methods)
        logging_in = self.begin_login(answering, **changes)
        results: list[object] = []
        logging_in.addBoth(results.append)
        for _ in range(20):
            self.network.pump()
            self.clock.advance(0.5)
        self.assertEqual(len(results), 1)
        return getattr(results[0], "value", results[0])

    def test_key(self) -> None:
        """A key logs in, and the user is asked nothing."""
        answering, asked = answers()
        self.assertNotIsInstance(self.attempt(("publickey", "password"), answering), Exception)
        self.assertEqual(asked, [])

    def test_password(self) -> None:
        """A password logs in; a wrong one is asked for again."""
        answering, asked = answers("wrong", "right")
        login = self.attempt(("password",), answering, identities=())
        self.assertNotIsInstance(login, Exception)
        self.assertEqual(asked, [("somebody's password: ", False, True)] * 2)

    def test_wrong_passwords(self) -> None:
        """After three wrong ones it is over."""
        answering, asked = answers("wrong", "wrong", "wrong", "right")
        error = self.attempt(("password",), answering, identities=())
        self.assertIsInstance(error, AuthenticationFailed)
        self.assertEqual(len(asked), 3)
        self.assertIn("password, password, password", str(error))

    def test_fewer_tries(self) -> None:
        """Where ssh_config wants fewer questions, there are fewer."""
        for method in ("password", "keyboard-interactive"):
            answering, _ = answers("wrong", "right")
            error = self.attempt((method,), evolve(answering, tries=1), identities=())
            self.assertIsInstance(error, AuthenticationFailed)
            self.assertIn(f"tried: {method}; ", str(error))

    def test_questions(self) -> None:
        """
        Questions are asked in order, each with whether the answer may be seen; the answers to several will
        not do for a later login.
        """
        answering, asked = answers("blue", "right")
        login = self.attempt(("keyboard-interactive",), answering, identities=())
        self.assertNotIsInstance(login, Exception)
        self.assertEqual(asked, [("Colour: ", True, False), ("Password: ", False, False)])

    def test_one_time_passwords(self) -> None:
        """Only a question for nothing but the password has an answer that will do again."""
        for prompt, lasting in (
            ("Password: ", True),
            ("password:", True),
            ("me@host's password: ", True),
            ("Password for me@host:", True),
            ("One-time password (OATH) for `me': ", False),
            ("Password + code: ", False),
            ("Verification code: ", False),
            ("Passcode or option (1-3): ", False),
            ("New password: ", False),
        ):
            answering, asked = answers("right")
            self.patch(conch, "QUESTIONS", ((prompt, "right"),))
            login = self.attempt(("keyboard-interactive",), answering, identities=())
            self.assertNotIsInstance(login, Exception)
            self.assertEqual(asked, [(prompt, False, lasting)])

    def test_key_then_password(self) -> None:
        """When the keys are refused the password is asked for."""
        answering, asked = answers("right")
        login = self.attempt(("password",), answering)
        self.assertNotIsInstance(login, Exception)
        self.assertEqual(len(asked), 1)

    def test_nobody_to_ask(self) -> None:
        """Where nobody can be asked, that is what is told."""
        error = self.attempt(("password",), Answers(), identities=())
        self.assertIsInstance(error, AuthenticationFailed)
        self.assertIn("the server takes", str(error))

    def test_no_answer(self) -> None:
        """A user who gives no answer is not asked again."""
        answering, asked = answers(None)
        error = self.attempt(("keyboard-interactive",), answering, identities=())
        self.assertIsInstance(error, AuthenticationFailed)
        self.assertEqual(len(asked), 1)

    def test_methods_off(self) -> None:
        """A method that ssh_config forbids is not used."""
        answering, asked = answers("right")
        error = self.attempt(("password",), answering, identities=(), password=False)
        self.assertIsInstance(error, AuthenticationFailed)
        self.assertEqual(asked, [])

    def test_silent_server(self) -> None:
        """A server that says nothing is given up after a while, and the user is not waited for."""
        self.make_server()
        self.server.buildProtocol = lambda addr: _Silent()  # type: ignore[method-assign]
        logging_in = self.begin_login()
        self.network.pump(1)
        self.assertNoResult(logging_in)
        for _ in range(25):
            self.network.pump(1)
        error = self.failureResultOf(logging_in, SSHError).value
        self.assertIn("said nothing", str(error))

    def test_slow_user(self) -> None:
        """Who has to touch a token, or to type, has as much time as the server gives them."""

        def sign(identity: FileIdentity, algorithm: bytes, data: bytes) -> Deferred[bytes]:
            return deferLater(self.clock, 60, _keys.sign, identity.key, algorithm, data)

        self.patch(FileIdentity, "sign", sign)
        typed: Deferred[str] = Deferred()

        async def secret(prompt: str, visible: bool, lasting: bool) -> str | None:
            return await typed

        self.make_server(("publickey",))
        touching = self.begin_login()
        self.run_for(59)
        self.assertNoResult(touching)
        self.run_for(3)
        self.successResultOf(touching)
        self.make_server(("password",))
        typing = self.begin_login(Answers(secret), identities=())
        self.run_for(60)
        self.assertNoResult(typing)
        typed.callback("right")
        self.run_for(3)
        self.successResultOf(typing)

    def run_for(self, seconds: int) -> None:
        """Time passes."""
        for _ in range(seconds):
            self.network.pump(1)

    def test_senseless_message(self) -> None:
        """A message that is cut short is named as the reason, and tried again later."""

        def ask(authentication: conch._Authentication, packet: bytes) -> Deferred[None]:
            authentication.transport.sendPacket(60, b"\0")
            return Deferred()

        self.patch(conch._Authentication, "auth_keyboard_interactive", ask)
        answering, asked = answers("right")
        error = self.attempt(("keyboard-interactive",), answering, identities=())
        self.assertIsInstance(error, SSHError)
        self.assertIn("a message of the server's makes no sense", str(error))
        self.assertEqual(asked, [])

    def test_cancelled(self) -> None:
        """A login that is cancelled leaves no connection and no timer."""
        self.make_server()
        logging_in = self.begin_login()
        logging_in.cancel()
        self.failureResultOf(logging_in)
        self.network.pump()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_ssh_server(self) -> None:
        """What answers in another language is quoted."""
        self.make_server()
        self.server.buildProtocol = lambda addr: _Silent(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # type: ignore[method-assign]
        logging_in = self.begin_login()
        self.network.pump()
        self.endpoint.far.loseConnection()
        self.network.pump()
        self.assertIn("HTTP/1.1 400 Bad Request", str(self.failureResultOf(logging_in, SSHError).value))


class _Silent(Protocol):
    """Says one thing at most."""

    def __init__(self, words: bytes = b"") -> None:
        self._words = words

    def connectionMade(self) -> None:
        """Says it."""
        self.transport.write(self._words)
