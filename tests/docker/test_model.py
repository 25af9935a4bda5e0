# -*- test-case-name: tests.docker.test_model -*-
"""
Tests for L{remotedocker.docker._model}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ContainerPort, CreateSpec, OwnedContainer, PortBinding


class ModelTests(SynchronousTestCase):
    """Docker's nouns."""

    def test_port_as_text(self) -> None:
        """A port is written as the API writes it."""
        self.assertEqual(str(ContainerPort(80)), "80/tcp")
        self.assertEqual(str(ContainerPort(53, "udp")), "53/udp")

    def test_order(self) -> None:
        """Ports and bindings can be sorted: by number, then protocol; by address, then port."""
        ports = [ContainerPort(443), ContainerPort(53, "udp"), ContainerPort(53)]
        self.assertEqual([str(port) for port in sorted(ports)], ["53/tcp", "53/udp", "443/tcp"])
        self.assertLess(PortBinding("", "9"), PortBinding("127.0.0.1", ""))

    def test_nothing_shared(self) -> None:
        """Empty values are not shared between instances."""
        self.assertIsNot(CreateSpec("a").ports, CreateSpec("a").ports)
        self.assertIsNot(OwnedContainer("a", "b").mounts, OwnedContainer("a", "b").mounts)
