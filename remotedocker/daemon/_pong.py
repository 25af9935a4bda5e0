# -*- test-case-name: tests.daemon.test_pong -*-
"""
The daemon's answer to a ping, kept: the CLI asks it before every command, and a round trip is saved.
"""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from remotedocker.http import ResponseHead

__all__ = ["Pong", "date_of"]


def date_of(head: ResponseHead) -> int | None:
    """@return: C{Date} in whole seconds since the epoch, by the daemon's clock; None if there is none."""
    try:
        return int(parsedate_to_datetime((head.headers.get(b"date") or b"").decode("latin-1")).timestamp())
    except (ValueError, OverflowError):
        return None


class Pong:
    """The last head of an answer to C{HEAD /_ping}, as long as it is true."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._before = self._after = b""

    def keep(self, head: ResponseHead) -> None:
        """@param head: what the daemon answered just now; anything but a 200 is no pong."""
        self.forget()
        if head.status == 200:
            start, _, _ = head.raw.partition(b"\r\n")
            fields = head.headers.without(b"date").encode()
            self._before = start + b"\r\n" + fields + b"Date: "
            self._after = b"\r\n\r\n"

    def forget(self) -> None:
        """It may not be true any more."""
        self._before = self._after = b""

    def head(self) -> bytes | None:
        """@return: the head, with the time of now by our own clock in C{Date}; None if there is none."""
        if not self._before:
            return None
        return self._before + formatdate(self._clock.seconds(), usegmt=True).encode("ascii") + self._after
