# -*- test-case-name: tests.docker.test_volumes -*-
"""
Tests for L{remotedocker.docker._volumes}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import BindMount, MountForm, PlacedMount, VolumeRequest, volume_mount
from remotedocker.errors import BadRequest


class VolumeRequestTests(SynchronousTestCase):
    """The body of C{POST /volumes/create}."""

    def test_bind(self) -> None:
        """A C{local} volume that is a bind has its device replaced, and nothing else."""
        body = b'{"Name":"v","Driver":"local","DriverOpts":{"type":"none","o":"bind,ro","device":"/a"},"X":1}'
        request = VolumeRequest.parse(body)
        self.assertEqual(request.mount, BindMount("/a", "", True, MountForm.VOLUME, False))
        assert request.mount is not None
        self.assertEqual(
            request.rewrite(PlacedMount(request.mount, "/m/a", True)),
            body.replace(b'"/a"', b'"/m/a"') + b"\n",
        )

    def test_spellings(self) -> None:
        """Members are found as Go finds them, the driver may be left to the default; options are exact."""
        for body, source in (
            (b'{"driveropts":{"o":"rbind","device":"/a"}}', "/a"),
            (b'{"DriverOpts":{"o":"rbind","device":"/a"},"driveropts":{"device":"/b"}}', "/b"),
            (b'{"Driver":"","DriverOpts":{"o":"bind","device":"C:\\\\a"}}', "C:\\a"),
        ):
            mount = VolumeRequest.parse(body).mount
            assert mount is not None
            self.assertEqual(mount.source, source)

    def test_others(self) -> None:
        """Any other volume passes byte for byte."""
        for body in (
            b"",
            b"{}",
            b' { "Name" : "v" } ',
            b'{"Driver":"nfs","DriverOpts":{"o":"bind","device":"/a"}}',
            b'{"Driver":"local","DriverOpts":{"type":"nfs","o":"addr=h","device":":/a"}}',
            b'{"Driver":"local","DriverOpts":{"o":"bind","Device":"/a"}}',
            b'{"Driver":"local","DriverOpts":null}',
        ):
            request = VolumeRequest.parse(body)
            self.assertIsNone(request.mount)
            self.assertIs(request.rewrite(PlacedMount(BindMount("/a", ""), "/m", True)), body)

    def test_refused(self) -> None:
        """A body that is no JSON object is refused."""
        for body in (b"[]", b"{", b" "):
            self.assertRaises(BadRequest, VolumeRequest.parse, body)


class VolumeMountTests(SynchronousTestCase):
    """A volume as the daemon shows it."""

    def test_bind(self) -> None:
        """The path that a volume is, and whether it can be written to."""
        for flags, read_only in (("bind", False), ("ro,rbind", True)):
            options = {"type": "none", "o": flags, "device": "/a"}
            document = {"Name": "v", "Driver": "local", "Options": options}
            self.assertEqual(volume_mount(document), BindMount("/a", "", read_only, MountForm.VOLUME, False))

    def test_others(self) -> None:
        """Any other volume is no path of the host."""
        bind = {"o": "bind", "device": "/a"}
        for document in (
            {"Driver": "local", "Options": None},
            {"Driver": "local"},
            {"Driver": "local", "Options": {"type": "nfs", "o": "addr=h", "device": ":/a"}},
            {"Driver": "nfs", "Options": bind},
            {"Options": bind},
        ):
            self.assertIsNone(volume_mount(document), document)
