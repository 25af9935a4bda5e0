"""
Mounted files when something goes wrong: what is gone, full, forbidden or killed at any moment. Afterwards
both sides are the same, or the start has failed with the cause; nothing is lost, no temporary file stays.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

from tests.integration.agent import Agent
from tests.integration.test_files import DIGEST, FilesTestCase, digest

_WAIT = 60.0


class FaultTestCase(FilesTestCase):
    """An agent of each test's own, which may be harmed."""

    def setUp(self) -> None:
        """The shared agent is not used."""
        super().setUp()
        self.chance = random.Random(self.id())

    def own(self, *options: str) -> Agent:
        """@return: an agent of this test alone, through which the CLI speaks from now on."""
        agent = self.own_agent(*options)
        self.agent = agent
        self.cli = self.docker(agent.docker_host)
        return agent

    def mount(self, directory: Path, *arguments: str) -> None:
        """Mounts something on a directory of this machine."""
        subprocess.run(["mount", *arguments, str(directory)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(directory)], stderr=subprocess.DEVNULL)

    def remote_disk(self, size: str) -> str:
        """@return: a directory of the remote that is a small disk."""
        place = f"/srv/{self.cli.label}-disk"
        made = self.remote.run(
            ["sh", "-c", f"mkdir -p {place} && mount -t tmpfs -o size={size} none {place}"]
        )
        self.assertEqual(made.returncode, 0, made)
        self.addCleanup(self.remote.run, ["umount", "-l", place])
        return place

    def on_remote(self, script: str) -> bytes:
        """@return: what C{script} prints on the remote."""
        return self.remote.run(["sh", "-c", script]).stdout

    def source(self, name: str) -> str:
        """@return: where the remote keeps the container's directory."""
        found = self.remote.docker("inspect", "-f", "{{(index .Mounts 0).Source}}", name)
        return found.stdout.decode().strip()

    def no_leftovers(self) -> None:
        """Nothing of ours is in the tree, or in a stage of the remote."""
        ours = [path for path in self.tree.rglob("*") if path.name.startswith(".remotedocker-")]
        self.assertEqual(ours, [])
        identity = (self.agent.directory / "state" / "agent-id").read_text().strip()
        inside = f"find {identity} -mindepth 2 -name '.remotedocker-*'"
        left = f"cd ~/.remotedocker; ls -A .stage-{identity}; {inside}"
        self.wait_for(lambda: self.on_remote(left) == b"", "no stage and no temporary file stays", _WAIT)

    def converged(self) -> None:
        """A new container sees what is here."""
        self.assertEqual(self.run_in(DIGEST), digest(self.tree))
        self.no_leftovers()

    def restart_refused(self, name: str, reason: bytes) -> None:
        """The container cannot be started again, and the CLI says why."""
        outcome = self.cli("restart", "-t", "0", name)
        self.assertNotEqual(outcome.status, 0, outcome)
        self.assertIn(reason, outcome.stderr)


class GoneTests(FaultTestCase):
    """A side that is not there is not taken for a wish to delete everything."""

    def test_unmounted_here(self) -> None:
        """
        Where the mounted directory shows what is below it, with a stray file, starts are refused and the
        container keeps its files; when it is mounted again all goes on.
        """
        self.own()
        disk = self.scratch / "disk"
        disk.mkdir()
        self.mount(disk, "-t", "tmpfs", "none")
        for name in "abc":
            (disk / name).write_text(name)
        (self.tree / "stray").write_text("below")
        self.mount(self.tree, "--bind", str(disk))
        name = self.begin()
        subprocess.run(["umount", str(self.tree)], check=True)
        self.assertEqual(os.listdir(self.tree), ["stray"])
        self.restart_refused(name, b"is on another file system than before on the laptop")
        self.assertEqual(self.on_remote(f"ls {self.source(name)}"), b"a\nb\nc\n")
        self.mount(self.tree, "--bind", str(disk))
        (self.tree / "d").write_text("d")
        self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
        self.assertEqual(self.inside(name, "ls"), b"a\nb\nc\nd\n")

    def test_unmounted_inside(self) -> None:
        """So it is with a disk that is mounted in the directory."""
        self.own()
        disk = self.tree / "disk"
        disk.mkdir()
        self.mount(disk, "-t", "tmpfs", "none")
        for name in ("file", "disk/a", "disk/b"):
            (self.tree / name).write_text(name)
        name = self.begin()
        subprocess.run(["umount", str(disk)], check=True)
        self.restart_refused(name, b"disk in it is on another file system")
        self.assertEqual(self.on_remote(f"ls {self.source(name)}/disk"), b"a\nb\n")

    def test_unmounted_there(self) -> None:
        """Where the remote's disk is not mounted nothing is deleted here, and with it all goes on."""
        place = self.remote_disk("50m")
        self.own("--sync-root", f"{place}/root")
        for name in "abc":
            (self.tree / name).write_text(name)
        self.assertEqual(self.run_in("ls"), b"a\nb\nc\n")
        self.agent.stop()
        self.on_remote(f"mount --move {place} /mnt && mkdir {place}/root")
        self.addCleanup(self.remote.run, ["umount", "-l", "/mnt"])
        self.agent.log_file.unlink()
        self.agent.start()
        said = self.refused("-v", f"{self.tree}:/x")
        self.assertIn("on the remote", said)
        self.assertEqual(sorted(os.listdir(self.tree)), ["a", "b", "c"])
        self.agent.stop()
        self.on_remote(f"rm -rf {place}/root && mount --move /mnt {place}")
        self.agent.log_file.unlink()
        self.agent.start()
        self.assertEqual(self.run_in("ls"), b"a\nb\nc\n")

    def test_begun_anew(self) -> None:
        """Whoever removes the agreement that the error names begins anew, and nothing is deleted."""
        state = self.own().state
        for name in "abc":
            (self.tree / name).write_text(name)
        name = self.begin()
        self.tree.rename(self.scratch / "away")
        self.tree.mkdir()
        (self.tree / "new").write_text("new")
        (self.tree / "new").unlink()
        self.restart_refused(name, f"remove {state}".encode())
        for file in state.rglob("*.journal"):
            file.unlink()
        for file in state.rglob("*.tree"):
            file.unlink()
        self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
        self.assertEqual(self.inside(name, "ls"), b"a\nb\nc\n")
        self.cli("stop", "-t", "0", name)
        self.assertEqual(sorted(os.listdir(self.tree)), ["a", "b", "c"])

    def test_other_type(self) -> None:
        """A directory that became a file, or a link, is refused."""
        self.own()
        for name in "abc":
            (self.tree / name).write_text(name)
        name = self.begin()
        self.tree.rename(self.scratch / "away")
        self.tree.write_text("a file")
        self.restart_refused(name, b"changed its type on the laptop")
        self.tree.unlink()
        (self.scratch / "away").rename(self.tree)
        self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
        self.assertEqual(self.inside(name, "ls"), b"a\nb\nc\n")


class TransferTestCase(FaultTestCase):
    """Pushes and pulls that take a while."""

    FILES = 300

    def fill(self, size: int = 10_000) -> None:
        """Makes files to be sent."""
        for number in range(self.FILES):
            file = self.tree / f"d{number % 7}" / f"f{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(self.chance.randbytes(self.chance.randrange(size)))

    def writing(self) -> tuple[str, int]:
        """@return: the name of a container that writes many files, and how many it has when it is time."""
        name = self.cli.name("writes")
        write = "d=o$((f % 7)); mkdir -p $d; head -c 20000 /dev/urandom > new; mv new $d/f$f"
        script = f"for f in $(seq {self.FILES}); do {write}; done; touch done; sleep 1000"
        started = self.cli(
            *("run", "-d", "--name", name, "-v", f"{self.tree}:/x", "-w", "/x", "busybox", "sh", "-c", script)
        )
        self.assertEqual(started.status, 0, started)
        return name, self.chance.randrange(10, self.FILES // 2)

    def came(self, count: int) -> None:
        """Waits until so many files are here."""
        self.wait_for(lambda: len(list(self.tree.glob("o*/f*"))) >= count, f"{count} files are here", _WAIT)

    def all_back(self, name: str) -> None:
        """Waits until all that the container wrote is here."""
        self.wait_for((self.tree / "done").exists, "all was written", _WAIT)
        there = self.on_remote(f"cd {self.source(name)} && {DIGEST}")
        self.wait_for(lambda: digest(self.tree) == there, "all is here", _WAIT)
        self.no_leftovers()

    def sending(self, count: int) -> None:
        """Waits until a push is under way, of which so many files have arrived."""
        stage = "find ~/.remotedocker/.stage-*/b* -type f 2>/dev/null | wc -l"
        self.wait_for(lambda: int(self.on_remote(stage) or 0) >= count, "it pushes", _WAIT)


class KilledTests(TransferTestCase):
    """Processes that end at any moment."""

    def test_sshd_in_a_push(self) -> None:
        """When sshd's sessions are killed in a push, the start fails or is complete, and the next one is."""
        self.own()
        self.fill(60_000)
        start = self.cli.start(
            "run", "--rm", "-v", f"{self.tree}:/x", "-w", "/x", "busybox", "sh", "-c", DIGEST
        )
        self.sending(self.chance.randrange(1, 20))
        self.remote.kill_ssh_sessions()
        outcome = start.finish()
        if outcome.status == 0:
            self.assertEqual(outcome.stdout, digest(self.tree))
        else:
            self.assertTrue(outcome.stderr)
        self.converged()

    def test_sshd_in_a_pull(self) -> None:
        """When they are killed in a pull, all comes back all the same."""
        self.own()
        name, count = self.writing()
        for _ in range(3):
            self.came(count)
            self.remote.kill_ssh_sessions()
            count += 10
        self.all_back(name)

    def test_agent_in_a_pull(self) -> None:
        """When the agent is killed in a pull, the next one brings the rest, and removes half a file."""
        self.own()
        name, count = self.writing()
        self.came(count)
        self.agent.kill()
        self.agent.log_file.unlink()
        self.agent.start()
        self.all_back(name)

    def test_dockerd_in_a_pull(self) -> None:
        """When dockerd ends, what its containers had written comes back."""
        self.own()
        name, count = self.writing()
        self.came(count)
        self.remote.restart_dockerd()
        source = self.source(name)
        self.wait_for(lambda: self.cli("start", name).status == 0, "it starts again", _WAIT)
        self.cli("stop", "-t", "0", name)
        self.assertEqual(digest(self.tree), self.on_remote(f"cd {source} && {DIGEST}"))
        self.no_leftovers()


class SilentLinkTests(TransferTestCase):
    """A link on which packets vanish, of which nobody is told."""

    def own(self, *options: str) -> Agent:
        """An agent that asks after the link more often, so that the tests need not wait as long as users."""
        configuration = self.scratch / "ssh_config"
        configuration.write_text("ServerAliveInterval 2\nServerAliveCountMax 2\n")
        return super().own("--ssh-config", str(configuration), *options)

    def noticed(self) -> None:
        """Waits until the agent knows that the link is dead."""
        lost = "The SSH connection was lost"
        self.wait_for(lambda: lost in self.agent.log_file.read_text(), "it is noticed", _WAIT)

    def sums(self, script: str) -> dict[str, str]:
        """@return: from what C{md5sum} prints, the sum of each file."""
        lines = (line.split("  ", 1) for line in script.splitlines())
        return {name: digits for digits, name in lines}

    def test_in_a_push(self) -> None:
        """
        The start fails with the cause, or is complete; what is replaced is there as it was or as it will be.
        With the link, all is complete.
        """
        self.own()
        self.fill()
        name = self.begin()
        files, ask = sorted(self.tree.rglob("f*")), "find . -name 'f*' | xargs md5sum"
        there = f"cd {self.source(name)} && {ask}"
        old = self.sums(self.on_remote(there).decode())
        process = self.agent.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        for file in files:
            (self.scratch / "new").write_bytes(self.chance.randbytes(200_000))
            (self.scratch / "new").rename(file)
        shown = subprocess.run(["sh", "-c", ask], cwd=self.tree, stdout=subprocess.PIPE, check=True).stdout
        new = self.sums(shown.decode())
        restart = self.cli.start("restart", "-t", "0", name)
        process.send_signal(signal.SIGCONT)
        self.sending(self.chance.randrange(1, 20))
        with self.remote.silent():
            self.noticed()
            found = self.sums(self.on_remote(there).decode())
            self.assertEqual(found.keys(), old.keys())
            self.assertEqual([each for each in found if found[each] not in (old[each], new[each])], [])
        outcome = restart.finish()
        if outcome.status != 0:
            self.assertIn(b"SSH", outcome.stderr)
        self.converged()

    def test_in_a_pull(self) -> None:
        """What is here meanwhile is complete, and with the link all comes back."""
        self.own()
        name, count = self.writing()
        self.came(count)
        with self.remote.silent():
            self.noticed()
            self.assertEqual({path.stat().st_size for path in self.tree.glob("o*/f*")}, {20_000})
        self.all_back(name)


class FullTests(FaultTestCase):
    """Disks without room, and without permission."""

    def test_remote_full_in_a_push(self) -> None:
        """
        A file that is replaced keeps its old content where there is no room for the new one; the start fails
        with the cause, and with room it is complete.
        """
        place = self.remote_disk("3m")
        self.own("--sync-root", place)
        (self.tree / "replaced").write_text("old")
        for number in range(100):
            (self.tree / f"f{number}").write_text("old")
        name = self.begin()
        source = self.source(name)
        self.on_remote(f"dd if=/dev/zero of={place}/filling bs=1M count=2")
        (self.tree / "tmp").write_bytes(os.urandom(1_500_000))
        (self.tree / "tmp").rename(self.tree / "replaced")
        for number in range(100):
            (self.tree / f"f{number}.tmp").write_bytes(os.urandom(3000))
            (self.tree / f"f{number}.tmp").rename(self.tree / f"f{number}")
            (self.tree / f"g{number}").write_bytes(os.urandom(3000))
        self.restart_refused(name, b"no space left on the remote's disk")
        found = self.on_remote(
            f"cd {source}; find . -name 'f*' -o -name replaced | xargs stat -c %s | sort -u"
        )
        self.assertIn(b"3\n", found)
        self.assertEqual(set(found.split()) - {b"3", b"3000"}, set())
        self.on_remote(f"rm {place}/filling")
        self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
        self.assertEqual(self.inside(name, DIGEST), digest(self.tree))
        self.assertEqual(self.on_remote(f"ls -A {place}/.stage-*"), b"")

    def test_laptop_full_in_a_pull(self) -> None:
        """What has no room here is not here in part; the rest is, and with room all is."""
        self.own()
        self.mount(self.tree, "-t", "tmpfs", "-o", "size=2m", "none")
        (self.tree / "kept").write_text("old")
        self.run_in(
            "for f in $(seq 50); do echo $f > f$f; done;"
            " head -c 3000000 /dev/urandom > kept.new; mv kept.new kept;"
            " head -c 2500000 /dev/urandom > big"
        )
        self.assertEqual((self.tree / "kept").read_text(), "old")
        self.assertEqual(
            sorted(os.listdir(self.tree)), sorted(["kept", *(f"f{number}" for number in range(1, 51))])
        )
        self.assertIn("No space left on device", self.agent.log_file.read_text())
        subprocess.run(["mount", "-o", "remount,size=20m", str(self.tree)], check=True)
        seen = self.run_in(DIGEST)
        self.assertEqual(digest(self.tree), seen)
        self.assertEqual((self.tree / "kept").stat().st_size, 3_000_000)
        self.no_leftovers()

    def test_laptop_read_only_in_a_pull(self) -> None:
        """What may not be written here comes later."""
        self.own()
        self.mount(self.tree, "-t", "tmpfs", "none")
        (self.tree / "kept").write_text("old")
        name = self.begin()
        self.inside(name, "echo 1 > first")
        subprocess.run(["mount", "-o", "remount,ro", str(self.tree)], check=True)
        self.inside(name, "echo new > kept; for f in $(seq 50); do echo $f > f$f; done")
        self.assertEqual(sorted(os.listdir(self.tree)), ["first", "kept"])
        self.assertIn("Read-only file system", self.agent.log_file.read_text())
        subprocess.run(["mount", "-o", "remount,rw", str(self.tree)], check=True)
        self.inside(name, "true")
        self.assertEqual(digest(self.tree), self.inside(name, DIGEST))
        self.no_leftovers()

    def test_remote_read_only_in_a_push(self) -> None:
        """A start whose files may not be written on the remote fails with the cause; later it is complete."""
        place = self.remote_disk("20m")
        self.own("--sync-root", place)
        (self.tree / "file").write_text("old")
        name = self.begin()
        self.cli("stop", "-t", "0", name)
        self.on_remote(f"mount -o remount,ro {place}")
        (self.tree / "file").write_text("new one")
        self.restart_refused(name, b"Read-only file system")
        self.on_remote(f"mount -o remount,rw {place}")
        self.assertEqual(self.cli("restart", "-t", "0", name).status, 0)
        self.assertEqual(self.inside(name, "cat file"), b"new one")
