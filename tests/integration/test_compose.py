"""
docker-compose: two services with a port, binds and a network of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.agent import free_port
from tests.integration.base import COMPOSE, Docker, IntegrationTestCase, Outcome
from tests.integration.checks import listens, wait_for_page
from tests.integration.prerequisites import search_path

_FILE = """\
version: "3.3"
services:
  web:
    image: busybox
    command: httpd -f -p 80 -h /www
    ports: ["{port}:80"]
    volumes: ["./site:/www:ro"]
  worker:
    image: busybox
    command: sh -c 'until wget -q -O /out/page http://web/; do sleep 0.2; done; cat /out/page'
    volumes: ["./out:/out", "kept:/kept"]
    depends_on: [web]
volumes:
  kept:
"""


_FROM_FILES = """\
version: "3.3"
services:
  reader:
    image: busybox
    command: cat /run/secrets/word /etc/conf /plain
    secrets: [word]
    configs:
      - source: plain
      - source: conf
        target: /etc/conf
secrets:
  word:
    file: ./secret
configs:
  plain:
    file: ./plain
  conf:
    file: ./sub/conf
"""

_SECRETS_ALONE = (
    _FROM_FILES.partition("    configs:")[0].replace(" /etc/conf /plain", "")
    + "secrets:\n  word:\n    file: ./secret\n"
)


class ComposeTests(IntegrationTestCase):
    """The commands of Compose, of the generation that belongs to the engine."""

    def compose(self, docker: Docker, *arguments: str) -> Outcome:
        """Runs Compose in the project's directory, with the label as the project's name."""
        docker.environment.update(COMPOSE_PROJECT_NAME=docker.label, PATH=search_path())
        return docker.program(*COMPOSE, "--ansi", "never", *arguments)

    def test_secrets_and_configs(self) -> None:
        """
        Secrets from files are the laptop's, and with Compose 2 configs (version 1 has them in a swarm alone);
        an edit, in place or not, is seen by the next start.
        """
        only_secrets = COMPOSE == ("docker-compose",)
        project = self.scratch / "project"
        (project / "sub").mkdir(parents=True)
        (project / "docker-compose.yml").write_text(_SECRETS_ALONE if only_secrets else _FROM_FILES)
        names = ("secret",) if only_secrets else ("secret", "sub/conf", "plain")
        docker = self.docker(self.shared_agent().docker_host)
        docker.cwd = project
        self.addCleanup(self.compose, docker, "down", "-v", "-t", "0")
        for number in range(3):
            for name in names:
                (project / "new").write_text(f"{name} {number}\n")
                if number == 1:
                    (project / name).write_text((project / "new").read_text())
                else:
                    (project / "new").rename(project / name)
            outcome = self.compose(docker, "run", "--rm", "-T", "reader")
            wanted = "".join(f"{name} {number}\n" for name in names)
            self.assertEqual((outcome.status, outcome.stdout.decode()), (0, wanted), outcome)

    def test_two_services(self) -> None:
        """The commands do the same as at a daemon that has the files; port and files are the laptop's."""
        port = free_port()
        project = self.scratch / "project"
        (project / "site").mkdir(parents=True)
        (project / "out").mkdir()
        (project / "site/index.html").write_text("composed\n")
        (project / "docker-compose.yml").write_text(_FILE.format(port=port))
        archive = self.docker("").program("tar", "-C", "/", "-cf", "-", str(project).lstrip("/"))
        agent = self.shared_agent()

        def scenario(docker: Docker) -> Sequence[Outcome]:
            docker.cwd = project
            (project / "out/page").unlink(missing_ok=True)
            self.addCleanup(self.compose, docker, "down", "-v", "-t", "0")
            outcomes = [self.compose(docker, "up", "-d").without_output()]
            if docker.host == agent.docker_host:
                self.assertTrue(listens(port))
                wait_for_page(port, b"composed\n")
                (project / "site/index.html").write_text("edited\n")
                wait_for_page(port, b"edited\n")
                (project / "site/index.html").write_text("composed\n")
                shown = self.compose(docker, "port", "web", "80")
                self.assertIn(f":{port}\n".encode(), shown.stdout)
            worker = self.compose(docker, "ps", "-q", "worker").stdout.decode().strip()
            outcomes += [
                docker("wait", worker),
                self.compose(docker, "ps", "--services"),
                self.compose(docker, "logs", "--no-color", "worker"),
                self.compose(docker, "exec", "-T", "web", "cat", "/www/index.html"),
                self.compose(docker, "run", "--rm", "-T", "worker", "sh", "-c", "cat /out/page; exit 4"),
                self.compose(docker, "restart", "-t", "0", "web").without_output(),
            ]
            if docker.host == agent.docker_host:
                wait_for_page(port, b"composed\n")
                self.wait_for(lambda: (project / "out/page").exists(), "the worker's page is on the laptop")
            outcomes.append(self.compose(docker, "up", "-d", "--force-recreate", "-t", "0").without_output())
            if docker.host == agent.docker_host:
                wait_for_page(port, b"composed\n")
            outcomes.append(self.compose(docker, "down", "-v", "-t", "0").without_output())
            return outcomes

        self.remote.run(["tar", "-C", "/", "-x"], archive.stdout, check=True)
        self.addCleanup(self.remote.run, ["rm", "-rf", str(self.scratch)])
        outcomes = self.compare(scenario, agent.docker_host)
        self.assertEqual((outcomes[5].status, outcomes[5].stdout), (4, b"composed\n"))
        self.wait_for(lambda: not listens(port), "the port is closed")
