# -*- test-case-name: tests.ssh.test_permitted -*-
"""
Which algorithms ssh_config permits: C{Ciphers}, C{MACs}, C{KexAlgorithms}, C{HostKeyAlgorithms},
C{CASignatureAlgorithms} and C{PubkeyAcceptedAlgorithms} say what may be used of what is known here; the order
stays our own, which is the quick one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from remotedocker.errors import PermanentSSHError
from remotedocker.ssh._ciphers import CIPHERS, MACS, is_aead
from remotedocker.ssh._hostkeys import CERTIFICATE_SUFFIX, DEFAULT_HOST_KEY_ALGORITHMS
from remotedocker.ssh._kex import KEY_EXCHANGES

__all__ = ["Permitted", "drop_defaults", "read_permitted"]

_HOST_KEYS = (
    *(name + CERTIFICATE_SUFFIX for name in DEFAULT_HOST_KEY_ALGORITHMS),
    *DEFAULT_HOST_KEY_ALGORITHMS,
)
_ACCEPTED = ("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes")
_AUTHORITIES = "casignaturealgorithms"
_KEYWORDS = ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", _AUTHORITIES, *_ACCEPTED)


@frozen
class Permitted:
    """
    What may be offered to a server, the best first; by default all that is known here.

    @ivar macs: matter only beside a cipher that needs one.
    @ivar signatures: the algorithms by which the user's keys may sign; None: all.
    @ivar authorities: those by which authorities may sign hosts' certificates; None: all.
    """

    key_exchanges: Sequence[bytes] = field(factory=lambda: tuple(KEY_EXCHANGES))
    ciphers: Sequence[bytes] = field(factory=lambda: tuple(CIPHERS))
    macs: Sequence[bytes] = field(factory=lambda: tuple(MACS))
    host_keys: Sequence[bytes] = _HOST_KEYS
    signatures: frozenset[bytes] | None = None
    authorities: frozenset[bytes] | None = None


def drop_defaults(said: dict[str, list[str]], defaults: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """
    @param defaults: what C{ssh -G} prints without any ssh_config. What the C{ssh} that is installed does not
        know yet is not forbidden.
    @return: C{said} without the algorithms that nobody has configured.
    """
    return {
        keyword: values
        for keyword, values in said.items()
        if keyword not in _KEYWORDS or values != defaults.get(keyword)
    }


def read_permitted(said: Mapping[str, Sequence[str]], destination: str) -> Permitted:
    """
    @param said: what C{ssh -G} prints, which always has the whole lists; without those that are C{ssh}'s own
        defaults (see L{drop_defaults}).
    @raise PermanentSSHError: nothing that is permitted is known here.
    """

    def known(keyword: str, ours: Iterable[bytes]) -> tuple[bytes, ...]:
        words = said.get(keyword.lower())
        if not words:
            return tuple(ours)
        permitted = words[0].encode("utf-8", "surrogateescape").split(b",")
        return tuple(name for name in ours if name in permitted)

    def some(keyword: str, ours: Iterable[bytes]) -> tuple[bytes, ...]:
        found = known(keyword, ours)
        if not found:
            has = b", ".join(ours).decode("ascii")
            raise PermanentSSHError(
                destination=destination,
                reason=f"ssh_config's {keyword} leave nothing that remotedocker knows; it knows {has}",
            )
        return found

    ciphers, macs = some("Ciphers", CIPHERS), known("MACs", MACS)
    if not macs:
        ciphers = tuple(name for name in ciphers if is_aead(name))
        macs = tuple(MACS) if ciphers else some("MACs", MACS)

    def set_of(*keywords: str) -> frozenset[bytes] | None:
        words = next((said[keyword] for keyword in keywords if said.get(keyword)), None)
        return frozenset(words[0].encode().split(b",")) if words else None

    return Permitted(
        some("KexAlgorithms", KEY_EXCHANGES),
        ciphers,
        macs,
        some("HostKeyAlgorithms", _HOST_KEYS),
        set_of(*_ACCEPTED),
        set_of(_AUTHORITIES),
    )
