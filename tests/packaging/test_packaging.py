# -*- test-case-name: tests.packaging.test_packaging -*-
"""
The wheel and the sdist, each in an empty environment. A plugin of Twisted gets lost in a wheel easily, and an
C{__init__.py} in the wrong place takes Twisted's own plugins away.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from email.parser import Parser
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from twisted.python import reflect
from twisted.trial.unittest import SynchronousTestCase

from remotedocker import __version__
from remotedocker.options import Options
from tests.packaging.support import ROOT, Built, Environment, built, installed

__all__ = ["InstalledCase", "InstalledSdistTests", "InstalledWheelTests", "SdistTests", "WheelTests"]

PLUGIN = "twisted/plugins/remotedocker_plugin.py"


def sources() -> set[str]:
    """The package's modules, as paths from the root."""
    root = built().sources
    return {str(path.relative_to(root)) for path in (root / "remotedocker").rglob("*.py")}


class WheelTests(SynchronousTestCase):
    """What is in the wheel."""

    def setUp(self) -> None:
        """Builds it, once for all tests."""
        with ZipFile(built().wheel) as wheel:
            self.names = set(wheel.namelist())
            [metadata] = [name for name in self.names if name.endswith(".dist-info/METADATA")]
            self.metadata = Parser().parsestr(wheel.read(metadata).decode("utf-8"))

    def test_modules(self) -> None:
        """Every module is there, the plugin too, and no other Python file."""
        expected = sources() | {PLUGIN}
        self.assertEqual({name for name in self.names if name.endswith(".py")}, expected)

    def test_types(self) -> None:
        """Type checkers are told that the package has annotations (PEP 561)."""
        self.assertIn("remotedocker/py.typed", self.names)

    def test_licence(self) -> None:
        """The licence is there."""
        self.assertTrue([name for name in self.names if name.endswith("/LICENSE")])

    def test_metadata(self) -> None:
        """Name, version, Pythons and description are as declared."""
        self.assertEqual(self.metadata["Name"], "remotedocker")
        self.assertEqual(self.metadata["Version"], __version__)
        self.assertEqual(self.metadata["Requires-Python"], ">=3.10")
        self.assertIn("twistd -n remotedocker --ssh", str(self.metadata.get_payload()))

    def test_tests_need_nothing_of_users(self) -> None:
        """What only tests need is asked of nobody else."""
        required = [line for line in self.metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
        self.assertEqual([line for line in required if line.startswith(("h11", "hypothesis"))], [])
        self.assertTrue([line for line in required if line.lower().startswith("twisted[conch]")])


class SdistTests(SynchronousTestCase):
    """What is in the sdist."""

    def setUp(self) -> None:
        """Builds it, once for all tests."""
        with tarfile.open(built().sdist) as sdist:
            self.names = {name.partition("/")[2] for name in sdist.getnames()}

    def test_sources_and_tests(self) -> None:
        """The package, its tests and its documents are there."""
        here = sources() | {PLUGIN}
        root = built().sources
        for directory, pattern in (("tests", "*.py"), ("docs", "*.*")):
            here |= {str(path.relative_to(root)) for path in (root / directory).rglob(pattern)}
        self.assertEqual(here - self.names, set())

    def test_top(self) -> None:
        """So is what a reader looks for first, and what runs the tests."""
        top = {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "tox.ini", "setup.cfg", "pyproject.toml"}
        self.assertEqual(top - self.names, set())

    def test_no_waste(self) -> None:
        """Nothing compiled or cached is there."""
        waste = [
            name for name in self.names if name.endswith((".pyc", "dropin.cache")) or "__pycache__" in name
        ]
        self.assertEqual(waste, [])


class InstalledCase(SynchronousTestCase):
    """
    What must work once it is installed.

    @ivar environment: where it is.
    """

    environment: Environment

    def check_listed(self) -> None:
        """C{twistd --help} lists the subcommand, beside Twisted's own."""
        listed = self.environment.run("twistd", "--help").splitlines()
        commands = {words[0] for words in (line.split() for line in listed) if words}
        self.assertIn("remotedocker", commands)
        self.assertLessEqual({"conch", "web", "portforward"}, commands)

    def check_options(self) -> None:
        """C{twistd remotedocker --help} prints every option."""
        printed = self.environment.run("twistd", "remotedocker", "--help")
        defined = reflect.prefixedMethodNames(Options, "opt_")
        names = {name.replace("_", "-") for name in defined if len(name) > 1}
        tables: list[Any] = [Options.optParameters, Options.optFlags]
        names |= {row[0] for table in tables for row in table}
        self.assertEqual({name for name in names if f"--{name}" not in printed}, set())

    def check_imports(self) -> None:
        """Every package can be imported with what the distribution declares, and comes from there."""
        packages = sorted({".".join(Path(name).parent.parts) for name in sources()})
        lines = [f"import {package}" for package in packages]
        where = self.environment.run(
            "python", "-c", "; ".join([*lines, "import remotedocker.tap", "print(remotedocker.__file__)"])
        )
        self.assertIn(str(self.environment.path), where)

    def check_requirements(self) -> None:
        """pip finds nothing that contradicts."""
        self.assertIn("No broken requirements found", self.environment.pip("check"))


def make_installed_tests(distribution: Callable[[Built], Path]) -> type[SynchronousTestCase]:
    """
    @param distribution: which of the two is installed.
    @return: what must work once it is.
    """

    class InstalledTests(InstalledCase):
        def setUp(self) -> None:
            """Installs it, once for all tests."""
            self.environment = installed(distribution(built()))

        def test_twistd_lists_it(self) -> None:
            """C{twistd --help} lists the subcommand, beside Twisted's own."""
            self.check_listed()

        def test_twistd_prints_the_options(self) -> None:
            """C{twistd remotedocker --help} prints every option."""
            self.check_options()

        def test_twistd_asks_for_the_host(self) -> None:
            """Without C{--ssh}, one is told what to give."""
            error = self.assertRaises(
                AssertionError, self.environment.run, "twistd", "-n", "remotedocker", "--sync", "off"
            )
            self.assertIn("--ssh is required", str(error))
            self.assertNotIn("Traceback", str(error))

        def test_address_for_all(self) -> None:
            """An address that others could reach is refused in a sentence, not by a traceback."""
            arguments = ["-n", "--pidfile=", "remotedocker", "--ssh", "root@host", "--listen", "0.0.0.0:0"]
            error = self.assertRaises(AssertionError, self.environment.run, "twistd", *arguments)
            self.assertIn("--allow-remote-clients", str(error))
            self.assertNotIn("Traceback", str(error))

        def test_everything_imports(self) -> None:
            """Every package can be imported with what the distribution declares, and comes from there."""
            self.check_imports()

        def test_no_missing_dependency(self) -> None:
            """pip finds nothing that contradicts."""
            self.check_requirements()

        def test_removal_leaves_twisted_whole(self) -> None:
            """Removed, it takes nothing of Twisted's with it; put back, it is listed again."""
            chosen = str(distribution(built()))
            self.environment.pip("uninstall", "--quiet", "--yes", "remotedocker")
            try:
                without = self.environment.run("twistd", "--help")
                self.assertNotIn("remotedocker", without)
                self.assertIn("conch", without)
            finally:
                self.environment.install(chosen)
            self.assertIn("remotedocker", self.environment.run("twistd", "--help"))

    return InstalledTests


class InstalledWheelTests(make_installed_tests(lambda made: made.wheel)):  # type: ignore[misc]
    """The wheel, installed."""


class InstalledSdistTests(make_installed_tests(lambda made: made.sdist)):  # type: ignore[misc]
    """The sdist, installed."""


class DeclarationTests(SynchronousTestCase):
    """What C{setup.cfg} says by hand."""

    def test_version_is_imported_alone(self) -> None:
        """The version is read from a module that imports nothing."""
        self.assertEqual(import_module("remotedocker").__version__, __version__)
        self.assertNotIn("import", (ROOT / "remotedocker" / "__init__.py").read_text("utf-8"))
