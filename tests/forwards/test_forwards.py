# -*- test-case-name: tests.forwards.test_forwards -*-
"""
Local ports on the real loopback, by container.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from remotedocker.docker import ContainerPort, PortBinding, PortMap
from remotedocker.errors import (
    AddressUnavailable,
    BadRequest,
    PortForbidden,
    PortUnavailable,
    RemoteDockerError,
)
from remotedocker.forwards import Forwards
from remotedocker.forwards import _listener as listener_module
from tests.contracts.forwards import ACTUAL, HTTP, HTTPS, ForwardsContract
from tests.forwards.support import LoopbackRemote, free_numbers, is_free
from tests.support import Recorder, wait_until

__all__ = ["ConnectionTests", "ForwardsContractTests", "RefusalTests", "RememberedTests"]

PATIENCE = 0.02


class ForwardsContractTests(ForwardsContract, TestCase):
    """The contract, with sockets."""

    def make_forwards(self, dynamic: range) -> Forwards:
        """On the loopback, closed when the test ends."""
        remote: Any = LoopbackRemote(reactor)
        forwards = Forwards(reactor, remote, Path(self.mktemp()), ("127.0.0.1",), dynamic, PATIENCE)
        self.addCleanup(forwards.close)
        return forwards


@implementer(IHalfCloseableProtocol)
class _Answer(Protocol):
    """
    Answers with all that it was sent, once its end of file has come.

    @param service: counts connections, and has a greeting.
    """

    transport: Any

    def __init__(self, service: _Service) -> None:
        self._service = service
        self.received: list[bytes] = []

    def connectionMade(self) -> None:
        """Counted, and greeted."""
        self._service.made += 1
        self._service.open.add(self)
        self.transport.write(self._service.greeting)

    def dataReceived(self, data: bytes) -> None:
        """Kept."""
        self.received.append(data)

    def readConnectionLost(self) -> None:
        """Answered."""
        self.transport.write(b"".join(self.received))
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing is left to be done."""

    def connectionLost(self, reason: object = None) -> None:
        """Counted."""
        self._service.open.discard(self)


class _Service(Factory):
    """
    What a container serves on one port of the remote.

    @ivar made: connections, ever.
    @ivar open: those that are open.
    """

    noisy = False

    def __init__(self, greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.made = 0
        self.open: set[_Answer] = set()

    def buildProtocol(self, addr: object) -> _Answer:
        """One answer for each connection."""
        return _Answer(self)


class _ForwardsCase(TestCase):
    """Forwards on 127.0.0.1 and ::1, over a remote that is this machine."""

    def setUp(self) -> None:
        """Some free numbers."""
        self.free = free_numbers(4)
        self.remote: Any = LoopbackRemote(reactor)
        self.state = Path(self.mktemp())
        self.forwards = self.make()

    def make(self, publish: tuple[str, ...] = ("127.0.0.1", "::1"), patience: float = PATIENCE) -> Forwards:
        """Another agent with the same state directory."""
        forwards = Forwards(
            reactor,
            self.remote,
            self.state,
            publish,
            dynamic=range(self.free[0], self.free[-1] + 1),
            patience=patience,
        )
        self.addCleanup(forwards.close)
        return forwards

    def typed(self, index: int = 0, host_ip: str = "") -> PortMap:
        """Port 80, published at a free number."""
        return {HTTP: (PortBinding(host_ip, str(self.free[index])),)}

    async def serve(self, service: _Service) -> PortMap:
        """Serves on the remote; @return: what the daemon would report."""
        port: Any = await TCP4ServerEndpoint(reactor, 0, backlog=2000, interface="127.0.0.1").listen(service)
        self.addCleanup(port.stopListening)
        return {HTTP: (PortBinding("127.0.0.1", str(port.getHost().port)),)}

    async def dial(self, host: str = "127.0.0.1", index: int = 0) -> Any:
        """@return: a L{Recorder}, connected to a local port."""
        factory = Factory.forProtocol(Recorder)
        factory.noisy = False
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        return await kind(reactor, host, self.free[index]).connect(factory)

    async def refused(self, host: str = "127.0.0.1", index: int = 0) -> None:
        """Asserts that a local port lets nobody in."""
        with self.assertRaises(ConnectionRefusedError):
            await self.dial(host, index)

    async def until(self, client: Recorder, condition: Callable[[Recorder], object]) -> None:
        """Waits for something to happen to a client."""
        await wait_until(reactor, lambda: condition(client), lambda: str(client.events))

    async def until_lost(self, client: Recorder) -> None:
        """Waits for the end of a connection."""
        await self.until(client, lambda client: client.lost)


class ConnectionTests(_ForwardsCase):
    """Connections through local ports."""

    def setUp(self) -> None:
        """A short grace, so that no test waits for it."""
        super().setUp()
        self.patch(listener_module, "_GRACE", 0.05)

    async def test_both_families(self) -> None:
        """A port without an address is reached by IPv4 and by IPv6; half-close goes through."""
        actual = await self.serve(_Service())
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", actual)
        self.assertEqual(
            self.forwards.local_ports("one"),
            {HTTP: (PortBinding("127.0.0.1", str(self.free[0])), PortBinding("::1", str(self.free[0])))},
        )
        for host in ("127.0.0.1", "::1"):
            client = await self.dial(host)
            client.transport.write(b"ping")
            client.transport.loseWriteConnection()
            await self.until(client, lambda client: client.eof)
            self.assertEqual(bytes(client.received), b"ping")
            client.transport.loseConnection()
            await self.until_lost(client)

    async def test_refused_until_published(self) -> None:
        """
        Before the container runs, connections are refused, and nothing is asked of the remote but whether it
        forwards at all, once.
        """
        await self.forwards.reserve("one", "web", self.typed())
        await self.refused()
        await self.refused("::1")
        await self.forwards.reserve("two", "other", {HTTP: (PortBinding("127.0.0.1", ""),)})
        self.assertEqual(self.remote.asked, [("127.0.0.1", 1)])

    async def test_nobody_behind(self) -> None:
        """When nothing listens at the remote port, the connection is closed at once."""
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", {HTTP: (PortBinding("127.0.0.1", str(self.free[3])),)})
        client = await self.dial()
        await self.until_lost(client)
        self.assertEqual(bytes(client.received), b"")

    async def test_restarted(self) -> None:
        """After a restart the same local port leads to the new remote port; old connections are over."""
        first, second = _Service(b"first"), _Service(b"second")
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", await self.serve(first))
        old = await self.dial()
        await wait_until(reactor, lambda: old.received == b"first")
        await self.forwards.release("one")
        await self.refused()
        await self.until_lost(old)
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", await self.serve(second))
        new = await self.dial()
        await wait_until(reactor, lambda: new.received == b"second")
        new.transport.abortConnection()
        await self.until_lost(new)
        await wait_until(reactor, lambda: not first.open and not second.open)

    async def test_moved(self) -> None:
        """When the remote port changes without the container having been seen down, it is followed, too."""
        first, second = _Service(b"first"), _Service(b"second")
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", await self.serve(first))
        old = await self.dial()
        await wait_until(reactor, lambda: old.received == b"first")
        await self.forwards.publish("one", await self.serve(second))
        new = await self.dial()
        await wait_until(reactor, lambda: new.received == b"second")
        await self.until_lost(old)
        self.assertFalse(new.lost)
        new.transport.abortConnection()
        await self.until_lost(new)

    async def test_crash_loop(self) -> None:
        """Suspended and published again and again, the port is never anybody else's and always comes back."""
        actual = await self.serve(_Service(b"hello"))
        await self.forwards.reserve("one", "web", self.typed())
        for _ in range(5):
            await self.forwards.publish("one", actual)
            client = await self.dial()
            await self.until(client, lambda client: client.received == b"hello")
            await self.forwards.suspend("one")
            await self.refused()
            self.assertFalse(is_free(self.free[0]))
            await self.until_lost(client)
        await self.forwards.release("one")
        self.assertTrue(is_free(self.free[0]))

    async def test_many_at_once(self) -> None:
        """A thousand connections are open at once, each gets its own answer, and none is left."""
        service = _Service()
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", await self.serve(service))
        clients = await gatherResults([Deferred.fromCoroutine(self.dial()) for _ in range(1000)])
        await wait_until(reactor, lambda: len(service.open) == 1000, lambda: str(service.made))
        for index, client in enumerate(clients):
            client.transport.write(b"%d" % index)
            client.transport.loseWriteConnection()
        await wait_until(reactor, lambda: all(client.eof for client in clients))
        for client in clients:
            client.transport.loseConnection()
        await wait_until(reactor, lambda: all(client.lost for client in clients))
        self.assertEqual([int(client.received) for client in clients], list(range(1000)))
        await wait_until(reactor, lambda: not service.open)

    async def test_stuck_reader(self) -> None:
        """
        A client that stops reading stops the container's sender: of 64 MiB most are never taken, and the rest
        arrives when it reads on.
        """
        size = 64 << 20
        service = _Service(bytes(size))
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", await self.serve(service))
        client = await self.dial()
        client.transport.pauseProducing()
        await wait_until(reactor, lambda: service.made == 1)
        (sender,) = service.open
        waiting: Any = sender.transport
        left = [0, 1]
        while left[-1] != left[-2]:
            await deferLater(reactor, 0.2)
            left.append(len(waiting.dataBuffer) - waiting.offset + waiting._tempDataLen)
        self.assertGreater(left[-1], size // 2)
        client.transport.resumeProducing()
        await wait_until(reactor, lambda: len(client.received) == size)
        client.transport.loseConnection()
        await self.until_lost(client)
        await wait_until(reactor, lambda: not service.open)

    async def test_close(self) -> None:
        """When the agent ends, ports are free and connections over."""
        service = _Service(b"hello")
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.publish("one", await self.serve(service))
        client = await self.dial()
        await wait_until(reactor, lambda: client.received == b"hello")
        await self.forwards.close()
        self.assertTrue(is_free(self.free[0]))
        await self.until_lost(client)
        await wait_until(reactor, lambda: not service.open)


class RefusalTests(_ForwardsCase):
    """Ports that cannot be had."""

    def occupy(self, host: str, index: int) -> None:
        """Another program listens on a number until the test ends."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        other = socket.socket(family)
        self.addCleanup(other.close)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, self.free[index]))
        other.listen(1)

    async def fails(self, kind: type[RemoteDockerError], requested: PortMap) -> str:
        """Asserts that a reserve fails and leaves nothing open; @return: the message."""
        with self.assertRaises(kind) as raised:
            await self.forwards.reserve("one", "web", requested)
        self.assertFalse(self.forwards.local_ports("one"))
        self.assertEqual(self.forwards.containers(), frozenset())
        self.assertEqual(raised.exception.status, 500)
        return raised.exception.message

    async def test_another_program(self) -> None:
        """A number on which another program listens, on one of the addresses, fails with that address."""
        for host, written in (("127.0.0.1", f"127.0.0.1:{self.free[0]}"), ("::1", f"[::1]:{self.free[1]}")):
            index = 1 if ":" in host else 0
            self.occupy(host, index)
            message = await self.fails(PortUnavailable, self.typed(index))
            self.assertEqual(
                message,
                "driver failed programming external connectivity on endpoint web (one): "
                f"Bind for {written} failed: port is already allocated",
            )
        self.assertTrue(is_free(self.free[2]))

    async def test_nothing_left_open(self) -> None:
        """When the last of several bindings fails, the ones before it are free again."""
        self.occupy("127.0.0.1", 1)
        await self.fails(PortUnavailable, {**self.typed(0), HTTPS: (PortBinding("", str(self.free[1])),)})
        self.assertTrue(is_free(self.free[0]))

    async def test_left_open_goes_past(self) -> None:
        """A port left open takes the first number that is free on both addresses."""
        self.occupy("127.0.0.1", 0)
        self.occupy("::1", 1)
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        self.assertEqual(
            self.forwards.local_ports("one"),
            {HTTP: (PortBinding("127.0.0.1", str(self.free[2])), PortBinding("::1", str(self.free[2])))},
        )

    async def test_range_exhausted(self) -> None:
        """A range of which no number is free fails with the range."""
        self.occupy("127.0.0.1", 0)
        self.occupy("127.0.0.1", 1)
        span = f"{self.free[0]}-{self.free[1]}"
        message = await self.fails(PortUnavailable, {HTTP: (PortBinding("", span),)})
        self.assertIn(f"Bind for 127.0.0.1:{span} failed", message)

    async def test_no_such_address(self) -> None:
        """An address of another machine fails, and says where it was looked for."""
        message = await self.fails(AddressUnavailable, self.typed(0, "203.0.113.9"))
        self.assertIn(
            f"listen tcp 203.0.113.9:{self.free[0]}: bind: cannot assign requested address", message
        )

    async def test_without_ipv6(self) -> None:
        """On a machine without IPv6 the default is IPv4 alone."""
        forwards = self.make(("127.0.0.1", "2001:db8::1"))
        await forwards.reserve("one", "web", self.typed())
        self.assertEqual(forwards.local_ports("one"), {HTTP: (PortBinding("127.0.0.1", str(self.free[0])),)})

    def refuse_to_bind(self, number: int) -> None:
        """Makes the system refuse every bind with C{errno} C{number}."""

        def refuse(self: socket.socket, address: object) -> None:
            raise OSError(number, "refused")

        self.patch(socket.socket, "bind", refuse)

    async def test_privileged(self) -> None:
        """A port that the user may not open fails, and names the limit."""
        self.refuse_to_bind(errno.EACCES)
        message = await self.fails(PortForbidden, self.typed())
        self.assertIn(f"listen tcp 127.0.0.1:{self.free[0]}: bind: permission denied", message)
        self.assertIn("ip_unprivileged_port_start", message)

    async def test_other_reason(self) -> None:
        """Any other refusal of the system is told in its words."""
        self.refuse_to_bind(errno.ENOBUFS)
        message = await self.fails(RemoteDockerError, self.typed())
        self.assertIn(f"listen tcp 127.0.0.1:{self.free[0]}: No buffer space available", message)

    async def test_no_port(self) -> None:
        """A HostPort that is no port is a bad request."""
        with self.assertRaises(BadRequest) as raised:
            await self.forwards.reserve("one", "web", {HTTP: (PortBinding("", "http"),)})
        self.assertEqual(raised.exception.message, 'invalid port specification: "http"')

    async def test_optional(self) -> None:
        """Where ports are optional, those that cannot be had are logged and the others opened."""
        self.occupy("127.0.0.1", 0)
        requested = {
            ContainerPort(22): (PortBinding("", str(self.free[0])),),
            HTTP: (PortBinding("", "http"),),
            HTTPS: (PortBinding("", str(self.free[1])),),
        }
        with capturedLogs() as logged:
            await self.forwards.reserve("one", "web", requested, optional=True)
        self.assertEqual(set(self.forwards.local_ports("one") or {}), {HTTPS})
        self.assertEqual([event["log_level"] for event in logged].count(LogLevel.warn), 2)

    async def test_waits_for_the_predecessor(self) -> None:
        """A number of a container whose end is heard of a moment later is had as soon as it is free."""
        forwards = self.make(patience=30.0)
        await forwards.reserve("old", "web", self.typed())
        reserved = forwards.reserve("new", "web", self.typed())
        self.assertNoResult(reserved)
        await forwards.forget("old")
        await reserved
        self.assertIn(HTTP, forwards.local_ports("new") or {})

    async def test_gives_up_waiting(self) -> None:
        """A number of a container that goes on running is refused after a while."""
        await self.forwards.reserve("old", "web", self.typed())
        await self.forwards.publish("old", ACTUAL)
        with self.assertRaises(PortUnavailable):
            await self.forwards.reserve("new", "web", self.typed())
        self.assertIn(HTTP, self.forwards.local_ports("old") or {})

    async def test_interleaved(self) -> None:
        """What is asked for one container at the same time is done in the order of asking."""
        done = [
            self.forwards.reserve("one", "web", self.typed()),
            self.forwards.release("one"),
            self.forwards.reserve("one", "web", self.typed(1)),
            self.forwards.publish("one", ACTUAL),
            self.forwards.forget("one"),
            self.forwards.reserve("one", "web", self.typed(2)),
            self.forwards.release("one"),
            self.forwards.release("one"),
        ]
        await gatherResults(done)
        self.assertEqual(self.forwards.local_ports("one"), {})
        self.assertTrue(all(is_free(number) for number in self.free))


class RememberedTests(_ForwardsCase):
    """Numbers across restarts of the agent."""

    async def test_next_agent(self) -> None:
        """The next agent opens the same number, though another one is free first."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        await self.forwards.reserve("two", "api", {HTTP: (PortBinding(),)})
        shown = self.forwards.local_ports("two")
        await self.forwards.close()
        again = self.make()
        self.assertEqual(again.containers(), {"one", "two"})
        await again.reserve("two", "api", {HTTP: (PortBinding(),)})
        self.assertEqual(again.local_ports("two"), shown)

    async def test_taken_meanwhile(self) -> None:
        """A remembered number that somebody else has by now is replaced, and the new one is remembered."""
        await self.forwards.reserve("one", "web", {HTTP: (PortBinding(),)})
        await self.forwards.close()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", self.free[0]))
            other.listen(1)
            again = self.make()
            await again.reserve("one", "web", {HTTP: (PortBinding(),)})
        shown = again.local_ports("one") or {}
        self.assertEqual(shown[HTTP][0], PortBinding("127.0.0.1", str(self.free[1])))
        await again.close()
        third = self.make()
        await third.reserve("one", "web", {HTTP: (PortBinding(),)})
        self.assertEqual(third.local_ports("one"), shown)

    async def test_typed_is_not_remembered(self) -> None:
        """A number that was typed needs no remembering."""
        await self.forwards.reserve("one", "web", self.typed())
        await self.forwards.release("one")
        self.assertEqual(self.forwards.containers(), frozenset())
        self.assertFalse(self.state.exists())
