# -*- test-case-name: tests.ssh.test_userauth -*-
"""
Proving who the user is (RFC 4252), in the order in which C{ssh} tries; one request at a time.

A key from a file signs at once, without asking first whether the server would take it, and no C{none} request
goes before it: that is a login in two round trips fewer.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Protocol as TypingProtocol
from typing import TypeVar

from attrs import define, frozen
from twisted.conch.ssh.service import SSHService
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker.ssh._certificates import plain_type
from remotedocker.ssh._keys import signature_algorithms
from remotedocker.ssh._wire import Reader, string, uint32

__all__ = ["Answers", "AuthenticationRefused", "Identity", "UserAuthentication"]

_T = TypeVar("_T")

_REQUEST, _FAILURE, _SUCCESS, _BANNER, _METHOD_SPECIFIC, _INFO_RESPONSE = 50, 51, 52, 53, 60, 61
#: A question for the account's password and nothing else: any other may want a code that is good only once.
_ASKS_PASSWORD = re.compile(r"\s*(\S+'s )?password( for \S+)?\s*:?\s*", re.IGNORECASE)


class Identity(TypingProtocol):
    """A key that can sign."""

    @property
    def blob(self) -> bytes:
        """The public key or certificate."""

    @property
    def description(self) -> str:
        """For messages."""

    @property
    def ask_first(self) -> bool:
        """Whether using it may bother the user."""

    def sign(self, algorithm: bytes, data: bytes) -> Deferred[bytes]:
        """@return: fires with the signature."""


@frozen
class Answers:
    """
    Who is asked for what only the user knows; None where nobody can be.

    @ivar secret: given a prompt, whether what is typed may be seen, and whether it will do again for a later
        login, gives what was typed, or None.
    @ivar judged: told at the end of a login whether the answers were good; not called if it ended otherwise.
    @ivar tries: how often the same is asked, if the answer is wrong.
    """

    secret: Callable[[str, bool, bool], Awaitable[str | None]] | None = None
    judged: Callable[[bool], None] = lambda good: None
    tries: int = 3


class AuthenticationRefused(Exception):
    """
    Nothing that was tried is enough.

    @ivar tried: descriptions of it.
    @ivar methods: what the server would still take.
    """

    def __init__(self, tried: Sequence[str], methods: Sequence[bytes]) -> None:
        super().__init__("no authentication method is left")
        self.tried = list(tried)
        self.methods = [method.decode("ascii", "replace") for method in methods]


@define
class _Verdict:
    """What the server said to a request."""

    accepted: bool
    methods: list[bytes]
    partial: bool = False


class UserAuthentication(SSHService):
    """
    The service C{ssh-userauth}.

    @ivar banner: what the server wants the user to read.
    @ivar asking: whether the user is being asked something, or an agent, which may ask them to confirm the
        use of a key or to touch a token: meanwhile the server has nothing to say.
    """

    name = b"ssh-userauth"
    _log = Logger()

    def __init__(
        self,
        user: str,
        next_service: SSHService,
        identities: Sequence[Identity],
        answers: Answers,
        methods: Sequence[bytes] = (b"publickey", b"keyboard-interactive", b"password"),
        signatures: Container[bytes] | None = None,
    ) -> None:
        """
        @param next_service: started once the server is convinced.
        @param methods: those that may be used, in order.
        @param signatures: the algorithms by which keys may sign; None: all.
        """
        self._user = user.encode()
        self._next = next_service
        self._identities = list(identities)
        self._answers = answers
        self._allowed = list(methods)
        self._signatures = signatures
        self._reply: Deferred[tuple[int, bytes]] | None = None
        self.tried: list[str] = []
        self.banner = ""
        self.asking = False
        self.done: Deferred[None] = Deferred()

    def serviceStarted(self) -> None:
        """The server agreed to begin."""
        running = Deferred.fromCoroutine(self._authenticate())
        running.addCallbacks(self.done.callback, self._fail)

    def _fail(self, failure: Failure) -> None:
        """Reports a failure; that the connection has ended is reported by whoever owns it."""
        if not failure.check(CancelledError):
            self.done.errback(failure)

    def serviceStopped(self) -> None:
        """The next service has begun, or the connection is lost."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.cancel()

    def packetReceived(self, number: int, payload: bytes) -> None:
        """A message of RFC 4252."""
        if number == _BANNER:
            self.banner = Reader(payload).text().strip()
            self._log.info("The server says: {banner}", banner=self.banner[:2000])
            return
        reply, self._reply = self._reply, None
        if number == _SUCCESS:
            self.transport.setService(self._next)
        if reply is not None:
            reply.callback((number, payload))

    async def _wait_for_user(self, answer: Awaitable[_T]) -> _T:
        """@return: what C{answer} gives, for which the user has all the time that they need."""
        self.asking = True
        try:
            return await answer
        finally:
            self.asking = False

    async def _ask(self, payload: bytes, number: int = _REQUEST) -> tuple[int, bytes]:
        """@return: the server's answer to a message."""
        self._reply = reply = Deferred()
        self.transport.sendPacket(number, payload)
        return await reply

    async def _request(self, method: bytes, payload: bytes = b"") -> tuple[int, bytes]:
        """@return: the server's answer to a request."""
        return await self._ask(string(self._user) + string(self._next.name) + string(method) + payload)

    def _verdict(self, number: int, payload: bytes) -> _Verdict:
        """@return: what a success or a failure means."""
        if number == _SUCCESS:
            return _Verdict(True, [])
        if number != _FAILURE:
            return _Verdict(False, self._allowed)
        reader = Reader(payload)
        return _Verdict(False, reader.names(), reader.boolean())

    async def _authenticate(self) -> None:
        """Tries one after the other; returns when the server is convinced."""
        verdict: _Verdict | None = None
        if b"publickey" not in self._allowed or not self._identities or self._identities[0].ask_first:
            verdict = self._verdict(*await self._request(b"none"))
            if verdict.accepted:
                return
        attempts: dict[bytes, Callable[[], Awaitable[_Verdict | None]]] = {
            b"publickey": self._try_next_identity,
            b"keyboard-interactive": self._try_keyboard_interactive,
            b"password": self._try_password,
        }
        exhausted: set[bytes] = set()
        while True:
            methods = self._allowed if verdict is None else [m for m in self._allowed if m in verdict.methods]
            usable = [method for method in methods if method not in exhausted]
            if not usable:
                raise AuthenticationRefused(self.tried, verdict.methods if verdict else [])
            answered = await attempts[usable[0]]()
            if answered is None:
                exhausted.add(usable[0])
                continue
            if answered.accepted:
                return
            verdict = answered

    async def _try_next_identity(self) -> _Verdict | None:
        """@return: the verdict about one more key; None when there is no more."""
        while self._identities:
            identity = self._identities.pop(0)
            permitted = [
                algorithm
                for algorithm in signature_algorithms(identity.blob)
                if self._signatures is None or algorithm in self._signatures
            ]
            algorithm = self._algorithm(permitted)
            if algorithm is None:
                why = "the server takes no signature of its type"
                if not permitted:
                    why = "ssh_config's PubkeyAcceptedAlgorithms leave it out"
                self.tried.append(f"{identity.description} ({why})")
                continue
            self.tried.append(identity.description)
            about = string(b"publickey")
            key = string(algorithm) + string(identity.blob)
            if identity.ask_first:
                number, payload = await self._request(b"publickey", b"\0" + key)
                if number != _METHOD_SPECIFIC:
                    return self._verdict(number, payload)
            head = string(self._user) + string(self._next.name) + about + b"\1" + key
            try:
                signature = await self._wait_for_user(
                    identity.sign(algorithm, string(self.transport.sessionID) + bytes([_REQUEST]) + head)
                )
            except Exception as error:
                self.tried[-1] += f" ({error})"
                continue
            return self._verdict(*await self._ask(head + string(signature)))
        return None

    def _algorithm(self, usable: Sequence[bytes]) -> bytes | None:
        """
        @return: the first of C{usable} algorithms that the server takes (RFC 8308 section 3.1 tells what it
            takes), if any.
        """
        announced = self.transport.peerExtensions.get(b"server-sig-algs")
        if announced is None:
            return next(iter(usable), None)
        taken = announced.split(b",")
        return next((algorithm for algorithm in usable if plain_type(algorithm) in taken), None)

    async def _try_password(self) -> _Verdict | None:
        """@return: the verdict about a password; None when nobody can be asked, or it was wrong too often."""
        if self._answers.secret is None or self.tried.count("password") >= self._answers.tries:
            return None
        prompt = f"{self._user.decode()}'s password: "
        password = await self._wait_for_user(self._answers.secret(prompt, False, True))
        if password is None:
            return None
        self.tried.append("password")
        number, payload = await self._request(b"password", b"\0" + string(password.encode()))
        if number == _METHOD_SPECIFIC:
            self.tried[-1] = "password (it has expired and must be changed first)"
            return None
        return self._verdict(number, payload)

    async def _try_keyboard_interactive(self) -> _Verdict | None:
        """@return: the verdict after all questions (RFC 4256); None when nobody can be asked."""
        if self._answers.secret is None or self.tried.count("keyboard-interactive") >= self._answers.tries:
            return None
        self.tried.append("keyboard-interactive")
        number, payload = await self._request(b"keyboard-interactive", string(b"") + string(b""))
        while number == _METHOD_SPECIFIC:
            reader = Reader(payload)
            for heading in (reader.text(), reader.text()):
                if heading.strip():
                    self._log.info("The server says: {heading}", heading=heading.strip()[:2000])
            reader.string()
            answers = []
            count = reader.uint32()
            for _ in range(count):
                prompt, visible = reader.text(), reader.boolean()
                lasting = count == 1 and not visible and _ASKS_PASSWORD.fullmatch(prompt) is not None
                answer = await self._wait_for_user(self._answers.secret(prompt, visible, lasting))
                if answer is None:
                    return None
                answers.append(string(answer.encode()))
            number, payload = await self._ask(uint32(len(answers)) + b"".join(answers), _INFO_RESPONSE)
        return self._verdict(number, payload)
