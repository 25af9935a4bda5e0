# -*- test-case-name: tests.streams.test_promptly -*-
"""
Reads and small writes of the reactor's own sockets, with less between them and the system.

A Twisted transport keeps what is written until the reactor comes round: a turn of its loop, and two calls to
change what is polled, for each message. That is a third of the time that a byte spends in this process. So
what is small is given to the socket in the moment that it is written, if nothing waits before it; only what
the socket does not take waits for the reactor. What is large gains more by going out with what follows it.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

__all__ = ["make_prompt", "write_promptly"]

_READ_SIZE = 256 << 10
"""Bytes of one read, and what may wait to be sent before a producer is paused: a stream needs fewer turns."""

_SMALL = 16 << 10

_ATTRIBUTE = "_remotedocker_prompt"


class _Prompt:
    """
    Stands in for a transport's C{doRead}, C{startWriting} and C{stopWriting}.

    @ivar polled: the reactor was asked to say when the socket takes data: something waits to be sent, or the
        end of the connection to be carried out.
    """

    def __init__(self, transport: FileDescriptor, connected: socket.socket) -> None:
        self._transport: Any = transport
        self._socket = connected
        self.polled = False

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

    def start(self) -> None:
        """There is something to send, or the end of the connection to be carried out."""
        if not self.polled:
            self.polled = True
            type(self._transport).startWriting(self._transport)

    def stop(self) -> None:
        """Everything is sent, or never will be."""
        if self.polled:
            self.polled = False
            type(self._transport).stopWriting(self._transport)

    def send(self, data: bytes) -> int:
        """@return: how much was sent at once."""
        transport = self._transport
        if self.polled or not transport.connected or getattr(transport, "_aborting", False):
            return 0
        try:
            return self._socket.send(data)
        except OSError:
            # An error comes again when the reactor asks, who knows what to do about it.
            return 0


def make_prompt(transport: Any) -> None:
    """
    Makes L{write_promptly} work for a transport that has just been connected, and its reads larger. Leaves
    transports alone that are not the reactor's own sockets.
    """
    if not isinstance(transport, FileDescriptor) or hasattr(transport, _ATTRIBUTE):
        return
    connected = getattr(transport, "socket", None)
    if isinstance(connected, socket.socket):
        prompt, made = _Prompt(transport, connected), transport.__dict__
        made["bufferSize"] = _READ_SIZE
        made["doRead"], made["startWriting"], made["stopWriting"] = prompt.do_read, prompt.start, prompt.stop
        made[_ATTRIBUTE] = prompt


def write_promptly(transport: Any, data: bytes) -> None:
    """
    Writes C{data}; at once if it is small and nothing waits before it, see L{make_prompt}. Not for producers
    that write when they are asked.
    """
    prompt: _Prompt | None = getattr(transport, _ATTRIBUTE, None)
    if prompt is not None and len(data) <= _SMALL:
        sent = prompt.send(data)
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
