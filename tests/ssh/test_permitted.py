"""Which algorithms ssh_config leaves to be offered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.errors import PermanentSSHError
from remotedocker.ssh._permitted import Permitted, drop_defaults, read_permitted


class PermittedTests(SynchronousTestCase):
    """L{read_permitted}."""

    def test_silent(self) -> None:
        """Where nothing is said, everything is permitted."""
        self.assertEqual(read_permitted({}, "host"), Permitted())

    def test_order(self) -> None:
        """The order is ours, whatever else is permitted."""
        said = {"ciphers": ["chacha20-poly1305@openssh.com,aes256-ctr,aes128-gcm@openssh.com"]}
        permitted = read_permitted(said, "host")
        self.assertEqual(permitted.ciphers, (b"aes128-gcm@openssh.com", b"aes256-ctr"))
        self.assertEqual(permitted.macs, Permitted().macs)

    def test_nothing_left(self) -> None:
        """When nothing is left the keyword is named, and what there would be."""
        for keyword, value, known in (
            ("Ciphers", "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"),
            ("KexAlgorithms", "sntrup761x25519-sha512", "curve25519-sha256"),
            ("HostKeyAlgorithms", "ssh-rsa,ssh-dss", "rsa-sha2-512"),
        ):
            error = self.assertRaises(PermanentSSHError, read_permitted, {keyword.lower(): [value]}, "host")
            self.assertIn(f"ssh_config's {keyword} leave nothing that remotedocker knows", str(error))
            self.assertIn(known, str(error))

    def test_no_mac(self) -> None:
        """Without a MAC that is known, the ciphers that need none are left."""
        permitted = read_permitted({"macs": ["umac-64@openssh.com"]}, "host")
        self.assertEqual(permitted.ciphers, (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com"))
        self.assertEqual(permitted.macs, Permitted().macs)
        said = {"macs": ["umac-64@openssh.com"], "ciphers": ["aes128-ctr"]}
        self.assertIn(
            "MACs leave nothing", str(self.assertRaises(PermanentSSHError, read_permitted, said, "host"))
        )

    def test_defaults(self) -> None:
        """Lists that are the installed C{ssh}'s own forbid nothing; other keywords are not touched."""
        old = {"kexalgorithms": ["curve25519-sha256"], "ciphers": ["aes128-ctr"], "port": ["22"]}
        said = {**old, "ciphers": ["aes256-ctr"]}
        self.assertEqual(drop_defaults(said, old), {"ciphers": ["aes256-ctr"], "port": ["22"]})

    def test_authorities(self) -> None:
        """Authorities may sign by what ssh_config says, and by everything where it says nothing."""
        said = {"casignaturealgorithms": ["ssh-ed25519,rsa-sha2-512"]}
        self.assertEqual(read_permitted(said, "host").authorities, {b"ssh-ed25519", b"rsa-sha2-512"})
        self.assertEqual(drop_defaults(said, said), {})
        self.assertIsNone(read_permitted({}, "host").authorities)

    def test_signatures(self) -> None:
        """The older name of the keyword is understood, too."""
        for keyword in ("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes"):
            permitted = read_permitted({keyword: ["ssh-ed25519,rsa-sha2-256"]}, "host")
            self.assertEqual(permitted.signatures, {b"ssh-ed25519", b"rsa-sha2-256"})
