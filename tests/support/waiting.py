# -*- test-case-name: tests.streams.test_transports -*-
"""
Waiting on a condition in tests that use the reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import deferLater

__all__ = ["wait_until"]

_INTERVAL = 0.005


async def wait_until(
    reactor: Any,
    condition: Callable[[], object],
    describe: Callable[[], str] = lambda: "",
    timeout: float = 30.0,
) -> None:
    """
    Returns once C{condition} is true.

    @param describe: called for the message when it did not become true in C{timeout} seconds.
    """
    deadline = reactor.seconds() + timeout
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError(f"nothing came of it in {timeout} s: {describe()}")
        await deferLater(reactor, _INTERVAL, lambda: None)
