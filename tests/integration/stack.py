"""
Starts the embedded remote once, runs a command with its addresses in the environment, and ends it::

    python -m tests.integration.stack -- python -m twisted.trial tests.integration

C{REMOTEDOCKER_INTEGRATION} says what happens where no remote can be started: C{auto} (the default) runs the
command without one, and the tests are skipped with the reason; C{require} fails; C{off} starts none.
The variables that the command gets are those of L{EmbeddedRemote.environment}.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.engine import find_engine
from tests.integration.prerequisites import install, missing_packages, obstacle
from tests.integration.remote import EmbeddedRemote, remove_cgroups

__all__ = ["OBSTACLE_VARIABLE", "end_on_signals", "main", "running_remote"]

OBSTACLE_VARIABLE = "REMOTEDOCKER_TEST_OBSTACLE"
"""Why there is no remote; read by the tests' skip."""

_NAME = "remotedocker-"


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _alive(process: str) -> bool:
    return process.isdigit() and Path("/proc", process).exists()


def _sweep(parent: Path) -> None:
    """Removes what runs that were killed have left: files and empty control groups, never processes."""
    for left in parent.glob(f"{_NAME}[0-9]*-*"):
        if not _alive(left.name.split("-")[1]):
            shutil.rmtree(left, ignore_errors=True)
    root = Path("/sys/fs/cgroup")
    for left in (*root.glob(f"{_NAME}[0-9]*-*"), *root.glob(f"*/{_NAME}[0-9]*-*")):
        if not _alive(left.name.split("-")[1]):
            remove_cgroups(left.name)


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end this process like an exception, so that everything is cleaned up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)


@contextlib.contextmanager
def running_remote() -> Iterator[EmbeddedRemote]:
    """
    An embedded remote that is ended, with its files, when the context is left; by SIGTERM and SIGHUP too.

    @raise tests.integration.sandbox.SandboxError: it could not be started.
    """
    end_on_signals()
    parent = Path("/var/tmp")
    _sweep(parent)
    directory = Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-", dir=parent))
    remote = EmbeddedRemote(directory, find_engine(os.environ))
    try:
        remote.start()
        yield remote
    finally:
        try:
            remote.stop()
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _explanation(mode: str) -> str | None:
    """Why no remote is started; None if one can be."""
    if mode == "off":
        return "REMOTEDOCKER_INTEGRATION is off"
    missing = missing_packages()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(missing)}", flush=True)
        try:
            install(missing)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{error}; missing packages: {' '.join(missing)}"
    return obstacle()


def main(arguments: Sequence[str], mode: str) -> int:
    """
    @param mode: C{auto}, C{require} or C{off}.
    @return: the command's exit status.
    """
    command = [argument for position, argument in enumerate(arguments) if position or argument != "--"]
    if not command or mode not in ("auto", "require", "off"):
        print(
            "usage: python -m tests.integration.stack -- COMMAND...\n"
            "REMOTEDOCKER_INTEGRATION must be auto (the default), require or off"
        )
        return 2
    reason = _explanation(mode)
    if reason is not None:
        print(f"no embedded remote: {reason}", flush=True)
        if mode == "require":
            return 1
        return subprocess.run(command, env={**os.environ, OBSTACLE_VARIABLE: reason}, check=False).returncode
    with running_remote() as remote:
        print(
            f"embedded remote: {remote.destination}, dockerd {remote.ask('/version')['Version']}", flush=True
        )
        # The command ends with this process, even if that is killed: it could do nothing without the remote.
        return subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            env={**os.environ, **remote.environment()},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ.get("REMOTEDOCKER_INTEGRATION") or "auto"))
