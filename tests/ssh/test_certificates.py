"""Certificates, as ssh-keygen signs them: what is read, and which are accepted for a host."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh import _certificates
from remotedocker.ssh._certificates import Certificate, is_certificate_type, plain_type
from remotedocker.ssh._wire import TruncatedMessage, string
from tests.support.sshd import make_key

_YEAR_2001, _YEAR_2033 = 978_307_200, 1_988_150_400


def _blob(public_key: Path) -> bytes:
    """@return: what a C{.pub} file holds."""
    return base64.b64decode(public_key.read_text().split()[1])


class CertificateTests(SynchronousTestCase):
    """L{Certificate}."""

    def setUp(self) -> None:
        """An authority."""
        self.directory = Path(tempfile.mkdtemp(prefix="remotedocker-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.authority = make_key(self.directory / "authority")

    def sign(
        self, *options: str, kind: tuple[str, ...] = ("ed25519",), authority: Path | None = None
    ) -> bytes:
        """@return: a new certificate, for the host C{host} unless C{options} say otherwise."""
        path = make_key(self.directory / f"key{len(list(self.directory.iterdir()))}", *kind)
        subprocess.run(
            ["ssh-keygen", "-q", "-s", str(authority or self.authority), "-I", "name"]
            + [*(options or ("-h", "-n", "host")), f"{path}.pub"],
            check=True,
            capture_output=True,
        )
        self.plain = _blob(Path(f"{path}.pub"))
        return _blob(Path(f"{path}-cert.pub"))

    def refusal(self, *options: str, host: str = "host") -> str:
        """@return: why a certificate is refused."""
        return Certificate.parse(self.sign(*options)).refusal_as_host(host)

    def test_fields(self) -> None:
        """Certificates for keys of every kind are read whole."""
        for kind in (("ed25519",), ("ecdsa", "-b", "256"), ("ecdsa", "-b", "521"), ("rsa", "-b", "2048")):
            validity = "-V", "20010101000000Z:20330101000000Z"
            certificate = Certificate.parse(self.sign("-h", "-n", "one,two", *validity, kind=kind))
            self.assertEqual(certificate.key, self.plain)
            self.assertEqual(certificate.role, 2)
            self.assertEqual(certificate.principals, (b"one", b"two"))
            self.assertEqual(certificate.critical, ())
            self.assertEqual(certificate.authority, _blob(Path(f"{self.authority}.pub")))
            self.assertTrue(is_certificate_type(certificate.kind))
            self.assertEqual(string(plain_type(certificate.kind)), self.plain[: 4 + self.plain[3]])
            self.assertEqual((certificate.valid_after, certificate.valid_before), (_YEAR_2001, _YEAR_2033))
            self.assertEqual(certificate.refusal_as_host("two"), "")

    def test_authorities(self) -> None:
        """Authorities may have keys of every kind, RSA with SHA-2."""
        for kind in (("ecdsa", "-b", "384"), ("rsa", "-b", "2048")):
            authority = make_key(self.directory / f"authority_{kind[0]}", *kind)
            blob = self.sign(authority=authority)
            self.assertEqual(Certificate.parse(blob).refusal_as_host("host"), "")

    def test_sha1(self) -> None:
        """A signature that hashes with SHA-1 is not accepted, and is named as the reason."""
        certificate = Certificate.parse(self.sign())
        weak = evolve(certificate, signature=string(b"ssh-rsa") + string(bytes(256)))
        self.assertEqual(weak.refusal_as_host("host"), "is signed with SHA-1")

    def test_permitted(self) -> None:
        """A signature by an algorithm that ssh_config leaves out is refused by its name."""
        certificate = Certificate.parse(self.sign())
        self.assertEqual(certificate.refusal_as_host("host", {b"ssh-ed25519"}), "")
        refused = certificate.refusal_as_host("host", {b"rsa-sha2-512"})
        self.assertEqual(
            refused, "is signed by ssh-ed25519, which ssh_config's CASignatureAlgorithms leave out"
        )

    def test_names(self) -> None:
        """One of the names must match, C{*} and C{?} being wild; a certificate without any is for nobody."""
        self.assertEqual(self.refusal(), "")
        self.assertEqual(self.refusal("-h", "-n", "other,*.example.org", host="a.example.org"), "")
        self.assertEqual(self.refusal("-h", "-n", "h?st"), "")
        self.assertEqual(self.refusal("-h", "-n", "HOST"), "is not for host")
        self.assertEqual(self.refusal("-h", "-n", "[h]ost"), "is not for host")
        self.assertEqual(
            self.refusal("-h", "-n", "*.example.org", host="example.org"), "is not for example.org"
        )
        self.assertEqual(self.refusal("-h", "-n", "other"), "is not for host")
        self.assertEqual(self.refusal("-h"), "does not say which hosts it is for")
        self.assertEqual(self.refusal("-h", "-n", "host", host="host.evil"), "is not for host.evil")

    def test_users(self) -> None:
        """A user's certificate is none for a host."""
        self.assertEqual(self.refusal("-n", "host"), "is one for users")

    def test_time(self) -> None:
        """It is good from its first second up to its last."""
        blob = self.sign("-h", "-n", "host", "-V", "20010101000000Z:20330101000000Z")
        for now, expected in (
            (_YEAR_2001 - 1, "is not valid yet"),
            (_YEAR_2001, ""),
            (_YEAR_2033 - 1, ""),
            (_YEAR_2033, "has expired"),
        ):
            self.patch(_certificates, "time", SimpleNamespace(time=lambda now=now: float(now)))
            self.assertEqual(Certificate.parse(blob).refusal_as_host("host"), expected)

    def test_critical_option(self) -> None:
        """An option that must be understood, and is not, makes it useless."""
        reason = self.refusal("-h", "-n", "host", "-O", "critical:strange@example.org=yes")
        self.assertEqual(reason, "has the critical option strange@example.org, which is not known")

    def test_changed(self) -> None:
        """A certificate of which any byte was changed is not accepted, whatever the byte means."""
        blob = self.sign()
        # Conch does not look at the length of the signature's own 64 bytes, which are the last.
        for at in [*range(len(blob) - 68), *range(len(blob) - 64, len(blob))]:
            changed = bytearray(blob)
            changed[at] ^= 1
            try:
                certificate = Certificate.parse(bytes(changed))
            except TruncatedMessage:
                continue
            trusted = certificate.authority == _blob(Path(f"{self.authority}.pub"))
            self.assertFalse(trusted and not certificate.refusal_as_host("host"), at)

    def test_longer(self) -> None:
        """So is one with something behind its end."""
        self.assertEqual(
            Certificate.parse(self.sign() + b"more").refusal_as_host("host"), "has a wrong signature"
        )

    def test_cut_anywhere(self) -> None:
        """One that is cut short is no certificate."""
        blob = self.sign()
        for length in range(len(blob)):
            self.assertRaises(TruncatedMessage, Certificate.parse, blob[:length])

    def test_strange_signatures(self) -> None:
        """Signatures and authorities that are none are wrong, not accidents."""
        certificate = Certificate.parse(self.sign())
        curve = _blob(Path(f"{make_key(self.directory / 'curve', 'ecdsa')}.pub"))
        for changes in (
            {"signature": b""},
            {"signature": b"\0\0"},
            {"signature": string(b"ssh-ed25519")},
            {"signature": string(b"ssh-ed25519") + b"\0\0"},
            {"authority": b""},
            {"authority": string(b"ssh-unknown") + string(b"")},
            {"authority": string(b"ssh-ed25519") + b"\0"},
            {"authority": self.sign()},
            {"authority": curve, "signature": string(b"ecdsa-sha2-nistp256") + string(b"\0\0")},
        ):
            strange: Certificate = evolve(certificate, **changes)  # type: ignore[arg-type]
            self.assertEqual(strange.refusal_as_host("host"), "has a wrong signature", changes)

    def test_another_key(self) -> None:
        """A plain key, or something else, is no certificate."""
        self.sign()
        for blob in (string(b"unknown-cert-v01@openssh.com") + bytes(500), string(b"x"), b""):
            self.assertRaises(TruncatedMessage, Certificate.parse, blob)

    def test_types(self) -> None:
        """The names of types with and without certificate belong together."""
        for plain, certified in (
            (b"ssh-ed25519", b"ssh-ed25519-cert-v01@openssh.com"),
            (b"rsa-sha2-512", b"rsa-sha2-512-cert-v01@openssh.com"),
            (b"sk-ssh-ed25519@openssh.com", b"sk-ssh-ed25519-cert-v01@openssh.com"),
        ):
            self.assertEqual((plain_type(certified), plain_type(plain)), (plain, plain))
            self.assertEqual((is_certificate_type(certified), is_certificate_type(plain)), (True, False))
