"""Published ports of a swarm's services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from remotedocker.docker import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    PortBinding,
    PortMap,
    ServicePlan,
    ServiceSpec,
    decode_labels,
)
from remotedocker.errors import DaemonError, PortUnavailable
from remotedocker.interfaces import IContainerObserver, IServices
from remotedocker.swarm import Services
from tests.test_containers import FilesNeighbour, Neighbours

WEB = ContainerPort(80)
TYPED: PortMap = {WEB: (PortBinding("", "8080"),)}
LEFT_OPEN: PortMap = {WEB: (PortBinding(),)}


class _Neighbours(Neighbours):
    """A daemon with services, too."""

    def services(self) -> Deferred[Any]:
        return self._answer("services")

    def list_containers(self) -> Deferred[Any]:
        return self._answer("list_containers")

    def forget(self, container_id: str) -> Deferred[None]:
        self.opened.pop(container_id, None)
        return super().forget(container_id)


class ServicesTests(SynchronousTestCase):
    """L{Services}."""

    def setUp(self) -> None:
        """An agent at a daemon that is a swarm's manager, without services."""
        self.make()

    def make(self, **options: bool) -> None:
        """An agent with other options."""
        self.neighbours = _Neighbours()
        self.neighbours.answers["services"] = []
        self.calls = self.neighbours.calls
        neighbours: Any = self.neighbours
        files: Any = FilesNeighbour(self.neighbours)
        self.services = Services("agent", neighbours, neighbours, files, **options)

    def planned(self, spec: ServiceSpec, reference: str = "") -> ServicePlan:
        """@return: the plan; the calls are forgotten."""
        plan = self.successResultOf(self.services.plan(reference, spec))
        self.calls.clear()
        return plan

    def there(self, plan: ServicePlan, number: int | None = 8080, allocated: int = 0, **ports: Any) -> None:
        """The daemon has the service C{s1}, named C{web}."""
        port = {"Protocol": "tcp", "TargetPort": 80, "PublishMode": "ingress", **ports}
        asked = port if number is None else {**port, "PublishedPort": number}
        actual = {**port, "PublishedPort": allocated or number}
        document = {
            "ID": "s1",
            "Spec": {"Name": "web", "Labels": dict(plan.labels), "EndpointSpec": {"Ports": [asked]}},
            "Endpoint": {"Ports": [actual]} if actual["PublishedPort"] else {},
        }
        self.neighbours.answers["services"] = [document]

    def event(self, action: str, service_id: str = "s1") -> None:
        """One event of a service."""
        self.services.container_event(ContainerEvent(f"service {action}", service_id))

    def named(self) -> list[str]:
        """The names of the calls so far."""
        return [call[0] for call in self.calls]

    def test_interfaces(self) -> None:
        """It provides what the proxy and the event stream use."""
        verifyObject(IServices, self.services)
        verifyObject(IContainerObserver, self.services)

    def test_create(self) -> None:
        """Ports typed are taken before the create, and lead to the number that the swarm will have."""
        plan = self.successResultOf(self.services.plan("", ServiceSpec("web", ports=TYPED)))
        self.assertEqual(self.calls, [("reserve", plan.key, "web", TYPED), ("publish", plan.key, TYPED)])
        owned = decode_labels(plan.labels)
        assert owned is not None
        self.assertEqual((owned.agent_id, plan.key), ("agent", f"service {owned.nonce}"))
        self.assertEqual((plan.task_labels, plan.warnings), ({}, ()))
        self.services.answered(plan)
        self.there(plan)
        self.calls.clear()
        self.event("create")
        actual = {WEB: (PortBinding("127.0.0.1", "8080"),)}
        self.assertEqual(
            self.calls,
            [("services",), ("reserve", plan.key, "web", TYPED), ("publish", plan.key, actual)],
        )

    def test_left_open(self) -> None:
        """A port left open leads somewhere when the swarm has allocated it."""
        plan = self.successResultOf(self.services.plan("", ServiceSpec("web", ports=LEFT_OPEN)))
        self.assertEqual(self.calls, [("reserve", plan.key, "web", LEFT_OPEN)])
        self.there(plan, None, 30000)
        self.event("update")
        self.assertEqual(self.calls[-1], ("publish", plan.key, {WEB: (PortBinding("127.0.0.1", "30000"),)}))

    def test_not_allocated_yet(self) -> None:
        """Until the swarm has allocated a number that was typed, the port stays open as it was taken."""
        plan = self.planned(ServiceSpec("web", ports=TYPED))
        self.there(plan)
        self.neighbours.answers["services"][0]["Endpoint"] = {}
        self.services.answered(plan)
        self.assertEqual(self.calls[-1], ("publish", plan.key, {WEB: (PortBinding("127.0.0.1", "8080"),)}))

    def test_taken(self) -> None:
        """A port that cannot be had fails the create, and nothing stays open."""
        error = PortUnavailable(name="web", container_id="service x", address="127.0.0.1:8080")
        self.neighbours.answers["reserve"] = error
        self.failureResultOf(self.services.plan("", ServiceSpec("web", ports=TYPED)), PortUnavailable)
        self.assertEqual(self.named(), ["reserve", "services", "forget"])
        self.neighbours.answers["services"] = DaemonError(code=500, reason="no leader")
        self.failureResultOf(self.services.plan("", ServiceSpec("web", ports=TYPED)), PortUnavailable)

    def test_task_ports(self) -> None:
        """
        A port of mode C{host} is only tried; the tasks' containers get labels as containers of ours have.
        What the service had before is not tried again.
        """
        other = ContainerPort(81)
        spec = ServiceSpec("web", task_ports={WEB: (PortBinding("", "8082"),), other: (PortBinding(),)})
        plan = self.successResultOf(self.services.plan("", spec))
        tried = ("reserve", f"{plan.key} tasks", "web", {WEB: (PortBinding("", "8082"),)})
        self.assertEqual(self.calls[:2], [tried, ("forget", f"{plan.key} tasks")])
        owned = decode_labels(plan.task_labels)
        assert owned is not None
        self.assertEqual((owned.ports, owned.forwarded, owned.exposed), (spec.task_ports, (WEB, other), ()))
        self.there(plan, 8082, PublishMode="host")
        self.calls.clear()
        again = self.successResultOf(self.services.plan("s1", spec))
        self.assertEqual(self.named(), ["services", "reserve", "publish"])
        self.assertEqual(again, plan)

    def test_other_protocols(self) -> None:
        """They stay on the nodes, with a warning."""
        plan = self.planned(ServiceSpec("web", others=(ContainerPort(53, "udp"),)))
        self.assertEqual(len(plan.warnings), 1)
        self.assertIn("53/udp", plan.warnings[0])

    def test_refused(self) -> None:
        """What was taken for a service that the daemon refused is given back."""
        plan = self.planned(ServiceSpec("web", ports=TYPED))
        self.services.answered(plan)
        self.assertEqual(self.calls, [("services",), ("forget", plan.key)])

    def test_answer_lost(self) -> None:
        """If the service is there, though no answer came, its ports stay open."""
        plan = self.planned(ServiceSpec("web", ports=TYPED))
        self.there(plan)
        self.services.answered(plan)
        self.assertEqual(self.named(), ["services", "reserve", "publish"])

    def test_update(self) -> None:
        """An update keeps the nonce, by id, name and short id; others' services pass as asked."""
        plan = self.planned(ServiceSpec("web", ports=TYPED))
        self.there(plan)
        other: PortMap = {WEB: (PortBinding("", "8081"),)}
        for reference in ("s1", "web", "s"):
            again = self.successResultOf(self.services.plan(reference, ServiceSpec("web", ports=other)))
            self.assertEqual((again.key, again.labels), (plan.key, plan.labels), reference)
            self.assertEqual(self.calls[-1], ("reserve", plan.key, "web", other))
        self.services.answered(again)
        self.assertEqual(self.calls[-2], ("reserve", plan.key, "web", TYPED))
        self.there(ServicePlan())
        for reference in ("s1", "nothing"):
            self.assertEqual(self.planned(ServiceSpec("web", ports=other), reference), ServicePlan())

    def test_no_forward(self) -> None:
        """With C{--no-forward} services pass as asked, and nothing is opened."""
        self.make(forward=False)
        self.assertEqual(self.planned(ServiceSpec("web", ports=TYPED)), ServicePlan())
        self.services.answered(ServicePlan())
        self.services.containers_listed(())
        self.event("create")
        self.assertNotIn("reserve", self.named())

    def test_removed(self) -> None:
        """When a service is gone, its ports are; of one that was never seen nothing is done."""
        plan = self.planned(ServiceSpec("web", ports=TYPED))
        self.there(plan)
        self.event("create")
        self.calls.clear()
        self.event("remove", "another")
        self.assertEqual(self.calls, [])
        self.event("remove")
        self.assertEqual(self.calls, [("forget", plan.key)])

    def test_removed_before_it_was_looked_at(self) -> None:
        """A service that is gone when it is asked for is nothing."""
        self.event("create")
        self.assertEqual(self.calls, [("services",)])

    def test_listed(self) -> None:
        """A list opens what is there, and closes what is not, but for what is just being made."""
        plan = self.planned(ServiceSpec("web", ports=TYPED))
        self.services.answered(plan)
        self.there(plan)
        self.neighbours.opened.update({"service old": {}, "ab" * 32: {}})
        making = self.planned(ServiceSpec("new", ports={WEB: (PortBinding("", "8081"),)}))
        self.services.containers_listed(())
        self.assertEqual(self.named(), ["services", "serving", "reserve", "publish", "forget"])
        self.assertEqual(self.calls[-1], ("forget", "service old"))
        self.assertIn(making.key, self.neighbours.opened)

    def test_list_from_before(self) -> None:
        """The ports of a service that was made stay, and the daemon is asked, whatever an older list says."""
        plan = self.planned(ServiceSpec("web"))
        self.there(plan)
        self.calls.clear()
        self.services.answered(plan)
        self.assertIn(("services",), self.calls)
        self.assertIn(plan.key, self.neighbours.opened)

    def test_no_swarm(self) -> None:
        """Where there is no swarm (any more), there are no services."""
        self.neighbours.opened["service old"] = {}
        self.neighbours.answers["services"] = None
        self.services.containers_listed(())
        self.assertEqual(self.calls, [("services",), ("serving", {}), ("forget", "service old")])

    def test_failures(self) -> None:
        """What cannot be asked or opened is logged; where nothing is known, nothing is closed."""
        self.neighbours.opened["service old"] = {}
        self.neighbours.answers["services"] = DaemonError(code=500, reason="no leader")
        self.services.containers_listed(())
        self.assertEqual(self.named(), ["services"])
        plan = self.planned(ServiceSpec("web"))
        self.services.answered(plan)
        self.there(plan)
        self.neighbours.answers["reserve"] = PortUnavailable(name="web", container_id="s", address="a")
        self.services.containers_listed(())
        self.assertEqual(self.named(), ["services", "services", "serving", "reserve", "forget"])

    def mounting(self, *sources: str, tasks: Sequence[str] = ()) -> None:
        """The daemon has a service that mounts C{sources}, and a running task with each of C{tasks}."""
        mounts = [{"Type": "bind", "Source": source, "Target": "/x"} for source in sources]
        spec = {"TaskTemplate": {"ContainerSpec": {"Mounts": mounts}}}
        self.neighbours.answers["services"] = [{"ID": "s1", "Spec": spec}] if sources else []
        self.neighbours.answers["list_containers"] = [
            {
                "Id": container_id,
                "State": state,
                "Labels": {"com.docker.swarm.task.id": "t"},
                "Mounts": [{"Type": "bind", "Source": source, "RW": False}],
            }
            for source in tasks
            for container_id, state in (("c1", "running"), ("c2", "exited"))
        ]

    def test_mirrors(self) -> None:
        """
        Mirrors are told what services mount: at a list, and when a service changes; a task that still runs
        keeps its mirror until it ends. Read-only is what all of them mount so.
        """
        self.mounting("/m")
        self.services.containers_listed([{"State": "running", "Labels": {}, "Mounts": []}])
        self.assertEqual(self.calls, [("services",), ("serving", {"/m": False})])
        self.mounting("/m", tasks=["/m"])
        self.event("update")
        self.assertEqual(self.calls[-1], ("serving", {"/m": False}))
        self.mounting(tasks=["/m"])
        self.calls.clear()
        self.event("remove")
        self.assertEqual(self.calls, [("services",), ("list_containers",), ("serving", {"/m": True})])
        for action in ("die", "destroy"):
            # The daemon may still list it as running.
            self.calls.clear()
            self.services.container_event(ContainerEvent(action, "c1", {"com.docker.swarm.task.id": "t"}))
            self.assertEqual(self.calls, [("services",), ("list_containers",), ("serving", {})])
        self.calls.clear()
        self.services.container_event(ContainerEvent("die", "c2"))
        self.assertEqual(self.calls, [])

    def test_mirrors_of_a_plan(self) -> None:
        """Until a service mounts something nothing is asked; from the first plan with a mount on it is."""
        self.mounting()
        self.event("update")
        self.assertEqual(self.named(), ["services"])
        self.make(forward=False)
        self.mounting("/m")
        self.planned(ServiceSpec("web", (BindMount("/l", "/x"),)))
        self.event("create")
        self.assertEqual(self.calls[-1], ("serving", {"/m": False}))

    def test_foreign(self) -> None:
        """Others' services concern C{--forward-all} alone: at the number published there, where free."""
        self.there(ServicePlan(), None, 30000)
        self.services.containers_listed(())
        self.assertNotIn("reserve", self.named())
        self.make(foreign=True)
        self.there(ServicePlan(), None, 30000)
        self.services.containers_listed(())
        self.assertTrue(self.neighbours.optional)
        self.assertEqual(
            self.calls[-2:],
            [
                ("reserve", "service s1", "web", {WEB: (PortBinding("", "30000"),)}),
                ("publish", "service s1", {WEB: (PortBinding("127.0.0.1", "30000"),)}),
            ],
        )

    def test_containers(self) -> None:
        """What happens to containers is nothing."""
        self.services.container_event(ContainerEvent("start", "ab" * 32))
        self.assertEqual(self.calls, [])
