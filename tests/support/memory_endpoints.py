# -*- test-case-name: tests.streams.test_transports -*-
"""
Endpoints that connect over L{MemoryNetwork}s.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.memory import MemoryNetwork

__all__ = ["MemoryClientEndpoint", "MemoryServerEndpoint"]


@implementer(IListeningPort)
class _MemoryPort:
    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name
        self._address = network.next_address()

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> Deferred[None]:
        """New connections are refused from now on."""
        self._network.listeners.pop(self._name, None)
        return succeed(None)

    def getHost(self) -> IAddress:
        """An address of its own."""
        return self._address


@implementer(IStreamServerEndpoint)
class MemoryServerEndpoint:
    """Listens in a L{MemoryNetwork} under a name."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """@return: fires at once."""
        self._network.listeners[self._name] = factory
        factory.doStart()
        return succeed(_MemoryPort(self._network, self._name))


@implementer(IStreamClientEndpoint)
class MemoryClientEndpoint:
    """
    Connects in a L{MemoryNetwork} to a name.

    @param held: connecting waits for L{release} or L{refuse}.
    @ivar attempts: calls of L{connect}.
    @ivar cancelled: attempts that their caller gave up.
    """

    def __init__(self, network: MemoryNetwork, name: str, held: bool = False) -> None:
        self._network = network
        self._name = name
        self._held = held
        self._waiting: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []
        self.attempts = 0
        self.cancelled = 0

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """@return: fires with the protocol, connected, in a later turn."""
        self.attempts += 1
        waiting: Deferred[IProtocol] = Deferred(self._cancel)
        self._waiting.append((factory, waiting))
        if not self._held:
            self._network.clock.callLater(0, self._connect_next)
        return waiting

    def _cancel(self, waiting: Deferred[IProtocol]) -> None:
        self.cancelled += 1
        self._waiting = [entry for entry in self._waiting if entry[1] is not waiting]

    def release(self) -> None:
        """Connects those who wait, and everybody from now on at once."""
        self._held = False
        while self._waiting:
            self._connect_next()

    def refuse(self, error: Exception) -> None:
        """Fails those who wait."""
        waiting, self._waiting = self._waiting, []
        for _, deferred in waiting:
            deferred.errback(Failure(error))

    def _connect_next(self) -> None:
        if not self._waiting:
            return
        factory, deferred = self._waiting.pop(0)
        listener = self._network.listeners.get(self._name)
        accepted = None if listener is None else listener.buildProtocol(self._network.next_address())
        if accepted is None:
            fail(ConnectionRefusedError()).chainDeferred(deferred)
            return
        protocol = factory.buildProtocol(self._network.next_address())
        assert protocol is not None
        self._network.connect(protocol, accepted)
        deferred.callback(protocol)
