# -*- test-case-name: tests.sync.test_remote -*-
"""
The remote's side of all mirrors: one shell that stays, tar streams for bulk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import Factory, define
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import ConnectionClosed, ConnectionDone, ProcessTerminated
from twisted.internet.protocol import Factory as ProtocolFactory
from twisted.logger import Logger

from remotedocker.errors import RemoteDockerError, RemoteFileError
from remotedocker.interfaces import IRemote
from remotedocker.sync._cancelling import to_its_end, until_ended
from remotedocker.sync._commands import Commands
from remotedocker.sync._facts import Facts, read_facts, setup
from remotedocker.sync._flow import InThread, pump
from remotedocker.sync._listing import Listed, ListingReader, changes_command, list_command
from remotedocker.sync._operations import Operation, WriteFile
from remotedocker.sync._packing import UNSTABLE
from remotedocker.sync._plain import parse_plain, plain_command
from remotedocker.sync._said import FAILED, cause_of, failures, kept, known_cause
from remotedocker.sync._script import ScriptBuilder
from remotedocker.sync._shell import Shell, StreamLost
from remotedocker.sync._shellwords import quote
from remotedocker.sync._tar import TarFormatError, TarReader, TarSink
from remotedocker.sync._transfer import Archive, Receiver, Tree, read_small
from remotedocker.sync._tree import Entry, shown
from remotedocker.sync._upload import Upload, streams_beside

__all__ = ["NOT_AS_EXPECTED", "NoShell", "Pushed", "RemoteHost", "Tree"]

NOT_AS_EXPECTED = "it is not what it was"
"""Why an operation failed of which the remote's tools said nothing: a comparison before it did."""

_SLACK = 0.1
"""Seconds by which a file's change time may lag behind the clock (the kernel's tick)."""

_DATE = b"date +%s.%N\n"

_INLINE_BYTES = 64 * 1024
_INLINE_OPERATIONS = 48


@define
class Pushed:
    """
    How a push went.

    @ivar done: the operations that were done, in order, each with what the remote has there now.
    @ivar failed: those that were not, each with what the remote said.
    @ivar skipped: files that could not be read here, each with the reason.
    @ivar kept: directories that were to be removed, and stay because something is in them.
    """

    done: list[tuple[Operation, Entry | None]] = Factory(list)
    failed: list[tuple[Operation, str]] = Factory(list)
    skipped: list[tuple[Operation, str]] = Factory(list)
    kept: set[bytes] = Factory(set)


def _before(stamp: bytes) -> bytes:
    """@return: a moment shortly before C{stamp}, which ends with the format if C{date} knows no fractions."""
    return b"%.9f" % max(0.0, float(stamp.removesuffix(b".%N")) - _SLACK)


class NoShell(StreamLost):
    """The SSH user may log in, but is given no shell that answers."""


class RemoteHost:
    """
    @param root: C{--sync-root}.
    @param agent: the agent's id.
    """

    _log = Logger()

    def __init__(self, remote: IRemote, root: str, agent: str, run: InThread) -> None:
        self.remote = remote
        self._root = root.encode("utf-8", "surrogateescape")
        self._agent = agent.encode("ascii")
        self._run = to_its_end(run)
        self._shell: Shell | None = None
        self._facts: Facts | None = None
        self._opening = DeferredLock()
        self._serial = 0
        self._commands = Commands(remote)
        self._closed = False

    async def facts(self) -> Facts:
        """@return: what the remote is like, once a shell stands there."""
        await self._session()
        assert self._facts is not None
        return self._facts

    async def _session(self) -> Shell:
        if self._closed:
            raise StreamLost("remotedocker is stopping")
        await self._opening.acquire()
        try:
            if self._shell is not None and self._shell.alive and self._facts is not None:
                return self._shell
            try:
                shell = await self._open()
            except NoShell:
                # Or it was lost with its connection, and another one, or the next login, stands.
                shell = await self._open()
            self._commands.prepare()
            return shell
        finally:
            self._opening.release()

    async def _open(self) -> Shell:
        """@raise NoShell: it ended before it had answered, while a login stood."""
        factory = ProtocolFactory.forProtocol(Shell)
        shell = await self.remote.command_endpoint("exec sh").connect(factory)
        assert isinstance(shell, Shell)
        self._shell, self._facts = shell, None
        if self._closed:
            await self._end()
            raise StreamLost("remotedocker is stopping")
        try:
            self._facts = await self._ask_facts(shell)
        except StreamLost as lost:
            if self.remote.connected and not self._closed:
                raise NoShell(str(lost)) from lost
            raise
        except RemoteDockerError:
            await self._end()
            raise
        return shell

    async def _ask_facts(self, shell: Shell) -> Facts:
        output = await shell.request(setup(self._root, self._agent))
        facts = read_facts(output)
        if facts is None:
            said = output.split(b"\n=")[0].decode("utf-8", "replace").strip()
            raise self.error("make directory", self._root, said or "its shell does not do what we ask")
        return facts

    def error(self, operation: str, path: bytes, said: str) -> RemoteDockerError:
        """@return: the error that fits what the remote said."""
        kind = known_cause(said) or RemoteFileError
        return kind(operation=operation, path=shown(path), destination=self.remote.destination, reason=said)

    async def ask(self, script: bytes, take: Callable[[bytes], object] | None = None) -> bytes:
        """
        @param take: gets what it prints while it comes, but for its end.
        @return: what C{script} printed in the shell that stays, or the end of that.
        """
        shell = await self._session()
        return await shell.request(script, take)

    async def close(self) -> None:
        """Ends the shell for good."""
        self._closed = True
        await self._commands.close()
        await self._end()

    async def _end(self) -> None:
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.close()
            await shell.lost

    async def make_places(self, places: Sequence[tuple[bytes, bool]]) -> list[str]:
        """
        Makes where trees will be: directories, or empty files (C{True}).

        @return: for each, what went wrong, or C{""}.
        """
        facts = await self.facts()
        builder = ScriptBuilder(facts.base, b"", facts.stage, b"")
        lines = [builder.prelude()]
        for index, (place, is_file) in enumerate(places):
            directory, _, name = place.rpartition(b"/")
            if not is_file:
                lines.append(
                    b'mkdir -p -- "$R"%(p)s && c %(p)s || f %(i)d' % {b"p": quote(place), b"i": index}
                )
                continue
            lines.append(
                b'mkdir -p -- "$R"%(d)s && c %(d)s && [ ! -L %(n)s ] &&'
                b" { rmdir -- %(n)s 2>/dev/null; [ -f %(n)s ] || { : > %(n)s && touch -d @0 %(n)s; }; }"
                b" || f %(i)d" % {b"d": quote(directory), b"n": quote(b"./" + name), b"i": index}
            )
        problems = dict(failures(await self.ask(b"\n".join(lines))))
        return [problems.get(index, "") for index in range(len(places))]

    async def existing(self, paths: Sequence[bytes]) -> list[bool]:
        """@return: for each absolute path, whether the remote itself has something there."""
        lines = [b"[ -e %s ] && printf '\\nF%d '" % (quote(path), index) for index, path in enumerate(paths)]
        found = dict(failures(await self.ask(b"\n".join(lines))))
        return [index in found for index in range(len(paths))]

    async def list_tree(self, tree: Tree) -> tuple[list[Listed], bytes]:
        """@return: all that the remote has of C{tree}, and the remote's time just before."""
        facts = await self.facts()
        if facts.lists:
            return await self._listing(list_command(facts.base + tree.place))
        output = await self.ask(_DATE + plain_command(facts.base + tree.place))
        stamp, _, rest = output.partition(b"\n")
        return await self._run(parse_plain, rest), _before(stamp)

    async def list_parts(self, tree: Tree, paths: Iterable[bytes]) -> list[Listed]:
        """@return: all that the remote has at and below C{paths}."""
        facts = await self.facts()
        records, _ = await self._listing(list_command(facts.base + tree.place, paths))
        return records

    async def list_changes(self, tree: Tree, since: bytes) -> tuple[list[Listed], bytes]:
        """@return: what changed since then, and the remote's time just before."""
        facts = await self.facts()
        return await self._listing(changes_command(facts.base + tree.place, since))

    async def _listing(self, command: bytes) -> tuple[list[Listed], bytes]:
        """@return: the records, read while they come, and the remote's time just before."""
        reader = ListingReader()
        errors: list[ValueError] = []

        def take(piece: bytes) -> None:
            try:
                reader.feed(piece)
            except ValueError as error:
                errors.append(error)

        take(await self.ask(_DATE + command, take))
        if errors or reader.line is None:
            raise StreamLost(f"what the remote lists cannot be understood: {errors}")
        return reader.records, _before(reader.line)

    async def checksums(self, tree: Tree, paths: Sequence[bytes]) -> dict[bytes, bytes]:
        """@return: the SHA-256, in hexadecimal, of each file that could be read."""
        facts = await self.facts()
        builder = ScriptBuilder(facts.base, tree.place, facts.stage, tree.source)
        lines = [builder.prelude()]
        for path in paths:
            directory, name = builder.locate(path)
            word = quote(b"./" + name)
            lines.append(
                b"c %s && [ -f %s ] && [ ! -L %s ] && sha256sum < %s || echo none"
                % (quote(directory), word, word, word)
            )
        answers = (await self.ask(b"\n".join([*lines, b"cd /"]))).splitlines()
        sums = [answer.partition(b" ")[0] for answer in answers]
        return {path: each for path, each in zip(paths, sums, strict=False) if len(each) == 64}

    async def push(
        self, tree: Tree, operations: Sequence[Operation], *, guarded: bool, again: bool = False
    ) -> Pushed:
        """
        Does C{operations} on the remote: by the shell that stays while they are few and small, else by a tar
        stream.

        @param guarded: what is overwritten or removed is compared with what it should be first.
        @param again: something was not what it should be: compares one by one.
        """
        facts = await self.facts()
        writes = [each for each in operations if isinstance(each, WriteFile)]
        small = (
            len(operations) <= _INLINE_OPERATIONS and sum(each.entry.size for each in writes) <= _INLINE_BYTES
        )
        builder = ScriptBuilder(
            facts.base,
            tree.place,
            facts.stage,
            tree.source,
            guarded=guarded and facts.guards,
            at_once=not small and not again,
            unpacks=facts.gnu_tar,
            coarse=facts.coarse,
            superuser=facts.superuser,
        )
        pushed = Pushed()
        sent: dict[int, Entry] = {}
        skipped: dict[int, str] = {}
        if small:
            inline: dict[bytes, bytes] = {}
            read: dict[bytes, Entry] = {}
            for small_file in await self._run(read_small, tree, writes):
                key = id(small_file.write)
                if small_file.entry is None:
                    skipped[key] = small_file.reason
                else:
                    sent[key] = small_file.entry
                    if small_file.entry.mtime != UNSTABLE:
                        read[small_file.write.path] = small_file.entry
                    inline[small_file.write.path] = small_file.content
            builder.inline, builder.read = inline, read
            builder.add([each for each in operations if id(each) not in skipped])
            output = await self.ask(builder.prelude() + builder.script() + b"cd /")
        else:
            output = await self._stream(facts, builder, operations, sent, skipped)
        self._report(builder, operations, output, sent, skipped, pushed)
        return pushed

    def _report(
        self,
        builder: ScriptBuilder,
        operations: Sequence[Operation],
        output: bytes,
        sent: dict[int, Entry],
        skipped: dict[int, str],
        pushed: Pushed,
    ) -> None:
        said: dict[int, str] = {}
        top = builder.base + builder.place + b"/"
        pushed.kept = {path.removeprefix(top) for path in kept(output)}
        for index, message in failures(output):
            for operation in builder.steps[index].operations:
                said[id(operation)] = message or NOT_AS_EXPECTED
        for operation in operations:
            key = id(operation)
            if key in skipped:
                pushed.skipped.append((operation, skipped[key]))
            elif key in said:
                pushed.failed.append((operation, said[key]))
            else:
                pushed.done.append((operation, sent.get(key)))

    async def _stream(
        self,
        facts: Facts,
        builder: ScriptBuilder,
        operations: Sequence[Operation],
        sent: dict[int, Entry],
        skipped: dict[int, str],
    ) -> bytes:
        self._serial += 1
        builder.stage = facts.stage + b"/b%d" % self._serial
        builder.add(operations)
        files = [each for each in operations if isinstance(each, WriteFile) and not each.in_place]
        size = sum(each.entry.size for each in files) if facts.gnu_tar else 0

        def understand(output: bytes, reason: str) -> bytes:
            return self._understand(builder.place, output, reason)

        archive = Archive(builder, sent, skipped)
        upload = Upload(self._commands, self._run, archive, builder.stage, understand)
        return await upload.send(streams_beside(len(files), size, self.remote.round_trip))

    def _understand(self, place: bytes, output: bytes, reason: str) -> bytes:
        """
        @return: what the tools of a command said before it ended.
        @raise RemoteDockerError: it could not do its work.
        @raise StreamLost: it did not come to its end.
        """
        head, found, status = output.rpartition(b"\nE")
        if not found:
            cause = cause_of(output)
            if known_cause(cause):
                raise self.error("write below", place, cause)
            raise StreamLost(f"{reason} {cause}".strip())
        if status.strip() != b"0" and not FAILED.search(head):
            raise self.error("write below", place, cause_of(head))
        return head

    async def fetch(self, tree: Tree, paths: Sequence[bytes], sink: TarSink) -> None:
        """
        Reads files of the remote; C{sink} is called in a thread.

        What C{sink} was not told of could not be read.
        @raise StreamLost: or it did not come, for the stream was cut off.
        """
        facts = await self.facts()
        directory, names = facts.base + tree.place, [b"./" + path for path in paths]
        if names == [b"./"]:
            directory, _, name = directory.rpartition(b"/")
            names = [b"./" + name]
        program = b"tar -c --no-recursion --hard-dereference --format=gnu --null -T - -f -"
        if not facts.gnu_tar:
            program = b"xargs -0 tar -c -f -"
        reader = TarReader(sink, several=not facts.gnu_tar)
        receiver = Receiver(reader, self._run)
        command = b"cd -P -- %s && exec %s 2>/dev/null" % (quote(directory), program)
        stream = await self._commands.open(command, receiver.take)
        receiver.transport = stream.transport
        # How it ended tells what could not be read; whether it came to its end is seen below.
        stream.ended.addErrback(lambda failure: failure.trap(ConnectionClosed, ProcessTerminated) and None)
        listed = iter([b"\0".join(names[start : start + 500]) + b"\0" for start in range(0, len(names), 500)])
        try:
            await pump(listed, stream.transport.write, stream.gate, self._run)  # type: ignore[union-attr]
            stream.finish()
            await stream.ended
        finally:
            stream.abort()
            # Also where this failed or is cancelled: who asked is about to end what the thread writes to.
            await until_ended(Deferred.fromCoroutine(receiver.close()))
        try:
            receiver.check()
        except TarFormatError as error:
            raise StreamLost(f"what the remote sent is no archive: {error}") from error
        assert stream.reason is not None
        gone = not stream.reason.check(ConnectionDone, ProcessTerminated)
        if not reader.finished and (gone or facts.gnu_tar):
            raise StreamLost(f"the stream of files was cut off: {stream.reason.getErrorMessage()}")
