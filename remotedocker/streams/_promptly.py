# -*- test-case-name: tests.streams.test_promptly -*-
"""
Reads and writes of the reactor's own sockets, with less between them and the system.

A Twisted transport keeps what is written until the reactor comes round: a turn of its loop, and two calls to
change what is polled, for each message. That is a third of the time that a byte spends in this process. So
what is small is given to the socket in the moment that it is written, if nothing waits before it; only what
the socket does not take waits for the reactor. What is large gains more by going out with what follows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection

from remotedocker.streams._sendqueue import SendQueue

__all__ = ["make_prompt", "read_at_once"]

_READ_SIZE = 256 << 10
"""Bytes of one read, and what may wait to be sent before a producer is paused: a stream needs fewer turns."""

_SMALL = 16 << 10


class _Prompt:
    """
    Stands in for a transport's C{doRead}, C{doWrite}, C{write} and C{writeSequence}. Everything else, the end
    of the connection above all, stays the transport's, whose own buffer is always empty.
    """

    def __init__(self, transport: Connection) -> None:
        self._transport: Any = transport
        self._socket = transport.socket
        self._queue = SendQueue(transport.socket)

    def do_read(self) -> Exception | None:
        """See L{IReadDescriptor<twisted.internet.interfaces.IReadDescriptor>}."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self._transport.protocol.dataReceived(data)
        return None

    def do_write(self) -> Any:
        """See L{IWriteDescriptor<twisted.internet.interfaces.IWriteDescriptor>}."""
        if not self._queue.flush():
            return CONNECTION_LOST
        return None if self._queue else type(self._transport).doWrite(self._transport)

    def write(self, data: bytes) -> None:
        """See L{ITransport<twisted.internet.interfaces.ITransport>}; C{data} may be a L{memoryview}."""
        transport, queue = self._transport, self._queue
        if not transport.connected or transport._writeDisconnected or transport._aborting:
            return
        waiting = bool(queue)
        if len(data) <= _SMALL:
            queue.send((data,))
        else:
            queue.add(data)
        if not queue:
            return
        if not waiting:
            transport.startWriting()
        if queue.size > _READ_SIZE and transport.producer is not None and not transport.producerPaused:
            transport.producerPaused = True
            transport.producer.pauseProducing()

    def write_sequence(self, data: Iterable[bytes]) -> None:
        """See L{ITransport<twisted.internet.interfaces.ITransport>}."""
        self.write(b"".join(data))


def make_prompt(transport: Any) -> None:
    """
    Makes a transport prompt that has just been connected, and its reads larger. Leaves transports alone that
    are not the reactor's own sockets. Not for producers that write when they are asked.
    """
    if isinstance(transport, Connection) and "doRead" not in transport.__dict__:
        prompt, own = _Prompt(transport), transport.__dict__
        own["doRead"], own["doWrite"] = prompt.do_read, prompt.do_write
        own["write"], own["writeSequence"] = prompt.write, prompt.write_sequence


def read_at_once(transport: Any) -> None:
    """
    Reads what has come already on a transport that is prompt, without a turn of the reactor. The end of the
    stream is left to the reactor, which will see it again.
    """
    prompt_read = getattr(transport, "__dict__", {}).get("doRead")
    if prompt_read is not None:
        prompt_read()
