"""
Published ports on a real remote: every form of C{-p}, what refuses, what is told, and traffic.
"""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker as docker_sdk

from tests.forwards.support import is_free
from tests.integration.agent import Agent
from tests.integration.base import CLIS, COMPOSE, Docker
from tests.integration.ports import ECHO, PortsTestCase, fetch, is_refused, published

__all__ = ["AnswerTests", "FormTests", "NegativeControlTests", "RefusalTests", "TrafficTests"]


def _form(value: Any) -> Any:
    """The types in a document and the order of its members, but for our labels; of a list, its first's."""
    if isinstance(value, dict):
        return [(name, _form(member)) for name, member in value.items() if "remotedocker" not in name]
    if isinstance(value, list):
        return [_form(value[0])] if value else []
    return type(value)


_AT_ONCE = 8
"""Clients that make short connections at the same time."""

_SINK_AND_SOURCE = """
echo 'dd of=/dev/null bs=1M iflag=fullblock 2>&1' >/tmp/sink
echo 'dd if=/dev/zero bs=1M count={blocks} 2>/dev/null' >/tmp/source
(nc -ll -p 80 -e sh /tmp/sink)&
exec nc -ll -p 81 -e sh /tmp/source
"""
"""Shell commands for a container that says how much it was sent (port 80), and sends so many MiB (81)."""


class FormTests(PortsTestCase):
    """Each form of C{-p} opens what it says, and is told as it is open."""

    def setUp(self) -> None:
        """An agent that other tests use, too."""
        super().setUp()
        self.agent = self.shared_agent()
        self.laptop = self.cli(self.agent)

    def test_number(self) -> None:
        """C{-p 8080:80}: that number on 127.0.0.1 and ::1; on the remote, its loopback at another port."""
        container = self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        for host in ("127.0.0.1", "::1"):
            self.shows(self.free[0], host=host)
        self.assertTrue(is_refused(self.free[0], self.remote.sandbox.local_address))
        self.assertEqual(
            published(self.laptop("port", self.laptop.name("web"), "80")),
            [f"127.0.0.1:{self.free[0]}", f"[::1]:{self.free[0]}"],
        )
        (binding,) = self.remote_bindings(container)
        self.assertEqual(binding["HostIp"], "127.0.0.1")
        self.assertNotEqual(binding["HostPort"], str(self.free[0]))

    def test_left_open(self) -> None:
        """C{-p 80}: some number, which is the one that is told when the start is answered."""
        self.serve(self.laptop, "web", "-p", "80")
        number = self.number_of(self.laptop, "web")
        self.shows(number)
        self.shows(number, host="::1")

    def test_published_all(self) -> None:
        """C{-P}: each TCP port that the image exposes."""
        image = self.laptop.name("exposing").lower()
        self.done(self.laptop("import", "--change", "EXPOSE 80 81", str(self.remote.busybox_tar), image))
        self.serve(self.laptop, "web", "-P", port=81, image=image)
        self.shows(self.number_of(self.laptop, "web", "81/tcp"))
        self.assertNotEqual(
            self.number_of(self.laptop, "web", "80/tcp"), self.number_of(self.laptop, "web", "81/tcp")
        )

    def test_range_to_range(self) -> None:
        """C{-p 8080-8081:80-81}: each to its own."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}-{self.free[1]}:80-81", port=81)
        self.shows(self.free[1])
        self.assertEqual(self.number_of(self.laptop, "web", "80/tcp"), self.free[0])

    def test_first_of_range(self) -> None:
        """C{-p 8000-8010:80}: the first that is free."""
        span = f"{self.free[0]}-{self.free[3]}:80"
        self.serve(self.laptop, "one", "-p", span, page="one")
        self.serve(self.laptop, "two", "-p", span, page="two")
        self.shows(self.free[0], "one")
        self.shows(self.free[1], "two")

    def test_addresses(self) -> None:
        """C{-p 127.0.0.1:…}, C{-p [::1]:…} and an address of the laptop: there and nowhere else."""
        local = self.remote.sandbox.local_address
        self.serve(
            self.laptop,
            "web",
            *("-p", f"127.0.0.1:{self.free[0]}:80"),
            *("-p", f"[::1]:{self.free[1]}:80"),
            *("-p", f"{local}:{self.free[2]}:80"),
        )
        hosts = ("127.0.0.1", "::1", local)
        for index, host in enumerate(hosts):
            self.shows(self.free[index], host=host)
            for other in hosts[:index] + hosts[index + 1 :]:
                self.assertTrue(is_refused(self.free[index], other), f"{other} {self.free[index]}")
        self.assertCountEqual(
            published(self.laptop("port", self.laptop.name("web"), "80")),
            [f"127.0.0.1:{self.free[0]}", f"[::1]:{self.free[1]}", f"{local}:{self.free[2]}"],
        )

    def test_every_address(self) -> None:
        """C{-p 0.0.0.0:…}: every IPv4 address of the laptop."""
        self.serve(self.laptop, "web", "-p", f"0.0.0.0:{self.free[0]}:80")
        for host in ("127.0.0.1", self.remote.sandbox.local_address):
            self.shows(self.free[0], host=host)
        self.assertTrue(is_refused(self.free[0], "::1"))

    def test_other_protocols(self) -> None:
        """UDP and SCTP stay on the remote as asked, with a warning; TCP beside them is opened."""
        created = self.laptop(
            *("create", "--name", self.laptop.name("sctp"), "-p", f"{self.free[0]}:9/sctp", "busybox")
        )
        self.done(created)
        self.assertIn(b"WARNING: port 9/sctp stays on the remote host", created.stderr)
        self.assertEqual(
            self.on_remote(self.laptop.name("sctp"))["HostConfig"]["PortBindings"],
            {"9/sctp": [{"HostIp": "", "HostPort": str(self.free[0])}]},
        )
        outcome = self.laptop(
            *("run", "-d", "--name", self.laptop.name("dns"), "-p", f"{self.free[0]}:53/udp"),
            *("-p", f"{self.free[1]}:80", "busybox", "sleep", "1000000"),
        )
        container = self.done(outcome)
        self.assertIn(b"WARNING: ", outcome.stderr)
        self.assertIn(b"53/udp", outcome.stderr)
        self.assertNotIn(b"80/tcp", outcome.stderr)
        self.assertIn(
            {"HostIp": "0.0.0.0", "HostPort": str(self.free[0])}, self.remote_bindings(container, "53/udp")
        )
        self.assertFalse(is_free(self.free[1]))

    def test_networks(self) -> None:
        """On the networks C{host}, C{none} and another container's, nothing is opened or changed."""
        for network in ("host", "none"):
            self.run_detached(self.laptop, network, "--network", network, "-p", f"{self.free[0]}:80")
            self.assertTrue(is_free(self.free[0]), network)
            self.assertEqual(self.laptop("port", self.laptop.name(network)).stdout, b"")
        self.serve(self.laptop, "web", "-p", f"{self.free[1]}:80")
        other = self.laptop.name("web")
        self.run_detached(self.laptop, "guest", "--network", f"container:{other}")
        self.shows(self.free[1])
        self.done(self.laptop("rm", "-f", self.laptop.name("guest")))
        self.shows(self.free[1])

    def test_nobody_listens(self) -> None:
        """While the container does not listen, a connection is closed at once."""
        self.run_detached(self.laptop, "idle", "-p", f"{self.free[0]}:80")
        self.assertFalse(is_refused(self.free[0]))
        for _ in range(3):
            self.assertIsNone(fetch(self.free[0], seconds=10.0))


class _Unprivileged(Agent):
    """An agent without the right to open ports under 1024."""

    def command(self) -> list[str]:
        """See L{Agent.command}."""
        return ["setpriv", "--bounding-set", "-net_bind_service", "--", *super().command()]


class RefusalTests(PortsTestCase):
    """A port that cannot be opened fails the start in the daemon's words."""

    def setUp(self) -> None:
        """An agent that other tests use, too."""
        super().setUp()
        self.agent = self.shared_agent()
        self.laptop = self.cli(self.agent)

    def refused(self, laptop: Docker, *options: str, status: int = 125) -> str:
        """
        Asserts that a container is made but not started, and nothing of it is open.

        @param status: the CLI's own; it is 126 where the message has the words C{permission denied}.
        @return: what the CLI printed as the error.
        """
        name = laptop.name("refused")
        outcome = laptop("run", "-d", "--name", name, *options, "busybox", "sleep", "1000000")
        self.assertEqual(outcome.status, status, str(outcome))
        state = self.on_remote(name)["State"]
        self.assertEqual((state["Status"], state["StartedAt"]), ("created", "0001-01-01T00:00:00Z"))
        self.assertEqual(laptop("port", name).stdout, b"")
        return outcome.stderr.decode()

    def test_taken_by_a_program(self) -> None:
        """A number on which a program of the laptop listens; the other one is not left open."""
        with socket.create_server(("127.0.0.1", self.free[1])):
            printed = self.refused(self.laptop, "-p", f"{self.free[0]}:80", "-p", f"{self.free[1]}:81")
            self.assertIn(
                "Error response from daemon: driver failed programming external connectivity", printed
            )
            self.assertIn(f"Bind for 127.0.0.1:{self.free[1]} failed: port is already allocated", printed)
            self.assertTrue(is_free(self.free[0]))
        self.done(self.laptop("start", self.laptop.name("refused")))
        self.assertFalse(is_free(self.free[0]))

    def test_taken_by_a_container(self) -> None:
        """A number of another container, which goes on serving."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        printed = self.refused(self.laptop, "-p", f"{self.free[0]}:80")
        self.assertIn(f"Bind for 127.0.0.1:{self.free[0]} failed: port is already allocated", printed)
        self.shows(self.free[0])

    def test_status(self) -> None:
        """The answer is 500 with the message, as the daemon's."""
        name = self.laptop.name("web")
        with socket.create_server(("127.0.0.1", self.free[0])):
            self.done(self.laptop("create", "--name", name, "-p", f"{self.free[0]}:80", "busybox"))
            client = docker_sdk.DockerClient(self.agent.docker_host)
            self.addCleanup(client.close)
            with self.assertRaises(docker_sdk.errors.APIError) as raised:
                client.containers.get(name).start()
        self.assertEqual(raised.exception.response.status_code, 500)

    def test_address_elsewhere(self) -> None:
        """An address that is not the laptop's."""
        printed = self.refused(self.laptop, "-p", f"203.0.113.9:{self.free[0]}:80")
        self.assertIn(
            f"listen tcp 203.0.113.9:{self.free[0]}: bind: cannot assign requested address", printed
        )

    def test_privileged(self) -> None:
        """A port under 1024 without the right."""
        limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        agent = _Unprivileged(self.remote, self.scratch / "unprivileged")
        self.addCleanup(agent.kill)
        agent.start()
        printed = self.refused(self.cli(agent), "-p", f"{limit - 1}:80", status=126)
        self.assertIn(f"listen tcp 127.0.0.1:{limit - 1}: bind: permission denied", printed)


class AnswerTests(PortsTestCase):
    """Every answer speaks of the laptop's ports, in the daemon's form."""

    def setUp(self) -> None:
        """A container with a port, and a client of the SDK."""
        super().setUp()
        self.agent = self.shared_agent()
        self.laptop = self.cli(self.agent)
        self.container = self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80", "-l", "color=blue")
        self.name = self.laptop.name("web")
        self.client: Any = docker_sdk.DockerClient(self.agent.docker_host)
        self.addCleanup(self.client.close)
        self.bindings = [
            {"HostIp": "127.0.0.1", "HostPort": str(self.free[0])},
            {"HostIp": "::1", "HostPort": str(self.free[0])},
        ]

    def test_inspect(self) -> None:
        """C{inspect} has what was typed as asked for, and what is open as bound."""
        document = self.inspect(self.laptop, "web")
        self.assertEqual(document["NetworkSettings"]["Ports"], {"80/tcp": self.bindings})
        self.assertEqual(
            document["HostConfig"]["PortBindings"],
            {"80/tcp": [{"HostIp": "", "HostPort": str(self.free[0])}]},
        )
        self.assertEqual(document["Config"]["Labels"], {"color": "blue"})

    def test_form(self) -> None:
        """Members have the daemon's order and types, in inspect, in the list and in C{system df}."""
        filters = quote(json.dumps({"id": [self.container]}))
        listing = f"/containers/json?filters={filters}"
        for path in (f"/containers/{self.container}/json", listing, "/system/df"):
            shown, truth = (self._mine(document) for document in (self.through(path), self.remote.ask(path)))
            self.assertEqual(list(shown), list(truth))
            for name, value in truth.items():
                self.assertEqual(_form(shown[name]), _form(value), name)

    def _mine(self, document: Any) -> Any:
        """The container in an inspect answer, a list, or a C{system/df}."""
        listed = document.get("Containers", [document]) if isinstance(document, dict) else document
        return next(each for each in listed if each["Id"] == self.container)

    def through(self, path: str) -> Any:
        """What the agent answers to a GET, from its JSON."""
        connection = HTTPConnection("127.0.0.1", self.agent.port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def test_stopped(self) -> None:
        """A stopped container has nothing bound, and is asked for the same."""
        self.done(self.laptop("stop", "-t", "0", self.name))
        self.assertEqual(
            self.on_remote(self.container)["HostConfig"]["PortBindings"],
            {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        )
        document = self.inspect(self.laptop, "web")
        self.assertEqual(document["NetworkSettings"]["Ports"], {})
        self.assertEqual(
            document["HostConfig"]["PortBindings"],
            {"80/tcp": [{"HostIp": "", "HostPort": str(self.free[0])}]},
        )

    def labels_at_the_daemon(self) -> set[str]:
        """The labels of ours that the container has there."""
        labels = self.on_remote(self.container)["Config"]["Labels"]
        return {label for label in labels if label.startswith("io.remotedocker.")}

    def test_list(self) -> None:
        """C{ps} and the list behind it, with the daemon's types."""
        for cli in CLIS.values():
            listed = self.docker(self.agent.docker_host, cli)(
                "ps", "--filter", f"name={self.name}", "--format", "{{.Ports}}"
            )
            self.assertIn(f"127.0.0.1:{self.free[0]}->80/tcp", listed.stdout.decode())
        (summary,) = self.client.api.containers(filters={"name": self.name})
        self.assertEqual(
            summary["Ports"],
            [
                {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": self.free[0], "Type": "tcp"},
                {"IP": "::1", "PrivatePort": 80, "PublicPort": self.free[0], "Type": "tcp"},
            ],
        )
        self.assertEqual(summary["Labels"], {"color": "blue"})

    def test_sdk(self) -> None:
        """docker-py's C{ports}, at the moment that C{start} has returned."""
        created = self.client.containers.create(
            "busybox", ["sleep", "1000000"], name=self.laptop.name("sdk"), ports={"80/tcp": None}
        )
        created.start()
        created.reload()
        number = int(created.ports["80/tcp"][0]["HostPort"])
        self.assertFalse(is_free(number))

    def test_filters(self) -> None:
        """C{publish=} and C{expose=} are matched with the laptop's ports; labels of ours match nothing."""
        (remote,) = self.remote_bindings(self.container)

        def found(*filters: str) -> bool:
            options = [option for each in filters for option in ("--filter", each)]
            return self.name in self.done(self.laptop("ps", "--format", "{{.Names}}", *options)).split()

        self.assertTrue(found(f"publish={self.free[0]}"))
        self.assertTrue(found(f"publish={self.free[0]}/tcp", "label=color=blue"))
        self.assertTrue(found(f"publish={self.free[0]}-{self.free[1]}"))
        self.assertFalse(found(f"publish={self.free[1]}"))
        self.assertFalse(found(f"publish={remote['HostPort']}"))
        self.assertFalse(found("expose=9"))
        ours = self.labels_at_the_daemon()
        self.assertTrue(ours)
        for label in ours:
            self.assertFalse(found(f"label={label}"), label)

    def test_disk_usage(self) -> None:
        """C{system df} lists the container with the laptop's ports."""
        usage = self.client.api.df()
        (summary,) = [each for each in usage["Containers"] if each["Id"] == self.container]
        self.assertEqual(
            [(each["IP"], each["PublicPort"]) for each in summary["Ports"]],
            [("127.0.0.1", self.free[0]), ("::1", self.free[0])],
        )
        self.assertEqual(summary["Labels"], {"color": "blue"})

    def test_others_untouched(self) -> None:
        """A container that was created straight at the daemon is shown as the daemon shows it."""
        direct = self.docker(f"unix://{self.remote.docker_socket}")
        other = self.run_detached(direct, "other", "-p", "80", "-l", "color=red")
        shown = json.loads(self.done(self.laptop("inspect", other)))[0]
        truth = self.on_remote(other)
        for key in ("NetworkSettings", "HostConfig", "Config"):
            self.assertEqual(shown[key], truth[key], key)
        number = int(truth["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
        self.assertTrue(is_refused(number))

    def test_commit(self) -> None:
        """An image made from the container carries nothing that our labels say; the user's stay."""
        image = self.laptop.name("image").lower()
        self.assertTrue(self.labels_at_the_daemon())
        self.done(self.laptop("commit", self.name, image))
        document = self.remote.ask(f"/images/{image}/json")
        said = {name: value for name, value in document["Config"]["Labels"].items() if value}
        self.assertEqual(said, {"color": "blue"})
        shown = self.client.api.inspect_image(image)
        for config in {"Config", "ContainerConfig"}.intersection(shown):
            self.assertEqual(shown[config]["Labels"], {"color": "blue"}, config)
        (listed,) = self.client.api.images(image)
        self.assertEqual(listed["Labels"], {"color": "blue"})
        (used,) = [each for each in self.client.api.df()["Images"] if each["Id"] == listed["Id"]]
        self.assertEqual(used["Labels"], {"color": "blue"})
        self.assertNotIn(b"io.remotedocker", self.laptop("history", "--no-trunc", image).stdout)

    def test_events(self) -> None:
        """The events of a container have the user's labels and none of ours, at once and afterwards."""
        self.assertTrue(self.labels_at_the_daemon())
        filters = {"container": self.container}
        live = self.client.api.events(decode=True, filters=filters)
        self.addCleanup(live.close)
        self.done(self.laptop("rename", self.name, self.laptop.name("renamed")))
        kept = self.laptop("events", "--since", "1h", "--until", "0s", "--format", "{{json .}}")
        for attributes in (
            next(live)["Actor"]["Attributes"],
            *(
                event["Actor"]["Attributes"]
                for event in map(json.loads, self.done(kept).splitlines())
                if event["Actor"]["ID"] == self.container
            ),
        ):
            self.assertEqual(attributes["color"], "blue")
            self.assertEqual([name for name in attributes if name.startswith("io.remotedocker")], [])

    def test_compose(self) -> None:
        """Compose's C{ps} and C{port} agree with what is open, also when it has been recreated."""
        (self.scratch / "docker-compose.yml").write_text(
            f"""\
version: "3.0"
services:
  web:
    image: busybox
    command: httpd -f -p 80 -h /etc
    ports:
      - "{self.free[1]}:80"
      - "81"
"""
        )
        project = self.laptop.name("compose").replace("-", "")

        def compose(*arguments: str) -> str:
            return self.done(self.laptop.program(*COMPOSE, "-p", project, *arguments, seconds=60.0))

        self.addCleanup(compose, "down", "-t", "0")
        for options in ((), ("--force-recreate",)):
            compose("up", "-d", "-t", "0", *options)
            self.assertFalse(is_free(self.free[1]))
        self.assertEqual(compose("port", "web", "80"), f"127.0.0.1:{self.free[1]}")
        number = int(compose("port", "web", "81").rpartition(":")[2])
        self.assertFalse(is_free(number))
        listed = compose("ps")
        for expected in (f"127.0.0.1:{self.free[1]}->80/tcp", f"127.0.0.1:{number}->81/tcp"):
            self.assertIn(expected, listed)


class TrafficTests(PortsTestCase):
    """Connections through a forwarded port."""

    def setUp(self) -> None:
        """An agent for these tests, whose descriptors and memory are looked at; the option is the default."""
        super().setUp()
        self.agent = self.shared_agent("--connections", "2")
        self.laptop = self.cli(self.agent)

    def descriptors(self) -> int:
        """How many files and sockets the agent has open."""
        assert self.agent.process is not None
        return len(list(Path(f"/proc/{self.agent.process.pid}/fd").iterdir()))

    def memory(self) -> int:
        """The agent's resident memory, in bytes."""
        assert self.agent.process is not None
        for line in Path(f"/proc/{self.agent.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def dial(self, number: int = 0) -> socket.socket:
        """A connection to a port; to the first one if none is named."""
        return socket.create_connection(("127.0.0.1", number or self.free[0]), timeout=60)

    def read_all(self, connection: socket.socket) -> bytes:
        """Everything until the end of file."""
        received = b""
        while data := connection.recv(65536):
            received += data
        return received

    def test_half_close(self) -> None:
        """The end of what is sent arrives alone; the answer to it comes back."""
        self.run_detached(self.laptop, "echo", "-p", f"{self.free[0]}:80", command=ECHO)
        self.wait_for(lambda: self._echoes(b"ready"), "the echo is there")
        for size in (0, 1, 100_000):
            with self.dial() as connection:
                connection.sendall(b"x" * size)
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(len(self.read_all(connection)), size)

    def _echoes(self, data: bytes, number: int = 0) -> bool:
        try:
            with self.dial(number) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                return self.read_all(connection) == data
        except ConnectionError:
            return False

    def test_many_at_once(self) -> None:
        """A thousand connections are open at once; each is served; nothing is left afterwards."""
        # One nc lets only two wait to be accepted: there are four, and each is dialled one after another.
        echoes = "for port in 80 81 82 83; do nc -ll -p $port -e cat & done; wait"
        self.run_detached(
            self.laptop, "echo", "-p", f"{self.free[0]}-{self.free[3]}:80-83", command=("sh", "-c", echoes)
        )
        self.wait_for(lambda: all(self._echoes(b"ready", each) for each in self.free), "the echoes are there")
        before = self.descriptors()
        connections: list[socket.socket] = []

        def open_some(number: int) -> None:
            for _ in range(250):
                connection = self.dial(number)
                connections.append(connection)
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")

        try:
            with ThreadPoolExecutor(len(self.free)) as clients:
                list(clients.map(open_some, self.free))
            self.assertEqual(len(connections), 1000)
            for index, connection in enumerate(connections):
                connection.sendall(b"%d" % index)
                connection.shutdown(socket.SHUT_WR)
            for index, connection in enumerate(connections):
                self.assertEqual(int(self.read_all(connection)), index)
        finally:
            for connection in connections:
                connection.close()
        self.wait_for(lambda: self.descriptors() <= before, f"{before} descriptors again")

    def test_many_in_a_row(self) -> None:
        """Ten thousand short connections are served, and leave neither descriptors nor memory behind."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        self.shows(self.free[0])
        with ThreadPoolExecutor(_AT_ONCE) as clients:
            pages = clients.map(fetch, [self.free[0]] * 500)
            self.assertEqual(set(pages), {"hello"})
            descriptors, memory = self.descriptors(), self.memory()
            pages = clients.map(fetch, [self.free[0]] * 9500)
            self.assertEqual(set(pages), {"hello"})
        self.wait_for(lambda: self.descriptors() <= descriptors, f"{descriptors} descriptors")
        self.assertLess(self.memory() - memory, 8 << 20)

    def test_big_both_ways(self) -> None:
        """A GiB each way, at once, arrives whole."""
        blocks = 1 << 10
        self.run_detached(
            self.laptop,
            "both",
            *("-p", f"{self.free[0]}:80", "-p", f"{self.free[1]}:81"),
            command=("sh", "-c", _SINK_AND_SOURCE.format(blocks=blocks)),
        )
        self.wait_for(lambda: b"1+0 records in" in self._sunk(1), "the sink is there")
        with ThreadPoolExecutor(1) as other:
            received = other.submit(self._source)
            self.assertIn(b"%d+0 records in" % blocks, self._sunk(blocks))
            self.assertEqual(received.result(), blocks << 20)

    def _sunk(self, blocks: int) -> bytes:
        """What the sink says after it was sent so many MiB; nothing if it is not there."""
        block = bytes(1 << 20)
        try:
            with self.dial() as connection:
                for _ in range(blocks):
                    connection.sendall(block)
                connection.shutdown(socket.SHUT_WR)
                return self.read_all(connection)
        except ConnectionError:
            return b""

    def _source(self) -> int:
        """How much the source sends."""
        received = 0
        with self.dial(self.free[1]) as connection:
            while data := connection.recv(1 << 20):
                received += len(data)
        return received

    def test_stuck_reader(self) -> None:
        """Of what a reader that stops is sent, the agent keeps little; others are served meanwhile."""
        self.run_detached(
            self.laptop,
            "flood",
            *("-p", f"{self.free[0]}:80"),
            command=("nc", "-ll", "-p", "80", "-e", "cat", "/dev/zero"),
        )
        self.serve(self.laptop, "web", "-p", f"{self.free[1]}:80")
        self.shows(self.free[1])
        memory = self.memory()
        self.wait_for(lambda: self._floods(), "the flood is there")
        with self.dial() as stuck:
            self.assertEqual(len(stuck.recv(1)), 1)
            for _ in range(50):
                self.assertEqual(fetch(self.free[1]), "hello")
            self.assertLess(self.memory() - memory, 64 << 20)

    def _floods(self) -> bool:
        try:
            with self.dial() as connection:
                return bool(connection.recv(1))
        except ConnectionError:
            return False


class NegativeControlTests(PortsTestCase):
    """With forwarding switched off, what these tests look for is not there."""

    def test_no_forward(self) -> None:
        """C{--no-forward}: the port is bound on the remote as typed, and nothing is open here."""
        laptop = self.cli(self.own_agent("--no-forward"))
        container = self.serve(laptop, "web", "-p", f"{self.free[0]}:80")
        self.assertTrue(is_free(self.free[0]))
        self.assertIn({"HostIp": "0.0.0.0", "HostPort": str(self.free[0])}, self.remote_bindings(container))

    def test_tunnel(self) -> None:
        """Through C{ssh -L} to the daemon, a published port is not on the laptop either."""
        laptop = self.cli(self.tunnel())
        self.serve(laptop, "web", "-p", f"{self.free[0]}:80")
        self.assertTrue(is_free(self.free[0]))
