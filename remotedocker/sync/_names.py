# -*- test-case-name: tests.sync.test_names -*-
"""
Names that the laptop's file system takes for one, though the remote does not: those that differ only in case
(macOS, Windows), or in how Unicode composes a letter (macOS).

Of such names only one can be on the laptop. The others stay where they are: they are reported, and never
merged with it.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Collection, Iterable

from attrs import frozen

__all__ = ["Names", "names_of"]


@frozen
class Names:
    """
    What counts as one name.

    @ivar case: names that differ only in case.
    @ivar form: names that differ only in their Unicode normalisation form (UAX #15); the remote then has them
        composed (NFC), as other programs write them.
    """

    case: bool = False
    form: bool = False

    @property
    def exact(self) -> bool:
        """Whether all names that differ in any byte are different."""
        return not self.case and not self.form

    def key(self, path: bytes) -> bytes:
        """@return: the same for all paths that are one here."""
        if self.exact:
            return path
        text = path.decode("utf-8", "surrogateescape")
        if self.form:
            text = unicodedata.normalize("NFD", text)
        if self.case:
            text = text.casefold()
        if self.form:
            text = unicodedata.normalize("NFD", text)
        return text.encode("utf-8", "surrogateescape")

    def spelled(self, name: bytes) -> bytes:
        """@return: how the remote is told of a name that is here."""
        if not self.form or name.isascii():
            return name
        text = unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogateescape")

    def collisions(self, new: Iterable[bytes], there: Iterable[bytes]) -> dict[bytes, bytes]:
        """
        @param new: paths that are to be made here.
        @param there: those that are here.
        @return: each of C{new} that would be one with another path, to that path.
        """
        if self.exact:
            return {}
        first: dict[bytes, bytes] = {}
        for path in there:
            first[self.key(path)] = path
        present = frozenset(first)
        found: dict[bytes, bytes] = {}
        for path in sorted(new):
            key = self.key(path)
            other = first.setdefault(key, path)
            if other != path:
                found[path] = other
                if key not in present:
                    # Neither was here before: it is not for us to choose.
                    found[other] = path
        return found


def _same(directory: bytes, one: bytes, other: bytes) -> bool:
    try:
        return os.path.samestat(os.lstat(directory + b"/" + one), os.lstat(directory + b"/" + other))
    except OSError:
        return False


def _cased(name: bytes, among: Collection[bytes]) -> bytes | None:
    other = name.swapcase()
    return None if other == name or other in among else other


def _formed(name: bytes, among: Collection[bytes]) -> bytes | None:
    if name.isascii():
        return None
    text = name.decode("utf-8", "surrogateescape")
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, text).encode("utf-8", "surrogateescape")
        if other != name and other not in among:
            return other
    return None


def names_of(directory: bytes) -> Names:
    """@return: what the file system of C{directory} does, tried with names that are in it or lead to it."""
    case: bool | None = None
    form: bool | None = None
    while case is None or form is None:
        try:
            names = frozenset(os.listdir(directory))
        except OSError:
            names = frozenset()
        for name in names:
            if case is None and (other := _cased(name, names)) is not None:
                case = _same(directory, name, other)
            if form is None and (other := _formed(name, names)) is not None:
                form = _same(directory, name, other)
            if case is not None and form is not None:
                break
        if form is None and case is not None:
            form = case and sys.platform == "darwin"
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    return Names(bool(case), bool(form))
