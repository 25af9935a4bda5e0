"""
The tests. C{python -m tests} runs those that need nothing but the package and its extra C{test}.
"""

from __future__ import annotations

import signal
from importlib.util import find_spec

__all__: list[str] = []

# A shell has its background commands ignore SIGINT, and whom they start; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The demo imports tests.integration where the extra "test" may not be installed.
if find_spec("hypothesis") is not None:
    from hypothesis import HealthCheck, settings

    # No deadline: a test never asserts speed, and a loaded machine is no failure.
    settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("thorough", parent=settings.get_profile("quick"), max_examples=2000)
    settings.load_profile("quick")
