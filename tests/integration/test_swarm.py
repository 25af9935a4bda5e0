"""
Published ports of services, where the remote daemon is a swarm of its own.

A kernel without IP_VS has no routing mesh: the swarm allocates an C{ingress} port and nobody listens there. A
program on the remote host stands in for it then.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.forwards.support import is_free
from tests.integration.base import Docker
from tests.integration.ports import SERVE, PortsTestCase, fetch, is_refused

__all__ = ["SwarmTests"]

_MESH = """
[ -e /proc/net/ip_vs ] && exit
mkdir -p /tmp/mesh && echo hello >/tmp/mesh/index.html
busybox httpd -f -p 127.0.0.1:$1 -h /tmp/mesh </dev/null >/dev/null 2>&1 &
echo $!
"""


class SwarmTests(PortsTestCase):
    """Services."""

    def setUp(self) -> None:
        """A swarm of one node, and an agent that other tests use, too."""
        super().setUp()
        self.agent = self.shared_agent()
        self.laptop = self.cli(self.agent)
        self.name = self.laptop.name("web")
        self.swarm("init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
        self.addCleanup(self.swarm, "leave", "--force")

    def swarm(self, *arguments: str) -> None:
        """A command about the swarm, straight at the daemon."""
        finished = self.remote.docker("swarm", *arguments)
        self.assertEqual(finished.returncode, 0, finished.stderr)

    def mesh(self, number: int) -> None:
        """Something answers at a port of the swarm, on the remote host's loopback."""
        started = self.remote.run(["/bin/sh", "-c", _MESH, "mesh", str(number)], check=True).stdout
        for process in started.decode().split():
            self.addCleanup(self.remote.run, ["/bin/kill", process])

    def create(self, docker: Docker, *options: str, name: str = "web") -> str:
        """Makes a service whose task serves a page; @return: what was printed as a warning."""
        outcome = docker(
            *("service", "create", "--detach", "--no-resolve-image", "--restart-delay", "0s"),
            *("--stop-grace-period", "0s"),
            *("--name", docker.name(name), *options, "busybox"),
            *("sh", "-c", SERVE.format(port=80, page="hello")),
        )
        self.done(outcome)
        self.addCleanup(self.remote.docker, "service", "rm", docker.name(name))
        return outcome.stderr.decode()

    def service(self) -> Any:
        """What C{docker service inspect} tells."""
        return json.loads(self.done(self.laptop("service", "inspect", self.name)))[0]

    def on_swarm(self) -> Any:
        """What the daemon itself tells of the service."""
        return self.remote.ask(f"/services/{self.name}")

    def listed_ports(self) -> str:
        """C{docker service ls}."""
        return self.done(
            self.laptop("service", "ls", "--filter", f"name={self.name}", "--format", "{{.Ports}}")
        )

    def test_ingress(self) -> None:
        """
        A port of the swarm is open when the create has returned, and closed after a removal; of one left
        open, the number that is told is the one that is open.
        """
        warning = self.create(self.laptop, "-p", f"{self.free[0]}:80", "-p", f"{self.free[1]}:53/udp")
        self.assertIn("53/udp", warning)
        self.assertFalse(is_free(self.free[0]))
        self.mesh(self.free[0])
        for host in ("127.0.0.1", "::1"):
            self.shows(self.free[0], host=host)
        self.assertTrue(is_refused(self.free[0], self.remote.sandbox.local_address))
        self.assertIn(f"*:{self.free[0]}->80/tcp", self.listed_ports())
        self.done(self.laptop("service", "rm", self.name))
        self.frees(self.free[0])
        self.create(self.laptop, "-p", "80")
        self.wait_for(lambda: "->80/tcp" in self.listed_ports(), "a port is allocated")
        number = int(self.listed_ports().partition("->")[0].removeprefix("*:"))
        self.mesh(self.on_swarm()["Endpoint"]["Ports"][0]["PublishedPort"])
        self.shows(number)
        self.assertEqual(self.service()["Endpoint"]["Ports"][0]["PublishedPort"], number)

    def test_taken(self) -> None:
        """
        A number that is taken here fails the create in either mode, and no service is made. Of an update that
        fails nothing is left; one that succeeds opens the ports that are added and closes those taken away.
        """
        failed = f"Bind for 127.0.0.1:{self.free[2]} failed: port is already allocated"
        with socket.create_server(("127.0.0.1", self.free[2])):
            for port in (f"{self.free[2]}:80", f"mode=host,published={self.free[2]},target=80"):
                outcome = self.laptop(
                    "service", "create", "--detach", "--name", self.name, "-p", port, "busybox"
                )
                self.assertEqual(outcome.status, 1)
                self.assertIn(failed, outcome.stderr.decode())
        self.assertEqual(self.remote.ask("/services"), [])
        self.create(self.laptop, "-p", f"{self.free[0]}:80")
        for change in (
            ("--publish-add", f"{self.free[1]}:81"),
            ("--publish-rm", "80"),
        ):
            self.done(self.laptop("service", "update", "--detach", *change, self.name))
        self.frees(self.free[0])
        self.wait_for(lambda: not is_refused(self.free[1]), f"{self.free[1]} is open")
        with socket.create_server(("127.0.0.1", self.free[2])):
            outcome = self.laptop(
                "service", "update", "--detach", "--publish-add", f"{self.free[2]}:82", self.name
            )
        self.assertEqual(outcome.status, 1)
        self.assertIn(failed, outcome.stderr.decode())
        self.assertFalse(is_free(self.free[1]))

    def test_host_mode(self) -> None:
        """A port of a task is open while the task runs; a new task gets it back."""
        self.create(
            self.laptop,
            *("-p", f"mode=host,published={self.free[0]},target=80"),
            *("-p", "mode=host,target=81"),
            *("-l", "color=blue"),
        )
        self.shows(self.free[0])
        (first,) = self._tasks()
        self.assertIn(f"127.0.0.1:{self.free[0]}->80/tcp", self._shown_ports(first))
        left_open = int(self._shown_ports(first).partition("->81/tcp")[0].rpartition(":")[2])
        self.assertFalse(is_free(left_open))
        tasks = self.done(self.laptop("service", "ps", "--format", "{{.Ports}}", self.name))
        for number, port in ((self.free[0], 80), (left_open, 81)):
            self.assertIn(f"*:{number}->{port}/tcp", tasks)
        self.labels_are_hidden()
        self.remote.docker("kill", first)
        self.wait_for(lambda: self._tasks() not in ([], [first]), "another task runs")
        self.shows(self.free[0])
        self.done(self.laptop("service", "rm", self.name))
        self.frees(self.free[0])

    def labels_are_hidden(self) -> None:
        """Our labels are at the daemon, and nowhere in what the laptop is shown."""
        truth, shown = self.on_swarm()["Spec"], self.service()["Spec"]
        for labels in (truth["Labels"], truth["TaskTemplate"]["ContainerSpec"]["Labels"]):
            self.assertIn("io.remotedocker.agent", labels)
        self.assertEqual(shown["Labels"], {"color": "blue"})
        self.assertNotIn("Labels", shown["TaskTemplate"]["ContainerSpec"])
        for label, found in (("color=blue", True), ("io.remotedocker.agent", False)):
            listed = self.done(self.laptop("service", "ls", "-q", "--filter", f"label={label}"))
            self.assertEqual(bool(listed), found, label)

    def _tasks(self) -> list[str]:
        listed = self.remote.docker("ps", "-q", "--no-trunc", "--filter", f"name={self.name}")
        return listed.stdout.decode().split()

    def _shown_ports(self, container: str) -> str:
        return self.done(self.laptop("ps", "--filter", f"id={container}", "--format", "{{.Ports}}"))

    def test_agent_again(self) -> None:
        """After C{kill -9}, own services' ports are back; others' are opened with C{--forward-all}."""
        agent = self.own_agent()
        self.create(self.cli(agent), "-p", f"{self.free[0]}:80")
        self.create(self.docker(f"unix://{self.remote.docker_socket}"), "-p", f"{self.free[1]}:80")
        self.mesh(self.free[0])
        self.mesh(self.free[1])
        self.shows(self.free[0])
        self.assertTrue(is_free(self.free[1]))
        agent.kill()
        self.assertTrue(is_free(self.free[0]))
        agent.log_file.unlink()
        agent.options = ("--forward-all",)
        agent.start()
        self.shows(self.free[0])
        self.shows(self.free[1])

    def test_no_forward(self) -> None:
        """With C{--no-forward}, what these tests look for is not there."""
        self.create(self.cli(self.own_agent("--no-forward")), "-p", f"{self.free[0]}:80")
        self.assertIsNone(fetch(self.free[0]))
        self.assertTrue(is_free(self.free[0]))
