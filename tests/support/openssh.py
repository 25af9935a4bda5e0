"""
Which OpenSSH tests run: the machine's own, or the newer one of another Debian release, which runs with that
release's libraries beside it.
"""

from __future__ import annotations

import os
import shlex
import shutil
from functools import cache
from pathlib import Path

from attrs import frozen

from tests.support.debian import cache_directory, unpack_release

__all__ = ["OpenSSH", "find_program", "newer_openssh", "own_openssh"]

_NEWER = "10.0"
_RELEASE = "trixie"
_PACKAGES = (
    *("openssh-server", "openssh-sftp-server", "openssh-client", "libc6", "libssl3t64", "zlib1g", "libzstd1"),
    *("libcrypt1", "libpam0g", "libaudit1", "libcap-ng0", "libselinux1", "libpcre2-8-0", "libwrap0"),
    *("libnsl2", "libtirpc3t64", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0"),
    *("libcom-err2", "libkeyutils1", "libwtmpdb0", "libsqlite3-0", "libedit2", "libbsd0", "libmd0"),
    *("libtinfo6", "libfido2-1", "libcbor0.10", "libudev1", "libcap2"),
)
_PROGRAMS = ("usr/sbin/sshd", "usr/bin/ssh", "usr/lib/openssh/sshd-session", "usr/lib/openssh/sshd-auth")


@frozen
class OpenSSH:
    """
    @ivar version: what its server announces begins with C{OpenSSH_} and this.
    @ivar sshd: the server.
    @ivar config: what its configuration needs.
    @ivar path: the directory of its client; empty: where programs are looked for.
    """

    version: str
    sshd: str
    config: tuple[str, ...] = ()
    path: str = ""


def find_program(name: str) -> str | None:
    """@return: the path of a program, looked for among the system's too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@cache
def own_openssh() -> OpenSSH:
    """
    @return: the machine's.
    @raise LookupError: there is none.
    """
    sshd = find_program("sshd")
    if sshd is None:
        raise LookupError("there is no sshd; install openssh-server")
    return OpenSSH("", sshd)


@cache
def newer_openssh() -> OpenSSH:
    """
    @return: OpenSSH 10, downloaded once.
    @raise LookupError: it cannot be had.
    """
    tree = unpack_release(_RELEASE, _PACKAGES, cache_directory() / f"openssh-{_NEWER}", _make_wrappers)
    wrappers = tree / "run"
    config = (
        f"SshdSessionPath {wrappers}/sshd-session",
        f"SshdAuthPath {wrappers}/sshd-auth",
        # Logins that fail, as they must in some tests, would make the others wait.
        "PerSourcePenalties no",
    )
    return OpenSSH(_NEWER, f"{wrappers}/sshd", config, str(wrappers))


def _make_wrappers(tree: Path) -> None:
    """Each program is started by its own release's loader; what it starts itself is this machine's again."""
    wrappers = tree / "run"
    wrappers.mkdir()
    [loader] = tree.glob("usr/lib*/ld-linux*.so.*")
    [libraries] = tree.glob("usr/lib/*-linux-gnu*")
    place = '"$(dirname "$0")"/..'
    for program in map(Path, _PROGRAMS):
        wrapper = wrappers / program.name
        parts = (loader.relative_to(tree), libraries.relative_to(tree), program)
        own_loader, own_libraries, own_program = (f"{place}/{shlex.quote(str(part))}" for part in parts)
        wrapper.write_text(
            f'#!/bin/sh\nexec {own_loader} --library-path {own_libraries} --argv0 "$0" {own_program} "$@"\n'
        )
        wrapper.chmod(0o755)
