# -*- test-case-name: tests.ssh.test_login -*-
"""
One login: from a destination to an SSH connection that carries channels, or to the reason why not.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TakesTooLong
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import AuthenticationFailed, SSHError
from remotedocker.ssh._agent import connect_agent
from remotedocker.ssh._connection import Connection
from remotedocker.ssh._hostkeys import HostKeyPolicy
from remotedocker.ssh._identities import gather_identities
from remotedocker.ssh._primer import Primer
from remotedocker.ssh._program import run_program
from remotedocker.ssh._sshconfig import ResolvedHost
from remotedocker.ssh._transport import ClientTransport
from remotedocker.ssh._userauth import Answers, AuthenticationRefused, UserAuthentication
from remotedocker.ssh._wire import TruncatedMessage

__all__ = ["Login", "log_in"]

_log = Logger()
#: Seconds that the server may take for each step, and between two of its messages.
_STEP_SECONDS = 20.0
#: Bytes that are taken of C{KnownHostsCommand}.
_MOST_KNOWN_HOSTS = 16 << 20


@define(eq=False)
class Login:
    """
    A login that succeeded.

    @ivar primed: the first thing that is done with it.
    @ivar ended: fires with the reason when the connection is lost.
    """

    transport: ClientTransport
    connection: Connection
    primed: Primer
    ended: Deferred[Exception]

    def abort(self, error: Exception) -> None:
        """Gives the connection up at once."""
        self.transport.abort(error)

    def close(self) -> None:
        """Ends the connection in good order."""
        self.transport.disconnect()


class _Attempt:
    """
    A login while it is being made: each step ends when it is done, when the connection is lost, or when the
    server says nothing for too long.

    @ivar ended: fires with the reason when the connection is lost.
    @ivar authentication: once it is being done.
    """

    def __init__(self, reactor: Any, host: ResolvedHost, policy: HostKeyPolicy) -> None:
        self._reactor = reactor
        self._destination = host.destination
        self._gate: Deferred[Any] | None = None
        self._step_began = reactor.seconds()
        self._check: IDelayedCall | None = reactor.callLater(1.0, self._check_silence)
        self.authentication: UserAuthentication | None = None
        self.secured: Deferred[None] = Deferred()
        self.ended: Deferred[Exception] = Deferred()
        self.transport = ClientTransport(
            reactor, host.destination, policy, self._secure, self._lost, host.permitted
        )
        self.transport.limit_keys(host.rekey_bytes, host.rekey_seconds)

    def _secure(self) -> None:
        """The host is who it should be."""
        self.secured.callback(None)

    def _lost(self, reason: Failure) -> None:
        """The TCP connection has ended."""
        error = self.transport.error
        if error is None:
            error = SSHError(
                destination=self._destination, reason=f"the connection was lost ({_words(reason.value)})"
            )
        self._open_gate(Failure(error))
        self.ended.callback(error)

    async def step(self, waited_for: Deferred[Any]) -> Any:
        """@return: what C{waited_for} fires with."""
        self._step_began = self._reactor.seconds()
        self._gate = gate = Deferred()
        waited_for.addBoth(self._open_gate)
        return await gate

    def _open_gate(self, result: Any) -> None:
        """The step is over."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.callback(result)

    def _check_silence(self) -> None:
        """Once a second."""
        now = self._reactor.seconds()
        if self.authentication is not None and self.authentication.asking:
            self._step_began = now
        self._check = self._reactor.callLater(1.0, self._check_silence)
        if now - max(self.transport.last_received, self._step_began) >= _STEP_SECONDS:
            self.over()
            self.transport.abort(
                SSHError(
                    destination=self._destination, reason=f"the server said nothing for {_STEP_SECONDS:.0f} s"
                )
            )

    def over(self) -> None:
        """Looks after the login no more."""
        check, self._check = self._check, None
        if check is not None:
            check.cancel()


@implementer(IProtocolFactory)
class _OneProtocol:
    """A factory of the one protocol that there is."""

    def __init__(self, protocol: ClientTransport) -> None:
        self._protocol = protocol

    def doStart(self) -> None:
        """Nothing is to be prepared."""

    def doStop(self) -> None:
        """Nothing is to be cleaned up."""

    def buildProtocol(self, addr: object) -> ClientTransport:
        """@return: the protocol."""
        return self._protocol


def _words(error: BaseException) -> str:
    """@return: what happened, without Twisted's usual words around it."""
    table: tuple[tuple[type[BaseException], str], ...] = (
        (ConnectionRefusedError, "connection refused: no SSH server listens there"),
        (DNSLookupError, "the host name cannot be resolved"),
        (NoRouteError, "there is no route to the host"),
        (TimeoutError, "it does not answer"),
        (ConnectionDone, "closed by the server"),
        (ConnectionClosed, "the link broke"),
    )
    for kind, words in table:
        if type(error) is kind:
            return words
    return str(error) or type(error).__name__


async def log_in(
    reactor: Any,
    host: ResolvedHost,
    endpoint: IStreamClientEndpoint,
    answers: Answers,
    accept_new_host_key: bool,
    environ: Mapping[str, str],
) -> Login:
    """
    Connects, checks the host, proves who the user is. Cancelling ends what has been begun.

    @param endpoint: leads to the SSH server, directly or by a proxy command.
    @param environ: for C{KnownHostsCommand}.
    @raise PermanentSSHError: a later attempt would end in the same way, unless somebody changes something.
    @raise SSHError: the host cannot be reached, or the connection was lost.
    """
    policy = _policy(host, accept_new_host_key)
    if host.known_hosts_command:
        policy.add(await _ask_for_known_hosts(reactor, host, environ))
    attempt = _Attempt(reactor, host, policy)
    transport = attempt.transport
    try:
        try:
            await endpoint.connect(_OneProtocol(transport))
        except (ConnectError, DNSLookupError, OSError) as error:
            raise SSHError(destination=host.destination, reason=_words(error)) from None
        await attempt.step(attempt.secured)
        connection = await _authenticate(reactor, attempt, host, answers)
    except BaseException as error:
        if isinstance(error, AuthenticationFailed):
            answers.judged(False)
        transport.abort(
            error
            if isinstance(error, SSHError)
            else SSHError(destination=host.destination, reason="given up")
        )
        raise
    finally:
        attempt.over()
    answers.judged(True)
    _log.info(
        "Logged in to {destination} ({algorithms}).",
        destination=host.destination,
        algorithms=transport.negotiated,
    )
    return Login(transport, connection, Primer(reactor, connection), attempt.ended)


def _policy(host: ResolvedHost, accept_new_host_key: bool) -> HostKeyPolicy:
    """@return: how the host's key is checked; known_hosts is read now."""
    return HostKeyPolicy(
        host.destination,
        host.host,
        host.port,
        (*host.user_known_hosts, *host.global_known_hosts),
        alias=host.alias,
        accept_new=accept_new_host_key or host.strict in ("accept-new", "no"),
        record_in=host.user_known_hosts[0] if host.user_known_hosts else None,
        hashed=host.hash_known_hosts,
        revoked_keys=host.revoked_host_keys,
        permitted=host.permitted.host_keys,
        authorities=host.permitted.authorities,
        least_rsa=host.least_rsa,
        unchecked=host.unchecked_localhost and not host.alias and host.is_loopback,
    )


async def _ask_for_known_hosts(reactor: Any, host: ResolvedHost, environ: Mapping[str, str]) -> str:
    """
    @return: what C{KnownHostsCommand} prints.
    @raise SSHError: it failed, or took too long; it may do better next time.
    """
    command = host.known_hosts_command
    try:
        running = run_program(reactor, command, environ, _MOST_KNOWN_HOSTS)
        ended = await running.addTimeout(_STEP_SECONDS, reactor)
    except OSError as error:
        reason = str(error)
    except TakesTooLong:
        reason = f"it gave no answer in {_STEP_SECONDS:.0f} s"
    else:
        if ended.status == 0:
            return ended.stdout.decode("utf-8", "replace")
        words = " ".join(ended.stderr.decode("utf-8", "replace").split())
        reason = words or ("a signal ended it" if ended.status is None else f"status {ended.status}")
    raise SSHError(
        destination=host.destination, reason=f"KnownHostsCommand `{shlex.join(command)}` failed: {reason}"
    )


async def _authenticate(reactor: Any, attempt: _Attempt, host: ResolvedHost, answers: Answers) -> Connection:
    """@return: the connection, once the server is convinced who the user is."""
    agent = await connect_agent(reactor, host.agent) if host.pubkey else None
    try:
        identities = await gather_identities(host, agent, answers)
        allowed = {
            b"publickey": host.pubkey,
            b"keyboard-interactive": host.keyboard_interactive,
            b"password": host.password,
        }
        methods = [name.encode() for name in host.preferred_methods] or list(allowed)
        connection = Connection(reactor)
        authentication = UserAuthentication(
            host.user,
            connection,
            identities.usable if host.pubkey else (),
            answers,
            [method for method in methods if allowed.get(method)],
            host.permitted.signatures,
        )
        attempt.authentication = authentication
        attempt.transport.requestService(authentication)
        try:
            await attempt.step(authentication.done)
        except AuthenticationRefused as refused:
            raise AuthenticationFailed(
                destination=host.destination, tried=_tried(refused, identities.unusable)
            ) from None
        except TruncatedMessage as error:
            raise SSHError(
                destination=host.destination, reason=f"a message of the server's makes no sense ({error})"
            ) from None
        except SSHError as error:
            if "too many authentication failures" in str(error).lower():
                tried = [
                    *authentication.tried,
                    "then the server had enough: name the right one with --identity",
                ]
                raise AuthenticationFailed(destination=host.destination, tried=", ".join(tried)) from None
            raise
        return connection
    finally:
        if agent is not None:
            agent.close()


def _tried(refused: AuthenticationRefused, unusable: Sequence[str]) -> str:
    """@return: what was tried, what could not be, and what the server would have taken."""
    tried = ", ".join([*refused.tried, *unusable]) or "nothing, for there is no key"
    return f"{tried}; the server takes {', '.join(refused.methods) or 'nothing more'}"
