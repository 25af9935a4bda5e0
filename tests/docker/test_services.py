# -*- test-case-name: tests.docker.test_services -*-
"""
Tests for L{remotedocker.docker._services}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import (
    BindMount,
    ContainerPort,
    MountForm,
    PlacedMount,
    PortBinding,
    ServicePlan,
    ServiceRequest,
    ServiceSpec,
    allocated_ports,
    is_service_key,
    service_key,
    service_sources,
    service_spec,
)
from remotedocker.errors import BadRequest

WEB, TLS = ContainerPort(80), ContainerPort(81)
OURS = "io.remotedocker.agent"


def _body(*ports: dict[str, object]) -> bytes:
    """A create with these ports."""
    document = {
        "Name": "s",
        "TaskTemplate": {"ContainerSpec": {"Image": "x"}},
        "EndpointSpec": {"Ports": list(ports)},
    }
    return json.dumps(document).encode()


class ServiceRequestTests(SynchronousTestCase):
    """The bodies of services' creates and updates."""

    def test_mounts(self) -> None:
        """Host paths are replaced in order; other mounts, and the rest, stay."""
        document = {
            "Name": "s",
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "x",
                    "Mounts": [
                        {"Type": "bind", "Source": "/a", "Target": "/x", "ReadOnly": True},
                        {"Type": "volume", "Source": "v", "Target": "/y"},
                        {"Type": "bind", "Source": "/b", "Target": "/z"},
                    ],
                },
                "ForceUpdate": 0,
            },
        }
        request = ServiceRequest.parse(json.dumps(document).encode())
        self.assertEqual(
            request.spec.mounts,
            (
                BindMount("/a", "/x", True, MountForm.SERVICE, False),
                BindMount("/b", "/z", False, MountForm.SERVICE, False),
            ),
        )
        placed = tuple(PlacedMount(mount, "/m" + mount.source, True) for mount in request.spec.mounts)
        expected = json.dumps(document).replace('"/a"', '"/m/a"').replace('"/b"', '"/m/b"')
        self.assertEqual(json.loads(request.rewrite(ServicePlan(placed))), json.loads(expected))

    def test_others(self) -> None:
        """A service without host paths that is not to be ours passes byte for byte."""
        for body in (b' {"Name": "s"}', b'{"TaskTemplate":{"ContainerSpec":null}}', b'{"TaskTemplate":[]}'):
            request = ServiceRequest.parse(body)
            self.assertEqual(request.spec.mounts, ())
            self.assertIs(request.rewrite(ServicePlan()), body)

    def test_ports(self) -> None:
        """Ports are told apart by mode and protocol, which may be missing."""
        request = ServiceRequest.parse(
            _body(
                {"TargetPort": 80, "PublishedPort": 8080},
                {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8081, "PublishMode": "ingress"},
                {"Protocol": "tcp", "TargetPort": 81, "PublishedPort": 0},
                {"Protocol": "tcp", "TargetPort": 82, "PublishedPort": 8082, "PublishMode": "host"},
                {"Protocol": "tcp", "TargetPort": 83, "PublishMode": "host"},
                {"Protocol": "udp", "TargetPort": 53, "PublishedPort": 53},
                {"Protocol": "tcp", "TargetPort": 84, "PublishMode": "of the future"},
                {"PublishedPort": 85},
                {"TargetPort": "86"},
            )
        )
        self.assertEqual(
            request.spec,
            ServiceSpec(
                "s",
                ports={WEB: (PortBinding("", "8080"), PortBinding("", "8081")), TLS: (PortBinding(),)},
                task_ports={
                    ContainerPort(82): (PortBinding("", "8082"),),
                    ContainerPort(83): (PortBinding(),),
                },
                others=(ContainerPort(53, "udp"),),
            ),
        )

    def test_labels(self) -> None:
        """Our labels are set, in the place of others of ours; ports stay as asked."""
        body = _body({"TargetPort": 80, "PublishedPort": 8080})
        document = json.loads(ServiceRequest.parse(body).rewrite(ServicePlan(labels={OURS: "1"})))
        self.assertEqual(document["Labels"], {OURS: "1"})
        self.assertNotIn("Labels", document["TaskTemplate"]["ContainerSpec"])
        self.assertEqual(document["EndpointSpec"], json.loads(body)["EndpointSpec"])
        plan = ServicePlan(labels={OURS: "2"}, task_labels={OURS: "3"})
        document["Labels"]["color"] = "blue"
        again = json.loads(ServiceRequest.parse(json.dumps(document).encode()).rewrite(plan))
        self.assertEqual(again["Labels"], {"color": "blue", OURS: "2"})
        self.assertEqual(again["TaskTemplate"]["ContainerSpec"]["Labels"], {OURS: "3"})
        last = json.loads(
            ServiceRequest.parse(json.dumps(again).encode()).rewrite(ServicePlan(labels={OURS: "4"}))
        )
        self.assertEqual(last["TaskTemplate"]["ContainerSpec"]["Labels"], {})

    def test_refused(self) -> None:
        """A body that is no JSON object is refused."""
        self.assertRaises(BadRequest, ServiceRequest.parse, b"")


class ServiceDocumentTests(SynchronousTestCase):
    """What the daemon shows of a service."""

    def test_read(self) -> None:
        """What it wants, its labels and those of its tasks, and what is allocated."""
        port = {"Protocol": "tcp", "TargetPort": 80, "PublishMode": "ingress"}
        host = {"Protocol": "tcp", "TargetPort": 82, "PublishedPort": 8082, "PublishMode": "host"}
        document = {
            "ID": "s1",
            "Spec": {
                "Name": "s",
                "Labels": {"a": "b"},
                "TaskTemplate": {"ContainerSpec": {"Labels": {"c": "d"}}},
                "EndpointSpec": {"Ports": [port, host]},
            },
            "Endpoint": {"Ports": [{**port, "PublishedPort": 30000}, host]},
        }
        spec = ServiceSpec(
            "s", ports={WEB: (PortBinding(),)}, task_ports={ContainerPort(82): (PortBinding("", "8082"),)}
        )
        self.assertEqual(service_spec(document), (spec, {"a": "b"}, {"c": "d"}))
        self.assertEqual(allocated_ports(document), {WEB: (PortBinding("127.0.0.1", "30000"),)})

    def test_sources(self) -> None:
        """The host paths that tasks mount: of binds, and of volumes that are binds; one may write."""
        options = {"type": "none", "o": "bind", "device": "/c"}
        mounts = [
            {"Type": "bind", "Source": "/a", "Target": "/x", "ReadOnly": True},
            {"Type": "bind", "Source": "/b", "Target": "/y"},
            {"Type": "bind", "Source": "/b", "Target": "/v", "ReadOnly": True},
            {"Type": "volume", "Source": "v", "Target": "/z"},
            {"Type": "volume", "Target": "/w", "VolumeOptions": {"DriverConfig": {"Options": options}}},
        ]
        document = {"ID": "s", "Spec": {"TaskTemplate": {"ContainerSpec": {"Mounts": mounts}}}}
        self.assertEqual(service_sources(document), {"/a": True, "/b": False, "/c": False})

    def test_little(self) -> None:
        """Of what is missing nothing is made."""
        for document in ({}, {"Spec": None, "Endpoint": None}, {"Spec": {"TaskTemplate": None}}):
            self.assertEqual(service_spec(document), (ServiceSpec(""), {}, {}))
            self.assertEqual(allocated_ports(document), {})
            self.assertEqual(service_sources(document), {})

    def test_keys(self) -> None:
        """Local ports of services and of containers are told apart."""
        self.assertTrue(is_service_key(service_key("ab")))
        self.assertFalse(is_service_key("ab" * 32))
