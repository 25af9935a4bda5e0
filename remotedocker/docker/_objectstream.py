# -*- test-case-name: tests.docker.test_eventstream -*-
"""
A stream of JSON objects, one after the other, cut anywhere: where each begins and ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import define, field

__all__ = ["ObjectStream"]

_MARKS = re.compile(rb'["{}\x1e]')
_MARKS_IN_STRING = re.compile(rb'"|\\|\x1e')


@define
class ObjectStream:
    """
    Finds the objects by their braces, whatever stands between them: nothing, newlines, or the record
    separators of C{application/json-seq} (RFC 7464), which also end an object that was cut short.

    @ivar limit: an object longer than so many bytes is not kept until it is complete.
    """

    limit: int = 4 * 1024 * 1024
    _held: bytearray = field(factory=bytearray, init=False)
    _depth: int = field(default=0, init=False)
    _in_string: bool = field(default=False, init=False)
    _escaped: bool = field(default=False, init=False)
    _too_long: bool = field(default=False, init=False)

    def split(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """
        @return: what came, in order and without a gap: each complete object (C{True}), and everything else
            (C{False}): what stands between them, and objects that are too long or cut short. Of an object
            that is not complete yet, nothing.
        """
        start = index = 0
        while True:
            if self._escaped and index < len(data):
                self._escaped = False
                index += 1
            mark = (_MARKS_IN_STRING if self._in_string else _MARKS).search(data, index)
            if mark is None:
                break
            index = mark.end()
            if mark[0] == b"\x1e":
                yield self.take() + data[start:index], False
                start = index
            elif mark[0] == b"\\":
                self._escaped = True
            elif self._depth == 0:
                if mark[0] == b"{":
                    yield data[start : mark.start()], False
                    self._depth, start = 1, mark.start()
            elif mark[0] == b'"':
                self._in_string = not self._in_string
            else:
                self._depth += 1 if mark[0] == b"{" else -1
                if self._depth == 0:
                    yield self._completed(data[start:index])
                    start = index
        yield self._keep(data[start:]), False

    def take(self) -> bytes:
        """@return: what is there of an object that is not complete; no more of it will come."""
        held = bytes(self._held)
        self._held.clear()
        self._depth, self._in_string, self._escaped, self._too_long = 0, False, False, False
        return held

    def _completed(self, part: bytes) -> tuple[bytes, bool]:
        too_long = self._too_long or len(self._held) + len(part) > self.limit
        return self.take() + part, not too_long

    def _keep(self, part: bytes) -> bytes:
        """@return: what of C{part}, the end of what came, need not wait."""
        if self._depth == 0:
            return part
        self._held += part
        if not self._too_long and len(self._held) <= self.limit:
            return b""
        self._too_long = True
        held = bytes(self._held)
        self._held.clear()
        return held
