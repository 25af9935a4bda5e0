# -*- test-case-name: tests.ssh.test_keys -*-
"""
Private keys in files: OpenSSH's own format and PEM; ed25519, ECDSA and RSA (which signs with SHA-2 only).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path

from attrs import frozen
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from twisted.internet.defer import Deferred, succeed

from remotedocker.ssh._certificates import Certificate, is_certificate_type, plain_type
from remotedocker.ssh._wire import Reader, TruncatedMessage, mpint, string

__all__ = [
    "EncryptedKey",
    "FileIdentity",
    "PrivateKey",
    "UnusableKey",
    "load_private_key",
    "public_blob",
    "public_blob_in",
    "read_public_key",
    "rsa_bits",
    "signature_algorithms",
]

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_EC_HASHES: dict[bytes, Callable[[], hashes.HashAlgorithm]] = {
    b"ecdsa-sha2-nistp256": hashes.SHA256,
    b"ecdsa-sha2-nistp384": hashes.SHA384,
    b"ecdsa-sha2-nistp521": hashes.SHA512,
}
_RSA_HASHES: dict[bytes, Callable[[], hashes.HashAlgorithm]] = {
    b"rsa-sha2-512": hashes.SHA512,
    b"rsa-sha2-256": hashes.SHA256,
}


class UnusableKey(Exception):
    """A key file that cannot be used; the message says why."""


class EncryptedKey(UnusableKey):
    """A key file that needs a passphrase."""


def load_private_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """
    @raise EncryptedKey: a passphrase is needed, or this one is wrong.
    @raise UnusableKey: it is no private key, or of a type that is not supported.
    @raise OSError: it cannot be read.
    """
    content = path.read_bytes()
    is_openssh = b"BEGIN OPENSSH PRIVATE KEY" in content
    if passphrase is not None and not _is_encrypted(content):
        passphrase = None
    try:
        key = (load_ssh_private_key if is_openssh else load_pem_private_key)(content, passphrase)
    except TypeError:
        raise EncryptedKey(f"{path} is encrypted") from None
    except InvalidTag:
        raise EncryptedKey(f"the passphrase for {path} is wrong") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if _is_encrypted(content):
            if passphrase is None:
                raise EncryptedKey(f"{path} is encrypted") from None
            raise EncryptedKey(f"the passphrase for {path} is wrong") from None
        raise UnusableKey(f"{path} is not a private key that can be used ({error})") from None
    if not isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise UnusableKey(f"{path} is of a type that is not supported (use ed25519, ECDSA or RSA)")
    return key


def _is_encrypted(content: bytes) -> bool:
    """@return: whether a key file needs a passphrase (OpenSSH's PROTOCOL.key; RFC 1421; PKCS#8)."""
    if b"BEGIN OPENSSH PRIVATE KEY" not in content:
        return b"ENCRYPTED" in content
    body = b"".join(line for line in content.splitlines() if not line.startswith(b"-----"))
    try:
        reader = Reader(base64.b64decode(body))
        reader.take(len(b"openssh-key-v1\0"))
        return reader.string() != b"none"
    except (ValueError, TruncatedMessage):
        return False


def public_blob_in(path: Path) -> bytes | None:
    """
    @return: the public key that OpenSSH's format holds in the clear beside an encrypted private one, or None.
    """
    try:
        content = path.read_bytes()
        if b"BEGIN OPENSSH PRIVATE KEY" not in content:
            return None
        body = b"".join(line for line in content.splitlines() if not line.startswith(b"-----"))
        reader = Reader(base64.b64decode(body))
        reader.take(len(b"openssh-key-v1\0"))
        for _ in range(3):
            reader.string()
        return reader.string() if reader.uint32() == 1 else None
    except (OSError, ValueError, TruncatedMessage):
        return None


def public_blob(key: PrivateKey) -> bytes:
    """@return: the public half, as it goes over the wire."""
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def read_public_key(path: Path) -> bytes | None:
    """@return: the key or certificate in a C{.pub} file, or None if there is none."""
    try:
        words = path.read_text("utf-8", "replace").split()
        blob = base64.b64decode(words[1], validate=True)
        return blob if Reader(blob).string() == words[0].encode() else None
    except (OSError, IndexError, ValueError, binascii.Error, TruncatedMessage):
        return None


def rsa_bits(blob: bytes) -> int | None:
    """@return: how long the RSA key (or the one in a certificate) is; None for keys of other types."""
    kind = Reader(blob).string()
    if plain_type(kind) != b"ssh-rsa":
        return None
    reader = Reader(Certificate.parse(blob).key if is_certificate_type(kind) else blob)
    reader.string()
    reader.mpint()
    return reader.mpint().bit_length()


def signature_algorithms(blob: bytes) -> list[bytes]:
    """@return: the algorithms by which the key (or certificate) in C{blob} may sign, the preferred first."""
    kind = Reader(blob).string()
    if plain_type(kind) != b"ssh-rsa":
        return [kind]
    suffix = b"-cert-v01@openssh.com" if is_certificate_type(kind) else b""
    return [algorithm + suffix for algorithm in _RSA_HASHES]


def sign(key: PrivateKey, algorithm: bytes, data: bytes) -> bytes:
    """
    @param algorithm: of those of L{signature_algorithms}.
    @return: a signature in the form of RFC 4253 section 6.6, RFC 5656 section 3.1.2, RFC 8332 or RFC 8709.
    """
    algorithm = plain_type(algorithm)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return string(algorithm) + string(key.sign(data))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(_EC_HASHES[algorithm]())))
        return string(algorithm) + string(mpint(r) + mpint(s))
    return string(algorithm) + string(key.sign(data, padding.PKCS1v15(), _RSA_HASHES[algorithm]()))


@frozen
class FileIdentity:
    """
    A private key from a file.

    @ivar blob: the public key, or the certificate made for it.
    @ivar description: for messages.
    @ivar ask_first: whether the server is asked if it would take the key, before it is used.
    """

    key: PrivateKey
    blob: bytes
    description: str
    ask_first: bool = False

    @classmethod
    def of(cls, key: PrivateKey, path: Path) -> FileIdentity:
        """@return: the identity that the key at C{path} gives."""
        return cls(key, public_blob(key), str(path))

    def sign(self, algorithm: bytes, data: bytes) -> Deferred[bytes]:
        """@return: fires with the signature."""
        return succeed(sign(self.key, algorithm, data))
