"""
Commands that are in the middle of their stream when the link is cut: each must report an error, and none may
leave what looks whole.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Callable, Mapping
from functools import partial

from tests.integration.base import CLIS, Docker, IntegrationTestCase, Running, has_buildkit

_LARGE = 48 << 20
"""Bytes that neither pipes nor windows can hold: a stream of them is in its middle after the first ones."""

_ENDLESS = "echo begun; while ! [ -e /go ]; do sleep 0.1; done"


def _archive(name: str, content: bytes) -> bytes:
    """@return: a tar with one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


class CutStreamTests(IntegrationTestCase):
    """Each with a CLI at the agent's TCP endpoint, and with one at its unix socket, which cannot be reset."""

    def on_each_endpoint(self, check: Callable[[Docker], None], cli: str | None = None) -> None:
        """Calls C{check} with each of the CLIs; after it the agent serves whole answers again."""
        agent = self.own_agent()
        for host in (agent.docker_host, agent.unix_host):
            docker = self.docker(host, cli)
            check(docker)
            self.assertEqual(docker("version").status, 0)

    def assert_cut(self, running: Running) -> None:
        """Cuts the link under a command, which must fail, and say something."""
        self.assertGreater(self.remote.kill_ssh_sessions(), 0)
        outcome = running.finish()
        self.assertNotEqual(outcome.status, 0, running.arguments)
        self.assertTrue(outcome.stderr, running.arguments)
        self.assertLess(len(outcome.stdout), _LARGE)

    def run_container(self, docker: Docker, script: str) -> str:
        """@return: the name of a container that runs C{script}."""
        name = docker.name("target")
        self.assertEqual(docker("run", "-d", "--name", name, "busybox", "sh", "-c", script).status, 0)
        return name

    def test_save(self) -> None:
        """C{save} of an image."""

        def check(docker: Docker) -> None:
            image = docker.name("large")
            layer = _archive("content", secrets.token_bytes(_LARGE))
            self.assertEqual(docker("import", "-", image, data=layer).status, 0)
            saving = docker.start("save", image)
            saving.expect(b"/")
            self.assert_cut(saving)

        self.on_each_endpoint(check)

    def test_copy_and_export(self) -> None:
        """C{cp} out of a container, and C{export} of it."""

        def check(docker: Docker) -> None:
            name = self.run_container(
                docker, f"head -c {_LARGE} /dev/urandom >/content; echo made; sleep 1000"
            )
            self.wait_for(lambda: b"made" in docker("logs", name).stdout, "the file is there")
            for command in (("cp", f"{name}:/content", "-"), ("export", name)):
                running = docker.start(*command)
                running.expect(b"\0")
                self.assert_cut(running)

        self.on_each_endpoint(check)

    def test_logs(self) -> None:
        """C{logs -f}: of a container that says nothing at the moment, and of one that never stops."""

        def check(docker: Docker) -> None:
            name = self.run_container(docker, f"{_ENDLESS}; yes")
            for _ in range(2):
                following = docker.start("logs", "-f", "--since", "0", name)
                following.expect(b"begun\n")
                self.assert_cut(following)
                self.assertEqual(docker("exec", name, "touch", "/go").status, 0)

        self.on_each_endpoint(check)

    def test_half_uploaded(self) -> None:
        """C{load}, C{import} and C{cp} into a container, whose input has not ended; nothing is made of it."""

        def check(docker: Docker) -> None:
            image, half = docker.name("half"), _archive("content", secrets.token_bytes(_LARGE))[: _LARGE // 2]
            name = self.run_container(docker, "sleep 1000")
            for command in (("load",), ("import", "-", image), ("cp", "-", f"{name}:/")):
                running = docker.start(*command)
                running.write(half)
                self.assert_cut(running)
            self.assertEqual(docker("images", "-q", image).stdout, b"")

        self.on_each_endpoint(check)

    def test_build(self) -> None:
        """C{build}, by the classic builder and by BuildKit, in the middle of a step; no image is made."""

        builders: list[tuple[dict[str, str], str, str | None]] = [({"DOCKER_BUILDKIT": "0"}, "stdout", None)]
        for cli in [path for version, path in CLIS.items() if has_buildkit(version, path)][:1]:
            builders.append(({"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}, "stderr", cli))
        for variables, stream, client in builders:
            self.on_each_endpoint(partial(self.cut_build, variables, stream), client)

    def cut_build(self, variables: Mapping[str, str], stream: str, docker: Docker) -> None:
        """Builds with those variables set, and what a step prints in C{stream}."""
        docker.environment.update(variables)
        image = docker.name("built")
        building = docker.start("build", "--no-cache", "-t", image, "-")
        building.write(f"FROM busybox\nRUN {_ENDLESS}\n".encode())
        building.close_input()
        building.expect(b"begun\n", stream=stream)
        self.assert_cut(building)
        self.assertEqual(docker("images", "-q", image).stdout, b"")
