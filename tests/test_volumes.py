"""Volumes that are binds, and the paths behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import DaemonError, DaemonUnreachable
from remotedocker.volumes import Volumes


class Neighbours:
    """
    The daemon and the mirrors.

    @ivar binds: the device of each volume by name, and its flags; None: it is no bind.
    @ivar questions: the names that were asked for.
    @ivar kept: what the mirrors were told.
    @ivar answer: given instead of the volumes, once.
    """

    def __init__(self) -> None:
        self.binds: dict[str, tuple[str, str] | None] = {}
        self.questions: list[Sequence[str]] = []
        self.kept: list[Mapping[str, bool]] = []
        self.answer: Deferred[Any] | None = None

    def volumes(self, names: Sequence[str] = ()) -> Deferred[Sequence[dict[str, Any]]]:
        self.questions.append(names)
        if self.answer is not None:
            answer, self.answer = self.answer, None
            return answer
        return succeed(self.documents(names))

    def documents(self, names: Sequence[str] = ()) -> Sequence[dict[str, Any]]:
        return [
            {
                "Name": name,
                "Driver": "local",
                "Options": bind and {"type": "none", "device": bind[0], "o": bind[1]},
            }
            for name, bind in self.binds.items()
            if not names or name in names
        ]

    def keeping(self, sources: Mapping[str, bool]) -> None:
        self.kept.append(dict(sources))


class VolumesTests(SynchronousTestCase):
    """L{Volumes}."""

    def setUp(self) -> None:
        """A daemon with a volume that is a bind, and one that is none."""
        self.neighbours = Neighbours()
        self.binds, self.questions, self.kept = (
            self.neighbours.binds,
            self.neighbours.questions,
            self.neighbours.kept,
        )
        self.binds.update(src=("/mirror/src", "bind"), data=None)
        neighbours: Any = self.neighbours
        self.volumes = Volumes(neighbours, neighbours)

    def sources(self, **volumes: bool) -> dict[str, bool]:
        """What is behind volumes now."""
        return self.successResultOf(self.volumes.sources(volumes))

    def test_asked_when_needed(self) -> None:
        """What is not known is asked for, all at once, and once."""
        self.assertEqual(self.sources(src=False, data=False, other=False), {"/mirror/src": False})
        self.assertEqual(self.sources(src=True, data=False, other=False), {"/mirror/src": True})
        self.assertEqual(self.questions, [["data", "other", "src"]])

    def test_nothing_to_ask(self) -> None:
        """What the list has is not asked for again."""
        self.volumes.listed()
        self.assertEqual(self.sources(src=False, data=True), {"/mirror/src": False})
        self.assertEqual(self.questions, [()])

    def test_read_only(self) -> None:
        """A path is read-only where each mount of it is, by itself or by its volume."""
        self.binds.update(again=("/mirror/src", "bind"), fixed=("/mirror/fixed", "bind,ro"))
        self.assertEqual(
            self.sources(src=True, again=True, fixed=False), {"/mirror/src": True, "/mirror/fixed": True}
        )
        self.assertEqual(self.sources(src=False, again=True), {"/mirror/src": False})
        self.volumes.listed()
        self.assertEqual(self.kept, [{"/mirror/src": False, "/mirror/fixed": True}])

    def test_followed(self) -> None:
        """The mirrors of all volumes are followed, from the first list on, as volumes come and go."""
        self.volumes.event("volume create", "src")
        self.assertEqual(self.kept, [])
        self.volumes.listed()
        self.binds.update(new=("/mirror/new", "bind"))
        self.volumes.event("volume create", "new")
        self.volumes.event("volume destroy", "src")
        self.volumes.event("volume destroy", "data")
        self.assertEqual(
            self.kept,
            [{"/mirror/src": False}, {"/mirror/src": False, "/mirror/new": False}, {"/mirror/new": False}],
        )

    def test_made_anew(self) -> None:
        """What is looked at again may be another volume of the same name, or none."""
        self.volumes.listed()
        self.binds["src"] = ("/mirror/other", "bind")
        self.volumes.look(["src"])
        self.assertEqual(self.sources(src=False), {"/mirror/other": False})
        del self.binds["src"]
        self.volumes.look(["src"])
        self.assertEqual(self.sources(src=False), {})
        self.assertEqual(self.kept[-1], {})

    def test_waits_for_the_answer(self) -> None:
        """Nothing is told while a question is open, nor from an answer that is older than the next."""
        self.volumes.listed()
        answer: Deferred[Any] = Deferred()
        self.neighbours.answer = answer
        self.volumes.look(["src"])
        old = self.neighbours.documents(["src"])
        self.binds["src"] = ("/mirror/other", "bind")
        self.volumes.look(["src"])
        self.volumes.look(["src", "data"])
        found = self.volumes.sources({"src": False})
        self.assertNoResult(found)
        answer.callback(old)
        self.assertEqual(self.successResultOf(found), {"/mirror/other": False})
        self.assertEqual(self.questions, [(), ["src"], ["data", "src"]])

    def test_gone_while_listed(self) -> None:
        """A volume that goes while the list is made does not stay known."""
        answer: Deferred[Any] = Deferred()
        self.neighbours.answer = answer
        self.volumes.listed()
        self.volumes.event("volume destroy", "src")
        answer.callback(self.neighbours.documents())
        self.assertEqual(self.kept, [{"/mirror/src": False}, {}])

    def test_no_answer(self) -> None:
        """A question that was lost is asked again by who needs the answer, and fails for nobody else."""
        lost = DaemonUnreachable(socket="/s", destination="h", reason="lost")
        self.neighbours.answer = fail(lost)
        self.volumes.look(["src"])
        self.neighbours.answer = fail(DaemonError(code=500, reason="broken"))
        self.failureResultOf(self.volumes.sources({"src": False}), DaemonError)
        self.assertEqual(self.sources(src=False), {"/mirror/src": False})
        self.neighbours.answer = fail(lost)
        self.volumes.listed()
        self.assertEqual(self.kept, [])
        self.assertEqual(self.sources(src=False), {"/mirror/src": False})

    def test_error_in_the_answer(self) -> None:
        """What is no answer at all is logged, and the next question is asked."""
        self.neighbours.answer = succeed([{}])
        self.volumes.listed()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.sources(src=False), {"/mirror/src": False})
