"""
Which dockerd the embedded remote runs: the machine's own, or the newer one of the next Debian release, which
is downloaded with that release's CLI and plugins and kept in a folder of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.integration.prerequisites import search_path

__all__ = ["ENGINE_INSIDE", "Engine", "find_engine"]

ENGINE_INSIDE = "/opt/engine"
"""Where the remote sees the files of an engine that is not the machine's own."""

_CACHE = Path("/var/cache/remotedocker-tests")

_NEWER = "26.1"
_RELEASE = "trixie"
_PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd")

_SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
_MIRROR = re.compile(r"^(?:URIs:|deb\s(?:\[.*\]\s)?)\s*(https?://\S+?/debian/?)(?:\s|$)", re.MULTILINE)
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@attrs.frozen
class Engine:
    """
    @ivar program: dockerd, as the remote sees it.
    @ivar cli: the docker CLI of the same release, on this machine.
    @ivar options: further options of dockerd.
    @ivar path: directories that the remote searches before its C{PATH}.
    @ivar files: what the remote must see at L{ENGINE_INSIDE}, if anything.
    @ivar plugins: the directory of the CLI's plugins, if they are not where it looks for them.
    """

    program: str
    cli: str
    options: tuple[str, ...] = ()
    path: str = ""
    files: Path | None = None
    plugins: Path | None = None


def find_engine(environ: Mapping[str, str]) -> Engine:
    """
    @param environ: C{REMOTEDOCKER_TEST_ENGINE} chooses: C{26.1}, or by default the machine's own.
    @raise LookupError: there is no such engine.
    """
    wanted = environ.get("REMOTEDOCKER_TEST_ENGINE", "")
    if wanted == _NEWER:
        return _newer_engine()
    path = search_path()
    program, cli = shutil.which("dockerd", path=path), shutil.which("docker", path="/usr/bin:" + path)
    if program is None or cli is None:
        raise LookupError("dockerd is not installed: apt-get install docker.io")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    if wanted and f"version {wanted}." not in shown:
        raise LookupError(f"no engine {wanted}: there is {shown.strip()}, and {_NEWER} can be downloaded")
    return Engine(program=program, cli=cli)


def _newer_engine() -> Engine:
    tree = _CACHE / _NEWER
    if not tree.exists():
        _download(tree)
    return Engine(
        program=f"{ENGINE_INSIDE}/usr/sbin/dockerd",
        cli=str(tree / "usr/bin/docker"),
        options=("--userland-proxy-path", f"{ENGINE_INSIDE}/usr/sbin/docker-proxy"),
        path=f"{ENGINE_INSIDE}/usr/sbin:{ENGINE_INSIDE}/usr/bin",
        files=tree,
        plugins=tree / "usr/libexec/docker/cli-plugins",
    )


def _mirror() -> str:
    """The address of the archive that this machine installs its own packages from."""
    for source in _SOURCES:
        if Path(source).exists():
            found = _MIRROR.search(Path(source).read_text())
            if found is not None:
                return found[1]
    raise LookupError(f"no Debian archive is named in {' or '.join(_SOURCES)}")


def _download(tree: Path) -> None:
    """
    Fetches the packages without installing them; the machine's own package lists stay as they are.

    @raise LookupError: they cannot be had.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as name:
        folder = Path(name)
        for needed in ("lists/partial", "cache/archives/partial", "packages", "tree"):
            (folder / needed).mkdir(parents=True)
        (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {_RELEASE} main\n")
        options = [
            *("-o", f"Dir::Etc::sourcelist={folder}/sources.list", "-o", "Dir::Etc::sourceparts=-"),
            *("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"),
            *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"),
        ]
        try:
            subprocess.run(["apt-get", "-q", *options, "update"], check=True)
            subprocess.run(
                ["apt-get", "-q", *options, "download", *_PACKAGES], cwd=folder / "packages", check=True
            )
            for package in (folder / "packages").iterdir():
                subprocess.run(["dpkg", "-x", str(package), str(folder / "tree")], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise LookupError(f"the engine {_NEWER} cannot be downloaded: {error}") from error
        # Newer than this machine's C library: the machine's own runc does as well.
        for runc in (folder / "tree").glob("usr/*bin/runc"):
            runc.unlink()
        (folder / "tree").rename(tree)
