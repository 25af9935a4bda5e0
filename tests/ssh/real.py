"""
A real sshd, and a login to it, for one test.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor

from remotedocker.ssh import Remote, SSHConfiguration, _links
from tests.support.openssh import OpenSSH, own_openssh
from tests.support.sshd import RunningSSHD, start_sshd

__all__ = ["RealServerMixin"]


@cache
def _shared_server(openssh: OpenSSH) -> RunningSSHD:
    """@return: the sshd of one release that all tests of this process share, started at the first call."""
    server = start_sshd(Path(tempfile.mkdtemp(prefix="remotedocker-sshd-")), openssh=openssh)
    atexit.register(server.stop, remove=True)
    return server


class RealServerMixin:
    """
    Mixed into a trial C{TestCase}: one sshd for all tests, which ends with this process; another one for a
    test that wants it configured otherwise.

    @ivar server: the sshd.
    @ivar remote: the login, after L{log_in}.
    @ivar warm: whether channels to the daemon are opened ahead, which most tests would have to reckon with.
    """

    _own: RunningSSHD | None = None
    remote: Remote
    warm = False

    @property
    def server(self) -> RunningSSHD:
        """The sshd."""
        return _shared_server(self.openssh()) if self._own is None else self._own

    def openssh(self) -> OpenSSH:
        """@return: of which release the servers are."""
        return own_openssh()

    def start_server(self, extra_config: str) -> RunningSSHD:
        """Starts an sshd for this test alone."""
        directory = Path(tempfile.mkdtemp(prefix="remotedocker-sshd-"))
        self._own = start_sshd(directory, extra_config, self.openssh())
        self.addCleanup(self._own.stop, remove=True)  # type: ignore[attr-defined]
        return self._own

    def mktemp_directory(self) -> str:
        """@return: the absolute path of a new directory of this test's, short enough for sockets in it."""
        path = tempfile.mkdtemp(prefix="remotedocker-test-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)  # type: ignore[attr-defined]
        return path

    def configuration(self, **changes: Any) -> SSHConfiguration:
        """@return: how to log in to the server."""
        usual = SSHConfiguration(
            destination=self.server.destination,
            identities=(self.server.identity_file,),
            known_hosts=(self.server.known_hosts_file,),
            wait_for_ssh=20.0,
            connections=1,
        )
        return evolve(usual, **changes)

    def environ(self, **changes: str) -> dict[str, str]:
        """@return: an environment without an agent or a terminal program, and with an empty home."""
        environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": self.home, "USER": self.server.user}
        return {**environ, **changes}

    @property
    def home(self) -> str:
        """An empty home directory."""
        if not hasattr(self, "_home"):
            self._home = self.mktemp_directory()
        return self._home

    def make_remote(self, environ: dict[str, str] | None = None, **changes: Any) -> Remote:
        """@return: a remote that is stopped when the test has ended."""
        if not self.warm:
            self.patch(_links, "_WARM_CHANNELS", 0)  # type: ignore[attr-defined]
        self.remote = Remote(
            reactor, self.configuration(**changes), self.environ() if environ is None else environ
        )
        self.addCleanup(self.remote.stop)  # type: ignore[attr-defined]
        return self.remote

    async def log_in(self, environ: dict[str, str] | None = None, **changes: Any) -> Remote:
        """@return: a remote, when its first login has succeeded."""
        remote = self.make_remote(environ, **changes)
        remote.start()
        await remote.when_connected()
        return remote
