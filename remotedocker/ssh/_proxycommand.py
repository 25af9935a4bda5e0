# -*- test-case-name: tests.ssh.test_proxycommand -*-
"""
Reaching the SSH server through a command's standard streams: C{ProxyCommand}, and C{ssh -W} for C{ProxyJump}.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ProcessExitedAlready
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.ssh._channel import ChannelAddress
from remotedocker.ssh._destination import SSHConfiguration, parse_destination
from remotedocker.ssh._sshconfig import ResolvedHost

__all__ = ["CommandLineEndpoint", "jump_command"]

_STDERR_KEPT = 4096
#: For so many seconds a command may go on when its streams are over: to pass on our last words, and say its
#: own.
_GRACE_SECONDS = 2.0


def jump_command(host: ResolvedHost, configuration: SSHConfiguration) -> str:
    """
    @return: the command that leads to C{host} over its C{ProxyJump}: as C{ssh} itself does it, the last jump
        is logged in to, over those before it.
    @raise ValueError: a jump cannot be read.
    """
    *before, last = host.jump.split(",")
    jump = parse_destination(last)
    words = ["ssh"]
    if configuration.ssh_config is not None:
        words += ["-F", str(configuration.ssh_config)]
    for identity in configuration.identities:
        words += ["-i", str(identity)]
    if configuration.known_hosts:
        files = " ".join(f'"{file}"' for file in configuration.known_hosts)
        words += ["-o", f"UserKnownHostsFile={files}"]
    if configuration.accept_new_host_key:
        words += ["-o", "StrictHostKeyChecking=accept-new"]
    if jump.user is not None:
        words += ["-l", jump.user]
    if jump.port is not None:
        words += ["-p", str(jump.port)]
    if before:
        words += ["-J", ",".join(before)]
    words += ["-o", "ClearAllForwardings=yes", "-W", f"[{host.host}]:{host.port}", "--", jump.host]
    return shlex.join(words)


@implementer(IStreamClientEndpoint)
class CommandLineEndpoint:
    """Starts a command for each connection."""

    def __init__(self, reactor: Any, command: str, environ: Mapping[str, str]) -> None:
        """
        @param command: for the user's shell.
        """
        self._reactor = reactor
        self._command = command
        self._environ = dict(environ)

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """@return: fires with the protocol, once the command has started."""
        protocol = protocolFactory.buildProtocol(ChannelAddress("command", self._command))
        shell = self._environ.get("SHELL") or "/bin/sh"
        child = _Child(self._reactor, self._command, protocol)
        try:
            self._reactor.spawnProcess(
                child,
                shell,
                [shell, "-c", f"exec {self._command}"],
                env=self._environ,
                childFDs={0: "w", 1: "r", 2: "r"},
            )
        except OSError:
            return fail()
        return child.started


@implementer(ITransport, IConsumer, IPushProducer)
class _Child(ProcessProtocol):
    """A command, as a transport."""

    _log = Logger()

    def __init__(self, reactor: Any, command: str, protocol: Any) -> None:
        self._reactor = reactor
        self._hang_up_call: IDelayedCall | None = None
        self._command = command
        self._protocol = protocol
        self._stderr = b""
        self._aborted = False
        self.disconnecting = False
        self.started: Deferred[Any] = Deferred()

    # What the process does

    def connectionMade(self) -> None:
        """It runs."""
        self._protocol.makeConnection(self)
        self.started.callback(self._protocol)

    def outReceived(self, data: bytes) -> None:
        """It wrote something."""
        self._protocol.dataReceived(data)

    def errReceived(self, data: bytes) -> None:
        """It complains."""
        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def outConnectionLost(self) -> None:
        """It will write nothing more."""
        self.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and all its words are here."""
        call, self._hang_up_call = self._hang_up_call, None
        if call is not None:
            call.cancel()
        words = " ".join(self._stderr.decode("utf-8", "replace").split())
        error: Exception
        if self._aborted:
            error = ConnectionAborted()
        elif self.disconnecting and not words and not getattr(reason.value, "exitCode", None):
            error = ConnectionDone()
        else:
            error = ConnectionLost(f"`{self._command}` ended: {words or reason.value}")
        self._protocol.connectionLost(Failure(error))

    # What a protocol wants

    def write(self, data: bytes) -> None:
        """Gives the command something to read."""
        if not self.disconnecting:
            self.transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Gives the command something to read."""
        if not self.disconnecting:
            self.transport.writeSequence(list(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Lets C{producer} be told when the command reads too slowly."""
        self.transport.pipes[0].registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        if 0 in self.transport.pipes:
            self.transport.pipes[0].unregisterProducer()

    def pauseProducing(self) -> None:
        """Reads nothing of the command for now."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Reads of the command again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Nobody will read any more."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """Closes the command's input once everything is written, and ends it if that does not."""
        if not self.disconnecting:
            self.disconnecting = True
            self.transport.closeStdin()
            self._hang_up_call = self._reactor.callLater(_GRACE_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        """The command goes on, or somebody else holds its streams."""
        self._hang_up_call = None
        self._signal("HUP")
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Ends the command at once, and waits for nobody who still holds its streams."""
        self._aborted = self.disconnecting = True
        self._signal("KILL")
        self.transport.loseConnection()

    def _signal(self, name: str) -> None:
        """Signals the command, if it still runs."""
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            self._log.debug("The command {command} has ended already.", command=self._command)

    def getPeer(self) -> ChannelAddress:
        """@return: what the command is."""
        return ChannelAddress("command", self._command)

    def getHost(self) -> ChannelAddress:
        """@return: what the command is."""
        return ChannelAddress("command", self._command)
