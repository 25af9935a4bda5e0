# -*- test-case-name: tests.docker.test_services -*-
"""
Tests for L{remotedocker.docker._services}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import BindMount, MountForm, PlacedMount, ServiceRequest
from remotedocker.errors import BadRequest


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
            request.mounts,
            (
                BindMount("/a", "/x", True, MountForm.MOUNT, False),
                BindMount("/b", "/z", False, MountForm.MOUNT, False),
            ),
        )
        placed = tuple(PlacedMount(mount, "/m" + mount.source, True) for mount in request.mounts)
        expected = json.dumps(document).replace('"/a"', '"/m/a"').replace('"/b"', '"/m/b"')
        self.assertEqual(json.loads(request.rewrite(placed)), json.loads(expected))

    def test_others(self) -> None:
        """A service without host paths passes byte for byte."""
        for body in (b' {"Name": "s"}', b'{"TaskTemplate":{"ContainerSpec":null}}', b'{"TaskTemplate":[]}'):
            request = ServiceRequest.parse(body)
            self.assertEqual(request.mounts, ())
            self.assertIs(request.rewrite(()), body)

    def test_refused(self) -> None:
        """A body that is no JSON object is refused."""
        self.assertRaises(BadRequest, ServiceRequest.parse, b"")
