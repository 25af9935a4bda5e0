# -*- test-case-name: tests.daemon.test_client -*-
"""
Our own questions to the remote daemon, and its events.
"""

from __future__ import annotations

from remotedocker.daemon._client import DaemonClient

__all__ = ["DaemonClient"]
