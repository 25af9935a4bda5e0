# -*- test-case-name: tests.ssh.test_socket -*-
"""
The TCP connection of an SSH transport, read and written with fewer copies and fewer turns of the reactor.

Twisted's transport stays the owner of the socket: it connects, waits in the reactor and closes. Only what it
does when the socket is ready is done here instead: reading goes into one large buffer, and writing is tried
at once, with no copy, before anything is queued. Where there is no such socket (a proxy command, memory)
nothing changes.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from remotedocker.streams import SendQueue

__all__ = ["FastSocket", "fast_socket"]

#: Holds more than the largest packet, so that there always is room for more.
_BUFFER_SIZE = 640 << 10
#: A producer is paused above this many bytes, and goes on below half of it.
_HIGH_WATER = 256 << 10


def fast_socket(transport: Any, receive: Any) -> FastSocket | None:
    """
    @param transport: what a protocol was connected to.
    @param receive: called with a L{memoryview} of what was received, valid only during the call; gives how
        much of that was taken, and gets the rest again with what follows.
    @return: what to write to from now on, or None where C{transport} is not one of Twisted's sockets.
    """
    handle = getattr(transport, "getHandle", None)
    if handle is None or not IReadWriteDescriptor.providedBy(transport):
        return None
    connected = handle()
    if not isinstance(connected, socket.socket) or not hasattr(connected, "sendmsg"):
        return None
    return FastSocket(transport, connected, receive)


class FastSocket:
    """
    Stands before a transport of Twisted's, with those of its methods that an SSH transport needs.
    """

    def __init__(self, transport: Any, connected: socket.socket, receive: Any) -> None:
        self._transport = transport
        self._socket = connected
        self._receive = receive
        self._view = memoryview(bytearray(_BUFFER_SIZE))
        self._filled = 0
        self._queue = SendQueue(connected)
        self._producer: Any = None
        self._producer_paused = False
        self._closing = False
        transport.doRead = self._do_read
        transport.doWrite = self._do_write

    def _do_read(self) -> Exception | None:
        """
        The socket has something to read; see L{IReadDescriptor<twisted.internet.interfaces.IReadDescriptor>}.
        """
        try:
            size = self._socket.recv_into(self._view[self._filled :])
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        if not size:
            return CONNECTION_DONE
        filled = self._filled + size
        taken = self._receive(self._view[:filled])
        self._filled = filled - taken
        if taken and self._filled:
            self._view[: self._filled] = self._view[taken:filled]
        return None

    def _do_write(self) -> Exception | None:
        """The socket can take more."""
        if not self._queue.flush():
            # What the server said before it closed is still there to be read.
            self._do_read()
            return CONNECTION_LOST
        if not self._queue:
            self._transport.stopWriting()
            if self._closing:
                self._give_back()
                self._transport.loseConnection()
                return None
        if self._producer_paused and self._queue.size <= _HIGH_WATER >> 1:
            self._producer_paused = False
            self._producer.resumeProducing()
        return None

    def writeSequence(self, data: Sequence[bytes]) -> None:
        """Sends what the socket takes now, and the rest when it can."""
        queue = self._queue
        waiting = bool(queue)
        queue.send(data)
        if not queue:
            return
        if not waiting:
            self._transport.startWriting()
        if self._producer is not None and not self._producer_paused and queue.size > _HIGH_WATER:
            self._producer_paused = True
            self._producer.pauseProducing()

    def write(self, data: bytes) -> None:
        """Sends data."""
        self.writeSequence((data,))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Lets C{producer} (a streaming one) be told when too much is waiting."""
        self._producer = producer

    def loseConnection(self) -> None:
        """Closes the connection once everything is sent."""
        self._closing = True
        if not self._queue:
            self._give_back()
            self._transport.loseConnection()

    def abortConnection(self) -> None:
        """Closes the connection at once."""
        self._queue.clear()
        self._give_back()
        self._transport.abortConnection()

    def release(self) -> None:
        """The connection is lost: the memory is not kept until somebody collects what goes in circles."""
        self._give_back()
        self._queue.clear()
        self._producer = None
        self._view = memoryview(b"")
        self._filled = 0

    def _give_back(self) -> None:
        """Lets the transport do again what it does by itself: closing is its business."""
        for name in ("doRead", "doWrite"):
            self._transport.__dict__.pop(name, None)

    def getPeer(self) -> Any:
        """@return: the server's address."""
        return self._transport.getPeer()

    def getHost(self) -> Any:
        """@return: our own."""
        return self._transport.getHost()
