"""Where ports, files and the daemon's truth meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from remotedocker._upkeep import PortPolicy
from remotedocker.containers import Containers
from remotedocker.docker import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    PlacedMount,
    PortBinding,
    PortMap,
    service_key,
)
from remotedocker.errors import DaemonUnreachable, NoSuchContainer, PortUnavailable, SyncFailed
from remotedocker.interfaces import IContainerObserver, IContainers

WEB = ContainerPort(80)
DNS = ContainerPort(53, "udp")
ID = "ab" * 32
OTHER = "cd" * 32


class Neighbours:
    """
    The daemon, the forwards and the mirrors at once: writes down what is asked of them, in order, and answers
    from C{answers} (a value, an exception or a Deferred), by the name of the call.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {"image_ports": ()}
        self.documents: dict[str, dict[str, Any]] = {}
        self.binds: dict[str, str] = {}
        self.volume_questions: list[Sequence[str]] = []
        self.kept: list[Mapping[str, bool]] = []
        self.opened: dict[str, PortMap] = {}

    def _answer(self, name: str, *arguments: Any) -> Deferred[Any]:
        self.calls.append((name, *arguments))
        answer = self.answers.get(name)
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def inspect(self, reference: str) -> Deferred[dict[str, Any]]:
        for document in self.documents.values():
            if reference in (document["Id"], document["Name"].lstrip("/")):
                self.answers["inspect"] = document
                break
        else:
            self.answers["inspect"] = NoSuchContainer(reference=reference)
        return self._answer("inspect", reference)

    def remove(self, container_id: str) -> Deferred[None]:
        return self._answer("remove", container_id)

    def image_ports(self, image: str) -> Deferred[tuple[ContainerPort, ...]]:
        return self._answer("image_ports", image)

    def volumes(self, names: Sequence[str] = ()) -> Deferred[Sequence[dict[str, Any]]]:
        self.volume_questions.append(names)
        waiting = self.answers.get("volumes")
        if waiting is not None:
            return waiting if isinstance(waiting, Deferred) else fail(waiting)
        return succeed(self.volume_documents(names))

    def volume_documents(self, names: Sequence[str] = ()) -> Sequence[dict[str, Any]]:
        return [
            {"Name": name, "Driver": "local", "Options": {"o": "bind", "device": device} if device else None}
            for name, device in self.binds.items()
            if not names or name in names
        ]

    def reserve(
        self, container_id: str, name: str, requested: PortMap, optional: bool = False
    ) -> Deferred[None]:
        self.optional = optional
        return self._answer("reserve", container_id, name, dict(requested))

    def publish(self, container_id: str, actual: PortMap) -> Deferred[None]:
        self.opened[container_id] = actual
        return self._answer("publish", container_id, dict(actual))

    def release(self, container_id: str) -> Deferred[None]:
        self.opened.pop(container_id, None)
        return self._answer("release", container_id)

    def suspend(self, container_id: str) -> Deferred[None]:
        return self._answer("suspend", container_id)

    def forget(self, container_id: str) -> Deferred[None]:
        return self._answer("forget", container_id)

    def local_ports(self, container_id: str) -> PortMap | None:
        return self.opened.get(container_id)

    def containers(self) -> frozenset[str]:
        return frozenset(self.opened)


class FilesNeighbour:
    """The mirrors; shares the list of calls."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.calls, self.kept = neighbours.calls, neighbours.kept
        self.owed: frozenset[str] = frozenset()
        self._answer = neighbours._answer

    def place(self, mounts: Sequence[BindMount]) -> Deferred[tuple[PlacedMount, ...]]:
        self.calls.append(("place", tuple(mounts)))
        return succeed(tuple(PlacedMount(mount, "/mirror" + mount.source, True) for mount in mounts))

    def attach(self, container_id: str, remote_sources: Mapping[str, bool]) -> None:
        self.calls.append(("attach", container_id, dict(remote_sources)))

    def ready(self, container_id: str) -> Deferred[None]:
        return self._answer("ready", container_id)

    def running(self, container_id: str) -> None:
        self.calls.append(("running", container_id))

    def collect(self, container_id: str) -> Deferred[None]:
        return self._answer("collect", container_id)

    def stopped(self, container_id: str) -> None:
        self.calls.append(("stopped", container_id))

    def release(self, container_id: str) -> Deferred[None]:
        return self._answer("mirrors.release", container_id)

    def resynced(self) -> None:
        self.calls.append(("resynced",))

    def containers(self) -> frozenset[str]:
        return self.owed

    def serving(self, sources: Mapping[str, bool]) -> None:
        self.calls.append(("serving", dict(sources)))

    def keeping(self, sources: Mapping[str, bool]) -> None:
        self.kept.append(dict(sources))

    def laptop_path(self, remote_path: str) -> str | None:
        return remote_path.removeprefix("/mirror") if remote_path.startswith("/mirror") else None


def document(
    container_id: str = ID, running: bool = True, port: str = "32768", **config: Any
) -> dict[str, Any]:
    """@return: as much of an inspect answer as is read."""
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]} if running else {}
    return {
        "Id": container_id,
        "Name": "/web",
        "State": {"Running": running},
        "Config": config,
        "NetworkSettings": {"Ports": ports},
        "Mounts": [{"Type": "bind", "Source": "/mirror/src", "Destination": "/app", "RW": False}],
    }


class ContainersTests(SynchronousTestCase):
    """L{Containers}."""

    def setUp(self) -> None:
        """An agent whose neighbours write down what is asked of them."""
        self.make(PortPolicy())

    def make(self, policy: PortPolicy) -> None:
        """An agent with another policy."""
        self.neighbours = Neighbours()
        self.calls = self.neighbours.calls
        self.files = FilesNeighbour(self.neighbours)
        self.containers = self.made(self.files, policy)

    def made(self, files: Any, policy: PortPolicy) -> Containers:
        """@return: an agent whose files are looked after by C{files}."""
        neighbours: Any = self.neighbours
        return Containers("agent", neighbours, neighbours, files, policy)

    def create(self, spec: CreateSpec | None = None) -> Mapping[str, str]:
        """Creates a container with one port and one mount, and starts nothing. @return: its labels."""
        spec = spec or CreateSpec(
            "busybox",
            mounts=(BindMount("/src", "/app", read_only=True),),
            ports={WEB: (PortBinding("", "8080"),)},
        )
        plan = self.successResultOf(self.containers.plan_create(spec))
        self.plan = plan
        self.containers.created(ID, "web", plan)
        self.neighbours.documents[ID] = document()
        self.calls.clear()
        return plan.labels

    def named(self) -> list[str]:
        """The names of the calls so far."""
        return [call[0] for call in self.calls]

    def event(self, action: str, **attributes: str) -> None:
        """One event of the container."""
        self.containers.container_event(ContainerEvent(action, ID, {"name": "web", **attributes}))

    def test_interfaces(self) -> None:
        """It provides what the proxy and the event stream use."""
        verifyObject(IContainers, self.containers)
        verifyObject(IContainerObserver, self.containers)

    def test_plan(self) -> None:
        """TCP ports are forwarded, others are warned of, mounts are placed, labels say who typed what."""
        spec = CreateSpec("busybox", ports={WEB: (PortBinding("", "8080"),), DNS: (PortBinding("", "53"),)})
        plan = self.successResultOf(self.containers.plan_create(spec))
        self.assertEqual(plan.forwarded, (WEB,))
        self.assertEqual(len(plan.warnings), 1)
        self.assertIn("53/udp", plan.warnings[0])
        owned = self.containers.owned(plan.labels)
        assert owned is not None
        self.assertEqual(owned.ports, {WEB: (PortBinding("", "8080"),)})

    def test_plan_publish_all(self) -> None:
        """C{-P} forwards what the request and the image expose."""
        self.neighbours.answers["image_ports"] = (ContainerPort(443),)
        spec = CreateSpec("nginx", exposed=(WEB,), publish_all=True)
        plan = self.successResultOf(self.containers.plan_create(spec))
        self.assertEqual(plan.forwarded, (WEB, ContainerPort(443)))

    def test_plan_without_own_ports(self) -> None:
        """In the network of the host, of another container or of none, ports pass as asked."""
        for mode in ("host", "none", "container:x"):
            spec = CreateSpec("busybox", ports={WEB: (PortBinding(),)}, network_mode=mode)
            plan = self.successResultOf(self.containers.plan_create(spec))
            self.assertEqual((plan.forwarded, plan.warnings), ((), ()), mode)

    def test_no_forward(self) -> None:
        """With C{--no-forward} ports pass as asked, and nothing is opened."""
        self.make(PortPolicy(forward=False))
        spec = CreateSpec("busybox", ports={WEB: (PortBinding("", "8080"),)})
        plan = self.successResultOf(self.containers.plan_create(spec))
        self.assertEqual(plan.forwarded, ())
        self.containers.created(ID, "web", plan)
        self.neighbours.documents[ID] = document()
        self.successResultOf(self.containers.starting(ID))
        self.successResultOf(self.containers.started(ID, True))
        self.assertNotIn("publish", self.named())

    def test_failed_placing(self) -> None:
        """A mount that cannot be placed fails the create, once the other questions have ended."""
        files = FilesNeighbour(self.neighbours)
        files.place = lambda mounts: fail(SyncFailed(source="/x", destination="h", reason="r"))  # type: ignore
        containers = self.made(files, PortPolicy())
        self.failureResultOf(containers.plan_create(CreateSpec("busybox")), SyncFailed)

    def test_start(self) -> None:
        """Files and local ports come before the start, the remote's ports after it."""
        self.create()
        self.assertEqual(self.successResultOf(self.containers.starting(ID)), ID)
        self.assertEqual(
            self.calls, [("ready", ID), ("reserve", ID, "web", {WEB: (PortBinding("", "8080"),)})]
        )
        self.calls.clear()
        self.successResultOf(self.containers.started(ID, True))
        self.assertEqual(self.named(), ["inspect", "running", "reserve", "publish"])
        self.assertEqual(self.calls[-1], ("publish", ID, {WEB: (PortBinding("127.0.0.1", "32768"),)}))

    def test_start_waits_for_files(self) -> None:
        """The start is not let through before every change is on the remote."""
        self.create()
        arrived: Deferred[None] = Deferred()
        self.neighbours.answers["ready"] = arrived
        starting = self.containers.starting(ID)
        self.assertNoResult(starting)
        arrived.callback(None)
        self.assertEqual(self.successResultOf(starting), ID)

    def test_port_taken(self) -> None:
        """A port that is taken fails the start, and nothing stays open."""
        self.create()
        self.neighbours.answers["reserve"] = PortUnavailable(
            name="web", container_id=ID, address="127.0.0.1:8080"
        )
        self.containers.created(ID, "", self.plan)
        failure = self.failureResultOf(self.containers.starting(ID), PortUnavailable)
        self.assertEqual(self.named()[-2:], ["release", "inspect"])
        self.assertIn("on endpoint web (", failure.value.message)

    def test_port_taken_with_rm(self) -> None:
        """A container of C{--rm} whose start is refused is removed: the CLI waits for that."""
        self.create()
        self.neighbours.documents[ID] = {**document(running=False), "HostConfig": {"AutoRemove": True}}
        self.neighbours.answers["reserve"] = PortUnavailable(
            name="web", container_id=ID, address="127.0.0.1:8080"
        )
        self.failureResultOf(self.containers.starting(ID), PortUnavailable)
        self.assertEqual(self.calls[-1], ("remove", ID))
        self.calls.clear()
        self.neighbours.documents[ID] = {**document(), "HostConfig": {"AutoRemove": True}}
        self.failureResultOf(self.containers.starting(ID), PortUnavailable)
        self.assertNotIn("remove", self.named())

    def test_port_taken_of_a_running_one(self) -> None:
        """A second start of a running container that fails closes nothing of the first."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.successResultOf(self.containers.started(ID, True))
        self.calls.clear()
        self.neighbours.answers["ready"] = SyncFailed(source="/src", destination="h", reason="r")
        self.failureResultOf(self.containers.starting(ID), SyncFailed)
        self.assertNotIn("release", self.named())

    def test_failed_start(self) -> None:
        """When the daemon refuses the start, the local ports are closed again."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.neighbours.documents[ID] = document(running=False)
        self.successResultOf(self.containers.started(ID, False))
        self.assertEqual(self.calls[-1], ("release", ID))

    def test_inherited_mounts(self) -> None:
        """The mounts of C{--volumes-from} are learnt from the daemon before the first start."""
        self.create(CreateSpec("busybox", inherits_mounts=True))
        self.successResultOf(self.containers.starting(ID))
        self.assertEqual(self.named(), ["inspect", "attach", "ready", "reserve"])
        self.assertIn(("attach", ID, {"/mirror/src": True}), self.calls)
        self.calls.clear()
        self.successResultOf(self.containers.starting(ID))
        self.assertNotIn("attach", self.named())

    def volumes(self, **volumes: bool) -> CreateSpec:
        """@return: what creates a container with volumes; C{src} is a bind, no other."""
        self.neighbours.binds.update(src="/mirror/src", data="")
        return CreateSpec("busybox", volumes=volumes)

    def test_volumes(self) -> None:
        """The mirrors behind volumes are asked for with the create, and attached before the first start."""
        self.create(self.volumes(src=True, data=False))
        self.assertEqual(self.neighbours.volume_questions, [["data", "src"]])
        self.successResultOf(self.containers.starting(ID))
        self.assertEqual(self.calls[:2], [("attach", ID, {"/mirror/src": True}), ("ready", ID)])
        self.calls.clear()
        self.successResultOf(self.containers.starting(ID))
        self.assertNotIn("attach", self.named())
        self.assertEqual(len(self.neighbours.volume_questions), 1)

    def test_start_waits_for_volumes(self) -> None:
        """A start waits for what is asked about its volumes; if that fails it asks, and fails, itself."""
        spec = self.volumes(src=False)
        asked: Deferred[Any] = Deferred()
        self.neighbours.answers["volumes"] = asked
        self.create(spec)
        starting = self.containers.starting(ID)
        self.assertNoResult(starting)
        asked.callback(self.neighbours.volume_documents())
        self.successResultOf(starting)
        self.neighbours.answers["volumes"] = DaemonUnreachable(socket="/s", destination="h", reason="lost")
        self.create(spec)
        self.failureResultOf(self.containers.starting(ID), DaemonUnreachable)
        self.assertNotIn("ready", self.named())
        del self.neighbours.answers["volumes"]
        self.successResultOf(self.containers.starting(ID))
        self.assertIn(("attach", ID, {"/mirror/src": False}), self.calls)

    def test_no_volumes(self) -> None:
        """Where none is named, none is asked for: neither by a create nor by a start."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.successResultOf(self.containers.started(ID, True))
        self.assertEqual(self.neighbours.volume_questions, [])

    def test_volumes_of_a_container_that_runs(self) -> None:
        """After a restart of the agent the list of volumes tells what is behind those of a container."""
        self.volumes()
        labels = self.create()
        summary = {"Id": ID, "Names": ["/web"], "Labels": labels, "State": "running"}
        mounts = [{"Type": "volume", "Name": name, "RW": True} for name in ("src", "data")]
        self.make(PortPolicy())
        self.volumes()
        self.neighbours.documents[ID] = document(Labels=labels)
        self.containers.containers_listed([{**summary, "Mounts": mounts}])
        self.assertIn(("attach", ID, {"/mirror/src": False}), self.calls)
        self.assertLess(self.named().index("attach"), self.named().index("running"))
        self.assertEqual(self.neighbours.volume_questions, [()])
        self.assertEqual(self.neighbours.kept, [{"/mirror/src": False}])

    def test_volumes_of_one_that_ended(self) -> None:
        """Who waits for the end of a container waits for what is behind its volumes, if that can be known."""
        self.volumes()
        asked: Deferred[Any] = Deferred()
        self.neighbours.answers["volumes"] = asked
        self.create()
        mounts = [{"Type": "volume", "Name": "src", "RW": True}]
        summary = {
            "Id": ID,
            "Names": ["/web"],
            "Labels": self.plan.labels,
            "State": "exited",
            "Mounts": mounts,
        }
        self.containers.containers_listed([summary])
        self.calls.clear()
        held = self.containers.collect("web")
        self.assertNoResult(held)
        asked.callback(self.neighbours.volume_documents())
        self.successResultOf(held)
        self.assertEqual(self.calls, [("attach", ID, {"/mirror/src": False}), ("collect", ID)])
        self.neighbours.answers["volumes"] = DaemonUnreachable(socket="/s", destination="h", reason="lost")
        self.create(self.volumes(src=False))
        self.successResultOf(self.containers.collect("web"))
        self.assertEqual(self.calls, [("collect", ID)])

    def test_volumes_come_and_go(self) -> None:
        """What is told of volumes is told to who knows them."""
        self.containers.containers_listed([])
        self.neighbours.binds["new"] = "/mirror/new"
        self.containers.container_event(ContainerEvent("volume create", "new"))
        self.containers.container_event(ContainerEvent("volume destroy", "new"))
        self.assertEqual(self.neighbours.kept, [{}, {"/mirror/new": False}, {}])

    def test_inherited_volumes(self) -> None:
        """C{--volumes-from} may give it volumes, too."""
        self.create(CreateSpec("busybox", inherits_mounts=True))
        self.volumes()
        self.neighbours.documents[ID]["Mounts"] = [{"Type": "volume", "Name": "src", "RW": True}]
        self.successResultOf(self.containers.starting(ID))
        self.assertIn(("attach", ID, {"/mirror/src": False}), self.calls)

    def test_start_without_ports(self) -> None:
        """A container without published ports costs no question after its start."""
        self.create(CreateSpec("busybox"))
        self.successResultOf(self.containers.starting(ID))
        self.calls.clear()
        self.successResultOf(self.containers.started(ID, True))
        self.assertEqual(self.calls, [("running", ID)])

    def test_ended_before_the_answer(self) -> None:
        """If it died before its start was answered, the daemon is asked whether it runs."""
        self.create(CreateSpec("busybox"))
        self.successResultOf(self.containers.starting(ID))
        self.event("die", exitCode="0")
        self.neighbours.documents[ID] = document(running=False)
        self.calls.clear()
        self.successResultOf(self.containers.started(ID, True))
        self.assertEqual(self.named(), ["inspect", "stopped", "release"])

    def test_gone_before_it_was_looked_at(self) -> None:
        """A container that has ended and is removed before the inspect leaves nothing."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.neighbours.documents.clear()
        self.successResultOf(self.containers.started(ID, True))
        self.assertEqual(self.calls[-2:], [("mirrors.release", ID), ("forget", ID)])

    def test_publish_all_opens_what_is_found(self) -> None:
        """A port that C{-P} published is opened at any local number once it is known."""
        self.create(CreateSpec("busybox", publish_all=True))
        self.successResultOf(self.containers.starting(ID))
        self.successResultOf(self.containers.started(ID, True))
        self.assertIn(("reserve", ID, "web", {WEB: (PortBinding(),)}), self.calls)

    def test_unknown_container(self) -> None:
        """The start of a container of others passes; one that is missing is the daemon's to refuse."""
        self.neighbours.documents[OTHER] = document(OTHER)
        self.assertIsNone(self.successResultOf(self.containers.starting(OTHER)))
        self.assertIsNone(self.successResultOf(self.containers.starting("nobody")))

    def test_start_by_name_after_a_restart_of_the_agent(self) -> None:
        """A container that only its labels know is learnt from the daemon."""
        labels = self.create()
        self.make(PortPolicy())
        self.neighbours.documents[ID] = document(Labels=labels)
        self.assertEqual(self.successResultOf(self.containers.starting("web")), ID)
        self.assertEqual(self.calls[:2], [("inspect", "web"), ("attach", ID, {"/mirror/src": True})])
        self.assertIn(("reserve", ID, "web", {WEB: (PortBinding("", "8080"),)}), self.calls)

    def test_references(self) -> None:
        """A container is found by id, name and shortened id; by a shorter prefix the daemon is asked."""
        self.create()
        for reference in (ID, "web", "/web", ID[:12]):
            self.calls.clear()
            self.assertEqual(self.successResultOf(self.containers.starting(reference)), ID)
            self.assertNotIn("inspect", self.named(), reference)
        self.calls.clear()
        self.successResultOf(self.containers.starting(ID[:4]))
        self.assertEqual(self.named(), ["inspect"])

    def test_die(self) -> None:
        """When it dies, its ports are closed."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.successResultOf(self.containers.started(ID, True))
        self.calls.clear()
        self.event("die", exitCode="0")
        self.assertEqual(self.calls, [("stopped", ID), ("release", ID)])

    def test_crash_loop(self) -> None:
        """While a restart policy brings it back, its ports refuse but stay ours; then they close."""
        self.create()
        policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}
        self.neighbours.documents[ID] = {**document(), "HostConfig": policy}
        self.successResultOf(self.containers.starting(ID))
        self.successResultOf(self.containers.started(ID, True))
        self.calls.clear()
        self.neighbours.documents[ID]["State"] = {"Running": True, "Restarting": True}
        self.event("die", exitCode="1")
        self.assertEqual(self.named(), ["stopped", "suspend", "inspect"])
        self.calls.clear()
        self.neighbours.documents[ID]["State"] = {"Running": False, "Restarting": False}
        self.event("die", exitCode="1")
        self.assertEqual(self.named(), ["stopped", "suspend", "inspect", "release"])

    def test_die_waits_for_its_turn(self) -> None:
        """A C{die} that comes while the start is being answered closes the ports after it."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        published: Deferred[None] = Deferred()
        self.neighbours.answers["publish"] = published
        started = self.containers.started(ID, True)
        self.event("die", exitCode="0")
        self.assertNoResult(started)
        self.assertNotIn("release", self.named())
        published.callback(None)
        self.successResultOf(started)
        self.assertEqual(self.calls[-1], ("release", ID))

    def test_own_start_event(self) -> None:
        """The C{start} event of a start that passes by the proxy asks the daemon nothing more."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.calls.clear()
        self.event("start")
        self.assertEqual(self.calls, [])

    def test_start_elsewhere(self) -> None:
        """A restart policy, or another client, starts it: the ports are opened by the event."""
        labels = self.create()
        self.event("start", **labels)
        self.assertEqual(self.named(), ["inspect", "running", "reserve", "publish"])

    def test_start_of_others(self) -> None:
        """A container of others is left alone, unless C{--forward-all} is given."""
        self.neighbours.documents[ID] = document()
        self.event("start")
        self.assertEqual(self.calls, [])
        self.make(PortPolicy(foreign=True))
        self.neighbours.documents[ID] = document(port="9000")
        self.event("start")
        self.assertIn(("reserve", ID, "web", {WEB: (PortBinding("", "9000"),)}), self.calls)
        self.assertTrue(self.neighbours.optional)

    def test_trouble_in_the_background(self) -> None:
        """A port that is taken when somebody else starts the container is no reason to stop following it."""
        labels = self.create()
        self.neighbours.answers["reserve"] = PortUnavailable(
            name="web", container_id=ID, address="127.0.0.1:8080"
        )
        self.event("start", **labels)
        self.neighbours.answers["reserve"] = None
        self.event("start", **labels)
        self.assertEqual(self.calls[-1][0], "publish")

    def test_destroy(self) -> None:
        """When it is removed, everything of it is forgotten."""
        self.create()
        self.event("destroy")
        self.assertEqual(self.calls, [("mirrors.release", ID), ("forget", ID)])
        self.calls.clear()
        self.event("die")
        self.assertEqual(self.calls, [])

    def test_destroyed_and_waited_for(self) -> None:
        """Until its files are back a removed container can be waited for; one of the same name is another."""
        self.create()
        back: Deferred[None] = Deferred()
        self.neighbours.answers["mirrors.release"] = self.neighbours.answers["collect"] = back
        self.event("destroy")
        held = self.containers.collect("web")
        self.assertNoResult(held)
        self.containers.created("9" * 64, "web", CreatePlan())
        self.neighbours.answers["collect"] = None
        self.calls.clear()
        self.successResultOf(self.containers.collect("web"))
        self.assertEqual(self.calls, [("collect", "9" * 64)])
        back.callback(None)
        self.successResultOf(held)

    def test_networks(self) -> None:
        """While it runs, a network that comes or goes may change its ports; at its end it does not."""
        self.create()
        self.successResultOf(self.containers.starting(ID))
        self.event("network connect", container=ID)
        self.successResultOf(self.containers.started(ID, True))
        self.calls.clear()
        self.event("network disconnect", container=ID)
        self.assertEqual(self.named(), ["inspect", "running", "reserve", "publish"])
        self.event("die", exitCode="0")
        self.calls.clear()
        self.event("network disconnect", container=ID)
        self.assertEqual(self.calls, [])

    def test_rename(self) -> None:
        """It is found by its new name."""
        self.create()
        self.event("rename", name="shop", oldName="/web")
        self.assertEqual(self.successResultOf(self.containers.starting("shop")), ID)
        self.assertNotIn("inspect", self.named())

    def test_list(self) -> None:
        """A re-list opens what runs, closes what does not, and takes up what was created before."""
        labels = self.create()
        self.make(PortPolicy())
        self.neighbours.documents[ID] = document()
        summary = {
            "Id": ID,
            "Names": ["/web"],
            "State": "running",
            "Labels": dict(labels),
            "Mounts": document()["Mounts"],
        }
        self.containers.containers_listed([summary, {"Id": OTHER, "Names": ["/x"], "Labels": None}])
        self.assertEqual(self.named(), ["attach", "inspect", "running", "reserve", "publish"])
        self.calls.clear()
        self.containers.containers_listed([{**summary, "State": "exited"}])
        self.assertEqual(self.calls[-2:], [("stopped", ID), ("release", ID)])

    def listed(self, **more: Any) -> Deferred[None]:
        """The list has the container, which runs."""
        summary = {"Id": ID, "Names": ["/web"], "State": "running", "Labels": {}, "Mounts": [], **more}
        return self.containers.containers_listed([summary])

    def test_order_after_a_login(self) -> None:
        """
        A list is dealt with when the ports lead where they should; the mirrors are told after that, for all
        of them at once.
        """
        self.create()
        published: Deferred[None] = Deferred()
        self.neighbours.answers["publish"] = published
        dealt = self.listed()
        self.assertNoResult(dealt)
        self.assertEqual(self.named(), ["attach", "inspect", "running", "reserve", "publish"])
        published.callback(None)
        self.successResultOf(dealt)
        self.assertNotIn("resynced", self.named())
        self.containers.list_settled()
        self.assertEqual(self.calls[-1], ("resynced",))

    def test_order_without_ports(self) -> None:
        """With C{--no-forward}, where ports cannot be had, and without containers, it is dealt with, too."""
        self.create()
        self.neighbours.answers["reserve"] = PortUnavailable(
            name="web", container_id=ID, address="127.0.0.1:8080"
        )
        self.successResultOf(self.listed())
        self.make(PortPolicy(forward=False))
        self.create()
        self.successResultOf(self.listed())
        self.assertNotIn("reserve", self.named())
        self.make(PortPolicy())
        self.successResultOf(self.containers.containers_listed([]))

    def test_order_with_files_to_come(self) -> None:
        """
        Neither the last words of one that is gone nor a start that waits for its files hold a list up: files
        may wait for the list.
        """
        self.create()
        self.neighbours.documents.clear()
        self.neighbours.answers["mirrors.release"] = Deferred()
        self.successResultOf(self.listed())
        self.assertEqual(self.calls[-1], ("forget", ID))
        self.make(PortPolicy())
        self.create()
        self.neighbours.answers["ready"] = Deferred()
        self.assertNoResult(self.containers.starting(ID))
        self.successResultOf(self.listed())

    def test_list_without_a_known_one(self) -> None:
        """What is not listed is asked for before it is forgotten: it may be newer than the list."""
        self.create()
        self.containers.containers_listed([])
        self.assertIn("publish", self.named())
        self.neighbours.documents.clear()
        self.containers.containers_listed([])
        self.assertEqual(self.calls[-2:], [("mirrors.release", ID), ("forget", ID)])

    def test_list_without_one_of_which_files_are_owed(self) -> None:
        """Of what ran through an agent before, and is gone or somebody else's, the mirrors are told, too."""
        self.files.owed = frozenset([ID, OTHER])
        self.neighbours.documents[OTHER] = document(OTHER, running=False)
        self.containers.containers_listed([{"Id": OTHER, "Names": ["/x"], "Labels": None}])
        self.assertIn(("mirrors.release", ID), self.calls)
        self.assertIn(("stopped", OTHER), self.calls)

    def test_list_without_a_service(self) -> None:
        """Local ports of services are no containers', and nothing is asked about them."""
        self.neighbours.opened[service_key("nonce")] = {}
        self.containers.containers_listed([])
        self.assertEqual(self.calls, [])

    def test_collect(self) -> None:
        """The end of a container of ours is held until its files are back; of others it is not."""
        self.create()
        back: Deferred[None] = Deferred()
        self.neighbours.answers["collect"] = back
        held = self.containers.collect("web")
        self.assertNoResult(held)
        back.callback(None)
        self.successResultOf(held)
        self.assertIsNone(self.successResultOf(self.containers.collect("others")))

    def test_collect_exec(self) -> None:
        """An exec is held for its container; one that is not known is not."""
        self.create()
        self.containers.exec_created("e1", "web")
        self.containers.exec_created("e2", "others")
        self.successResultOf(self.containers.collect_exec("e1"))
        self.successResultOf(self.containers.collect_exec("e2"))
        self.assertEqual(self.calls, [("collect", ID)])

    def test_execs_are_bounded(self) -> None:
        """Of very many execs the oldest are forgotten."""
        self.create()
        for number in range(5000):
            self.containers.exec_created(str(number), "web")
        self.successResultOf(self.containers.collect_exec("0"))
        self.assertEqual(self.calls, [])
        self.successResultOf(self.containers.collect_exec("4999"))
        self.assertEqual(self.calls, [("collect", ID)])

    def test_volume(self) -> None:
        """A volume that is a bind is placed as a mount is."""
        placed = self.successResultOf(self.containers.plan_volume(BindMount("/src", "")))
        self.assertEqual(placed.remote_source, "/mirror/src")

    def test_translations(self) -> None:
        """Ports and paths are given back as the neighbours know them."""
        self.assertIsNone(self.containers.local_ports(ID))
        self.assertEqual(self.containers.laptop_path("/mirror/src"), "/src")
        self.assertIsNone(self.containers.laptop_path("/src"))
        self.assertIsNone(self.containers.owned({"io.remotedocker.agent": "somebody"}))
