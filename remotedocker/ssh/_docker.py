# -*- test-case-name: tests.ssh.test_remote -*-
"""
Channels to the remote daemon: straight to its socket, or, where the server does not forward, through a
command that does; and if neither works, why.
"""

from __future__ import annotations

import shlex
from typing import Any, cast
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger

from remotedocker.errors import DaemonUnreachable, ForwardingForbidden, RemoteDockerError
from remotedocker.interfaces import CommandResult
from remotedocker.ssh._channel import Channel
from remotedocker.ssh._command import CommandChannel, CommandRunner
from remotedocker.ssh._connection import ChannelRefused, Connection
from remotedocker.ssh._destination import DockerAddress
from remotedocker.ssh._endpoints import ChannelEndpoint, streamlocal_channel, tcp_channel

__all__ = ["DockerChannels"]

_PROHIBITED, _UNKNOWN_TYPE, _SHORTAGE = 1, 3, 4

#: What C{_LOOK} exits with, and what that means.
_MISSING, _NO_SOCKET, _NOT_ALLOWED, _THERE = 41, 42, 43, 44
_LOOK = (
    "if [ ! -e {path} ]; then for d in $XDG_RUNTIME_DIR /run/user/$(id -u) /var/run /run; do "
    "for s in $d/docker.sock $d/podman/podman.sock; do [ -S $s ] && [ -w $s ] && echo $s; done; done; "
    "exit 41; elif [ ! -S {path} ]; then exit 42; "
    "elif [ ! -r {path} ] || [ ! -w {path} ]; then exit 43; else exit 44; fi"
)
#: Docker's own way to reach its daemon over SSH, and what else often is there.
_RELAY = (
    "if command -v docker >/dev/null 2>&1; then exec docker -H {url} system dial-stdio; "
    "elif command -v socat >/dev/null 2>&1; then exec socat - {socat}; "
    "elif command -v nc >/dev/null 2>&1; then exec nc {nc}; "
    "else echo 'there is no docker, socat or nc there' >&2; exit 127; fi"
)
#: A command that has not ended then is given up: others wait for what it would tell.
_LOOK_SECONDS = 20.0
_PING = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"


class DockerChannels:
    """
    Opens channels to one daemon.
    """

    _log = Logger()

    def __init__(self, address: DockerAddress, destination: str) -> None:
        """
        @param destination: for messages.
        """
        self._address = address
        self._destination = destination
        self._one_at_a_time = DeferredLock()
        self._by_command: WeakSet[Connection] = WeakSet()
        path = address.path
        if path is not None:
            quoted = shlex.quote(path)
            url, socat, nc = (
                shlex.quote(f"unix://{path}"),
                shlex.quote(f"UNIX-CONNECT:{path}"),
                f"-U {quoted}",
            )
        else:
            host, port = shlex.quote(address.host), address.port
            url, socat, nc = shlex.quote(f"tcp://{address}"), shlex.quote(f"TCP:{address}"), f"{host} {port}"
            quoted = ""
        self._look = "/bin/sh -c " + shlex.quote(_LOOK.format(path=quoted))
        self._relay = "/bin/sh -c " + shlex.quote(_RELAY.format(url=url, socat=socat, nc=nc))

    def forwards(self, connection: Connection) -> bool:
        """@return: whether channels straight to the socket are not known to be refused."""
        return connection not in self._by_command

    def direct(self, connection: Connection) -> Deferred[Any]:
        """@return: fires with a channel straight to the daemon; fails with L{ChannelRefused}."""
        address = self._address
        if address.path is not None:
            return connection.open(streamlocal_channel(connection, address.path))
        return connection.open(tcp_channel(connection, address.host, address.port))

    async def open(self, connection: Connection) -> Channel:
        """
        @raise RemoteDockerError: L{DaemonUnreachable} or L{ForwardingForbidden}, with the reason and the
            remedy.
        @raise ConnectionLost: the login is gone.
        """
        if self.forwards(connection):
            try:
                return cast(Channel, await self.direct(connection))
            except ChannelRefused as refused:
                return await self._find_another_way(connection, refused)
        return await self._by_relay(connection)

    async def _by_relay(self, connection: Connection) -> Channel:
        """@return: a channel to a command that relays to the daemon."""
        try:
            return cast(Channel, await connection.open(CommandChannel(connection, self._relay)))
        except ChannelRefused as refused:
            raise DaemonUnreachable(
                socket=self._address,
                destination=self._destination,
                reason="its sshd does not forward (AllowStreamLocalForwarding), and opens no further session "
                f"for a command that would ({refused.words}; MaxSessions)",
            ) from None

    async def _find_another_way(self, connection: Connection, refused: ChannelRefused) -> Channel:
        """
        Finds out why a channel was refused, for the protocol does not tell what is forbidden from what is not
        there, nor from a daemon that is so busy that nobody more can queue: that is simply tried again, one
        after the other.

        @return: a channel after all.
        """
        await self._one_at_a_time.acquire()
        try:
            if self.forwards(connection):
                try:
                    return cast(Channel, await self.direct(connection))
                except ChannelRefused:
                    await self._look_there(connection, refused)
                try:
                    return cast(Channel, await self.direct(connection))
                except ChannelRefused as again:
                    await self._try_relay(connection, again)
        finally:
            self._one_at_a_time.release()
        return await self._by_relay(connection)

    async def _look_there(self, connection: Connection, refused: ChannelRefused) -> None:
        """Looks whether there is a socket that may be opened."""
        if refused.code == _SHORTAGE:
            raise self._unreachable(f"the SSH server is short of resources ({refused.words})")
        if self._address.path is None:
            if refused.code not in (_PROHIBITED, _UNKNOWN_TYPE):
                raise self._unreachable(refused.words or "connection refused")
            return
        look = await self._run(connection, self._look)
        if look is None:
            raise self._forbidden(refused, "and no command can be run there to find out more")
        others = [path for path in look.stdout.decode("utf-8", "replace").split() if path.startswith("/")]
        reasons = {
            _MISSING: "there is no such socket" + (f", but there is unix://{others[0]}" if others else ""),
            _NO_SOCKET: "that is no socket",
            _NOT_ALLOWED: "the SSH user may not open it: permission denied",
        }
        if look.status in reasons:
            raise self._unreachable(reasons[look.status])

    async def _try_relay(self, connection: Connection, refused: ChannelRefused) -> None:
        """Returns if a command reaches the daemon; from then on it is used for this login."""
        answer = await self._run(connection, self._relay, _PING)
        if answer is None:
            raise self._forbidden(refused, "and no command can be run there instead")
        if b"HTTP/1.1 200" not in answer.stdout[:64]:
            words = " ".join(answer.stderr.decode("utf-8", "replace").split())[:400]
            if answer.status == 127:
                raise self._forbidden(refused, f"and {words or 'there is no command that could'}")
            raise self._unreachable(words or "connection refused")
        self._log.info(
            "{destination} does not forward to {socket}: `docker system dial-stdio` is used instead.",
            destination=self._destination,
            socket=str(self._address),
        )
        self._by_command.add(connection)

    def _unreachable(self, reason: str) -> DaemonUnreachable:
        """@return: the error that says that the daemon is not there."""
        return DaemonUnreachable(socket=self._address, destination=self._destination, reason=reason)

    def _forbidden(self, refused: ChannelRefused, also: str) -> RemoteDockerError:
        """@return: the error that says that there is no way to the daemon."""
        return ForwardingForbidden(
            destination=self._destination,
            target=self._address,
            reason=f"{refused.words or 'refused'}, {also}",
        )

    async def _run(self, connection: Connection, command: str, stdin: bytes = b"") -> CommandResult | None:
        """@return: how a command ended; None if it could not be run, or did not end."""

        async def obtain() -> Channel:
            return cast(Channel, await connection.open(CommandChannel(connection, command)))

        runner = CommandRunner(stdin)
        try:
            await connectProtocol(ChannelEndpoint(obtain, command), runner)
            return await runner.done.addTimeout(_LOOK_SECONDS, connection.clock)
        except (ChannelRefused, ConnectionClosed, TimeoutError):
            if not connection.alive:
                raise
            return None
