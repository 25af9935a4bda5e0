"""known_hosts: what is known, what is changed, what is revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import HostKeyChanged, HostKeyRevoked, HostKeyUnknown, PermanentSSHError
from remotedocker.ssh._hostkeys import DEFAULT_HOST_KEY_ALGORITHMS, HostKeyPolicy, parse_known_hosts
from remotedocker.ssh._wire import fingerprint, string


def key(kind: str = "ssh-ed25519", content: bytes = b"1") -> bytes:
    """@return: the blob of a public key; only its type is looked at here."""
    return string(kind.encode()) + string(content * 32)


def line(names: str, blob: bytes) -> str:
    """@return: a line of known_hosts."""
    kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode()
    return f"{names} {kind} {base64.b64encode(blob).decode()}"


def hashed(name: str) -> str:
    """@return: the hashed form of a name."""
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


ONE, TWO = key(), key(content=b"2")
ECDSA, RSA = key("ecdsa-sha2-nistp256"), string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\x7f" * 256)


class HostKeyTests(SynchronousTestCase):
    """L{HostKeyPolicy}."""

    def policy(
        self, *lines: str, host: str = "host.example", port: int = 22, **options: object
    ) -> HostKeyPolicy:
        """@return: the policy by a known_hosts file of those lines."""
        self.file = Path(self.mktemp())
        self.file.write_text("".join(f"{one}\n" for one in lines))
        return HostKeyPolicy(f"me@{host}", host, port, [self.file], **options)  # type: ignore[arg-type]

    def assert_known(self, names: str, host: str = "host.example", port: int = 22, alias: str = "") -> None:
        """Checks that a line with C{names} is about the host."""
        policy = self.policy(line(names, ONE), host=host, port=port, alias=alias)
        self.assertEqual(policy.check(ONE), ONE, names)

    def assert_unknown(self, names: str, host: str = "host.example", port: int = 22, alias: str = "") -> None:
        """Checks that a line with C{names} is not about the host."""
        policy = self.policy(line(names, ONE), host=host, port=port, alias=alias)
        self.assertRaises(HostKeyUnknown, policy.check, ONE)

    def test_names(self) -> None:
        """Plain names, lists, patterns, hashes; the case of letters does not matter."""
        for names in (
            "host.example",
            "HOST.example",
            "other,host.example,10.0.0.1",
            "*.example",
            "h?st.example",
            "*",
            "*.example,!other.example",
            hashed("host.example"),
        ):
            self.assert_known(names)
        self.assert_known("host.example", host="Host.EXAMPLE")

    def test_other_names(self) -> None:
        """What does not match is not known; a negated pattern wins, wherever it stands."""
        for names in (
            "host",
            "host.example.org",
            "*.example,!host.example",
            "!host.example,*.example",
            "!other.example",
            "h.st.example",
            hashed("other.example"),
            "|1|bad",
        ):
            self.assert_unknown(names)

    def test_ports(self) -> None:
        """
        A port that is not 22 stands in brackets; a line without one will do if no other matches, as in
        OpenSSH.
        """
        self.assert_known("[host.example]:2222", port=2222)
        self.assert_known(hashed("[host.example]:2222"), port=2222)
        self.assert_known("[*.example]:2222", port=2222)
        self.assert_known("host.example", port=2222)
        self.assert_unknown("[host.example]:2222", port=22)
        self.assert_unknown("[host.example]:2223", port=2222)
        policy = self.policy(line("host.example", ONE), line("[host.example]:2222", TWO), port=2222)
        self.assertRaises(HostKeyChanged, policy.check, ONE)

    def test_other_server_of_the_host(self) -> None:
        """The key of port 22 says nothing about another server of the host: that one is new, not changed."""
        policy = self.policy(line("host.example", ONE), port=2222)
        self.assertRaises(HostKeyUnknown, policy.check, TWO)
        policy = self.policy(line("host.example", ONE), port=2222, accept_new=True)
        self.assertEqual(policy.check(TWO), TWO)
        policy = self.policy(line("host.example", ONE), f"@revoked {line('host.example', TWO)}", port=2222)
        self.assertRaises(HostKeyRevoked, policy.check, TWO)

    def test_alias(self) -> None:
        """A HostKeyAlias stands for the host, whatever the port."""
        self.assert_known("nick", alias="nick", port=2222)
        self.assert_unknown("host.example", alias="nick")

    def test_several_keys(self) -> None:
        """A host may have several keys, of one type too."""
        policy = self.policy(
            line("host.example", ONE), line("host.example", TWO), line("host.example", ECDSA)
        )
        for blob in (ONE, TWO, ECDSA):
            self.assertEqual(policy.check(blob), blob)

    def test_several_files(self) -> None:
        """All files count; one that is missing does not matter."""
        files = [Path(self.mktemp()) for _ in range(3)]
        files[0].write_text(line("host.example", ONE))
        files[2].write_text(line("host.example", TWO))
        policy = HostKeyPolicy("host", "host.example", 22, files)
        self.assertEqual([policy.check(blob) for blob in (ONE, TWO)], [ONE, TWO])

    def test_changed(self) -> None:
        """A changed key names the file, the line and both fingerprints."""
        policy = self.policy("# comment", "", line("host.example", ONE))
        error = self.assertRaises(HostKeyChanged, policy.check, TWO)
        for part in (
            f"{self.file}:3",
            fingerprint(ONE),
            fingerprint(TWO),
            "ED25519",
            f"ssh-keygen -R host.example -f {self.file}`",
        ):
            self.assertIn(part, str(error))

    def test_changed_behind_a_port(self) -> None:
        """The command that removes a line names the host as the line does, fit for a shell."""
        policy = self.policy(line("[host.example]:2222", ONE), port=2222)
        error = self.assertRaises(HostKeyChanged, policy.check, TWO)
        self.assertIn(f"`ssh-keygen -R '[host.example]:2222' -f {self.file}`", str(error))

    def test_other_type(self) -> None:
        """A host that is known by one type of key is not trusted with another, even if new hosts are."""
        for accept in (False, True):
            policy = self.policy(line("host.example", ECDSA), accept_new=accept)
            error = self.assertRaises(HostKeyChanged, policy.check, ONE)
            self.assertIn(f"ECDSA {fingerprint(ECDSA)}", str(error))

    def test_unknown(self) -> None:
        """An unknown host names its fingerprint and what to do."""
        error = self.assertRaises(HostKeyUnknown, self.policy().check, ONE)
        for part in (fingerprint(ONE), "--accept-new-host-key", "ssh me@host.example"):
            self.assertIn(part, str(error))

    def test_revoked(self) -> None:
        """A revoked key is refused, even if another line has it as good; other keys are not touched."""
        revoked = f"@revoked {line('*', ONE)}"
        policy = self.policy(line("host.example", ONE), line("host.example", TWO), revoked, accept_new=True)
        error = self.assertRaises(HostKeyRevoked, policy.check, ONE)
        self.assertIn(f"{self.file}:3", str(error))
        self.assertEqual(policy.check(TWO), TWO)

    def test_revoked_keys_file(self) -> None:
        """C{RevokedHostKeys} is honoured; one that cannot be read lets nobody in."""
        revoked = Path(self.mktemp())
        revoked.write_text(line("", ONE).strip() + " comment\n")
        policy = self.policy(line("host.example", ONE), line("host.example", TWO), revoked_keys=revoked)
        self.assertRaises(HostKeyRevoked, policy.check, ONE)
        self.assertEqual(policy.check(TWO), TWO)
        revoked.write_bytes(b"SSHKRL\n\0\0\0\0\1")
        error = self.assertRaises(PermanentSSHError, policy.check, TWO)
        self.assertIn("binary key revocation list", str(error))
        revoked.unlink()
        self.assertRaises(PermanentSSHError, policy.check, TWO)

    def test_strange_lines(self) -> None:
        """Lines that make no sense are passed over."""
        lines = [
            "",
            "# comment",
            "host.example",
            "host.example ssh-ed25519",
            "host.example ssh-ed25519 not-base64!",
            "host.example ssh-rsa " + base64.b64encode(ONE).decode(),
            "host.example ssh-ed25519 AAAA",
            f"@unknown {line('host.example', ONE)}",
        ]
        self.assertEqual(parse_known_hosts(Path("x"), "\n".join(lines)), [])

    def test_accept_new(self) -> None:
        """A new key is recorded, in the user's file, and is known from then on."""
        record = Path(self.mktemp()) / "directory" / "known_hosts"
        policy = self.policy(accept_new=True, record_in=record, port=2222)
        self.assertEqual(policy.check(ONE), ONE)
        self.assertEqual(record.read_text(), line("[host.example]:2222", ONE) + "\n")
        self.assertEqual(record.stat().st_mode & 0o777, 0o600)
        self.assertEqual(policy.check(ONE), ONE)
        self.assertEqual(len(record.read_text().splitlines()), 1)
        again = HostKeyPolicy("host", "host.example", 2222, [record])
        self.assertEqual(again.check(ONE), ONE)
        self.assertRaises(HostKeyChanged, again.check, TWO)

    def test_accept_new_hashed(self) -> None:
        """Where known_hosts is hashed, so is the new name."""
        record = Path(self.mktemp())
        record.write_text("# no newline at the end")
        policy = self.policy(accept_new=True, record_in=record, hashed=True)
        policy.check(ONE)
        lines = record.read_text().splitlines()
        self.assertEqual(lines[0], "# no newline at the end")
        self.assertTrue(lines[1].startswith("|1|"))
        self.assertNotIn("host.example", lines[1])
        self.assertEqual(HostKeyPolicy("host", "host.example", 22, [record]).check(ONE), ONE)

    def test_accept_new_unwritable(self) -> None:
        """A file that cannot be written does not keep the user out."""
        policy = self.policy(accept_new=True, record_in=Path("/proc/known_hosts"))
        self.assertEqual(policy.check(ONE), ONE)

    def test_algorithms(self) -> None:
        """What is known is offered first, RSA by its SHA-2 names; what is weak never is."""
        self.assertEqual(self.policy().algorithms(), list(DEFAULT_HOST_KEY_ALGORITHMS))
        known = self.policy(line("host.example", RSA), line("host.example", ECDSA)).algorithms()
        self.assertEqual(
            known[:4], [b"rsa-sha2-512", b"rsa-sha2-256", b"ecdsa-sha2-nistp256", b"ssh-ed25519"]
        )
        self.assertEqual(sorted(known), sorted(DEFAULT_HOST_KEY_ALGORITHMS))
        weak = self.policy(line("host.example", key("ssh-dss"))).algorithms()
        self.assertEqual(weak, list(DEFAULT_HOST_KEY_ALGORITHMS))
        self.assertNotIn(b"ssh-rsa", known)

    def test_algorithms_of_authority(self) -> None:
        """Where an authority is known, certificates are offered before all."""
        offered = self.policy(f"@cert-authority {line('*.example', ONE)}").algorithms()
        self.assertEqual(offered[0], b"ssh-ed25519-cert-v01@openssh.com")
        self.assertEqual(offered[6], b"ssh-ed25519")

    def test_added(self) -> None:
        """What a command prints counts as lines of known_hosts do, also what it revokes."""
        policy = self.policy(line("host.example", TWO))
        policy.add(f"{line('host.example', ONE)}\n@revoked {line('*', TWO)}\n")
        self.assertEqual(policy.check(ONE), ONE)
        error = self.assertRaises(HostKeyRevoked, policy.check, TWO)
        self.assertIn("KnownHostsCommand:2", str(error))

    def test_short_rsa(self) -> None:
        """An RSA key that is too short is refused, though it is known; keys of other types have no length."""
        for least in (0, 2047):
            self.assertEqual(self.policy(line("host.example", RSA), least_rsa=least).check(RSA), RSA)
        policy = self.policy(line("host.example", RSA), line("host.example", ONE), least_rsa=2048)
        error = self.assertRaises(PermanentSSHError, policy.check, RSA)
        self.assertIn("2047 bits is too short: ssh_config's RequiredRSASize is 2048", str(error))
        self.assertEqual(policy.check(ONE), ONE)

    def test_unchecked(self) -> None:
        """Where any key is good, an unknown and a changed one are, and not recorded; a revoked one is not."""
        policy = self.policy(line("host.example", TWO), f"@revoked {line('*', ECDSA)}", unchecked=True)
        self.assertEqual((policy.check(ONE), policy.check(TWO)), (ONE, TWO))
        self.assertNotIn(line("host.example", ONE), self.file.read_text())
        self.assertRaises(HostKeyRevoked, policy.check, ECDSA)
