# -*- test-case-name: tests.test_summary -*-
"""
C{python -m tests.summary LOG}: adds up the results of every trial run in a log, for C{make test}.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

__all__ = ["main", "total"]

_RESULT = re.compile(r"\b(?:PASSED|FAILED) \(((?:[a-zA-Z]+=\d+(?:, )?)+)\)\s*$")
_PASSED = {"successes", "expectedFailures"}
_FAILED = {"failures", "errors", "unexpectedSuccesses"}


def total(lines: Iterable[str]) -> tuple[int, int, int]:
    """
    @param lines: the output of any number of trial runs, each ended by C{PASSED (successes=5)} or such.
    @return: how many tests passed, failed and were skipped.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        match = _RESULT.search(line)
        for item in match[1].split(", ") if match else ():
            name, _, number = item.partition("=")
            counts[name] += int(number)
    return (
        sum(counts[name] for name in _PASSED),
        sum(counts[name] for name in _FAILED),
        counts["skips"],
    )


def main(path: str) -> None:
    """Prints the sums for the log at C{path}."""
    passed, failed, skipped = total(Path(path).read_text("utf-8", "replace").splitlines())
    sys.stdout.write(f"{passed} passed, {failed} failed, {skipped} skipped\n")


if __name__ == "__main__":
    main(sys.argv[1])
