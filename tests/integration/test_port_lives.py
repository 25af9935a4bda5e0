"""
Published ports on a real remote follow the container's life, whoever ends it, and outlive the agent's.
"""

from __future__ import annotations

import socket

from tests.forwards.support import is_free
from tests.integration.agent import Agent
from tests.integration.ports import SERVE, PortsTestCase, fetch

__all__ = ["AgentLifeTests", "ContainerLifeTests", "LinkTests", "SeveralAgentsTests"]


class ContainerLifeTests(PortsTestCase):
    """The local port is there while the container runs."""

    def setUp(self) -> None:
        """An agent that other tests use, too."""
        super().setUp()
        self.agent = self.shared_agent()
        self.laptop = self.cli(self.agent)
        self.name = self.laptop.name("web")

    def direct(self, *arguments: str) -> str:
        """Another client's command, straight at the daemon."""
        finished = self.remote.docker(*arguments)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        return finished.stdout.decode().strip()

    def test_ends(self) -> None:
        """However the container ends, the port is closed, and open again after a start."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        for end in (("stop", "-t", "0"), ("kill",), ("kill", "-s", "KILL")):
            self.shows(self.free[0])
            self.done(self.laptop(*end, self.name))
            self.frees(self.free[0])
            self.done(self.laptop("start", self.name))
        self.shows(self.free[0])
        self.done(self.laptop("rm", "-f", self.name))
        self.frees(self.free[0])

    def test_ends_by_itself(self) -> None:
        """A container that ends by itself takes its port along, with C{--rm} too."""
        for options in ((), ("--rm",)):
            self.run_detached(
                self.laptop,
                f"short{len(options)}",
                *("-p", f"{self.free[0]}:80", *options),
                command=("sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.05; done"),
            )
            self.assertFalse(is_free(self.free[0]))
            self.done(self.laptop("exec", self.laptop.name(f"short{len(options)}"), "touch", "/tmp/end"))
            self.frees(self.free[0])

    def test_out_of_memory(self) -> None:
        """A container killed for its memory takes its port along."""
        self.run_detached(
            self.laptop,
            "web",
            *("-p", f"{self.free[0]}:80", "--memory", "16m", "--memory-swap", "16m"),
            command=("sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.05; done; exec tail -c 1g /dev/zero"),
        )
        self.assertFalse(is_free(self.free[0]))
        self.done(self.laptop("exec", self.name, "touch", "/tmp/end"))
        self.frees(self.free[0])

    def test_connections_end(self) -> None:
        """Connections open at the end of the container are ended."""
        self.run_detached(
            self.laptop, "web", "-p", f"{self.free[0]}:80", command=("nc", "-ll", "-p", "80", "-e", "cat")
        )
        self.wait_for(self._echoes, "the echo is there")
        with socket.create_connection(("127.0.0.1", self.free[0]), timeout=30) as connection:
            connection.sendall(b"x")
            self.assertEqual(connection.recv(1), b"x")
            self.done(self.laptop("kill", self.name))
            try:
                self.assertEqual(connection.recv(1), b"")
            except ConnectionResetError:
                pass

    def _echoes(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.free[0]), timeout=30) as connection:
                connection.sendall(b"x")
                return connection.recv(1) == b"x"
        except ConnectionError:
            return False

    def test_last_answer(self) -> None:
        """What a container sends just before it ends arrives."""
        for _ in range(5):
            self.run_detached(
                self.laptop,
                "once",
                *("--rm", "-p", f"{self.free[0]}:80"),
                command=("sh", "-c", "head -c 300000 /dev/zero | nc -l -p 80"),
            )
            received = 0

            def read() -> bool:
                nonlocal received
                try:
                    with socket.create_connection(("127.0.0.1", self.free[0]), timeout=30) as connection:
                        while data := connection.recv(65536):
                            received += len(data)
                except ConnectionError:
                    return False
                return received > 0

            self.wait_for(read, "something arrives")
            self.assertEqual(received, 300_000)
            self.frees(self.free[0])
            self.wait_for(
                lambda: self.laptop("inspect", self.laptop.name("once")).status != 0, "it is removed"
            )

    def test_restart(self) -> None:
        """A number left open is the same after restarts, though the remote's own changes."""
        container = self.serve(self.laptop, "web", "-p", "80")
        number = self.number_of(self.laptop, "web")
        seen = set()
        for command in (("restart", "-t", "0"), ("restart", "-t", "0")):
            seen.add(self.remote_bindings(container)[0]["HostPort"])
            self.done(self.laptop(*command, self.name))
            self.assertEqual(self.number_of(self.laptop, "web"), number)
            self.shows(number)
        self.done(self.laptop("stop", "-t", "0", self.name))
        self.frees(number)
        self.done(self.laptop("start", self.name))
        self.assertEqual(self.number_of(self.laptop, "web"), number)
        self.shows(number)
        seen.add(self.remote_bindings(container)[0]["HostPort"])
        self.assertGreater(len(seen), 1)

    def test_restarted_by_the_daemon(self) -> None:
        """A container that the daemon starts again is back at the same port."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80", "--restart", "always")
        container = self.on_remote(self.name)["Id"]
        for _ in range(2):
            self.shows(self.free[0])
            self._crash(container)
        self.shows(self.free[0])
        self.done(self.laptop("stop", "-t", "0", self.name))
        self.frees(self.free[0])

    def test_crash_loop(self) -> None:
        """
        In a crash loop nobody else gets the port, connections are refused or closed at once, and it is back
        when the container stays up.
        """
        command = f"[ -e /tmp/up ] || exit 1; {SERVE.format(port=80, page='hello')}"
        self.run_detached(
            self.laptop,
            "web",
            *("-p", f"{self.free[0]}:80", "--restart", "always"),
            command=("sh", "-c", command),
        )
        container = self.on_remote(self.name)["Id"]
        self.wait_for(lambda: self._crashed(container, 2), "it crashed twice")
        while not self._crashed(container, 5):
            self.assertFalse(is_free(self.free[0]))
            self.assertIsNone(fetch(self.free[0], seconds=10))
        up = self.scratch / "up"
        up.touch()
        self.done(self.laptop("cp", str(up), f"{self.name}:/tmp/up"))
        self.shows(self.free[0])
        self.assertEqual(self.number_of(self.laptop, "web"), self.free[0])

    def _crash(self, container: str) -> None:
        """Kills the container's process on the remote, and waits until the daemon has started it again."""
        before = self.on_remote(container)["State"]
        self.remote.run(["kill", "-9", str(before["Pid"])])
        self.wait_for(
            lambda: self.on_remote(container)["State"]["StartedAt"] != before["StartedAt"], "it restarts"
        )

    def _crashed(self, container: str, times: int) -> bool:
        return bool(self.on_remote(container)["RestartCount"] >= times)

    def test_pause(self) -> None:
        """A paused container keeps its port; who waits there is served when it goes on."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        self.shows(self.free[0])
        self.done(self.laptop("pause", self.name))
        with socket.create_connection(("127.0.0.1", self.free[0]), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(self.number_of(self.laptop, "web"), self.free[0])
            self.done(self.laptop("unpause", self.name))
            self.assertTrue(connection.recv(65536).startswith(b"HTTP/1."))

    def test_rename(self) -> None:
        """A renamed container keeps its port, under its new name, through a restart."""
        self.serve(self.laptop, "web", "-p", "80")
        number = self.number_of(self.laptop, "web")
        self.done(self.laptop("rename", self.name, self.laptop.name("other")))
        self.shows(number)
        self.done(self.laptop("restart", "-t", "0", self.laptop.name("other")))
        self.assertEqual(self.number_of(self.laptop, "other"), number)
        self.shows(number)

    def test_networks(self) -> None:
        """Taken from its network, a container has no port; given back, it has the same one."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        self.shows(self.free[0])
        self.done(self.laptop("network", "disconnect", "bridge", self.name))
        self.frees(self.free[0])
        self.done(self.laptop("network", "connect", "bridge", self.name))
        self.shows(self.free[0])

    def test_recreated_at_once(self) -> None:
        """After C{rm -f} the next container of the same name gets the port at once."""
        for page in ("one", "two", "three", "four", "five"):
            self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80", page=page)
            self.shows(self.free[0], page)
            self.done(self.laptop("rm", "-f", self.name))

    def test_prune(self) -> None:
        """A pruned container is forgotten: a new one of its name starts afresh."""
        self.run_detached(self.laptop, "web", "-p", "80", "-l", f"prune={self.laptop.label}")
        container = self.on_remote(self.name)["Id"]
        (numbers,) = self.agent.directory.rglob("numbers.json")
        self.assertIn(container, numbers.read_text())
        self.done(self.laptop("stop", "-t", "0", self.name))
        self.assertIn(container, numbers.read_text())
        self.done(self.laptop("container", "prune", "-f", "--filter", f"label=prune={self.laptop.label}"))
        self.wait_for(lambda: container not in numbers.read_text(), "it is forgotten")

    def test_another_client(self) -> None:
        """What another client does straight on the remote is followed."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        self.direct("restart", "-t", "0", self.name)
        self.shows(self.free[0])
        self.direct("stop", "-t", "0", self.name)
        self.frees(self.free[0])
        self.direct("start", self.name)
        self.shows(self.free[0])
        self.direct("rm", "-f", self.name)
        self.frees(self.free[0])

    def test_failed_start(self) -> None:
        """A start that the daemon refuses leaves nothing open."""
        outcome = self.laptop(
            "run", "-d", "--name", self.name, "-p", f"{self.free[0]}:80", "busybox", "/no/such/program"
        )
        self.assertNotEqual(outcome.status, 0)
        self.frees(self.free[0])


class LinkTests(PortsTestCase):
    """The remote daemon and the link to it come and go."""

    def setUp(self) -> None:
        """An agent of the test alone."""
        super().setUp()
        self.agent = self.own_agent()
        self.laptop = self.cli(self.agent)
        self.name = self.laptop.name("web")

    def test_daemon_restarts(self) -> None:
        """When the remote daemon was restarted, ports of containers that it starts again are back."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80", "--restart", "always")
        self.serve(self.laptop, "other", "-p", f"{self.free[1]}:80")
        self.shows(self.free[0])
        self.remote.restart_dockerd()
        self.shows(self.free[0])
        self.frees(self.free[1])

    def test_link_drops(self) -> None:
        """When SSH drops, connections end and the port is back with the link."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        self.shows(self.free[0])
        with socket.create_connection(("127.0.0.1", self.free[0]), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n")
            self.wait_for(lambda: self.remote.kill_ssh_sessions() > 0, "a session is killed")
            try:
                self.assertEqual(connection.recv(1), b"")
            except ConnectionResetError:
                pass
        self.shows(self.free[0])

    def test_link_away(self) -> None:
        """While SSH is away the port stays open: nobody can take it, and a connection waits for the link."""
        self.serve(self.laptop, "web", "-p", f"{self.free[0]}:80")
        self.shows(self.free[0])
        self.addCleanup(self.remote.restart_sshd)
        self.remote.stop_sshd()
        self.remote.kill_ssh_sessions()
        with socket.create_connection(("127.0.0.1", self.free[0]), timeout=30) as connection:
            with socket.socket() as thief:
                self.assertRaises(OSError, thief.bind, ("127.0.0.1", self.free[0]))
            self.remote.start_sshd()
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.recv(5), b"HTTP/")
        self.shows(self.free[0])

    def test_events_lost(self) -> None:
        """What happened while the link was down is found by listing, whatever became of the events."""
        self.serve(self.laptop, "restarted", "-p", f"{self.free[0]}:80")
        self.serve(self.laptop, "stopped", "-p", f"{self.free[1]}:80")
        self.serve(self.laptop, "removed", "-p", f"{self.free[2]}:80")
        for number in self.free[:3]:
            self.shows(number)
        self.remote.stop_sshd()
        try:
            self.remote.docker("restart", "-t", "0", self.laptop.name("restarted"))
            self.remote.docker("stop", "-t", "0", self.laptop.name("stopped"))
            self.remote.docker("rm", "-f", self.laptop.name("removed"))
            noise = self.laptop.name("noise")
            self.remote.docker("create", "--name", noise, "busybox")
            for index in range(140):
                self.remote.post(f"/containers/{noise}/rename?name={noise}{index}")
                self.remote.post(f"/containers/{noise}{index}/rename?name={noise}")
        finally:
            self.remote.start_sshd()
        self.shows(self.free[0])
        self.frees(self.free[1])
        self.frees(self.free[2])


class AgentLifeTests(PortsTestCase):
    """The agent ends and is started again."""

    def start_again(self, agent: Agent) -> None:
        """Starts it with a new log, in which C{Ready:} is news."""
        agent.log_file.unlink()
        agent.start()

    def test_killed(self) -> None:
        """After C{kill -9} the next agent opens the same ports, of its own containers, each once."""
        agent, other = self.own_agent(), self.own_agent()
        laptop, neighbour = self.cli(agent), self.cli(other)
        self.serve(laptop, "typed", "-p", f"{self.free[0]}:80", page="typed")
        self.serve(laptop, "open", "-p", "80", page="open")
        self.serve(neighbour, "theirs", "-p", f"{self.free[1]}:80", page="theirs")
        number = self.number_of(laptop, "open")
        agent.kill()
        other.kill()
        self.assertTrue(is_free(self.free[0]))
        self.start_again(agent)
        self.shows(self.free[0], "typed")
        self.shows(number, "open")
        self.assertTrue(is_free(self.free[1]))
        self.assertEqual(self.number_of(laptop, "open"), number)

    def test_ended_meanwhile(self) -> None:
        """What ended while there was no agent is not opened, and can be started."""
        agent = self.own_agent()
        laptop = self.cli(agent)
        self.serve(laptop, "web", "-p", f"{self.free[0]}:80")
        self.shows(self.free[0])
        agent.stop()
        self.frees(self.free[0])
        self.remote.docker("stop", "-t", "0", laptop.name("web"))
        self.start_again(agent)
        self.done(laptop("start", laptop.name("web")))
        self.shows(self.free[0])


class SeveralAgentsTests(PortsTestCase):
    """Several laptops at one remote."""

    def test_same_number(self) -> None:
        """Two laptops publish the same number, and each gets its own container."""
        laptops = [
            self.cli(self.own_agent("--publish-address", address)) for address in ("127.0.0.1", "127.0.0.2")
        ]
        for laptop, page in zip(laptops, ("one", "two"), strict=True):
            self.serve(laptop, "web", "-p", f"{self.free[0]}:80", page=page)
        self.shows(self.free[0], "one", "127.0.0.1")
        self.shows(self.free[0], "two", "127.0.0.2")

    def test_forward_all(self) -> None:
        """With C{--forward-all}, others' ports are opened at the number that they have there, where free."""
        direct = self.docker(f"unix://{self.remote.docker_socket}")
        self.serve(direct, "before", "-p", f"{self.free[0]}:80", page="before")
        with socket.create_server(("127.0.0.1", self.free[2])):
            self.cli(self.own_agent("--forward-all"))
            self.shows(self.free[0], "before")
            self.serve(direct, "after", "-p", f"{self.free[1]}:80", page="after")
            self.shows(self.free[1], "after")
            self.serve(
                direct, "partly", "-p", f"{self.free[2]}:81", "-p", f"{self.free[3]}:80", page="partly"
            )
            self.shows(self.free[3], "partly")
        self.done(direct("rm", "-f", direct.name("before")))
        self.frees(self.free[0])
