# -*- test-case-name: tests.sync.test_choices -*-
"""
Whose files a mount means, by its name and by what is there.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence

from attrs import define

from remotedocker.docker import BindMount, MountForm
from remotedocker.errors import SourceMissing, SourceUnusable
from remotedocker.sync._configuration import SyncConfiguration
from remotedocker.sync._host import Host
from remotedocker.sync._placement import Meaning, meaning

__all__ = ["Choice", "choose", "settle_missing"]


@define
class Choice:
    """
    What is known of one mount so far.

    @ivar real: the laptop's path, without symbolic links; None when the remote's own is meant.
    @ivar source: what the remote daemon is told.
    """

    mount: BindMount
    source: str
    real: bytes | None = None
    is_file: bool = False
    missing: bool = False


def choose(mount: BindMount, configuration: SyncConfiguration) -> Choice:
    """
    Decides by the name and by what the laptop has.

    @raise SourceUnusable: what the laptop has cannot be looked at.
    """
    path = "/" + posixpath.normpath(mount.source).lstrip("/")
    meant = meaning(path, configuration.remote_prefixes, configuration.own_sockets)
    if meant is Meaning.DAEMON and configuration.remote_socket:
        return Choice(mount, configuration.remote_socket)
    if meant is not Meaning.LAPTOP or not mount.source.startswith("/"):
        return Choice(mount, mount.source)
    real = os.path.realpath(os.fsencode(path))
    try:
        status = os.stat(real)
    except FileNotFoundError:
        return Choice(mount, mount.source, real, missing=True)
    except OSError as error:
        raise SourceUnusable(source=mount.source, reason=error.strerror or str(error)) from error
    beyond = meaning(os.fsdecode(real), configuration.remote_prefixes, configuration.own_sockets)
    if beyond is Meaning.DAEMON and configuration.remote_socket:
        return Choice(mount, configuration.remote_socket)
    if beyond is not Meaning.LAPTOP:
        return Choice(mount, os.fsdecode(real))
    if stat.S_ISDIR(status.st_mode):
        return Choice(mount, mount.source, real)
    if stat.S_ISREG(status.st_mode):
        return Choice(mount, mount.source, real, is_file=True)
    return Choice(mount, mount.source)


async def settle_missing(choices: Sequence[Choice], host: Host) -> None:
    """
    What the laptop does not have is the remote's, if it is there; otherwise it is made, or refused.

    @raise SourceMissing: it is nowhere, and not to be made.
    @raise SourceUnusable: it cannot be made.
    """
    if not choices:
        return
    found = await host.existing([os.fsencode(choice.mount.source) for choice in choices])
    for choice, there in zip(choices, found, strict=False):
        mount = choice.mount
        if there or mount.form is MountForm.VOLUME:
            choice.real = None
            continue
        if not mount.create_source:
            raise SourceMissing(source=mount.source)
        assert choice.real is not None
        try:
            os.makedirs(choice.real, exist_ok=True)
        except OSError as error:
            raise SourceUnusable(source=mount.source, reason=error.strerror or str(error)) from error
