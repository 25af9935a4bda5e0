"""What is read of inspect and list answers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import (
    bind_sources,
    inspected_labels,
    is_removed_at_end,
    is_restarted,
    is_running,
    mounted_volumes,
)


class InspectedTests(SynchronousTestCase):
    """The daemon's fields, and their absence."""

    def test_labels(self) -> None:
        """Labels may be missing at each level."""
        self.assertEqual(inspected_labels({"Config": {"Labels": {"a": "b"}}}), {"a": "b"})
        for document in ({}, {"Config": None}, {"Config": {"Labels": None}}):
            self.assertEqual(inspected_labels(document), {})

    def test_running(self) -> None:
        """One between two starts of a restart policy does not run, though the daemon says so."""
        for state, expected in [
            ({"Running": True}, True),
            ({"Running": True, "Paused": True}, True),
            ({"Running": True, "Restarting": True}, False),
            ({"Running": False}, False),
            (None, False),
        ]:
            self.assertIs(is_running({"State": state}), expected, state)

    def test_policies(self) -> None:
        """The names of the restart policies, and C{--rm}."""
        for name in ("always", "unless-stopped", "on-failure"):
            self.assertTrue(is_restarted({"HostConfig": {"RestartPolicy": {"Name": name}}}), name)
        others: list[Any] = [{"RestartPolicy": {"Name": "no"}}, {"RestartPolicy": None}, None]
        for host_config in others:
            self.assertFalse(is_restarted({"HostConfig": host_config}))
            self.assertFalse(is_removed_at_end({"HostConfig": host_config}))
        self.assertTrue(is_removed_at_end({"HostConfig": {"AutoRemove": True}}))

    def test_mounted_volumes(self) -> None:
        """Volumes are known by name; one that is mounted twice is read-only if both mounts are."""
        mounts = [
            {"Type": "volume", "Name": "a", "Source": "/var/lib/docker/volumes/a/_data", "RW": False},
            {"Type": "volume", "Name": "b", "RW": False},
            {"Type": "volume", "Name": "b", "RW": True},
            {"Type": "volume", "Name": "c", "RW": True},
            {"Type": "volume", "Name": ""},
            {"Type": "bind", "Source": "/b", "RW": False},
        ]
        self.assertEqual(mounted_volumes({"Mounts": mounts}), {"a": True, "b": False, "c": False})
        self.assertEqual(mounted_volumes({"Mounts": None}), {})

    def test_bind_sources(self) -> None:
        """Only binds have a source that concerns us; what is mounted twice is written to by one of them."""
        mounts = [
            {"Type": "bind", "Source": "/a", "RW": True},
            {"Type": "bind", "Source": "/b", "RW": False},
            {"Type": "bind", "Source": "/a", "RW": False},
            {"Type": "volume", "Source": "/var/lib/docker/volumes/v/_data", "RW": True},
            {"Type": "tmpfs", "Source": ""},
        ]
        self.assertEqual(bind_sources({"Mounts": mounts}), {"/a": False, "/b": True})
        self.assertEqual(bind_sources({"Mounts": None}), {})
