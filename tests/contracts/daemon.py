# -*- test-case-name: tests.daemon.test_client -*-
"""
What L{IDaemon}'s provider does with a daemon, be it the one in memory or a real dockerd.

The mixin is for a C{TestCase} that provides a L{DaemonFixture}.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.daemon import DaemonClient
from remotedocker.docker import ContainerEvent, ContainerPort
from remotedocker.errors import NoSuchContainer
from remotedocker.http import EndOfMessage, Headers, RequestHead, ResponseHead, ResponseParser
from remotedocker.interfaces import IContainerObserver, IDaemon
from tests.support import wait_until

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

__all__ = ["DaemonContract", "DaemonFixture", "RecordingObserver"]


class DaemonFixture(Protocol):
    """
    A daemon that a test can play with. Names are unique to the test; what it made is removed at the end.

    @ivar client: over a remote that leads to the daemon; not started.
    @ivar image: the name of an image that exposes 80/tcp and 53/udp, and runs until it is killed.
    """

    client: DaemonClient
    image: str

    def create(self, name: str, labels: Mapping[str, str]) -> str:
        """@return: the id of a new container."""

    def start(self, container_id: str) -> None:
        """Starts it."""

    def kill(self, container_id: str) -> None:
        """Kills it, and returns when it is down."""

    def remove(self, container_id: str) -> None:
        """Removes it."""

    def create_volume(self, name: str, options: dict[str, str]) -> None:
        """Makes a volume of the C{local} driver, with options of the driver."""

    def remove_volume(self, name: str) -> None:
        """Removes it."""

    def log_out(self) -> None:
        """The remote's login is lost, with all connections to the daemon."""

    def log_in(self) -> None:
        """There is a login again."""


@implementer(IContainerObserver)
class RecordingObserver:
    """
    Keeps what it is told.

    @ivar lists: each list's ids.
    @ivar events: action and id, and C{("listed", "")} for each list.
    @ivar settled: how many lists were dealt with by everybody.
    @ivar dealing: what a list is answered with.
    """

    def __init__(self) -> None:
        self.lists: list[set[str]] = []
        self.events: list[tuple[str, str]] = []
        self.attributes: list[Mapping[str, str]] = []
        self.settled = 0
        self.dealing: Callable[[], Deferred[None]] = lambda: succeed(None)

    def container_event(self, event: ContainerEvent) -> None:
        """Kept."""
        self.events.append((event.action, event.container_id))
        self.attributes.append(event.attributes)

    def containers_listed(self, containers: Sequence[Mapping[str, Any]]) -> Deferred[None]:
        """Kept."""
        self.lists.append({container["Id"] for container in containers})
        self.events.append(("listed", ""))
        return self.dealing()

    def list_settled(self) -> None:
        """Counted."""
        self.settled += 1

    def of(self, container_id: str) -> list[str]:
        """What happened to one container, and all lists; not to its networks, for only an engine has any."""
        return [
            action
            for action, told in self.events
            if told in (container_id, "") and not action.startswith("network ")
        ]


class DaemonContract(_Base):
    """Mixin: subclasses define L{make_fixture}."""

    fixture: DaemonFixture

    def make_fixture(self) -> DaemonFixture:
        """A daemon, and a client for it."""
        raise NotImplementedError

    def setUp(self) -> None:
        """A daemon and a client for it, which is stopped at the end."""
        super().setUp()
        self.fixture = self.make_fixture()
        self.client = self.fixture.client
        self.addCleanup(self.client.stop)
        self.name = f"contract-{time.monotonic_ns():x}"

    async def until(self, condition: Any) -> None:
        """Waits for a condition."""
        await wait_until(reactor, condition)

    async def following(self) -> RecordingObserver:
        """An observer that was told the first list."""
        observer = RecordingObserver()
        self.client.watch(observer)
        self.client.start()
        await self.until(lambda: observer.lists)
        return observer

    def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IDaemon, self.client)

    async def test_no_services(self) -> None:
        """A daemon that is in no swarm has none."""
        self.assertIsNone(await self.client.services())

    async def test_version(self) -> None:
        """The daemon says what it is."""
        version = await self.client.version()
        self.assertEqual(version["Os"], "linux")
        self.assertIn("Version", version)

    async def test_inspect(self) -> None:
        """A container is found by id, by the beginning of its id and by name."""
        container_id = self.fixture.create(self.name, {"a": "b"})
        for reference in (container_id, container_id[:14], self.name, "/" + self.name):
            document = await self.client.inspect(reference)
            self.assertEqual(document["Id"], container_id)
            self.assertEqual(document["Name"], "/" + self.name)
            self.assertEqual(document["Config"]["Labels"]["a"], "b")

    async def test_inspect_missing(self) -> None:
        """What is no container is an error that names it, however odd the name."""
        for reference in (self.name, "no/such?thing#%41 é", "..", "a/../b", ""):
            error: Any = await self.assertFailure(self.client.inspect(reference), NoSuchContainer)
            self.assertEqual(error.message, f"No such container: {reference}")

    async def test_remove(self) -> None:
        """A removed container is gone; removing it once more is no error."""
        container_id = self.fixture.create(self.name, {})
        await self.client.remove(container_id)
        await self.assertFailure(self.client.inspect(container_id), NoSuchContainer)
        await self.client.remove(container_id)

    async def test_list(self) -> None:
        """All containers are listed, those that do not run too."""
        container_id = self.fixture.create(self.name, {"a": "b"})
        listed = {item["Id"]: item for item in await self.client.list_containers()}
        self.assertEqual(listed[container_id]["Names"], ["/" + self.name])
        self.assertEqual(listed[container_id]["Labels"]["a"], "b")

    async def test_volumes(self) -> None:
        """Volumes are listed with their options, all or those whose whole name is asked for."""
        options = {"type": "none", "o": "bind", "device": "/srv"}
        first, second, part = self.name + ".a", self.name + ".b", self.name + ".ab"
        self.fixture.create_volume(first, options)
        self.fixture.create_volume(second, {})
        self.fixture.create_volume(part, {})
        listed = {item["Name"]: item for item in await self.client.volumes()}
        self.assertEqual(set(listed) & {first, second, part}, {first, second, part})
        self.assertEqual((listed[first]["Driver"], listed[first]["Options"]), ("local", options))
        self.assertFalse(listed[second]["Options"])
        chosen = await self.client.volumes([second, first, self.name])
        self.assertEqual(sorted(item["Name"] for item in chosen), [first, second])
        self.assertEqual(await self.client.volumes([self.name + "-none"]), [])

    async def test_watch_volumes(self) -> None:
        """That a volume is made, and is gone, is told by its name."""
        observer = await self.following()
        self.fixture.create_volume(self.name, {})
        self.fixture.remove_volume(self.name)
        await self.until(lambda: "volume destroy" in observer.of(self.name))
        self.assertEqual(observer.of(self.name), ["listed", "volume create", "volume destroy"])

    async def test_image_ports(self) -> None:
        """The ports that an image exposes are known, of a missing image none."""
        ports = await self.client.image_ports(self.fixture.image)
        self.assertEqual(set(ports), {ContainerPort(80), ContainerPort(53, "udp")})
        self.assertEqual(await self.client.image_ports(f"localhost:1/{self.name}/x:1"), ())
        self.assertEqual(await self.client.image_ports(""), ())

    async def test_ping(self) -> None:
        """While the daemon is followed, the head of a ping's answer is known, with the date of now."""
        self.assertIsNone(self.client.ping())
        await self.following()
        pong = self.client.ping()
        assert pong is not None
        parser = ResponseParser()
        parser.expect(RequestHead(b"HEAD", b"/_ping", (1, 1), Headers(), b""))
        head, end = parser.feed(pong)
        assert isinstance(head, ResponseHead)
        self.assertIsInstance(end, EndOfMessage)
        self.assertEqual(head.status, 200)
        self.assertEqual(head.headers.get_all(b"content-length"), [b"0"])
        self.assertIsNotNone(head.headers.get(b"api-version"))
        [date] = head.headers.get_all(b"date")
        distance = parsedate_to_datetime(date.decode()).timestamp() - time.time()
        self.assertTrue(abs(distance) < 10, distance)
        self.fixture.log_out()
        self.assertIsNone(self.client.ping())
        self.fixture.log_in()
        await self.until(self.client.ping)

    async def test_watch(self) -> None:
        """The list comes first, then each event once and in order, with its attributes."""
        old = self.fixture.create(self.name + "-old", {})
        observer = await self.following()
        self.assertIn(old, observer.lists[0])
        new = self.fixture.create(self.name, {"a": "b"})
        self.fixture.start(new)
        self.fixture.kill(new)
        self.fixture.remove(new)
        await self.until(lambda: "destroy" in observer.of(new))
        self.assertEqual(observer.of(new), ["listed", "create", "start", "kill", "die", "destroy"])
        self.assertEqual(observer.attributes[-1]["a"], "b")
        self.assertEqual(observer.attributes[-1]["name"], self.name)

    async def test_watch_again(self) -> None:
        """After a lost login comes a new list, then what happened meanwhile, and nothing twice."""
        observer = await self.following()
        container_id = self.fixture.create(self.name, {})
        self.fixture.start(container_id)
        await self.until(lambda: "start" in observer.of(container_id))
        self.fixture.log_out()
        self.fixture.kill(container_id)
        self.fixture.log_in()
        await self.until(lambda: "die" in observer.of(container_id))
        self.assertEqual(observer.of(container_id), ["listed", "create", "start", "listed", "kill", "die"])
        self.fixture.remove(container_id)
        await self.until(lambda: "destroy" in observer.of(container_id))
        self.assertEqual(len(observer.lists), 2)

    async def test_stop(self) -> None:
        """After a stop nothing more is told."""
        observer = await self.following()
        await self.client.stop()
        told = list(observer.events)
        self.fixture.create(self.name, {})
        await self.fixture_settles()
        self.assertEqual(observer.events, told)

    async def fixture_settles(self) -> None:
        """Returns when the daemon has done what was asked of it: it answers a new client."""
        self.client = self.make_fixture().client
        self.addCleanup(self.client.stop)
        await self.client.version()
