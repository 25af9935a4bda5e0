# -*- test-case-name: tests.sync.test_faults -*-
"""
Faults in the middle of pushes and pulls: afterwards both sides are the same, nothing is lost or left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater

from remotedocker.errors import RemoteDockerError
from tests.support.waiting import wait_until
from tests.sync.test_mirrors import MirrorsTestCase, tree

_ROUNDS = 12


def scribble(chance: random.Random, root: Path, tag: str, files: int) -> None:
    """Changes a tree as users do: writes, replaces, creates, removes and renames."""
    for number in range(files):
        names = sorted(path for path in root.rglob("*") if path.is_file())
        kind = chance.choice(("write", "replace", "create", "create", "rename", "remove"))
        file = chance.choice(names) if names else root / "first"
        content = f"{tag} {number} ".encode() * chance.randrange(1, 3000)
        if kind == "create" or not names:
            file = root / f"d{chance.randrange(6)}" / f"e{chance.randrange(3)}" / f"{tag}-{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        elif kind == "write":
            file.write_bytes(content)
        elif kind == "replace":
            temporary = file.with_name(f"tmp-{tag}-{number}")
            temporary.write_bytes(content)
            temporary.rename(file)
        elif kind == "rename":
            file.rename(file.with_name(f"renamed-{tag}-{number}"))
        elif len(names) > 10:
            file.unlink()


class FaultTests(MirrorsTestCase):
    """Lost logins at random moments, killed agents, full disks."""

    timeout = 180

    async def come_to_rest(self, placed_source: str) -> None:
        """Waits until both sides are the same, whatever is still under way."""
        there = Path(placed_source)

        async def once() -> None:
            try:
                await self.mirrors.ready("c1")
            except RemoteDockerError:
                await deferLater(reactor, 0.05, lambda: None)

        for _ in range(40):
            await once()
            await self.mirrors.collect("c1")
            if tree(self.laptop) == tree(there):
                return
        here, other = tree(self.laptop), tree(there)
        different = [
            f"{name}: {here.get(name)!s:.80} {other.get(name)!s:.80}"
            for name in sorted(here.keys() | other.keys())
            if here.get(name) != other.get(name)
        ]
        self.assertEqual(different, [])

    async def test_lost_logins_during_pushes(self) -> None:
        """However often the login is lost in a push, the next ones complete it, and no stage is left."""
        chance = random.Random(4)
        scribble(chance, self.laptop, "start", 150)
        placed = await self.mount(self.laptop)
        for number in range(_ROUNDS):
            scribble(chance, self.laptop, f"round{number}", chance.choice((3, 60)))
            pushing = self.mirrors.ready("c1")
            pushing.addErrback(lambda failure: failure.trap(RemoteDockerError) and None)
            await deferLater(reactor, chance.random() * 0.12, lambda: None)
            self.remote.lose()
            await pushing
            self.remote.restore()
        await self.come_to_rest(placed.remote_source)
        self.assertFalse((self.state / "conflicts").exists() and (self.state / "conflicts").read_text())
        stage = self.home / ".remotedocker" / ".stage-a1b2"
        self.assertEqual(os.listdir(stage), [])

    async def test_lost_logins_during_pulls(self) -> None:
        """However often the login is lost in a pull, the next ones complete it; no temporary file is left."""
        chance = random.Random(5)
        scribble(chance, self.laptop, "start", 150)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        for number in range(_ROUNDS):
            scribble(chance, there, f"round{number}", chance.choice((3, 60)))
            pulling = self.mirrors.collect("c1")
            await deferLater(reactor, chance.random() * 0.12, lambda: None)
            self.remote.lose()
            await pulling
            self.remote.restore()
        await self.come_to_rest(placed.remote_source)
        self.assertFalse((self.state / "conflicts").exists() and (self.state / "conflicts").read_text())
        self.assertEqual(list(self.laptop.rglob(".remotedocker-*")), [])

    async def test_both_sides_at_once(self) -> None:
        """Different files changed on both sides while logins are lost: all of it is on both in the end."""
        chance = random.Random(6)
        (self.laptop / "here").mkdir()
        (self.laptop / "there").mkdir()
        scribble(chance, self.laptop / "here", "start", 60)
        scribble(chance, self.laptop / "there", "start", 60)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source)
        for number in range(_ROUNDS):
            scribble(chance, self.laptop / "here", f"h{number}", 20)
            scribble(chance, there / "there", f"t{number}", 20)
            await deferLater(reactor, chance.random() * 0.15, lambda: None)
            if number % 3 == 0:
                self.remote.lose()
                await deferLater(reactor, chance.random() * 0.05, lambda: None)
                self.remote.restore()
        here, theirs = tree(self.laptop / "here"), tree(there / "there")
        await self.come_to_rest(placed.remote_source)
        self.assertEqual(tree(self.laptop / "here"), here)
        self.assertEqual(tree(there / "there"), theirs)

    async def test_killed_agents(self) -> None:
        """Agents killed without notice, at any moment, leave a state from which the next one completes it."""
        chance = random.Random(7)
        scribble(chance, self.laptop, "start", 150)
        await self.mirrors.stop()
        for number in range(6):
            agent = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.sync.killable",
                    str(self.laptop),
                    str(self.home),
                    str(self.state),
                ],
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
            )
            assert agent.stdout is not None
            agent.stdout.readline()
            if number:
                scribble(chance, self.laptop, f"round{number}", 40)
            await deferLater(reactor, chance.random() * 0.4, lambda: None)
            agent.send_signal(signal.SIGKILL)
            agent.wait()
            agent.stdout.close()
        self.mirrors = self.make()
        placed = await self.mount(self.laptop)
        await self.come_to_rest(placed.remote_source)
        self.assertFalse((self.state / "conflicts").exists() and (self.state / "conflicts").read_text())

    async def test_revoked_permission(self) -> None:
        """A directory that may not be written on the remote fails the start with the cause, until it may."""
        if os.getuid() == 0:
            # Root may write anywhere but where the file system itself forbids it.
            revoke, grant = ["chattr", "+i"], ["chattr", "-i"]
        else:
            revoke, grant = ["chmod", "a-w"], ["chmod", "u+w"]
        (self.laptop / "sub").mkdir()
        (self.laptop / "sub" / "a").write_text("one")
        placed = await self.mount(self.laptop, run=False)
        there = Path(placed.remote_source)
        subprocess.run([*revoke, there / "sub"], check=True)
        self.addCleanup(lambda: subprocess.run([*grant, there / "sub"], check=True))
        (self.laptop / "sub" / "b").write_text("two")
        error = await self.failing(self.mirrors.ready("c1"), RemoteDockerError)
        self.assertIn(str(self.laptop / "sub" / "b"), error.message)
        self.assertIn("permi", error.message)
        subprocess.run([*grant, there / "sub"], check=True)
        await self.mirrors.ready("c1")
        self.assertEqual(tree(self.laptop), tree(there))

    async def test_no_half_file_where_one_is_replaced(self) -> None:
        """A file that is replaced is the old or the new one on the remote, at every moment of the push."""
        old, new = b"old " * 100_000, b"new! " * 150_000
        (self.laptop / "file").write_bytes(old)
        placed = await self.mount(self.laptop)
        there = Path(placed.remote_source) / "file"
        seen: set[bytes] = set()
        for number in range(6):
            wanted = (new, old)[number % 2]
            (self.laptop / "tmp").write_bytes(wanted)
            (self.laptop / "tmp").rename(self.laptop / "file")

            def arrived(wanted: bytes = wanted) -> bool:
                content = there.read_bytes()
                seen.add(content)
                return content == wanted

            await wait_until(reactor, arrived)
        self.assertEqual(seen, {old, new})
