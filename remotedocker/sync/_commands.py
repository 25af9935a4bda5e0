# -*- test-case-name: tests.sync.test_commands -*-
"""
Commands on the remote that are fed, or that feed us.

Each is a shell that reads one line and does what that says, with the rest of its input. So one can be started
ahead, and what needs it next waits neither for a session nor for what the login shell does first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from remotedocker.errors import RemoteDockerError
from remotedocker.interfaces import IRemote
from remotedocker.sync._shell import CommandStream, StreamLost

__all__ = ["READER", "Commands"]

T = TypeVar("T")

READER = (
    "exec sh -c 'TAR_OPTIONS=-b128; export TAR_OPTIONS;"
    """ N=$(printf "\\nx"); N=${N%x}; IFS= read -r l && eval "$l"'"""
)
"""
Reads a line (C{read} takes no byte beyond it, POSIX.1-2017) and does it; C{$N} in it is a newline. GNU C{tar}
is to take 64 KiB at a time from a pipe, instead of 10, and nothing else that the user's environment may say.
"""


def _line(command: bytes) -> bytes:
    """@return: C{command}, whose newlines all stand in quoted words, as one line for L{READER}."""
    return command.replace(b"\n", b"'\"$N\"'") + b"\n"


class Commands:
    """
    @param remote: where they run.
    """

    def __init__(self, remote: IRemote) -> None:
        self._remote = remote
        self._streams: set[CommandStream] = set()
        self._ahead: CommandStream | None = None
        self._preparing: Deferred[None] | None = None
        self._closed = False

    async def open(self, command: bytes, receive: Callable[[bytes], object]) -> CommandStream:
        """
        @param command: for C{sh}; newlines only in words that are quoted with apostrophes.
        @param receive: takes what it prints.
        @return: its stream; when that is gone, the next command is prepared.
        @raise StreamLost: nothing is begun any more.
        """
        stream, self._ahead = self._ahead, None
        return self._begin(stream or await self._connect(ahead=False), command, receive)

    async def open_another(self, command: bytes, receive: Callable[[bytes], object]) -> CommandStream:
        """
        As L{open}, for a command that others can do the work of.

        @raise RemoteDockerError: there is no room for it beside what people wait for.
        """
        return self._begin(await self._connect(ahead=True), command, receive)

    def _begin(
        self, stream: CommandStream, command: bytes, receive: Callable[[bytes], object]
    ) -> CommandStream:
        stream.receive = receive
        assert stream.transport is not None
        stream.transport.write(_line(command))
        stream.gone.addCallback(lambda _: self.prepare())
        return stream

    async def _connect(self, ahead: bool) -> CommandStream:
        if self._closed:
            raise StreamLost("remotedocker is stopping")
        factory = Factory.forProtocol(CommandStream)
        stream = await self._remote.command_endpoint(READER, ahead).connect(factory)
        assert isinstance(stream, CommandStream)
        self._streams.add(stream)
        stream.gone.addCallback(lambda _: self._streams.discard(stream))
        return stream

    def prepare(self) -> None:
        """Starts one ahead, unless there is one; where the remote has no room for it, none is."""
        if (
            self._ahead is not None
            or self._preparing is not None
            or self._closed
            or not self._remote.connected
        ):
            return

        def prepared(result: T) -> T:
            self._preparing = None
            return result

        self._preparing = Deferred.fromCoroutine(self._prepare())
        self._preparing.addBoth(prepared)

    async def _prepare(self) -> None:
        try:
            stream = await self._connect(ahead=True)
        except (RemoteDockerError, StreamLost):
            # Who needs one opens it, and is told why that cannot be.
            return
        if self._closed:
            stream.abort()
            return

        def ended(result: T) -> T | None:
            if stream is not self._ahead:
                return result
            # Nobody asks how one ended that was never used.
            self._ahead = None
            return None

        self._ahead = stream
        stream.ended.addBoth(ended)

    async def close(self) -> None:
        """Ends all of them for good; returns when they are gone."""
        self._closed, self._ahead = True, None
        if self._preparing is not None:
            await self._preparing
        for stream in list(self._streams):
            stream.abort()
            await stream.gone
