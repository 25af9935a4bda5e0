"""
Starts the embedded remote once, runs a command with its addresses in the environment, and ends it::

    python -m tests.integration.stack -- python -m twisted.trial tests.integration

C{REMOTEDOCKER_INTEGRATION} says what happens where no remote can be started: C{auto} (the default) runs the
command without one, and the tests are skipped with the reason; C{require} fails; C{off} starts none.
The variables that the command gets are those of L{EmbeddedRemote.environment}.
"""

from __future__ import annotations

import contextlib
import fcntl
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

_PARENT = Path("/var/tmp")

_NAME = "remotedocker-stack-"


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _locked(directory: Path, operation: int) -> Iterator[None]:
    """
    A lock on a directory (C{flock}). The kernel gives it up when this process ends, and every process
    namespace sees it; process ids would mean nothing in another.

    @raise BlockingIOError: C{LOCK_NB} was asked for and another has it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _sweep() -> None:
    """Removes what runs that were killed have left: files and empty control groups, never processes."""
    for left in _PARENT.glob(f"{_NAME}*"):
        with contextlib.suppress(OSError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(left, ignore_errors=True)
    root = Path("/sys/fs/cgroup")
    for group in (*root.glob(f"{_NAME}*"), *root.glob(f"*/{_NAME}*")):
        if not (_PARENT / group.name).exists():
            remove_cgroups(group.name)


@contextlib.contextmanager
def _own_directory() -> Iterator[Path]:
    """A directory that no other run sweeps; it is removed at the end."""
    with contextlib.ExitStack() as stack:
        # Nobody sweeps between the making of the directory and its lock.
        with _locked(_PARENT, fcntl.LOCK_EX):
            _sweep()
            directory = Path(tempfile.mkdtemp(prefix=_NAME, dir=_PARENT))
            stack.enter_context(_locked(directory, fcntl.LOCK_EX))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        yield directory


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
    with _own_directory() as directory:
        remote = EmbeddedRemote(directory, find_engine(os.environ))
        try:
            remote.start()
            yield remote
        finally:
            remote.stop()


def _explanation(mode: str) -> str | None:
    """Why no remote is started; None if one can be."""
    if mode == "off":
        return "REMOTEDOCKER_INTEGRATION is off"
    # Others may be about to install the same.
    with _locked(_PARENT, fcntl.LOCK_EX):
        missing = missing_packages()
        if missing and os.geteuid() == 0 and shutil.which("apt-get"):
            print(f"installing {' '.join(missing)}", flush=True)
            try:
                install(missing)
            except (OSError, subprocess.CalledProcessError) as error:
                return f"{error}; missing packages: {' '.join(missing)}"
        reason = obstacle()
        if reason is None:
            try:
                find_engine(os.environ)
            except LookupError as error:
                reason = str(error)
        return reason


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
