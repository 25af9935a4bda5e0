# -*- test-case-name: tests.test_docs -*-
"""
The documents keep up with the code: links lead somewhere, every option, endpoint and error is described, and
every command line is one that can be typed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.python import reflect
from twisted.trial.unittest import SynchronousTestCase

from remotedocker import __version__, errors
from remotedocker.docker import Endpoint
from remotedocker.options import Options
from remotedocker.sync._placement import REMOTE_PREFIXES

__all__ = ["CommandTests", "CoverageTests", "LinkTests"]

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


@frozen
class Page:
    """
    A document.

    @ivar text: all of it.
    @ivar prose: without fenced blocks.
    """

    path: Path
    text: str
    prose: str

    @property
    def anchors(self) -> set[str]:
        """What links can lead to within the page, made from its headings as GitHub makes it."""
        headings = (heading.strip().lower() for heading in _HEADING.findall(self.prose))
        return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}

    def code_lines(self) -> Iterator[str]:
        """Lines of indented and fenced blocks, without their indentation."""
        fenced = "\n".join(_FENCE.findall(self.text)).splitlines()
        indented = [line for line in self.prose.splitlines() if line.startswith("    ")]
        for line in (*fenced, *indented):
            yield line.strip()


def page(path: Path) -> Page:
    """Reads a document."""
    text = path.read_text("utf-8")
    return Page(path, text, _FENCE.sub("", text))


def pages() -> list[Page]:
    """All documents."""
    return [page(path) for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]]


def option_rows() -> list[Any]:
    """The options: each row begins with the name, the one-letter name and, for a value, the default."""
    return [*Options.optParameters, *(row[:2] + [None] for row in Options.optFlags)]


def option_names() -> dict[str, str]:
    """The long names of all options, each to its one-letter name or C{""}."""
    names = {row[0]: row[1] or "" for row in option_rows()}
    methods = {name: getattr(Options, f"opt_{name}") for name in reflect.prefixedMethodNames(Options, "opt_")}
    for name, method in methods.items():
        if len(name) > 1 and method.__module__ == Options.__module__:
            short = [other for other in methods if len(other) == 1 and methods[other] is method]
            names[name.replace("_", "-")] = "".join(short)
    return names


class LinkTests(SynchronousTestCase):
    """Links between documents."""

    def test_links(self) -> None:
        """Every relative link leads to a file that is there, and to a heading in it."""
        broken = []
        for source in pages():
            for target in _LINK.findall(source.prose):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                path = (source.path.parent / name).resolve() if name else source.path
                if not path.exists() or (anchor and anchor not in page(path).anchors):
                    broken.append(f"{source.path.relative_to(ROOT)}: {target}")
        self.assertEqual(broken, [])

    def test_every_page_is_listed(self) -> None:
        """The index leads to every page and every example."""
        index = page(DOCS / "index.md")
        listed = {(DOCS / target.partition("#")[0]).resolve() for target in _LINK.findall(index.prose)}
        there = {path.resolve() for path in DOCS.rglob("*") if path.is_file()} - {index.path.resolve()}
        self.assertEqual(there - listed, set())


class CoverageTests(SynchronousTestCase):
    """What the documents must speak of."""

    def test_options(self) -> None:
        """Each option has a row in the reference, with its one-letter name, and one in the README."""
        rows = [line for line in page(DOCS / "options.md").text.splitlines() if line.startswith("| `")]
        documented: dict[str, str] = {}
        for row in rows:
            cell = row.split("|")[1]
            [long] = re.findall(r"`--([a-z-]+)", cell) or re.findall(r" --([a-z-]+)", cell)
            documented[long] = "".join(re.findall(r"`-([a-zA-Z])`", cell))
        self.assertEqual(documented, option_names())
        readme = page(ROOT / "README.md").text
        missing = [
            name for name in option_names() if not re.search(rf"^\|.*--{name}\b", readme, re.MULTILINE)
        ]
        self.assertEqual(missing, [])

    def test_defaults(self) -> None:
        """A default that stands in the code stands in the reference."""
        text = page(DOCS / "options.md").text
        for row in option_rows():
            if row[2] is not None:
                self.assertRegex(text, rf"(?m)^\|[^|]*`--{row[0]} [^|]*\|.*\| `{re.escape(str(row[2]))}` \|$")

    def test_errors(self) -> None:
        """Troubleshooting has the sentence of every error."""
        text = page(DOCS / "troubleshooting.md").text
        blocks = {line.strip() for line in text.splitlines() if line.startswith("    ")}
        sentences = {
            name: re.sub(r"\{\w+(![cq])?\}", "…", " ".join((getattr(errors, name).__doc__ or "").split()))
            for name in errors.__all__
            if isinstance(getattr(errors, name), type)
        }
        self.assertEqual({name: text for name, text in sentences.items() if text not in blocks}, {})

    def test_endpoints(self) -> None:
        """The API's table has a row for every endpoint about which something is done."""
        text = re.sub(r"\{[a-z]+\}", "{}", page(DOCS / "api.md").text)
        missing = []
        for endpoint in Endpoint:
            methods, path = endpoint.value[0], re.sub(r"\{[a-z]+\}", "{}", endpoint.value[1])
            for method in methods.split(",") if endpoint is not Endpoint.OTHER else ():
                if f"`{method} {path}`" not in text:
                    missing.append(f"{method} {path}")
        self.assertEqual(missing, [])

    def test_prefixes(self) -> None:
        """The page about files names every prefix that is the remote's own, and no other."""
        _, _, rest = page(DOCS / "files.md").text.partition("### What is the remote's own")
        named = set(re.findall(r"`(/[^`]+)`", rest.partition(": these describe")[0]))
        self.assertEqual(named, set(REMOTE_PREFIXES))

    def test_packages(self) -> None:
        """The architecture's tree names every package and module at the top."""
        text = page(DOCS / "architecture.md").text
        names = {f"{path.parent.name}/" for path in ROOT.glob("remotedocker/*/__init__.py")}
        names |= {path.name for path in ROOT.glob("remotedocker/[a-z]*.py")}
        self.assertEqual({name for name in names if name not in text}, set())

    def test_environments(self) -> None:
        """The development page names every environment of tox."""
        tox = RawConfigParser()
        tox.read(ROOT / "tox.ini")
        names = tox["tox"]["env_list"].replace(",", " ").split()
        text = page(DOCS / "development.md").text
        for name in names:
            if not re.fullmatch(r"py3\d+", name):
                self.assertIn(f"| `{name}` |", text)

    def test_changelog(self) -> None:
        """The version is in the changelog, or what it will be is."""
        text = page(ROOT / "CHANGELOG.md").text
        self.assertRegex(text, rf"(?m)^## \[({re.escape(__version__)}|Unreleased)\]")


class CommandTests(SynchronousTestCase):
    """Commands in documents and examples."""

    def command_lines(self) -> Iterator[tuple[Path, str]]:
        """Every line that starts the agent, and where it stands."""
        for each in pages():
            for line in each.code_lines():
                if re.match(r"(\S*/)?twistd .*\bremotedocker\b", line):
                    yield each.path, line
        for path in sorted((DOCS / "examples").iterdir()):
            for line in path.read_text("utf-8").splitlines():
                match = re.match(r"(?:command|ExecStart)=(.*twistd .*)", line)
                if match:
                    yield path, match[1]

    def test_options_parse(self) -> None:
        """Each is taken by the parser of options."""
        self.patch(os, "environ", {**os.environ, "XDG_RUNTIME_DIR": "/run/user/1000"})
        seen = []
        for path, line in self.command_lines():
            words = shlex.split(line.replace("[options]", "").replace(" DEST", " root@host"))
            arguments = words[words.index("remotedocker") + 1 :]
            if arguments == ["--help"]:
                continue
            Options().parseOptions(arguments)
            seen.append(path.name)
        self.assertLessEqual(
            {"README.md", "options.md", "tutorial.md", "supervisord.conf", "remotedocker.service"}, set(seen)
        )

    def test_make_targets(self) -> None:
        """Every target of make that a document names is there."""
        makefile = (ROOT / "Makefile").read_text("utf-8")
        named = {
            match[1]
            for each in pages()
            for line in each.code_lines()
            if (match := re.match(r"make ([a-z]+)", line))
        }
        self.assertEqual(
            {name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)}, set()
        )
        self.assertLessEqual({"demo", "test", "lint", "clean"}, named)
