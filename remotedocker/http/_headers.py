# -*- test-case-name: tests.http.test_headers -*-
"""
Header fields in the order and the case in which they came.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

__all__ = ["Headers"]


@frozen
class Headers:
    """
    A list of fields (RFC 9110 section 5). Names are compared without case.

    @ivar items: (name, value), values without surrounding white space.
    """

    items: tuple[tuple[bytes, bytes], ...] = ()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.items)

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of every field of that name, in order."""
        wanted = name.lower()
        return [value for key, value in self.items if key.lower() == wanted]

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field of that name."""
        values = self.get_all(name)
        return values[0] if values else None

    def tokens(self, name: bytes) -> list[bytes]:
        """The comma-separated members of all fields of that name, lower case (RFC 9110 section 5.6.1)."""
        return [
            token
            for value in self.get_all(name)
            for token in (part.strip(b" \t").lower() for part in value.split(b","))
            if token
        ]

    def without(self, *names: bytes) -> Headers:
        """The same fields, those of these names left out."""
        dropped = {name.lower() for name in names}
        return Headers(tuple(item for item in self.items if item[0].lower() not in dropped))

    def adding(self, name: bytes, value: bytes) -> Headers:
        """The same fields and one more at the end."""
        return Headers((*self.items, (name, value)))

    def encode(self) -> bytes:
        """The fields as they stand in a head, without the empty line."""
        return b"".join(name + b": " + value + b"\r\n" for name, value in self.items)
