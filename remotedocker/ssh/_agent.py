# -*- test-case-name: tests.ssh.test_login -*-
"""
Keys that an ssh-agent holds (draft-miller-ssh-agent). Conch's own client asks for SHA-1 of RSA keys, so that
its requests are made here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from remotedocker.ssh._certificates import is_certificate_type, plain_type
from remotedocker.ssh._wire import Reader, string, uint32

__all__ = ["Agent", "AgentIdentity", "AgentRefused", "connect_agent"]

_FAILURES = (5, 30, 102)
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14
_FLAGS = {b"rsa-sha2-256": 2, b"rsa-sha2-512": 4}
_LONGEST_ANSWER = 1 << 20
#: So long an agent may take to say which keys it holds, for which nobody needs to be asked.
_LIST_SECONDS = 10.0


class AgentRefused(Exception):
    """The agent did not do what was asked (a locked agent, a key that the user did not confirm)."""


class Agent(Protocol):
    """A connection to an agent; its answers come in the order of the requests."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._buffer = b""
        self._waiting: deque[Deferred[bytes]] = deque()

    def dataReceived(self, data: bytes) -> None:
        """Hands each whole answer to the request that it answers."""
        self._buffer += data
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if not 0 < length <= _LONGEST_ANSWER or not self._waiting:
                self.transport.loseConnection()
                return
            if len(self._buffer) < 4 + length:
                return
            answer, self._buffer = self._buffer[4 : 4 + length], self._buffer[4 + length :]
            waiting = self._waiting.popleft()
            if answer[0] in _FAILURES:
                waiting.errback(AgentRefused("the agent refused"))
            else:
                waiting.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fails what is still waited for."""
        while self._waiting:
            self._waiting.popleft().errback(AgentRefused("the agent closed the connection"))

    def _request(self, kind: int, payload: bytes) -> Deferred[bytes]:
        """@return: fires with the answer, its type first."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append(waiting)
        self.transport.write(uint32(1 + len(payload)) + bytes([kind]) + payload)
        return waiting

    async def identities(self) -> Sequence[AgentIdentity]:
        """
        @return: the keys and certificates that it holds, in its order.
        @raise AgentRefused: it does not tell them, or not in time.
        """
        asked = self._request(_REQUEST_IDENTITIES, b"")
        try:
            reader = Reader(await asked.addTimeout(_LIST_SECONDS, self._clock))
        except TimeoutError:
            self.close()
            raise AgentRefused("the agent does not answer") from None
        if reader.byte() != _IDENTITIES_ANSWER:
            raise AgentRefused("the agent gave a strange answer")
        found = []
        for _ in range(reader.uint32()):
            blob, comment = reader.string(), reader.text()
            found.append(AgentIdentity(self, blob, comment))
        return found

    async def sign(self, blob: bytes, algorithm: bytes, data: bytes) -> bytes:
        """@return: a signature by the key C{blob}."""
        flags = _FLAGS.get(plain_type(algorithm), 0)
        reader = Reader(await self._request(_SIGN_REQUEST, string(blob) + string(data) + uint32(flags)))
        if reader.byte() != _SIGN_RESPONSE:
            raise AgentRefused("the agent gave a strange answer")
        return reader.string()

    def close(self) -> None:
        """Ends the connection."""
        if self.transport is not None:
            self.transport.loseConnection()


@frozen
class AgentIdentity:
    """
    A key in the agent.

    @ivar blob: the public key, or a certificate.
    @ivar comment: what the user called it.
    """

    agent: Agent
    blob: bytes
    comment: str
    ask_first: bool = True

    @property
    def description(self) -> str:
        """For messages."""
        kind = "certificate" if is_certificate_type(Reader(self.blob).string()) else "key"
        return f"{self.comment or kind} from the agent"

    def sign(self, algorithm: bytes, data: bytes) -> Deferred[bytes]:
        """@return: fires with the signature; the user may have to confirm it."""
        return Deferred.fromCoroutine(self.agent.sign(self.blob, algorithm, data))


async def connect_agent(reactor: Any, path: str) -> Agent | None:
    """@return: the agent at a socket, or None where none answers."""
    if not path:
        return None
    try:
        return await connectProtocol(UNIXClientEndpoint(reactor, path, timeout=5), Agent(reactor))
    except (ConnectError, OSError, ValueError):
        return None
