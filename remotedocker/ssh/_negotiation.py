# -*- test-case-name: tests.ssh.test_transport -*-
"""
Which algorithms both sides use (RFC 4253 section 7.1), and whether the host's signature is what was agreed
upon.
"""

from __future__ import annotations

from struct import error as StructError

from attrs import frozen
from twisted.conch.ssh.keys import BadKeyError, Key

from remotedocker.errors import NoCommonAlgorithm
from remotedocker.ssh._certificates import plain_type
from remotedocker.ssh._ciphers import is_aead
from remotedocker.ssh._wire import Reader, TruncatedMessage

__all__ = ["EXT_INFO_CLIENT", "STRICT_CLIENT", "STRICT_SERVER", "Negotiated", "negotiate", "signed_by"]

STRICT_CLIENT, STRICT_SERVER = b"kex-strict-c-v00@openssh.com", b"kex-strict-s-v00@openssh.com"
EXT_INFO_CLIENT = b"ext-info-c"
#: Stand among the key exchanges, but are none.
_MARKERS = (STRICT_CLIENT, EXT_INFO_CLIENT)


@frozen
class Negotiated:
    """The algorithms of one key exchange; out is from us to the server."""

    kex: bytes
    host_key: bytes
    cipher_out: bytes
    cipher_in: bytes
    mac_out: bytes
    mac_in: bytes

    def __str__(self) -> str:
        names = (self.kex, self.host_key, self.cipher_out, self.mac_out)
        return ", ".join(name.decode("ascii") for name in names if name)


def negotiate(ours: list[list[bytes]], theirs: list[list[bytes]], destination: str) -> Negotiated:
    """
    RFC 4253 section 7.1: the first of ours that the server has too.

    @param ours: eight lists of names, in the order of a C{KEXINIT}; those of MACs matter only beside a cipher
        that needs one.
    @raise NoCommonAlgorithm: there is none.
    """
    words = (
        "key exchange",
        "host key algorithm",
        "cipher",
        "cipher",
        "message authentication code",
        "message authentication code",
        "compression",
        "compression",
    )
    chosen: list[bytes] = []
    for index, what in enumerate(words):
        if index in (4, 5) and is_aead(chosen[index - 2]):
            chosen.append(b"")
            continue
        offered = [name for name in ours[index] if name not in _MARKERS]
        common = next((name for name in offered if name in theirs[index]), None)
        if common is None:
            raise NoCommonAlgorithm(
                destination=destination,
                what=what,
                theirs=b", ".join(theirs[index]).decode("ascii", "replace"),
                ours=b", ".join(offered).decode(),
            )
        chosen.append(common)
    return Negotiated(*chosen[:6])


def signed_by(key: bytes, algorithm: bytes, signature: bytes, data: bytes) -> bool:
    """@return: whether C{signature} is of C{data}, by C{key} and the algorithm that was agreed upon."""
    algorithm = plain_type(algorithm)
    try:
        if Reader(signature).string() != algorithm:
            return False
        expected = b"ssh-rsa" if algorithm.startswith(b"rsa-sha2") else algorithm
        if Reader(key).string() != expected:
            return False
        return bool(Key.fromString(key, type="blob").verify(signature, data))
    except (BadKeyError, ValueError, TruncatedMessage, StructError):
        return False
