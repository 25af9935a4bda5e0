# -*- test-case-name: tests.streams.test_hangup -*-
"""
Notices that the far end of a half-closed socket has vanished altogether.

After an end of file a socket is read no more, so a reactor that has nothing to write to it never hears that
the other side, which may have been waiting for output, was killed. C{epoll_ctl(2)}: C{EPOLLHUP} and
C{EPOLLERR} are reported for a descriptor even when no events are asked for. So such sockets go into an
epoll of their own, with no events, and that epoll is what the reactor watches. On systems without epoll
nothing is noticed until something is written.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor, ISystemHandle
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Hangups"]


@implementer(IReadDescriptor)
class Hangups:
    """
    Watches sockets for the other side's full close or reset.

    @param reactor: provides C{IReactorFDSet}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll: Any = None
        self._watched: dict[int, Callable[[], None]] = {}

    def watch(self, transport: Any, vanished: Callable[[], None]) -> Callable[[], None] | None:
        """
        @param vanished: called at most once; at once if the other side has vanished already.
        @return: what ends the watch, to be called before the socket is closed; None if the transport
            cannot be watched, having no descriptor.
        """
        if not hasattr(select, "epoll") or not ISystemHandle.providedBy(transport):
            return None
        handle: Any = transport.getHandle()
        descriptor: int = handle.fileno()
        if descriptor < 0 or descriptor in self._watched:
            return None
        now = select.poll()
        now.register(descriptor, 0)
        if now.poll(0):
            vanished()
            return None
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        self._epoll.register(descriptor, 0)
        self._watched[descriptor] = vanished

        def forget() -> None:
            if self._watched.get(descriptor) is vanished:
                self._forget(descriptor)

        return forget

    def _forget(self, descriptor: int) -> None:
        del self._watched[descriptor]
        try:
            self._epoll.unregister(descriptor)
        except OSError:
            # The socket was closed first, which unregistered it.
            pass
        if not self._watched:
            self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll = None

    # IReadDescriptor

    def fileno(self) -> int:
        """The epoll's own descriptor: readable when it has something to report."""
        return -1 if self._epoll is None else int(self._epoll.fileno())

    def doRead(self) -> None:
        """Tells of those that vanished."""
        for descriptor, _ in self._epoll.poll(0):
            vanished = self._watched.get(descriptor)
            if vanished is not None:
                self._forget(descriptor)
                vanished()
            if self._epoll is None:
                break

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave up on the epoll; nothing is noticed any more."""
        self._watched.clear()

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return type(self).__name__
