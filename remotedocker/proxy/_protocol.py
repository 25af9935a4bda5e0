# -*- test-case-name: tests.proxy.test_protocol -*-
"""
A client connection: tells its exchange what happens, and performs what that commands.

Back-pressure: each transport is read only while the other one's buffer has room and the exchange wants
more, so that a reader that stops makes the sender stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotedocker.errors import RemoteDockerError
from remotedocker.proxy._commands import (
    AbortClient,
    ClientBytes,
    ClientEnd,
    ClientLost,
    CloseClient,
    CloseDaemon,
    Connect,
    DaemonBytes,
    DaemonConnected,
    DaemonEnd,
    DaemonLost,
    DaemonRefused,
    EndDaemon,
    Event,
    Hijack,
    Hold,
    Notify,
    Record,
    Rejected,
    Report,
    Resolved,
    ToClient,
    ToDaemon,
    TurnOver,
)
from remotedocker.proxy._exchange import Exchange
from remotedocker.proxy._turn import Rules
from remotedocker.proxy._upstream import DaemonProtocol, Valve
from remotedocker.streams import Relay, prepare_socket, read_at_once

if TYPE_CHECKING:
    from remotedocker.proxy._factory import ProxyFactory

__all__ = ["ProxyProtocol"]

_LINGER = 2.0
"""Seconds in which a client may notice that its connection is being closed, before it is."""


@implementer(IHalfCloseableProtocol)
class ProxyProtocol(Protocol):
    """
    One client connection.

    @ivar number: of the connection, for the dump.
    """

    _log = Logger()

    transport: Any
    noisy = False

    def __init__(self, factory: ProxyFactory, rules: Rules, number: int) -> None:
        self.number = number
        self._factory = factory
        self._exchange = Exchange(rules)
        self._events: deque[Event] = deque()
        self._busy = False
        self._daemon: DaemonProtocol | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._attempt = 0
        self._relay: Relay | None = None
        self._closing = False
        self._ended = False
        self._linger: Any = None
        self._forget_hangup: Callable[[], None] | None = None

    # What happens at the client's side.

    def connectionMade(self) -> None:
        """A client was accepted; mostly its request is there already."""
        prepare_socket(self.transport)
        self._valve = Valve(self.transport)
        self._factory.opened(self)
        read_at_once(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """The client sent something."""
        if self._relay is not None:
            self._relay.left.data_received(data)
        elif not self._closing:
            self._happened(ClientBytes(data))

    def readConnectionLost(self) -> None:
        """
        The client's end of file; it may be all there is to see of a client that is gone, so that is
        watched.
        """
        self._ended = True
        self._valve.retire()
        if self._relay is not None:
            self._relay.left.read_ended()
        elif self._closing:
            self.transport.loseConnection()
        else:
            self._forget_hangup = self._factory.hangups.watch(self.transport, self.abort)
            self._happened(ClientEnd())

    def writeConnectionLost(self) -> None:
        """What there was to say is said; a client that does not close its side in time is closed."""
        if self._relay is None and self._linger is None:
            self._linger = self._factory.reactor.callLater(_LINGER, self.transport.loseConnection)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """The client is gone."""
        self._valve.retire()
        self._end_watch()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        self._factory.closed(self)
        if self._relay is not None:
            self._relay.left.lost(reason)
        else:
            self._happened(ClientLost())

    def abort(self) -> None:
        """Ends the connection at once."""
        self.transport.abortConnection()

    def _end_watch(self) -> None:
        if self._forget_hangup is not None:
            self._forget_hangup()
            self._forget_hangup = None

    # What happens at the daemon's side.

    def daemon_received(self, daemon: DaemonProtocol, data: bytes) -> None:
        """See L{DaemonOwner}."""
        if daemon is self._daemon:
            self._happened(DaemonBytes(data))

    def daemon_ended(self, daemon: DaemonProtocol) -> None:
        """See L{DaemonOwner}."""
        if daemon is self._daemon:
            self._happened(DaemonEnd())

    def daemon_lost(self, daemon: DaemonProtocol, reason: Failure) -> None:
        """See L{DaemonOwner}."""
        if daemon is not self._daemon:
            return
        self._forget_daemon()
        if reason.check(ConnectionDone):
            self._happened(DaemonEnd())
        else:
            self._happened(DaemonLost(self._factory.daemon_error(reason)))

    # The exchange.

    def _happened(self, event: Event) -> None:
        """Tells the exchange, and performs what it says; what happens meanwhile waits its turn."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for command in self._exchange.receive(self._events.popleft()):
                    _PERFORMERS[type(command)](self, command)
        except Exception:
            self._log.failure("client connection {number}", number=self.number)
            self._events.clear()
            self._close_daemon()
            self.abort()
        finally:
            self._busy = False
        if self._relay is None:
            self._valve.set_wanted(self._exchange.reads_client or self._closing)
            if self._daemon is not None:
                self._daemon.valve.set_wanted(self._exchange.reads_daemon)

    def _connect(self, command: Connect) -> None:
        self._attempt += 1
        attempt = self._attempt
        factory = Factory.forProtocol(lambda: DaemonProtocol(self, attempt))
        factory.noisy = False
        connecting = maybeDeferred(self._factory.remote.docker_endpoint(bulk=command.bulk).connect, factory)
        if not connecting.called:
            self._connecting = connecting
        connecting.addErrback(self._refused, attempt)

    def daemon_made(self, daemon: DaemonProtocol) -> None:
        """See L{DaemonOwner}."""
        if daemon.attempt != self._attempt:
            daemon.transport.abortConnection()
            return
        self._connecting = None
        self._daemon = daemon
        prepare_socket(daemon.transport)
        daemon.transport.registerProducer(self._valve, True)
        self.transport.registerProducer(daemon.valve, True)
        self._happened(DaemonConnected())

    def _refused(self, failure: Failure, attempt: int) -> None:
        if attempt == self._attempt:
            self._connecting = None
            self._happened(DaemonRefused(self._factory.daemon_error(failure)))

    def _to_daemon(self, command: ToDaemon) -> None:
        if self._daemon is not None:
            self._daemon.transport.write(command.data)

    def _end_daemon(self, command: EndDaemon) -> None:
        if self._daemon is not None:
            self._daemon.transport.unregisterProducer()
            self._daemon.transport.loseWriteConnection()

    def _close_daemon(self, command: CloseDaemon | None = None) -> None:
        self._attempt += 1
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        daemon = self._forget_daemon()
        if daemon is not None:
            daemon.transport.abortConnection()

    def _forget_daemon(self) -> DaemonProtocol | None:
        """The two transports do not feed each other any more."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            daemon.valve.retire()
            daemon.transport.unregisterProducer()
            self.transport.unregisterProducer()
            self._valve.resumeProducing()
        return daemon

    def _to_client(self, command: ToClient) -> None:
        self.transport.write(command.data)

    def _close_client(self, command: CloseClient) -> None:
        self._closing = True
        if self._ended:
            self.transport.loseConnection()
        elif self.transport.connected:
            self.transport.loseWriteConnection()

    def _abort_client(self, command: AbortClient) -> None:
        self._closing = True
        self.abort()

    def _hold(self, command: Hold) -> None:
        maybeDeferred(self._factory.effects.start, command.effect).addCallbacks(
            lambda value: self._happened(Resolved(command.token, value)),
            lambda failure: self._happened(Rejected(command.token, failure.value)),
        )

    def _notify(self, command: Notify) -> None:
        maybeDeferred(self._factory.effects.start, command.effect).addErrback(self._notify_failed)

    def _notify_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, RemoteDockerError):
            self._log.warn("{error}", error=failure.value.message)
        else:
            self._log.failure("client connection {number}", failure, number=self.number)

    def _hijack(self, command: Hijack) -> None:
        daemon = self._daemon
        if daemon is None:
            self.abort()
            return
        self._end_watch()
        self._valve.retire()
        daemon.valve.retire()
        daemon.transport.unregisterProducer()
        self.transport.unregisterProducer()
        relay = Relay(self._relay_over, self._factory.hangups)
        effect = command.before_end
        if effect is not None:
            relay.right.before_end = lambda: self._factory.effects.start(effect)
        if command.cut_off is not None:
            daemon.cut_off = partial(self._factory.effects.start, command.cut_off)
        for end, early, ended in (
            (relay.left, command.to_daemon, command.client_ended),
            (relay.right, command.to_client, daemon.ended),
        ):
            if early:
                end.data_received(early)
            if ended:
                end.read_ended()
        self._relay, daemon.relay_end = relay, relay.right
        relay.attach(self.transport, daemon.transport)

    def _relay_over(self, relay: Relay) -> None:
        self._factory.dump(self.number, TurnOver(relay.left.received, relay.right.received))

    def _record(self, command: Record) -> None:
        self._factory.dump(self.number, command.what)

    def _report(self, command: Report) -> None:
        self._log.failure("client connection {number}", Failure(command.error), number=self.number)


_PERFORMERS: Mapping[type, Callable[[ProxyProtocol, Any], None]] = {
    Connect: ProxyProtocol._connect,
    ToDaemon: ProxyProtocol._to_daemon,
    EndDaemon: ProxyProtocol._end_daemon,
    CloseDaemon: ProxyProtocol._close_daemon,
    ToClient: ProxyProtocol._to_client,
    CloseClient: ProxyProtocol._close_client,
    AbortClient: ProxyProtocol._abort_client,
    Hold: ProxyProtocol._hold,
    Notify: ProxyProtocol._notify,
    Hijack: ProxyProtocol._hijack,
    Record: ProxyProtocol._record,
    Report: ProxyProtocol._report,
}
