# -*- test-case-name: tests.sync.test_script -*-
"""
Bytes as words of a POSIX shell.
"""

from __future__ import annotations

__all__ = ["PREAMBLE", "print_literal", "quote", "timestamp"]

PREAMBLE = b"exec 2>&1; LC_ALL=C; export LC_ALL; umask 077; unset CDPATH\n"
"""Makes a shell's messages part of its output, and its ways the same everywhere."""


def quote(word: bytes) -> bytes:
    """@return: C{word} as one word of the shell."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def timestamp(nanoseconds: int, coarse: bool) -> bytes:
    """
    @param coarse: C{touch} knows whole seconds only.
    @return: the argument of C{touch -d}.
    """
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    if coarse or not fraction:
        return b"@%d" % seconds
    if seconds < 0:
        return b"@-%d.%09d" % (-seconds - 1, 1_000_000_000 - fraction)
    return b"@%d.%09d" % (seconds, fraction)


_LITERAL = [
    bytes([byte]) if 32 <= byte < 127 and byte not in b"'%\\" else b"\\%03o" % byte for byte in range(256)
]
_LITERAL[ord("%")] = b"%%"


def print_literal(content: bytes) -> bytes:
    """@return: a command (a builtin of every shell) that prints C{content}, whatever bytes it has."""
    start = b"\\055" if content.startswith(b"-") else b""
    rest = content[1:] if start else content
    return b"printf '" + start + b"".join(map(_LITERAL.__getitem__, rest)) + b"'"
