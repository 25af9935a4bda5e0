# -*- test-case-name: tests.sync.test_guards -*-
"""
Tests, in the words of a POSIX shell, whether files of the remote are what they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from remotedocker.sync._tar import decimal_time
from remotedocker.sync._tree import Entry

__all__ = ["same_files", "unchanged"]


def unchanged(expected: Sequence[tuple[bytes, Entry | None]], coarse: bool) -> list[bytes]:
    """
    @param expected: shell words for names, each with what should be there; directories are not looked at.
    @param coarse: the remote's tools know whole seconds only.
    @return: commands that succeed if all is as it should be.
    """
    tests = [b"[ ! -e %(n)s ] && [ ! -L %(n)s ]" % {b"n": name} for name, entry in expected if entry is None]
    tests += [b"[ -L %s ]" % name for name, entry in expected if entry is not None and entry.is_symlink]
    files = [(name, entry) for name, entry in expected if entry is not None and entry.is_file]
    return [*tests, same_files(files, coarse)] if files else tests


def same_files(files: Sequence[tuple[bytes, Entry]], coarse: bool) -> bytes:
    """
    @return: a command that succeeds if files, by shell word, have the size and time that they should have. It
        says nothing if not: words are what tells a step that cannot be done from one that finds a change.
    """
    words = b" ".join(name for name, _ in files)
    facts = b"\n".join(_fact(entry, coarse) for _, entry in files)
    asked = b"%s %Y" if coarse else b"%s %.9Y"
    return b"[ \"$(stat -c '%s' -- %s 2>/dev/null)\" = '%s' ]" % (asked, words, facts)


def _fact(entry: Entry, coarse: bool) -> bytes:
    if coarse:
        return b"%d %d" % (entry.size, entry.mtime // 1_000_000_000)
    return b"%d %s" % (entry.size, decimal_time(entry.mtime))
