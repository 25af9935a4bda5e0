"""
What is tested with the machine's own OpenSSH, with OpenSSH 10: it has other processes, other defaults, and
less that is old.
"""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest

from remotedocker.errors import AuthenticationFailed, SSHUnavailable
from tests.ssh import test_login, test_sshconfig
from tests.support import wait_until
from tests.support.openssh import OpenSSH, newer_openssh


class _Newer:
    """Mixed in before a class of tests that starts servers."""

    def openssh(self) -> OpenSSH:
        """
        @return: OpenSSH 10.
        @raise SkipTest: it cannot be had here, and this is not CI.
        """
        try:
            return newer_openssh()
        except LookupError as error:
            if os.environ.get("CI"):
                raise
            raise SkipTest(str(error)) from None


class VersionTests(_Newer, test_login._LoginTestCase):
    """That it is OpenSSH 10 at all."""

    async def test_version(self) -> None:
        """It says so, and the agreed algorithms are the usual ones."""
        remote = await self.log_in()
        login = remote._main.login
        assert login is not None
        self.assertIn(b"OpenSSH_10", login.transport.otherVersionString)
        self.assertEqual(login.transport.negotiated.cipher_out, b"aes128-gcm@openssh.com")
        self.assertTrue(login.transport._strict)


class PenaltyTests(_Newer, test_login._LoginTestCase):
    """What only OpenSSH 10 does by default: addresses that fail to log in wait."""

    async def test_penalty(self) -> None:
        """That it lets this address wait is told as the reason."""
        server = self.start_server("PerSourcePenalties authfail:20s min:15s")
        wrong = self.new_key("ed25519", authorize=False)
        await self.refusal(AuthenticationFailed, identities=(wrong,))
        await self.remote.stop()
        # It is given when the session's process has ended.
        log = server.directory / "log"
        await wait_until(reactor, lambda: "penalty: failed authentication" in log.read_text())
        remote = self.make_remote(wait_for_ssh=2.0)
        remote.start()
        error = await self.assertFailure(remote.run("true"), SSHUnavailable)
        self.assertIn("(PerSourcePenalties in its sshd_config)", str(error))


class ResolveTests(_Newer, test_sshconfig.ResolveTests):
    """What its C{ssh -G} says."""

    def setUp(self) -> None:
        """It is found before the machine's own."""
        super().setUp()
        self.environ["PATH"] = f"{self.openssh().path}:{self.environ['PATH']}"


class KeyTests(_Newer, test_login.KeyTests):
    """Keys in files."""


class AgentTests(_Newer, test_login.AgentTests):
    """Keys in an agent."""


class HostKeyTests(_Newer, test_login.HostKeyTests):
    """The server's keys."""


class AlgorithmTests(_Newer, test_login.AlgorithmTests):
    """Servers that allow only some algorithms."""


class ConfigurationTests(_Newer, test_login.ConfigurationTests):
    """What ssh_config says about algorithms, addresses and methods."""


class LimitTests(_Newer, test_login.LimitTests):
    """What ssh_config says about keys, questions and who is known."""
