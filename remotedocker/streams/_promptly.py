# -*- test-case-name: tests.streams.test_promptly -*-
"""
Small writes that go out at once.

A Twisted transport keeps what is written until the reactor comes round: a turn of its loop, and two calls to
change what is polled, for each message. That is a third of the time that a byte spends in this process. So
what is small is given to the socket in the moment that it is written, if nothing waits before it; only what
the socket does not take waits for the reactor. What is large gains more by going out with what follows it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor

__all__ = ["make_prompt", "write_promptly"]

_READ_SIZE = 256 << 10
"""Bytes of one read, and what may wait to be sent before a producer is paused: a stream needs fewer turns."""

_SMALL = 16 << 10

_ATTRIBUTE = "_remotedocker_starter"


class _Starter:
    """
    Stands in for a transport's C{startWriting} and C{stopWriting}, which C{write} and C{doWrite} call.

    @ivar at_once: what is being written is to be sent without the reactor.
    """

    def __init__(self, transport: FileDescriptor) -> None:
        self._transport: Any = transport
        self._polled = False
        self._all_sent = False
        self.at_once = False

    def start(self) -> None:
        """There is something to send, or the end of the connection to be carried out."""
        if self.at_once and not self._polled:
            self.at_once = False
            self._all_sent = False
            # An error comes again when the reactor asks, who knows what to do about it.
            if self._transport.doWrite() is None and self._all_sent:
                return
        if not self._polled:
            self._polled = True
            type(self._transport).startWriting(self._transport)

    def stop(self) -> None:
        """Everything is sent, or never will be."""
        self._all_sent = True
        if self._polled:
            self._polled = False
            type(self._transport).stopWriting(self._transport)


def make_prompt(transport: Any) -> None:
    """
    Makes L{write_promptly} work for a transport that has just been connected, and its reads larger. Leaves
    transports alone that are not the reactor's own sockets.
    """
    if isinstance(transport, FileDescriptor) and not hasattr(transport, _ATTRIBUTE):
        prompt: Any = transport
        starter = _Starter(transport)
        prompt.bufferSize = _READ_SIZE
        prompt.startWriting, prompt.stopWriting = starter.start, starter.stop
        setattr(prompt, _ATTRIBUTE, starter)


def write_promptly(transport: Any, data: bytes) -> None:
    """Writes C{data}; at once if it is small and nothing waits before it, see L{make_prompt}."""
    starter: _Starter | None = getattr(transport, _ATTRIBUTE, None)
    if starter is None or len(data) > _SMALL:
        transport.write(data)
        return
    starter.at_once = True
    try:
        transport.write(data)
    finally:
        starter.at_once = False
