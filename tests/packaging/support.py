# -*- test-case-name: tests.packaging.test_packaging -*-
"""
Builds the distributions once for a run, and makes empty environments to install them in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from attrs import frozen

__all__ = ["Built", "Environment", "built", "installed", "oldest_dependencies", "python", "run"]

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
    A virtual environment that holds the package and what it needs, nothing more; not even pip.

    @ivar path: its directory.
    @ivar elsewhere: an empty directory, for working in and as home.
    """

    path: Path
    elsewhere: Path

    def pip(self, *arguments: str) -> str:
        """@return: what pip, run from outside, writes."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.program("python")]
        return run([*pip, *arguments], self.elsewhere)

    def install(self, *arguments: str) -> None:
        """Installs something; what is compiled then is what is used."""
        self.pip("install", "--quiet", "--no-compile", *arguments)

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


def python(version: str) -> str:
    """
    @param version: such as C{3.10}.
    @return: the first interpreter on the C{PATH} that is this version and runs; those of a pyenv may not.
    @raise LookupError: there is none.
    """
    for folder in os.get_exec_path():
        candidate = Path(folder, f"python{version}")
        if os.access(candidate, os.X_OK):
            asked = [str(candidate), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
            if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == version:
                return str(candidate)
    raise LookupError(f"there is no python{version} on the PATH")


def oldest_dependencies() -> list[str]:
    """What C{setup.cfg} allows at least, as requirements: the env "lowest" of C{tox.ini}."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    return tox["testenv:lowest"]["deps"].split()


@cache
def installed(distribution: Path, interpreter: str = sys.executable, oldest: bool = False) -> Environment:
    """
    Installs a distribution into an environment of its own.

    @param oldest: with the oldest dependencies that it allows.
    """
    scratch = Path(mkdtemp(dir=os.getcwd()))
    elsewhere = scratch / "elsewhere"
    elsewhere.mkdir()
    environment = Environment(scratch / "venv", elsewhere)
    run([interpreter, "-m", "venv", "--without-pip", str(environment.path)], elsewhere)
    # Constraints name no extras.
    constraints = scratch / "constraints"
    constraints.write_text("".join(f"{line.replace('[conch]', '')}\n" for line in oldest_dependencies()))
    environment.install(str(distribution), *(["--constraint", str(constraints)] if oldest else []))
    return environment
