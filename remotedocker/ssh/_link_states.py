# -*- test-case-name: tests.ssh.test_link -*-
"""
What a link has in each of its states: an attempt, a pause, a watch over files, a login that stands.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker.errors import PermanentSSHError, SSHError, SSHUnavailable
from remotedocker.ssh._connection import Connection
from remotedocker.ssh._heartbeat import Heartbeat
from remotedocker.ssh._login import Login

__all__ = ["FileWatch", "LinkCore", "LinkEvents", "LinkMachine", "Pause", "Standing", "Trial"]

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
#: After a refusal for good: seconds until it is tried again, and between looks at the files that it depends
#: on.
_BARRED_SECONDS = 60.0
_LOOK_SECONDS = 2.0
#: Who asks does not make an attempt come earlier than this after the last one.
_HURRY_SECONDS = 1.0
_CLOSE_SECONDS = 1.0
#: A login that is lost sooner was none to rely on: after a second such one in a row there are pauses, too.
_SHORT_SECONDS = 3.0


class LinkEvents(TypingProtocol):
    """Who hears of a link's coming and going."""

    def link_up(self, login: Login) -> None:
        """A login stands."""

    def link_down(self, error: Exception) -> None:
        """It was lost."""

    def link_refused(self, error: PermanentSSHError) -> None:
        """It was refused for good before it ever worked."""


class LinkMachine(TypingProtocol):
    """What happens to a link."""

    def start(self) -> None:
        """Logs in."""

    def stop(self) -> None:
        """Ends the login, and makes no more."""

    def hurry(self) -> None:
        """Somebody waits for a connection."""

    def succeeded(self, login: Login) -> None:
        """A login stands."""

    def failed(self, error: SSHError) -> None:
        """It did not work this time."""

    def refused(self, error: PermanentSSHError) -> None:
        """It will not work, and never did."""

    def barred(self, error: PermanentSSHError) -> None:
        """It will not work any more until somebody changes something."""

    def lost(self, error: Exception) -> None:
        """The login that stood is gone."""

    def suspect(self) -> None:
        """The login may be dead."""

    def retry(self) -> None:
        """It is time to try again."""

    def ended(self) -> None:
        """An attempt that was given up has ended."""


@define(eq=False)
class LinkCore:
    """
    @ivar attempt: makes one login; may be cancelled.
    @ivar files: what the login depends on.
    @ivar failures: attempts without success, in a row.
    @ivar short_lived: logins that were lost at once, in a row.
    @ivar state: for messages.
    @ivar final: why no login will be made soon, if that is so.
    """

    clock: Any
    destination: str
    attempt: Callable[[], Deferred[Login]]
    files: Sequence[Path]
    events: LinkEvents
    heartbeat: Callable[[Login, Callable[[str], None]], Heartbeat]
    waiting: list[Deferred[Connection]] = field(factory=list)
    stopping: list[Deferred[None]] = field(factory=list)
    failures: int = 0
    short_lived: int = 0
    worked: bool = False
    state: str = "not started"
    last_error: Exception | None = None
    final: SSHError | None = None
    login: Login | None = None
    log: Logger = Logger()

    def release(self, result: Connection | Failure) -> None:
        """Gives everybody who waits the result."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(result)

    def delay(self) -> float:
        """@return: seconds until the next attempt."""
        if self.failures == 0:
            return 0.0
        longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(self.failures - 1, 16))
        return float(longest * (0.5 + random.random() / 2))

    def stamps(self) -> list[tuple[float, int] | None]:
        """@return: what tells whether one of the files was changed."""
        found: list[tuple[float, int] | None] = []
        for file in self.files:
            try:
                stat = file.stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_mtime, stat.st_ino))
        return found

    def finish(self) -> None:
        """Nothing is left."""
        self.state = "stopped"
        self.final = SSHUnavailable(
            destination=self.destination, state="stopped", reason="remotedocker is ending"
        )
        self.release(Failure(self.final))
        stopping, self.stopping = self.stopping, []
        for one in stopping:
            one.callback(None)


class Trial:
    """
    One attempt to log in, begun in the reactor's next turn, so that it cannot end before the machine is ready
    for it.
    """

    def __init__(self, machine: LinkMachine, core: LinkCore) -> None:
        self._machine = machine
        self._core = core
        self._running: Deferred[Any] | None = None
        self._cancelled = False
        self._call = core.clock.callLater(0, self._begin)

    def _begin(self) -> None:
        """Logs in."""
        self._running = self._core.attempt()
        self._running.addCallbacks(self._machine.succeeded, self._failed)
        self._running.addErrback(lambda failure: self._core.log.failure("A link failed", failure))

    def _failed(self, failure: Failure) -> None:
        """It did not work."""
        error = failure.value
        core, machine = self._core, self._machine
        core.failures += 1
        if self._cancelled:
            machine.ended()
        elif isinstance(error, PermanentSSHError):
            (machine.barred if core.worked else machine.refused)(error)
        elif isinstance(error, SSHError):
            machine.failed(error)
        else:
            core.log.failure("A login failed in an unexpected way", failure)
            machine.failed(SSHError(destination=core.destination, reason=f"{type(error).__name__}: {error}"))

    def cancel(self) -> None:
        """Gives up; the machine hears of the end."""
        self._cancelled = True
        if self._running is None:
            self._call.cancel()
            self._core.clock.callLater(0, self._machine.ended)
        else:
            self._running.cancel()


class Pause:
    """Waits for the time of the next attempt."""

    def __init__(self, machine: LinkMachine, core: LinkCore) -> None:
        self._began = core.clock.seconds()
        self._clock = core.clock
        self._machine = machine
        self._call: IDelayedCall = core.clock.callLater(core.delay(), machine.retry)

    def hurry(self) -> None:
        """Makes the pause shorter."""
        soonest = max(0.0, self._began + _HURRY_SECONDS - self._clock.seconds())
        if self._call.active() and self._call.getTime() - self._clock.seconds() > soonest:
            self._call.reset(soonest)

    def cancel(self) -> None:
        """Waits no more."""
        if self._call.active():
            self._call.cancel()


class FileWatch:
    """Waits until a file that a login depends on was changed, or a minute has passed."""

    def __init__(self, machine: LinkMachine, core: LinkCore) -> None:
        self._core = core
        self._machine = machine
        self._stamps = core.stamps()
        self._until = core.clock.seconds() + _BARRED_SECONDS
        self._call = core.clock.callLater(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Every few seconds."""
        if self._core.clock.seconds() >= self._until or self._core.stamps() != self._stamps:
            self._machine.retry()
        else:
            self._call = self._core.clock.callLater(_LOOK_SECONDS, self._look)

    def cancel(self) -> None:
        """Waits no more."""
        if self._call.active():
            self._call.cancel()


class Standing:
    """A login that stands, and what watches it."""

    def __init__(self, machine: LinkMachine, core: LinkCore, login: Login) -> None:
        self.login = login
        self._core = core
        self._closing: IDelayedCall | None = None
        self._began = core.clock.seconds()
        self._heartbeat = core.heartbeat(login, self._dead)
        login.ended.addCallback(self._ended, machine)

    def _dead(self, reason: str) -> None:
        """The heartbeat says so."""
        self.login.abort(SSHError(destination=self._core.destination, reason=reason))

    def _ended(self, error: Exception, machine: LinkMachine) -> None:
        """The connection is gone."""
        self._heartbeat.stop()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        core = self._core
        core.short_lived = core.short_lived + 1 if core.clock.seconds() - self._began < _SHORT_SECONDS else 0
        core.failures = max(0, core.short_lived - 1)
        machine.lost(error)

    def suspect(self) -> None:
        """Looks whether the login lives."""
        self._heartbeat.suspect()

    def close(self) -> None:
        """Ends the login in good order, if that does not take long."""
        self._heartbeat.stop()
        self._closing = self._core.clock.callLater(_CLOSE_SECONDS, self._dead, "it could not be closed")
        self.login.close()
