"""
Which dockerd the embedded remote runs: the machine's own, or the newer one of the next Debian release, which
is downloaded with that release's CLI and plugins and kept in a folder of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.integration.prerequisites import search_path
from tests.support.debian import cache_directory, unpack_release

__all__ = ["ENGINE_INSIDE", "Engine", "find_engine"]

ENGINE_INSIDE = "/opt/engine"
"""Where the remote sees the files of an engine that is not the machine's own."""

_NEWER = "26.1"
_RELEASE = "trixie"
_PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "containerd")


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
    tree = unpack_release(_RELEASE, _PACKAGES, cache_directory() / _NEWER, _use_own_runc)
    return Engine(
        program=f"{ENGINE_INSIDE}/usr/sbin/dockerd",
        cli=str(tree / "usr/bin/docker"),
        options=("--userland-proxy-path", f"{ENGINE_INSIDE}/usr/sbin/docker-proxy"),
        path=f"{ENGINE_INSIDE}/usr/sbin:{ENGINE_INSIDE}/usr/bin",
        files=tree,
        plugins=tree / "usr/libexec/docker/cli-plugins",
    )


def _use_own_runc(tree: Path) -> None:
    """The other release's runc wants its newer C library; the machine's own runc does as well."""
    for runc in tree.glob("usr/*bin/runc"):
        runc.unlink()
