"""
Plumbing that the proxy and the forwarded ports share: two transports joined, with back-pressure and
half-close both ways.
"""

from remotedocker.streams._accept import RelayFactory, prepare_socket
from remotedocker.streams._hangup import Hangups
from remotedocker.streams._promptly import make_prompt, read_at_once
from remotedocker.streams._relay import Relay, RelayEnd, RelayProtocol
from remotedocker.streams._sendqueue import SendQueue

__all__ = [
    "Hangups",
    "Relay",
    "RelayEnd",
    "RelayFactory",
    "RelayProtocol",
    "SendQueue",
    "make_prompt",
    "prepare_socket",
    "read_at_once",
]
