"""Logging in to a real sshd: keys, agents, host keys, algorithms, proxies, and why it did not work."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotedocker.errors import (
    AuthenticationFailed,
    HostKeyChanged,
    HostKeyRevoked,
    HostKeyUnknown,
    NoCommonAlgorithm,
    PermanentSSHError,
    SSHUnavailable,
)
from remotedocker.ssh import _agent
from tests.ssh.real import RealServerMixin
from tests.support import wait_until
from tests.support.sshd import free_port, make_key


class _LoginTestCase(RealServerMixin, TestCase):
    """What the tests here share."""

    def new_key(self, kind: str, *options: str, passphrase: str = "", authorize: bool = True) -> Path:
        """@return: a new private key, which the server accepts if C{authorize}."""
        path = make_key(Path(self.mktemp_directory()) / f"id_{kind}", kind, *options, passphrase=passphrase)
        if authorize:
            self.server.authorize(Path(f"{path}.pub"))
        return path

    def start_agent(self, *keys: Path) -> str:
        """@return: the socket of an ssh-agent that holds the keys."""
        socket = Path(self.mktemp_directory()) / "agent"
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        self.addCleanup(agent.wait)
        self.addCleanup(agent.send_signal, signal.SIGTERM)
        environ = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        for _ in range(200):
            if subprocess.run(["ssh-add", "-l"], env=environ, capture_output=True).returncode in (0, 1):
                break
        for key in keys:
            subprocess.run(["ssh-add", "-q", str(key)], env=environ, check=True, stdin=subprocess.DEVNULL)
        return str(socket)

    async def assert_logs_in(self, environ: dict[str, str] | None = None, **changes: Any) -> str:
        """@return: the kind of key that the server accepted, from its log."""
        before = len(self.server.log)
        remote = await self.log_in(environ, **changes)
        self.assertTrue(remote.connected)
        result = await remote.run("echo $SHELL >/dev/null; printf done")
        self.assertEqual((result.status, result.stdout), (0, b"done"))
        accepted = [line for line in self.server.log[before:].splitlines() if "Accepted" in line]
        return accepted[-1] if accepted else ""

    async def refusal(
        self, kind: type[Exception], environ: dict[str, str] | None = None, **changes: Any
    ) -> str:
        """@return: the message of the error that the first login ends with."""
        remote = self.make_remote(environ, **changes)
        remote.start()
        error = await self.assertFailure(remote.when_connected(), kind)
        self.assertFalse(remote.connected)
        await self.assertFailure(remote.run("true"), kind)
        return str(error)


class KeyTests(_LoginTestCase):
    """Keys in files."""

    async def test_kinds(self) -> None:
        """Keys of every kind log in; RSA signs with SHA-2."""
        for kind, options in (
            ("ed25519", ()),
            ("ecdsa", ("-b", "521")),
            ("ecdsa", ("-b", "256")),
            ("rsa", ()),
        ):
            line = await self.assert_logs_in(identities=(self.new_key(kind, *options),))
            self.assertIn(kind.upper(), line)
            await self.remote.stop()

    async def test_pem(self) -> None:
        """A key in the old format logs in."""
        await self.assert_logs_in(identities=(self.new_key("rsa", "-m", "PEM"),))

    async def test_default_files(self) -> None:
        """Without options the keys and the known hosts in the home are used."""
        directory = Path(self.home) / ".ssh"
        directory.mkdir(mode=0o700)
        shutil.copy(self.server.identity_file, directory / "id_ed25519")
        shutil.copy(self.server.known_hosts_file, directory / "known_hosts")
        # ssh -G takes the home from the password file, so that here the defaults are looked at without it.
        await self.assert_logs_in({**self.environ(), "PATH": ""}, identities=(), known_hosts=())

    async def test_second_key(self) -> None:
        """When the first key is not accepted the next one is tried."""
        wrong = self.new_key("ed25519", authorize=False)
        await self.assert_logs_in(identities=(wrong, self.server.identity_file))

    async def test_refused(self) -> None:
        """When none is accepted, each is named, and what else the server would take."""
        wrong = self.new_key("ed25519", authorize=False)
        missing = Path("/no/such/key")
        message = await self.refusal(AuthenticationFailed, identities=(wrong, missing))
        for part in (
            str(wrong),
            "/no/such/key (there is no such file)",
            "the server takes publickey",
            "--identity",
        ):
            self.assertIn(part, message)

    async def test_no_keys(self) -> None:
        """Without any key that is said."""
        config = Path(self.mktemp_directory()) / "config"
        config.write_text("IdentityFile none\n")
        message = await self.refusal(AuthenticationFailed, identities=(), ssh_config=config)
        self.assertIn("there is no key", message)

    async def test_too_many(self) -> None:
        """When the server has had enough of wrong keys, the remedy is to name the right one."""
        wrong = tuple(self.new_key("ed25519", authorize=False) for _ in range(8))
        message = await self.refusal(AuthenticationFailed, identities=wrong)
        self.assertIn("the server had enough", message)

    async def test_encrypted(self) -> None:
        """An encrypted key that nobody can be asked about is named, with the command that loads it."""
        key = self.new_key("ed25519", passphrase="secret")
        message = await self.refusal(AuthenticationFailed, identities=(key,))
        self.assertIn(f"ssh-add {key}", message)

    async def test_askpass(self) -> None:
        """SSH_ASKPASS is asked for the passphrase, again after a wrong one, and no more for a later login."""
        key = self.new_key("ed25519", passphrase="the right one")
        log = Path(self.mktemp_directory()) / "log"
        program = log.with_name("askpass")
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$1" >> {log}\n'
            f'if [ $(wc -l < {log}) -gt 1 ]; then echo "the right one"; else echo wrong; fi\n'
        )
        program.chmod(0o755)
        environ = self.environ(SSH_ASKPASS=str(program), SSH_ASKPASS_REQUIRE="force")
        await self.assert_logs_in(environ, identities=(key,))
        self.assertEqual(log.read_text(), f"Enter passphrase for key '{key}': \n" * 2)
        self.server.cut()
        self.assertEqual((await self.remote.run("printf again")).stdout, b"again")
        self.assertEqual(len(log.read_text().splitlines()), 2)

    async def test_askpass_refused(self) -> None:
        """When the user gives no passphrase, the key is not used."""
        key = self.new_key("ed25519", passphrase="secret")
        environ = self.environ(SSH_ASKPASS="/bin/false", SSH_ASKPASS_REQUIRE="force")
        self.assertIn("ssh-add", await self.refusal(AuthenticationFailed, environ, identities=(key,)))

    async def test_certificate_beside(self) -> None:
        """A certificate beside the key is shown."""
        authority = self.new_key("ed25519", authorize=False)
        directory = Path(self.mktemp_directory())
        (directory / "authorities").write_text(Path(f"{authority}.pub").read_text())
        self.start_server(f"TrustedUserCAKeys {directory / 'authorities'}")
        for kind in ("ed25519", "rsa"):
            key = self.new_key(kind, authorize=False)
            self.sign(authority, key, "-n", self.server.user)
            line = await self.assert_logs_in(identities=(key,))
            self.assertIn("-CERT", line)
            await self.remote.stop()

    def sign(self, authority: Path, key: Path, *options: str) -> None:
        """Makes a certificate for a key."""
        command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "test", *options, f"{key}.pub"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


class AgentTests(_LoginTestCase):
    """Keys in an agent."""

    async def test_kinds(self) -> None:
        """Keys of every kind in an agent log in; RSA signs with SHA-2."""
        for kind in ("ed25519", "ecdsa", "rsa"):
            socket = self.start_agent(self.new_key(kind))
            line = await self.assert_logs_in(self.environ(SSH_AUTH_SOCK=socket), identities=())
            self.assertIn(kind.upper(), line)
            await self.remote.stop()

    async def test_only_one_hash(self) -> None:
        """Where only one kind of RSA signature is permitted, the agent is asked for that."""
        for name in ("rsa-sha2-256", "rsa-sha2-512"):
            self.start_server(f"PubkeyAcceptedAlgorithms {name}")
            config = self.server.directory / "config"
            config.write_text(f"PubkeyAcceptedAlgorithms {name}\n")
            socket = self.start_agent(self.new_key("rsa"))
            environ = self.environ(SSH_AUTH_SOCK=socket)
            await self.assert_logs_in(environ, identities=(), ssh_config=config)
            await self.remote.stop()

    async def test_encrypted_in_agent(self) -> None:
        """An encrypted file is no problem when the agent holds the key."""
        plain = self.new_key("ed25519")
        socket = self.start_agent(plain)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(plain)], check=True)
        await self.assert_logs_in(self.environ(SSH_AUTH_SOCK=socket), identities=(plain,))

    async def test_only_public_file(self) -> None:
        """The public half alone names a key of the agent's."""
        key = self.new_key("ed25519")
        socket = self.start_agent(key)
        key.unlink()
        await self.assert_logs_in(self.environ(SSH_AUTH_SOCK=socket), identities=(key,))

    async def test_named_key_first(self) -> None:
        """A key that is named goes before the agent's, of which there may be too many."""
        socket = self.start_agent(*(self.new_key("ed25519", authorize=False) for _ in range(8)))
        await self.assert_logs_in(self.environ(SSH_AUTH_SOCK=socket))

    async def test_only_named_keys(self) -> None:
        """With IdentitiesOnly, other keys of the agent that IdentityAgent names are not tried."""
        good, wrong = self.new_key("ed25519"), self.new_key("ed25519", authorize=False)
        agent = self.start_agent(good, wrong)
        config = Path(self.mktemp_directory()) / "config"
        config.write_text(f"IdentityAgent {agent}\nIdentityFile {wrong}\n")
        await self.assert_logs_in(identities=(), ssh_config=config)
        await self.remote.stop()
        config.write_text(f"{config.read_text()}IdentitiesOnly yes\n")
        message = await self.refusal(AuthenticationFailed, identities=(), ssh_config=config)
        self.assertNotIn(str(good), message)
        self.assertIn(wrong.name, message)

    async def test_silent_agent(self) -> None:
        """One that does not answer is waited for a while, and is told of when there is no other key."""
        self.patch(_agent, "_LIST_SECONDS", 0.3)
        path = str(Path(self.mktemp_directory()) / "agent")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            silent.listen()
            environ = self.environ(SSH_AUTH_SOCK=path)
            await self.assert_logs_in(environ)
            await self.remote.stop()
            message = await self.refusal(AuthenticationFailed, environ, identities=(Path("/no/such/key"),))
        self.assertIn("the agent does not answer", message)

    async def test_dead_agent(self) -> None:
        """An agent that is not there does not matter."""
        await self.assert_logs_in(self.environ(SSH_AUTH_SOCK="/no/such/agent"))

    async def test_certificate_in_agent(self) -> None:
        """A certificate that the agent holds logs in."""
        authority = self.new_key("ed25519", authorize=False)
        key = self.new_key("ecdsa", authorize=False)
        trusted = Path(self.mktemp_directory()) / "authorities"
        trusted.write_text(Path(f"{authority}.pub").read_text())
        self.start_server(f"TrustedUserCAKeys {trusted}")
        KeyTests.sign(self, authority, key, "-n", self.server.user)  # type: ignore[arg-type]
        socket = self.start_agent(key)
        line = await self.assert_logs_in(self.environ(SSH_AUTH_SOCK=socket), identities=())
        self.assertIn("-CERT", line)


class _KnownHostsTestCase(_LoginTestCase):
    """Files of known hosts."""

    def known(self, *lines: str) -> tuple[Path, ...]:
        """@return: a known_hosts file of those lines, C{HOST} standing for the server's name."""
        path = Path(self.mktemp_directory()) / "known_hosts"
        path.write_text(
            "".join(f"{line.replace('HOST', f'[127.0.0.1]:{self.server.port}')}\n" for line in lines)
        )
        return (path,)

    def host_key(self, kind: str) -> str:
        """@return: type and key of one of the server's."""
        return " ".join((self.server.directory / f"host_{kind}.pub").read_text().split()[:2])


class HostKeyTests(_KnownHostsTestCase):
    """The server's keys."""

    async def test_every_kind(self) -> None:
        """Whichever key of the server's is known, that one is asked for."""
        for kind in ("ed25519", "ecdsa", "rsa"):
            await self.assert_logs_in(known_hosts=self.known(f"HOST {self.host_key(kind)}"))
            await self.remote.stop()

    async def test_hashed(self) -> None:
        """ssh-keygen's own hashed file is understood."""
        known = self.known(f"HOST {self.host_key('ed25519')}")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known[0])], check=True, capture_output=True)
        self.assertIn("|1|", known[0].read_text())
        await self.assert_logs_in(known_hosts=known)

    async def test_unknown(self) -> None:
        """An unknown host is refused, with its fingerprint."""
        message = await self.refusal(HostKeyUnknown, known_hosts=self.known())
        shown = subprocess.run(
            ["ssh-keygen", "-l", "-f", str(self.server.directory / "host_ed25519.pub")],
            capture_output=True,
            check=True,
        )
        self.assertIn(shown.stdout.decode().split()[1], message)

    async def test_accept_new(self) -> None:
        """An unknown host is recorded if the user wants that, and is known then."""
        known = self.known()
        await self.assert_logs_in(known_hosts=known, accept_new_host_key=True)
        await self.remote.stop()
        self.assertIn(self.host_key("ed25519"), known[0].read_text())
        await self.assert_logs_in(known_hosts=known)

    async def test_changed(self) -> None:
        """A changed key is refused, even where new ones are accepted."""
        other = " ".join(Path(f"{self.new_key('ed25519')}.pub").read_text().split()[:2])
        known = self.known(f"HOST {other}")
        message = await self.refusal(HostKeyChanged, known_hosts=known, accept_new_host_key=True)
        self.assertIn(f"{known[0]}:1", message)

    async def test_revoked(self) -> None:
        """A revoked key is refused."""
        known = self.known(f"HOST {self.host_key('ed25519')}", f"@revoked * {self.host_key('ed25519')}")
        self.assertIn(f"{known[0]}:2", await self.refusal(HostKeyRevoked, known_hosts=known))

    async def test_several_keys(self) -> None:
        """Two keys of one type are known, and the server has the second."""
        other = " ".join(Path(f"{self.new_key('ed25519')}.pub").read_text().split()[:2])
        await self.assert_logs_in(known_hosts=self.known(f"HOST {other}", f"HOST {self.host_key('ed25519')}"))

    async def test_patterns(self) -> None:
        """Patterns and negations are understood."""
        name, key = f"[127.0.0.1]:{self.server.port}", self.host_key("ed25519")
        await self.assert_logs_in(known_hosts=self.known(f"[127.0.0.?]:*,!other {key}"))
        await self.remote.stop()
        await self.refusal(HostKeyUnknown, known_hosts=self.known(f"[127.0.0.*]:*,!{name} {key}"))

    async def test_certificate_with_known_key(self) -> None:
        """A host certificate that cannot be accepted does no harm when its key is known by itself."""
        authority, key = self.new_key("ed25519"), self.new_key("ecdsa")
        KeyTests.sign(self, authority, key, "-h", "-n", "elsewhere")  # type: ignore[arg-type]
        self.start_server(f"HostKey {key}\nHostCertificate {key}-cert.pub")
        public, plain = (" ".join(Path(f"{one}.pub").read_text().split()[:2]) for one in (authority, key))
        trusted = f"@cert-authority * {public}"
        message = await self.refusal(PermanentSSHError, known_hosts=self.known(trusted))
        self.assertIn("its host certificate is not for 127.0.0.1", message)
        await self.remote.stop()
        await self.assert_logs_in(known_hosts=self.known(trusted, f"HOST {plain}"))
        await self.remote.stop()
        revoked = f"@revoked * {public}"
        await self.refusal(HostKeyRevoked, known_hosts=self.known(trusted, revoked, f"HOST {plain}"))

    async def test_certificate(self) -> None:
        """A host certificate of a known authority is accepted; of another one it is not."""
        authority = self.new_key("ed25519")
        key = self.new_key("ecdsa")
        KeyTests.sign(self, authority, key, "-h", "-n", "127.0.0.1")  # type: ignore[arg-type]
        self.start_server(f"HostKey {key}\nHostCertificate {key}-cert.pub")
        public = " ".join(Path(f"{authority}.pub").read_text().split()[:2])
        await self.assert_logs_in(known_hosts=self.known(f"@cert-authority 127.0.0.* {public}"))
        await self.remote.stop()
        other = " ".join(Path(f"{self.new_key('ed25519')}.pub").read_text().split()[:2])
        await self.refusal(HostKeyUnknown, known_hosts=self.known(f"@cert-authority * {other}"))


class RefusedLaterTests(_KnownHostsTestCase):
    """A login that worked before, and is refused for good then."""

    async def test_until_file_changes(self) -> None:
        """It is reported to whoever asks, and tried again as soon as the file is as it was."""
        known = self.known(f"HOST {self.host_key('ed25519')}")
        remote = await self.log_in(known_hosts=known)
        good = known[0].read_text()
        other = " ".join(Path(f"{self.new_key('ed25519')}.pub").read_text().split()[:2])
        [changed] = self.known(f"HOST {other}")
        shutil.copy(changed, known[0])
        self.server.cut()
        await wait_until(reactor, lambda: remote._main.state == "refused")
        await self.assertFailure(remote.run("true"), HostKeyChanged)
        known[0].write_text(good)
        await wait_until(reactor, lambda: remote.connected)
        self.assertEqual((await remote.run("printf again")).stdout, b"again")

    async def test_until_certificate_changes(self) -> None:
        """So it is when a certificate beside the key is renewed."""
        authority, key = self.new_key("ed25519", authorize=False), self.new_key("ed25519", authorize=False)
        trusted = Path(self.mktemp_directory()) / "authorities"
        shutil.copy(f"{authority}.pub", trusted)
        self.start_server(f"TrustedUserCAKeys {trusted}")
        KeyTests.sign(self, authority, key, "-n", self.server.user)  # type: ignore[arg-type]
        remote = await self.log_in(identities=(key,))
        KeyTests.sign(self, authority, key, "-n", "another")  # type: ignore[arg-type]
        self.server.cut()
        await wait_until(reactor, lambda: remote._main.state == "refused")
        KeyTests.sign(self, authority, key, "-n", self.server.user)  # type: ignore[arg-type]
        await wait_until(reactor, lambda: remote.connected)


class AlgorithmTests(_LoginTestCase):
    """Servers that allow only some algorithms."""

    async def negotiated(self, config: str) -> Any:
        """@return: what was agreed upon with a server of that configuration."""
        self.start_server(config)
        await self.assert_logs_in()
        login = self.remote._main.login
        assert login is not None
        return login.transport.negotiated

    async def test_default(self) -> None:
        """With OpenSSH's defaults AES-GCM is agreed upon."""
        self.assertEqual((await self.negotiated("")).cipher_out, b"aes128-gcm@openssh.com")

    async def test_ciphers(self) -> None:
        """Each cipher works alone, with each kind of MAC."""
        for cipher, mac in (
            ("aes256-gcm@openssh.com", "umac-64@openssh.com"),
            ("aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
            ("aes192-ctr", "hmac-sha2-512-etm@openssh.com"),
            ("aes256-ctr", "hmac-sha2-512"),
            ("aes256-ctr", "hmac-sha2-256"),
        ):
            agreed = await self.negotiated(f"Ciphers {cipher}\nMACs {mac}")
            self.assertEqual(agreed.cipher_in.decode(), cipher)
            await self.remote.stop()

    async def test_hardened(self) -> None:
        """A server that permits little, and nothing old, is as good."""
        agreed = await self.negotiated(
            "Ciphers aes256-gcm@openssh.com\nMACs hmac-sha2-512-etm@openssh.com\n"
            "KexAlgorithms curve25519-sha256\nHostKeyAlgorithms ssh-ed25519\n"
            "PubkeyAcceptedAlgorithms ssh-ed25519\nRequiredRSASize 3072"
        )
        self.assertEqual((agreed.kex, agreed.host_key), (b"curve25519-sha256", b"ssh-ed25519"))
        self.assertEqual((agreed.cipher_in, agreed.mac_in), (b"aes256-gcm@openssh.com", b""))

    async def test_key_exchanges(self) -> None:
        """Each key exchange that both know works alone."""
        for name in (
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "ecdh-sha2-nistp256",
            "ecdh-sha2-nistp384",
            "ecdh-sha2-nistp521",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group14-sha256",
            "diffie-hellman-group-exchange-sha256",
        ):
            self.assertEqual((await self.negotiated(f"KexAlgorithms {name}")).kex.decode(), name)
            await self.remote.stop()

    async def test_none_in_common(self) -> None:
        """Where there is nothing in common, both sides' lists are named."""
        for config, what, theirs, ours in (
            (
                "Ciphers chacha20-poly1305@openssh.com",
                "cipher",
                "chacha20-poly1305@openssh.com",
                "aes128-ctr",
            ),
            (
                "Ciphers aes128-ctr\nMACs umac-64@openssh.com",
                "message authentication code",
                "umac-64",
                "hmac-sha2-256",
            ),
            (
                "KexAlgorithms diffie-hellman-group14-sha1",
                "key exchange",
                "group14-sha1",
                "curve25519-sha256",
            ),
        ):
            self.start_server(config)
            message = await self.refusal(NoCommonAlgorithm)
            for part in (f"no {what} in common", theirs, ours):
                self.assertIn(part, message)

    async def test_strict_key_exchange(self) -> None:
        """With a server that can, the key exchange is strict, and goes on working after a later one."""
        self.start_server("RekeyLimit 100K")
        await self.assert_logs_in()
        login = self.remote._main.login
        assert login is not None
        self.assertTrue(login.transport._strict)
        result = await self.remote.run("cat", b"x" * 1_000_000)
        self.assertEqual(len(result.stdout), 1_000_000)


class ConfigurationTests(_LoginTestCase):
    """What ssh_config says about algorithms, addresses and methods."""

    async def log_in_with(self, *lines: str, **changes: Any) -> Any:
        """@return: what was agreed upon with an ssh_config of those lines."""
        path = Path(self.mktemp_directory()) / "config"
        path.write_text("\n".join([*lines, ""]))
        await self.assert_logs_in(ssh_config=path, **changes)
        login = self.remote._main.login
        assert login is not None
        return login

    async def test_algorithms(self) -> None:
        """Only what is permitted is used."""
        login = await self.log_in_with(
            "Ciphers aes256-ctr,aes256-gcm@openssh.com",
            "KexAlgorithms ecdh-sha2-nistp384",
            "HostKeyAlgorithms rsa-sha2-256",
        )
        agreed = login.transport.negotiated
        self.assertEqual(agreed.cipher_out, b"aes256-gcm@openssh.com")
        self.assertEqual((agreed.kex, agreed.host_key), (b"ecdh-sha2-nistp384", b"rsa-sha2-256"))
        await self.remote.stop()
        agreed = (await self.log_in_with("Ciphers aes192-ctr", "MACs hmac-sha2-256")).transport.negotiated
        self.assertEqual((agreed.cipher_in, agreed.mac_in), (b"aes192-ctr", b"hmac-sha2-256"))

    async def test_signatures(self) -> None:
        """A key whose signatures are not permitted is not used, and that is said."""
        path = Path(self.mktemp_directory()) / "config"
        path.write_text("PubkeyAcceptedAlgorithms rsa-sha2-256\n")
        message = await self.refusal(AuthenticationFailed, ssh_config=path)
        self.assertIn(
            f"{self.server.identity_file} (ssh_config's PubkeyAcceptedAlgorithms leave it out)", message
        )
        await self.remote.stop()
        await self.assert_logs_in(ssh_config=path, identities=(self.new_key("rsa"),))

    async def test_addresses(self) -> None:
        """The connection comes from the wanted address, and goes to one of the wanted family."""
        login = await self.log_in_with("BindAddress 127.0.0.9", "AddressFamily inet")
        self.assertEqual(login.transport.transport.getHost().host, "127.0.0.9")
        await self.remote.stop()
        config = Path(self.mktemp_directory()) / "config"
        config.write_text("HostName localhost\nAddressFamily inet6\n")
        remote = self.make_remote(ssh_config=config, wait_for_ssh=1.0)
        remote.start()
        await self.assertFailure(remote.run("true"), SSHUnavailable)

    async def test_methods(self) -> None:
        """A method that is not preferred is not tried."""
        config = Path(self.mktemp_directory()) / "config"
        config.write_text("PreferredAuthentications password\n")
        message = await self.refusal(AuthenticationFailed, ssh_config=config)
        self.assertIn("tried: nothing", message)


class LimitTests(_KnownHostsTestCase):
    """What ssh_config says about keys, questions and who is known."""

    def config(self, *lines: str) -> Path:
        """@return: an ssh_config of those lines, which says who is known, too."""
        path = Path(self.mktemp_directory()) / "config"
        path.write_text("\n".join([*lines, f"UserKnownHostsFile {self.server.known_hosts_file}", ""]))
        return path

    async def test_short_user_key(self) -> None:
        """An RSA key that is too short is not used, and that is said; a longer one is."""
        config = self.config("RequiredRSASize 3000")
        short, long = self.new_key("rsa", "-b", "2048"), self.new_key("rsa", "-b", "3072")
        message = await self.refusal(AuthenticationFailed, ssh_config=config, identities=(short,))
        self.assertIn(f"{short} (of 2048 bits; ssh_config's RequiredRSASize is 3000)", message)
        await self.remote.stop()
        await self.assert_logs_in(ssh_config=config, identities=(short, long))

    async def test_short_host_key(self) -> None:
        """So it is with the server's."""
        config = self.config("RequiredRSASize 8000", "HostKeyAlgorithms rsa-sha2-512")
        message = await self.refusal(PermanentSSHError, ssh_config=config)
        self.assertIn("bits is too short: ssh_config's RequiredRSASize is 8000", message)

    async def test_authorities(self) -> None:
        """A host certificate is good only if it is signed by an algorithm that is permitted."""
        authority, key = self.new_key("ed25519"), self.new_key("ecdsa")
        KeyTests.sign(self, authority, key, "-h", "-n", "127.0.0.1")  # type: ignore[arg-type]
        self.start_server(f"HostKey {key}\nHostCertificate {key}-cert.pub")
        public = " ".join(Path(f"{authority}.pub").read_text().split()[:2])
        known = self.known(f"@cert-authority 127.0.0.* {public}")
        good, bad = (
            self.config("CASignatureAlgorithms ssh-ed25519"),
            self.config("CASignatureAlgorithms -ssh-*"),
        )
        await self.assert_logs_in(ssh_config=good, known_hosts=known)
        await self.remote.stop()
        message = await self.refusal(PermanentSSHError, ssh_config=bad, known_hosts=known)
        self.assertIn("its host certificate is signed by ssh-ed25519", message)

    async def test_rekey_limit(self) -> None:
        """New keys are made when ssh_config says so; how often depends on what is under way meanwhile."""
        await self.assert_logs_in(ssh_config=self.config("RekeyLimit 100K"))
        self.assertEqual(len((await self.remote.run("cat", b"x" * 1_000_000)).stdout), 1_000_000)
        login = self.remote._main.login
        assert login is not None
        self.assertGreater(login.transport.exchanges, 2)

    async def test_unchecked_localhost(self) -> None:
        """Where ssh_config says so, a server of this machine need not be known; one with an alias must be."""
        nobody = f"UserKnownHostsFile {self.mktemp_directory()}/none"
        unchecked = "NoHostAuthenticationForLocalhost yes"
        await self.assert_logs_in(ssh_config=self.config(unchecked, nobody), known_hosts=())
        await self.remote.stop()
        for lines in ((nobody,), (unchecked, nobody, "HostKeyAlias nick")):
            await self.refusal(HostKeyUnknown, ssh_config=self.config(*lines), known_hosts=())
            await self.remote.stop()

    async def test_known_hosts_command(self) -> None:
        """A command knows the host, beside the files; one that fails is told as the reason."""
        program = Path(self.mktemp_directory()) / "program"
        program.write_text(f'#!/bin/sh\necho "$1 {self.host_key("ed25519")}"\n')
        program.chmod(0o755)
        nobody = f"UserKnownHostsFile {self.mktemp_directory()}/none"
        config = self.config(f"KnownHostsCommand {program} %H", nobody)
        await self.assert_logs_in(ssh_config=config, known_hosts=())
        await self.remote.stop()
        for script, words in (("echo no network >&2; exit 2", "no network"), ("exit 3", "status 3")):
            program.write_text(f"#!/bin/sh\n{script}\n")
            remote = self.make_remote(ssh_config=config, known_hosts=(), wait_for_ssh=1.0)
            remote.start()
            error = await self.assertFailure(remote.run("true"), SSHUnavailable)
            self.assertIn(
                f"KnownHostsCommand `{program} [127.0.0.1]:{self.server.port}` failed",
                str(error).replace("'", ""),
            )
            self.assertIn(words, str(error))
            await remote.stop()


class ProxyTests(_LoginTestCase):
    """Reaching the server by way of something else."""

    def config(self, text: str) -> Path:
        """@return: an ssh_config with those lines, and one that lets ssh itself log in."""
        path = Path(self.mktemp_directory()) / "config"
        path.write_text(
            f"{text}\nHost *\n  User {self.server.user}\n  IdentityFile {self.server.identity_file}\n"
            f"  UserKnownHostsFile {self.server.known_hosts_file}\n"
        )
        return path

    async def test_command(self) -> None:
        """A ProxyCommand's standard streams are the connection."""
        here = f"127.0.0.1 {self.server.port}"
        config = self.config(
            f"Host target\n  Port {self.server.port}\n  HostName 127.0.0.1\n"
            f"  ProxyCommand {sys.executable} -c '{_RELAY}' {here}"
        )
        await self.assert_logs_in(destination="target", ssh_config=config)
        result = await self.remote.run("cat", b"y" * 3_000_000)
        self.assertEqual(len(result.stdout), 3_000_000)

    async def test_jumps(self) -> None:
        """One jump, and two."""
        port = self.server.port
        config = self.config(
            f"Host jump other\n  Port {port}\n  HostName 127.0.0.1\n"
            f"Host target\n  Port {port}\n  HostName 127.0.0.1\n  ProxyJump jump\n"
            f"Host far\n  Port {port}\n  HostName 127.0.0.1\n  ProxyJump other,jump\n"
        )
        for target in ("target", "far"):
            await self.assert_logs_in(destination=target, ssh_config=config)
            await self.remote.stop()

    async def test_failing_command(self) -> None:
        """What a failing command says is what is waited for in vain."""
        config = self.config("Host target\n  ProxyCommand echo the bastion is closed >&2; exit 1")
        remote = self.make_remote(destination="target", ssh_config=config, wait_for_ssh=1.0)
        remote.start()
        error = await self.assertFailure(remote.run("true"), SSHUnavailable)
        self.assertIn("the bastion is closed", str(error))


class UnreachableTests(_LoginTestCase):
    """Hosts that do not answer yet."""

    async def test_retried(self) -> None:
        """
        A host that cannot be reached is tried again; who waits in vain is told the state and the reason.
        """
        port = free_port()
        remote = self.make_remote(destination=f"127.0.0.1:{port}", wait_for_ssh=0.6)
        remote.start()
        waiting = remote.when_connected()
        error = await self.assertFailure(remote.run("true"), SSHUnavailable)
        self.assertIn("connection refused", str(error))
        self.assertNoResult(waiting)
        waiting.addErrback(lambda failure: None)
        waiting.cancel()

    async def test_connect_timeout(self) -> None:
        """A host that does not answer is given up after ConnectTimeout, and that is said."""
        config = Path(self.mktemp_directory()) / "config"
        config.write_text("ConnectTimeout 1\n")
        with ExitStack() as stack:
            # Who comes when the queue is full is not answered.
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(2):
                queued = stack.enter_context(socket.socket())
                queued.setblocking(False)
                queued.connect_ex(server.getsockname())
            destination = f"127.0.0.1:{server.getsockname()[1]}"
            remote = self.make_remote(destination=destination, ssh_config=config, wait_for_ssh=3.0)
            remote.start()
            error = await self.assertFailure(remote.run("true"), SSHUnavailable)
        self.assertIn("it does not answer", str(error))

    async def test_unknown_name(self) -> None:
        """A name that does not exist is said to be one."""
        remote = self.make_remote(destination="nosuchhost.invalid", wait_for_ssh=3.0)
        remote.start()
        error = await self.assertFailure(remote.run("true"), SSHUnavailable)
        self.assertIn("cannot be resolved", str(error))

    async def test_started_later(self) -> None:
        """When the host comes up, the login follows."""
        self.start_server("")
        self.server.stop()
        remote = self.make_remote()
        remote.start()
        running = remote.run("printf up")
        self.server.restart()
        self.assertEqual((await running).stdout, b"up")


_RELAY = (
    "import socket, sys, threading, os; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); "
    'threading.Thread(target=lambda: [os.write(1, b) for b in iter(lambda: s.recv(65536), b"")], daemon=True)'
    '.start(); [s.sendall(b) for b in iter(lambda: os.read(0, 65536), b"")]'
)
