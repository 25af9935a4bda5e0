# -*- test-case-name: tests.ssh.test_login -*-
"""
Which keys are tried, and in which order: as C{ssh} does, but that a key named with C{--identity} goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotedocker.ssh._agent import Agent, AgentRefused
from remotedocker.ssh._certificates import Certificate, is_certificate_type
from remotedocker.ssh._keys import (
    EncryptedKey,
    FileIdentity,
    UnusableKey,
    load_private_key,
    public_blob_in,
    read_public_key,
    rsa_bits,
)
from remotedocker.ssh._sshconfig import ResolvedHost
from remotedocker.ssh._userauth import Answers, Identity
from remotedocker.ssh._wire import Reader

__all__ = ["Identities", "LockedIdentity", "gather_identities"]

_log = Logger()


@define
class Identities:
    """
    @ivar usable: keys in the order in which they are tried.
    @ivar unusable: why others cannot be, for the message when none was accepted.
    """

    usable: list[Identity] = field(factory=list)
    unusable: list[str] = field(factory=list)


@define
class LockedIdentity:
    """
    A key in a file that needs a passphrase, which is asked for when the server would take the key.

    @ivar blob: its public half.
    """

    path: Path
    blob: bytes
    answers: Answers
    ask_first: bool = True

    @property
    def description(self) -> str:
        """For messages."""
        return f"{self.path}"

    def sign(self, algorithm: bytes, data: bytes) -> Deferred[bytes]:
        """@return: fires with the signature, when the user gave the passphrase."""
        return Deferred.fromCoroutine(self._sign(algorithm, data))

    async def _sign(self, algorithm: bytes, data: bytes) -> bytes:
        """Asks for the passphrase until it is right."""
        assert self.answers.secret is not None
        for _ in range(self.answers.tries):
            typed = await self.answers.secret(f"Enter passphrase for key '{self.path}': ", False, True)
            if typed is None:
                break
            try:
                key = load_private_key(self.path, typed.encode())
            except EncryptedKey:
                continue
            return await FileIdentity(key, self.blob, str(self.path)).sign(algorithm, data)
        raise UnusableKey(_how_to_unlock(self.path))


def _how_to_unlock(path: Path) -> str:
    """@return: why an encrypted key was not used, and the remedy."""
    return f"{path} is encrypted and nobody can be asked for its passphrase: load it with `ssh-add {path}`"


async def gather_identities(host: ResolvedHost, agent: Agent | None, answers: Answers) -> Identities:
    """
    @param agent: None where there is none.
    @return: what can be tried, and what cannot.
    """
    found = Identities()
    held: dict[bytes, Identity] = {}
    if agent is not None:
        try:
            held = {identity.blob: identity for identity in await agent.identities()}
        except AgentRefused as error:
            found.unusable.append(f"the agent gave no keys ({error})")
    extra = [blob for blob in map(read_public_key, host.certificates) if blob is not None]
    configured: list[Identity] = []
    for path in host.identities:
        configured += _from_file(path, held, extra, answers, found, host.explicit_identities)
    chosen = {identity.blob for identity in configured}
    others = [] if host.identities_only else [held[blob] for blob in held if blob not in chosen]
    if host.explicit_identities:
        found.usable = configured + others
    else:
        in_agent = [identity for identity in configured if identity.blob in held]
        found.usable = in_agent + others + [identity for identity in configured if identity.blob not in held]
    _leave_out_short(found, host.least_rsa)
    return found


def _leave_out_short(found: Identities, least: int) -> None:
    """RSA keys of less than C{least} bits are not used."""
    bits = [rsa_bits(identity.blob) or least for identity in found.usable]
    for identity, size in zip(found.usable, bits, strict=True):
        if size < least:
            found.unusable.append(
                f"{identity.description} (of {size} bits; ssh_config's RequiredRSASize is {least})"
            )
    found.usable = [identity for identity, size in zip(found.usable, bits, strict=True) if size >= least]


def _from_file(
    path: Path,
    held: dict[bytes, Identity],
    certificates: Sequence[bytes],
    answers: Answers,
    found: Identities,
    explicit: bool,
) -> list[Identity]:
    """@return: what the key at C{path} gives: its certificates, and itself."""
    if not path.exists():
        public = read_public_key(Path(f"{path}.pub"))
        if public is not None and public in held:
            return [held[public]]
        if explicit:
            found.unusable.append(f"{path} (there is no such file)")
            _log.warn("There is no key file {path}.", path=str(path))
        return []
    blob = read_public_key(path) or public_blob_in(path)
    if blob is None:
        blob = read_public_key(Path(f"{path}.pub"))
    plain: Identity
    if blob is not None and blob in held:
        plain = held[blob]
    else:
        try:
            plain = FileIdentity.of(load_private_key(path), path)
        except EncryptedKey:
            if blob is None or answers.secret is None:
                found.unusable.append(_how_to_unlock(path))
                return []
            plain = LockedIdentity(path, blob, answers)
        except (UnusableKey, OSError) as error:
            found.unusable.append(str(error))
            return []
    beside = read_public_key(Path(f"{path}-cert.pub"))
    own = [
        _CertifiedIdentity(plain, certificate)
        for certificate in dict.fromkeys([*certificates, *([beside] if beside else [])])
        if is_certificate_type(Reader(certificate).string())
        and Certificate.parse(certificate).key == plain.blob
    ]
    return [*own, plain]


@define
class _CertifiedIdentity:
    """A key together with a certificate for it."""

    key: Identity
    blob: bytes

    @property
    def description(self) -> str:
        """For messages."""
        return f"{self.key.description} with its certificate"

    @property
    def ask_first(self) -> bool:
        """See L{Identity}."""
        return self.key.ask_first

    def sign(self, algorithm: bytes, data: bytes) -> Deferred[bytes]:
        """@return: fires with a signature by the key."""
        return self.key.sign(algorithm, data)
