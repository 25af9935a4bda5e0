# -*- test-case-name: tests.test_service -*-
"""
What C{twistd} calls: the options, and the service made from them.
"""

from __future__ import annotations

import os

from twisted.application.service import IService

from remotedocker.errors import RemoteDockerError
from remotedocker.options import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """
    @raise SystemExit: a value of the command line cannot be used; C{twistd} takes a C{UsageError} only
        while it parses, and would show a traceback here.
    """
    from twisted.internet import reactor

    from remotedocker.service import assemble

    try:
        return assemble(reactor, options, os.environ)
    except (ValueError, OSError, RemoteDockerError) as error:
        raise SystemExit(f"remotedocker: {error}") from error
