# -*- test-case-name: tests.ssh -*-
"""
The remote host over SSH: the only package that knows Conch.
"""

from remotedocker.ssh._destination import Destination, SSHConfiguration, parse_destination
from remotedocker.ssh._remote import Remote

__all__ = ["Destination", "Remote", "SSHConfiguration", "parse_destination"]
