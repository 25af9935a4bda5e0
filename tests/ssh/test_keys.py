"""Private keys in files, as ssh-keygen makes them, and what they sign."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.conch.ssh.keys import Key
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._keys import (
    EncryptedKey,
    FileIdentity,
    UnusableKey,
    load_private_key,
    public_blob,
    public_blob_in,
    read_public_key,
    rsa_bits,
    sign,
    signature_algorithms,
)
from remotedocker.ssh._wire import Reader, string
from tests.support.sshd import make_key

_KINDS = (
    ("ed25519",),
    ("ecdsa", "-b", "256"),
    ("ecdsa", "-b", "384"),
    ("ecdsa", "-b", "521"),
    ("rsa", "-b", "2048"),
)


class KeyTests(SynchronousTestCase):
    """Key files."""

    def setUp(self) -> None:
        """A directory for them."""
        self.directory = Path(tempfile.mkdtemp(prefix="remotedocker-test-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def make(self, *kind: str, passphrase: str = "") -> Path:
        """@return: a new key."""
        name = f"key{len(list(self.directory.iterdir()))}"
        return make_key(self.directory / name, *kind, passphrase=passphrase)

    def test_signatures(self) -> None:
        """What a key of each kind signs, by each of its algorithms, its public half verifies."""
        for kind in _KINDS:
            path = self.make(*kind)
            identity = FileIdentity.of(load_private_key(path), path)
            self.assertEqual(identity.description, str(path))
            self.assertEqual(identity.blob, read_public_key(Path(f"{path}.pub")))
            self.assertEqual(identity.blob, public_blob_in(path))
            for algorithm in signature_algorithms(identity.blob):
                signature = self.successResultOf(identity.sign(algorithm, b"data"))
                self.assertEqual(Reader(signature).string(), algorithm)
                self.assertTrue(Key.fromString(identity.blob).verify(signature, b"data"))
                self.assertFalse(Key.fromString(identity.blob).verify(signature, b"other data"))

    def test_signature_algorithms(self) -> None:
        """RSA signs with SHA-2 only, the longer hash first; certificates have algorithms of their own."""
        self.assertEqual(signature_algorithms(string(b"ssh-rsa")), [b"rsa-sha2-512", b"rsa-sha2-256"])
        self.assertEqual(
            signature_algorithms(string(b"ssh-rsa-cert-v01@openssh.com")),
            [b"rsa-sha2-512-cert-v01@openssh.com", b"rsa-sha2-256-cert-v01@openssh.com"],
        )
        for kind in (b"ssh-ed25519", b"ecdsa-sha2-nistp256-cert-v01@openssh.com"):
            self.assertEqual(signature_algorithms(string(kind)), [kind])

    def test_rsa_bits(self) -> None:
        """RSA keys have a length, with and without a certificate; others have none."""
        for bits in (2048, 3072):
            path = self.make("rsa", "-b", str(bits))
            blob = public_blob(load_private_key(path))
            authority = self.make("ed25519")
            command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "name", f"{path}.pub"]
            subprocess.run(command, check=True, capture_output=True)
            certificate = read_public_key(Path(f"{path}-cert.pub"))
            assert certificate is not None
            self.assertEqual((rsa_bits(blob), rsa_bits(certificate)), (bits, bits))
        self.assertIsNone(rsa_bits(public_blob(load_private_key(authority))))

    def test_signature_with_certificate(self) -> None:
        """The signature itself names the plain algorithm, as OpenSSH's PROTOCOL.certkeys wants it."""
        key = load_private_key(self.make("rsa", "-b", "2048"))
        signature = sign(key, b"rsa-sha2-512-cert-v01@openssh.com", b"data")
        self.assertEqual(Reader(signature).string(), b"rsa-sha2-512")
        self.assertTrue(Key.fromString(public_blob(key)).verify(signature, b"data"))

    def test_encrypted(self) -> None:
        """Encrypted keys in every format need their passphrase, and no other does."""
        for kind in (("ed25519",), ("rsa", "-b", "2048", "-m", "PEM"), ("rsa", "-b", "2048", "-m", "PKCS8")):
            path = self.make(*kind, passphrase="open sesame")
            self.assertIn("is encrypted", str(self.assertRaises(EncryptedKey, load_private_key, path)))
            for wrong in (b"wrong", b""):
                error = self.assertRaises(EncryptedKey, load_private_key, path, wrong)
                self.assertIn(str(path), str(error))
            self.assertEqual(
                public_blob(load_private_key(path, b"open sesame")), read_public_key(Path(f"{path}.pub"))
            )

    def test_needless_passphrase(self) -> None:
        """A passphrase for a key that needs none does no harm."""
        for kind in (("ed25519",), ("rsa", "-b", "2048", "-m", "PEM")):
            load_private_key(self.make(*kind), b"needless")

    def test_public_half_of_encrypted(self) -> None:
        """OpenSSH's format shows the public half without the passphrase; PEM does not."""
        path = self.make("ed25519", passphrase="open sesame")
        self.assertEqual(public_blob_in(path), read_public_key(Path(f"{path}.pub")))
        self.assertIsNone(public_blob_in(self.make("rsa", "-b", "2048", "-m", "PEM", passphrase="sesame")))

    def test_no_key(self) -> None:
        """What is no key is named as such, wherever it goes wrong; none of it is an accident."""
        path = self.make("ed25519")
        whole = path.read_bytes()
        begin, end = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"-----END OPENSSH PRIVATE KEY-----\n"
        for content in (
            b"",
            b"rubbish",
            begin,
            begin + end,
            begin + b"!!\n" + end,
            whole[:100],
            whole[:-120],
        ):
            path.write_bytes(content)
            error = self.assertRaises(UnusableKey, load_private_key, path)
            self.assertIn(str(path), str(error))
        self.assertIsNone(public_blob_in(self.directory / "missing"))
        self.assertRaises(OSError, load_private_key, self.directory / "missing")
        self.assertRaises(UnusableKey, load_private_key, Path(f"{self.make('ed25519')}.pub"))

    def test_no_public_key(self) -> None:
        """A file that holds no public key, or one of another type than it says, gives none."""
        path = self.make("ed25519")
        good = Path(f"{path}.pub").read_text()
        file = self.directory / "public"
        for content in (
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!",
            "ssh-ed25519 AAAA",
            good.replace("ssh-", "ssx-", 1),
        ):
            file.write_text(content)
            self.assertIsNone(read_public_key(file))
        self.assertIsNone(read_public_key(self.directory / "missing"))
        self.assertIsNone(public_blob_in(file))
