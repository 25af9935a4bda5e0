# -*- test-case-name: tests.sync.test_upload -*-
"""
The way of a push to the remote: tar streams into a stage, and a script that puts what is there in its place.

A server takes so much of one stream in a round trip (OpenSSH: 2 MiB). So on a long link several carry the
files, side by side; what must come after them, and the script, comes with the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import chain

from attrs import define
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ConnectionClosed, ProcessTerminated

from remotedocker.errors import RemoteDockerError
from remotedocker.sync._commands import Commands
from remotedocker.sync._flow import InThread, all_of, pump
from remotedocker.sync._shell import CommandStream, StreamLost
from remotedocker.sync._shellwords import quote
from remotedocker.sync._tar import END
from remotedocker.sync._transfer import Archive

__all__ = ["Upload", "streams_beside"]

_CUT_OFF = "the stream of files was cut off"
_LONG_ROUND_TRIP = 0.01
"""Seconds; on a shorter one no stream waits for the server's window."""

_WORTHWHILE = 8 * 1024 * 1024
"""Bytes for which another stream is opened."""

_MOST = 3
"""That are opened beside the first; OpenSSH's C{MaxSessions} is 10."""


def streams_beside(files: int, size: int, round_trip: float) -> int:
    """
    @param files: how many there are.
    @param size: bytes of all of them.
    @param round_trip: in seconds.
    @return: how many streams beside the first are worth it.
    """
    if round_trip < _LONG_ROUND_TRIP:
        return 0
    return max(0, min(_MOST, files - 1, size // _WORTHWHILE))


@define(eq=False)
class Upload:
    """
    One push.

    @ivar stage: absolute path of the directory into which the streams are unpacked.
    @ivar understand: called with what a command has printed, and why it ended if that does not tell. Returns
        what its tools said; raises if it failed.
    """

    commands: Commands
    run: InThread
    archive: Archive
    stage: bytes
    understand: Callable[[bytes, str], bytes]

    async def send(self, beside: int) -> bytes:
        """
        @param beside: how many streams beside the first are opened, if there is room for them.
        @return: what the script has printed.
        """
        command = (
            b"exec 2>&1; umask 077; mkdir -p %(s)s && cd %(s)s && tar -xpf - && sh ./s;"
            b" e=$?; cd /; rm -rf %(s)s; printf '\\nE%%d ' $e" % {b"s": quote(self.stage)}
        )
        output: list[bytes] = []
        stream = await self.commands.open(command, output.append)
        others = [Deferred.fromCoroutine(self._send_beside()) for _ in range(beside)]

        async def feed() -> None:
            await self._pump(self.archive.share(), stream)
            await all_of(others)
            await self._pump(self.archive.rest(), stream)

        try:
            reason = await self._fed(feed(), stream)
        finally:
            for other in others:
                other.cancel()
            await DeferredList(others, consumeErrors=True)
        return self.understand(b"".join(output), reason)

    async def _send_beside(self) -> None:
        """Sends its share of the files by another stream."""
        command = b"exec 2>&1; umask 077; mkdir -p %(s)s && cd %(s)s && tar -xpf -; printf '\\nE%%d ' $?" % {
            b"s": quote(self.stage)
        }
        output: list[bytes] = []
        try:
            stream = await self.commands.open_another(command, output.append)
        except RemoteDockerError:
            # There is no room for it: the others take it all.
            return
        reason = await self._fed(self._pump(chain(self.archive.share(), [END]), stream), stream)
        self.understand(b"".join(output), reason)

    async def _fed(self, feeding: Awaitable[None], stream: CommandStream) -> str:
        """@return: why the command has ended, for the case that it does not tell itself."""
        try:
            await feeding
            stream.finish()
            await stream.ended
        except StreamLost:
            # It stopped reading, which is no reason in itself: what it printed may have one.
            stream.ended.addErrback(lambda _: None)
        except (ConnectionClosed, ProcessTerminated) as ended:
            return str(ended)
        finally:
            stream.abort()
        return _CUT_OFF

    async def _pump(self, chunks: Iterator[bytes], stream: CommandStream) -> None:
        assert stream.transport is not None
        await pump(chunks, stream.transport.write, stream.gate, self.run)
