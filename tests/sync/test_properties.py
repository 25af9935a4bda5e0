# -*- test-case-name: tests.sync.test_properties -*-
"""
What must hold whatever both sides do: nothing that somebody wrote last is lost, both come to rest, and both
are the same where they did not contradict each other.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.sync.model import Side, Simulation

EXAMPLES = int(os.environ.get("REMOTEDOCKER_EXAMPLES", "1000" if "CI" in os.environ else "300"))

_NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])
_KINDS = ["write", "write", "replace", "create", "mkdir", "delete", "rename", "rename", "chmod", "link"]

_EDITS = st.tuples(
    st.sampled_from(["local", "remote"]),
    st.sampled_from(_KINDS),
    st.integers(0, 50),
    st.integers(0, 50),
    _NAMES,
)
_STEPS = st.lists(st.one_of(_EDITS, st.just("pass"), st.just("half")), max_size=16)


def _start() -> Simulation:
    """@return: two sides that agree about a few directories and files."""
    simulation = Simulation()
    for number, directory in enumerate((b"", b"a", b"a/b", b"c")):
        if directory:
            entry = simulation.local.entries[b""]
            simulation.local.entries[directory] = entry._replace(inode=simulation.clock.tick())
        for name in (b"x", b"y"):
            path = directory + b"/" + name if directory else name
            _write(simulation, simulation.local, path, b"first %d %s" % (number, name), False)
    simulation.settle()
    return simulation


def _edit(simulation: Simulation, step: tuple[str, str, int, int, bytes], number: int) -> None:
    """One thing that a user does on one side."""
    where, kind, first, second, name = step
    side: Side = simulation.local if where == "local" else simulation.remote
    directories = sorted(side.directories())
    directory = directories[second % len(directories)]
    target = directory + b"/" + name if directory else name
    content = b"%s %d" % (where.encode(), number)
    names = sorted(path for path in side.entries if path)
    chosen = names[first % len(names)] if names else b""
    if kind == "create" or not names:
        _write(simulation, side, target, content, False)
    elif kind in ("write", "replace"):
        _write(simulation, side, chosen, content, kind == "write")
    elif kind == "mkdir" and target not in side.entries:
        side.entries[target] = side.entries[b""]._replace(inode=side.clock.tick())
    elif kind == "delete":
        simulation.forget(side, side.inside(chosen))
        side.remove(chosen)
    elif (
        kind == "rename"
        and not (target + b"/").startswith(chosen + b"/")
        and target not in side.directories()
    ):
        if side.entries[chosen].is_directory and target in side.entries:
            return
        simulation.forget(side, [target])
        side.rename(chosen, target)
    elif kind == "chmod":
        entry = side.entries[chosen]
        side.entries[chosen] = entry._replace(mode=entry.mode ^ 0o100)
    elif kind == "link" and target not in side.entries:
        side.entries[target] = side.entries[b""]._replace(
            mode=0o120777, target=b"to %d" % number, inode=side.clock.tick()
        )


def _write(simulation: Simulation, side: Side, path: bytes, content: bytes, in_place: bool) -> None:
    found = side.entries.get(path)
    if found is not None and not found.is_file:
        return
    simulation.forget(side, [path])
    side.write(path, content, in_place)
    simulation.protected.add(content)


class PropertyTests(SynchronousTestCase):
    """Random users on both sides, and passes between and during what they do."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_STEPS)
    def test_nothing_is_lost(self, steps: list[Any]) -> None:
        """What somebody wrote, and nobody who saw it removed, is on one side at least; all comes to rest."""
        simulation = _start()
        plan = None
        for number, step in enumerate(steps):
            if step == "pass":
                plan = simulation.compare()
                if plan is not None:
                    simulation.perform(plan)
                plan = None
            elif step == "half":
                # Compared now, done only after what the users do next.
                if plan is not None:
                    simulation.perform(plan)
                plan = simulation.compare()
            else:
                _edit(simulation, step, number)
        if plan is not None:
            simulation.perform(plan)
        simulation.settle()
        self.assertEqual(simulation.protected - simulation.everything(), set())

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_STEPS)
    def test_equal_in_the_end(self, steps: list[Any]) -> None:
        """Without a conflict both sides end the same, and a second pass finds nothing to do."""
        simulation = _start()
        for number, step in enumerate(steps):
            if isinstance(step, str):
                simulation.settle()
            else:
                _edit(simulation, step, number)
        simulation.settle()
        if simulation.stopped:
            return
        plan = simulation.compare()
        assert plan is not None
        self.assertTrue(plan.idle)
        if not plan.conflicts:
            self.assertEqual(simulation.local.listing(), simulation.remote.listing())

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_EDITS, max_size=16))
    def test_one_user(self, steps: list[tuple[str, str, int, int, bytes]]) -> None:
        """Where one side only changes, there is never a conflict, and both end the same."""
        for side in ("local", "remote"):
            simulation = _start()
            for number, step in enumerate(steps):
                _edit(simulation, (side, *step[1:]), number)
                if step[2] % 3 == 0:
                    simulation.settle()
                if simulation.stopped:
                    return
            simulation.settle()
            self.assertEqual(simulation.agreement.conflicts, {})
            if not simulation.stopped:
                self.assertEqual(simulation.local.listing(), simulation.remote.listing())
