"""
Container events to local ports: a pure plan, and listeners.
"""

from remotedocker.forwards._forwards import DYNAMIC_PORTS, Forwards

__all__ = ["DYNAMIC_PORTS", "Forwards"]
