"""
Directories with short paths: that of a unix socket is limited to 107 bytes, and trial's own may be longer.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

__all__ = ["short_directory"]


def short_directory(case: SynchronousTestCase) -> Path:
    """@return: an empty directory that is removed after the test."""
    path = tempfile.mkdtemp(prefix="rd-", dir="/tmp")
    case.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return Path(path)
