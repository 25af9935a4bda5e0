# -*- test-case-name: tests.ssh.test_wire -*-
"""
The data types of RFC 4251 section 5, and the message numbers that are used here.
"""

from __future__ import annotations

import base64
import hashlib
from struct import Struct

from remotedocker.errors import harmless

__all__ = ["Reader", "TruncatedMessage", "fingerprint", "mpint", "name_list", "string", "uint32", "uint64"]

_UINT32 = Struct(">I")
_UINT64 = Struct(">Q")


class TruncatedMessage(Exception):
    """A message is shorter than its fields say."""


def uint32(value: int) -> bytes:
    """@return: a C{uint32}."""
    return _UINT32.pack(value)


def uint64(value: int) -> bytes:
    """@return: a C{uint64}."""
    return _UINT64.pack(value)


def string(value: bytes) -> bytes:
    """@return: a C{string}: its length and its bytes."""
    return _UINT32.pack(len(value)) + value


def mpint(value: int) -> bytes:
    """@return: an C{mpint} of a number that is not negative."""
    if value == 0:
        return b"\0\0\0\0"
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def name_list(names: list[bytes]) -> bytes:
    """@return: a C{name-list}."""
    return string(b",".join(names))


def fingerprint(blob: bytes) -> str:
    """@return: C{SHA256:…} of a public key, as C{ssh-keygen -l} prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


class Reader:
    """
    Takes one field after the other from a message.

    @raise TruncatedMessage: from each method, when the message ends before the field does.
    """

    __slots__ = ("_data", "_at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        """@return: the next C{length} bytes."""
        end = self._at + length
        if end > len(self._data):
            raise TruncatedMessage(f"{length} bytes were announced, {len(self._data) - self._at} are there")
        taken = self._data[self._at : end]
        self._at = end
        return bytes(taken)

    def byte(self) -> int:
        """@return: a C{byte}."""
        return self.take(1)[0]

    def boolean(self) -> bool:
        """@return: a C{boolean}."""
        return self.take(1) != b"\0"

    def uint32(self) -> int:
        """@return: a C{uint32}."""
        return int(_UINT32.unpack(self.take(4))[0])

    def uint64(self) -> int:
        """@return: a C{uint64}."""
        return int(_UINT64.unpack(self.take(8))[0])

    def string(self) -> bytes:
        """@return: a C{string}."""
        return self.take(self.uint32())

    def text(self) -> str:
        """@return: a C{string} of UTF-8, for messages; what is not UTF-8, or not harmless, is replaced."""
        return harmless(self.string().decode("utf-8", "replace"))

    def mpint(self) -> int:
        """@return: an C{mpint}, which must not be negative."""
        raw = self.string()
        if raw and raw[0] & 0x80:
            raise TruncatedMessage("a negative number")
        return int.from_bytes(raw, "big")

    def names(self) -> list[bytes]:
        """@return: a C{name-list}."""
        raw = self.string()
        return raw.split(b",") if raw else []

    def rest(self) -> bytes:
        """@return: what is left."""
        return self.take(len(self._data) - self._at)

    def at_end(self) -> bool:
        """@return: whether nothing is left."""
        return self._at == len(self._data)
