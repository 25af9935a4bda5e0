# -*- test-case-name: tests.sync.test_mirrors -*-
"""
L{IRemote} whose commands run on this machine, in a home of their own: the real C{sh}, C{tar} and C{find},
without SSH.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ProcessTerminated
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import SSHError, SSHUnavailable
from remotedocker.interfaces import CommandResult, IRemote, IRemoteFilesystem, IRemoteObserver

__all__ = ["LocalRemote", "busybox_tools"]


def busybox_tools(directory: Path) -> Path:
    """@return: a directory in which every tool, and the shell, is busybox's."""
    tools = directory / "busybox-tools"
    if not tools.exists():
        tools.mkdir()
        subprocess.run(["/bin/busybox", "--install", "-s", str(tools)], check=True)
    return tools


@implementer(IHalfCloseableProtocol)
class _Process(Protocol):
    """Joins a process, on one end of a pair of sockets, to the protocol that wants to talk to it."""

    def __init__(self, remote: LocalRemote, inner: IProtocol, process: subprocess.Popen[bytes]) -> None:
        self.remote = remote
        self.inner = inner
        self.process = process

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.remote.processes.append(self)
        self.inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.remote.received += len(data)
        self.inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.readConnectionLost()
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.remote.processes.remove(self)
        status = self.process.wait()
        if reason.check(ConnectionDone) and status:
            reason = Failure(ProcessTerminated(status))
        self.inner.connectionLost(reason)


@implementer(IStreamClientEndpoint)
@define
class _Command:
    remote: LocalRemote
    command: str
    ahead: bool

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """See L{IStreamClientEndpoint}."""
        remote = self.remote
        if not remote.connected:
            return fail(SSHUnavailable(destination="here", state="not connected", reason="a test says so"))
        if self.ahead and not remote.room:
            return fail(SSHError(destination="here", reason="a test says that there is no room"))
        remote.commands.append(self.command)
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*remote.shell, "-c", self.command],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                cwd=remote.home,
                env=remote.environment,
                start_new_session=True,
            )
        inner = factory.buildProtocol(UNIXAddress(None))
        assert inner is not None
        with ours:
            ours.setblocking(False)
            remote.reactor.adoptStreamConnection(
                ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: _Process(remote, inner, process))
            )
        return succeed(inner)


@implementer(IRemote)
class LocalRemote:
    """
    @ivar connected: see L{IRemote}; L{lose} and L{restore} change it.
    @ivar home: the home directory of the "remote" user.
    @ivar commands: what was run.
    @ivar room: whether commands can be run before they are needed.
    """

    destination = "dev@here"
    round_trip = 0.0

    def __init__(self, reactor: Any, home: Path, tools: Path | None = None) -> None:
        self.reactor = reactor
        self.home = home
        self.connected = True
        self.commands: list[str] = []
        self.room = False
        self.processes: list[_Process] = []
        self.received = 0
        self._observers: list[IRemoteObserver] = []
        path = os.environ["PATH"] if tools is None else str(tools)
        self.shell = ["/bin/sh"] if tools is None else [str(tools / "sh")]
        self.environment = {"HOME": str(home), "PATH": path}

    def docker_endpoint(self, bulk: bool = False) -> IStreamClientEndpoint:
        """Nothing here asks for it."""
        raise NotImplementedError

    def tcp_endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        """Nothing here asks for it."""
        raise NotImplementedError

    def command_endpoint(self, command: str, ahead: bool = False) -> IStreamClientEndpoint:
        """See L{IRemote}."""
        endpoint: IStreamClientEndpoint = _Command(self, command, ahead)
        return endpoint

    def run(self, command: str, stdin: bytes = b"") -> Deferred[CommandResult]:
        """See L{IRemote}; waits for the command."""
        done = subprocess.run(
            [*self.shell, "-c", command],
            input=stdin,
            capture_output=True,
            cwd=self.home,
            env=self.environment,
        )
        return succeed(CommandResult(done.returncode, "", done.stdout, done.stderr))

    def filesystem(self) -> Deferred[IRemoteFilesystem]:
        """There is no SFTP here."""
        return fail(SSHUnavailable(destination="here", state="no SFTP", reason="a test says so"))

    def when_connected(self) -> Deferred[None]:
        """See L{IRemote}."""
        return succeed(None)

    def add_observer(self, observer: IRemoteObserver) -> None:
        """See L{IRemote}."""
        self._observers.append(observer)

    def lose(self) -> None:
        """The login is lost: everything that runs is cut off."""
        self.connected = False
        for process in list(self.processes):
            process.process.kill()
            process.transport.abortConnection()  # type: ignore[union-attr]
        for observer in self._observers:
            observer.disconnected(ConnectionDone())

    def restore(self) -> None:
        """There is a login again."""
        self.connected = True
        for observer in self._observers:
            observer.connected()
