# -*- test-case-name: tests.ssh.test_heartbeat -*-
"""
Notices that a link is dead: within 15 s by asking the server when it is silent, and within about 2 s after a
laptop was asleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

if TYPE_CHECKING:
    from remotedocker.ssh._connection import Connection
    from remotedocker.ssh._transport import ClientTransport

__all__ = ["Heartbeat", "seconds_asleep"]

_TICK = 1.0
#: Seconds of silence after which the server is asked, and seconds in which something must come then.
_IDLE = 4.0
_PATIENCE = 9.0
#: A tick this late means that this process had no time to listen: what the server said is still to be read.
_LATE = 3.0
#: After so many seconds of sleep the link is probably dead, and little patience is due.
_ASLEEP = 5.0
_PATIENCE_AFTER_SLEEP = 1.5
#: Patience where another link to the same host was lost just now.
_PATIENCE_IF_SUSPECT = 4.0


def seconds_asleep() -> float:
    """
    @return: seconds that this machine has spent asleep, from an unknown beginning; where the system does not
        count them, a change of the clock looks like sleep.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME)
    return time.clock_gettime(clock) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Heartbeat:
    """
    Watches one connection, from its login to its end.
    """

    def __init__(
        self,
        clock: IReactorTime,
        transport: ClientTransport,
        connection: Connection,
        dead: Callable[[str], None],
        interval: float = 0.0,
        count: int = 3,
        asleep: Callable[[], float] = seconds_asleep,
    ) -> None:
        """
        @param dead: called once, with a reason, when the server does not answer any more.
        @param interval: C{ServerAliveInterval} in seconds, or 0 for our own.
        @param count: C{ServerAliveCountMax}; used with C{interval} only.
        @param asleep: see L{seconds_asleep}.
        """
        self._clock = clock
        self._transport = transport
        self._connection = connection
        self._dead = dead
        self._idle = interval or _IDLE
        self._patience = interval * count if interval else _PATIENCE
        self._asked_at: float | None = None
        self._patience_now = self._patience
        self._asleep = asleep
        self._slept = asleep()
        self._last_tick = clock.seconds()
        self._call: IDelayedCall | None = clock.callLater(_TICK, self._tick)

    def stop(self) -> None:
        """Watches no more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def suspect(self) -> None:
        """There is reason to believe that the link is dead: asks now, and does not wait long."""
        self._ask(self._clock.seconds(), min(_PATIENCE_IF_SUSPECT, self._patience))

    def _tick(self) -> None:
        """Once a second."""
        now = self._clock.seconds()
        late, self._last_tick = now - self._last_tick > _LATE, now
        slept_before, self._slept = self._slept, self._asleep()
        self._call = self._clock.callLater(_TICK, self._tick)
        if self._slept - slept_before > _ASLEEP:
            self._ask(now, min(_PATIENCE_AFTER_SLEEP, self._patience))
            return
        if late:
            self._ask(now, self._patience)
            return
        heard_at = self._transport.last_received
        if self._asked_at is not None and heard_at >= self._asked_at:
            self._asked_at = None
        if self._asked_at is not None:
            if now - self._asked_at >= self._patience_now:
                self.stop()
                self._dead(f"the server has not answered for {now - self._asked_at:.0f} s")
        elif now - heard_at >= self._idle:
            self._ask(now, self._patience)
        self._transport.rekey_if_old()

    def _ask(self, now: float, patience: float) -> None:
        """Asks the server whether it is there."""
        self._asked_at = now
        self._patience_now = patience
        self._connection.ask_if_alive().addErrback(lambda failure: None)
