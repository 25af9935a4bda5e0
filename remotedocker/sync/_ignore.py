# -*- test-case-name: tests.sync.test_ignore -*-
"""
Which names of a tree are left alone: C{--ignore}, C{.remotedockerignore} and, if asked for, C{.gitignore}.

The syntax and its meaning are those of C{gitignore(5)}: the last pattern that matches decides, C{!} takes a
name back in, and nothing below an ignored directory is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from pathspec import GitIgnoreSpec

from remotedocker.sync._tree import ancestors

__all__ = ["GIT_IGNORE_FILE", "IGNORE_FILE", "IgnoreRules"]

IGNORE_FILE = b".remotedockerignore"
GIT_IGNORE_FILE = b".gitignore"


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _valid(line: str) -> bool:
    """@return: whether C{line} means something; a bad one, as for Git, matches nothing."""
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return bool(line.strip())


def _compile(lines: Sequence[str]) -> GitIgnoreSpec | None:
    valid = [line for line in lines if _valid(line)]
    return GitIgnoreSpec.from_lines(valid) if valid else None


class IgnoreRules:
    """
    The rules of one tree, as they stand at one scan.

    @param patterns: from C{--ignore}.
    @param gitignore: whether C{.gitignore} files count.
    @param read: reads a file of the tree by its relative path, or returns None if there is none.
    """

    def __init__(
        self, patterns: Sequence[str], gitignore: bool, read: Callable[[bytes], bytes | None]
    ) -> None:
        self._read = read
        self._gitignore = gitignore
        own = read(IGNORE_FILE)
        lines = [*patterns, *(_text(own).splitlines() if own is not None else ())]
        self._own = _compile(lines)
        self._git: dict[bytes, tuple[bytes, GitIgnoreSpec | None]] = {}
        self._known: dict[bytes, bool] = {}
        self._lines = tuple(lines)

    @classmethod
    def of_directory(cls, root: bytes, patterns: Sequence[str], gitignore: bool) -> IgnoreRules:
        """@return: the rules that hold in the directory C{root} of this machine."""

        def read(path: bytes) -> bytes | None:
            try:
                with open(os.path.join(root, path), "rb") as file:
                    return file.read(1 << 20)
            except OSError:
                return None

        return cls(patterns, gitignore, read)

    @property
    def empty(self) -> bool:
        """Whether nothing can be ignored."""
        return self._own is None and not self._gitignore

    def fingerprint(self) -> tuple[tuple[str, ...], tuple[tuple[bytes, bytes], ...]]:
        """@return: equal for equal rules, as far as C{.gitignore} files were met."""
        met = tuple(sorted((path, text) for path, (text, spec) in self._git.items() if spec is not None))
        return self._lines, met

    def ignored(self, path: bytes, is_directory: bool) -> bool:
        """
        @return: whether C{path} itself is ignored; that none of its parents is was settled before.
        """
        if self._own is not None:
            verdict = self._own.check_file(_text(path) + ("/" if is_directory else "")).include
            if verdict is not None:
                return verdict
        return self._gitignore and self._ignored_by_git(path, is_directory)

    def hidden(self, path: bytes, is_directory: bool) -> bool:
        """@return: whether C{path} or a directory above it is ignored."""
        if self.empty or not path:
            return False
        for above in reversed([*ancestors(path)][:-1]):
            known = self._known.get(above)
            if known is None:
                known = self._known[above] = self.ignored(above, True)
            if known:
                return True
        return self.ignored(path, is_directory)

    def _ignored_by_git(self, path: bytes, is_directory: bool) -> bool:
        for directory in ancestors(path):
            spec = self._git_rules(directory)
            if spec is None:
                continue
            inside = path[len(directory) + 1 :] if directory else path
            verdict = spec.check_file(_text(inside) + ("/" if is_directory else "")).include
            if verdict is not None:
                return verdict
        return False

    def _git_rules(self, directory: bytes) -> GitIgnoreSpec | None:
        if directory not in self._git:
            name = directory + b"/" + GIT_IGNORE_FILE if directory else GIT_IGNORE_FILE
            text = self._read(name) or b""
            self._git[directory] = (text, _compile(_text(text).splitlines()))
        return self._git[directory][1]
