# -*- test-case-name: tests.test_architecture -*-
"""
The shape of the source tree: who imports whom, and what every module has. Everything is read from the
sources with L{ast}; nothing is imported except to see that a façade keeps its promises.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "remotedocker"
TESTS = ROOT / "tests"

MAXIMUM_LINES = 450

LONGER: dict[str, str] = {}
"""Modules that may be longer than L{MAXIMUM_LINES}, and why."""

COMMON = {"interfaces", "errors", "state"}
"""Modules that every package except C{http} and C{docker} may import."""

MAY_IMPORT: dict[str, set[str]] = {
    "http": set(),
    "docker": {"errors"},
    "streams": COMMON,
    "ssh": COMMON | {"docker", "streams"},
    "daemon": COMMON | {"docker", "http", "streams"},
    "proxy": COMMON | {"docker", "http", "streams"},
    "forwards": COMMON | {"docker", "streams"},
    "sync": COMMON | {"docker"},
}
"""Each package, and what of C{remotedocker} it may import."""

NO_TWISTED = [
    "http",
    "docker",
    "proxy._asked",
    "proxy._commands",
    "proxy._exchange",
    "proxy._rewriters",
    "forwards._plan",
    "sync._agreement",
    "sync._ignore",
    "sync._listing",
    "sync._operations",
    "sync._placement",
    "sync._reconcile",
    "sync._renames",
    "sync._scan",
    "sync._script",
    "sync._shellwords",
    "sync._tar",
    "sync._tree",
]
"""Packages and modules that are pure: values in, values out."""

ONLY_VALUES_OF_DOCKER = {"ssh", "forwards", "sync"}
"""Packages that may import C{docker}'s value types (C{docker._model}) and nothing else of it."""

ONLY_IN = {"twisted.conch": "ssh", "watchdog": "sync"}
"""Libraries that one package hides from all others."""

TOP_LEVEL = {
    "__init__",
    "_known",
    "_upkeep",
    "_values",
    "containers",
    "errors",
    "interfaces",
    "options",
    "service",
    "state",
    "swarm",
    "tap",
    "volumes",
}
"""The modules beside the packages."""


@frozen
class Import:
    """
    One imported name.

    @ivar module: absolute name of the module that is imported, or imported from.
    @ivar name: what is imported from it; C{""} for C{import module}.
    @ivar line: where.
    """

    module: str
    name: str
    line: int

    @property
    def full(self) -> str:
        """The dotted name of what is imported."""
        return f"{self.module}.{self.name}" if self.name else self.module

    def within(self, package: str) -> bool:
        """Whether this imports C{package}, or something inside it."""
        return (self.full + ".").startswith(package + ".")


@frozen(eq=False)
class Module:
    """
    One source file.

    @ivar name: its dotted name below C{remotedocker}; a package's C{__init__} has the package's name.
    """

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package it belongs to, C{""} for a module beside the packages."""
        relative = self.path.relative_to(SOURCES)
        return relative.parts[0] if len(relative.parts) > 1 else ""

    @property
    def is_facade(self) -> bool:
        """Whether this is an C{__init__}."""
        return self.path.name == "__init__.py"

    def imports(self) -> Sequence[Import]:
        """Every import, at whatever depth."""
        return _imports(self)


@cache
def _imports(module: Module) -> Sequence[Import]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}:{node.lineno} imports relatively"
            found += [Import(node.module or "", alias.name, node.lineno) for alias in node.names]
    return found


@cache
def read(path: Path, base: Path) -> Module:
    """Parses one file below C{base}, once."""
    parts = list(path.relative_to(base).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    text = path.read_text("utf-8")
    return Module(".".join(parts), path, text, ast.parse(text))


def source_modules() -> list[Module]:
    """The package's own modules."""
    return [read(path, SOURCES) for path in sorted(SOURCES.rglob("*.py"))]


def modules_of_tests() -> list[Module]:
    """All modules under C{tests/}."""
    return [read(path, TESTS) for path in sorted(TESTS.rglob("*.py"))]


def model_names() -> set[str]:
    """C{docker._model.__all__}: the value types."""
    return set(exported(read(SOURCES / "docker" / "_model.py", SOURCES)) or ())


def exported(module: Module) -> list[str] | None:
    """The literal C{__all__} of a module, None if it has none."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            value = ast.literal_eval(node.value)
            assert isinstance(value, list)
            return value
    return None


class ImportTests(SynchronousTestCase):
    """Arrows between packages point one way."""

    def setUp(self) -> None:
        """Reads all sources once for each test."""
        self.modules = source_modules()

    def offences(self, found: Iterator[str]) -> None:
        """Fails with every offence in one list."""
        self.assertEqual(sorted(found), [])

    def test_every_package_is_in_the_table(self) -> None:
        """No package is without rules, and no rule is without its package."""
        packages = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
        self.assertEqual(packages, set(MAY_IMPORT))

    def test_top_level(self) -> None:
        """Beside the packages stand only the modules that belong there."""
        self.assertEqual({path.stem for path in SOURCES.glob("*.py")}, TOP_LEVEL)

    def test_packages_import_only_what_they_may(self) -> None:
        """A package imports only the siblings that the table gives it; never C{service} or C{tap}."""

        def found() -> Iterator[str]:
            for module in self.modules:
                if not module.package:
                    continue
                allowed = MAY_IMPORT[module.package] | {module.package}
                for imported in module.imports():
                    if not imported.within("remotedocker"):
                        continue
                    if imported.full == "remotedocker.__version__":
                        continue
                    sibling = (imported.full.split(".") + [""])[1]
                    if sibling not in allowed:
                        yield f"{module.name}:{imported.line} imports {imported.full}"

        self.offences(found())

    def test_private_modules_stay_private(self) -> None:
        """A module whose name begins with an underscore is imported inside its own package only."""

        def found() -> Iterator[str]:
            for module in self.modules:
                for imported in module.imports():
                    parts = imported.full.split(".")
                    private = len(parts) > 2 and parts[0] == "remotedocker" and parts[2].startswith("_")
                    if private and parts[1] != module.package:
                        yield f"{module.name}:{imported.line} imports {imported.full}"

        self.offences(found())

    def test_only_the_value_types_of_docker(self) -> None:
        """C{ssh}, C{forwards} and C{sync} know Docker's nouns, not its routes and bodies."""
        values = model_names()

        def found() -> Iterator[str]:
            for module in self.modules:
                if module.package in ONLY_VALUES_OF_DOCKER:
                    for imported in module.imports():
                        if imported.within("remotedocker.docker") and imported.name not in values:
                            yield f"{module.name}:{imported.line} imports {imported.full}"

        self.offences(found())

    def test_pure_modules_import_no_twisted(self) -> None:
        """What is pure imports neither Twisted nor zope.interface."""

        def found() -> Iterator[str]:
            for module in self.modules:
                if any((module.name + ".").startswith(pure + ".") for pure in NO_TWISTED):
                    for imported in module.imports():
                        if imported.within("twisted") or imported.within("zope"):
                            yield f"{module.name}:{imported.line} imports {imported.full}"

        self.offences(found())

    def test_pure_modules_exist(self) -> None:
        """The modules that are named as pure are there, so that a renamed one does not slip away."""
        names = {module.name for module in self.modules}
        self.assertEqual(sorted(set(NO_TWISTED) - names), [])

    def test_hidden_libraries(self) -> None:
        """Only C{ssh} imports Conch, only C{sync} watchdog."""

        def found() -> Iterator[str]:
            for module in self.modules:
                for imported in module.imports():
                    for library, package in ONLY_IN.items():
                        if imported.within(library) and module.package != package:
                            yield f"{module.name}:{imported.line} imports {imported.full}"

        self.offences(found())

    def test_reactor(self) -> None:
        """The reactor is named in C{tap}, nowhere else."""

        def found() -> Iterator[str]:
            for module in self.modules:
                for imported in module.imports():
                    if imported.full == "twisted.internet.reactor" and module.name != "tap":
                        yield f"{module.name}:{imported.line}"

        self.offences(found())

    def test_test_libraries(self) -> None:
        """Nothing that only tests need is imported by the package."""

        def found() -> Iterator[str]:
            for module in self.modules:
                for imported in module.imports():
                    if any(imported.within(name) for name in ("h11", "hypothesis", "tests", "twisted.trial")):
                        yield f"{module.name}:{imported.line} imports {imported.full}"

        self.offences(found())


class ModuleTests(SynchronousTestCase):
    """What every module has."""

    def setUp(self) -> None:
        """Reads all sources once for each test."""
        self.modules = source_modules()

    def test_header(self) -> None:
        """Each module names its tests, says its purpose and lists what it exports."""
        lacking = []
        for module in self.modules:
            if not module.is_facade:
                if not module.text.startswith("# -*- test-case-name: "):
                    lacking.append(f"{module.name}: test-case-name")
                if "from __future__ import annotations\n" not in module.text:
                    lacking.append(f"{module.name}: from __future__ import annotations")
            if not ast.get_docstring(module.tree):
                lacking.append(f"{module.name}: docstring")
            if exported(module) is None:
                lacking.append(f"{module.name}: __all__")
        self.assertEqual(lacking, [])

    def test_named_tests_exist(self) -> None:
        """The test module that a first line names is there."""
        missing = []
        for path in [*SOURCES.rglob("*.py"), *(ROOT / "twisted").rglob("*.py")]:
            first = path.read_text("utf-8").partition("\n")[0]
            match = re.fullmatch(r"# -\*- test-case-name: (\S+) -\*-", first)
            for name in match[1].split(",") if match else ():
                place = ROOT.joinpath(*name.split("."))
                if not (place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()):
                    missing.append(f"{path.relative_to(ROOT)} names {name}")
        self.assertEqual(missing, [])

    def test_length(self) -> None:
        """No module is longer than a reader can hold, but for the named ones."""
        long = {
            module.name: lines
            for module in self.modules
            if (lines := module.text.count("\n")) > MAXIMUM_LINES and module.name not in LONGER
        }
        self.assertEqual(long, {})

    def test_no_needless_exception(self) -> None:
        """An exception to the length is dropped when it is no longer needed."""
        lengths = {module.name: module.text.count("\n") for module in self.modules}
        self.assertEqual([name for name in LONGER if lengths.get(name, 0) <= MAXIMUM_LINES], [])

    def test_facades(self) -> None:
        """A package's C{__init__} only re-exports: a docstring, imports and C{__all__}."""
        offending = []
        for module in self.modules:
            if module.is_facade and module.package:
                for number, node in enumerate(module.tree.body):
                    docstring = number == 0 and isinstance(node, ast.Expr)
                    names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
                    if not (docstring or names or isinstance(node, ast.ImportFrom)):
                        offending.append(f"{module.name}:{node.lineno}")
        self.assertEqual(offending, [])

    def test_exports(self) -> None:
        """Every name in C{__all__} of a façade is there, and nothing that is imported is left out."""
        for module in self.modules:
            if module.is_facade and module.package:
                names = exported(module) or []
                package = import_module(f"remotedocker.{module.name}")
                self.assertEqual([name for name in names if not hasattr(package, name)], [], module.name)
                imported = {item.name for item in module.imports() if item.module != "__future__"}
                self.assertEqual(imported, set(names), module.name)

    def test_plugin_directory(self) -> None:
        """The plugin stands alone: with an C{__init__} it would overwrite Twisted's own."""
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("*.py"))
        self.assertEqual(files, ["twisted/plugins/remotedocker_plugin.py"])


class TestModuleTests(SynchronousTestCase):
    """What every test has."""

    def test_docstrings(self) -> None:
        """Each test says in a sentence what it shows."""
        silent = []
        for module in modules_of_tests():
            for node in ast.walk(module.tree):
                if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    continue
                if node.name.startswith("test_") and not ast.get_docstring(node):
                    silent.append(f"{module.name}:{node.lineno} {node.name}")
        self.assertEqual(silent, [])

    def test_no_sleep(self) -> None:
        """Tests wait for conditions: none sleeps. (What sets a remote up may, between two looks.)"""
        found = [
            f"{module.name}:{node.lineno}"
            for module in modules_of_tests()
            if module.path.name.startswith("test_") or not module.name.startswith("integration.")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
        ]
        self.assertEqual(found, [])

    def test_every_test_module_is_found(self) -> None:
        """A directory with tests is a package, or trial would pass it by."""
        missing = [
            str(directory.relative_to(ROOT))
            for directory in {path.parent for path in TESTS.rglob("test_*.py")}
            if not (directory / "__init__.py").is_file()
        ]
        self.assertEqual(missing, [])
