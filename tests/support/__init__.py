"""
What tests of several packages use: transports in memory, protocols that record, waiting.
"""

from tests.support.memory import MemoryNetwork, MemoryTransport
from tests.support.memory_endpoints import MemoryClientEndpoint, MemoryServerEndpoint
from tests.support.recorders import FullCloseRecorder, Recorder
from tests.support.short_paths import short_directory
from tests.support.waiting import wait_until

__all__ = [
    "FullCloseRecorder",
    "MemoryClientEndpoint",
    "MemoryNetwork",
    "MemoryServerEndpoint",
    "MemoryTransport",
    "Recorder",
    "short_directory",
    "wait_until",
]
