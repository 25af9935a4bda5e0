"""
Mounted files on the real thing: what a container sees of the laptop, when, and what the laptop gets back.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.integration.base import Docker, IntegrationTestCase, Running

_WAIT = 30.0


def digest(root: Path, script: str = "") -> bytes:
    """@return: what C{script}, or L{DIGEST}, prints of a directory of this machine."""
    command = ["sh", "-c", script or DIGEST]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True).stdout


DIGEST = (
    "export LC_ALL=C; find . -mindepth 1 | sort | while read -r f; do"
    ' if [ -L "$f" ]; then echo "$f -> $(readlink "$f")"; elif [ -d "$f" ]; then stat -c "%n %a" "$f";'
    ' else stat -c "%n %a %s %Y" "$f"; md5sum < "$f"; fi; done'
)
"""A script for every shell: what is in the working directory."""

MANY = (
    "export LC_ALL=C; find . -mindepth 1 | sort | xargs stat -c '%n %a';"
    " find . -type f | sort | xargs stat -c %Y; find . -type f | sort | xargs md5sum"
)
"""The same for thousands of files with plain names, in fewer processes."""


PYTHON = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro")
"""Options of C{run} that give a container the remote's own C{/usr/bin/python3}."""

WATCH = """
import ctypes, os, struct
libc = ctypes.CDLL(None)
descriptor = libc.inotify_init()
libc.inotify_add_watch(descriptor, b"/x", 0x3CA)
names = {0x2: "modify", 0x8: "written", 0x40: "from", 0x80: "to", 0x100: "create", 0x200: "delete"}
print("watching")
while True:
    data = os.read(descriptor, 65536)
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        print(names[mask & 0x3CA], data[16 : 16 + length].rstrip(b"\\0").decode())
        data = data[16 + length :]
"""
"""A Python program that prints what happens in C{/x}."""


class FilesTestCase(IntegrationTestCase):
    """A directory of the laptop, and a docker CLI that speaks through an agent."""

    options: Sequence[str] = ()

    def setUp(self) -> None:
        """Finds the remote and makes the directory."""
        super().setUp()
        self.tree = self.scratch / "tree"
        self.tree.mkdir()
        self.agent = self.shared_agent(*self.options)
        self.cli = self.docker(self.agent.docker_host)

    def run_in(self, script: str, *options: str, docker: Docker | None = None) -> bytes:
        """@return: what C{script} prints in a new container that has the directory at C{/x}."""
        outcome = (docker or self.cli)(
            *("run", "--rm", "-v", f"{self.tree}:/x", "-w", "/x", *options, "busybox", "sh", "-c", script)
        )
        self.assertEqual((outcome.status, outcome.stderr), (0, b""), outcome)
        return outcome.stdout

    def begin(self, *options: str) -> str:
        """@return: the name of a container that runs and has the directory at C{/x}."""
        name = self.cli.name("c")
        started = self.cli(
            *("run", "-d", "--name", name, "-v", f"{self.tree}:/x", "-w", "/x", *options),
            *("busybox", "sleep", "1000"),
        )
        self.assertEqual(started.status, 0, started)
        return name

    def inside(self, name: str, script: str) -> bytes:
        """@return: what C{script} prints in the container."""
        outcome = self.cli("exec", name, "sh", "-c", script)
        self.assertEqual(outcome.status, 0, outcome)
        return outcome.stdout

    def until_inside(self, name: str, script: str, wanted: bytes) -> None:
        """Waits until C{script} prints C{wanted} in the container."""
        self.wait_for(lambda: self.inside(name, script) == wanted, f"{script} prints {wanted!r}", _WAIT)

    def service(self, script: str) -> str:
        """@return: the name of a service, of a swarm of its own, that runs C{script} in the directory."""
        made = self.remote.docker(
            "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"
        )
        self.assertEqual(made.returncode, 0, made)
        self.addCleanup(self.remote.docker, "swarm", "leave", "--force")
        name = self.cli.name("service")
        created = self.cli(
            *("service", "create", "--detach", "--no-resolve-image", "--name", name, "-w", "/x"),
            *("--mount", f"type=bind,source={self.tree},target=/x", "busybox", "sh", "-c", script),
        )
        self.assertEqual(created.status, 0, created)
        self.addCleanup(self.remote.docker, "service", "rm", name)
        return name

    def in_task(self, name: str, script: str) -> bytes:
        """@return: what C{script} prints in the service's task; nothing if none runs."""
        task = self.remote.docker("ps", "-q", "--filter", f"name={name}").stdout.decode().strip()
        return self.remote.docker("exec", task, "sh", "-c", script).stdout if task else b""

    def refused(self, *arguments: str) -> str:
        """@return: what C{docker run} with these arguments says when it is refused."""
        outcome = self.cli("run", "--rm", *arguments, "busybox", "true")
        self.assertEqual(outcome.status, 125, outcome)
        return outcome.stderr.decode()


class ToRemoteTests(FilesTestCase):
    """What a container sees."""

    def test_everything_in_a_tree(self) -> None:
        """Links, modes, times, empty directories and odd names are in the container as they are here."""
        (self.tree / "sub" / "empty").mkdir(parents=True)
        (self.tree / "closed").mkdir(mode=0o555)
        (self.tree / "script").write_text("#!/bin/sh\necho ran\n")
        (self.tree / "script").chmod(0o750)
        (self.tree / "binary").write_bytes(bytes(range(256)) * 300)
        (self.tree / "link").symlink_to("sub/nowhere")
        os.link(self.tree / "binary", self.tree / "sub" / "second name")
        os.utime(self.tree / "binary", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
        for name in ("-rf", 'it\'s "$HOME"', "ünï", "*", "a" * 250):
            (self.tree / name).write_text(name)
        deep = self.tree
        for number in range(30):
            deep = deep / f"directory{number}"
        deep.mkdir(parents=True)
        (deep / "bottom").write_text("deep\n")
        self.assertEqual(self.run_in(DIGEST), digest(self.tree))
        inodes = self.run_in("stat -c %i binary 'sub/second name'").split()
        self.assertEqual(inodes[0], inodes[1])

    def test_any_byte_in_names(self) -> None:
        """Names that are no text arrive byte for byte."""
        names = [b"new\nline", b"\xff\xfe", b"tab\t", b"\x01\x7f"]
        for name in names:
            with open(os.fsencode(self.tree) + b"/" + name, "wb") as file:
                file.write(name)
        found = self.run_in('for f in *; do cat "$f"; echo; done').split(b"\n")
        self.assertEqual(sorted(found), sorted(b"\n".join([*names, b""]).split(b"\n")))

    def test_owner_by_number(self) -> None:
        """Where the SSH user is root, owner and group are those of the laptop by number."""
        (self.tree / "file").write_text("x")
        os.chown(self.tree / "file", 1234, 2345)
        self.assertEqual(self.run_in("stat -c %u:%g file"), b"1234:2345\n")

    def test_nothing_for_others(self) -> None:
        """On the remote nobody else gets at the tree, and no file is writable for more than on the laptop."""
        (self.tree / "file").write_text("x")
        (self.tree / "file").chmod(0o600)
        self.begin()
        found = self.remote.run(["sh", "-c", "stat -c %a ~/.remotedocker ~/.remotedocker/*"]).stdout.split()
        self.assertTrue(found)
        self.assertEqual(set(found), {b"700"})
        self.assertEqual(self.run_in("stat -c %a file"), b"600\n")

    options = ("--remote-path", "/usr", "--remote-path", "/lib", "--remote-path", "/lib64")

    def test_edits_arrive_as_the_same_events(self) -> None:
        """Writing in place, creating, renaming and deleting give the inotify events of a local mount."""
        (self.tree / "edited").write_text("one")
        (self.tree / "renamed").write_text("two")
        (self.tree / "removed").write_text("three")
        name = self.cli.name("events")
        # The remote's own Python, for busybox may have no inotifyd.
        watch: Running = self.cli.start(
            *(
                "run",
                "--rm",
                "--name",
                name,
                "-v",
                f"{self.tree}:/x",
                *PYTHON,
            ),
            *("busybox", "/usr/bin/python3", "-u", "-c", WATCH),
        )
        watch.expect(b"watching\n", _WAIT)
        with open(self.tree / "edited", "a") as file:
            file.write(" more")
        watch.expect(b"modify edited\n", _WAIT)
        (self.tree / "created").write_text("new")
        watch.expect(b"create created\n", _WAIT)
        watch.expect(b"written created\n", _WAIT)
        (self.tree / "renamed").rename(self.tree / "other")
        watch.expect(b"from renamed\n", _WAIT)
        watch.expect(b"to other\n", _WAIT)
        (self.tree / "removed").unlink()
        watch.expect(b"delete removed\n", _WAIT)
        (self.tree / "many").mkdir()
        for number in range(1000):
            (self.tree / "many" / f"f{number}").write_text(str(number))
        self.until_inside(name, "ls /x/many | wc -l", b"1000\n")
        before = len(watch.stdout)
        (self.tree / "many").rename(self.tree / "moved")
        watch.expect(b"from many\nto moved\n", _WAIT)
        (self.tree / "last").write_text("last")
        watch.expect(b"written last\n", _WAIT)
        told = watch.stdout[before:].split(b"from many\nto moved\n")[1]
        self.assertEqual(set(told.splitlines()), {b"create last", b"modify last", b"written last"})
        self.cli("kill", name)

    def test_inodes(self) -> None:
        """In place keeps the inode, a replacement does not, a renamed directory keeps all of its files'."""
        (self.tree / "edited").write_text("one")
        (self.tree / "replaced").write_text("one")
        (self.tree / "old").mkdir()
        for number in range(1000):
            (self.tree / "old" / f"f{number}").write_text(str(number))
        name = self.begin()
        ask = "stat -c %i edited replaced; ls -i old* new* 2>/dev/null | grep ' f7$'"
        edited, replaced, seventh, _ = self.inside(name, ask).split()
        (self.tree / "edited").write_text("two two")
        (self.tree / "tmp").write_text("two two")
        (self.tree / "tmp").rename(self.tree / "replaced")
        (self.tree / "old").rename(self.tree / "new")
        self.until_inside(
            name, "cat edited replaced; ls new | wc -l; ls", b"two twotwo two1000\nedited\nnew\nreplaced\n"
        )
        after = self.inside(name, ask).split()
        self.assertEqual((after[0], after[2]), (edited, seventh))
        self.assertNotEqual(after[1], replaced)

    def test_single_file(self) -> None:
        """A single file stays live, even if it is replaced on the laptop as editors do."""
        file = self.tree / "conf"
        file.write_text("one\n")
        name = self.cli.name("single")
        started = self.cli(
            "run", "-d", "--name", name, "-v", f"{file}:/etc/conf:ro", "busybox", "sleep", "1000"
        )
        self.assertEqual(started.status, 0, started)
        self.assertEqual(self.inside(name, "cat /etc/conf"), b"one\n")
        for text in ("second\n", "third, longer than before\n", "4\n"):
            (self.tree / "conf.tmp").write_text(text)
            (self.tree / "conf.tmp").rename(file)
            self.until_inside(name, "cat /etc/conf", text.encode())
        file.write_text("in place\n")
        self.until_inside(name, "cat /etc/conf", b"in place\n")

    def test_changes_right_before_the_start(self) -> None:
        """A start includes what was written the moment before, time after time."""
        (self.tree / "file").write_text("0")
        name = self.cli.name("again")
        created = self.cli(
            "create", "--name", name, "-v", f"{self.tree}:/x", "busybox", "cat", "/x/file", "/x/new"
        )
        self.assertEqual(created.status, 0, created)
        for number in range(5):
            (self.tree / "file").write_text(f"number {number}\n")
            shutil.rmtree(self.tree / "new", ignore_errors=True)
            (self.tree / "new").unlink(missing_ok=True)
            (self.tree / "new").write_text(f"new {number}\n")
            self.assertEqual(self.cli("start", "-a", name).stdout, b"number %d\nnew %d\n" % (number, number))

    def test_burst(self) -> None:
        """Two thousand files changed, moved and deleted at once leave the trees the same."""
        for number in range(1000):
            file = self.tree / f"d{number % 20}" / f"f{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"first {number}\n")
        name = self.begin()
        for number in range(0, 1000, 2):
            (self.tree / f"d{number % 20}" / f"f{number}").write_text(f"second {number}\n" * 3)
        shutil.rmtree(self.tree / "d3")
        (self.tree / "d5").rename(self.tree / "d4" / "moved")
        for number in range(1000):
            file = self.tree / "more" / f"e{number % 30}" / f"g{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{number}")
        self.until_inside(name, MANY, digest(self.tree, MANY))

    def test_git_checkout(self) -> None:
        """Each checkout of a branch in which 2,000 files differ leaves the trees the same."""

        def git(*arguments: str) -> None:
            identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
            subprocess.run(
                ["git", *identity, *arguments], cwd=self.tree, stdout=subprocess.DEVNULL, check=True
            )

        def write(kind: str, numbers: range) -> None:
            for number in numbers:
                file = self.tree / f"d{number % 20}" / f"f{number}"
                file.parent.mkdir(exist_ok=True)
                file.write_text(f"{kind} {number}\n" * (number % 5 + 1))

        git("init", "-q", "-b", "one")
        write("first", range(1500))
        git("add", "-A")
        git("commit", "-qm", "one")
        git("checkout", "-qb", "two")
        git("rm", "-rqf", "d1", "d2", "d3")
        write("second", range(0, 2000, 2))
        write("second", range(1500, 2000))
        git("add", "-A")
        git("commit", "-qm", "two")
        name = self.begin()
        for branch in ("one", "two", "one"):
            git("checkout", "-q", branch)
            self.until_inside(name, MANY, digest(self.tree, MANY))

    def test_written_while_it_is_sent(self) -> None:
        """A file that is written all the time stops no start, and is complete when it rests."""
        for number in range(50):
            (self.tree / f"f{number}").write_bytes(os.urandom(50_000))
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                (self.tree / "busy").write_bytes(os.urandom(random.randrange(200_000)))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            name = self.begin()
            self.assertEqual(self.inside(name, "ls | wc -l"), b"51\n")
        finally:
            stop.set()
            writer.join()
        self.until_inside(name, DIGEST, digest(self.tree))

    def test_more_changes_than_the_kernel_keeps(self) -> None:
        """When the queue of events overflows all is looked at again, and a warning names the sysctl."""
        self.agent = self.own_agent()
        self.cli = self.docker(self.agent.docker_host)
        for letter in "ab":
            (self.tree / letter).write_text("0")
        name = self.begin()
        process = self.agent.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
            for number in range(most // 4 + 100):
                for letter in "ab":
                    (self.tree / letter).write_text(str(number))
            (self.tree / "last").write_text("last")
        finally:
            process.send_signal(signal.SIGCONT)
        self.until_inside(name, DIGEST, digest(self.tree))
        self.wait_for(
            lambda: "sysctl fs.inotify.max_queued_events" in self.agent.log_file.read_text(),
            "it warns",
            _WAIT,
        )

    def test_what_cannot_be_mounted_is_told(self) -> None:
        """A socket, a fifo and a device are passed over with a warning."""
        os.mkfifo(self.tree / "pipe")
        os.mknod(self.tree / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.tree / "socket"))
            (self.tree / "file").write_text("there\n")
            created = self.cli(
                "create", "--name", self.cli.name("w"), "-v", f"{self.tree}:/x", "busybox", "ls", "/x"
            )
        self.assertEqual(created.status, 0, created)
        for name, kind in (("pipe", "named pipe"), ("socket", "socket"), ("device", "device")):
            self.assertIn(
                f"WARNING: {self.tree}/{name} is not synced: it is a {kind}".encode(), created.stderr
            )
        self.assertEqual(self.cli("start", "-a", self.cli.name("w")).stdout, b"file\n")


class PlaceTests(FilesTestCase):
    """Whose files are meant."""

    def test_only_on_the_remote(self) -> None:
        """A path that only the remote has is the remote's own, and stays as it is."""
        place = f"/srv/{self.cli.label}"
        self.remote.run(["sh", "-c", f"mkdir -p {place} && echo theirs > {place}/file"])
        self.addCleanup(self.remote.run, ["rm", "-rf", place])
        outcome = self.cli("run", "--rm", "-v", f"{place}:/x", "busybox", "cat", "/x/file")
        self.assertEqual((outcome.status, outcome.stdout), (0, b"theirs\n"))
        self.assertFalse(Path(place).exists())

    def test_on_both(self) -> None:
        """A path that both have is the laptop's; the remote's is untouched."""
        place = Path(f"/srv/{self.cli.label}")
        place.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, place)
        (place / "file").write_text("ours\n")
        self.remote.run(["sh", "-c", f"mkdir -p {place} && echo theirs > {place}/file"])
        self.addCleanup(self.remote.run, ["rm", "-rf", str(place)])
        outcome = self.cli(
            "run", "--rm", "-v", f"{place}:/x", "busybox", "sh", "-c", "cat /x/file; echo new > /x/file"
        )
        self.assertEqual((outcome.status, outcome.stdout), (0, b"ours\n"))
        self.assertEqual((place / "file").read_text(), "new\n")
        self.assertEqual(self.remote.run(["cat", f"{place}/file"]).stdout, b"theirs\n")

    def test_missing_on_both(self) -> None:
        """C{-v} makes an empty directory on both sides; C{--mount} is refused in the daemon's words."""
        missing = self.tree / "not" / "there"
        outcome = self.cli(
            "run", "--rm", "-v", f"{missing}:/x", "busybox", "sh", "-c", "ls /x; echo a > /x/made"
        )
        self.assertEqual((outcome.status, outcome.stdout), (0, b""), outcome)
        self.assertEqual((missing / "made").read_text(), "a\n")
        other = self.tree / "other"
        said = self.refused("--mount", f"type=bind,source={other},target=/x")
        self.assertIn(f'invalid mount config for type "bind": bind source path does not exist: {other}', said)
        self.assertFalse(other.exists())

    def test_the_remotes_own(self) -> None:
        """Devices, C{/proc} and the like are the remote's."""
        for source in ("/proc/sys/kernel", "/sys/class", "/dev/null", "/etc/localtime", "/"):
            outcome = self.cli("run", "--rm", "-v", f"{source}:/x:ro", "busybox", "ls", "-d", "/x")
            self.assertEqual((outcome.status, outcome.stdout), (0, b"/x\n"), (source, outcome))

    def test_docker_socket(self) -> None:
        """The default path of the socket, and our own, mean the remote's daemon."""
        own = self.agent.unix_host.removeprefix("unix://")
        for source in ("/var/run/docker.sock", own):
            outcome = self.cli(
                *("run", "--rm", "-v", f"{source}:/s", "busybox", "sh", "-c"),
                "printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' | nc local:/s | head -n 1;"
                " test -S /s && echo socket",
            )
            self.assertIn(b"socket\n", outcome.stdout, (source, outcome))

    def test_nested_mounts(self) -> None:
        """A mount inside another shares its copy, and each sees the other's changes."""
        (self.tree / "in" / "ner").mkdir(parents=True)
        (self.tree / "in" / "ner" / "f").write_text("one\n")
        script = "cat /y/f; echo two > /y/f; cat /x/in/ner/f; echo three > /x/in/ner/g"
        printed = self.run_in(script, "-v", f"{self.tree}/in/ner:/y")
        self.assertEqual(printed, b"one\ntwo\n")
        self.assertEqual((self.tree / "in" / "ner" / "f").read_text(), "two\n")
        self.assertEqual((self.tree / "in" / "ner" / "g").read_text(), "three\n")

    def test_volume_that_is_a_bind(self) -> None:
        """A local volume with C{o=bind} has the laptop's files, later edits, and gives back what it gets."""
        (self.tree / "file").write_text("ours\n")
        volume = self.cli.name("volume")
        made = self.cli(
            *("volume", "create", "-d", "local", "-o", "type=none", "-o", "o=bind"),
            *("-o", f"device={self.tree}", volume),
        )
        self.assertEqual(made.status, 0, made)
        outcome = self.cli("run", "--rm", "-v", f"{volume}:/x", "busybox", "cat", "/x/file")
        self.assertEqual((outcome.status, outcome.stdout), (0, b"ours\n"), outcome)
        name = self.cli.name("uses")
        started = self.cli("run", "-d", "--name", name, "-v", f"{volume}:/x", "busybox", "sleep", "1000")
        self.assertEqual(started.status, 0, started)
        (self.tree / "file").write_text("edited\n")
        self.until_inside(name, "cat /x/file; echo made > /x/made", b"edited\n")
        self.wait_for(lambda: (self.tree / "made").exists(), "what it wrote is here", _WAIT)

    def test_service(self) -> None:
        """The mount of a swarm's service has the laptop's files, and later edits."""
        (self.tree / "file").write_text("one\n")
        name = self.service("sleep 1000")
        self.wait_for(lambda: self.in_task(name, "cat file") == b"one\n", "the task sees the file", _WAIT)
        (self.tree / "file").write_text("two\n")
        self.wait_for(lambda: self.in_task(name, "cat file") == b"two\n", "it sees the edit", _WAIT)
        self.in_task(name, "echo three > made")
        self.wait_for(lambda: (self.tree / "made").exists(), "what it wrote is here", _WAIT)

    def test_volumes_from(self) -> None:
        """A container that takes another's mounts has the files, and its changes come back."""
        (self.tree / "file").write_text("ours\n")
        first = self.cli.name("first")
        self.cli("create", "--name", first, "-v", f"{self.tree}:/x", "busybox", "true")
        outcome = self.cli(
            *(
                "run",
                "--rm",
                "--volumes-from",
                first,
                "busybox",
                "sh",
                "-c",
                "cat /x/file; echo back > /x/out",
            )
        )
        self.assertEqual((outcome.status, outcome.stdout), (0, b"ours\n"), outcome)
        self.assertEqual((self.tree / "out").read_text(), "back\n")

    def test_limits(self) -> None:
        """A tree over a limit is refused at create, with both figures and the option's name."""
        for number in range(20):
            (self.tree / f"f{number}").write_text("x" * 100)
        docker = self.docker(
            self.shared_agent("--max-tree-files", "10", "--max-tree-size", "1KiB").docker_host
        )
        outcome = docker("create", "-v", f"{self.tree}:/x", "busybox", "true")
        self.assertEqual(outcome.status, 1)
        self.assertIn(b"has 21 files, more than 10 allowed by --max-tree-files", outcome.stderr)
        for number in range(15):
            (self.tree / f"f{number}").unlink()
        (self.tree / "big").write_bytes(bytes(2048))
        outcome = docker("create", "-v", f"{self.tree}:/x", "busybox", "true")
        self.assertIn(b"has 2.5 KiB, more than 1.0 KiB allowed by --max-tree-size", outcome.stderr)

    def test_ignored(self) -> None:
        """Ignored names are not in the container, and what the container has there does not come back."""
        docker = self.docker(self.shared_agent("--ignore", "*.log", "--gitignore").docker_host)
        (self.tree / ".remotedockerignore").write_text("/build\n")
        (self.tree / ".gitignore").write_text("*.o\n!keep.o\n")
        (self.tree / "sub").mkdir()
        (self.tree / "sub" / ".gitignore").write_text("!b.o\n*.tmp\n")
        for name in ("a.log", "b.o", "keep.o", "source", "sub/a.o", "sub/b.o", "sub/c.tmp"):
            (self.tree / name).write_text("x")
        (self.tree / "build").mkdir()
        (self.tree / "build" / "out").write_text("x")
        printed = self.run_in(
            "ls; ls sub; mkdir build; echo y > build/new; echo y > c.log; echo y > made", docker=docker
        )
        self.assertEqual(printed, b"keep.o\nsource\nsub\nb.o\n")
        self.assertEqual(sorted(os.listdir(self.tree / "build")), ["out"])
        self.assertFalse((self.tree / "c.log").exists())
        self.assertTrue((self.tree / "made").exists())

    def test_rules_change(self) -> None:
        """Other rules take effect at the next start."""
        (self.tree / "a.log").write_text("x")
        (self.tree / "b.txt").write_text("x")
        (self.tree / ".remotedockerignore").write_text("*.log\n")
        self.assertEqual(self.run_in("ls"), b"b.txt\n")
        (self.tree / ".remotedockerignore").write_text("*.txt\n")
        self.assertEqual(self.run_in("ls; echo y > b.txt"), b"a.log\nb.txt\n")
        self.assertEqual((self.tree / "b.txt").read_text(), "x")


class FromRemoteTests(FilesTestCase):
    """What comes back."""

    def test_outputs_are_there_when_run_returns(self) -> None:
        """Created, changed, deleted and renamed files, and modes, are on the laptop when the CLI returns."""
        (self.tree / "source").write_text("source\n")
        (self.tree / "old").mkdir()
        (self.tree / "old" / "f").write_text("f\n")
        (self.tree / "gone").write_text("gone\n")
        self.run_in(
            "tr a-z A-Z < source > result; chmod 751 result; mkdir -p a/b; ln -s ../source a/link;"
            " mv old new; rm gone; echo more >> source; cp /bin/busybox a/b/setuid; chmod 4755 a/b/setuid;"
            " echo \"it's\" > 'b c'"
        )
        self.assertEqual((self.tree / "source").read_text(), "source\nmore\n")
        self.assertEqual((self.tree / "result").read_text(), "SOURCE\n")
        self.assertEqual(stat.S_IMODE((self.tree / "result").stat().st_mode), 0o751)
        self.assertEqual(os.readlink(self.tree / "a" / "link"), "../source")
        self.assertEqual((self.tree / "new" / "f").read_text(), "f\n")
        self.assertEqual((self.tree / "b c").read_text(), "it's\n")
        setuid = (self.tree / "a" / "b" / "setuid").stat()
        self.assertEqual((stat.S_IMODE(setuid.st_mode), setuid.st_uid), (0o755, os.getuid()))
        self.assertEqual(sorted(os.listdir(self.tree)), ["a", "b c", "new", "result", "source"])

    def test_detached(self) -> None:
        """C{wait} answers when the tree is back."""
        name = self.cli.name("detached")
        self.cli(
            "run",
            "-d",
            "--name",
            name,
            "-v",
            f"{self.tree}:/x",
            "busybox",
            "sh",
            "-c",
            "sleep 1; echo a > /x/out",
        )
        self.assertEqual(self.cli("wait", name).stdout, b"0\n")
        self.assertEqual((self.tree / "out").read_text(), "a\n")

    def test_exec_and_cp(self) -> None:
        """What an exec or C{docker cp} wrote is there when the command returns."""
        name = self.begin()
        self.inside(name, "echo exec > by-exec")
        self.assertEqual((self.tree / "by-exec").read_text(), "exec\n")
        (self.scratch / "copied").write_text("cp\n")
        self.assertEqual(self.cli("cp", str(self.scratch / "copied"), f"{name}:/x/by-cp").status, 0)
        self.wait_for((self.tree / "by-cp").exists, "the copied file is here", _WAIT)
        self.assertEqual((self.tree / "by-cp").read_text(), "cp\n")

    def test_killed_stopped_and_removed(self) -> None:
        """What a container wrote until it was ended is here when the command returns, whichever it is."""
        for number, command in enumerate((("kill",), ("stop", "-t", "0"), ("rm", "-f"))):
            name = self.cli.name(f"ended{number}")
            script = "i=0; while :; do i=$((i+1)); echo $i >> log; done"
            started = self.cli(
                *(
                    "run",
                    "-d",
                    "--name",
                    name,
                    "-v",
                    f"{self.tree}:/x",
                    "-w",
                    "/x",
                    "busybox",
                    "sh",
                    "-c",
                    script,
                )
            )
            self.assertEqual(started.status, 0, started)
            found = self.remote.docker("inspect", "-f", "{{(index .Mounts 0).Source}}", name)
            self.wait_for((self.tree / "log").exists, "it writes", _WAIT)
            self.assertEqual(self.cli(*command, name).status, 0)
            there = self.remote.run(["cat", found.stdout.decode().strip() + "/log"]).stdout
            self.assertEqual((self.tree / "log").read_bytes(), there, command)
            (self.tree / "log").unlink()

    def test_nobody_waits(self) -> None:
        """What a container wrote just before it ended by itself is brought back, though nobody asks."""
        self.cli(
            *("run", "-d", "--name", self.cli.name("alone"), "-v", f"{self.tree}:/x", "busybox", "sh", "-c"),
            "sleep 1; echo last > /x/words",
        )
        self.wait_for((self.tree / "words").exists, "its last words are here", _WAIT)
        self.wait_for(lambda: (self.tree / "words").read_text() == "last\n", "they are complete", _WAIT)

    def test_copied_into_a_stopped_one(self) -> None:
        """What C{docker cp} brings into a container that does not run is here when it returns."""
        name = self.cli.name("stopped")
        self.cli("create", "--name", name, "-v", f"{self.tree}:/x", "busybox", "true")
        (self.scratch / "copied").write_text("cp\n")
        self.assertEqual(self.cli("cp", str(self.scratch / "copied"), f"{name}:/x/by-cp").status, 0)
        self.assertEqual((self.tree / "by-cp").read_text(), "cp\n")

    def test_one_way(self) -> None:
        """With C{--sync push} nothing comes back, with C{once} later edits wait for the next start."""
        for mode in ("push", "once"):
            self.cli = self.docker(self.shared_agent("--sync", mode).docker_host)
            (self.tree / "file").write_text("first")
            name = self.begin()
            self.inside(name, "echo theirs > made")
            (self.tree / "file").write_text("second")
            if mode == "push":
                self.until_inside(name, "cat file", b"second")
            else:
                self.assertEqual(self.inside(name, "cat file"), b"first")
            self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
            self.assertEqual(self.inside(name, "cat file"), b"second")
            self.assertEqual(os.listdir(self.tree), ["file"])

    def test_off(self) -> None:
        """With C{--sync off} a mount is the remote's own path, as asked."""
        (self.tree / "file").write_text("ours")
        docker = self.docker(self.shared_agent("--sync", "off").docker_host)
        self.addCleanup(self.remote.run, ["rm", "-rf", str(self.tree)])
        self.assertEqual(self.run_in("ls; touch made; readlink -f .", docker=docker), b"/x\n")
        self.assertEqual(os.listdir(self.tree), ["file"])
        self.assertEqual(self.remote.run(["ls", str(self.tree)]).stdout, b"made\n")

    def test_links_that_lead_out(self) -> None:
        """What a container writes below a link that it made in a directory's place never follows it here."""
        outside = self.scratch / "outside"
        outside.mkdir()
        (outside / "kept").write_text("x")
        (self.tree / "d").mkdir()
        (self.tree / "d" / "f").write_text("x")
        name = self.begin()
        self.inside(name, f"rm -r d; ln -s {outside} d; ln -s {outside}/kept l")
        self.assertEqual(os.readlink(self.tree / "d"), str(outside))
        self.inside(name, "rm d l; mkdir d; echo theirs > d/kept; echo theirs > d/f; echo theirs > l")
        self.assertEqual((self.tree / "d" / "kept").read_text(), "theirs\n")
        self.assertEqual((self.tree / "l").read_text(), "theirs\n")
        self.assertEqual({path.name: path.read_text() for path in outside.iterdir()}, {"kept": "x"})

    def test_directory_with_something_ignored(self) -> None:
        """A directory removed here that has something ignored there stays there, and does not come back."""
        self.cli = self.docker(self.shared_agent("--ignore", "*.log").docker_host)
        (self.tree / "d").mkdir()
        (self.tree / "d" / "f").write_text("x")
        (self.tree / "file").write_text("x")
        name = self.begin()
        self.inside(name, "echo x > d/x.log")
        shutil.rmtree(self.tree / "d")
        self.until_inside(name, "ls d", b"x.log\n")
        self.inside(name, "true")
        self.assertEqual(os.listdir(self.tree), ["file"])

    def test_while_it_runs(self) -> None:
        """What a container writes by itself is on the laptop soon."""
        name = self.cli.name("writes")
        self.cli(
            *("run", "-d", "--name", name, "-v", f"{self.tree}:/x", "busybox", "sh", "-c"),
            "sleep 1; mkdir /x/made; echo a > /x/made/file; sleep 1000",
        )
        self.wait_for((self.tree / "made" / "file").exists, "the file is here", _WAIT)
        self.wait_for(lambda: (self.tree / "made" / "file").read_text() == "a\n", "it is complete", _WAIT)

    def test_read_only(self) -> None:
        """Nothing comes back from a read-only mount, and the container cannot write to it."""
        (self.tree / "file").write_text("one\n")
        outcome = self.cli("run", "--rm", "-v", f"{self.tree}:/x:ro", "busybox", "sh", "-c", "echo > /x/file")
        self.assertNotEqual(outcome.status, 0)
        self.assertEqual((self.tree / "file").read_text(), "one\n")

    def test_mounted_twice(self) -> None:
        """What is mounted read-write and, at another place, read-only comes back."""
        mounts = ("-v", f"{self.tree}:/x", "-v", f"{self.tree}:/y:ro")
        outcome = self.cli("run", "--rm", *mounts, "busybox", "sh", "-c", "echo two > /x/file; cat /y/file")
        self.assertEqual(outcome.stdout, b"two\n", outcome.stderr)
        self.assertEqual((self.tree / "file").read_text(), "two\n")

    def test_ping_pong(self) -> None:
        """Laptop and container write to one tree by turns, and each sees the other's last word."""
        name = self.begin()
        for number in range(5):
            (self.tree / "ball").write_text(f"ping {number}\n")
            self.until_inside(name, "cat ball 2>/dev/null; true", b"ping %d\n" % number)
            self.inside(name, f"echo pong {number} > ball")
            self.assertEqual((self.tree / "ball").read_text(), f"pong {number}\n")

    def test_many_files_back(self) -> None:
        """Two thousand files written by a container are on the laptop when it returns."""
        self.run_in(
            "for d in $(seq 20); do mkdir d$d; for f in $(seq 100); do echo $d $f > d$d/f$f; done; done"
        )
        for number in range(1, 21):
            for file in range(1, 101):
                self.assertEqual((self.tree / f"d{number}" / f"f{file}").read_text(), f"{number} {file}\n")


class SafetyTests(FilesTestCase):
    """Nothing is lost."""

    def own(self) -> Path:
        """
        An agent of this test alone takes the place of the shared one.

        @return: its state directory.
        """
        agent = self.own_agent()
        self.agent = agent
        self.cli = self.docker(agent.docker_host)
        return agent.state

    def test_conflict(self) -> None:
        """A file changed on both sides at once stays as it is on each, and is listed until both agree."""
        state = self.own()
        (self.tree / "file").write_text("one\n")
        (self.tree / "other").write_text("one\n")
        name = self.begin()
        self.agent.stop()
        self.remote.docker("exec", name, "sh", "-c", "echo theirs > /x/file")
        (self.tree / "file").write_text("ours!\n")
        self.agent.log_file.unlink()
        self.agent.start()

        def listed() -> str:
            return "".join(path.read_text() for path in state.rglob("conflicts"))

        self.wait_for(lambda: listed() == f"{self.tree}/file\n", "it is listed", _WAIT)
        self.assertEqual((self.tree / "file").read_text(), "ours!\n")
        self.assertEqual(self.inside(name, "cat file"), b"theirs\n")
        (self.tree / "file").unlink()
        self.wait_for(lambda: listed() == "", "both agree", _WAIT)
        self.assertEqual((self.tree / "file").read_text(), "theirs\n")

    def test_emptied_root(self) -> None:
        """A tree that is emptied on the laptop stops, and the container keeps its files."""
        self.own()
        for name in "abc":
            (self.tree / name).write_text(name)
        name = self.begin()
        self.tree.rename(self.scratch / "away")
        self.tree.mkdir()
        outcome = self.cli("restart", "-t", "0", name)
        self.assertNotEqual(outcome.status, 0)
        self.assertIn(b"is gone on the laptop", outcome.stderr)
        kept = self.remote.docker("run", "--rm", "--volumes-from", name, "busybox", "ls", "/x").stdout
        self.assertEqual(kept, b"a\nb\nc\n")

    def test_trash(self) -> None:
        """What the container deleted or replaced is kept in the state directory."""
        state = self.own()
        (self.tree / "gone").write_text("precious\n")
        (self.tree / "changed").write_text("before\n")
        (self.tree / "stays").write_text("x")
        self.run_in("rm gone; echo after > new; mv new changed")
        (trash,) = state.rglob("trash")
        kept = {path.name: path.read_text() for path in trash.rglob("*") if path.is_file()}
        self.assertEqual(kept, {"gone": "precious\n", "changed": "before\n"})

    def test_killed_agent(self) -> None:
        """An agent killed in a push leaves no half file and no stage; the next one completes it."""
        state = self.own()
        for number in range(400):
            (self.tree / f"f{number}").write_bytes(os.urandom(20_000))
        name = self.cli.name("killed")
        start = self.cli.start(
            "run", "-d", "--name", name, "-v", f"{self.tree}:/x", "-w", "/x", "busybox", "sleep", "1000"
        )
        self.wait_for(
            lambda: bool(self.remote.run(["sh", "-c", "ls ~/.remotedocker/.stage-*/b*"]).stdout),
            "it pushes",
            _WAIT,
        )
        self.agent.kill()
        start.finish()
        self.agent.log_file.unlink()
        self.agent.start()
        self.assertEqual(self.run_in(DIGEST), digest(self.tree))
        identity = (state / "agent-id").read_text().strip()
        left = self.remote.run(["sh", "-c", f"ls -A ~/.remotedocker/.stage-{identity}"])
        self.assertEqual((left.returncode, left.stdout), (0, b""))

    def test_full_disk(self) -> None:
        """A start whose files do not fit on the remote fails and says so; with room it succeeds."""
        place = f"/srv/{self.cli.label}-small"
        mounted = self.remote.run(["sh", "-c", f"mkdir -p {place} && mount -t tmpfs -o size=2m none {place}"])
        self.assertEqual(mounted.returncode, 0, mounted)
        self.addCleanup(self.remote.run, ["umount", "-l", place])
        docker = self.docker(self.own_agent("--sync-root", place).docker_host)
        (self.tree / "big").write_bytes(os.urandom(4_000_000))
        name = docker.name("full")
        outcome = docker("run", "--name", name, "-v", f"{self.tree}:/x", "busybox", "wc", "-c", "/x/big")
        self.assertEqual(outcome.status, 125, outcome)
        self.assertIn(b"no space left on the remote's disk", outcome.stderr)
        self.remote.run(["mount", "-o", "remount,size=20m", place])
        outcome = docker("start", "-a", name)
        self.assertEqual((outcome.status, outcome.stdout), (0, b"4000000 /x/big\n"), outcome)
