# -*- test-case-name: tests.packaging.test_packaging -*-
"""
Builds the distributions once for a run, and makes empty environments to install them in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from attrs import frozen

__all__ = ["Built", "Environment", "built", "installed", "run"]

ROOT = Path(__file__).parent.parent.parent

NOT_SOURCES = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "_trial_temp*", "dropin.cache"
)


@frozen
class Built:
    """
    The two distributions.

    @ivar sources: the copy of the tree that they were built from.
    """

    wheel: Path
    sdist: Path
    sources: Path


@frozen
class Environment:
    """
    A virtual environment that holds the package and what it needs, nothing more.

    @ivar path: its directory.
    @ivar elsewhere: an empty directory, for working in and as home.
    """

    path: Path
    elsewhere: Path

    def program(self, name: str) -> str:
        """@return: the path of an installed program."""
        return str(self.path / "bin" / name)

    def run(self, name: str, *arguments: str) -> str:
        """@return: what the program writes, run far from the sources."""
        return run([self.program(name), *arguments], self.elsewhere)


def run(command: list[str], directory: Path) -> str:
    """
    @return: standard output and standard error of C{command}.
    @raise AssertionError: it failed; with all that it wrote.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TOX"))
    }
    environment["HOME"] = str(directory)
    done = subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@cache
def built() -> Built:
    """
    Builds the sdist from a copy of the sources, and the wheel from the sdist: what the sdist lacks, the wheel
    lacks.
    """
    scratch = Path(mkdtemp(dir=os.getcwd()))
    sources = scratch / "sources"
    shutil.copytree(ROOT, sources, ignore=NOT_SOURCES)
    out = scratch / "dist"
    run([sys.executable, "-m", "build", "--outdir", str(out), str(sources)], scratch)
    [wheel] = out.glob("*.whl")
    [sdist] = out.glob("*.tar.gz")
    return Built(wheel, sdist, sources)


@cache
def installed(distribution: Path) -> Environment:
    """Installs a distribution into an environment of its own."""
    scratch = Path(mkdtemp(dir=os.getcwd()))
    elsewhere = scratch / "elsewhere"
    elsewhere.mkdir()
    environment = Environment(scratch / "venv", elsewhere)
    venv.create(environment.path, with_pip=True)
    environment.run("python", "-m", "pip", "install", "--quiet", str(distribution))
    return environment
