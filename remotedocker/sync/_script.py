# -*- test-case-name: tests.sync.test_script -*-
"""
Changes to the remote tree as a shell script.

The script is POSIX C{sh}. It goes to each directory with C{cd -P} and works on single names there only if the
shell ends up where the path says: a symbolic link that a container planted in the way of a parent is never
followed. A step that fails prints C{\\nF<step> } behind what the failed command said, and the script goes on.

New content comes from a stage: a directory outside the tree, on the same file system, into which a tar
stream was unpacked; or, while it is small, from the script itself. What overwrites files where they are comes
into the stage as archives of its own, which are unpacked over the tree when they are complete.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from attrs import define, field

from remotedocker.sync._guards import same_files, unchanged
from remotedocker.sync._operations import (
    Delete,
    HardLink,
    MakeDirectory,
    MakeSymlink,
    Operation,
    Rename,
    SetMode,
    WriteFile,
)
from remotedocker.sync._packing import Member
from remotedocker.sync._shellwords import print_literal, quote, timestamp
from remotedocker.sync._tree import Entry

__all__ = ["PARTS", "ScriptBuilder", "Step"]

StagedOperation = MakeDirectory | WriteFile | MakeSymlink | HardLink
"""What brings something new to the remote."""

PARTS = b"o"
"""The directory of the stage with the archives of what is overwritten."""

_ARGUMENTS = 500
_GROUP = 200
_FEW = 16
_COPY_LIMIT = 1024 * 1024


@define(eq=False)
class Step:
    """
    Operations that succeed or fail together.

    @ivar directory: in which they are done, relative to the base of the mirrors.
    @ivar operations: what they are.
    @ivar commands: shell commands; each must succeed.
    @ivar final: if it fails, nothing that follows is done.
    """

    directory: bytes
    operations: list[Operation]
    commands: list[bytes]
    final: bool = False


@define(eq=False)
class ScriptBuilder:
    """
    Turns the push operations of one tree into steps, and members of the stage.

    @ivar base: absolute path of the directory that all mirrors are in, without symbolic links.
    @ivar place: the tree's place in it, relative, with a slash in front; for a single file, the file's.
    @ivar stage: absolute path of the stage.
    @ivar source: absolute path of the tree on the laptop.
    @ivar inline: the content of each file to be written, if there is to be no tar stream.
    @ivar read: what each of those files was when it was read.
    @ivar guarded: whether what is overwritten or removed is first compared with what it should be.
    @ivar at_once: it is compared all at once, and nothing is done where anything is different; otherwise each
        time before it is touched.
    @ivar unpacks: the remote's C{tar} can overwrite files in place.
    @ivar coarse: the remote's tools know whole seconds only.
    @ivar superuser: owners can be given to files.
    @ivar steps: what is to be done, in order.
    @ivar staged: what is to be in the stage, by its name there.
    @ivar overwritten: the files whose content is to be in the stage's directory L{PARTS}, as archives.
    """

    base: bytes
    place: bytes
    stage: bytes
    source: bytes
    inline: Mapping[bytes, bytes] | None = None
    read: Mapping[bytes, Entry] = field(factory=dict)
    guarded: bool = False
    at_once: bool = False
    unpacks: bool = False
    coarse: bool = False
    superuser: bool = False
    steps: list[Step] = field(init=False, factory=list)
    staged: dict[bytes, StagedOperation] = field(init=False, factory=dict)
    overwritten: list[WriteFile] = field(init=False, factory=list)
    _new: dict[bytes, tuple[bytes, Step]] = field(init=False, factory=dict)
    _links: dict[bytes, bytes] = field(init=False, factory=dict)
    _sources: dict[bytes, bytes] = field(init=False, factory=dict)
    _linked: set[bytes] = field(init=False, factory=set)
    _apart: set[bytes] = field(init=False, factory=set)
    _serial: int = field(init=False, default=0)
    _expected: list[tuple[bytes, Entry]] = field(init=False, factory=list)

    def add(self, operations: Sequence[Operation]) -> None:
        """Takes all operations, in their order."""
        contents: list[WriteFile | MakeSymlink] = []
        links: list[HardLink] = []
        closed: list[MakeDirectory] = []
        for operation in operations:
            if isinstance(operation, HardLink):
                links.append(operation)
            elif isinstance(operation, (WriteFile, MakeSymlink)):
                contents.append(operation)
            elif isinstance(operation, MakeDirectory):
                self._make_directory(operation)
                if operation.entry.permissions & 0o700 != 0o700:
                    closed.append(operation)
            elif isinstance(operation, Rename):
                self._rename(operation)
            elif isinstance(operation, Delete):
                self._delete(operation)
            else:
                self._set_mode(operation)
        self._linked = {link.existing for link in links}
        if self.inline is not None:
            for each in contents:
                self._print(each, self.inline)
        else:
            self._from_stage(contents)
        for link in links:
            self._hard_link(link)
        for directory in reversed(closed):
            mode = b"%o" % directory.entry.permissions
            self._step(directory, b"chmod %s %s" % (mode, self._name(directory.path)))
        if self._expected:
            tests = [
                same_files(self._expected[start : start + _ARGUMENTS], self.coarse)
                for start in range(0, len(self._expected), _ARGUMENTS)
            ]
            self.steps.insert(0, Step(b"", list(operations), tests, final=True))

    def prelude(self) -> bytes:
        """@return: the variables and functions that the steps need."""
        return (
            b'R=%s S=%s; [ -d "$S" ] || mkdir -p -- "$S"\n'
            b'c() { cd -P -- "$R$1" && [ "$PWD" = "$R$1" ]; }\n'
            b"f() { printf '\\nF%%d ' \"$1\"; }\n"
            # A directory that holds something that is none of ours stays, as on the laptop's side.
            b'd() { rmdir -- "$@" 2>/dev/null || for n; do [ ! -d "$n" ] || rmdir -- "$n" 2>/dev/null ||'
            b' { [ -n "$(ls -A "$n")" ] && printf \'\\nK%%s\\0\' "$PWD/$n"; } || return; done; }\n'
            % (quote(self.base), quote(self.stage))
        )

    def script(self, left_out: Container[int] = ()) -> bytes:
        """
        @param left_out: C{id}s of operations whose content could not be staged.
        @return: the steps, to be run after L{prelude}.
        """
        lines: list[bytes] = []
        directory: bytes | None = None
        names = {id(operation): name for name, operation in self.staged.items() if id(operation) in left_out}
        for index, step in enumerate(self.steps):
            if any(id(each) in left_out for each in step.operations if isinstance(each, WriteFile)):
                self._without(step, left_out, names)
            commands = step.commands
            if step.directory != directory or index == 0:
                lines.append(b"g=; c %s && g=1" % quote(step.directory))
                directory = step.directory
            failed = b"{ f %d; exit 0; }" if step.final else b"f %d"
            lines.append(b'[ "$g" ] && %s || %s' % (b" &&\n".join(commands), failed % index))
            if any(command.startswith(b"c ") for command in commands):
                directory = None
        return b"\n".join(lines) + b"\n"

    def _without(self, step: Step, left_out: Container[int], names: Mapping[int, bytes]) -> None:
        """Takes files that could not be read, whose names in the stage are C{names}, out of a step."""
        for operation in list(step.operations):
            if id(operation) in left_out:
                step.operations.remove(operation)
                name = names.get(id(operation))
                if name is not None:
                    word = b'"$S"' + quote(b"/" + name)
                    own = self._name(operation.path)
                    step.commands = [
                        command.replace(b" " + word, b"").replace(b"[ ! -L %s ]" % own, b":")
                        for command in step.commands
                    ]
        if not any(isinstance(each, (WriteFile, MakeSymlink, MakeDirectory)) for each in step.operations):
            step.commands = [b":"]

    def locate(self, path: bytes) -> tuple[bytes, bytes]:
        """@return: the directory (relative to the base) and the name of C{path}."""
        directory, _, name = (self.place + b"/" + path if path else self.place).rpartition(b"/")
        return directory, name

    def _name(self, path: bytes) -> bytes:
        """@return: the shell word for C{path} in its directory."""
        return quote(b"./" + self.locate(path)[1])

    def _step(self, operation: Operation, *commands: bytes) -> Step:
        step = Step(self.locate(operation.path)[0], [operation], list(commands))
        self.steps.append(step)
        return step

    def _guards(self, expected: Sequence[tuple[bytes, Entry | None]]) -> list[bytes]:
        """@return: tests that hold if the files (by shell word) are as they should be."""
        return unchanged(expected, self.coarse) if self.guarded else []

    def _guard(self, operations: Sequence[Operation]) -> list[bytes]:
        """@return: tests that hold if what C{operations} replace or remove is as they expect it."""
        expected: list[tuple[bytes, Entry | None]] = []
        for operation in operations:
            if not isinstance(operation, (WriteFile, MakeSymlink, Delete, SetMode)):
                continue
            entry = operation.expected
            if self.guarded and self.at_once and entry is not None and entry.is_file:
                directory, name = self.locate(operation.path)
                self._expected.append((quote(b"." + directory + b"/" + name), entry))
            else:
                expected.append((self._name(operation.path), entry))
        return self._guards(expected)

    def members(self) -> Iterator[Member]:
        """Yields what is to be in the stage, in order; made one by one, for they may be many."""
        for name, operation in self.staged.items():
            entry, link, source = operation.entry, self._links.get(name), None
            if entry.is_directory:
                entry = entry._replace(mode=entry.mode | 0o700)
            elif entry.is_file and link is None:
                source = self.source + b"/" + operation.path if operation.path else self.source
            yield Member(name, entry, source, link)

    def _stage(self, name: bytes, operation: StagedOperation, link: bytes | None = None) -> None:
        self.staged[name] = operation
        if link is not None:
            self._links[name] = link
        if operation.path in self._linked:
            self._sources[operation.path] = name

    def _in_new(self, operation: Operation) -> bytes | None:
        """@return: the name in the stage of what goes into a directory that is itself new."""
        parent, _, name = operation.path.rpartition(b"/")
        new = self._new.get(parent) if operation.path else None
        if new is None:
            return None
        staged, step = new
        step.operations.append(operation)
        return staged + b"/" + name

    def _make_directory(self, operation: MakeDirectory) -> None:
        entry = operation.entry._replace(mode=operation.entry.mode | 0o700)
        name = self._name(operation.path)
        if self.inline is not None:
            commands = [b"mkdir -m %o -- %s" % (entry.permissions, name)]
            if self.superuser and (entry.owner or entry.group):
                commands.append(b"chown %d:%d %s" % (entry.owner, entry.group, name))
            self._step(operation, *commands)
            return
        staged = self._in_new(operation)
        if staged is not None:
            step = self._new[operation.path.rpartition(b"/")[0]][1]
        else:
            self._serial += 1
            staged = b"t/%d" % self._serial
            absent = b"[ ! -e %(n)s ] && [ ! -L %(n)s ]" % {b"n": name}
            step = self._step(operation, absent, b'mv -- "$S"%s %s' % (quote(b"/" + staged), name))
        self._new[operation.path] = (staged, step)
        self._stage(staged, operation)

    def _rename(self, operation: Rename) -> None:
        old_directory, old = self.locate(operation.old)
        directory, _ = self.locate(operation.path)
        name, old = self._name(operation.path), quote(b"./" + old)
        guards = [b"[ ! -d %s ]" % name, *self._guards([(name, operation.expected)])]
        if directory == old_directory:
            self._step(operation, *guards, b"mv -f -- %s %s" % (old, name))
            return
        target = b'"$R"' + quote(self.place + b"/" + operation.path)
        self._step(operation, *guards, b"c %s" % quote(old_directory), b"mv -f -- %s %s" % (old, target))

    def _delete(self, operation: Delete) -> None:
        directory, _ = self.locate(operation.path)
        verb = b"d " if operation.expected.is_directory else b"rm -f -- "
        name = self._name(operation.path)
        last = self.steps[-1] if self.steps else None
        guards = self._guard([operation])
        if (
            last is not None
            and not guards
            and last.directory == directory
            and last.commands[-1].startswith(verb)
            and len(last.operations) < _GROUP
        ):
            last.operations.append(operation)
            last.commands[-1] += b" " + name
        else:
            self._step(operation, *guards, verb + name)

    def _set_mode(self, operation: SetMode) -> None:
        entry, name = operation.entry, self._name(operation.path)
        link = [b"[ ! -L %s ]" % name]
        # The time that a file is given would hide that somebody wrote to it.
        guards = self._guard([operation]) if entry.is_file and operation.expected else []
        commands = [b"chmod %o %s" % (entry.permissions, name)]
        before = operation.expected
        owned = before is None or (entry.owner, entry.group) == (before.owner, before.group)
        if self.superuser and not owned:
            commands.insert(0, b"chown %d:%d %s" % (entry.owner, entry.group, name))
        if entry.is_file:
            commands.append(b"touch -c -d %s -- %s" % (timestamp(entry.mtime, self.coarse), name))
        self._step(operation, *link, *guards, *commands)

    def _from_stage(self, operations: Sequence[WriteFile | MakeSymlink]) -> None:
        """Puts what was unpacked into the stage where it belongs: copied if the inode stays, else moved."""
        if self.unpacks and (self.at_once or not self.guarded):
            operations = self._overwrite(operations)
        created = [each for each in operations if each.expected is None]
        places = {self.locate(each.path)[0] for each in created}
        copies = len(places) <= _FEW and sum(each.entry.size for each in created) <= _COPY_LIMIT
        groups: dict[tuple[bytes, bool, bool, int], list[WriteFile | MakeSymlink]] = {}
        counts: dict[tuple[bytes, bool, bool], int] = {}
        for operation in operations:
            staged = self._in_new(operation)
            if staged is not None:
                self._stage(staged, operation)
                continue
            copied = isinstance(operation, WriteFile) and (
                operation.in_place
                or (copies and operation.expected is None and operation.path not in self._linked)
            )
            if copied:
                self._apart.add(operation.path)
            key = (self.locate(operation.path)[0], copied, operation.expected is None)
            counts[key] = counts.get(key, 0) + 1
            groups.setdefault((*key, counts[key] // _GROUP), []).append(operation)
        for (_, copied, _, _), group in groups.items():
            self._serial += 1
            self._put(group, copied, b"g/%d" % self._serial)

    def _overwrite(self, operations: Sequence[WriteFile | MakeSymlink]) -> list[WriteFile | MakeSymlink]:
        """
        Overwrites files by a second C{tar}, which leaves what is there where it is.

        @return: what is left to do.
        """
        left: list[WriteFile | MakeSymlink] = []
        for operation in operations:
            if isinstance(operation, WriteFile) and operation.in_place and operation.expected is not None:
                self.overwritten.append(operation)
                self._apart.add(operation.path)
            else:
                left.append(operation)
        if self.overwritten:
            commands = self._guard(self.overwritten)
            directories = sorted({self.locate(each.path)[0] for each in self.overwritten})
            commands += [b"c %s" % quote(directory) for directory in directories]
            # What cat cannot read must not look like the end of the archive.
            unpack = b'{ (cd "$S/%s" && cat ./*) || echo; } | tar -C "$R" -xpf - --overwrite --no-same-owner'
            commands.append(unpack % PARTS)
            self.steps.append(Step(b"", list(self.overwritten), commands))
        return left

    def overwriting(self) -> Iterator[Member]:
        """Yields, for each of L{overwritten}, what is to be in L{PARTS}, by its path below the base."""
        for operation in self.overwritten:
            directory, name = self.locate(operation.path)
            source = self.source + b"/" + operation.path if operation.path else self.source
            yield Member((directory + b"/" + name).lstrip(b"/"), operation.entry, source)

    def _put(self, group: Sequence[WriteFile | MakeSymlink], copied: bool, stage: bytes) -> None:
        words: list[bytes] = []
        commands = self._guard(group)
        for operation in group:
            staged = stage + b"/" + self.locate(operation.path)[1]
            self._stage(staged, operation)
            words.append(b'"$S"' + quote(b"/" + staged))
            if copied:
                commands.append(b"[ ! -L %s ]" % self._name(operation.path))
        placing = b"%s -- %s ./" % (b"cp -p" if copied else b"mv -f", b" ".join(words))
        if copied and group[0].expected is None:
            names = b" ".join(self._name(each.path) for each in group)
            placing = b"{ %s || { rm -f -- %s; false; }; }" % (placing, names)
        commands.append(placing)
        step = Step(self.locate(group[0].path)[0], list(group), commands)
        self.steps.append(step)

    def _print(self, operation: WriteFile | MakeSymlink, inline: Mapping[bytes, bytes]) -> None:
        """Has the shell itself write a small file."""
        entry, name = self.read.get(operation.path, operation.entry), self._name(operation.path)
        commands = self._guard([operation])
        replaces = operation.expected is not None
        if isinstance(operation, MakeSymlink):
            staged = self._spare()
            commands += [
                b"ln -s -- %s %s" % (quote(entry.target), staged),
                b"mv -f -- %s %s" % (staged, name),
            ]
            self._step(operation, *commands)
            return
        in_place = operation.in_place and replaces
        target = self._spare() if replaces and not in_place else name
        commands.append(b"[ ! -L %s ]" % target)
        literal = print_literal(inline[operation.path])
        if in_place:
            commands.append(b"%s > %s" % (literal, target))
        else:
            commands.append(b"umask %03o" % (0o666 & ~entry.permissions))
            end = b"umask 077; [ $s = 0 ] || { rm -f -- %s; false; }" % target
            commands.append(b"{ %s > %s; s=$?; %s; }" % (literal, target, end))
            if self.superuser and (entry.owner or entry.group):
                commands.append(b"chown %d:%d %s" % (entry.owner, entry.group, target))
        known = (
            operation.expected.permissions if in_place and operation.expected else entry.permissions & 0o666
        )
        if known != entry.permissions:
            commands.append(b"chmod %o %s" % (entry.permissions, target))
        commands.append(b"touch -c -d %s -- %s" % (timestamp(entry.mtime, self.coarse), target))
        if target != name:
            commands.append(b"mv -f -- %s %s" % (target, name))
        self._step(operation, *commands)

    def _spare(self) -> bytes:
        self._serial += 1
        return b'"$S"/p%d' % self._serial

    def _hard_link(self, operation: HardLink) -> None:
        source = self._sources.get(operation.existing)
        parent = operation.path.rpartition(b"/")[0]
        if source is not None and operation.existing not in self._apart and parent in self._new:
            staged = self._in_new(operation)
            if staged is not None:
                self._stage(staged, operation, source)
                return
        directory, existing = self.locate(operation.existing)
        spare = self._spare()
        self._step(
            operation,
            b"c %s" % quote(directory),
            b"[ ! -L %s ]" % quote(b"./" + existing),
            b"ln -- %s %s" % (quote(b"./" + existing), spare),
            b"c %s" % quote(self.locate(operation.path)[0]),
            b"mv -f -- %s %s" % (spare, self._name(operation.path)),
        )
