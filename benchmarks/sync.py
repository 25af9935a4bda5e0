# -*- test-case-name: tests.sync -*-
"""
Mirrors against C{rsync -a} and C{tar | ssh tar}, on the same trees, over the same link::

    TMPDIR=/on/a/tmpfs python -m benchmarks.sync [--rtt 0,50] [--rounds 3] [--only NAME,NAME]

Starts an sshd of its own; the others use a connection that is already there (OpenSSH's ControlMaster), as we
do. The figures are seconds, the median of the rounds, the ways taken in turns. On a disk they vary threefold:
ext4 makes new files slowly where others were removed in the minutes before.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from remotedocker.docker import BindMount
from remotedocker.service import NEW_OBJECTS
from remotedocker.ssh import Remote, SSHConfiguration
from remotedocker.sync import Mirrors, SyncConfiguration
from tests.support.sshd import RunningSSHD, free_port, start_sshd

__all__ = ["main"]

reactor: Any = _reactor


def make_tree(root: Path, files: int, size: int, seed: int = 1) -> None:
    """Makes C{files} files of C{size} bytes altogether, in directories of 50."""
    chance = random.Random(seed)
    block = chance.randbytes(1 << 20)
    for number in range(files):
        directory = root / f"d{number // 500}" / f"e{number // 50}"
        directory.mkdir(parents=True, exist_ok=True)
        left = size // files if files == 1 else int(size / files * chance.uniform(0.2, 1.8))
        with open(directory / f"file{number}", "wb") as file:
            while left > 0:
                start = chance.randrange(len(block) - 4096)
                file.write(block[start : start + min(left, len(block) - start)])
                left -= len(block) - start


class Bench:
    """The laptop's and the remote's directories, the link, and the ways across it."""

    def __init__(self, top: Path, sshd: RunningSSHD, port: int) -> None:
        self.top = top
        self.sshd = sshd
        self.port = port
        self.serial = 0
        self.control = top / f"control-{port}"
        known = sshd.known_hosts_file.read_text().replace(f":{sshd.port} ", f":{port} ")
        self.known_hosts = top / f"known_hosts-{port}"
        self.known_hosts.write_text(known.replace(f"[127.0.0.1]:{sshd.port}", f"[127.0.0.1]:{port}"))
        self.ssh = (
            f"ssh -p {port} -i {sshd.identity_file} -o UserKnownHostsFile={self.known_hosts} -o IPQoS=none"
            f" -o BatchMode=yes -o ControlPath={self.control}"
        )
        self.user = f"{sshd.user}@127.0.0.1"

    def open(self) -> None:
        """Makes the connection that rsync and tar use."""
        subprocess.run(f"{self.ssh} -MNf {self.user}", shell=True, check=True, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        """Ends it."""
        subprocess.run(f"{self.ssh} -O exit {self.user}", shell=True, check=False, stderr=subprocess.DEVNULL)

    def settle(self) -> None:
        """Has the file system finish what was done before, which would be in the way of who comes next."""
        os.sync()

    async def shell(self, command: str) -> float:
        """@return: the seconds that C{command} took."""
        self.settle()
        start = time.perf_counter()
        await deferToThread(subprocess.run, command, shell=True, check=True)
        return time.perf_counter() - start

    async def rsync(self, source: Path, target: Path) -> float:
        """C{rsync -a} to the remote."""
        return await self.shell(f"rsync -a -e '{self.ssh}' {source}/ {self.user}:{target}/")

    async def rsync_back(self, source: Path, target: Path) -> float:
        """C{rsync -a} from the remote."""
        return await self.shell(f"rsync -a -e '{self.ssh}' {self.user}:{source}/ {target}/")

    async def tar(self, source: Path, target: Path) -> float:
        """C{tar | ssh tar}."""
        return await self.shell(
            f"tar -C {source} -cf - . | {self.ssh} {self.user} 'mkdir -p {target}; tar -C {target} -xf -'"
        )

    def directory(self, name: str) -> Path:
        """@return: a path that is new."""
        self.serial += 1
        return self.top / "remote" / f"{name}{self.serial}-{self.port}"


class Ours:
    """An agent's mirrors over our own SSH."""

    def __init__(self, bench: Bench) -> None:
        bench.serial += 1
        self.bench = bench
        self.remote = Remote(
            reactor,
            SSHConfiguration(
                destination=f"{bench.user}:{bench.port}",
                identities=(bench.sshd.identity_file,),
                known_hosts=(bench.known_hosts,),
            ),
            os.environ,
        )
        self.root = bench.top / "ours"
        state = bench.top / f"state{bench.serial}-{bench.port}"
        state.mkdir()
        configuration = SyncConfiguration(agent_id=f"bench{bench.serial}", sync_root=str(self.root))
        self.mirrors = Mirrors(reactor, self.remote, configuration, state)
        self.container = 0

    async def start(self) -> None:
        """Logs in."""
        self.remote.start()
        await self.remote.when_connected()
        self.mirrors.start()
        await self.mirrors._host.facts()
        # As an agent does when it has listed what there is.
        self.mirrors.resynced()
        # The connection for bulk has a login of its own; the others' are warm, too.
        while not all(link.login is not None for link in self.remote._bulk):
            await deferLater(reactor, 0.05, lambda: None)

    async def mount(self, source: Path) -> tuple[float, Path]:
        """@return: the seconds from the create to the barrier's end, and the remote's place."""
        self.container += 1
        self.bench.settle()
        start = time.perf_counter()
        (placed,) = await self.mirrors.place([BindMount(str(source), "/x")])
        self.mirrors.attach(str(self.container), {placed.remote_source: False})
        await self.mirrors.ready(str(self.container))
        return time.perf_counter() - start, Path(placed.remote_source)

    async def unmount(self) -> None:
        """Returns when nothing has what was mounted last."""
        self.mirrors.release(str(self.container))
        await self.mirrors.collect(str(self.container))

    async def stop(self) -> None:
        """Logs out."""
        await self.mirrors.stop()
        await self.remote.stop()


Row = dict[str, list[float]]


async def first_upload(bench: Bench, files: int, size: int, rounds: int) -> Row:
    """A tree that the remote does not have, over connections that are there already."""
    row: Row = {"ours": [], "rsync": [], "tar": []}
    source = bench.top / "laptop" / f"t{files}-{size}"
    if not source.exists():
        source.mkdir(parents=True)
        make_tree(source, files, size)
    ours = Ours(bench)
    await ours.start()
    for number in range(rounds):
        # Another path is another tree.
        source = source.rename(source.with_name(f"t{files}-{size}-{bench.port}-{number}"))
        seconds, place = await ours.mount(source)
        row["ours"].append(seconds)
        subprocess.run(["diff", "-r", source, place], check=True)
        await ours.unmount()
        shutil.rmtree(place)
        for name in ("rsync", "tar"):
            target = bench.directory(name)
            target.mkdir(parents=True)
            row[name].append(await getattr(bench, name)(source, target))
            shutil.rmtree(target)
    source.rename(source.with_name(f"t{files}-{size}"))
    await ours.stop()
    return row


async def changes(bench: Bench, rounds: int) -> dict[str, Row]:
    """A tree of 10,000 files: nothing changed, one edit, 2,000 changes, 10,000 files from the remote."""
    source = bench.top / "laptop" / "changes"
    if not source.exists():
        source.mkdir(parents=True)
        make_tree(source, 10_000, 200_000_000)
    ours = Ours(bench)
    await ours.start()
    await deferLater(reactor, 0.1, lambda: None)
    _, place = await ours.mount(source)
    target, back = bench.directory("rsync"), bench.directory("back")
    target.mkdir(parents=True)
    back.mkdir()
    await bench.rsync(source, target)
    rows: dict[str, Row] = {
        name: {"ours": [], "rsync": []} for name in ("nothing", "edit", "2000 edits", "back")
    }
    for number in range(rounds):
        rows["nothing"]["ours"].append((await ours.mount(source))[0])
        rows["nothing"]["rsync"].append(await bench.rsync(source, target))
        edited = source / "d3" / "e30" / "file1500"
        rows["edit"]["ours"].append(
            await _edit(edited, place / "d3" / "e30" / "file1500", f"edit {number}\n")
        )
        edited.write_text(f"rsync {number}\n")
        rows["edit"]["rsync"].append(await bench.rsync(source, target))
        await ours.mount(source)
        for each in range(0, 10_000, 5):
            (source / f"d{each // 500}" / f"e{each // 50}" / f"file{each}").write_text(
                f"{number} {each}\n" * 200
            )
        rows["2000 edits"]["ours"].append((await ours.mount(source))[0])
        rows["2000 edits"]["rsync"].append(await bench.rsync(source, target))
        subprocess.run(["diff", "-r", source, place], check=True)
        out = f"out{number}"
        await bench.rsync_back(place, back)
        (place / out).mkdir()
        make_tree(place / out, 10_000, 40_000_000, number)
        bench.settle()
        start = time.perf_counter()
        await ours.mirrors.collect(str(ours.container))
        rows["back"]["ours"].append(time.perf_counter() - start)
        subprocess.run(["diff", "-r", source / out, place / out], check=True)
        rows["back"]["rsync"].append(await bench.rsync_back(place, back))
        shutil.rmtree(source / out)
        shutil.rmtree(back / out)
        await ours.mount(source)
        await bench.rsync(source, target)
    await ours.stop()
    return rows


def _memory(field: str) -> float:
    """@return: MiB of this process (C{VmRSS}: now; C{VmHWM}: at most)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) / 1024


async def memory(bench: Bench) -> str:
    """@return: what a tree of 100,000 files adds to an agent that has none; for a process of its own."""
    source = bench.top / "laptop" / "many"
    source.mkdir(parents=True)
    make_tree(source, 100_000, 100_000_000)
    ours = Ours(bench)
    await ours.start()
    idle = _memory("VmRSS")
    # "5" has the kernel begin anew with the peak (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    await ours.mount(source)
    await deferLater(reactor, 1.0, lambda: None)
    after, most = _memory("VmRSS"), _memory("VmHWM")
    await ours.stop()
    return f"{after - idle:.0f} MiB above idle, {most - idle:.0f} MiB at most while they are sent"


async def _edit(file: Path, seen: Path, text: str) -> float:
    """@return: the seconds from a write here to the content there."""
    start = time.perf_counter()
    file.write_text(text)
    while seen.read_text("latin-1") != text:
        await deferLater(reactor, 0.001, lambda: None)
    return time.perf_counter() - start


def report(rtt: float, name: str, row: Row) -> None:
    """Prints one line of the table."""
    medians = {way: statistics.median(times) for way, times in row.items()}
    ratios = " ".join(f"{medians['ours'] / medians[way]:6.2f}x {way}" for way in medians if way != "ours")
    figures = " ".join(f"{way} {seconds:7.3f} s" for way, seconds in medians.items())
    print(f"{rtt:4.0f} ms  {name:28} {figures:50} {ratios}", flush=True)


UPLOADS = {"1,000 files, 34 MB": (1000, 34_000_000), "10,000 files, 200 MB": (10_000, 200_000_000)}
UPLOADS["one file, 500 MB"] = (1, 500_000_000)


async def run(options: argparse.Namespace) -> None:
    """Goes through the table."""
    top = Path(tempfile.mkdtemp(prefix="remotedocker-bench-"))
    sshd = start_sshd(top / "sshd")
    relays: list[subprocess.Popen[bytes]] = []
    try:
        for rtt in (float(each) for each in options.rtt.split(",")):
            port = sshd.port
            if rtt:
                port = free_port()
                command = [sys.executable, "-m", "benchmarks.delay", str(port), str(sshd.port), str(rtt)]
                relays.append(subprocess.Popen(command))
                await deferLater(reactor, 1.0, lambda: None)
            bench = Bench(top, sshd, port)
            bench.open()
            for name, (files, size) in UPLOADS.items():
                if not options.only or name.split()[0] in options.only:
                    report(rtt, name, await first_upload(bench, files, size, options.rounds))
            if not rtt and not options.only:
                command = [sys.executable, "-m", "benchmarks.sync", "--rtt", "0", "--only", "memory"]
                await deferToThread(subprocess.run, command, check=True)
            if "memory" in options.only:
                print(f"{rtt:4.0f} ms  100,000 files, memory          {await memory(bench)}", flush=True)
            if not options.only or "changes" in options.only:
                for name, row in (await changes(bench, options.rounds)).items():
                    report(rtt, name, row)
            bench.close()
    finally:
        for relay in relays:
            relay.kill()
            relay.wait()
        sshd.stop()
        shutil.rmtree(top, ignore_errors=True)


def main(arguments: list[str]) -> None:
    """Runs what C{arguments} ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync")
    parser.add_argument("--rtt", default="0,50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    gc.set_threshold(NEW_OBJECTS)
    failures: list[Any] = []
    running: Callable[[argparse.Namespace], Awaitable[None]] = run

    def begin() -> None:
        done = Deferred.fromCoroutine(running(options))  # type: ignore[arg-type]
        done.addErrback(failures.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        print(failure.getTraceback(), file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
