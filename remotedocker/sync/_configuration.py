# -*- test-case-name: tests.sync.test_mirrors -*-
"""
What the user may decide about mirrored trees.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

__all__ = ["SyncConfiguration", "SyncMode", "readable_size"]


class SyncMode(Enum):
    """The values of C{--sync}."""

    TWO_WAY = "two-way"
    """What containers write comes back."""
    PUSH = "push"
    """Nothing comes back."""
    ONCE = "once"
    """Pushed before each start; not watched, nothing comes back."""
    OFF = "off"
    """Every bind source means the remote's own path."""


@frozen(kw_only=True)
class SyncConfiguration:
    """
    The options that concern files.

    @ivar agent_id: names this agent's directory below C{sync_root}.
    @ivar sync_root: where mirrored trees live on the remote, absolute or relative to the SSH user's home.
    @ivar mode: which way changes travel.
    @ivar ignore: patterns in the syntax of C{gitignore(5)}, for every tree.
    @ivar gitignore: whether C{.gitignore} files in the trees count too.
    @ivar max_tree_size: bytes of regular files that one tree may have.
    @ivar max_tree_files: names that one tree may have.
    @ivar remote_prefixes: a bind source at or under one of these is the remote's own.
    @ivar own_sockets: the paths on the laptop at which this agent listens.
    @ivar remote_socket: the remote daemon's socket on the remote; C{""} if it listens on TCP.
    """

    agent_id: str
    sync_root: str = ".remotedocker"
    mode: SyncMode = SyncMode.TWO_WAY
    ignore: tuple[str, ...] = ()
    gitignore: bool = False
    max_tree_size: int = 4 * 1024**3
    max_tree_files: int = 500_000
    remote_prefixes: tuple[str, ...] = ()
    own_sockets: tuple[str, ...] = ()
    remote_socket: str = "/var/run/docker.sock"


def readable_size(size: int) -> str:
    """@return: C{size} bytes as a user writes them for C{--max-tree-size}."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
