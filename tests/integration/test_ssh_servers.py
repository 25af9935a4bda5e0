"""
The main job where the remote's sshd is configured otherwise: what it permits is enough, or the command says
what is in the way.
"""

from __future__ import annotations

import secrets
from functools import partial

from tests.integration.agent import Agent, free_port
from tests.integration.base import Docker, IntegrationTestCase
from tests.integration.checks import check_files, check_files_come_back, check_port

_PORT = 2222
_PID_FILE = "/run/other-sshd.pid"


class ServerTests(IntegrationTestCase):
    """Another sshd on the remote, beside its usual one."""

    def agent_of(self, *settings: str, options: tuple[str, ...] = ()) -> Agent:
        """@return: an agent that is logged in to an sshd with those settings, as in C{sshd -o}."""
        command = ["/usr/sbin/sshd", "-f", "/etc/ssh/sshd_config", "-E", "/var/log/other-sshd.log"]
        for setting in (f"Port={_PORT}", f"PidFile={_PID_FILE}", *settings):
            command += ["-o", setting]
        done = self.remote.run(command)
        self.assertEqual(done.returncode, 0, done)
        self.addCleanup(self.remote.run, ["/bin/sh", "-c", f"kill $(cat {_PID_FILE})"])
        known_hosts = self.scratch / "known_hosts"
        address = f"[{self.remote.host}]:{_PORT}"
        known_hosts.write_text(self.remote.known_hosts.read_text().replace(self.remote.host, address))
        destination = f"{self.remote.user}@{self.remote.host}:{_PORT}"
        return self.own_agent("--ssh", destination, "--known-hosts", str(known_hosts), *options)

    def check_all(self, docker: Docker) -> None:
        """Ports, files both ways, and streams both ways."""
        check_port(docker)
        check_files(docker, self.scratch / "one")
        check_files_come_back(docker, self.scratch / "two")
        self.check_streams(docker)

    def check_streams(self, docker: Docker) -> None:
        """Some megabytes there and back."""
        data = secrets.token_bytes(4 << 20)
        outcome = docker("run", "--rm", "-i", "busybox", "cat", data=data)
        self.assertEqual((outcome.status, outcome.stdout == data), (0, True), outcome.stderr)

    def test_hardened(self) -> None:
        """AES-GCM alone, and encrypt-then-MAC alone; new keys after each megabyte."""
        agent = self.agent_of(
            "Ciphers=aes256-gcm@openssh.com",
            "MACs=hmac-sha2-512-etm@openssh.com",
            "KexAlgorithms=curve25519-sha256",
            "HostKeyAlgorithms=ssh-ed25519",
            "RequiredRSASize=3072",
            "RekeyLimit=1M",
        )
        self.check_all(self.docker(agent.docker_host))

    def test_encrypt_then_mac(self) -> None:
        """AES-CTR with encrypt-then-MAC alone."""
        agent = self.agent_of("Ciphers=aes256-ctr", "MACs=hmac-sha2-256-etm@openssh.com", "RekeyLimit=1M")
        self.check_all(self.docker(agent.docker_host))

    def test_one_session_one_login(self) -> None:
        """C{MaxSessions 1} and C{MaxStartups 1}: two connections are enough."""
        agent = self.agent_of("MaxSessions=1", "MaxStartups=1")
        self.check_all(self.docker(agent.docker_host))

    def test_no_socket_forwarding(self) -> None:
        """C{AllowStreamLocalForwarding no}: the daemon is reached through a command."""
        agent = self.agent_of("AllowStreamLocalForwarding=no")
        self.assertIn("`docker system dial-stdio` is used instead", agent.log())
        self.check_all(self.docker(agent.docker_host))

    def test_closed_socket(self) -> None:
        """A daemon's socket that the SSH user may not open is told from one that is not there."""
        closed = "/srv/closed.sock"
        script = (
            f"import os, socket; socket.socket(socket.AF_UNIX).bind('{closed}'); os.chmod('{closed}', 0o600)"
        )
        self.assertEqual(self.remote.run(["/usr/bin/python3", "-c", script]).returncode, 0)
        self.addCleanup(self.remote.run, ["rm", closed])
        for path, words in (
            (closed, "may not open it: permission denied"),
            ("/srv/none", "there is no such"),
        ):
            options = ("--ssh", f"developer@{self.remote.host}", "--remote-docker", f"unix://{path}")
            agent = self.own_agent(*options, start=False)
            agent.launch()
            self.wait_for(partial(self.has_logged, agent, words), words)

    def has_logged(self, agent: Agent, words: str) -> bool:
        """@return: whether the agent's log has the words."""
        return words in agent.log()

    def test_no_port_forwarding(self) -> None:
        """C{AllowTcpForwarding no}: a container with ports does not start, and says why; all else works."""
        agent = self.agent_of("AllowTcpForwarding=no")
        docker = self.docker(agent.docker_host)
        name = docker.name("ports")
        failed = docker("run", "--name", name, "-p", f"{free_port()}:80", "busybox", "true")
        self.assertEqual(failed.status, 125)
        for words in (b"AllowTcpForwarding", b"--no-forward"):
            self.assertIn(words, failed.stderr)
        state = docker("inspect", "--format", "{{.State.Status}}", name)
        self.assertEqual(state.stdout, b"created\n")
        check_files(docker, self.scratch / "tree")
        self.check_streams(docker)

    def test_no_port_forwarding_wanted(self) -> None:
        """With C{--no-forward}, that is no hindrance."""
        agent = self.agent_of("AllowTcpForwarding=no", options=("--no-forward",))
        docker = self.docker(agent.docker_host)
        self.assertEqual(docker("run", "--rm", "-p", f"{free_port()}:80", "busybox", "true").status, 0)
