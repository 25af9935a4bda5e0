"""What ssh_config says, by C{ssh -G} and without it."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import PermanentSSHError, SSHError
from remotedocker.ssh import SSHConfiguration
from remotedocker.ssh._permitted import Permitted
from remotedocker.ssh._sshconfig import ResolvedHost, parse_ssh_g, resolve

_CONFIG = """
Include {directory}/included
Match host matched
    User from-match
Host alias
    HostName real.example
    User somebody
    Port 2200
    IdentityFile ~/.ssh/special
    IdentityFile "{directory}/with space"
    IdentitiesOnly yes
    IdentityAgent {directory}/agent
    CertificateFile ~/.ssh/special-cert.pub
    UserKnownHostsFile {directory}/one {directory}/two
    GlobalKnownHostsFile none
    HostKeyAlias nick
    StrictHostKeyChecking accept-new
    HashKnownHosts yes
    ConnectTimeout 7
    ServerAliveInterval 9
    ServerAliveCountMax 5
    PasswordAuthentication no
Host jumped
    ProxyJump first,user@second:2222
Host proxied
    HostName behind.example
    Port 24
    User me
    ProxyCommand relay --to %h:%p --as %r
Host handed-over
    ProxyCommand connect
    ProxyUseFdpass yes
Host picky
    AddressFamily inet6
    BindAddress 127.0.0.9
    PreferredAuthentications password,publickey
    Ciphers ^aes256-ctr
    MACs hmac-sha1,hmac-sha2-512
    KexAlgorithms -curve25519*
    HostKeyAlgorithms ssh-rsa,rsa-sha2-256,ssh-ed25519
    PubkeyAcceptedAlgorithms ecdsa-sha2-*
    CASignatureAlgorithms rsa-sha2-512,ssh-rsa
    RequiredRSASize 3072
    NumberOfPasswordPrompts 1
    RekeyLimit 100M 10m
    NoHostAuthenticationForLocalhost yes
    KnownHostsCommand /bin/ask --for "%H %n"
Host key-command
    KnownHostsCommand /bin/ask %K
Host agentless
    IdentityAgent none
Host named-agent
    IdentityAgent $OTHER_AGENT
Host *
    BatchMode yes
"""


class ResolveTests(SynchronousTestCase):
    """L{resolve}."""

    def setUp(self) -> None:
        """An empty home, and a configuration file."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.config = self.directory / "config"
        self.config.write_text(_CONFIG.format(directory=self.directory))
        (self.directory / "included").write_text("Host included\n    HostName from-include.example\n")
        self.environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "USER": "local",
            "SSH_AUTH_SOCK": "/agent/socket",
            "OTHER_AGENT": "/other/agent",
        }

    def resolve(self, destination: str, **changes: object) -> ResolvedHost:
        """@return: the resolved destination."""
        configuration = SSHConfiguration(destination, ssh_config=self.config)
        return resolve(evolve(configuration, **changes), self.environ)

    def test_all_keywords(self) -> None:
        """Every keyword that matters is taken over."""
        host = self.resolve("alias")
        self.assertEqual((host.host, host.user, host.port), ("real.example", "somebody", 2200))
        self.assertEqual(host.identities[0].name, "special")
        self.assertIn(self.directory / "with space", host.identities)
        self.assertTrue(host.identities_only)
        self.assertEqual(host.agent, f"{self.directory}/agent")
        self.assertEqual([path.name for path in host.certificates], ["special-cert.pub"])
        self.assertEqual(host.user_known_hosts, (self.directory / "one", self.directory / "two"))
        self.assertEqual(host.global_known_hosts, ())
        self.assertEqual((host.alias, host.strict, host.hash_known_hosts), ("nick", "accept-new", True))
        self.assertEqual((host.connect_timeout, host.alive_interval, host.alive_count), (7.0, 9.0, 5))
        self.assertEqual((host.password, host.keyboard_interactive, host.batch_mode), (False, True, True))
        self.assertEqual(host.destination, "somebody@alias:2200")

    def test_destination_wins(self) -> None:
        """What is typed in the destination wins over the file."""
        host = self.resolve("me@alias:2222")
        self.assertEqual((host.host, host.user, host.port), ("real.example", "me", 2222))

    def test_options_win(self) -> None:
        """Our own options win over the file."""
        host = self.resolve("alias", identities=(Path("/key"),), known_hosts=(Path("/known"),))
        self.assertEqual((host.identities, host.explicit_identities), ((Path("/key"),), True))
        self.assertEqual((host.user_known_hosts, host.global_known_hosts), ((Path("/known"),), ()))

    def test_match_and_include(self) -> None:
        """Match and Include have their effect."""
        self.assertEqual(self.resolve("matched").user, "from-match")
        self.assertEqual(self.resolve("included").host, "from-include.example")

    def test_defaults(self) -> None:
        """What no line is about gets ssh's defaults."""
        host = self.resolve("plain")
        self.assertEqual((host.host, host.port, host.connect_timeout), ("plain", 22, 15.0))
        self.assertEqual((host.strict, host.alias, host.jump, host.command), ("ask", "", "", ""))
        self.assertEqual(host.agent, "/agent/socket")
        self.assertEqual(host.destination, f"{host.user}@plain")

    def test_agents(self) -> None:
        """The agent may be none, or named by a variable."""
        self.assertEqual(self.resolve("agentless").agent, "")
        self.assertEqual(self.resolve("named-agent").agent, "/other/agent")

    def test_proxies(self) -> None:
        """Jumps are given as they stand, a command with its tokens filled."""
        self.assertEqual(self.resolve("jumped").jump, "first,user@second:2222")
        self.assertEqual(self.resolve("proxied").command, "relay --to behind.example:24 --as me")

    def test_handed_over(self) -> None:
        """A command that hands a socket over, instead of data, is refused with that reason."""
        error = self.assertRaises(PermanentSSHError, self.resolve, "handed-over")
        self.assertIn("ProxyUseFdpass", str(error))

    def test_algorithms(self) -> None:
        """What may be used is what is permitted, in our order; addresses and methods are as wanted."""
        host = self.resolve("picky")
        self.assertEqual((host.address_family, host.bind_address), ("inet6", "127.0.0.9"))
        self.assertEqual(host.preferred_methods, ("password", "publickey"))
        permitted = host.permitted
        self.assertEqual(permitted.macs, (b"hmac-sha2-512",))
        self.assertEqual(permitted.ciphers, Permitted().ciphers)
        self.assertIn(b"ecdh-sha2-nistp256", permitted.key_exchanges)
        self.assertNotIn(b"curve25519-sha256", permitted.key_exchanges)
        self.assertEqual(permitted.host_keys, (b"ssh-ed25519", b"rsa-sha2-256"))
        self.assertIn(b"ecdsa-sha2-nistp256", permitted.signatures or ())
        self.assertNotIn(b"ssh-ed25519", permitted.signatures or ())
        self.assertEqual(permitted.authorities, {b"rsa-sha2-512", b"ssh-rsa"})
        plain = self.resolve("plain")
        self.assertEqual((plain.address_family, plain.bind_address, plain.preferred_methods), ("any", "", ()))
        self.assertEqual(plain.permitted, Permitted())

    def test_limits(self) -> None:
        """What limits keys and questions is taken over; without it there is what ssh has."""
        host, plain = self.resolve("picky"), self.resolve("plain")
        self.assertEqual((host.least_rsa, host.tries, host.unchecked_localhost), (3072, 1, True))
        self.assertEqual((host.rekey_bytes, host.rekey_seconds), (100 << 20, 600.0))
        self.assertEqual((plain.least_rsa, plain.tries, plain.unchecked_localhost), (1024, 3, False))
        self.assertEqual((plain.rekey_bytes, plain.rekey_seconds, plain.known_hosts_command), (0, 0.0, ()))

    def test_known_hosts_command(self) -> None:
        """A command that prints host keys is taken over; our option wins, and what cannot be done is told."""
        self.assertEqual(self.resolve("picky").known_hosts_command, ("/bin/ask", "--for", "picky picky"))
        self.assertEqual(self.resolve("picky", known_hosts=(Path("/known"),)).known_hosts_command, ())
        error = self.assertRaises(PermanentSSHError, self.resolve, "key-command")
        self.assertIn("ssh_config's KnownHostsCommand has the token %f, %K or %t", str(error))

    def test_loopback(self) -> None:
        """What is on this machine is known by its address, if no proxy is between."""
        plain = self.resolve("plain")
        for host in ("localhost", "127.0.0.9", "::1"):
            self.assertTrue(evolve(plain, host=host).is_loopback, host)
        for changes in ({"host": "real.example"}, {"host": "10.0.0.1"}, {"jump": "x"}, {"command": "x"}):
            self.assertFalse(evolve(plain, **{"host": "127.0.0.1", **changes}).is_loopback, changes)

    def test_broken_file(self) -> None:
        """An error in the file is told in ssh's words."""
        self.config.write_text("Hoost x\n")
        error = self.assertRaises(SSHError, self.resolve, "host")
        self.assertIn("Bad configuration option: hoost", str(error))

    def test_without_ssh(self) -> None:
        """Where there is no ssh, its defaults are used."""
        self.environ["PATH"] = str(self.directory)
        host = self.resolve("somebody@host:2222")
        self.assertEqual((host.host, host.user, host.port), ("host", "somebody", 2222))
        self.assertIn(self.directory / ".ssh" / "id_ed25519", host.identities)
        self.assertIn(self.directory / ".ssh" / "known_hosts", host.user_known_hosts)
        self.assertEqual(host.agent, "/agent/socket")
        self.assertEqual(self.resolve("host").user, "local")

    def test_ipv6(self) -> None:
        """An IPv6 address is no option and no alias."""
        host = self.resolve("me@[::1]:2222")
        self.assertEqual((host.host, host.port, host.destination), ("::1", 2222, "me@[::1]:2222"))


class ParseTests(SynchronousTestCase):
    """L{parse_ssh_g}."""

    def test_lines(self) -> None:
        """Keywords are in lower case, values in order; what has no value has an empty one."""
        said = parse_ssh_g("Host x\nidentityfile ~/a b\nidentityfile c\n\nlone\n")
        self.assertEqual(said, {"host": ["x"], "identityfile": ["~/a b", "c"], "lone": [""]})
