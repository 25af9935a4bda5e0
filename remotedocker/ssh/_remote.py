# -*- test-case-name: tests.ssh.test_remote -*-
"""
The remote host: logins that are kept, and everything that goes over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from remotedocker.errors import DaemonUnreachable, ForwardingForbidden, PermanentSSHError, SSHError
from remotedocker.interfaces import CommandResult, IRemote, IRemoteFilesystem, IRemoteObserver
from remotedocker.ssh._channel import Channel
from remotedocker.ssh._command import CommandChannel, CommandRunner, SubsystemChannel
from remotedocker.ssh._connection import ChannelRefused, Connection
from remotedocker.ssh._destination import SSHConfiguration, parse_docker_url
from remotedocker.ssh._endpoints import ChannelEndpoint, open_channel, streamlocal_channel, tcp_channel
from remotedocker.ssh._filesystem import FilesystemSession
from remotedocker.ssh._heartbeat import Heartbeat
from remotedocker.ssh._link import Link
from remotedocker.ssh._login import Login, log_in
from remotedocker.ssh._sshconfig import ResolvedHost, resolve
from remotedocker.ssh._userauth import Answers

__all__ = ["Remote"]

_PROHIBITED = 1
_TOO_FEW_SESSIONS = "MaxSessions in its sshd_config may be too low"
#: Seconds without a word from the server after which a login is not called proven any more.
_PROVEN_SECONDS = 15.0


@implementer(IRemote)
class Remote:
    """See L{IRemote}."""

    _log = Logger()

    def __init__(self, reactor: Any, configuration: SSHConfiguration, environ: Mapping[str, str]) -> None:
        """
        Reads ssh_config; connects to nothing before L{start}.

        @raise ValueError: the destination or the daemon's URL cannot be read.
        @raise SSHError: ssh_config has an error.
        """
        self._reactor = reactor
        self._configuration = configuration
        self._host: ResolvedHost = resolve(configuration, environ)
        self._docker = parse_docker_url(configuration.remote_docker)
        self._observers: list[IRemoteObserver] = []
        self._awaiting: list[Deferred[None]] = []
        self._refusal: PermanentSSHError | None = None
        self._answers = Answers()
        self.destination = self._host.destination
        self._files_session = FilesystemSession(self.destination, self._open_sftp)
        self._main = Link(
            reactor,
            self.destination,
            self._log_in,
            self._files(),
            self,
            configuration.wait_for_ssh,
            self._watch,
        )

    def _files(self) -> tuple[Path, ...]:
        """@return: what a refusal depends on."""
        host = self._host
        return (*host.identities, *host.certificates, *host.user_known_hosts, *host.global_known_hosts)

    def _log_in(self) -> Deferred[Login]:
        """@return: fires with a new login."""
        endpoint = HostnameEndpoint(
            self._reactor, self._host.host, self._host.port, timeout=self._host.connect_timeout
        )
        accept = self._configuration.accept_new_host_key
        return Deferred.fromCoroutine(log_in(self._reactor, self._host, endpoint, self._answers, accept))

    def _watch(self, login: Login, dead: Callable[[str], None]) -> Heartbeat:
        """@return: what notices that a login is dead."""
        host = self._host
        return Heartbeat(
            self._reactor, login.transport, login.connection, dead, host.alive_interval, host.alive_count
        )

    # Life

    def start(self) -> None:
        """Logs in, and from now on keeps the login."""
        self._main.start()

    def stop(self) -> Deferred[None]:
        """@return: fires when no connection is left."""
        return gatherResults([self._main.stop()]).addCallback(lambda _: None)

    @property
    def connected(self) -> bool:
        """See L{IRemote}."""
        login = self._main.login
        return login is not None and self._reactor.seconds() - login.transport.last_received < _PROVEN_SECONDS

    def when_connected(self) -> Deferred[None]:
        """See L{IRemote.when_connected}."""
        waiting: Deferred[None] = Deferred(self._forget)
        if self._refusal is not None:
            waiting.errback(self._refusal)
        elif self._main.login is not None:
            waiting.callback(None)
        else:
            self._awaiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        """Nobody wants to know any more."""
        if waiting in self._awaiting:
            self._awaiting.remove(waiting)

    def add_observer(self, observer: IRemoteObserver) -> None:
        """See L{IRemote.add_observer}."""
        self._observers.append(observer)

    def _tell(self, what: Callable[[IRemoteObserver], None]) -> None:
        """Tells every observer; none can keep the others from hearing."""
        for observer in list(self._observers):
            try:
                what(observer)
            except Exception:
                self._log.failure("An observer of the SSH connection failed")

    def link_up(self, login: Login) -> None:
        """The first link stands."""
        waiting, self._awaiting = self._awaiting, []
        for one in waiting:
            one.callback(None)
        self._tell(lambda observer: observer.connected())

    def link_down(self, error: Exception) -> None:
        """The first link was lost."""
        self._tell(lambda observer: observer.disconnected(error))

    def link_refused(self, error: PermanentSSHError) -> None:
        """The first link never worked, and will not."""
        self._refusal = error
        waiting, self._awaiting = self._awaiting, []
        for one in waiting:
            one.errback(error)

    # What goes over it

    async def _open(self, link: Link, make: Callable[[Connection], Channel]) -> Channel:
        """@return: an open channel."""
        return await open_channel(self._reactor, link, make, self._configuration.wait_for_ssh)

    def docker_endpoint(self, bulk: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote.docker_endpoint}."""
        docker = self._docker

        def make(connection: Connection) -> Channel:
            if docker.path is not None:
                return streamlocal_channel(connection, docker.path)
            return tcp_channel(connection, docker.host, docker.port)

        async def obtain() -> Channel:
            try:
                return await self._open(self._main, make)
            except ChannelRefused as refused:
                if refused.code == _PROHIBITED:
                    raise self._forbidden(str(docker), refused) from None
                raise DaemonUnreachable(
                    socket=docker, destination=self.destination, reason=refused.words or "refused"
                ) from None

        return ChannelEndpoint(obtain, str(docker))

    def _forbidden(self, target: str, refused: ChannelRefused) -> ForwardingForbidden:
        """@return: the error that says that the server does not forward there."""
        return ForwardingForbidden(destination=self.destination, target=target, reason=refused.words)

    def tcp_endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """See L{IRemote.tcp_endpoint}."""

        async def obtain() -> Channel:
            try:
                return await self._open(self._main, lambda connection: tcp_channel(connection, host, port))
            except ChannelRefused as refused:
                if refused.code == _PROHIBITED:
                    raise self._forbidden(f"{host}:{port}", refused) from None
                raise SSHError(
                    destination=self.destination,
                    reason=f"no connection to {host}:{port} there: {refused.words}",
                ) from None

        return ChannelEndpoint(obtain, f"{host}:{port}")

    def command_endpoint(self, command: str) -> IStreamClientEndpoint:
        """See L{IRemote.command_endpoint}."""

        async def obtain() -> Channel:
            try:
                return await self._open(self._main, lambda connection: CommandChannel(connection, command))
            except ChannelRefused as refused:
                raise SSHError(
                    destination=self.destination,
                    reason=f"it runs no command ({refused.words}); {_TOO_FEW_SESSIONS}",
                ) from None

        return ChannelEndpoint(obtain, f"`{command}`")

    async def _open_sftp(self) -> Channel:
        """@return: a channel to the server's SFTP subsystem."""
        try:
            return await self._open(self._main, lambda connection: SubsystemChannel(connection, "sftp"))
        except ChannelRefused as refused:
            raise SSHError(
                destination=self.destination,
                reason=f"it opens no SFTP session ({refused.words}); {_TOO_FEW_SESSIONS}",
            ) from None

    def run(self, command: str, stdin: bytes = b"") -> Deferred[CommandResult]:
        """See L{IRemote.run}."""
        return Deferred.fromCoroutine(self._run(command, stdin))

    async def _run(self, command: str, stdin: bytes) -> CommandResult:
        """Runs a command to its end."""
        runner = CommandRunner(stdin)
        await connectProtocol(self.command_endpoint(command), runner)
        try:
            return await runner.done
        except ConnectionClosed as error:
            raise SSHError(destination=self.destination, reason=f"`{command}` was cut off: {error}") from None

    def filesystem(self) -> Deferred[IRemoteFilesystem]:
        """See L{IRemote.filesystem}."""
        return Deferred.fromCoroutine(self._files_session.get())
