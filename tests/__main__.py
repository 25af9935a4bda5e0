# -*- test-case-name: tests.test_architecture -*-
"""
C{python -m tests [options of trial]}: runs every test that needs no remote host and no network, i.e. all
but L{tests.integration} and L{tests.packaging}.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings
from twisted.scripts.trial import run

__all__ = ["APART", "suites"]

APART = {"integration", "packaging"}
"""Packages that have environments of their own in C{tox.ini}."""


def suites() -> list[str]:
    """What is given to trial: each package with tests, and each test module beside the packages."""
    here = Path(__file__).parent
    packages = {path.parent.relative_to(here).parts[0] for path in here.glob("*/**/test_*.py")}
    modules = {path.stem for path in here.glob("test_*.py")}
    return [f"tests.{name}" for name in sorted((packages - APART) | modules)]


if __name__ == "__main__":
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
    sys.argv[1:] = [*sys.argv[1:], *suites()]
    run()
