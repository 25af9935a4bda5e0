# -*- test-case-name: tests.packaging.test_pythons -*-
"""
Both distributions on every Python that is supported, with the newest Twisted and with the oldest.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SkipTest

from tests.packaging.support import built, installed, oldest_dependencies, python
from tests.packaging.test_packaging import InstalledCase

__all__ = ["OldestTests"]

OLDEST, NEWEST = (3, 10), (3, 13)


class _PythonCase(InstalledCase):
    """
    @cvar version: the Python.
    @cvar oldest: whether all dependencies are the oldest ones.
    """

    version = f"{OLDEST[0]}.{OLDEST[1]}"
    oldest = False

    def setUp(self) -> None:
        """
        Makes an environment of this Python, once for both tests.

        @raise SkipTest: there is no such Python, and none is required.
        """
        try:
            interpreter = python(self.version)
        except LookupError as error:
            if os.environ.get("REMOTEDOCKER_INTEGRATION") == "require":
                raise
            raise SkipTest(str(error)) from None
        self.environment = installed(built().wheel, interpreter, self.oldest)

    def check(self) -> None:
        """It is listed, has its options and all that it imports."""
        self.check_listed()
        self.check_options()
        self.check_imports()
        self.check_requirements()
        self.assertIn(f"Python {self.version}.", self.environment.run("python", "--version"))

    def _test_wheel(self) -> None:
        """The wheel works."""
        self.environment.install("--force-reinstall", "--no-deps", str(built().wheel))
        self.check()

    def _test_sdist(self) -> None:
        """So does the sdist."""
        self.environment.install("--force-reinstall", "--no-deps", str(built().sdist))
        self.check()


class OldestTests(_PythonCase):
    """The oldest Python with the oldest dependencies that C{setup.cfg} allows."""

    oldest = True

    test_wheel = _PythonCase._test_wheel
    test_sdist = _PythonCase._test_sdist

    def test_versions(self) -> None:
        """They are there."""
        frozen = self.environment.pip("freeze").lower().splitlines()
        tests_only = ("h11", "hypothesis")
        wanted = [line.lower().replace("[conch]", "") for line in oldest_dependencies()]
        self.assertEqual(
            {line for line in wanted if not line.startswith(tests_only)} - set(frozen), set(), frozen
        )


def _define() -> None:
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        name = f"Python3{minor}Tests"
        globals()[name] = type(
            name,
            (_PythonCase,),
            {
                "version": f"3.{minor}",
                "test_wheel": _PythonCase._test_wheel,
                "test_sdist": _PythonCase._test_sdist,
                "__module__": __name__,
                "__doc__": f"Python 3.{minor} with the newest dependencies.",
            },
        )


_define()
