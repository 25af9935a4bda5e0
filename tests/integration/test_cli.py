"""
Every command of the docker CLI, through the agent and straight at the daemon: the same outputs and statuses.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import signal
import tarfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tests.integration.base import (
    CLIS,
    TERMINAL_SIZE,
    Docker,
    IntegrationTestCase,
    Outcome,
    Scenario,
    has_buildkit,
)
from tests.integration.checks import tar_contents

SAVED_SIZE = 200 * 2**20

_ECHO = "while read line; do echo got $line; done; echo end"

_TWO_LINES = "for turn in 1 2; do read line; echo got $line; done"

if TYPE_CHECKING:
    _Case = IntegrationTestCase
else:
    _Case = object


class StreamTestsMixin(_Case):
    """
    The commands that talk to a container, with one docker CLI: in these its generations differ most.

    @cvar cli: its path.
    @cvar tcp: whether it reaches the agent by TCP, or by the unix socket.
    """

    cli: ClassVar[str]
    tcp: ClassVar[bool]

    def same(self, scenario: Scenario, tcp: bool = True) -> Sequence[Outcome]:
        """Compares C{scenario} through the agent with the daemon's own, and returns its outcomes."""
        agent = self.shared_agent()
        return self.compare(scenario, agent.docker_host if tcp and self.tcp else agent.unix_host, self.cli)

    def test_run_detached(self) -> None:
        """C{run -d} prints the id; C{wait}, C{logs} and C{inspect} tell of the container afterwards."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("detached")
            return [
                docker("run", "-d", "--name", name, "busybox", "sh", "-c", "echo out; echo err >&2; exit 3"),
                docker("wait", name),
                docker("logs", name),
                docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.Config.Cmd}}", name),
                docker("ps", "-a", "--filter", f"name={name}"),
                docker("rm", name),
                docker("logs", name),
            ]

        outcomes = self.same(scenario)
        self.assertEqual(outcomes[1].stdout, b"3\n")
        self.assertEqual((outcomes[2].stdout, outcomes[2].stderr), (b"out\n", b"err\n"))

    def test_run_attached(self) -> None:
        """C{run --rm} shows both streams and has the container's exit status; the container is gone then."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("attached")
            return [
                docker(
                    "run", "--rm", "--name", name, "busybox", "sh", "-c", "echo out; echo err >&2; exit 42"
                ),
                docker("run", "--rm", "busybox", "true"),
                docker("run", "--rm", "busybox", "/missing"),
                docker("run", "--rm", "no-such-image:never-made", "true").without_output(),
                docker("inspect", name),
            ]

        outcomes = self.same(scenario)
        self.assertEqual(
            (outcomes[0].status, outcomes[0].stdout, outcomes[0].stderr), (42, b"out\n", b"err\n")
        )

    def test_run_with_input(self) -> None:
        """C{run -i} brings what is piped in, all of it, and its end; big inputs too."""
        data = secrets.token_bytes(4 * 2**20)

        def scenario(docker: Docker) -> Sequence[Outcome]:
            return [
                docker("run", "--rm", "-i", "busybox", "sh", "-c", _ECHO, data=b"one\ntwo\n"),
                docker("run", "--rm", "-i", "busybox", "md5sum", data=data),
                docker("run", "--rm", "-i", "busybox", "cat", data=data),
                docker("run", "--rm", "-i", "busybox", "sh", "-c", "head -c 10", data=data),
            ]

        outcomes = self.same(scenario)
        self.assertEqual(outcomes[0].stdout, b"got one\ngot two\nend\n")
        self.assertEqual(outcomes[1].stdout.split()[0].decode(), hashlib.md5(data).hexdigest())
        self.assertEqual(outcomes[2].stdout, data)

    def test_run_on_a_terminal(self) -> None:
        """C{run -it} is a terminal: what is typed is echoed and read, the size is the terminal's."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            shell = docker.start("run", "--rm", "-it", "busybox", "sh", terminal=True)
            shell.expect(b"# ")
            shell.write(b"echo 6 times 7 is $((6*7)); tty\n")
            shell.expect(b"6 times 7 is 42\r\n/dev/pts/0\r\n")
            shell.write(b"while ! stty -a | grep 'rows %d; columns %d'; do :; done\n" % TERMINAL_SIZE)
            shell.expect(b"baud; rows %d; columns %d" % TERMINAL_SIZE)
            shell.write(b"echo now; cat\n")
            shell.expect(b"\r\nnow\r\n")
            shell.write(b"line\n")
            shell.expect(b"line\r\nline\r\n")
            shell.write(b"\x04")
            shell.expect(b"# ")
            shell.write(b"exit 7\n")
            return [shell.finish().without_output()]

        self.assertEqual(self.same(scenario)[0].status, 7)

    def test_detach_and_attach(self) -> None:
        """
        The escape keys leave a container running; C{attach} comes back to it.

        By the unix socket only: over TCP the CLI of 20.10 does not see its own escape keys, whatever it
        talks to (its C{io.Copy} gets them as an error wrapped by Go's TCP connection).
        """

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("attach")
            first = docker.start("run", "-it", "--name", name, "busybox", "sh", terminal=True)
            first.expect(b"# ")
            first.write(b"value=remembered\n")
            first.expect(b"# ")
            first.write(b"\x10\x11")
            left = first.finish()
            running = docker("inspect", "--format", "{{.State.Running}}", name)
            second = docker.start("attach", name, terminal=True)
            second.write(b"echo $value again\n")
            second.expect(b"remembered again")
            second.write(b"exit 5\n")
            second.finish()
            return [
                left.without_output(),
                running,
                docker("wait", name),
                docker("inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", name),
            ]

        outcomes = self.same(scenario, tcp=False)
        self.assertEqual(outcomes[1].stdout, b"true\n")
        self.assertEqual(outcomes[2].stdout, b"5\n")

    def test_attach_with_input(self) -> None:
        """C{attach} without a terminal: input goes in, and the output comes back."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("attach-input")
            created = docker("run", "-d", "-i", "--name", name, "busybox", "sh", "-c", _TWO_LINES)
            attached = docker.start("attach", name)
            attached.write(b"three\n")
            attached.expect(b"got three\n")
            attached.write(b"four\n")
            return [created, attached.finish(), docker("wait", name)]

        self.assertEqual(self.same(scenario)[1].stdout, b"got three\ngot four\n")

    def test_start_attached(self) -> None:
        """C{create} and C{start -a}, with and without input, show the output and the exit status."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            plain, reading = docker.name("start"), docker.name("start-input")
            return [
                docker("create", "--name", plain, "busybox", "sh", "-c", "echo out; echo err >&2; exit 9"),
                docker("start", "-a", plain),
                docker("create", "-i", "--name", reading, "busybox", "sh", "-c", _ECHO),
                docker("start", "-ai", reading, data=b"five\n"),
            ]

        outcomes = self.same(scenario)
        self.assertEqual(
            (outcomes[1].status, outcomes[1].stdout, outcomes[1].stderr), (9, b"out\n", b"err\n")
        )
        self.assertEqual(outcomes[3].stdout, b"got five\nend\n")

    def test_exec(self) -> None:
        """C{exec}: streams, status, input, detached, as another user, in a container that is not there."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("exec")
            return [
                docker("run", "-d", "--name", name, "busybox", "sleep", "1000"),
                docker("exec", name, "sh", "-c", "echo out; echo err >&2; exit 4"),
                docker("exec", "-i", name, "sh", "-c", _ECHO, data=b"six\n"),
                docker("exec", "-i", name, "md5sum", data=b"x" * 3_000_000),
                docker(
                    "exec",
                    "-u",
                    "nobody",
                    "-w",
                    "/tmp",
                    "-e",
                    "A=b",
                    name,
                    "sh",
                    "-c",
                    "id -un; pwd; echo $A",
                ),
                docker("exec", "-d", name, "touch", "/tmp/made"),
                docker("exec", name, "/missing"),
                docker("exec", docker.name("absent"), "true"),
            ]

        outcomes = self.same(scenario)
        self.assertEqual(
            (outcomes[1].status, outcomes[1].stdout, outcomes[1].stderr), (4, b"out\n", b"err\n")
        )
        self.assertEqual(outcomes[2].stdout, b"got six\nend\n")
        self.assertEqual(outcomes[4].stdout, b"nobody\n/tmp\nb\n")

    def test_exec_on_a_terminal(self) -> None:
        """C{exec -it} is a terminal, and ends with the shell's status."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("exec-terminal")
            started = docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
            shell = docker.start("exec", "-it", name, "sh", terminal=True)
            shell.expect(b"# ")
            shell.write(b"echo $((3*5)) is it\n")
            shell.expect(b"15 is it")
            shell.write(b"exit 6\n")
            return [started, shell.finish().without_output()]

        self.assertEqual(self.same(scenario)[1].status, 6)

    def test_logs_follow(self) -> None:
        """C{logs -f} shows lines as they come, and ends with the container."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("logs")
            script = "echo first; while ! [ -e /go ]; do sleep 0.1; done; echo second; echo third >&2"
            started = docker("run", "-d", "--name", name, "busybox", "sh", "-c", script)
            follower = docker.start("logs", "-f", name)
            follower.expect(b"first\n")
            self.assertEqual(docker("exec", name, "touch", "/go").status, 0)
            return [started, follower.finish(), docker("wait", name)]

        outcomes = self.same(scenario)
        self.assertEqual((outcomes[1].stdout, outcomes[1].stderr), (b"first\nsecond\n", b"third\n"))

    def build(self, environment: dict[str, str], compare_output: bool = True) -> None:
        """Builds a good and a bad image; compares what is in it, and the output if it is repeatable."""
        nonce = secrets.token_hex(8)
        context = self.scratch / "context"
        context.mkdir()
        (context / "data").write_bytes(secrets.token_bytes(2**20))
        (context / "Dockerfile").write_text(
            f"FROM busybox\nARG WHO\nRUN echo {nonce} $WHO > /who\nCOPY data /data\nCMD cat /who\n"
        )
        (context / "Dockerfile.bad").write_text(f"FROM busybox\nRUN echo {nonce} && exit 13\n")

        def scenario(docker: Docker) -> Sequence[Outcome]:
            docker.environment.update(environment)
            image = docker.name("built")
            good = docker("build", "--no-cache", "--build-arg", "WHO=me", "-t", image, str(context))
            bad = docker("build", "--no-cache", "-f", str(context / "Dockerfile.bad"), str(context))
            self.assertEqual(good.status, 0, good)
            self.assertIn(nonce.encode(), bad.stdout + bad.stderr)
            return [
                good if compare_output else good.without_output(),
                bad if compare_output else bad.without_output(),
                docker("run", "--rm", image),
                docker("run", "--rm", image, "md5sum", "/data"),
                docker("history", "--format", "{{.CreatedBy}} {{.Size}}", image),
            ]

        outcomes = self.same(scenario)
        self.assertEqual(outcomes[2].stdout, f"{nonce} me\n".encode())
        self.assertEqual(
            outcomes[3].stdout.split()[0].decode(), hashlib.md5((context / "data").read_bytes()).hexdigest()
        )


class CLITestsMixin(StreamTestsMixin):
    """All commands, with one docker CLI."""

    def test_events(self) -> None:
        """C{events} shows a container's life while it happens."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("events")
            now = docker("info", "--format", "{{.SystemTime}}").stdout.decode().strip()
            listener = docker.start(
                *("events", "--since", now, "--filter", f"container={name}"),
                *("--format", "{{.Action}} {{.Actor.Attributes.name}}"),
            )
            docker("run", "-d", "--name", name, "busybox", "sh", "-c", "exit 2")
            listener.expect(b"die")
            docker("rm", name)
            listener.expect(b"destroy")
            listener.expect(b"\n")
            listener.signal(signal.SIGINT)
            return [Outcome(0, listener.finish().stdout, b"")]

        shown = self.same(scenario)[0].stdout
        self.assertEqual(
            [line.split()[0] for line in shown.splitlines()], [b"create", b"start", b"die", b"destroy"]
        )

    def test_stats(self) -> None:
        """C{stats}, once and as a stream, has the container's line."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("stats")
            form = "{{.Name}} {{.PIDs}}"
            started = docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
            stream = docker.start("stats", "--format", form, name)
            stream.expect(f"{name} 1".encode())
            stream.kill()
            self.assertIn(b"    1 sleep 1000\n", docker("exec", name, "ps", "-o", "pid,args").stdout)
            return [
                started,
                docker("stats", "--no-stream", "--format", form, name),
                docker("top", name, "-o", "pid,args").without_output(),
            ]

        outcomes = self.same(scenario)
        self.assertRegex(outcomes[1].stdout, rb"-stats 1\n")

    def test_copy(self) -> None:
        """C{cp} both ways: files, directories, streams, and what is not there."""
        tree = self.scratch / "tree"
        (tree / "inner").mkdir(parents=True)
        content = secrets.token_bytes(2 * 2**20)
        (tree / "inner/big").write_bytes(content)
        (tree / "script").write_text("#!/bin/sh\n")
        (tree / "script").chmod(0o755)
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(tree / "script", "from-stream")

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("copy")
            back = self.scratch / f"back-{docker.label}"
            outcomes = [
                docker("run", "-d", "--name", name, "busybox", "sleep", "1000"),
                docker("cp", str(tree), f"{name}:/tmp").without_output(),
                docker("cp", "-", f"{name}:/tmp", data=stream.getvalue()),
                docker(
                    "exec",
                    name,
                    "sh",
                    "-c",
                    "cd /tmp; find . | sort; md5sum tree/inner/big; ls -l from-stream",
                ),
                docker("cp", f"{name}:/tmp/tree", str(back)).without_output(),
                docker("cp", f"{name}:/missing", str(back)),
                docker("cp", str(tree), f"{name}:/missing/place").without_output(),
                docker("diff", name).sorted(),
            ]
            self.assertEqual((back / "inner/big").read_bytes(), content)
            self.assertEqual((back / "script").stat().st_mode & 0o777, 0o755)
            received = docker("cp", f"{name}:/tmp/tree/inner/big", "-")
            with tarfile.open(fileobj=io.BytesIO(received.stdout)) as archive:
                member = archive.extractfile("big")
                assert member is not None
                self.assertEqual(member.read(), content)
            return outcomes

        self.same(scenario)

    def test_build_classic(self) -> None:
        """C{build} with the daemon's classic builder: context, layers, cache, a step that fails."""
        self.build({"DOCKER_BUILDKIT": "0"})

    def test_kill_stop_restart(self) -> None:
        """C{kill}, C{stop}, C{restart}, C{pause} and C{unpause}, and what becomes of the container."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("life")
            state = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name)
            script = "trap 'echo signal; exit 8' TERM; echo up; while :; do sleep 0.1; done"
            outcomes = [docker("run", "-d", "--name", name, "busybox", "sh", "-c", script)]
            self.wait_for(lambda: b"up" in docker("logs", name).stdout, "it runs")
            for command in (("pause",), ("unpause",), ("restart", "-t", "5"), ("kill",), ("start",)):
                outcomes += [docker(*command, name), docker(*state)]
            self.wait_for(
                lambda: b"signal\nup\nup" in docker("logs", name).stdout, "it runs for the third time"
            )
            follower = docker.start("logs", "-f", "--tail", "1", name)
            follower.expect(b"up\n")
            outcomes += [docker("stop", "-t", "5", name), docker(*state), follower.finish()]
            return [*outcomes, docker("kill", name), docker("stop", docker.name("absent"))]

        self.assertEqual(self.same(scenario)[-3].stdout, b"up\nsignal\n")

    def test_rename_and_prune(self) -> None:
        """C{rename} takes effect at once; C{container prune} removes what is filtered."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            old, new = docker.name("old"), docker.name("new")
            return [
                docker("run", "--name", old, "--label", f"prune={docker.label}", "busybox", "true"),
                docker("rename", old, new),
                docker("inspect", "--format", "{{.Name}}", new),
                docker("inspect", "--format", "{{.Name}}", old),
                docker("container", "prune", "-f", "--filter", f"label=prune={docker.label}"),
                docker("inspect", new),
            ]

        self.assertIn(b"Total reclaimed space", self.same(scenario)[4].stdout)

    def test_wait_before_the_end(self) -> None:
        """C{wait} that begins while the container runs has its exit status when it ends."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            name = docker.name("wait")
            started = docker("run", "-d", "-i", "--name", name, "busybox", "sh", "-c", "read x; exit $x")
            waiting = docker.start("wait", name)
            ended = docker("attach", name, data=b"11\n")
            return [started, ended, waiting.finish()]

        self.assertEqual(self.same(scenario)[2].stdout, b"11\n")

    def test_interrupt(self) -> None:
        """Ctrl-C at C{run} without a terminal reaches the container as a signal."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            script = "trap 'echo caught; exit 10' INT; echo up; while :; do sleep 0.1; done"
            running = docker.start("run", "--rm", "busybox", "sh", "-c", script)
            running.expect(b"up\n")
            running.signal(signal.SIGINT)
            return [running.finish()]

        self.assertEqual(self.same(scenario)[0].stdout, b"up\ncaught\n")

    def test_big_output(self) -> None:
        """50 MB of output arrive whole."""
        size = 50 * 2**20
        script = f"yes $(printf %01000d 7) | head -c {size}"

        def scenario(docker: Docker) -> Sequence[Outcome]:
            outcome = docker("run", "--rm", "busybox", "sh", "-c", script)
            self.assertEqual(len(outcome.stdout), size)
            return [Outcome(outcome.status, hashlib.sha1(outcome.stdout).digest(), outcome.stderr)]

        self.same(scenario)

    def test_system(self) -> None:
        """C{version}, C{info}, C{images}, C{system df}, volumes and networks, and errors of the daemon."""

        def scenario(docker: Docker) -> Sequence[Outcome]:
            volume, network = docker.name("volume"), docker.name("network")
            return [
                docker("version", "--format", "{{json .Server}}"),
                docker("info", "--format", "{{.Driver}} {{.ServerVersion}} {{.OperatingSystem}} {{.Name}}"),
                docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "busybox"),
                docker("volume", "create", volume),
                docker("volume", "inspect", "--format", "{{.Name}} {{.Driver}}", volume),
                docker(
                    "run", "--rm", "-v", f"{volume}:/kept", "busybox", "sh", "-c", "echo kept > /kept/file"
                ),
                docker("run", "--rm", "-v", f"{volume}:/kept:ro", "busybox", "cat", "/kept/file"),
                docker("network", "create", network),
                docker("run", "--rm", "--network", network, "busybox", "hostname", "-i"),
                docker("network", "rm", network),
                docker("volume", "rm", volume),
                docker(
                    "run",
                    "--rm",
                    "--tmpfs",
                    "/scratch",
                    "busybox",
                    "sh",
                    "-c",
                    "grep -c /scratch /proc/mounts",
                ),
                docker("tag", "busybox", docker.name("tag")),
                docker("rmi", docker.name("tag")),
                docker("inspect", docker.name("absent")),
                docker("run", "--memory", "1", "busybox"),
            ]

        self.same(scenario)


class BuildKitTestsMixin(StreamTestsMixin):
    """The commands, and builds by BuildKit."""

    def test_build_with_buildkit(self) -> None:
        """C{build} with BuildKit in the daemon, whose session runs backwards over the client's connection."""
        self.build({"DOCKER_BUILDKIT": "1"}, compare_output=False)


class BigImageTests(IntegrationTestCase):
    """Images that take a while."""

    def test_save_and_load(self) -> None:
        """C{save} and C{load} of 200 MB: not a byte is lost either way."""
        image, layer = f"t{secrets.token_hex(4)}-saved", self.scratch / "layer.tar"
        content = self.scratch / "content"
        with content.open("wb") as file:
            block = secrets.token_bytes(2**20)
            for number in range(SAVED_SIZE // len(block)):
                file.write(number.to_bytes(8, "big") + block[8:])
        with tarfile.open(layer, "w") as archive:
            archive.add(content, "content")
        self.assertEqual(self.remote.docker("import", str(layer), image).returncode, 0)
        self.addCleanup(self.remote.docker, "rmi", "-f", image)
        host = self.shared_agent().docker_host
        docker = self.docker(host)
        direct = self.docker(f"unix://{self.remote.docker_socket}")
        for side, name in ((docker, "through"), (direct, "direct")):
            outcome = side("save", "-o", str(self.scratch / name), image)
            self.assertEqual(outcome, Outcome(0, b"", b""))
        self.assertEqual(*(tar_contents((self.scratch / name).open("rb")) for name in ("through", "direct")))
        wanted = direct("inspect", "--format", "{{.RootFS.Layers}} {{.Id}}", image)
        self.assertEqual(direct("rmi", "-f", image).status, 0)
        self.assertEqual(docker("load", "-q", "-i", str(self.scratch / "through")).status, 0)
        self.assertEqual(direct("inspect", "--format", "{{.RootFS.Layers}} {{.Id}}", image), wanted)


def _tests(version: str, path: str, tcp: bool, everything: bool) -> None:
    mixins: list[type[StreamTestsMixin]] = [CLITestsMixin if everything else StreamTestsMixin]
    if has_buildkit(version, path):
        mixins.insert(0, BuildKitTestsMixin)
    name = f"CLI{version}{'TCP' if tcp else 'Unix'}Tests"
    globals()[name] = type(
        name,
        (*mixins, IntegrationTestCase),
        {"cli": path, "tcp": tcp, "__module__": __name__, "__doc__": mixins[-1].__doc__},
    )


def _define() -> None:
    """
    One class of tests for each CLI, by turns over TCP and unix; both ways if there is but one. Where the
    engine has a CLI of its own, the others do not run everything.
    """
    own = os.environ.get("REMOTEDOCKER_TEST_PLUGINS") and os.environ.get("REMOTEDOCKER_TEST_CLI")
    for position, (version, path) in enumerate(CLIS.items()):
        _tests(version, path, tcp=position % 2 == 0, everything=not own or path == own)
    if len(CLIS) == 1:
        _tests(version, path, tcp=False, everything=False)


_define()
