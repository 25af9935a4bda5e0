# -*- test-case-name: tests.docker.test_serviceanswers -*-
"""
Tests for L{remotedocker.docker._serviceanswers}.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import (
    ContainerPort,
    CreateSpec,
    PortBinding,
    PortMap,
    encode_labels,
    service_key,
    translate_service,
    translate_service_list,
    translate_task,
    translate_task_list,
)
from tests.docker.test_answers import _MIRROR, STRANGER, View

WEB = ContainerPort(80)
OPEN: PortMap = {WEB: (PortBinding("127.0.0.1", "40000"), PortBinding("::1", "40000"))}


class ServiceTests(SynchronousTestCase):
    """Services whose tasks mount mirrors."""

    body = (
        b'{"ID":"s","Spec":{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Type":"bind","Source":"%(root)s/a"},'
        b'{"Type":"bind","Source":"/etc"}]}}},"PreviousSpec":{"TaskTemplate":{"ContainerSpec":{"Mounts":'
        b'[{"Source":"%(root)s/b"}]}}}}\n'
    )

    def test_mounts(self) -> None:
        """The sources are shown as typed, in the specification before the last update too."""
        told, typed = self.body % {b"root": _MIRROR.encode()}, self.body % {b"root": b""}
        self.assertEqual(translate_service(told, View()), typed)
        self.assertEqual(
            translate_service_list(b"[" + told.strip() + b"]", View()), b"[" + typed.strip() + b"]\n"
        )

    def test_not_ours(self) -> None:
        """Other services are the same object."""
        for body in (b'{"ID":"s","Spec":{}}', b"{}", b"[]", self.body % {b"root": b""}):
            self.assertIs(translate_service(body, View()), body)
        self.assertIs(translate_service_list(b"[]", View()), b"[]")


@frozen
class _OneOpen(View):
    """
    What has local ports is one thing.

    @ivar key: what it is known by.
    """

    key: str = ""

    def local_ports(self, container_id: str) -> PortMap | None:
        """See L{View.local_ports}."""
        return OPEN if container_id == self.key else None


def _port(mode: str, number: int | None, target: int = 80, protocol: str = "tcp") -> dict[str, Any]:
    """A port as the daemon shows it."""
    published = {} if number is None else {"PublishedPort": number}
    return {"Protocol": protocol, "TargetPort": target, **published, "PublishMode": mode}


def _spec(labels: dict[str, str], task_labels: dict[str, str] | None) -> dict[str, Any]:
    """A service with a port left open, one of its tasks', and one of UDP."""
    ports = [_port("ingress", None), _port("host", 8082), _port("ingress", 53, 53, "udp")]
    container = {"Image": "x"} if task_labels is None else {"Image": "x", "Labels": task_labels}
    return {
        "Name": "web",
        "Labels": labels,
        "TaskTemplate": {"ContainerSpec": container},
        "EndpointSpec": {"Ports": ports},
    }


class OwnServiceTests(SynchronousTestCase):
    """A service of this agent, and its tasks."""

    allocated = (_port("ingress", 30000), _port("host", 8082), _port("ingress", 53, 53, "udp"))

    def setUp(self) -> None:
        """A service that was changed once."""
        labels = dict(encode_labels("ab12", "nonce", CreateSpec(""), ()))
        asked = CreateSpec("", ports={WEB: (PortBinding("", "8082"),)}, exposed=(WEB,))
        self.task_labels = dict(encode_labels("ab12", "nonce", asked, (WEB,)))
        told = {
            "ID": "s1",
            "Spec": _spec({"color": "blue", **labels}, self.task_labels),
            "PreviousSpec": _spec(labels, {"a": "b", **self.task_labels}),
            "Endpoint": {"Ports": self.allocated},
        }
        self.body = json.dumps(told).encode()

    def test_open(self) -> None:
        """Its ports are those that are open here, and our labels are nowhere."""
        shown = {
            "ID": "s1",
            "Spec": _spec({"color": "blue"}, None),
            "PreviousSpec": _spec({}, {"a": "b"}),
            "Endpoint": {"Ports": [_port("ingress", 40000), *self.allocated[1:]]},
        }
        view = _OneOpen(key=service_key("nonce"))
        self.assertEqual(json.loads(translate_service(self.body, view)), shown)
        self.assertEqual(json.loads(translate_service_list(b"[%b]" % self.body, view)), [shown])

    def test_closed(self) -> None:
        """A port that is not open here is not shown."""
        shown = json.loads(translate_service(self.body, View()))
        self.assertEqual(shown["Endpoint"]["Ports"], list(self.allocated[1:]))

    def test_others(self) -> None:
        """Another agent's is shown as the daemon shows it."""
        self.assertIs(translate_service(self.body, STRANGER), self.body)

    def task(self, container_id: str, *ports: dict[str, Any]) -> bytes:
        """A task as the daemon shows it."""
        status = {"ContainerStatus": {"ContainerID": container_id}, "PortStatus": {"Ports": ports}}
        return json.dumps(
            {"ID": "t1", "Spec": {"ContainerSpec": {"Labels": self.task_labels}}, "Status": status}
        ).encode()

    def test_task(self) -> None:
        """A task shows the number that is open here, once for both kinds of address."""
        view = _OneOpen(key="c1")
        body = self.task("c1", _port("host", 49153), _port("host", 49153))
        shown = json.loads(translate_task(body, view))
        self.assertEqual(shown["Status"]["PortStatus"]["Ports"], [_port("host", 40000)])
        self.assertEqual(shown["Spec"], {"ContainerSpec": {}})
        self.assertEqual(json.loads(translate_task_list(b"[%b]" % body, view)), [shown])

    def test_task_elsewhere(self) -> None:
        """A task on another node shows its ports as the daemon does; another agent's task is left alone."""
        body = self.task("c2", _port("host", 49153))
        shown = json.loads(translate_task(body, _OneOpen(key="c1")))
        self.assertEqual(shown["Status"], json.loads(body)["Status"])
        self.assertIs(translate_task(body, STRANGER), body)
