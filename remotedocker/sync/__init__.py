# -*- test-case-name: tests.sync -*-
"""
Laptop directories that containers mount, and their copies on the remote.
"""

from __future__ import annotations

from remotedocker.sync._configuration import SyncConfiguration, SyncMode
from remotedocker.sync._mirrors import Mirrors

__all__ = ["Mirrors", "SyncConfiguration", "SyncMode"]
