# -*- test-case-name: tests.sync.test_plain -*-
"""
What the remote has, asked of C{find} and C{stat} as busybox has them: they print no NUL.

A record is one line of C{stat}: mode in hexadecimal, size, time, inode, link count and name. A line that is
none is the rest of a name with a newline in it. The targets of symbolic links follow, as pairs that end with
NUL.
"""

from __future__ import annotations

import re
import stat
from calendar import timegm
from functools import lru_cache

from remotedocker.sync._listing import Listed
from remotedocker.sync._shellwords import quote
from remotedocker.sync._tree import Entry

__all__ = ["parse_plain", "plain_command"]

_LINE = re.compile(
    rb"([0-9a-f]+) (\d+) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d+))? \+0000 (\d+) (\d+) (\.(?:/.*)?)",
    re.DOTALL,
)
_FORMAT = b"'%f %s %y %i %h %n'"
_KINDS = (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)


def plain_command(root: bytes) -> bytes:
    """
    @return: a shell command that lists everything at and below C{root}; an C{U} at its end says that it could
        not see all of it.
    """
    return (
        b"TZ=UTC; export TZ; if [ -d %(r)s ] && [ ! -L %(r)s ]; then ( cd -P -- %(r)s && {"
        b" find . -exec stat -c %(f)s {} + 2>/dev/null || u=U; printf '\\0';"
        b" find . -type l -exec sh -c"
        b' \'for l; do printf "%%s\\0" "$l"; readlink -- "$l"; printf "\\0"; done\' sh {} + 2>/dev/null;'
        b" printf '%%s' \"$u\"; } ) 2>/dev/null; [ $? -lt 128 ] || exit 1;"
        b" elif [ -e %(r)s ] || [ -L %(r)s ]; then stat -c '%%f %%s %%y %%i %%h .' %(r)s; printf '\\0'; fi"
        % {b"r": quote(root), b"f": _FORMAT}
    )


@lru_cache(1024)
def _seconds(moment: bytes) -> int:
    year, month, day, hour, minute, second = map(int, re.split(rb"[- :]", moment))
    return timegm((year, month, day, hour, minute, second))


def _path(name: bytes) -> bytes:
    return b"" if name == b"." else name[2:]


def parse_plain(output: bytes) -> list[Listed]:
    """@return: the records, in order."""
    listing, *rest = output.split(b"\0")
    targets = {_path(rest[index]): rest[index + 1][:-1] for index in range(0, len(rest) - 1, 2)}
    incomplete = bool(rest) and rest[-1].endswith(b"U")
    records: list[list[bytes]] = []
    for line in listing.removesuffix(b"\n").split(b"\n"):
        found = _LINE.fullmatch(line)
        if found is not None:
            records.append([each or b"" for each in found.groups()])
        elif records:
            records[-1][-1] += b"\n" + line
    result: list[Listed] = []
    for mode_text, size, moment, fraction, inode, links, name in records:
        mode, path = int(mode_text, 16), _path(name)
        entry = None
        if stat.S_IFMT(mode) in _KINDS:
            entry = Entry(
                mode,
                int(size) if stat.S_ISREG(mode) else 0,
                _seconds(moment) * 1_000_000_000 + int((fraction + b"000000000")[:9]),
                targets.get(path, b""),
                int(inode),
                int(links),
            )
        result.append(Listed(path, entry, unreadable=incomplete and not path))
    return result
