# -*- test-case-name: tests.daemon.test_fakes -*-
"""
L{IRemote} without SSH: logins come and go as a test says, channels are connections of a given kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from remotedocker.errors import RemoteFileError, SSHUnavailable
from remotedocker.interfaces import CommandResult, IRemote, IRemoteFilesystem, IRemoteObserver
from tests.support import MemoryClientEndpoint, MemoryNetwork

__all__ = ["FakeRemote"]


@implementer(IStreamClientEndpoint)
@define
class _Channel:
    """Connects once there is a login, and is lost with it."""

    remote: FakeRemote
    endpoint: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint}."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        if self.remote.unavailable:
            raise SSHUnavailable(
                destination=self.remote.destination, state="not connected", reason="told so by a test"
            )
        await self.remote.when_connected()
        protocol = await self.endpoint.connect(factory)
        self.remote.channels.append(protocol)
        return protocol


@implementer(IRemote)
class FakeRemote:
    """
    Logged in from the start.

    @ivar connected: see L{IRemote}.
    @ivar unavailable: channels fail at once, as when the time to wait for a login is over.
    @ivar channels: every protocol that was connected.
    @ivar refused: the login was refused for good: what L{when_connected} fails with.
    """

    def __init__(
        self,
        connect: Callable[[str], IStreamClientEndpoint],
        run: Callable[[str, bytes], CommandResult] = lambda command, stdin: CommandResult(127, "", b"", b""),
        filesystem: IRemoteFilesystem | None = None,
    ) -> None:
        """
        @param connect: the way to C{"docker"}, C{"host:port"} or C{"command:..."}.
        @param run: what commands do.
        @param filesystem: the remote's files.
        """
        self.destination = "me@remote"
        self.round_trip = 0.0
        self.connected = True
        self.unavailable = False
        self.refused: Exception | None = None
        self.channels: list[Any] = []
        self._connect = connect
        self._run = run
        self._filesystem = filesystem
        self._observers: list[IRemoteObserver] = []
        self._waiting: list[Deferred[None]] = []

    @classmethod
    def in_memory(cls, network: MemoryNetwork) -> FakeRemote:
        """A remote whose channels lead to the listeners of C{network}."""
        return cls(lambda name: MemoryClientEndpoint(network, name))

    def log_in(self) -> None:
        """A login succeeds."""
        self.connected = True
        for observer in self._observers:
            observer.connected()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def log_out(self, reason: str = "the link was lost") -> None:
        """The login is lost, and all channels with it."""
        self.connected = False
        self.cut_channels()
        for observer in self._observers:
            observer.disconnected(ConnectionError(reason))

    def cut_channels(self) -> None:
        """All channels are lost."""
        channels, self.channels = self.channels, []
        for protocol in channels:
            protocol.transport.abortConnection()

    def docker_endpoint(self, bulk: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote.docker_endpoint}."""
        return _Channel(self, self._connect("docker"))

    def tcp_endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """See L{IRemote.tcp_endpoint}."""
        return _Channel(self, self._connect(f"{host}:{port}"))

    def command_endpoint(self, command: str, ahead: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote.command_endpoint}."""
        return _Channel(self, self._connect(f"command:{command}"))

    def run(self, command: str, stdin: bytes = b"") -> Deferred[CommandResult]:
        """See L{IRemote.run}."""
        return succeed(self._run(command, stdin))

    def filesystem(self) -> Deferred[IRemoteFilesystem]:
        """See L{IRemote.filesystem}."""
        if self._filesystem is None:
            return fail(
                RemoteFileError(
                    operation="open", path="/", destination=self.destination, reason="there is no SFTP here"
                )
            )
        return succeed(self._filesystem)

    def when_connected(self) -> Deferred[None]:
        """See L{IRemote.when_connected}."""
        if self.refused is not None:
            return fail(self.refused)
        if self.connected:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def add_observer(self, observer: IRemoteObserver) -> None:
        """See L{IRemote.add_observer}."""
        self._observers.append(observer)
