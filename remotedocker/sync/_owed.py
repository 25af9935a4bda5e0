# -*- test-case-name: tests.sync.test_owed -*-
"""
What the laptop is still owed: who ran with mirrors mounted read-write, kept until what they wrote last is
here. So the next agent brings it back, if this one is killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from remotedocker.state import write_atomically
from remotedocker.sync._flow import InThread

__all__ = ["Owed"]


class Owed:
    """
    The sources, as the remote daemon knows them, of each container or service that may have written more than
    is here, in a JSON file. What cannot be read or written is logged; it then comes with the next start that
    mounts the tree.
    """

    _log = Logger()

    def __init__(self, path: Path, run: InThread) -> None:
        self._path = path
        self._run = run
        self._sources: dict[str, tuple[str, ...]] = {}
        self._changed = False
        self._writing: Deferred[None] | None = None

    def load(self) -> None:
        """Reads what the agent before this one has left."""
        try:
            document = json.loads(self._path.read_bytes())
            self._sources = {
                str(user): tuple(map(str, sources)) for user, sources in document["owed"].items()
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._log.warn("{path} cannot be read: {error}", path=str(self._path), error=error)

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """A copy: by the name of the container or service."""
        return dict(self._sources)

    def add(self, user: str, sources: Iterable[str]) -> None:
        """C{user} may write to C{sources} from now on."""
        wanted = tuple(sorted({*self._sources.get(user, ()), *sources}))
        if wanted and self._sources.get(user) != wanted:
            self._sources[user] = wanted
            self._save()

    def settle(self, user: str) -> None:
        """All that C{user} wrote is here."""
        if self._sources.pop(user, None) is not None:
            self._save()

    def saved(self) -> Deferred[None]:
        """@return: fires when the file says what is known now."""
        if self._writing is None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._writing.addCallback(waiting.callback)
        return waiting

    def _save(self) -> None:
        """Nobody waits for the disk: what changes meanwhile is written next."""
        self._changed = True
        if self._writing is None:
            self._writing = Deferred()
            Deferred.fromCoroutine(self._write(self._writing))

    async def _write(self, written: Deferred[None]) -> None:
        while self._changed:
            self._changed = False
            content = json.dumps({"version": 1, "owed": self._sources}, indent=1, sort_keys=True)
            try:
                await self._run(write_atomically, self._path, content.encode() + b"\n")
            except OSError as error:
                self._log.warn("{path} cannot be written: {error}", path=str(self._path), error=error)
        self._writing = None
        written.callback(None)
