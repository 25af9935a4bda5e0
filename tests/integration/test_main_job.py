"""
The main job on the real thing: published ports and mounted directories, what happens when a part fails, and
that the checks themselves fail where ports or files are switched off.
"""

from __future__ import annotations

import http.client
import json
import secrets
import signal
import stat
from functools import partial

from tests.integration.agent import free_port
from tests.integration.base import IntegrationTestCase
from tests.integration.checks import (
    check_files,
    check_files_come_back,
    check_port,
    listens,
    run_web_server,
    wait_for_page,
)

_SOON = 3.0
"""Seconds that a check gets that must fail."""


class MainJobTests(IntegrationTestCase):
    """A container with a port and a mount, through the agent."""

    def test_web_server(self) -> None:
        """The laptop's page is served by the remote container on the laptop's port, and an edit is seen."""
        docker = self.docker(self.shared_agent().docker_host)
        site, port = self.scratch / "site", free_port()
        site.mkdir()
        (site / "index.html").write_text("one\n")
        name = run_web_server(docker, "-p", f"{port}:80", "-v", f"{site}:/www")
        self.assertTrue(listens(port), "the port is open when the CLI returns")
        wait_for_page(port, b"one\n")
        (site / "index.html").write_text("two\n")
        wait_for_page(port, b"two\n")
        self.assertIn(f"127.0.0.1:{port}->80/tcp", docker("ps", "--filter", f"name={name}").stdout.decode())
        mounts = docker("inspect", "--format", "{{range .Mounts}}{{.Source}} {{.Destination}}{{end}}", name)
        self.assertEqual(mounts.stdout.decode(), f"{site} /www\n")
        self.assertEqual(docker("rm", "-f", name).status, 0)
        self.wait_for(lambda: not listens(port), "the port is closed")

    def test_port(self) -> None:
        """A published port is opened, shown and closed."""
        check_port(self.docker(self.shared_agent().docker_host))

    def test_files(self) -> None:
        """A mounted directory is complete at the start, and follows."""
        check_files(self.docker(self.shared_agent().docker_host), self.scratch / "tree")

    def test_files_come_back(self) -> None:
        """What the container wrote is there when the CLI returns."""
        check_files_come_back(self.docker(self.shared_agent().docker_host), self.scratch / "tree")

    def test_restart(self) -> None:
        """A container that is restarted has its page on the same port."""
        docker = self.docker(self.shared_agent().docker_host)
        port = free_port()
        name = run_web_server(docker, "-p", f"{port}:80")
        docker("exec", name, "sh", "-c", "echo page > /www/page")
        for command in ("restart", "kill", "start"):
            self.assertEqual(docker(command, name).status, 0)
            if command == "kill":
                self.wait_for(lambda: not listens(port), "the port is closed")
            else:
                wait_for_page(port, b"page\n", "/page")

    def test_port_taken(self) -> None:
        """A second container at the same local port fails to start, in the daemon's words."""
        docker = self.docker(self.shared_agent().docker_host)
        port = free_port()
        run_web_server(docker, "-p", f"{port}:80")
        second = docker(
            "run", "-d", "--name", docker.name("second"), "-p", f"{port}:80", "busybox", "sleep", "9"
        )
        self.assertEqual(second.status, 125)
        self.assertIn(b"port is already allocated", second.stderr)
        running = docker("inspect", "--format", "{{.State.Status}}", docker.name("second"))
        self.assertEqual(running.stdout, b"created\n")


class NegativeControlTests(IntegrationTestCase):
    """Where a part is switched off, its check fails: the checks see what they are there to see."""

    def test_no_forward(self) -> None:
        """With C{--no-forward} no port is opened."""
        agent = self.own_agent("--no-forward")
        self.assertRaises(AssertionError, check_port, self.docker(agent.docker_host), seconds=_SOON)

    def test_sync_off(self) -> None:
        """With C{--sync off} the container sees no files of the laptop, nor the laptop the container's."""
        docker = self.docker(self.own_agent("--sync", "off").docker_host)
        self.assertRaises(AssertionError, check_files, docker, self.scratch / "one", seconds=_SOON)
        self.assertRaises(AssertionError, check_files_come_back, docker, self.scratch / "two")

    def test_sync_push(self) -> None:
        """With C{--sync push} nothing comes back, but the container sees the laptop's files."""
        docker = self.docker(self.own_agent("--sync", "push").docker_host)
        check_files(docker, self.scratch / "one")
        self.assertRaises(AssertionError, check_files_come_back, docker, self.scratch / "two")

    def test_tunnel(self) -> None:
        """With C{ssh -L} in the agent's place, every check fails."""
        docker = self.docker(self.tunnel().docker_host)
        self.assertRaises(AssertionError, check_port, docker, seconds=_SOON)
        self.assertRaises(AssertionError, check_files, docker, self.scratch / "one", seconds=_SOON)
        self.assertRaises(AssertionError, check_files_come_back, docker, self.scratch / "two")


class _FaultTestCase(IntegrationTestCase):
    """What the tests of broken links share."""

    def freeze(self) -> None:
        """Stops the remote's process of each login, as if the network took everything."""
        frozen = [str(pid) for pid in self.remote.ssh_sessions()]
        self.addCleanup(self.remote.run, ["/bin/kill", "-KILL", *frozen])
        self.remote.run(["/bin/kill", "-STOP", *frozen])


class FaultTests(_FaultTestCase):
    """What is lost comes back by itself."""

    def test_lost_login(self) -> None:
        """The SSH connections die: the next command waits for a new login, ports and files work again."""
        agent = self.own_agent()
        docker = self.docker(agent.docker_host)
        site, port = self.scratch / "site", free_port()
        site.mkdir()
        (site / "page").write_text("before\n")
        run_web_server(docker, "-p", f"{port}:80", "-v", f"{site}:/www")
        wait_for_page(port, b"before\n", "/page")
        self.assertGreater(self.remote.kill_ssh_sessions(), 0)
        (site / "page").write_text("after\n")
        self.assertEqual(docker("version").status, 0)
        wait_for_page(port, b"after\n", "/page")

    def test_lost_login_ends_streams(self) -> None:
        """A command that streams when the connection dies ends with an error instead of hanging."""
        docker = self.docker(self.own_agent().docker_host)
        name = docker.name("stream")
        script = "echo up; while ! [ -e /go ]; do sleep 0.1; done"
        follower = docker.start("run", "--rm", "--name", name, "busybox", "sh", "-c", script)
        follower.expect(b"up\n")
        self.remote.kill_ssh_sessions()
        self.assertNotEqual(follower.finish().status, 0)

    def test_lost_login_on_unix_socket(self) -> None:
        """A unix socket cannot be reset; still no command that was cut off ends as if it had succeeded."""
        agent = self.own_agent()
        docker = self.docker(agent.unix_host)
        name = docker.name("target")
        script = "echo up; while ! [ -e /go ]; do sleep 0.1; done"
        follower = docker.start("run", "--rm", "--name", name, "busybox", "sh", "-c", script)
        follower.expect(b"up\n")
        others = [
            docker.start(*arguments, terminal=terminal)
            for arguments, terminal in (
                (("logs", "-f", name), False),
                (("attach", "--no-stdin", name), False),
                (("exec", name, "sh", "-c", script), False),
                (("exec", "-i", name, "sh", "-c", script), False),
                (("exec", "-it", name, "sh", "-c", script), True),
                (("events",), False),
            )
        ]
        for other in (others[0], *others[2:5]):
            other.expect(b"up")
        self.remote.kill_ssh_sessions()
        for running in (follower, *others):
            self.assertNotEqual(running.finish().status, 0, running)

    def test_idle_client(self) -> None:
        """A client that waits with its connection open does not notice that the link was lost meanwhile."""
        agent = self.own_agent("--connections", "1")
        client = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
        self.addCleanup(client.close)
        sockets = set()

        def logged(words: str, times: int) -> bool:
            return agent.log_file.read_text().count(words) == times

        for times in (1, 2, 3):
            client.request("GET", "/version")
            answer = client.getresponse()
            self.assertEqual((answer.status, "Version" in json.load(answer)), (200, True))
            sockets.add(client.sock)
            self.wait_for(partial(logged, "Logged in to", times), "a login stands")
            self.remote.kill_ssh_sessions()
            self.wait_for(partial(logged, "The SSH connection was lost", times), "the agent has noticed it")
        self.assertEqual(len(sockets), 1)

    def test_unanswered_request(self) -> None:
        """A request that the daemon has not answered fails with the reason, and is not sent again."""
        docker = self.docker(self.own_agent().docker_host)
        name = docker.name("deaf")
        script = "trap 'echo told' TERM; echo up; while true; do sleep 0.1; done"
        self.assertEqual(docker("run", "-d", "--name", name, "busybox", "sh", "-c", script).status, 0)
        stopping = docker.start("stop", "-t", "20", name)
        self.wait_for(lambda: b"told" in docker("logs", name).stdout, "the daemon has the request")
        self.remote.kill_ssh_sessions()
        outcome = stopping.finish()
        self.assertNotEqual(outcome.status, 0)
        self.assertIn(self.remote.host.encode(), outcome.stderr)
        self.assertEqual(docker("logs", name).stdout.count(b"told"), 1)

    def test_silent_link(self) -> None:
        """A link that carries nothing any more, though nobody closed it, is noticed, and replaced."""
        docker = self.docker(self.own_agent().docker_host)
        name = docker.name("stream")
        self.assertEqual(docker("run", "-d", "--name", name, "busybox", "sleep", "1000").status, 0)
        streams = [
            docker.start("exec", name, "sh", "-c", "echo up; sleep 1000"),
            docker.start("exec", name, "sh", "-c", "echo up; yes"),
        ]
        for stream in streams:
            stream.expect(b"up\n")
        self.freeze()
        for stream in streams:
            self.assertNotEqual(stream.finish().status, 0)
        self.assertEqual(docker("version").status, 0)

    def test_sshd_away(self) -> None:
        """While the remote refuses connections, a request is answered with the cause; then all is well."""
        docker = self.docker(self.own_agent("--wait-for-ssh", "1").docker_host)
        self.addCleanup(self.remote.start_sshd)
        self.remote.stop_sshd()
        failed = docker("ps")
        self.assertNotEqual(failed.status, 0)
        self.assertIn(self.remote.host.encode(), failed.stderr)
        self.remote.start_sshd()
        self.wait_for(lambda: docker("ps").status == 0, "the agent serves again", 60)

    def test_killed_agent(self) -> None:
        """An agent killed without notice and started again has its ports and files back."""
        agent = self.own_agent()
        docker = self.docker(agent.docker_host)
        site, port = self.scratch / "site", free_port()
        site.mkdir()
        (site / "page").write_text("before\n")
        run_web_server(docker, "-p", f"{port}:80", "-v", f"{site}:/www")
        wait_for_page(port, b"before\n", "/page")
        agent.kill()
        self.assertFalse(listens(port))
        (site / "page").write_text("after\n")
        agent.log_file.unlink()
        agent.start()
        wait_for_page(port, b"after\n", "/page")

    def test_restarted_daemon(self) -> None:
        """The remote's dockerd restarts: a container with a restart policy has its port again."""
        docker = self.docker(self.own_agent().docker_host)
        port = free_port()
        name = run_web_server(docker, "-p", f"{port}:80", "--restart", "always")
        self.assertEqual(docker("exec", name, "sh", "-c", "echo page > /www/page").status, 0)
        wait_for_page(port, b"page\n", "/page")
        self.remote.restart_dockerd()
        wait_for_page(port, b"page\n", "/page", seconds=60)

    def test_daemon_away(self) -> None:
        """While dockerd is down, requests are answered with the cause; then all is well again."""
        docker = self.docker(self.own_agent().docker_host)
        self.addCleanup(self.remote.start_dockerd)
        self.remote.stop_dockerd()
        failed = docker("ps")
        self.assertNotEqual(failed.status, 0)
        self.assertIn(b"/var/run/docker.sock", failed.stderr)
        self.remote.start_dockerd()
        self.wait_for(lambda: docker("ps").status == 0, "the agent serves again")


class ProcessTests(_FaultTestCase):
    """How the process begins and ends."""

    def test_ready_line(self) -> None:
        """The line C{Ready:} has each endpoint as a C{DOCKER_HOST=} value, destination and engine version."""
        agent = self.own_agent()
        line = agent.ready_line() or ""
        for part in (
            f"DOCKER_HOST={agent.docker_host}",
            f"DOCKER_HOST={agent.unix_host}",
            self.remote.host,
            self.remote.ask("/version")["Version"],
        ):
            self.assertIn(part, line)

    def test_end(self) -> None:
        """SIGTERM ends it, as a signal does; its socket is gone and its ports are closed."""
        agent = self.own_agent()
        docker = self.docker(agent.docker_host)
        port = free_port()
        run_web_server(docker, "-p", f"{port}:80")
        self.assertTrue(listens(port))
        self.assertEqual(stat.S_IMODE(agent.socket.stat().st_mode), 0o600)
        self.assertEqual(agent.stop(), -signal.SIGTERM)
        self.assertFalse(agent.socket.exists())
        self.assertFalse(listens(port))
        self.assertFalse(listens(agent.port))

    def test_end_while_busy(self) -> None:
        """So it does in the middle of streams, of an upload, and of changes of files on both sides."""
        agent = self.own_agent()
        docker = self.docker(agent.docker_host)
        tree = self.scratch / "tree"
        tree.mkdir()
        (tree / "large").write_bytes(secrets.token_bytes(32 << 20))
        name, script = docker.name("busy"), "echo up; while true; do date >/tree/$((n = n + 1)); done"
        mount = ("-v", f"{tree}:/tree")
        self.assertEqual(docker("run", "-d", "--name", name, *mount, "busybox", "sleep", "1000").status, 0)
        streams = [
            docker.start("exec", name, "sh", "-c", script),
            docker.start("run", "--name", docker.name("run"), "busybox", "sh", "-c", "echo up; sleep 1000"),
        ]
        for stream in streams:
            stream.expect(b"up\n")
        upload = docker.start("load")
        upload.write(bytes(1 << 20))
        (tree / "large").write_bytes(secrets.token_bytes(32 << 20))
        self.wait_for((tree / "1").exists, "what the container writes comes back")
        self.assertEqual(agent.stop(), -signal.SIGTERM)
        self.assertNotIn("Traceback", agent.log_file.read_text())
        # Go's HTTP client hears of a lost connection when it next has something to send.
        upload.close_input()
        for running in (*streams, upload):
            self.assertNotEqual(running.finish().status, 0, running.arguments)
        self.assertFalse(agent.socket.exists())

    def test_end_on_silent_link(self) -> None:
        """So it does when nothing is answered any more, with files on their way."""
        agent = self.own_agent()
        docker = self.docker(agent.docker_host)
        tree = self.scratch / "tree"
        tree.mkdir()
        run_web_server(docker, "-p", f"{free_port()}:80", "-v", f"{tree}:/www")
        self.freeze()
        for number in range(20):
            (tree / str(number)).write_bytes(bytes(1 << 20))
        asking = docker.start("ps")
        self.assertEqual(agent.stop(), -signal.SIGTERM)
        self.assertNotIn("Traceback", agent.log_file.read_text())
        self.assertNotEqual(asking.finish().status, 0)

    def test_unknown_host_key(self) -> None:
        """A host whose key is not known ends it, with a message that says what to do."""
        agent = self.own_agent(start=False)
        agent.known_hosts = self.scratch / "empty"
        agent.known_hosts.write_text("")
        agent.launch()
        self.assertNotEqual(agent.wait(), 0)
        self.assertIn("--accept-new-host-key", agent.log())

    def test_refused_key(self) -> None:
        """A key that the remote does not accept ends it, with a message that says what to do."""
        agent = self.own_agent("--ssh", f"nobody@{self.remote.host}", start=False)
        agent.launch()
        self.assertNotEqual(agent.wait(), 0)
        self.assertIn("ssh-copy-id", agent.log())

    def test_live_socket(self) -> None:
        """A second agent at the same endpoints does not start, and the first is unharmed."""
        first = self.own_agent()
        second = self.own_agent(start=False)
        second.port, second.socket = free_port(), first.socket
        second.launch()
        self.assertNotEqual(second.wait(), 0)
        docker = self.docker(first.unix_host)
        self.assertEqual(docker("version").status, 0)

    def test_user_without_root(self) -> None:
        """An SSH user who is not root but may use the daemon has ports and files too."""
        agent = self.own_agent("--ssh", f"developer@{self.remote.host}")
        docker = self.docker(agent.docker_host)
        check_port(docker)
        check_files(docker, self.scratch / "tree")
