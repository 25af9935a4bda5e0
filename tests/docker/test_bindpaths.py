# -*- test-case-name: tests.docker.test_bindpaths -*-
"""
Tests for L{remotedocker.docker._bindpaths}.
"""

from __future__ import annotations

import ntpath
import posixpath

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import is_absolute_source, to_laptop_path
from remotedocker.docker._bindpaths import bind_parts

_PATHS: tuple[tuple[str, bool, str | None, str | None], ...] = (
    ("/", True, "/", None),
    ("/srv/a", True, "/srv/a", None),
    ("//srv//a/", True, "/srv/a", None),
    ("/srv/./a/../b", True, "/srv/b", None),
    ("/..", True, "/", None),
    ("/a,b c", True, "/a,b c", None),
    ("/c", True, "/c", "C:\\"),
    ("/c/", True, "/c", "C:\\"),
    ("/c/src", True, "/c/src", "C:\\src"),
    ("//c/src", True, "/c/src", "C:\\src"),
    ("//c", True, "/c", "C:\\"),
    ("/C/Src/../x", True, "/C/x", "C:\\x"),
    ("/cc/src", True, "/cc/src", None),
    ("//server/share", True, "/server/share", None),
    ("///c/src", True, "/c/src", None),
    ("C:\\src\\a", True, None, "C:\\src\\a"),
    ("c:\\src", True, None, "C:\\src"),
    ("C:/src/a/", True, None, "C:\\src\\a"),
    ("C:\\", True, None, "C:\\"),
    ("C:\\a/..\\..\\b", True, None, "C:\\b"),
    ("C:src", False, None, None),
    ("C:", False, None, None),
    ("CC:\\src", False, None, None),
    ("1:\\src", False, None, None),
    ("\\\\server\\share", False, None, None),
    ("\\src", False, None, None),
    ("name", False, None, None),
    ("rel/path", False, None, None),
    ("./rel", False, None, None),
    ("~/rel", False, None, None),
    ("", False, None, None),
    ("\xe9:\\x", False, None, None),
)
"""A source, whether it names a host path, and the path that it means on a POSIX and on a Windows laptop."""


class BindPathTests(SynchronousTestCase):
    """Host paths as clients write them."""

    def test_absolute(self) -> None:
        """A path from the root, of a drive or not, is no volume's name."""
        for source, absolute, _, _ in _PATHS:
            self.assertEqual(is_absolute_source(source), absolute, source)

    def test_laptop_path(self) -> None:
        """Either flavour is told what it means, or that it means nothing there."""
        for source, _, posix, windows in _PATHS:
            self.assertEqual(to_laptop_path(source), posix, source)
            self.assertEqual(to_laptop_path(source, posixpath), posix, source)
            self.assertEqual(to_laptop_path(source, ntpath), windows, source)

    def test_parts(self) -> None:
        """Colons separate, except that of a drive."""
        for bind, parts in (
            ("/a:/b", ("/a", "/b")),
            ("/a:/b:ro", ("/a", "/b", "ro")),
            ("/a:b:/c:ro", ("/a", "b", "/c", "ro")),
            ("v", ("v",)),
            (":/x", ("", "/x")),
            ("C:\\a:/b:ro", ("C:\\a", "/b", "ro")),
            ("c:/a:/b", ("c:/a", "/b")),
            ("C:/x", ("C:/x",)),
            ("C:x:/y", ("C", "x", "/y")),
            ("ab:/x", ("ab", "/x")),
        ):
            self.assertEqual(bind_parts(bind), parts, bind)
