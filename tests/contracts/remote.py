"""
What every L{IRemote} does: the same tests on the one without SSH, and on logins to a real sshd.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionDone
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.interfaces import CommandResult, IRemote, IRemoteObserver
from tests.support import Recorder, wait_until

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["RemoteContract", "RemoteObserver"]


@implementer(IRemoteObserver)
class RemoteObserver:
    """
    Records what it hears.

    @ivar heard: C{"connected"} and C{"disconnected"}, in order.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []

    def connected(self) -> None:
        """Recorded."""
        self.heard.append("connected")

    def disconnected(self, reason: Exception) -> None:
        """Recorded."""
        self.heard.append("disconnected")


class RemoteContract(_Base):
    """
    Mixin: a subclass sets C{remote}, logged in, whose daemon echoes and whose C{cat} does what it does, and
    defines L{lose} and L{come_back}.
    """

    remote: IRemote

    async def lose(self) -> None:
        """The login is lost; returns when that is noticed."""
        raise NotImplementedError

    async def come_back(self) -> None:
        """A new login may be made; returns when it stands."""
        raise NotImplementedError

    def until(self, condition: Any) -> Awaitable[None]:
        """Returns once it is true."""
        return wait_until(reactor, condition)

    async def echo(self, bulk: bool = False) -> Recorder:
        """@return: a protocol on a stream to the daemon, which has echoed."""
        protocol = Recorder()
        await connectProtocol(self.remote.docker_endpoint(bulk), protocol)
        protocol.transport.write(b"hello")
        await self.until(lambda: protocol.received == b"hello")
        return protocol

    async def test_interface(self) -> None:
        """It provides the interface, and says where it is logged in."""
        verifyObject(IRemote, self.remote)
        self.assertIn("@", self.remote.destination)
        self.assertTrue(self.remote.connected)

    async def test_when_connected(self) -> None:
        """While a login stands, nobody waits for one."""
        self.assertIsNone(self.successResultOf(self.remote.when_connected()))

    async def test_streams(self) -> None:
        """Streams to the daemon carry bytes, interactive ones and bulk ones, and end when they are closed."""
        for bulk in (False, True):
            protocol = await self.echo(bulk)
            protocol.transport.loseConnection()
            await self.until(lambda: protocol.lost)  # noqa: B023
            self.assertTrue(protocol.reason is not None and protocol.reason.check(ConnectionDone))

    async def test_run(self) -> None:
        """A command gets its input, and its status and output are told."""
        result = await self.remote.run("cat", b"input")
        self.assertEqual(result, CommandResult(0, "", b"input", b""))

    async def test_loss(self) -> None:
        """
        When the login is lost, streams end with an error and observers hear of it; when there is one again,
        they hear of that, who has waited goes on, and streams work.
        """
        observer = RemoteObserver()
        self.remote.add_observer(observer)
        protocol = await self.echo()
        await self.lose()
        await self.until(lambda: protocol.lost)
        self.assertFalse(protocol.reason is not None and protocol.reason.check(ConnectionDone))
        self.assertEqual(observer.heard[:1], ["disconnected"])
        await self.come_back()
        await self.remote.when_connected()
        self.assertTrue(self.remote.connected)
        self.assertEqual(observer.heard, ["disconnected", "connected"])
        again = await self.echo()
        again.transport.loseConnection()
        await self.until(lambda: again.lost)

    async def test_connecting_waits(self) -> None:
        """Who connects while there is no login gets a stream when there is one."""
        await self.lose()
        protocol = Recorder()
        connecting = connectProtocol(self.remote.docker_endpoint(), protocol)
        await self.come_back()
        await connecting
        protocol.transport.loseConnection()
        await self.until(lambda: protocol.lost)
