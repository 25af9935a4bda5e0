"""
Tests for L{DaemonClient}.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotedocker.daemon import DaemonClient
from remotedocker.docker import ContainerPort
from remotedocker.errors import DaemonError, NoSuchContainer
from tests.contracts.daemon import DaemonContract, DaemonFixture
from tests.daemon.memory import MemoryCase, json_answer
from tests.fakes.fake_daemon import FakeDaemon
from tests.fakes.fake_remote import FakeRemote
from tests.support import MemoryNetwork


class MemoryFixture:
    """The daemon in memory."""

    image = "web"

    def __init__(self) -> None:
        network = MemoryNetwork(reactor)
        self.daemon = FakeDaemon(network)
        self.remote = FakeRemote.in_memory(network)
        self.client = DaemonClient(reactor, self.remote)
        self.start = self.daemon.start
        self.kill = self.daemon.kill
        self.remove = self.daemon.remove
        self.create_volume = self.daemon.create_volume
        self.remove_volume = self.daemon.remove_volume
        self.log_in = self.remote.log_in
        self.log_out = self.remote.log_out

    def create(self, name: str, labels: Mapping[str, str]) -> str:
        """See L{DaemonFixture.create}."""
        return self.daemon.create(name, self.image, dict(labels))


class MemoryDaemonTests(DaemonContract, TestCase):
    """The contract, on the daemon in memory."""

    def make_fixture(self) -> DaemonFixture:
        """One in memory."""
        return MemoryFixture()


class AnswerTests(MemoryCase):
    """What is made of answers that a good daemon does not give."""

    def test_errors(self) -> None:
        """An error has the daemon's status and its words."""
        for status, body, text in (
            (500, b'{"message":"broken"}', "the Docker daemon answered 500: broken"),
            (400, b"too old\n", "the Docker daemon answered 400: too old"),
            (301, b"", "the Docker daemon answered 301: no reason given"),
            (404, b'{"message":"page not found"}', "the Docker daemon answered 404: page not found"),
        ):
            self.daemon.overrides["/version"] = json_answer(body, status)
            error = self.error(self.client.version(), DaemonError)
            self.assertEqual(error.message, text)
            self.assertEqual(error.details["code"], status)

    def test_inspect_errors(self) -> None:
        """Of a container, only a 404 means that it is missing."""
        self.daemon.overrides["/containers/x/json"] = json_answer(b'{"message":"broken"}', 500)
        self.error(self.client.inspect("x"), DaemonError)
        self.daemon.overrides["/containers/x/json"] = json_answer(b'{"message":"gone"}', 404)
        self.assertEqual(self.error(self.client.inspect("/x"), NoSuchContainer).details, {"reference": "/x"})

    def test_names(self) -> None:
        """Whatever a name is, it stays one segment of the path; an image's may have several."""
        self.error(self.client.inspect("a/b?c#d%e é"), NoSuchContainer)
        self.result(self.client.image_ports("host:5000/a/b:t?x@sha256:0"))
        self.assertEqual(
            self.daemon.requests,
            [
                "GET /containers/a%2Fb%3Fc%23d%25e%20%C3%A9/json",
                "GET /images/host:5000/a/b:t%3Fx@sha256:0/json",
            ],
        )

    def test_no_json(self) -> None:
        """An answer that is not what was asked for is an error that says so."""
        for path, ask in (
            ("/version", self.client.version),
            ("/containers/x/json", lambda: self.client.inspect("x")),
            ("/images/x/json", lambda: self.client.image_ports("x")),
            ("/containers/json", self.client.list_containers),
        ):
            for body, text in (
                (b"{", "no JSON"),
                (b"\xff", "no JSON"),
                (b"[" * 10**5, "no JSON"),
                (b"[1]", "object"),
            ):
                self.daemon.overrides[path] = json_answer(body)
                self.assertIn(text, self.error(ask(), DaemonError).message)

    def test_services(self) -> None:
        """The services of a swarm; None where there is none, which is not the same as no answer."""
        self.assertIsNone(self.result(self.client.services()))
        self.daemon.services = []
        self.assertEqual(self.result(self.client.services()), [])
        self.daemon.services = [{"ID": "s1"}]
        self.assertEqual(self.result(self.client.services()), [{"ID": "s1"}])
        for status, reason in ((404, b"page not found"), (406, b"This node is not part of a swarm")):
            self.daemon.overrides["/services"] = json_answer(b'{"message":"%b"}' % reason, status)
            self.assertIsNone(self.result(self.client.services()))
        reason = b"The swarm does not have a leader"
        self.daemon.overrides["/services"] = json_answer(b'{"message":"%b"}' % reason, 503)
        self.assertIn("not have a leader", self.error(self.client.services(), DaemonError).message)
        self.daemon.overrides["/services"] = json_answer(b'{"a":1}')
        self.assertIn("list of services", self.error(self.client.services(), DaemonError).message)

    def test_volumes(self) -> None:
        """There may be none, or nobody who tells of them; anything else is no answer."""
        self.daemon.overrides["/volumes"] = json_answer(b'{"Volumes":null,"Warnings":null}')
        self.assertEqual(self.result(self.client.volumes()), [])
        for status in (403, 404):
            self.daemon.overrides["/volumes"] = json_answer(b"Forbidden", status)
            self.assertEqual(self.result(self.client.volumes(["v"])), [])
        self.daemon.overrides["/volumes"] = json_answer(b'{"message":"broken"}', 500)
        self.error(self.client.volumes(), DaemonError)
        for body, text in (
            (b"{", "no JSON"),
            (b"[]", "no JSON object"),
            (b'{"Volumes":[1]}', "list of volumes"),
        ):
            self.daemon.overrides["/volumes"] = json_answer(body)
            self.assertIn(text, self.error(self.client.volumes(), DaemonError).message)

    def test_image_errors(self) -> None:
        """Of an image, only a 404 means that there is none."""
        self.daemon.overrides["/images/x/json"] = json_answer(b'{"message":"broken"}', 500)
        self.error(self.client.image_ports("x"), DaemonError)

    def test_images_without_ports(self) -> None:
        """An image may have no configuration, no ports, and ports that nobody understands."""
        for body, ports in (
            (b'{"Config":null}', ()),
            (b"{}", ()),
            (b'{"Config":{"ExposedPorts":null}}', ()),
            (
                b'{"Config":{"ExposedPorts":{"x":{},"81":{},"80/tcp":{}}}}',
                (ContainerPort(80), ContainerPort(81)),
            ),
        ):
            self.daemon.overrides["/images/x/json"] = json_answer(body)
            self.assertEqual(self.result(self.client.image_ports("x")), ports)

    def test_chunked(self) -> None:
        """Answers in chunks are understood, as those over 2 kB are."""
        self.daemon.overrides["/version"] = (
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
        )
        self.assertEqual(self.result(self.client.version()), {"a": 1})
