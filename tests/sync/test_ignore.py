"""Which names are left alone, in tables."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.sync._ignore import IgnoreRules


def rules(*patterns: str, gitignore: bool = False, **files: str) -> IgnoreRules:
    """@return: the rules of a tree with these files; in the names a C{__} stands for the slash."""
    names = {name.replace("__", "/") + "ignore": text for name, text in files.items()}
    found = {
        name.replace("own", ".remotedocker").replace("git", ".git"): text for name, text in names.items()
    }
    return IgnoreRules(
        patterns, gitignore, lambda path: found[path.decode()].encode() if path.decode() in found else None
    )


class PatternTests(SynchronousTestCase):
    """The meaning of patterns is that of C{gitignore(5)}."""

    def test_table(self) -> None:
        """Anchors, directories, stars, negation: the last pattern that matches decides."""
        table = [
            (("*.log",), "a.log", True),
            (("*.log",), "sub/a.log", True),
            (("*.log",), "a.logs", False),
            (("/build",), "build", True),
            (("/build",), "sub/build", False),
            (("build/",), "build/", True),
            (("build/",), "build", False),
            (("build/",), "sub/build/", True),
            (("a/*/c",), "a/b/c", True),
            (("a/*/c",), "a/b/b/c", False),
            (("a/**/c",), "a/b/b/c", True),
            (("*.log", "!keep.log"), "keep.log", False),
            (("!keep.log", "*.log"), "keep.log", True),
            (("# build",), "# build", False),
            ((r"\#build",), "#build", True),
            ((r"\!important",), "!important", True),
            (("", "  "), "a", False),
            (("[ab].txt",), "b.txt", True),
            (("?.txt",), "bb.txt", False),
        ]
        for patterns, path, expected in table:
            name = path.rstrip("/").encode()
            ignored = rules(*patterns).ignored(name, path.endswith("/"))
            self.assertEqual(ignored, expected, f"{patterns} {path}")

    def test_any_byte(self) -> None:
        """Names that are not UTF-8 are compared too."""
        self.assertTrue(rules("*.log").ignored(b"\xff\xfe.log", False))
        self.assertFalse(rules("*.log").ignored(b"\xff\xfe", False))

    def test_invalid_patterns(self) -> None:
        """A line that means nothing matches nothing, and the others count as before."""
        for line in ("!", "\\", "a\\", "[z-a]", "/", "[", "!/"):
            found = rules("*.log", own=f"{line}\n*.tmp\n")
            self.assertTrue(found.ignored(b"a.log", False), line)
            self.assertTrue(found.ignored(b"a.tmp", False), line)
            self.assertFalse(found.ignored(b"a", False), line)

    def test_empty(self) -> None:
        """Without patterns nothing can be ignored, and nothing is compared."""
        self.assertTrue(rules().empty)
        self.assertTrue(rules("", own="\n \n").empty)
        self.assertFalse(rules("a").empty)
        self.assertFalse(rules(own="a").empty)
        self.assertFalse(rules(gitignore=True).empty)
        self.assertFalse(rules().hidden(b"a/b", False))
        self.assertFalse(rules().ignored(b"a", False))

    def test_order(self) -> None:
        """The tree's own file comes after the command line, and may take names back in."""
        found = rules("*.log", own="!keep.log\n")
        self.assertTrue(found.ignored(b"a.log", False))
        self.assertFalse(found.ignored(b"keep.log", False))


class HiddenTests(SynchronousTestCase):
    """L{IgnoreRules.hidden} looks at the directories above too."""

    def test_below_an_ignored_directory(self) -> None:
        """What is below an ignored directory is hidden, even if a pattern would take it back in."""
        found = rules("build/", "!build/keep")
        self.assertTrue(found.hidden(b"build", True))
        self.assertTrue(found.hidden(b"build/a", False))
        self.assertTrue(found.hidden(b"build/a/b", False))
        self.assertTrue(found.hidden(b"build/keep", False))
        self.assertFalse(found.hidden(b"src/build.c", False))

    def test_root(self) -> None:
        """The root is never hidden."""
        self.assertFalse(rules("*").hidden(b"", True))


class GitTests(SynchronousTestCase):
    """C{.gitignore} files, where they are wanted."""

    def test_not_wanted(self) -> None:
        """They mean nothing unless asked for."""
        self.assertFalse(rules(git="*.log").ignored(b"a.log", False))

    def test_nested(self) -> None:
        """The nearest file decides first, and its patterns are relative to it."""
        found = rules(gitignore=True, git="*.log\n/top\n", sub__git="!keep.log\n/only\n")
        table = [
            (b"a.log", True),
            (b"sub/a.log", True),
            (b"sub/keep.log", False),
            (b"sub/deep/keep.log", False),
            (b"top", True),
            (b"sub/top", False),
            (b"only", False),
            (b"sub/only", True),
            (b"sub/deep/only", False),
        ]
        for path, expected in table:
            self.assertEqual(found.ignored(path, False), expected, path)

    def test_own_rules_first(self) -> None:
        """What C{.remotedockerignore} says of a name, C{.gitignore} does not change."""
        found = rules(gitignore=True, own="!dist\n", git="dist\nother\n")
        self.assertFalse(found.ignored(b"dist", True))
        self.assertTrue(found.ignored(b"other", True))

    def test_invalid(self) -> None:
        """A line of a C{.gitignore} that means nothing does no harm."""
        self.assertTrue(rules(gitignore=True, git="!\n[z-a]\n*.log\n").ignored(b"a.log", False))

    def test_fingerprint(self) -> None:
        """Equal rules have equal fingerprints, others do not."""
        one, two, three = (rules("a", gitignore=True, git=text) for text in ("b", "b", "c"))
        for each in (one, two, three):
            each.ignored(b"x", False)
        self.assertEqual(one.fingerprint(), two.fingerprint())
        self.assertNotEqual(one.fingerprint(), three.fingerprint())
        self.assertNotEqual(rules("a").fingerprint(), rules("b").fingerprint())


class FileTests(SynchronousTestCase):
    """L{IgnoreRules.of_directory} reads real files."""

    def test_real(self) -> None:
        """Both kinds of file are found where they are; one that cannot be read counts as none."""
        root = Path(self.mktemp())
        (root / "sub").mkdir(parents=True)
        (root / ".remotedockerignore").write_bytes(b"*.log\r\n\xff\n")
        (root / "sub" / ".gitignore").write_text("*.tmp\n")
        (root / ".gitignore").mkdir()
        found = IgnoreRules.of_directory(bytes(root), ["*.o"], True)
        for path, expected in [
            (b"a.log", True),
            (b"\xff", True),
            (b"a.o", True),
            (b"sub/a.tmp", True),
            (b"a.tmp", False),
            (b"a.c", False),
        ]:
            self.assertEqual(found.hidden(path, False), expected, path)
