"""
Packages of another Debian release, fetched and unpacked into a folder of their own without installing them:
newer programs than this machine's, to be tested against.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["cache_directory", "unpack_release"]

_CACHE = Path("/var/cache/remotedocker-tests")
_SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
_MIRROR = re.compile(r"^(?:URIs:|deb\s(?:\[.*\]\s)?)\s*(https?://\S+?/debian/?)(?:\s|$)", re.MULTILINE)
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def cache_directory() -> Path:
    """@return: where what was fetched is kept from one run to the next."""
    if os.geteuid() == 0 or os.access(_CACHE, os.W_OK):
        return _CACHE
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _CACHE.name


def _mirror() -> str:
    """The address of the archive that this machine installs its own packages from."""
    for source in _SOURCES:
        if Path(source).exists():
            found = _MIRROR.search(Path(source).read_text())
            if found is not None:
                return found[1]
    raise LookupError(f"no Debian archive is named in {' or '.join(_SOURCES)}")


def unpack_release(
    release: str, packages: Sequence[str], tree: Path, finish: Callable[[Path], None] = lambda folder: None
) -> Path:
    """
    Fetches packages, unless C{tree} is there already; this machine's own package lists stay as they are.

    @param release: Debian's name of it.
    @param tree: the folder that gets the files.
    @param finish: changes what was unpacked before it becomes C{tree}.
    @return: C{tree}.
    @raise LookupError: they cannot be had.
    """
    if tree.exists():
        return tree
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.parent) as name:
        folder = Path(name)
        for needed in ("lists/partial", "cache/archives/partial", "packages", "tree"):
            (folder / needed).mkdir(parents=True)
        (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {release} main\n")
        options = [
            *("-o", f"Dir::Etc::sourcelist={folder}/sources.list", "-o", "Dir::Etc::sourceparts=-"),
            *("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"),
            *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
        ]
        try:
            subprocess.run(["apt-get", "-q", *options, "update"], check=True)
            subprocess.run(
                ["apt-get", "-q", *options, "download", *packages], cwd=folder / "packages", check=True
            )
            for package in (folder / "packages").iterdir():
                subprocess.run(["dpkg", "-x", str(package), str(folder / "tree")], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise LookupError(f"{' '.join(packages)} of {release} cannot be had: {error}") from error
        finish(folder / "tree")
        try:
            (folder / "tree").rename(tree)
        except OSError:
            # Somebody else was quicker.
            if not tree.exists():
                raise
    return tree
