# -*- test-case-name: tests.docker.test_json -*-
"""
JSON as the daemon reads and writes it (Go's C{encoding/json}), losing nothing that is not understood.

Members keep their order, unknown ones stay, and a number is the text that was sent. Go matches the members
of a struct without regard to case and lets a later one overwrite an earlier one, so the same field can be
spelled twice in one document. L{JSONObject.field} folds the spellings into one, in the document itself:
after that there is a single reading of it, for the daemon and for us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecoder
from string import ascii_lowercase, ascii_uppercase
from typing import NoReturn

from attrs import Factory, define, frozen

from remotedocker.errors import BadRequest

__all__ = [
    "JSONObject",
    "JSONValue",
    "Number",
    "Raw",
    "read",
    "read_object",
    "split_array",
    "split_object",
    "write",
]


@frozen
class Number:
    """
    A number, kept as the text that it was written in.
    """

    text: str


@frozen
class Raw:
    """
    A value that is written out exactly as it was read.
    """

    text: str


@define
class JSONObject:
    """
    The members of an object in the order in which they were written, repeated ones too.
    """

    items: list[tuple[str, JSONValue]] = Factory(list)

    def field(self, name: str) -> JSONValue:
        """
        The member that Go would decode into the struct field C{name}; None if there is none, or it is null.

        All spellings of C{name} become one member with that very name, in the place of the first. Objects
        are merged, lists element by element; a null empties what can be empty; else the last value stays.
        """
        wanted = _folded(name)
        places = [index for index, (key, _) in enumerate(self.items) if _folded(key) == wanted]
        if not places:
            return None
        value = self.items[places[0]][1]
        for index in places[1:]:
            value = _overwritten(value, self.items[index][1])
        self._replace(places, name, value)
        return value

    def child(self, name: str) -> JSONObject:
        """The object in the struct field C{name}; if there is none, an empty one that is no part of this."""
        value = self.field(name)
        return value if isinstance(value, JSONObject) else JSONObject()

    def elements(self, name: str) -> list[JSONValue]:
        """The list in the struct field C{name}; if there is none, an empty one that is no part of this."""
        value = self.field(name)
        return value if isinstance(value, list) else []

    def children(self, name: str) -> list[JSONObject]:
        """The objects in the list in the struct field C{name}."""
        return [each for each in self.elements(name) if isinstance(each, JSONObject)]

    def text(self, name: str) -> str:
        """The string in the struct field C{name}; C{""} if there is none."""
        value = self.field(name)
        return value if isinstance(value, str) else ""

    def set_field(self, name: str, value: JSONValue) -> None:
        """Sets the struct field C{name}, at the end if the object has none yet."""
        wanted = _folded(name)
        places = [index for index, (key, _) in enumerate(self.items) if _folded(key) == wanted]
        self._replace(places or [len(self.items)], name, value)

    def remove_field(self, name: str) -> None:
        """Removes every spelling of the struct field C{name}."""
        wanted = _folded(name)
        self.items = [item for item in self.items if _folded(item[0]) != wanted]

    def entries(self) -> dict[str, JSONValue]:
        """The object as a map: keys are exact; of repeated ones the last counts, the others are removed."""
        mapping = dict(self.items)
        self.items = list(mapping.items())
        return mapping

    def _replace(self, places: list[int], name: str, value: JSONValue) -> None:
        dropped = set(places[1:])
        items = [item for index, item in enumerate(self.items) if index not in dropped]
        items[places[0] : places[0] + 1] = [(name, value)]
        self.items = items


JSONValue = None | bool | str | Number | Raw | list["JSONValue"] | JSONObject


_FOLDING = str.maketrans(
    ascii_lowercase + "\N{LATIN SMALL LETTER LONG S}\N{KELVIN SIGN}", ascii_uppercase + "SK"
)


def _folded(name: str) -> str:
    """C{name} as Go compares it with a field's name in ASCII: C{s} and C{k} have a third form each."""
    return name.translate(_FOLDING)


def _overwritten(earlier: JSONValue, later: JSONValue) -> JSONValue:
    """What is in a Go variable that C{earlier} and then C{later} were decoded into."""
    if later is None and isinstance(earlier, (bool, str, Number)):
        return earlier
    if isinstance(earlier, JSONObject) and isinstance(later, JSONObject):
        return JSONObject([*earlier.items, *later.items])
    if isinstance(earlier, list) and isinstance(later, list):
        reused = [
            old if new is None else _overwritten(old, new) for old, new in zip(earlier, later, strict=False)
        ]
        return [*reused, *later[len(reused) :]]
    return later


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _text(value: str) -> str:
    """A string as Go decodes it: half a surrogate pair is U+FFFD."""
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)


def _clean(value: JSONValue) -> JSONValue:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return [_clean(element) for element in value]
    return value


def _object(pairs: list[tuple[str, JSONValue]]) -> JSONObject:
    return JSONObject([(_text(key), _clean(value)) for key, value in pairs])


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON value")


_decoder = JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_no_constant
)


_DEPTH = 200
"""How deep a document may be nested; the deepest that Docker knows has about ten levels."""


def _checked(value: JSONValue) -> JSONValue:
    level = [value]
    for _ in range(_DEPTH):
        level = [
            child
            for each in level
            for child in (
                each
                if isinstance(each, list)
                else [member for _, member in each.items]
                if isinstance(each, JSONObject)
                else ()
            )
        ]
        if not level:
            return value
    raise ValueError(f"it is nested more than {_DEPTH} levels deep")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns what can go wrong while reading into a L{BadRequest}."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadRequest(reason=f"invalid JSON: byte {error.start} is not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(reason=f"invalid JSON: {error}") from error


def read(data: bytes) -> JSONValue:
    """
    @raise BadRequest: C{data} is no JSON document in UTF-8.
    """
    with _refusing():
        return _checked(_clean(_decoder.decode(data.decode("utf-8"))))


def read_object(data: bytes) -> JSONObject:
    """
    @raise BadRequest: C{data} is no JSON object.
    """
    document = read(data)
    if not isinstance(document, JSONObject):
        raise BadRequest(reason="invalid JSON: an object expected")
    return document


_BLANKS = frozenset(" \t\n\r")


class _Cursor:
    """
    Walks over one level of a document.

    @ivar index: the next character that is not blank.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.index = 0
        self.move(0)

    def move(self, index: int) -> None:
        """Goes on at C{index}, or after the blanks there."""
        while self.text[index : index + 1] in _BLANKS:
            index += 1
        self.index = index

    def accept(self, mark: str) -> bool:
        """Takes C{mark} if it is next."""
        found = self.text.startswith(mark, self.index)
        if found:
            self.move(self.index + len(mark))
        return found

    def expect(self, mark: str) -> None:
        """Takes C{mark}, which must be next."""
        if not self.accept(mark):
            raise ValueError(f"{mark!r} expected at character {self.index}")

    def expect_end(self) -> None:
        """Nothing may be left."""
        if self.index < len(self.text):
            raise ValueError(f"nothing expected at character {self.index}")

    def value(self) -> tuple[JSONValue, Raw]:
        """Takes a value."""
        start = self.index
        value, end = _decoder.raw_decode(self.text, start)
        self.move(end)
        return _checked(_clean(value)), Raw(self.text[start:end])


def split_array(data: bytes) -> list[tuple[JSONValue, Raw]]:
    """
    The elements of an array, each with the text that it was written in.

    @raise BadRequest: C{data} is no JSON array.
    """
    elements = []
    with _refusing():
        cursor = _Cursor(data.decode("utf-8"))
        cursor.expect("[")
        if not cursor.accept("]"):
            elements.append(cursor.value())
            while cursor.accept(","):
                elements.append(cursor.value())
            cursor.expect("]")
        cursor.expect_end()
    return elements


def split_object(data: bytes) -> list[tuple[str, Raw]]:
    """
    The members of an object, each with the text that its value was written in.

    @raise BadRequest: C{data} is no JSON object.
    """
    members = []
    with _refusing():
        cursor = _Cursor(data.decode("utf-8"))
        cursor.expect("{")
        if not cursor.accept("}"):
            members.append(_member(cursor))
            while cursor.accept(","):
                members.append(_member(cursor))
            cursor.expect("}")
        cursor.expect_end()
    return members


def _member(cursor: _Cursor) -> tuple[str, Raw]:
    key, _ = cursor.value()
    if not isinstance(key, str):
        raise ValueError(f"a member's name expected before character {cursor.index}")
    cursor.expect(":")
    return key, cursor.value()[1]


_CONTROL = re.compile('[\\x00-\\x1f"\\\\\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(value: str) -> str:
    """A string as Go writes it with C{SetEscapeHTML(false)}, which is what the daemon does."""
    escaped = _CONTROL.sub(lambda match: _SHORT.get(match[0], f"\\u{ord(match[0]):04x}"), value)
    return f'"{escaped}"'


def _written(value: JSONValue) -> Iterator[str]:
    if isinstance(value, JSONObject):
        yield "{"
        for index, (key, member) in enumerate(value.items):
            yield f"{',' if index else ''}{_quoted(key)}:"
            yield from _written(member)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, element in enumerate(value):
            if index:
                yield ","
            yield from _written(element)
        yield "]"
    elif isinstance(value, str):
        yield _quoted(value)
    elif isinstance(value, (Number, Raw)):
        yield value.text
    else:
        yield {None: "null", True: "true", False: "false"}[value]


def write(value: JSONValue) -> bytes:
    """@return: C{value} in Go's compact form, without the newline that the daemon puts at the end."""
    return "".join(_written(value)).encode("utf-8")
