# -*- test-case-name: tests.ssh.test_remote -*-
"""
The remote host: logins that are kept, and everything that goes over them.

The first link is for what people wait for (exec, attach, logs, forwarded ports), the others for bulk
(uploads, load, save, files), so that neither stands in the other's way in a socket's buffer. Each heals by
itself; while a bulk link is down its streams take the first one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from remotedocker.errors import ForwardingForbidden, PermanentSSHError, SSHError
from remotedocker.interfaces import CommandResult, IRemote, IRemoteFilesystem, IRemoteObserver
from remotedocker.ssh._channel import Channel
from remotedocker.ssh._command import CommandChannel, CommandRunner, SubsystemChannel
from remotedocker.ssh._connection import ChannelRefused, Connection
from remotedocker.ssh._destination import SSHConfiguration, parse_docker_url
from remotedocker.ssh._docker import DockerChannels
from remotedocker.ssh._endpoints import ChannelEndpoint, tcp_channel
from remotedocker.ssh._filesystem import FilesystemSession
from remotedocker.ssh._link import Link
from remotedocker.ssh._links import LinkFactory, LoginExtras
from remotedocker.ssh._login import Login
from remotedocker.ssh._sshconfig import resolve

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
        self._wait = configuration.wait_for_ssh
        host = resolve(configuration, environ)
        address = parse_docker_url(configuration.remote_docker)
        self.destination = host.destination
        self._docker = DockerChannels(address, self.destination)
        self._docker_name = str(address)
        self._files = FilesystemSession(self.destination, self._open_sftp)
        self._observers: list[IRemoteObserver] = []
        self._awaiting: list[Deferred[None]] = []
        self._refusal: PermanentSSHError | None = None
        self._extras: LoginExtras | None = None
        factory = LinkFactory(reactor, host, configuration, environ)
        self._main = factory.make(self)
        self._bulk = [factory.make(_BulkEvents()) for _ in range(configuration.connections - 1)]

    # Life

    def start(self) -> None:
        """Logs in, and from now on keeps the logins."""
        self._main.start()

    def stop(self) -> Deferred[None]:
        """@return: fires when no connection is left."""
        self._drop_extras()
        return gatherResults([link.stop() for link in (self._main, *self._bulk)]).addCallback(lambda _: None)

    @property
    def connected(self) -> bool:
        """See L{IRemote}."""
        login = self._main.login
        if login is None or not login.connection.alive:
            return False
        return bool(self._reactor.seconds() - login.transport.last_received < _PROVEN_SECONDS)

    @property
    def round_trip(self) -> float:
        """See L{IRemote}."""
        login = self._main.login
        return 0.0 if login is None else login.connection.round_trip

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
        self._extras = LoginExtras(self._reactor, login, self._docker)
        for link in self._bulk:
            link.start()
        self._tell(lambda observer: observer.connected())
        waiting, self._awaiting = self._awaiting, []
        for one in waiting:
            one.callback(None)

    def link_down(self, error: Exception) -> None:
        """The first link was lost; the others are looked at, for they may share its fate."""
        self._drop_extras()
        for link in self._bulk:
            link.suspect()
        self._tell(lambda observer: observer.disconnected(error))

    def link_refused(self, error: PermanentSSHError) -> None:
        """The first link never worked, and will not."""
        self._refusal = error
        waiting, self._awaiting = self._awaiting, []
        for one in waiting:
            one.errback(error)

    def _drop_extras(self) -> None:
        """Closes what was opened ahead."""
        extras, self._extras = self._extras, None
        if extras is not None:
            extras.stop()

    # What goes over it

    def _links(self, bulk: bool) -> Sequence[Link]:
        """@return: the links for a stream, the best first."""
        if not bulk:
            return [self._main]
        standing = [link for link in self._bulk if link.login is not None]
        return [*sorted(standing, key=_busyness), self._main]

    async def _open(self, link: Link, use: Callable[[Connection], Awaitable[Channel]]) -> Channel:
        """
        Opens a channel on a link; if that is lost meanwhile, on its next login.

        @raise SSHUnavailable: there was no login in time.
        """
        until = self._reactor.seconds() + self._wait
        while True:
            connection = await link.connection()
            try:
                return await use(connection)
            except ConnectionLost:
                if self._reactor.seconds() >= until:
                    raise link.unavailable() from None
                await deferLater(self._reactor, 0)

    def docker_endpoint(self, bulk: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote.docker_endpoint}."""

        async def obtain() -> Channel:
            link = self._links(bulk)[0]
            extras = self._extras if link is self._main else None
            warm = extras.take() if extras is not None else None
            if warm is not None:
                return warm
            channel = await self._open(link, self._docker.open)
            if extras is not None:
                extras.worked()
            return channel

        return ChannelEndpoint(obtain, self._docker_name)

    def tcp_endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """See L{IRemote.tcp_endpoint}."""

        async def obtain() -> Channel:
            try:
                return await self._open(
                    self._main, lambda connection: connection.open(tcp_channel(connection, host, port))
                )
            except ChannelRefused as refused:
                if refused.code == _PROHIBITED:
                    raise ForwardingForbidden(
                        destination=self.destination, target=f"{host}:{port}", reason=refused.words
                    ) from None
                raise SSHError(
                    destination=self.destination,
                    reason=f"no connection to {host}:{port} there: {refused.words}",
                ) from None

        return ChannelEndpoint(obtain, f"{host}:{port}")

    async def _open_session(
        self, links: Sequence[Link], make: Callable[[Connection], Channel], what: str
    ) -> Channel:
        """
        Opens a session on one of C{links}, on the next one where the server allows no more on that.

        @param what: for messages.
        """
        words = "there is no connection for it"

        async def use(connection: Connection) -> Channel:
            try:
                return cast(Channel, await connection.open(make(connection)))
            except ChannelRefused:
                # The server may have read our close of the last session together with this request, and it
                # counts that session until it has worked through all that it has read. After it has answered
                # something it is asked again.
                await connection.ask_if_alive()
                return cast(Channel, await connection.open(make(connection)))

        for link in links:
            login = link.login
            if login is not None:
                await login.primed.wait()
            try:
                return await self._open(link, use)
            except ChannelRefused as refused:
                words = refused.words
        raise SSHError(destination=self.destination, reason=f"it {what} ({words}); {_TOO_FEW_SESSIONS}")

    def command_endpoint(self, command: str, ahead: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote.command_endpoint}."""

        async def obtain() -> Channel:
            links = self._links(bulk=True)
            return await self._open_session(
                links[:-1] if ahead else links,
                lambda connection: CommandChannel(connection, command),
                "runs no command",
            )

        return ChannelEndpoint(obtain, f"`{command}`")

    async def _open_sftp(self) -> Channel:
        """@return: a channel to the server's SFTP subsystem."""
        return await self._open_session(
            self._links(bulk=True),
            lambda connection: SubsystemChannel(connection, "sftp"),
            "opens no SFTP session",
        )

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
        return Deferred.fromCoroutine(self._files.get())


def _busyness(link: Link) -> int:
    """@return: how many channels a link has."""
    return 0 if link.login is None else len(link.login.connection.channels)


class _BulkEvents:
    """A bulk link's coming and going is of interest to logs only."""

    _log = Logger()

    def link_up(self, login: Login) -> None:
        """It stands."""
        self._log.debug("Another connection for bulk streams stands.")

    def link_down(self, error: Exception) -> None:
        """It was lost."""
        self._log.debug("A connection for bulk streams was lost: {error}", error=str(error))

    def link_refused(self, error: PermanentSSHError) -> None:
        """There will be none."""
        self._log.warn(
            "Bulk streams share the one SSH connection, for there is no other: {error}", error=str(error)
        )
