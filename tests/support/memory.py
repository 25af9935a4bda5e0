# -*- test-case-name: tests.streams.test_transports -*-
"""
Transports in memory that behave as Twisted's TCP transports do.

Twisted's own test transports take no notice of half-close and back-pressure, on which this project
stands. Here a connection is two transports and, between them, one bounded pipe for each direction, which
plays the kernel's part: what is written waits in the transport's buffer until the pipe has room, a paused
transport takes nothing out of its pipe, end of file travels behind the data. Everything happens in turns of
a clock: C{network.pump()} with a L{Clock<twisted.internet.task.Clock>}, by itself with a reactor.

The same contract (L{tests.contracts.transport}) is run on these and on real sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["MemoryNetwork", "MemoryTransport"]

_TURNS = 1_000_000
"""More turns than this in one pump: something goes round in circles."""


class _Pipe:
    """One direction: what left the sender and was not taken by the receiver."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.content = bytearray()
        self.ended = False
        self.reset = False
        self.deaf = False

    def put(self, data: bytes | memoryview) -> int:
        """@return: how many bytes there was room for."""
        taken = min(len(data), self.capacity - len(self.content))
        self.content += data[:taken]
        return taken


@implementer(ITCPTransport, IConsumer, IPushProducer, IHalfCloseableDescriptor)
class MemoryTransport:
    """
    One end of a connection in memory.

    @ivar disconnecting: C{loseConnection} was called.
    @ivar written: bytes accepted by C{write}, ever.
    @ivar most_buffered: the most bytes that ever waited in this transport.
    """

    bufferSize = 65536

    def __init__(self, network: MemoryNetwork, incoming: _Pipe, outgoing: _Pipe, host: IPv4Address) -> None:
        self._network = network
        self._incoming = incoming
        self._outgoing = outgoing
        self._host = host
        self._buffer = bytearray()
        self._scheduled = False
        self._read_ended = False
        self._closing_write = False
        self._write_closed = False
        self._aborting = False
        self.peer: MemoryTransport | None = None
        self.protocol: IProtocol | None = None
        self.producer: Any = None
        self.streamingProducer = False
        self.producerPaused = False
        self.reading = True
        self.connected = True
        self.disconnecting = False
        self.no_delay = False
        self.keep_alive = False
        self.written = 0
        self.most_buffered = 0

    # ITransport, ITCPTransport

    def write(self, data: bytes) -> None:
        """Takes C{data} into the buffer, whatever its size; asks the producer to pause when it is full."""
        if not isinstance(data, bytes):
            raise TypeError(f"Data must be bytes, not {type(data)}")
        if not self.connected or self._write_closed or self._aborting or not data:
            return
        self._buffer += data
        self.written += len(data)
        self.most_buffered = max(self.most_buffered, len(self._buffer))
        if self.producer is not None and self.streamingProducer and len(self._buffer) > self.bufferSize:
            self.producerPaused = True
            self.producer.pauseProducing()
        self._schedule()

    def writeSequence(self, data: Any) -> None:
        """Writes the pieces one after another."""
        self.write(b"".join(data))

    def loseConnection(self, _connDone: Failure | None = None) -> None:
        """Stops reading; closes when the buffer is written and no producer is registered."""
        if not self.connected or self.disconnecting:
            return
        self.reading = False
        if self._write_closed:
            self._lost(Failure(ConnectionDone()))
        else:
            self.disconnecting = True
            self._schedule()

    def loseWriteConnection(self) -> None:
        """
        Ends the outgoing direction when the buffer is written. As in Twisted, not to be called too late.
        """
        if not self.connected:
            raise ValueError("the connection is lost already")
        self._closing_write = True
        self._schedule()

    def abortConnection(self) -> None:
        """Drops everything; both protocols hear of it in later turns."""
        if not self.connected or self._aborting:
            return
        self._aborting = True
        self.reading = False
        self._network.clock.callLater(0, self._lost, Failure(ConnectionAborted()))

    def getHost(self) -> IPv4Address:
        """This end's address."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """The other end's address."""
        assert self.peer is not None
        return self.peer.getHost()

    def getTcpNoDelay(self) -> bool:
        """What was set."""
        return self.no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remembered only."""
        self.no_delay = enabled

    def getTcpKeepAlive(self) -> bool:
        """What was set."""
        return self.keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remembered only."""
        self.keep_alive = enabled

    # IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Registers the one that is paused and resumed as the buffer fills and empties."""
        if self.producer is not None:
            raise RuntimeError(f"{self.producer!r} is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = streaming
        self.producerPaused = False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer is finished."""
        self.producer = None
        self._schedule()

    # IPushProducer

    def pauseProducing(self) -> None:
        """Takes nothing from the pipe until resumed."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Reads again."""
        if self.connected and not self.disconnecting and not self._aborting:
            self.reading = True
            self._schedule()

    def stopProducing(self) -> None:
        """Closes the connection."""
        self.loseConnection()

    # IHalfCloseableDescriptor

    def readConnectionLost(self, reason: Failure) -> None:
        """The other side sent its end of file."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._read_ended = True
            self.reading = False
            self._guard(self.protocol.readConnectionLost)
        else:
            self._lost(reason)

    def writeConnectionLost(self, reason: Failure) -> None:
        """Unused, as in Twisted."""

    # Turns

    def _schedule(self) -> None:
        if not self._scheduled and self.connected:
            self._scheduled = True
            self._network.clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._network.count_turn()
        if self.connected and not self._aborting:
            self._flush()
        if self.connected and not self._aborting and self.reading:
            self._read()

    def _flush(self) -> None:
        if self._outgoing.reset or (self._outgoing.deaf and self._buffer):
            self._lost(Failure(ConnectionLost()))
            return
        if self._buffer:
            moved = self._outgoing.put(bytes(self._buffer))
            del self._buffer[:moved]
            if moved:
                self._wake_peer()
        if self._buffer:
            return
        if self.producer is not None and (not self.streamingProducer or self.producerPaused):
            self.producerPaused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._lost(Failure(ConnectionDone()))
        elif self._closing_write and not self._write_closed:
            self._write_closed = True
            self._outgoing.ended = True
            self._wake_peer()
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self._guard(self.protocol.writeConnectionLost)

    def _read(self) -> None:
        pipe = self._incoming
        if pipe.reset:
            self._lost(Failure(ConnectionLost()))
        elif pipe.content:
            taken = bytes(pipe.content[: self._network.read_size])
            del pipe.content[: len(taken)]
            self._wake_peer()
            self._schedule()
            assert self.protocol is not None
            self._guard(lambda: self.protocol.dataReceived(taken))  # type: ignore[union-attr]
        elif pipe.ended:
            self.readConnectionLost(Failure(ConnectionDone()))

    def _guard(self, call: Callable[[], object]) -> None:
        """An exception of the protocol ends the connection and is logged, as the reactor does."""
        try:
            call()
        except Exception:
            failure = Failure()
            self._network.failures.append(failure)
            self._lost(failure)

    def _wake_peer(self) -> None:
        if self.peer is not None:
            self.peer._schedule()

    def _lost(self, reason: Failure) -> None:
        if not self.connected:
            return
        self.connected = False
        self.reading = False
        if self.producer is not None:
            self.producer.stopProducing()
            self.producer = None
        self._incoming.deaf = True
        if reason.check(ConnectionAborted) and self._network.resets:
            self._incoming.reset = True
            self._outgoing.reset = True
        self._outgoing.ended = True
        self._buffer.clear()
        self._network.transports.discard(self)
        self._wake_peer()
        protocol, self.protocol = self.protocol, None
        assert protocol is not None
        protocol.connectionLost(reason)


class MemoryNetwork:
    """
    Connections in memory, and the names under which somebody listens.

    @param clock: a L{Clock} (then tests call L{pump}) or a reactor (then everything goes by itself).
    @ivar capacity: bytes that one direction of a connection holds between its transports.
    @ivar read_size: the most bytes of one C{dataReceived}.
    @ivar resets: an abort is a reset for the other side (TCP); otherwise an end of file (unix sockets).
    @ivar transports: both ends of every connection that is open.
    @ivar failures: what protocols raised; to be looked at by tests.
    """

    def __init__(
        self, clock: Any = None, capacity: int = 65536, read_size: int = 65536, resets: bool = True
    ) -> None:
        self.clock: Any = Clock() if clock is None else clock
        self.capacity = capacity
        self.read_size = read_size
        self.resets = resets
        self.transports: set[MemoryTransport] = set()
        self.failures: list[Failure] = []
        self.listeners: dict[str, IProtocolFactory] = {}
        self._turns = 0
        self._next_port = 40000

    def pump(self, seconds: float = 0.0) -> None:
        """Lets time pass and everything happen that then can."""
        self._turns = 0
        self.clock.advance(seconds)

    def count_turn(self) -> None:
        """Guards L{pump} against running for ever."""
        self._turns += 1
        if self._turns > _TURNS and isinstance(self.clock, Clock):
            raise AssertionError("the connections in memory do not come to rest")

    def connect(self, one: IProtocol, other: IProtocol) -> tuple[MemoryTransport, MemoryTransport]:
        """
        Connects two protocols; C{other}, as the accepted one, hears of it first.

        @return: their transports.
        """
        there, back = _Pipe(self.capacity), _Pipe(self.capacity)
        first = MemoryTransport(self, back, there, self.next_address())
        second = MemoryTransport(self, there, back, self.next_address())
        first.peer, second.peer = second, first
        self.transports |= {first, second}
        for transport, protocol in ((second, other), (first, one)):
            transport.protocol = protocol
            protocol.makeConnection(transport)
            transport._schedule()
        return first, second

    def next_address(self) -> IPv4Address:
        """An address that nothing else here has."""
        self._next_port += 1
        return IPv4Address("TCP", "127.0.0.1", self._next_port)
