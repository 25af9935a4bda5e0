# -*- test-case-name: tests.test_architecture -*-
"""
C{python -m tests [--without-servers] [options of trial]}: runs every test that needs no remote host and no
network, i.e. all but L{tests.integration} and L{tests.packaging}; if so asked, also without those that start
an sshd of their own.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from hypothesis import settings
from twisted.scripts.trial import run

__all__ = ["APART", "suites"]

APART = {"integration", "packaging"}
"""Packages that have environments of their own in C{tox.ini}."""

_WITHOUT_SERVERS = "--without-servers"

_STARTS_SERVERS = re.compile(r"^from tests\.(ssh\.real|support\.sshd|support\.openssh) import", re.MULTILINE)


def suites(servers: bool = True) -> list[str]:
    """
    @param servers: whether to run what starts an sshd.
    @return: the test modules, as trial takes them.
    """
    root = Path(__file__).parent
    return sorted(
        ".".join(("tests", *path.relative_to(root).with_suffix("").parts))
        for path in root.rglob("test_*.py")
        if path.relative_to(root).parts[0] not in APART
        if servers or not _STARTS_SERVERS.search(path.read_text("utf-8"))
    )


if __name__ == "__main__":
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
    arguments = [argument for argument in sys.argv[1:] if argument != _WITHOUT_SERVERS]
    chosen = [argument for argument in arguments if argument.startswith("tests.")]
    sys.argv[1:] = [*arguments, *(() if chosen else suites(_WITHOUT_SERVERS not in sys.argv))]
    run()
