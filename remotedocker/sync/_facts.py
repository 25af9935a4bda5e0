# -*- test-case-name: tests.sync.test_facts -*-
"""
What the remote is like: the script that makes the directories of this agent there and tells what its tools
can do, and the meaning of what that prints.
"""

from __future__ import annotations

import re
import secrets

from attrs import frozen

from remotedocker.sync._shellwords import quote
from remotedocker.sync._tree import TEMPORARY_PREFIX

__all__ = ["STORE_NAME", "Facts", "read_facts", "setup"]

STORE_NAME = TEMPORARY_PREFIX + b"store"
"""The file in the directory of all mirrors that tells it from another one at the same path."""

_SETUP = rb"""
cd && mkdir -p -- %(root)s && cd -P -- %(root)s && {
rm -rf .stage-%(agent)s && mkdir -p %(agent)s .stage-%(agent)s && cd -P .stage-%(agent)s &&
printf '\n=stage %%s\0' "$PWD" && cd -P ../%(agent)s && printf '\n=base %%s\0' "$PWD"
} && {
[ -s %(name)s ] || { printf %%s %(token)s > %(name)s.new && mv %(name)s.new %(name)s; }
printf '\n=store %%s\0' "$(cat %(name)s)"
}
printf '\n=user %%s\0' "$(id -u)"
printf '\n=find %%s\0' "$(find . -maxdepth 0 -readable -newerct @0 -printf x 2>/dev/null)"
printf '\n=stat %%s\0' "$(stat -c %%.9Y . 2>/dev/null)"
printf '\n=tar %%s\0' "$(tar --version 2>/dev/null)"
printf '\n=touch %%s\0' "$(touch -c -d @1.5 -- ./none 2>&1)"
"""


@frozen
class Facts:
    """
    What the remote is like.

    @ivar base: absolute path of the directory that all mirrors are in, without symbolic links.
    @ivar stage: a directory on the same file system for what is on its way.
    @ivar store: what names the directory of all mirrors: another one has another name, wherever it is.
    @ivar superuser: the SSH user is root.
    @ivar coarse: its tools know whole seconds only.
    @ivar lists: its C{find} can tell what we need.
    @ivar guards: its C{stat} can.
    @ivar gnu_tar: its C{tar} is GNU's.
    """

    base: bytes
    stage: bytes
    superuser: bool
    coarse: bool
    lists: bool
    guards: bool
    gnu_tar: bool
    store: bytes = b""


def setup(root: bytes, agent: bytes) -> bytes:
    """
    @param root: C{--sync-root}.
    @param agent: the agent's id.
    @return: the script.
    """
    token = secrets.token_hex(12).encode("ascii")
    return _SETUP % {b"root": quote(root), b"agent": agent, b"name": STORE_NAME, b"token": token}


def read_facts(output: bytes) -> Facts | None:
    """@return: what the script of L{setup} has told; None if it could not make the directories."""
    known = {
        key: value
        for key, _, value in (each.partition(b" ") for each in re.findall(rb"\n=([^\0]*)\0", output))
    }
    if b"base" not in known:
        return None
    return Facts(
        known[b"base"],
        known[b"stage"],
        known.get(b"user") == b"0",
        bool(known.get(b"touch")),
        known.get(b"find") == b"x",
        b"." in known.get(b"stat", b""),
        b"GNU" in known.get(b"tar", b""),
        known.get(b"store", b""),
    )
