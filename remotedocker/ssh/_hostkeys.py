# -*- test-case-name: tests.ssh.test_hostkeys -*-
"""
known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), decided as OpenSSH does, in one step and without
waiting.

Patterns with C{*}, C{?} and C{!}, hashed names, C{[host]:port}, several keys of one type, C{@revoked} and
C{@cert-authority}. Where OpenSSH would trust a second type of key of a host that is known by another one,
this does not: that is a changed key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from attrs import frozen
from twisted.logger import Logger

from remotedocker.errors import HostKeyChanged, HostKeyRevoked, HostKeyUnknown, PermanentSSHError
from remotedocker.ssh._certificates import Certificate, is_certificate_type, wildcard
from remotedocker.ssh._keys import rsa_bits
from remotedocker.ssh._wire import Reader, TruncatedMessage, fingerprint

__all__ = [
    "CERTIFICATE_SUFFIX",
    "DEFAULT_HOST_KEY_ALGORITHMS",
    "HostKeyPolicy",
    "KnownHostsEntry",
    "parse_known_hosts",
]

#: Offered in this order for what is not known yet; SHA-1 (C{ssh-rsa}) and C{ssh-dss} never are.
DEFAULT_HOST_KEY_ALGORITHMS = (
    b"ssh-ed25519",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)

CERTIFICATE_SUFFIX = b"-cert-v01@openssh.com"
_SIGNATURES_OF_TYPE = {b"ssh-rsa": (b"rsa-sha2-512", b"rsa-sha2-256")}
#: How a key revocation list begins (OpenSSH's PROTOCOL.krl).
_KRL = b"SSHKRL\n\0"
_MARKERS = ("", "@revoked", "@cert-authority")


@frozen
class KnownHostsEntry:
    """
    One line of a known_hosts file.

    @ivar marker: C{""}, C{"@revoked"} or C{"@cert-authority"}.
    @ivar patterns: the names, as they stand in the line.
    @ivar blob: the public key.
    """

    marker: str
    patterns: tuple[str, ...]
    blob: bytes
    file: Path
    line: int

    @property
    def key_type(self) -> bytes:
        """C{ssh-ed25519} and so on."""
        return Reader(self.blob).string()

    def matches(self, name: str) -> bool:
        """@return: whether the line is about C{name} (lower case; C{host} or C{[host]:port})."""
        found = False
        for pattern in self.patterns:
            if pattern.startswith("|1|"):
                found = found or _hashed_matches(pattern, name)
                continue
            negated = pattern.startswith("!")
            if wildcard((pattern[1:] if negated else pattern).lower()).fullmatch(name):
                if negated:
                    return False
                found = True
        return found


def _hashed_matches(pattern: str, name: str) -> bool:
    """@return: whether C{|1|salt|hash} is of C{name} (HMAC-SHA1)."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[3:].split("|"))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def parse_known_hosts(file: Path, content: str) -> list[KnownHostsEntry]:
    """
    Reads a file's content; comments, empty lines and lines that make no sense are passed over, as OpenSSH
    does.
    """
    entries = []
    for number, line in enumerate(content.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3 or marker not in _MARKERS:
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
            if Reader(blob).string() != words[1].encode():
                continue
        except (ValueError, binascii.Error, TruncatedMessage):
            continue
        entries.append(KnownHostsEntry(marker, tuple(words[0].split(",")), blob, file, number))
    return entries


class HostKeyPolicy:
    """
    Whether a host's key is the one that is known.

    @ivar destination: for messages.
    """

    _log = Logger()

    def __init__(
        self,
        destination: str,
        host: str,
        port: int,
        files: Sequence[Path],
        alias: str = "",
        accept_new: bool = False,
        record_in: Path | None = None,
        hashed: bool = False,
        revoked_keys: Path | None = None,
        permitted: Container[bytes] | None = None,
        authorities: Container[bytes] | None = None,
        least_rsa: int = 0,
        unchecked: bool = False,
    ) -> None:
        """
        @param files: known_hosts files that are read, in order; missing ones are passed over.
        @param alias: C{HostKeyAlias}; it is looked up without a port.
        @param record_in: where a new key is recorded.
        @param hashed: whether it is recorded with a hashed name.
        @param revoked_keys: C{RevokedHostKeys}, a file of public keys.
        @param permitted: the algorithms that may be offered; None: all.
        @param authorities: those by which authorities may sign; None: all.
        @param least_rsa: bits that an RSA key must have.
        @param unchecked: whether any key is good that is not revoked.
        """
        self.destination = destination
        host = (alias or host).lower()
        self._name = host if alias or port == 22 else f"[{host}]:{port}"
        self._bare = host
        self._files = tuple(files)
        self._accept_new = accept_new
        self._record_in = record_in
        self._hashed = hashed
        self._revoked_keys = revoked_keys
        self._permitted = permitted
        self._authorities = authorities
        self._least_rsa = least_rsa
        self._unchecked = unchecked
        self._entries: list[KnownHostsEntry] = []
        self.load()

    def load(self) -> None:
        """Reads the files again."""
        self._entries = []
        for file in self._files:
            try:
                content = file.read_text("utf-8", "replace")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._log.warn("{file} cannot be read: {error}", file=str(file), error=str(error))
                continue
            self._entries += parse_known_hosts(file, content)

    def add(self, content: str) -> None:
        """Takes what C{KnownHostsCommand} has printed for more lines of known_hosts."""
        self._entries += parse_known_hosts(Path("KnownHostsCommand"), content)

    def _known(self, marker: str = "") -> list[KnownHostsEntry]:
        """@return: lines of that kind about this host; those without the port only if none has it."""
        found = self._lines(marker, self._name)
        return found or self._lines(marker, self._bare)

    def _lines(self, marker: str, *names: str) -> list[KnownHostsEntry]:
        """@return: lines of that kind about one of the names."""
        return [entry for entry in self._entries if entry.marker == marker and any(map(entry.matches, names))]

    def algorithms(self) -> list[bytes]:
        """
        @return: the host key algorithms to offer: first those of the keys that are known, so that the server
            shows one that can be checked (and a certificate first of all where an authority is known).
        """
        ordered: list[bytes] = []
        if self._known("@cert-authority"):
            ordered += [algorithm + CERTIFICATE_SUFFIX for algorithm in DEFAULT_HOST_KEY_ALGORITHMS]
        types = [entry.key_type for entry in self._known()]
        for default in (*types, *DEFAULT_HOST_KEY_ALGORITHMS):
            for algorithm in _SIGNATURES_OF_TYPE.get(default, (default,)):
                if algorithm in DEFAULT_HOST_KEY_ALGORITHMS and algorithm not in ordered:
                    ordered.append(algorithm)
        return [name for name in ordered if self._permitted is None or name in self._permitted]

    def check(self, blob: bytes) -> bytes:
        """
        Decides about the key that the server has shown, and records it if that is wanted.

        @return: the plain public key that must have made the signature.
        @raise PermanentSSHError: L{HostKeyUnknown}, L{HostKeyChanged}, L{HostKeyRevoked}, or a certificate
            that cannot be accepted.
        """
        key_type = Reader(blob).string()
        bits = rsa_bits(blob)
        if bits is not None and bits < self._least_rsa:
            raise PermanentSSHError(
                destination=self.destination,
                reason=f"its RSA key of {bits} bits is too short: ssh_config's RequiredRSASize is "
                f"{self._least_rsa}",
            )
        if is_certificate_type(key_type):
            return self._check_certificate(Certificate.parse(blob))
        self._check_revoked(blob)
        if self._unchecked or any(entry.blob == blob for entry in self._known()):
            return blob
        known = self._lines("", self._name)
        described = {
            "destination": self.destination,
            "algorithm": _readable(key_type),
            "fingerprint": fingerprint(blob),
        }
        if known:
            same = [entry for entry in known if entry.key_type == key_type]
            worst = (same or known)[0]
            raise HostKeyChanged(
                known_name=self._name,
                file=worst.file,
                line=worst.line,
                known_fingerprint=_describe_known(worst, key_type),
                **described,
            )
        if not self._accept_new:
            raise HostKeyUnknown(**described)
        self._record(key_type, blob)
        return blob

    def _check_revoked(self, blob: bytes) -> None:
        """@raise HostKeyRevoked: a line says so."""
        for entry in self._lines("@revoked", self._name, self._bare):
            if entry.blob == blob:
                raise self._revoked(blob, entry.file, entry.line)
        if self._revoked_keys is None:
            return
        try:
            content = self._revoked_keys.read_bytes()
        except OSError as error:
            raise PermanentSSHError(
                destination=self.destination, reason=f"RevokedHostKeys {self._revoked_keys}: {error.strerror}"
            ) from None
        if content.startswith(_KRL):
            raise PermanentSSHError(
                destination=self.destination,
                reason=f"RevokedHostKeys {self._revoked_keys} is a binary key revocation list, which is not "
                "understood here; a list of public keys is",
            )
        lines = content.decode("utf-8", "replace").splitlines()
        encoded = base64.b64encode(blob).decode("ascii")
        for number, line in enumerate(lines, 1):
            if encoded in line.split():
                raise self._revoked(blob, self._revoked_keys, number)

    def _revoked(self, blob: bytes, file: Path, line: int) -> HostKeyRevoked:
        """@return: the error that says that C{blob} is revoked."""
        return HostKeyRevoked(
            destination=self.destination,
            algorithm=_readable(Reader(blob).string()),
            fingerprint=fingerprint(blob),
            file=file,
            line=line,
        )

    def _check_certificate(self, certificate: Certificate) -> bytes:
        """
        @return: the key inside of a certificate that a known authority made for this host; or, as C{ssh}
            does, of any certificate if that key is known by itself.
        """
        self._check_revoked(certificate.authority)
        self._check_revoked(certificate.key)
        if self._unchecked:
            return certificate.key
        if not any(entry.blob == certificate.authority for entry in self._known("@cert-authority")):
            refusal: PermanentSSHError = HostKeyUnknown(
                destination=self.destination,
                algorithm=f"{_readable(certificate.kind)} signed by an authority that is not known,",
                fingerprint=fingerprint(certificate.authority),
            )
        else:
            reason = certificate.refusal_as_host(self._bare, self._authorities)
            if not reason:
                return certificate.key
            refusal = PermanentSSHError(destination=self.destination, reason=f"its host certificate {reason}")
        if any(entry.blob == certificate.key for entry in self._known()):
            return certificate.key
        raise refusal

    def _record(self, key_type: bytes, blob: bytes) -> None:
        """Adds the key to the first file of the user's."""
        name = _hash_name(self._name) if self._hashed else self._name
        line = f"{name} {key_type.decode('ascii')} {base64.b64encode(blob).decode('ascii')}\n"
        file = self._record_in
        if file is None:
            return
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _append_line(file, line)
        except OSError as error:
            self._log.warn(
                "The host key of {destination} could not be recorded in {file}: {error}",
                destination=self.destination,
                file=str(file),
                error=str(error),
            )
        else:
            self._log.info(
                "Recorded the host key of {destination} ({algorithm} {fingerprint}) in {file}.",
                destination=self.destination,
                algorithm=_readable(key_type),
                fingerprint=fingerprint(blob),
                file=str(file),
            )
        self._entries += parse_known_hosts(file, line)


def _append_line(file: Path, line: str) -> None:
    """Appends, after ending a last line that has no end."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        if size:
            opened.seek(size - 1)
            if opened.read(1) != b"\n":
                line = "\n" + line
        opened.write(line.encode())


def _hash_name(name: str) -> str:
    """@return: C{|1|salt|hash} of a name."""
    salt = secrets.token_bytes(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode("ascii") for part in (salt, digest))


def _readable(key_type: bytes) -> str:
    """@return: C{ED25519} for C{ssh-ed25519}, and so on, as C{ssh} itself prints it."""
    names: Iterable[tuple[bytes, str]] = (
        (b"ssh-ed25519", "ED25519"),
        (b"ssh-rsa", "RSA"),
        (b"rsa-sha2", "RSA"),
        (b"ecdsa-sha2", "ECDSA"),
    )
    for prefix, name in names:
        if key_type.startswith(prefix):
            return name
    return key_type.decode("ascii", "replace")


def _describe_known(entry: KnownHostsEntry, offered: bytes) -> str:
    """@return: the known key's fingerprint, with its type where that differs from the one offered."""
    printed = fingerprint(entry.blob)
    return printed if entry.key_type == offered else f"{_readable(entry.key_type)} {printed}"
