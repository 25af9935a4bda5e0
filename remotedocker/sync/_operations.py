# -*- test-case-name: tests.sync.test_reconcile -*-
"""
Single changes to one side of a tree, as values; in the order of a plan each finds the tree as it needs it.
"""

from __future__ import annotations

from attrs import frozen

from remotedocker.sync._tree import Entry

__all__ = [
    "Delete",
    "HardLink",
    "MakeDirectory",
    "MakeSymlink",
    "Operation",
    "Rename",
    "SetMode",
    "WriteFile",
]


@frozen
class MakeDirectory:
    """Makes the directory C{path}; where one is there, it is kept and given the permissions."""

    path: bytes
    entry: Entry


@frozen
class WriteFile:
    """
    Gives the file C{path} new content.

    @ivar in_place: the file that is there keeps its inode; otherwise the new one takes its name at once.
    @ivar expected: what is there now, None for nothing.
    """

    path: bytes
    entry: Entry
    in_place: bool
    expected: Entry | None = None


@frozen
class MakeSymlink:
    """Makes the symbolic link C{path}, in the place of a file or link that may be there."""

    path: bytes
    entry: Entry
    expected: Entry | None = None


@frozen
class HardLink:
    """Makes C{path} another name of the file C{existing}."""

    path: bytes
    existing: bytes
    entry: Entry


@frozen
class Rename:
    """
    Gives C{old}, with everything below it, the name C{path}.

    @ivar expected: what has that name now, None for nothing.
    """

    path: bytes
    old: bytes
    entry: Entry
    expected: Entry | None = None


@frozen
class SetMode:
    """Gives C{path} the permissions (and, for a file, the time) of C{entry}."""

    path: bytes
    entry: Entry
    expected: Entry | None = None


@frozen
class Delete:
    """Removes C{path}; a directory only if it is empty."""

    path: bytes
    expected: Entry


Operation = MakeDirectory | WriteFile | MakeSymlink | HardLink | Rename | SetMode | Delete
"""Any of them; each has a C{path}."""
