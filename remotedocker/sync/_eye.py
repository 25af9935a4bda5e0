# -*- test-case-name: tests.sync.test_mirror -*-
"""
The laptop's side of one tree, seen through the ignore rules and the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import Factory, define
from twisted.logger import Logger

from remotedocker.errors import TreeTooLarge
from remotedocker.sync._configuration import SyncConfiguration, readable_size
from remotedocker.sync._ignore import IgnoreRules
from remotedocker.sync._laptop import LaptopTree
from remotedocker.sync._names import Names, names_of
from remotedocker.sync._scan import ScanLimit, Scanner
from remotedocker.sync._tree import Base, Place, Scan, ancestors, shown, under

__all__ = ["Eye"]


@define
class Eye:
    """
    @ivar excluded: paths in the tree that other mirrors keep.
    @ivar places: the root, and where else a file system began at the last look.
    @ivar probe: finds out which names are one in a directory.
    @ivar names: what it found.
    @ivar entering: told of each directory just before it is read, if the tree is watched.
    @ivar entered: whether what changes in a directory is told, so that it need not be read.
    """

    configuration: SyncConfiguration
    laptop: LaptopTree
    excluded: frozenset[bytes] = frozenset()
    places: Mapping[bytes, Place] = Factory(dict)
    entering: Callable[[bytes], None] | None = None
    entered: Callable[[bytes], bool] | None = None
    probe: Callable[[bytes], Names] = names_of
    names: Names = Names()
    _rules: IgnoreRules | None = None
    _warned: set[bytes] = Factory(set)

    _log = Logger()

    def hidden(self, path: bytes, is_directory: bool) -> bool:
        """Whether C{path} is in this tree by its name only: ignored, or another mirror's."""
        if self.excluded and any(under(path, other) for other in self.excluded):
            return True
        return self._rules is not None and self._rules.hidden(path, is_directory)

    def whole(self, base: Base) -> Scan:
        """
        Looks at everything, by the ignore rules as they are now; temporary files of ours that were left there
        are removed. For a thread.

        @raise TreeTooLarge: it has more than the limits allow.
        """
        try:
            scan = self._scanner(anew=True).whole(base)
            self.laptop.clean(scan.leftovers)
            return scan
        except ScanLimit as limit:
            raise self._too_large(limit) from limit

    def parts(self, paths: set[bytes], base: Base, fresh: Scan | None) -> Scan:
        """
        Looks at C{paths} alone. For a thread.

        @param fresh: what L{whole} saw a moment ago, for everything else.
        """
        scan = self._scanner(anew=False).parts(paths, base)
        if fresh is None:
            return scan
        outdated = {path for path in paths if path not in scan.delta}
        gone = {path for path in outdated if path not in base}
        for path, entry in fresh.delta.items():
            if path not in outdated and not any(above in gone for above in ancestors(path)):
                scan.delta.setdefault(path, entry)
        scan.unknown |= fresh.unknown
        scan.places = {**fresh.places, **scan.places}
        return scan

    def problems(self, scan: Scan) -> list[str]:
        """
        Warns of names that cannot be mirrored, once for each path.

        @return: the warnings.
        """
        lines: list[str] = []
        for problem in scan.problems:
            if problem.path in self._warned:
                continue
            self._warned.add(problem.path)
            path = shown(self.laptop.absolute(problem.path))
            lines.append(f"{path} is not synced: {problem.reason}")
            self._log.warn("{path} is not synced: {reason}", path=path, reason=problem.reason)
        return lines

    def _scanner(self, anew: bool) -> Scanner:
        configuration, root = self.configuration, self.laptop.root
        if self._rules is None or anew:
            self._rules = IgnoreRules.of_directory(root, configuration.ignore, configuration.gitignore)
            self.names = self.probe(self.laptop.top)
        scanner = Scanner(
            root,
            self._rules,
            excluded=self.excluded,
            places=self.places,
            names=self.names,
            max_files=configuration.max_tree_files,
            max_size=configuration.max_tree_size,
        )
        if self.entering is not None:
            scanner.entering = self.entering
        if self.entered is not None:
            scanner.entered = self.entered
        return scanner

    def _too_large(self, limit: ScanLimit) -> TreeTooLarge:
        configuration = self.configuration
        source = shown(self.laptop.root)
        if limit.files > configuration.max_tree_files:
            found, most = f"{limit.files:,} files", f"{configuration.max_tree_files:,}"
            return TreeTooLarge(source=source, found=found, limit=most, option="--max-tree-files")
        found, most = readable_size(limit.size), readable_size(configuration.max_tree_size)
        return TreeTooLarge(source=source, found=found, limit=most, option="--max-tree-size")
