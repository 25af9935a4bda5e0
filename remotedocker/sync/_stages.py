# -*- test-case-name: tests.sync.test_stages -*-
"""
The order in which changes come to the laptop, and what belongs together there. No input or output here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remotedocker.sync._laptop import Pulled
from remotedocker.sync._operations import Delete, MakeDirectory, Operation, SetMode, WriteFile
from remotedocker.sync._tree import ancestors, inside

__all__ = ["new_directories", "stages", "without"]


def new_directories(operations: Sequence[Operation]) -> list[bytes]:
    """@return: those that are made where nothing is, without those that are made in them."""
    made = {each.path for each in operations if isinstance(each, MakeDirectory) and each.path}
    made -= {each.path for each in operations if isinstance(each, Delete)}
    return [path for path in made if not any(above in made for above in ancestors(path))]


def without(pulled: Pulled, missing: Mapping[bytes, str]) -> Pulled:
    """
    @param missing: directories that are not there after all, with the reasons.
    @return: C{pulled}, without what was done in them.
    """
    if not missing:
        return pulled
    lost = [(each[0], missing[each[0].path]) for each in pulled.done if each[0].path in missing]
    return Pulled(
        [each for each in pulled.done if not inside(each[0].path, missing)],
        [
            *lost,
            *(each for each in pulled.failed if each[0].path in missing or not inside(each[0].path, missing)),
        ],
    )


def stages(
    operations: Sequence[Operation],
) -> tuple[list[Operation], list[WriteFile], list[Operation]]:
    """
    @return: what comes before the files, the files, and what comes after: removals, unless they make room,
        and permissions that might be in the way.
    """
    made = {each.path: each for each in operations if not isinstance(each, Delete)}
    early: list[Operation] = []
    files: list[WriteFile] = []
    late: list[Operation] = []
    for operation in operations:
        if isinstance(operation, WriteFile):
            files.append(operation)
        elif (
            isinstance(operation, SetMode)
            or isinstance(operation, Delete)
            and not any(each in made for each in (operation.path, *ancestors(operation.path)) if each)
        ):
            late.append(operation)
        else:
            early.append(operation)
            if isinstance(operation, MakeDirectory) and operation.entry.permissions & 0o700 != 0o700:
                opened = operation.entry._replace(mode=operation.entry.mode & ~0o6000 | 0o700)
                late.append(SetMode(operation.path, operation.entry, opened))
    return early, files, late
