# -*- test-case-name: tests.streams.test_relay -*-
"""
A relay between two recorders, in memory.
"""

from __future__ import annotations

from remotedocker.streams import Relay, RelayProtocol
from tests.support import MemoryNetwork, Recorder

__all__ = ["RelayCase"]


class RelayCase:
    """
    C{client} and C{server} are the far ends of the left and the right side of C{relay}.

    @ivar ended: the relays that reported their end.
    """

    def __init__(self, network: MemoryNetwork | None = None) -> None:
        self.network = MemoryNetwork() if network is None else network
        self.ended: list[Relay] = []
        self.relay = Relay(self.ended.append)
        self.client, self.server = Recorder(), Recorder()

    def connect_left(self) -> None:
        """The left side is there."""
        self.network.connect(self.client, RelayProtocol(self.relay.left))

    def connect_right(self) -> None:
        """The right side is there."""
        self.network.connect(RelayProtocol(self.relay.right), self.server)

    @classmethod
    def joined(cls, network: MemoryNetwork | None = None) -> RelayCase:
        """@return: a case with both sides connected."""
        case = cls(network)
        case.connect_left()
        case.connect_right()
        case.network.pump()
        return case
