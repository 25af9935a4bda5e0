"""The upkeep of one container, step by step; what the steps come to is shown in L{tests.test_containers}."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotedocker._known import Container, KnownContainers
from remotedocker._upkeep import PortPolicy, Upkeep, ports_wanted
from remotedocker.docker import ContainerPort, OwnedContainer, PortBinding, PortMap
from remotedocker.errors import DaemonError, NoSuchContainer
from remotedocker.volumes import Volumes
from tests.test_containers import DNS, ID, WEB, FilesNeighbour, Neighbours, document

TYPED = (PortBinding("", "8080"),)
FOUND: PortMap = {
    WEB: (PortBinding("127.0.0.1", "32768"), PortBinding("::1", "32768")),
    ContainerPort(443): (PortBinding("127.0.0.1", "32769"),),
}


def owned(ports: PortMap) -> OwnedContainer:
    """@return: what the labels of a container of ours say."""
    return OwnedContainer("agent", "nonce", ports, forwarded=(WEB,))


class PortsWantedTests(SynchronousTestCase):
    """L{ports_wanted}."""

    def test_own(self) -> None:
        """TCP ports that were typed are opened as typed; what C{-P} published, anywhere."""
        container = Container(ID, "web", owned({WEB: TYPED, DNS: TYPED}))
        self.assertEqual(ports_wanted(container, {}), {WEB: TYPED})
        self.assertEqual(ports_wanted(container, FOUND), {WEB: TYPED, ContainerPort(443): (PortBinding(),)})

    def test_of_others(self) -> None:
        """A container of others has its ports at the numbers that they have there, each once."""
        self.assertEqual(
            ports_wanted(Container(ID, "web", None), FOUND),
            {WEB: (PortBinding("", "32768"),), ContainerPort(443): (PortBinding("", "32769"),)},
        )


class UpkeepTests(SynchronousTestCase):
    """L{Upkeep}, with neighbours that write down what is asked of them."""

    def setUp(self) -> None:
        """A container of ours that the daemon knows."""
        self.neighbours = Neighbours()
        self.calls = self.neighbours.calls
        neighbours: Any = self.neighbours
        files: Any = FilesNeighbour(self.neighbours)
        self.known = KnownContainers()
        self.container = self.known[ID] = Container(ID, "web", owned({WEB: TYPED}))
        self.neighbours.documents[ID] = document()
        volumes = Volumes(neighbours, files)
        self.upkeep = Upkeep("agent", self.known, PortPolicy(), neighbours, neighbours, files, volumes)

    def test_attach(self) -> None:
        """What it mounts is known from then on: sources at once, those behind volumes when they are told."""
        self.neighbours.binds["data"] = "/mirror/data"
        mounts = [{"Type": "volume", "Name": "data"}, *document()["Mounts"]]
        self.container.mounts_known = False
        self.upkeep.attach(self.container, {"Mounts": mounts})
        self.assertTrue(self.container.mounts_known)
        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(self.upkeep.attach_volumes(self.container)))
        self.assertEqual(
            self.calls, [("attach", ID, {"/mirror/src": True}), ("attach", ID, {"/mirror/data": False})]
        )

    def test_follow(self) -> None:
        """One that runs has its ports and its mirrors; one that does not has its ports closed."""
        self.successResultOf(self.upkeep.background(self.container, self.upkeep.follow))
        self.assertEqual([name for name, *_ in self.calls], ["inspect", "running", "reserve", "publish"])
        self.calls.clear()
        self.neighbours.documents[ID] = document(running=False)
        self.successResultOf(self.upkeep.background(self.container, self.upkeep.follow))
        self.assertEqual(self.calls, [("inspect", ID), ("stopped", ID), ("release", ID)])

    def test_in_turn(self) -> None:
        """What comes later waits, and hears of a failure that is its own alone."""
        begun: Deferred[None] = Deferred()
        first = self.upkeep.in_turn(self.container, lambda: begun)
        second = self.upkeep.background(self.container, self.upkeep.down)
        self.assertNoResult(second)
        self.assertEqual(self.calls, [])
        begun.errback(DaemonError(code=500, reason="busy"))
        self.failureResultOf(first, DaemonError)
        self.successResultOf(second)
        self.assertEqual(self.calls, [("stopped", ID), ("release", ID)])

    def test_background(self) -> None:
        """A container that is not there is forgotten, trouble is passed over, and a bug is logged."""
        for error, bugs, known in (
            (DaemonError(code=500, reason="busy"), 0, True),
            (RuntimeError("a bug"), 1, True),
            (NoSuchContainer(reference=ID), 0, False),
        ):
            self.neighbours.answers["release"] = error
            self.successResultOf(self.upkeep.background(self.container, self.upkeep.down))
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), bugs, error)
            self.assertEqual(ID in self.known, known, error)
        self.assertEqual(self.calls[-2:], [("mirrors.release", ID), ("forget", ID)])
