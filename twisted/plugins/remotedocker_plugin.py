# -*- test-case-name: tests.packaging.test_packaging -*-
"""
Tells C{twistd} of the subcommand C{remotedocker}.

This directory has no C{__init__.py}: it is a part of Twisted's own package C{twisted.plugins}.
"""

from __future__ import annotations

from twisted.application.service import ServiceMaker

__all__ = ["remotedocker"]

remotedocker = ServiceMaker(
    "remotedocker",
    "remotedocker.tap",
    "A local Docker endpoint for a remote Docker daemon, over SSH.",
    "remotedocker",
)
