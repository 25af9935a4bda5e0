"""
Volumes of the C{local} driver that are binds of the laptop's directories: as good as the bind itself.
"""

from __future__ import annotations

from tests.integration.agent import Agent
from tests.integration.base import COMPOSE
from tests.integration.prerequisites import search_path
from tests.integration.test_files import FilesTestCase

_WAIT = 30.0

_MANY = 200

_FILE = """\
version: "3.3"
services:
  worker:
    image: busybox
    command: sh -c 'cat /src/word; echo made > /src/out'
    volumes: ["src:/src"]
volumes:
  src:
    driver_opts:
      type: none
      o: bind
      device: {device}
"""

_LAST_WORDS = "until [ -e /tmp/go ]; do sleep 0.1; done; echo last > words"


class VolumeTests(FilesTestCase):
    """A volume whose device is the laptop's directory."""

    def volume(self, device: str = "", flags: str = "bind") -> str:
        """@return: the name of a volume that is C{device}, or else the tree."""
        name = self.cli.name("volume")
        made = self.cli(
            *("volume", "create", "-o", "type=none", "-o", f"o={flags}"),
            *("-o", f"device={device or self.tree}", name),
        )
        self.assertEqual(made.status, 0, made)
        return name

    def run_with(self, volume: str, script: str, *options: str) -> bytes:
        """@return: what C{script} prints in a new container that has the volume at C{/x}."""
        outcome = self.cli(
            *("run", "--rm", "-v", f"{volume}:/x", "-w", "/x", *options, "busybox", "sh", "-c", script)
        )
        self.assertEqual((outcome.status, outcome.stderr), (0, b""), outcome)
        return outcome.stdout

    def write(self, text: str) -> None:
        """Changes many files."""
        for number in range(_MANY):
            (self.tree / f"f{number}").write_text(text)

    def written(self) -> set[str]:
        """What is in the files that a container has made."""
        made = [self.tree / f"made{number}" for number in range(_MANY)]
        return {path.read_text() if path.exists() else "missing" for path in made}

    def test_changes_right_before_the_start(self) -> None:
        """A container sees what was changed just before its start, though nobody but the start sends it."""
        self.cli = self.docker(self.shared_agent("--sync", "once").docker_host)
        self.write("first\n")
        volume, name = self.volume(), self.cli.name("created")
        for text in ("second\n", "third\n", "fourth\n"):
            self.write(text)
            self.assertEqual(self.run_with(volume, "cat f* | sort -u"), text.encode())
        created = self.cli(
            *("create", "--name", name, "--mount", f"source={volume},target=/x"),
            *("busybox", "sh", "-c", "cat /x/f* | sort -u"),
        )
        self.assertEqual(created.status, 0, created)
        for text in ("fifth\n", "sixth\n"):
            self.write(text)
            self.assertEqual(self.cli("start", "-a", name).stdout, text.encode())

    def test_outputs_are_there_at_the_end(self) -> None:
        """What a container wrote is here when C{run}, C{exec} or C{rm} returns."""
        volume = self.volume()
        script = f"i=0; while [ $i -lt {_MANY} ]; do echo $WORD > made$i; i=$((i+1)); done"
        for word in ("one", "two"):
            self.run_with(volume, script, "-e", f"WORD={word}")
            self.assertEqual(self.written(), {f"{word}\n"})
        name = self.cli.name("runs")
        started = self.cli(
            *("run", "-d", "--init", "--name", name, "-v", f"{volume}:/x", "-w", "/x"),
            *("busybox", "sleep", "1000"),
        )
        self.assertEqual(started.status, 0, started)
        self.cli("exec", "-e", "WORD=three", name, "sh", "-c", script)
        self.assertEqual(self.written(), {"three\n"})
        self.remote.docker("exec", "-e", "WORD=four", name, "sh", "-c", script)
        self.cli("rm", "-f", name)
        self.assertEqual(self.written(), {"four\n"})

    def test_made_by_a_mount(self) -> None:
        """So it is with a volume that the create itself makes, for its container and the next."""
        volume = self.cli.name("volume")
        options = f"volume-driver=local,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={self.tree}"
        mount = f"type=volume,source={volume},target=/y,{options}"
        (self.tree / "file").write_text("one\n")
        first = ("run", "--rm", "--mount", mount, "busybox", "sh", "-c", "cat /y/file; echo 1 > /y/made")
        self.assertEqual(self.cli(*first).stdout, b"one\n")
        self.assertEqual((self.tree / "made").read_text(), "1\n")
        (self.tree / "file").write_text("two\n")
        self.assertEqual(self.run_with(volume, "cat file; echo 2 > made"), b"two\n")
        self.assertEqual((self.tree / "made").read_text(), "2\n")

    def test_compose(self) -> None:
        """So it is with one of a Compose file."""
        (self.tree / "word").write_text("composed\n")
        project = self.scratch / "project"
        project.mkdir()
        (project / "docker-compose.yml").write_text(_FILE.format(device=self.tree))
        self.cli.cwd = project
        self.cli.environment.update(COMPOSE_PROJECT_NAME=self.cli.label, PATH=search_path())
        compose = (*COMPOSE, "--ansi", "never")
        self.addCleanup(self.cli.program, *compose, "down", "-v", "-t", "0")
        for word in ("first\n", "second\n"):
            (self.tree / "out").unlink(missing_ok=True)
            (self.tree / "word").write_text(word)
            outcome = self.cli.program(*compose, "run", "--rm", "-T", "worker")
            self.assertEqual((outcome.status, outcome.stdout), (0, word.encode()), outcome)
            self.assertEqual((self.tree / "out").read_text(), "made\n")

    def test_read_only(self) -> None:
        """What cannot be written to brings nothing back."""
        (self.tree / "file").write_text("ours\n")
        volume = self.volume(flags="bind,ro")
        self.assertEqual(self.run_with(volume, "cat file; touch made 2>&1 | grep -c only"), b"ours\n1\n")
        mirror = self.remote.docker("volume", "inspect", "-f", "{{.Options.device}}", volume).stdout.decode()
        self.remote.run(["sh", "-c", f"echo theirs > '{mirror.strip()}/made'"])
        self.run_with(volume, "cat made")
        self.assertFalse((self.tree / "made").exists())

    def test_the_remotes_own(self) -> None:
        """A volume that is a directory of the remote stays as it is, and nothing comes back from it."""
        directory = f"/srv/{self.cli.name('own')}"
        self.remote.run(["mkdir", "-p", directory])
        self.addCleanup(self.remote.run, ["rm", "-rf", directory])
        volume = self.volume(directory)
        self.run_with(volume, "echo theirs > made")
        self.assertEqual(self.run_with(volume, "ls; cat made"), b"made\ntheirs\n")
        self.assertFalse((self.tree / "made").exists())
        self.assertEqual(self.remote.docker("volume", "rm", volume).returncode, 0)

    def test_removed(self) -> None:
        """When the volume is gone its directory is not followed any more."""
        (self.tree / "file").write_text("one\n")
        agent = self.own()
        volume = self.volume()
        (owed,) = agent.state.rglob("owed.json")
        self.wait_for(lambda: "volume " in owed.read_text(), "it is followed", _WAIT)
        self.assertEqual(self.cli("volume", "rm", volume).status, 0)
        self.wait_for(lambda: '"owed": {}' in owed.read_text(), "nothing is owed any more", _WAIT)

    def test_next_agent(self) -> None:
        """After a restart of the agent both ways go on: what was written meanwhile, and what follows."""
        agent = self.own()
        (self.tree / "file").write_text("one\n")
        volume, name = self.volume(), self.cli.name("writer")
        started = self.cli(
            *("run", "-d", "--name", name, "-v", f"{volume}:/x", "-w", "/x"),
            *("busybox", "sh", "-c", _LAST_WORDS),
        )
        self.assertEqual(started.status, 0, started)
        agent.kill()
        (self.tree / "file").write_text("two\n")
        self.remote.docker("exec", name, "touch", "/tmp/go")
        self.remote.docker("wait", name)
        self.remote.docker("rm", name)
        agent.log_file.unlink()
        agent.start()
        self.wait_for((self.tree / "words").exists, "its last words are here", _WAIT)
        ask = ("run", "--rm", "-v", f"{volume}:/x", "busybox", "cat", "/x/file")
        self.wait_for(lambda: self.remote.docker(*ask).stdout == b"two\n", "the change is there", _WAIT)
        self.remote.docker(*ask[:-2], "sh", "-c", "echo more > /x/more")
        self.wait_for((self.tree / "more").exists, "what others write comes back", _WAIT)
        self.write("right before\n")
        self.assertEqual(self.run_with(volume, "cat f[0-9]* | sort -u; echo end > end"), b"right before\n")
        self.assertEqual((self.tree / "end").read_text(), "end\n")

    def own(self) -> Agent:
        """An agent of the test's own, for the CLI."""
        agent = self.own_agent()
        self.cli = self.docker(agent.docker_host)
        return agent
