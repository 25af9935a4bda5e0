# -*- test-case-name: tests.docker.test_json -*-
"""
Tests for L{remotedocker.docker._json}.
"""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker._json import (
    JSONObject,
    JSONValue,
    Number,
    Raw,
    read,
    split_array,
    split_object,
    write,
)
from remotedocker.errors import BadRequest

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=10,
)


def obj(text: str) -> JSONObject:
    """The object that C{text} is."""
    value = read(text.encode())
    assert isinstance(value, JSONObject)
    return value


def compact(value: JSONValue) -> str:
    """C{value} as text."""
    return write(value).decode()


class ReadTests(SynchronousTestCase):
    """Reading and writing."""

    @given(_VALUES)
    def test_round_trip(self, value: Any) -> None:
        """Any document comes out with the same content and order as it went in."""
        text = json.dumps(value)
        again = write(read(text.encode()))
        self.assertEqual(json.loads(again, object_pairs_hook=list), json.loads(text, object_pairs_hook=list))

    @given(_VALUES)
    def test_stable(self, value: Any) -> None:
        """What was written here is written the same way again."""
        once = write(read(json.dumps(value).encode()))
        self.assertEqual(write(read(once)), once)

    def test_numbers(self) -> None:
        """Numbers keep the text that they were written in."""
        for text in ("0", "-0", "12345678901234567890123", "1e400", "1.10", "-1.5E-7", "9" * 5000):
            self.assertEqual(read(text.encode()), Number(text))
            self.assertEqual(write(Number(text)), text.encode())

    def test_repeated_members(self) -> None:
        """Repeated and unknown members stay where they are."""
        text = '{"b":1,"a":{"x":[]},"b":[2,null,true,false,{}],"":""}'
        self.assertEqual(compact(read(text.encode())), text)

    def test_spaces(self) -> None:
        """Blanks go, what is in strings stays."""
        self.assertEqual(compact(read(b' { "a b" : [ 1 , " " ] }\n')), '{"a b":[1," "]}')

    def test_half_a_surrogate_pair(self) -> None:
        """Half a surrogate pair becomes U+FFFD in names and values, as in Go; a whole pair is a character."""
        self.assertEqual(
            read(b'{"\\udc80":["/a\\ud800",["\\ud83d\\ude00"]]}'),
            JSONObject([("\ufffd", ["/a\ufffd", ["\U0001f600"]])]),
        )

    def test_refused(self) -> None:
        """What Go refuses, and bytes that are no UTF-8, are refused with a reason."""
        for data, reason in (
            (b"", "invalid JSON: Expecting value"),
            (b"{} {}", "invalid JSON: Extra data"),
            (b"NaN", "invalid JSON: NaN is no JSON value"),
            (b'{"a":-Infinity}', "invalid JSON: -Infinity is no JSON value"),
            (b'{"a":1,}', "invalid JSON: "),
            (b"{'a':1}", "invalid JSON: "),
            (b'{"a":01}', "invalid JSON: "),
            (b'{"a":"\n"}', "invalid JSON: Invalid control character"),
            (b'{"a":"\\x"}', "invalid JSON: Invalid \\escape"),
            (b"\xef\xbb\xbf{}", "invalid JSON: Expecting value"),
            (b'{"a":"\xff"}', "invalid JSON: byte 6 is not valid UTF-8"),
            (b'{"a":"\xed\xa0\x80"}', "invalid JSON: byte 6 is not valid UTF-8"),
            (b"{\x00}", "invalid JSON: "),
        ):
            error = self.assertRaises(BadRequest, read, data)
            self.assertIn(reason, error.message)

    def test_depth(self) -> None:
        """A document that is nested deeply is refused, however deep; one that is not too deep is written."""
        self.assertEqual(write(read(b"[" * 200 + b"]" * 200)), b"[" * 200 + b"]" * 200)
        for depth in (201, 900, 100_000):
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
                nested = opening * depth + b"1" + closing * depth
                self.assertRaises(BadRequest, read, nested)

    def test_escapes(self) -> None:
        """Strings are escaped as the daemon does it: control characters and line separators, no markup."""
        self.assertEqual(
            write('"\\/\b\f\n\r\t\x00\x7f<>&\u2028\u2029\xe9\U0001f600'),
            b'"\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u0000\x7f<>&\\u2028\\u2029\xc3\xa9\xf0\x9f\x98\x80"',
        )

    def test_raw(self) -> None:
        """A raw value is written as it is."""
        self.assertEqual(write([Raw('{ "a" : 1e2 }'), None]), b'[{ "a" : 1e2 },null]')


class FieldTests(SynchronousTestCase):
    """Members of structs, as Go finds them."""

    def test_spellings(self) -> None:
        """Case is nothing, nor are the Kelvin sign and the long s; a dotless i is another letter."""
        for key in ("Binds", "binds", "BINDS", "bIndS", "bind\u017f"):
            self.assertEqual(JSONObject([(key, "x")]).field("Binds"), "x", key)
        self.assertEqual(JSONObject([("Networ\u212aMode", "x")]).field("NetworkMode"), "x")
        for key in ("B\u0131nds", "Bind", "Binds ", "B\u0130nds", "bind\xdf"):
            self.assertIsNone(JSONObject([(key, "x")]).field("Binds"), key)

    def test_one_spelling_remains(self) -> None:
        """Reading a field leaves one member with its proper name, in the place of the first."""
        document = obj('{"x":0,"hostconfig":1,"y":2,"HostConfig":3,"HOSTCONFIG":4,"z":5}')
        self.assertEqual(document.field("HostConfig"), Number("4"))
        self.assertEqual(compact(document), '{"x":0,"HostConfig":4,"y":2,"z":5}')

    def test_missing(self) -> None:
        """A field that is not there is None, and reading it changes nothing."""
        document = obj('{"a":1,"a":2}')
        self.assertIsNone(document.field("b"))
        self.assertEqual(compact(document), '{"a":1,"a":2}')

    def test_overwriting(self) -> None:
        """Later values act on earlier ones as when Go decodes both into the same variable."""
        for values, result in (
            ('{"A":1}|{"B":2}', '{"A":1,"B":2}'),
            ('{"A":1}|null', "null"),
            ('{"A":1}|null|{"B":2}', '{"B":2}'),
            ("[1,2]|[3]", "[3]"),
            ("[1,2]|null", "null"),
            ("[1]|[null,2]", "[1,2]"),
            ('[{"S":1}]|[null]', '[{"S":1}]'),
            ('[{"S":1},{"T":2}]|[{"U":3}]', '[{"S":1,"U":3}]'),
            ("true|null", "true"),
            ('"a"|null', '"a"'),
            ("1|null|2", "2"),
            ('"a"|{}', "{}"),
            ("null|[]", "[]"),
        ):
            document = JSONObject([("f", read(each.encode())) for each in values.split("|")])
            document.field("F")
            self.assertEqual(compact(document), f'{{"F":{result}}}', values)

    def test_nested_spellings(self) -> None:
        """Members of objects that were merged are folded in turn."""
        document = obj('{"HostConfig":{"Binds":["/a:/b"]},"hostconfig":{"binds":["/c:/d"],"Memory":1}}')
        host = document.field("HostConfig")
        assert isinstance(host, JSONObject)
        self.assertEqual(host.field("Binds"), ["/c:/d"])
        self.assertEqual(compact(document), '{"HostConfig":{"Binds":["/c:/d"],"Memory":1}}')

    def test_set(self) -> None:
        """Setting replaces every spelling, or adds a member at the end."""
        document = obj('{"a":1,"x":2,"A":3}')
        document.set_field("A", "new")
        document.set_field("B", None)
        self.assertEqual(compact(document), '{"A":"new","x":2,"B":null}')

    def test_remove(self) -> None:
        """Removing takes every spelling."""
        document = obj('{"a":1,"x":2,"A":3}')
        document.remove_field("A")
        self.assertEqual(compact(document), '{"x":2}')

    def test_entries(self) -> None:
        """The keys of a map are exact, and the last of the same ones counts."""
        document = obj('{"a":1,"A":2,"a":3}')
        self.assertEqual(document.entries(), {"a": Number("3"), "A": Number("2")})
        self.assertEqual(compact(document), '{"a":3,"A":2}')


class SplitTests(SynchronousTestCase):
    """One level of a document, with the text of each part."""

    def test_array(self) -> None:
        """Elements come with their text."""
        self.assertEqual(
            split_array(b' [ {"a" : 1.0} , [ ], "x" ]\n'),
            [
                (JSONObject([("a", Number("1.0"))]), Raw('{"a" : 1.0}')),
                ([], Raw("[ ]")),
                ("x", Raw('"x"')),
            ],
        )
        self.assertEqual(split_array(b"[ ]"), [])

    def test_object(self) -> None:
        """Members come with their text."""
        self.assertEqual(
            split_object(b'{ "a" : { "b": 1 } ,"c":null}'), [("a", Raw('{ "b": 1 }')), ("c", Raw("null"))]
        )
        self.assertEqual(split_object(b"{}"), [])

    @given(st.lists(_VALUES, max_size=3))
    def test_any_array(self, values: list[Any]) -> None:
        """The texts of the elements are the elements."""
        parts = split_array(json.dumps(values).encode())
        self.assertEqual([json.loads(raw.text) for _, raw in parts], values)

    def test_refused(self) -> None:
        """What is no array or no object is refused."""
        for data in (b"", b"null", b"{}", b"[", b"[1", b"[1,]", b"[1 2]", b"[,]", b"\xff", b"[NaN]"):
            self.assertRaises(BadRequest, split_array, data)
        for data in (
            b"",
            b"null",
            b"[]",
            b"{",
            b'{"a"',
            b'{"a":',
            b'{"a":1',
            b'{"a":1,}',
            b"{1:2}",
            b"{a:1}",
        ):
            self.assertRaises(BadRequest, split_object, data)

    def test_nothing_may_follow(self) -> None:
        """What follows the end is refused."""
        self.assertRaises(BadRequest, split_array, b"[] x")
        self.assertRaises(BadRequest, split_object, b"{} x")

    def test_deep_element(self) -> None:
        """The limit of depth holds for each part."""
        self.assertRaises(BadRequest, split_array, b"[" * 300 + b"]" * 300)

    def test_no_float(self) -> None:
        """No number passes through a float."""
        self.assertFalse(math.isinf(float(split_array(b"[1e300]")[0][1].text)))
