"""
Mounted files across a restart of the agent: what is written and ends while there is none comes back, soon and
without being asked for.
"""

from __future__ import annotations

from tests.integration.agent import Agent
from tests.integration.test_files import FilesTestCase

_WAIT = 30.0

_LAST_WORDS = "until [ -e /tmp/go ]; do sleep 0.1; done; echo last > words; echo more >> kept"


class RestartTests(FilesTestCase):
    """An agent that is killed while containers run, and started when they have ended."""

    def setUp(self) -> None:
        """The agent is each test's own."""
        super().setUp()
        self.own = self.own_agent()
        self.cli = self.docker(self.own.docker_host)
        (self.tree / "kept").write_text("kept\n")
        (self.tree / "other").write_text("x")

    def writer(self, *options: str) -> str:
        """@return: a container that runs, and writes its last words when L{end} says so."""
        name = self.cli.name("writer")
        started = self.cli(
            *("run", "-d", *options, "--name", name, "-v", f"{self.tree}:/x", "-w", "/x"),
            *("busybox", "sh", "-c", _LAST_WORDS),
        )
        self.assertEqual(started.status, 0, started)
        return name

    def end(self, name: str) -> None:
        """Lets the container end, without the agent, and waits until it does not run."""
        self.remote.docker("exec", name, "touch", "/tmp/go")
        running = ("inspect", "-f", "{{.State.Running}}", name)
        self.wait_for(
            lambda: self.remote.docker(*running).stdout.strip() in (b"false", b""), "it ends", _WAIT
        )

    def again(self) -> Agent:
        """Starts the agent once more."""
        self.own.log_file.unlink()
        self.own.start()
        return self.own

    def words_are_here(self) -> None:
        """What it wrote last is on the laptop, soon."""
        self.wait_for((self.tree / "words").exists, "its last words are here", _WAIT)
        self.wait_for(lambda: (self.tree / "words").read_text() == "last\n", "they are complete", _WAIT)
        self.wait_for(lambda: (self.tree / "kept").read_text() == "kept\nmore\n", "its change is here", _WAIT)
        (owed,) = self.own.state.rglob("owed.json")
        self.wait_for(lambda: '"owed": {}' in owed.read_text(), "nothing is owed any more", _WAIT)

    def test_ended(self) -> None:
        """What a container wrote that ended while there was no agent is here soon after the next start."""
        name = self.writer()
        self.own.kill()
        self.end(name)
        self.again()
        self.words_are_here()
        self.assertEqual(self.cli("start", "-a", name).status, 0)

    def test_removed(self) -> None:
        """So it is with one that is removed by then, by C{--rm}."""
        name = self.writer("--rm")
        self.own.kill()
        self.end(name)
        self.wait_for(lambda: self.remote.docker("inspect", name).returncode != 0, "it is removed", _WAIT)
        self.again()
        self.words_are_here()

    def test_told_at_the_stop(self) -> None:
        """So it is after an agent that was stopped in order; what was changed here meanwhile stays."""
        name = self.writer()
        self.own.stop()
        (self.tree / "other").write_text("changed here")
        self.end(name)
        self.again()
        self.words_are_here()
        self.assertEqual((self.tree / "other").read_text(), "changed here")

    def test_service(self) -> None:
        """The mirror of a swarm's service is followed by the next agent, to the last words of its task."""
        name = self.service(
            "trap 'echo last > words; echo more >> kept; exit' TERM; while :; do sleep 0.1; done"
        )
        self.wait_for(lambda: self.in_task(name, "cat kept") == b"kept\n", "the task sees the file", _WAIT)
        self.own.kill()
        (self.tree / "other").write_text("changed here")
        self.in_task(name, "echo made > made")
        self.again()
        self.wait_for(lambda: self.in_task(name, "cat other") == b"changed here", "it sees the change", _WAIT)
        self.wait_for((self.tree / "made").exists, "what it wrote is here", _WAIT)
        self.assertEqual(self.cli("service", "rm", name).status, 0)
        self.words_are_here()
