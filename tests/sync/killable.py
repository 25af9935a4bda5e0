# -*- test-case-name: tests.sync.test_faults -*-
"""
Mirrors in a process of their own, to be killed: mounts a directory and keeps it mounted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from remotedocker.docker import BindMount
from remotedocker.sync import Mirrors, SyncConfiguration
from tests.sync.local_remote import LocalRemote

__all__ = ["main"]

reactor: Any = _reactor


async def _mount(laptop: str, home: Path, state: Path) -> None:
    mirrors = Mirrors(reactor, LocalRemote(reactor, home), SyncConfiguration(agent_id="a1b2"), state)
    mirrors.start()
    mirrors.resynced()
    (placed,) = await mirrors.place([BindMount(laptop, "/x")])
    sys.stdout.write("placed\n")
    sys.stdout.flush()
    mirrors.attach("c1", {placed.remote_source: False})
    mirrors.running("c1")


def main(arguments: list[str]) -> None:
    """Runs until it is killed."""
    laptop, home, state = arguments
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_mount(laptop, Path(home), Path(state))))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
