# -*- test-case-name: tests.test_interfaces -*-
"""
Tests for L{remotedocker.interfaces}: the contracts are written down, and what claims to provide one does.
"""

from __future__ import annotations

import ast
import inspect
import stat
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.interface import InterfaceClass, Method
from zope.interface.verify import verifyClass

import remotedocker
from remotedocker import interfaces
from remotedocker.interfaces import FileAttributes, FileKind

__all__ = ["InterfaceTests", "ProviderTests"]


def all_interfaces() -> dict[str, InterfaceClass]:
    """Every interface of the module, by its name."""
    return {
        name: value
        for name, value in vars(interfaces).items()
        if isinstance(value, InterfaceClass)
        and value is not Interface
        and value.__module__ == interfaces.__name__
    }


def providers() -> dict[str, list[str]]:
    """
    The classes that say C{@implementer(interface)}, read from the sources: C{module:class}, by the
    interface's name.
    """
    found: dict[str, list[str]] = {}
    base = Path(remotedocker.__file__).parent
    for path in sorted(base.rglob("*.py")):
        module = ".".join(("remotedocker", *path.relative_to(base).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "implementer":
                        for argument in decorator.args:
                            found.setdefault(ast.unparse(argument), []).append(f"{module}:{node.name}")
    return found


class InterfaceTests(SynchronousTestCase):
    """What stands in the module."""

    def test_exported(self) -> None:
        """Every interface is in C{__all__}, and every name there exists."""
        self.assertEqual(set(all_interfaces()) - set(interfaces.__all__), set())
        self.assertEqual([name for name in interfaces.__all__ if not hasattr(interfaces, name)], [])

    def test_documented(self) -> None:
        """Each interface and each of its methods says what it promises."""
        silent = []
        for name, interface in all_interfaces().items():
            if not interface.__doc__:
                silent.append(name)
            for method, description in interface.namesAndDescriptions():
                if not description.__doc__:
                    silent.append(f"{name}.{method}")
        self.assertEqual(silent, [])

    def test_methods_take_no_self(self) -> None:
        """A method is written as it is called: without C{self}."""
        for name, interface in all_interfaces().items():
            for method, description in interface.namesAndDescriptions():
                if isinstance(description, Method):
                    self.assertNotIn("self", description.positional, f"{name}.{method}")

    def test_kinds(self) -> None:
        """The type bits are those of the operating system."""
        self.assertEqual(FileKind.DIRECTORY, stat.S_IFDIR)
        self.assertEqual(FileKind.FILE, stat.S_IFREG)
        self.assertEqual(FileKind.SYMLINK, stat.S_IFLNK)

    def test_unknown_attributes(self) -> None:
        """What is not said about a file is left alone."""
        names = inspect.signature(FileAttributes).parameters
        self.assertEqual([getattr(FileAttributes(), name) for name in names], [None] * len(names))


class ProviderTests(SynchronousTestCase):
    """The classes that provide the interfaces."""

    def test_each_has_a_provider(self) -> None:
        """No interface is there for nobody."""
        self.assertEqual(set(all_interfaces()) - set(providers()), set())

    def test_providers_keep_their_promise(self) -> None:
        """Each provider has every method, with arguments as the interface says."""
        ours = all_interfaces()
        checked = 0
        for name, classes in providers().items():
            for found in classes if name in ours else ():
                module, _, class_name = found.partition(":")
                provider = getattr(import_module(module), class_name)
                # Attributes are set by instances: only the methods of a class can be verified here.
                attributes = [
                    attribute
                    for attribute, description in ours[name].namesAndDescriptions()
                    if not isinstance(description, Method) and not hasattr(provider, attribute)
                ]
                self.assertEqual(
                    [each for each in attributes if each not in inspect.getsource(provider)], [], found
                )
                methods = InterfaceClass(
                    name,
                    (Interface,),
                    {
                        each: description
                        for each, description in ours[name].namesAndDescriptions()
                        if isinstance(description, Method)
                    },
                )
                verifyClass(methods, provider, tentative=True)
                checked += 1
        self.assertGreaterEqual(checked, len(ours))
