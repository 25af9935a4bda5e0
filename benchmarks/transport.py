"""
The daemon's API through remotedocker, through OpenSSH and over bare TCP, on the same links, in the same run::

    python -m benchmarks.transport [--quick] [--rounds 5] [--rows load,save] [--list] [--figures]

Starts a remote host of its own with sshd and dockerd, and a second link to it with a round trip of 50 ms. In
each round every way is taken in turns, forwards and backwards alternately, so that what else the machine does
meets all of them. What is printed are the ratios of measurements that were taken one after the other: of
speeds where the bar is a least one, of times where it is a greatest one.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from attrs import field, frozen

from benchmarks import _transport_measures as measure
from benchmarks._transport_ways import DOCKER_SSH, GCM, OURS, RAW, SSH, Bench, Link
from tests.integration.stack import running_remote

__all__ = ["main"]

_LONG = 50.0

_OF_RAW = round(1 / 0.85, 2)
"""Of the time over bare TCP, to the daemon without any encryption, that a transfer may take at most."""

Figures = dict[str, list[float]]


@frozen
class Bar:
    """
    What a ratio must reach.

    @ivar way: what remotedocker is compared with.
    @ivar limit: the ratio; of speeds if C{least}, otherwise of times.
    @ivar least: more is better.
    @ivar ceiling: the ratio cannot be greater than that of this way, of which C{share} does as well.
    """

    way: str
    limit: float
    least: bool = True
    ceiling: str = ""
    share: float = 0.85

    def ratios(self, figures: Figures, ours: str = OURS) -> list[float]:
        """@return: one for each measurement."""
        pairs = zip(figures[ours], figures[self.way], strict=True)
        return [theirs / mine if self.least else mine / theirs for mine, theirs in pairs]

    def bound(self, figures: Figures) -> float:
        """@return: the limit on this link."""
        if not self.ceiling:
            return self.limit
        return min(self.limit, self.share * statistics.median(self.ratios(figures, self.ceiling)))


@frozen
class Row:
    """
    Seconds of several ways, against each other.

    @ivar name: for C{--rows}.
    @ivar title: for the table.
    @ivar rtt_ms: of the link.
    @ivar of: measures a way over a link, in seconds.
    @ivar bars: what is compared.
    @ivar times: how often in each round.
    @ivar rounds: at most so many.
    """

    name: str
    title: str
    rtt_ms: float
    of: Callable[[Link, str], float]
    bars: tuple[Bar, ...]
    times: int = 1
    rounds: int = 100

    @property
    def ways(self) -> list[str]:
        """Each once."""
        named = (OURS, *(bar.way for bar in self.bars), *(bar.ceiling for bar in self.bars))
        return [way for way in dict.fromkeys(named) if way]

    def take(self, link: Link, number: int, figures: Figures) -> None:
        """One round."""
        for turn in range(self.times):
            for way in self.ways if (number + turn) % 2 else reversed(self.ways):
                figures.setdefault(way, []).append(self.of(link, way))

    def lines(self, figures: Figures) -> Iterator[str]:
        """The table's."""
        for bar in self.bars:
            ratios, bound = bar.ratios(figures), bar.bound(figures)
            median = statistics.median(ratios)
            met = median >= bound if bar.least else median <= bound
            yield _line(
                *(self.rtt_ms, self.title, bar.way, ratios),
                f"{'≥' if bar.least else '≤'} {bound:.2f}x",
                *(met, "x"),
            )


@frozen
class Alone:
    """
    Figures of remotedocker that are held against a bar as they are.

    @ivar of: measures; a figure for each of C{bars}.
    @ivar bars: what each is called, the greatest that it may be, and its unit.
    """

    name: str
    rtt_ms: float
    of: Callable[[Link], Sequence[float]]
    bars: tuple[tuple[str, float, str], ...]
    rounds: int = 1
    ways: Sequence[str] = field(default=(OURS,), init=False)

    def take(self, link: Link, number: int, figures: Figures) -> None:
        """One round."""
        for (title, _, _), figure in zip(self.bars, self.of(link), strict=True):
            figures.setdefault(title, []).append(figure)

    def lines(self, figures: Figures) -> Iterator[str]:
        """The table's."""
        for title, limit, unit in self.bars:
            met = statistics.median(figures[title]) <= limit
            yield _line(self.rtt_ms, title, "", figures[title], f"≤ {limit:g}{unit}", met, unit)


def _line(
    rtt_ms: float, title: str, way: str, figures: Sequence[float], bar: str, met: bool, unit: str
) -> str:
    shown = [f"{figure:.2f}{unit}" for figure in (min(figures), statistics.median(figures), max(figures))]
    cells = [f"{rtt_ms:g} ms", title, way and f"`{way}`", *shown, bar, "met" if met else "**missed**"]
    return f"| {' | '.join(cells)} |"


def _idle(found: measure.Idle) -> tuple[float, float]:
    return found.mib, found.cpu * 100


def _echo(link: Link, archive: Path, count: int) -> tuple[float]:
    idle, busy = measure.echo_latencies(link, OURS, archive, count)
    return (busy / idle,)


def rows(quick: bool, archive: Callable[[], Path]) -> list[Row | Alone]:
    """
    The table's.

    @param archive: makes the image and gives the archive to be loaded.
    """
    near, far = (100_000_000, 40_000_000) if quick else (300_000_000, 120_000_000)
    logs, clients, cycles = (200, 40, 200) if quick else (1000, 200, 400)
    return [
        Row(
            *("up0", "bulk to the daemon's socket", 0, partial(measure.bulk_up, size=near)),
            (Bar(SSH, 1.5), Bar(GCM, 1.0)),
            times=3,
        ),
        Row(
            *("down0", "bulk from the daemon's socket", 0, partial(measure.bulk_down, size=near)),
            (Bar(SSH, 1.3), Bar(GCM, 1.0)),
            times=3,
        ),
        Row(
            *("connect0", "new connection, request, close", 0),
            *(partial(measure.connect_cycle, count=cycles), (Bar(SSH, 0.7),)),
            times=2,
        ),
        Row(
            *("ping0", "ping-pong on an open connection", 0),
            *(partial(measure.ping_pong, count=cycles * 4), (Bar(SSH, 0.85),)),
            times=2,
        ),
        Row(
            *("many0", f"{clients} `docker ps` at once", 0, partial(measure.many_ps, count=clients)),
            (Bar(SSH, 1.2, least=False),),
            rounds=3,
        ),
        Row(
            *("up50", "bulk to the daemon's socket", _LONG, partial(measure.bulk_up, size=far)),
            (Bar(SSH, 0.95),),
        ),
        Row(
            *("down50", "bulk from the daemon's socket", _LONG, partial(measure.bulk_down, size=far)),
            (Bar(SSH, 3.0, ceiling=RAW), Bar(RAW, 0.85)),
        ),
        Row(
            *("load50", "`docker load`", _LONG),
            lambda link, way: measure.docker_load(link, way, archive()),
            (Bar(SSH, 0.65, least=False), Bar(RAW, _OF_RAW, least=False)),
            rounds=3,
        ),
        Row(
            *("save50", "`docker save`", _LONG),
            lambda link, way: measure.docker_save(link, way, archive()),
            (Bar(SSH, 0.7, least=False), Bar(RAW, _OF_RAW, least=False)),
            rounds=3,
        ),
        Row(
            *("ps50", "`docker ps`", _LONG, measure.docker_ps),
            (Bar(SSH, 0.35, least=False), Bar(DOCKER_SSH, 0.08, least=False), Bar(RAW, 1.0, least=False)),
            times=3,
        ),
        Row(
            *("run50", "`docker run --rm busybox true`", _LONG, measure.docker_run),
            (Bar(SSH, 0.75, least=False), Bar(RAW, 1.0, least=False)),
            times=2,
        ),
        Row(
            *("connect50", "new connection, request, close", _LONG),
            *(partial(measure.connect_cycle, count=20), (Bar(SSH, 0.52, least=False),)),
        ),
        Alone(
            *("echo50", _LONG, lambda link: _echo(link, archive(), 100)),
            (("echo through `exec` while an image loads, 95th percentile, of idle", 1.3, "x"),),
            rounds=2,
        ),
        Alone(
            *("idle0", 0, lambda link: _idle(measure.idle_agent(link, OURS, 5))),
            (("idle agent, memory", 60, " MiB"), ("idle agent, processor", 1, " %")),
        ),
        Alone(
            *("logs0", 0, lambda link: _idle(measure.idle_logs(link, OURS, logs, 5))),
            ((f"{logs:,} idle `logs -f`, memory", 40, " MiB"), ("the same, processor", 1, " %")),
        ),
    ]


def run(options: argparse.Namespace, directory: Path) -> list[str]:
    """@return: the table's lines."""
    made: list[Path] = []
    with running_remote() as remote:

        def archive() -> Path:
            if not made:
                made.append(measure.make_image(bench.links[_LONG], directory, 50 if options.quick else 300))
            return made[0]

        wanted = [row for row in rows(options.quick, archive) if not options.rows or row.name in options.rows]
        bench = Bench(remote, directory, sorted({row.rtt_ms for row in wanted}))
        try:
            return _measure(bench, wanted, options)
        finally:
            bench.stop()


def _measure(bench: Bench, wanted: Sequence[Row | Alone], options: argparse.Namespace) -> list[str]:
    figures: dict[str, Figures] = {row.name: {} for row in wanted}
    failed: dict[str, str] = {}
    for number in range(options.rounds):
        for row in wanted:
            if number >= row.rounds or row.name in failed:
                continue
            print(f"round {number + 1}: {row.name}", file=sys.stderr, flush=True)
            try:
                row.take(bench.links[row.rtt_ms], number, figures[row.name])
            except (OSError, RuntimeError) as error:
                traceback.print_exc()
                failed[row.name] = (
                    f"| {row.rtt_ms:g} ms | {row.name} | failed: {error} | | | | | **missed** |"
                )
            if options.figures:
                for way, values in figures[row.name].items():
                    shown = " ".join(f"{value:.4f}" for value in values)
                    print(f"    {way:20} {shown}", file=sys.stderr, flush=True)
    return [
        line
        for row in wanted
        for line in ([failed[row.name]] if row.name in failed else row.lines(figures[row.name]))
    ]


def main(arguments: Sequence[str]) -> None:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transport", description="The daemon's API against ssh -L."
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, and two rounds")
    parser.add_argument("--rounds", type=int, help="how often every way is taken (5)")
    parser.add_argument("--rows", type=lambda text: text.split(","), help="only these, with commas between")
    parser.add_argument("--figures", action="store_true", help="what was measured, to the standard error")
    parser.add_argument("--list", action="store_true", help="the names for --rows")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(row.name for row in rows(False, Path)))
        return
    options.rounds = options.rounds or (2 if options.quick else 5)
    directory = Path(tempfile.mkdtemp(prefix="transport-", dir="/var/tmp"))
    try:
        lines = run(options, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{machine}, {date.today()}\n")
    print("| round trip | measure | against | least | median | greatest | bar | |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
