# -*- test-case-name: tests.ssh.test_certificates -*-
"""
OpenSSH certificates (OpenSSH's PROTOCOL.certkeys): a public key, signed by an authority's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Container
from struct import error as StructError

from attrs import frozen
from twisted.conch.ssh.keys import BadKeyError, Key

from remotedocker.ssh._wire import Reader, TruncatedMessage, string

__all__ = ["Certificate", "is_certificate_type", "plain_type", "wildcard"]

_SUFFIX = b"-cert-v01@openssh.com"
_HOST = 2

#: How many fields the public key has in a certificate of each type, and their names in the plain key.
_KEY_FIELDS = {
    b"ssh-ed25519": 1,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"ssh-rsa": 2,
    b"sk-ssh-ed25519@openssh.com": 2,
    b"sk-ecdsa-sha2-nistp256@openssh.com": 3,
}


def is_certificate_type(kind: bytes) -> bool:
    """@return: whether a key type, or a signature algorithm, is one of certificates."""
    return kind.endswith(_SUFFIX)


def plain_type(kind: bytes) -> bytes:
    """@return: the type of the key in a certificate of type C{kind}; any other type as it is."""
    if not is_certificate_type(kind):
        return kind
    bare = kind[: -len(_SUFFIX)]
    return bare + b"@openssh.com" if bare.startswith(b"sk-") else bare


@frozen
class Certificate:
    """
    A certificate that was read, whose signature is not yet verified.

    @ivar kind: its type, C{ssh-ed25519-cert-v01@openssh.com} and so on.
    @ivar key: the plain public key in it.
    @ivar role: 1 for a user's, 2 for a host's.
    @ivar principals: the names that it is for.
    @ivar valid_after: seconds since the epoch.
    @ivar valid_before: seconds since the epoch.
    @ivar critical: names of its critical options.
    @ivar authority: the public key that signed it.
    @ivar signed: what is signed.
    """

    kind: bytes
    key: bytes
    role: int
    principals: tuple[bytes, ...]
    valid_after: int
    valid_before: int
    critical: tuple[bytes, ...]
    authority: bytes
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, blob: bytes) -> Certificate:
        """
        @raise TruncatedMessage: this is no certificate of a type that is known here.
        """
        reader = Reader(blob)
        kind = reader.string()
        bare = plain_type(kind)
        if bare not in _KEY_FIELDS:
            raise TruncatedMessage(f"unknown certificate type {kind!r}")
        reader.string()
        key = string(bare) + b"".join(string(reader.string()) for _ in range(_KEY_FIELDS[bare]))
        reader.uint64()
        role = reader.uint32()
        reader.string()
        principals = _strings(reader.string())
        valid_after = reader.uint64()
        valid_before = reader.uint64()
        critical = _strings(reader.string())[::2]
        reader.string()
        reader.string()
        authority = reader.string()
        signature = reader.string()
        signed = blob[: len(blob) - len(string(signature))]
        return cls(
            kind, key, role, principals, valid_after, valid_before, critical, authority, signed, signature
        )

    def refusal_as_host(self, host: str, permitted: Container[bytes] | None = None) -> str:
        """
        As OpenSSH 10.5 decides: C{*} and C{?} in a principal match (before, it had to be the very name), and
        a certificate without principals is for no host (before, for any).

        @param host: in lower case.
        @param permitted: C{CASignatureAlgorithms}; None: all that are known here.
        @return: why this cannot be accepted for C{host}, or C{""}.
        """
        if self.role != _HOST:
            return "is one for users"
        if not self.principals:
            return "does not say which hosts it is for"
        if not any(wildcard(name.decode("utf-8", "replace")).fullmatch(host) for name in self.principals):
            return f"is not for {host}"
        now = time.time()
        if now < self.valid_after:
            return "is not valid yet"
        if now >= self.valid_before:
            return "has expired"
        if self.critical:
            return (
                f"has the critical option {self.critical[0].decode('utf-8', 'replace')}, which is not known"
            )
        try:
            algorithm, key_type = Reader(self.signature).string(), Reader(self.authority).string()
            if algorithm == b"ssh-rsa":
                return "is signed with SHA-1"
            if permitted is not None and algorithm not in permitted:
                name = algorithm.decode("ascii", "replace")
                return f"is signed by {name}, which ssh_config's CASignatureAlgorithms leave out"
            good = key_type in (algorithm, b"ssh-rsa") and Key.fromString(self.authority, type="blob").verify(
                self.signature, self.signed
            )
        except (BadKeyError, ValueError, TruncatedMessage, StructError):
            good = False
        return "" if good else "has a wrong signature"


def wildcard(pattern: str) -> re.Pattern[str]:
    """@return: a pattern of OpenSSH's, in which C{*} and C{?} alone are special (ssh_config(5), PATTERNS)."""
    meanings = {"*": ".*", "?": "."}
    return re.compile("".join(meanings.get(sign) or re.escape(sign) for sign in pattern), re.DOTALL)


def _strings(packed: bytes) -> tuple[bytes, ...]:
    """@return: strings packed one after another."""
    reader = Reader(packed)
    found = []
    while not reader.at_end():
        found.append(reader.string())
    return tuple(found)
