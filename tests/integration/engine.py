"""
Which dockerd the embedded remote runs: the machine's own, or a newer one of Debian's, put beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from tests.integration.prerequisites import search_path

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

__all__ = ["Engine", "find_engine"]


@attrs.frozen
class Engine:
    """
    @ivar program: dockerd, as the remote sees it.
    @ivar cli: the docker CLI of the same release, on this machine.
    @ivar options: further options of dockerd.
    """

    program: str
    cli: str
    options: tuple[str, ...] = ()

    def prepare(self, sandbox: Sandbox) -> str:
        """
        Makes the engine's files visible in the sandbox.

        @return: the directories to be put before C{PATH}.
        """
        return ""


def find_engine(environ: Mapping[str, str]) -> Engine:
    """
    @param environ: C{REMOTEDOCKER_TEST_ENGINE} chooses; by default the machine's own.
    @raise LookupError: there is no such engine.
    """
    path = search_path()
    program, cli = shutil.which("dockerd", path=path), shutil.which("docker", path="/usr/bin:" + path)
    if program is None or cli is None:
        raise LookupError("dockerd is not installed: apt-get install docker.io")
    return Engine(program=program, cli=cli)
