"""Logging in to a real sshd with what only the user has: a token, a passphrase, a password, a code."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.trial.unittest import SkipTest

from remotedocker.errors import AuthenticationFailed
from remotedocker.ssh import _links
from remotedocker.ssh._keys import read_public_key
from remotedocker.ssh._prompt import Prompter
from tests.ssh.test_login import _LoginTestCase
from tests.support import wait_until
from tests.support.openssh import OpenSSH, own_openssh
from tests.support.token_agent import TokenAgent

__all__ = ["PasswordTests", "TerminalTests", "TokenTests"]


class TokenTests(_LoginTestCase):
    """Keys on FIDO tokens, by way of the agent."""

    async def serve(self, agent: TokenAgent) -> dict[str, str]:
        """@return: an environment that leads to the agent."""
        path = Path(self.mktemp_directory()) / "agent"
        port: Any = await UNIXServerEndpoint(reactor, str(path)).listen(agent)
        self.addCleanup(port.stopListening)
        return self.environ(SSH_AUTH_SOCK=str(path))

    async def test_keys(self) -> None:
        """Both kinds of keys log in."""
        for curve, words in ((False, "ED25519-SK"), (True, "ECDSA-SK")):
            agent = TokenAgent(curve)
            self.server.authorize(agent.write_public_key(Path(self.mktemp_directory()) / "token.pub"))
            line = await self.assert_logs_in(await self.serve(agent), identities=())
            self.assertIn(words, line)
            self.assertEqual(agent.flags, [0])
            await self.remote.stop()

    async def test_certificates(self) -> None:
        """So do certificates for them."""
        authority = self.new_key("ed25519", authorize=False)
        directory = Path(self.mktemp_directory())
        self.start_server(f"TrustedUserCAKeys {authority}.pub")
        for curve in (False, True):
            agent = TokenAgent(curve)
            public = agent.write_public_key(directory / f"token{curve}.pub")
            command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "test", "-n", self.server.user]
            subprocess.run([*command, str(public)], check=True)
            certificate = read_public_key(directory / f"token{curve}-cert.pub")
            assert certificate is not None
            agent.blobs.append(certificate)
            line = await self.assert_logs_in(await self.serve(agent), identities=())
            self.assertIn("-SK-CERT", line)
            await self.remote.stop()


class TerminalTests(_LoginTestCase):
    """What is typed on a terminal."""

    async def test_passphrase(self) -> None:
        """The passphrase of a key is typed, once for all logins."""
        ours, theirs = os.openpty()
        os.set_blocking(ours, False)
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        name = os.ttyname(theirs)

        def prompter(reactor: Any, environ: Mapping[str, str]) -> Prompter:
            return Prompter(reactor, environ, name)

        self.patch(_links, "Prompter", prompter)
        key = self.new_key("ed25519", passphrase="secret")
        remote = self.make_remote(identities=(key,), connections=2)
        remote.start()
        shown = b""

        def asked() -> bool:
            nonlocal shown
            try:
                shown += os.read(ours, 4096)
            except BlockingIOError:
                return False
            return b"Enter passphrase for key" in shown

        await wait_until(reactor, asked)
        os.write(ours, b"secret\n")
        await remote.when_connected()
        await wait_until(reactor, lambda: remote._bulk[0].login is not None)
        self.server.cut()
        self.assertEqual((await remote.run("printf again")).stdout, b"again")
        self.assertFalse(asked() and shown.count(b"Enter passphrase") > 1)


#: Accepts the lines of a file, each of them once if it begins with C{once-}.
_CHECK = """#!/bin/sh
read -r typed
echo "$typed" >> {directory}/typed
grep -qxF "$typed" {directory}/accepted || exit 1
case $typed in once-*) sed -i "/^$typed$/d" {directory}/accepted;; esac
"""


class PasswordTests(_LoginTestCase):
    """Passwords and codes, by PAM."""

    def setUp(self) -> None:
        """An sshd in a mount namespace, where its PAM service is the test's own."""
        if os.geteuid() != 0 or shutil.which("unshare") is None or not Path("/etc/pam.d/sshd").exists():
            raise SkipTest("needs root, util-linux and PAM")
        self.directory = directory = Path(self.mktemp_directory())
        check = directory / "check"
        check.write_text(_CHECK.format(directory=directory))
        (directory / "service").write_text(
            f"auth requisite pam_exec.so type=auth quiet expose_authtok {check}\n"
            "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
        )
        sshd = directory / "sshd"
        sshd.write_text(
            "#!/bin/sh\n"
            f"exec unshare -m sh -c 'mount --bind {directory}/service /etc/pam.d/sshd && "
            f'exec {own_openssh().sshd} "$@"\' sshd "$@"\n'
        )
        asked = directory / "askpass"
        asked.write_text(f'#!/bin/sh\necho "$1" >> {directory}/asked\nhead -n 1 {directory}/answer\n')
        for program in (check, sshd, asked):
            program.chmod(0o755)
        self.accept("right")
        self.answer("right")

    def openssh(self) -> OpenSSH:
        """@return: the machine's, with another PAM service."""
        return evolve(own_openssh(), sshd=str(self.directory / "sshd"))

    def accept(self, *passwords: str) -> None:
        """What the server accepts from now on."""
        (self.directory / "accepted").write_text("".join(f"{password}\n" for password in passwords))

    def answer(self, password: str) -> None:
        """What the user answers from now on."""
        (self.directory / "answer").write_text(f"{password}\n")

    def lines(self, name: str) -> list[str]:
        """@return: what was typed, or asked."""
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []

    async def log_in_by(self, method: str, **changes: Any) -> None:
        """Logs in to a server that knows that method alone."""
        self.start_server(f"UsePAM yes\nPubkeyAuthentication no\n{method} yes")
        program = str(self.directory / "askpass")
        environ = self.environ(SSH_ASKPASS=program, SSH_ASKPASS_REQUIRE="force")
        await self.assert_logs_in(environ, **changes)

    async def test_password(self) -> None:
        """A password is asked for once, for two connections and for later logins."""
        await self.log_in_by("PasswordAuthentication", connections=2)
        await wait_until(reactor, lambda: self.remote._bulk[0].login is not None)
        self.server.cut()
        self.assertEqual((await self.remote.run("printf again")).stdout, b"again")
        self.assertEqual(self.lines("asked"), [f"{self.server.user}'s password: "])

    async def test_questions(self) -> None:
        """So is a password that the server asks for as a question, if it asks for nothing else."""
        await self.log_in_by("KbdInteractiveAuthentication")
        self.server.cut()
        self.assertEqual((await self.remote.run("printf again")).stdout, b"again")
        self.assertEqual(self.lines("asked"), ["Password: "])

    async def test_codes(self) -> None:
        """A code that looks like a password is given again once, then asked for at every login."""
        self.accept("once-1", "once-2", "once-3")
        self.answer("once-1")
        await self.log_in_by("KbdInteractiveAuthentication")
        for code in ("once-2", "once-3"):
            self.answer(code)
            self.server.cut()
            self.assertEqual((await self.remote.run("printf again")).stdout, b"again")
        self.assertEqual(self.lines("typed"), ["once-1", "once-1", "once-2", "once-3"])
        self.assertEqual(self.lines("asked"), ["Password: "] * 3)

    async def test_one_try(self) -> None:
        """Where ssh_config wants one question only, a wrong passphrase or password is not asked for again."""
        self.answer("wrong")
        self.start_server("UsePAM yes\nPasswordAuthentication yes")
        config = self.directory / "config"
        config.write_text("NumberOfPasswordPrompts 1\n")
        environ = self.environ(SSH_ASKPASS=str(self.directory / "askpass"), SSH_ASKPASS_REQUIRE="force")
        key = self.new_key("ed25519", passphrase="right")
        message = await self.refusal(AuthenticationFailed, environ, identities=(key,), ssh_config=config)
        self.assertIn("password; the server takes", message)
        self.assertEqual(
            self.lines("asked"), [f"Enter passphrase for key '{key}': ", f"{self.server.user}'s password: "]
        )

    async def test_wrong(self) -> None:
        """After three wrong ones the login has failed for good, with what was tried."""
        self.answer("wrong")
        self.start_server("UsePAM yes\nPubkeyAuthentication no\nPasswordAuthentication yes")
        environ = self.environ(SSH_ASKPASS=str(self.directory / "askpass"), SSH_ASKPASS_REQUIRE="force")
        message = await self.refusal(AuthenticationFailed, environ)
        self.assertIn("password, password, password", message)
