"""
Plumbing that the proxy and the forwarded ports share: two transports joined, with back-pressure and
half-close both ways.
"""

from remotedocker.streams._accept import RelayFactory, prepare_socket
from remotedocker.streams._hangup import Hangups
from remotedocker.streams._promptly import make_prompt, write_promptly
from remotedocker.streams._relay import Relay, RelayEnd, RelayProtocol

__all__ = [
    "Hangups",
    "Relay",
    "RelayEnd",
    "RelayFactory",
    "RelayProtocol",
    "make_prompt",
    "prepare_socket",
    "write_promptly",
]
