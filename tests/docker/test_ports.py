# -*- test-case-name: tests.docker.test_ports -*-
"""
Tests for L{remotedocker.docker._ports}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import ContainerPort, PortBinding, parse_port, published_ports
from remotedocker.docker._json import read, read_object, write
from remotedocker.docker._ports import binding_objects, read_bindings, read_port_map


class PortTests(SynchronousTestCase):
    """Ports in the daemon's documents."""

    def test_parse_port(self) -> None:
        """What the daemon takes as a port is one, whatever its spelling; the rest is None."""
        for key, port in (
            ("80", ContainerPort(80)),
            ("80/tcp", ContainerPort(80)),
            ("80/", ContainerPort(80)),
            ("080/TCP", ContainerPort(80)),
            ("53/UDP", ContainerPort(53, "udp")),
            ("9/sctp", ContainerPort(9, "sctp")),
            ("65535", ContainerPort(65535)),
            ("0", None),
            ("65536", None),
            ("99999999999999999999", None),
            ("80-81/tcp", None),
            ("80/foo", None),
            ("80/tcp/udp", None),
            ("+80", None),
            (" 80", None),
            ("80\n", None),
            ("\u0661", None),
            ("", None),
            ("/tcp", None),
        ):
            self.assertEqual(parse_port(key), port, key)

    def test_bindings(self) -> None:
        """Missing members and nulls are empty; what is not well-formed is None."""
        for text, bindings in (
            ("null", ()),
            ("[]", ()),
            ('[{"HostIp":"::1","HostPort":"80"},{}]', (PortBinding("::1", "80"), PortBinding())),
            ('[{"hostport":"1","HOSTPORT":"2","HostIp":null}]', (PortBinding("", "2"),)),
            ('[{"HostPort":80}]', None),
            ('[{"HostIp":["x"]}]', None),
            ("[null]", None),
            ('{"HostPort":"80"}', None),
        ):
            self.assertEqual(read_bindings(read(text.encode())), bindings, text)

    def test_port_map(self) -> None:
        """Spellings of one port are taken together, entries that are not well-formed are left out."""
        text = b'{"80":[{"HostPort":"1"}],"80/TCP":[{"HostPort":"2"}],"x":[],"81/tcp":7,"53/udp":null}'
        self.assertEqual(
            read_port_map(read_object(text)),
            {
                ContainerPort(80): (PortBinding("", "1"), PortBinding("", "2")),
                ContainerPort(53, "udp"): (),
            },
        )

    def test_binding_objects(self) -> None:
        """Bindings are written with both members, in the daemon's order."""
        self.assertEqual(
            write(binding_objects((PortBinding("::", "1"), PortBinding()))),
            b'[{"HostIp":"::","HostPort":"1"},{"HostIp":"","HostPort":""}]',
        )

    def test_published_ports(self) -> None:
        """What an inspect answer says is bound; an exposed port has no bindings."""
        self.assertEqual(
            published_ports(
                {
                    "NetworkSettings": {
                        "Ports": {
                            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}],
                            "81/tcp": None,
                            "x": [],
                        }
                    }
                }
            ),
            {ContainerPort(80): (PortBinding("127.0.0.1", "32768"),), ContainerPort(81): ()},
        )
        for document in ({}, {"NetworkSettings": None}, {"NetworkSettings": {"Ports": None}}):
            self.assertEqual(published_ports(document), {})
