# -*- test-case-name: tests.sync.test_filehost -*-
"""
The way to the remote's files that the remote allows: by its shell and tools, or else by SFTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.logger import Logger

from remotedocker.errors import RemoteDockerError, harmless
from remotedocker.interfaces import IRemote
from remotedocker.sync._facts import Facts
from remotedocker.sync._filehost import FileHost, FileSink
from remotedocker.sync._flow import InThread
from remotedocker.sync._listing import Listed
from remotedocker.sync._operations import Operation
from remotedocker.sync._remote import NoShell, Pushed, RemoteHost
from remotedocker.sync._transfer import Tree

__all__ = ["Host"]


class Host:
    """
    L{RemoteHost} while the remote gives us a shell, otherwise L{FileHost}; settled at the first question.
    """

    _log = Logger()

    def __init__(self, remote: IRemote, root: str, agent: str, run: InThread) -> None:
        self.remote = remote
        self._by_shell = RemoteHost(remote, root, agent, run)
        self._by_files = FileHost(remote, root, agent, run)
        self._without_shell = False

    async def _way(self) -> RemoteHost | FileHost:
        if not self._without_shell:
            try:
                await self._by_shell.facts()
                return self._by_shell
            except NoShell as error:
                self._log.warn(
                    "{destination} gives us no shell ({reason}); files go by SFTP, their times in seconds",
                    destination=self.remote.destination,
                    reason=harmless(str(error)),
                )
                self._without_shell = True
        return self._by_files

    async def facts(self) -> Facts:
        """@return: what the remote is like."""
        return await (await self._way()).facts()

    def error(self, operation: str, path: bytes, said: str) -> RemoteDockerError:
        """@return: the error that fits what the remote said."""
        return self._by_shell.error(operation, path, said)

    async def close(self) -> None:
        """Ends what is kept open."""
        await self._by_shell.close()

    async def make_places(self, places: Sequence[tuple[bytes, bool]]) -> list[str]:
        """Makes where trees will be."""
        return await (await self._way()).make_places(places)

    async def existing(self, paths: Sequence[bytes]) -> list[bool]:
        """@return: for each absolute path, whether the remote itself has something there."""
        return await (await self._way()).existing(paths)

    async def list_tree(self, tree: Tree) -> tuple[list[Listed], bytes]:
        """@return: all that the remote has of C{tree}, and the remote's time just before."""
        return await (await self._way()).list_tree(tree)

    async def list_parts(self, tree: Tree, paths: Iterable[bytes]) -> list[Listed]:
        """@return: all that the remote has at and below C{paths}."""
        return await (await self._way()).list_parts(tree, paths)

    async def list_changes(self, tree: Tree, since: bytes) -> tuple[list[Listed], bytes]:
        """@return: what changed since then, and the remote's time just before."""
        return await (await self._way()).list_changes(tree, since)

    async def checksums(self, tree: Tree, paths: Sequence[bytes]) -> dict[bytes, bytes]:
        """@return: the SHA-256, in hexadecimal, of each file that could be read."""
        return await (await self._way()).checksums(tree, paths)

    async def push(
        self, tree: Tree, operations: Sequence[Operation], *, guarded: bool, again: bool = False
    ) -> Pushed:
        """Does C{operations} on the remote."""
        return await (await self._way()).push(tree, operations, guarded=guarded, again=again)

    async def fetch(self, tree: Tree, paths: Sequence[bytes], sink: FileSink) -> None:
        """Reads files of the remote."""
        await (await self._way()).fetch(tree, paths, sink)
