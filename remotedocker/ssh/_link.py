# -*- test-case-name: tests.ssh.test_link -*-
"""
A login that is kept: made, made again when it is lost (at once, then after 0.2 s to 10 s), and given to who
waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker.errors import PermanentSSHError, SSHError, SSHUnavailable
from remotedocker.ssh._connection import Connection
from remotedocker.ssh._heartbeat import Heartbeat
from remotedocker.ssh._login import Login

__all__ = ["Link", "LinkEvents"]

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
#: After a refusal for good: seconds until it is tried again, and between looks at the files that it depends
#: on.
_BARRED_SECONDS = 60.0
_LOOK_SECONDS = 2.0
#: Who asks does not make an attempt come earlier than this after the last one.
_HURRY_SECONDS = 1.0
_CLOSE_SECONDS = 1.0


class LinkEvents(TypingProtocol):
    """Who hears of a link's coming and going."""

    def link_up(self, login: Login) -> None:
        """A login stands."""

    def link_down(self, error: Exception) -> None:
        """It was lost."""

    def link_refused(self, error: PermanentSSHError) -> None:
        """It was refused for good before it ever worked."""


class _Machine(TypingProtocol):
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
class _Core:
    """
    @ivar attempt: makes one login; may be cancelled.
    @ivar files: what the login depends on.
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


class _Trial:
    """
    One attempt to log in, begun in the reactor's next turn, so that it cannot end before the machine is ready
    for it.
    """

    def __init__(self, machine: _Machine, core: _Core) -> None:
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


class _Pause:
    """Waits for the time of the next attempt."""

    def __init__(self, machine: _Machine, core: _Core) -> None:
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


class _FileWatch:
    """Waits until a file that a login depends on was changed, or a minute has passed."""

    def __init__(self, machine: _Machine, core: _Core) -> None:
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


class _Standing:
    """A login that stands, and what watches it."""

    def __init__(self, machine: _Machine, core: _Core, login: Login) -> None:
        self.login = login
        self._core = core
        self._closing: IDelayedCall | None = None
        self._heartbeat = core.heartbeat(login, self._dead)
        login.ended.addCallback(self._ended, machine)

    def _dead(self, reason: str) -> None:
        """The heartbeat says so."""
        self.login.abort(SSHError(destination=self._core.destination, reason=reason))

    def _ended(self, error: Exception, machine: _Machine) -> None:
        """The connection is gone."""
        self._heartbeat.stop()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        machine.lost(error)

    def suspect(self) -> None:
        """Looks whether the login lives."""
        self._heartbeat.suspect()

    def close(self) -> None:
        """Ends the login in good order, if that does not take long."""
        self._heartbeat.stop()
        self._closing = self._core.clock.callLater(_CLOSE_SECONDS, self._dead, "it could not be closed")
        self.login.close()


def _make_machine() -> Callable[[_Core], _Machine]:
    """@return: what makes links."""
    builder = TypeMachineBuilder(_Machine, _Core)

    def trial(machine: _Machine, core: _Core) -> _Trial:
        core.state = "connecting"
        return _Trial(machine, core)

    def standing(machine: _Machine, core: _Core, login: Login) -> _Standing:
        core.state = "connected"
        return _Standing(machine, core, login)

    def pause(machine: _Machine, core: _Core, error: Exception) -> _Pause:
        core.state = "waiting to try again"
        core.last_error = error
        return _Pause(machine, core)

    def file_watch(machine: _Machine, core: _Core, error: PermanentSSHError) -> _FileWatch:
        core.state = "refused"
        core.last_error = core.final = error
        return _FileWatch(machine, core)

    idle = builder.state("idle")
    connecting = builder.state("connecting", trial)
    connected = builder.state("connected", standing)
    waiting = builder.state("waiting", pause)
    barred = builder.state("barred", file_watch)
    refused = builder.state("refused")
    ending = builder.state("ending")
    stopped = builder.state("stopped")

    idle.upon(_Machine.start).to(connecting).returns(None)
    waiting.upon(_Machine.retry, nodata=True).to(connecting).returns(None)
    for state in (connecting, connected, barred):
        state.upon(_Machine.hurry, nodata=True).loop().returns(None)
    for state in (idle, refused, ending, stopped):
        state.upon(_Machine.hurry).loop().returns(None)
    for state in (connecting, waiting, barred):
        state.upon(_Machine.suspect, nodata=True).loop().returns(None)
    for state in (idle, refused, ending, stopped):
        state.upon(_Machine.suspect).loop().returns(None)
    for state in (connecting, connected, waiting, barred):
        state.upon(_Machine.start, nodata=True).loop().returns(None)
    for state in (refused, ending, stopped):
        state.upon(_Machine.start).loop().returns(None)
    stopped.upon(_Machine.stop).loop().returns(None)
    ending.upon(_Machine.stop).loop().returns(None)

    @connecting.upon(_Machine.succeeded, nodata=True).to(connected)
    def up(machine: _Machine, core: _Core, login: Login) -> None:
        core.failures = 0
        core.worked = True
        core.login = login
        core.events.link_up(login)
        core.release(login.connection)

    @connecting.upon(_Machine.failed, nodata=True).to(waiting)
    def try_later(machine: _Machine, core: _Core, error: SSHError) -> None:
        level = core.log.warn if core.failures in (1, 5) or core.failures % 50 == 0 else core.log.debug
        level("No SSH connection yet, trying again: {error}", error=str(error))

    @connecting.upon(_Machine.refused).to(refused)
    def give_up(machine: _Machine, core: _Core, trial: _Trial, error: PermanentSSHError) -> None:
        core.state = "refused"
        core.last_error = core.final = error
        core.events.link_refused(error)
        core.release(Failure(error))

    @connecting.upon(_Machine.barred, nodata=True).to(barred)
    def report(machine: _Machine, core: _Core, error: PermanentSSHError) -> None:
        core.log.error("{error} (trying again when a file that this depends on is changed)", error=str(error))
        core.release(Failure(error))

    @barred.upon(_Machine.retry, nodata=True).to(connecting)
    def unbar(machine: _Machine, core: _Core) -> None:
        core.final = None

    @connected.upon(_Machine.lost, nodata=True).to(waiting)
    def down(machine: _Machine, core: _Core, error: Exception) -> None:
        core.login = None
        core.log.warn("The SSH connection was lost: {error}", error=str(error))
        core.events.link_down(error)

    @waiting.upon(_Machine.hurry).loop()
    def shorten(machine: _Machine, core: _Core, pause: _Pause) -> None:
        pause.hurry()

    @connected.upon(_Machine.suspect).loop()
    def look(machine: _Machine, core: _Core, standing: _Standing) -> None:
        standing.suspect()

    @connecting.upon(_Machine.stop).to(ending)
    def cancel_trial(machine: _Machine, core: _Core, trial: _Trial) -> None:
        trial.cancel()

    @connected.upon(_Machine.stop).to(ending)
    def close(machine: _Machine, core: _Core, standing: _Standing) -> None:
        core.login = None
        standing.close()

    @ending.upon(_Machine.succeeded).loop()
    def too_late(machine: _Machine, core: _Core, login: Login) -> None:
        login.ended.addCallback(machine.lost)
        login.abort(SSHError(destination=core.destination, reason="remotedocker is ending"))

    @waiting.upon(_Machine.stop).to(stopped)
    def stop_pause(machine: _Machine, core: _Core, pause: _Pause) -> None:
        pause.cancel()
        core.finish()

    @barred.upon(_Machine.stop).to(stopped)
    def stop_watch(machine: _Machine, core: _Core, watch: _FileWatch) -> None:
        watch.cancel()
        core.finish()

    @idle.upon(_Machine.stop).to(stopped)
    @refused.upon(_Machine.stop).to(stopped)
    @ending.upon(_Machine.ended).to(stopped)
    def nothing_left(machine: _Machine, core: _Core) -> None:
        core.finish()

    @ending.upon(_Machine.lost).to(stopped)
    @ending.upon(_Machine.failed).to(stopped)
    @ending.upon(_Machine.refused).to(stopped)
    @ending.upon(_Machine.barred).to(stopped)
    def over(machine: _Machine, core: _Core, error: Exception) -> None:
        core.finish()

    return builder.build()


_new_machine = _make_machine()


class Link:
    """One kept login."""

    def __init__(
        self,
        clock: Any,
        destination: str,
        attempt: Callable[[], Deferred[Login]],
        files: Sequence[Path],
        events: LinkEvents,
        wait: float,
        heartbeat: Callable[[Login, Callable[[str], None]], Heartbeat],
    ) -> None:
        """
        @param attempt: makes one login.
        @param files: what a refusal depends on.
        @param wait: seconds that L{connection} waits for a login.
        @param heartbeat: watches a login, given what to call when it is dead.
        """
        self._clock = clock
        self._wait = wait
        self._core = _Core(clock, destination, attempt, files, events, heartbeat)
        self._machine = _new_machine(self._core)

    @property
    def login(self) -> Login | None:
        """The login that stands, if one does."""
        return self._core.login

    @property
    def state(self) -> str:
        """For messages."""
        return self._core.state

    def start(self) -> None:
        """Logs in, and from now on keeps a login."""
        self._machine.start()

    def stop(self) -> Deferred[None]:
        """@return: fires when nothing of the login is left."""
        stopped: Deferred[None] = Deferred()
        core = self._core
        if core.state == "stopped":
            return succeed(None)
        core.stopping.append(stopped)
        self._machine.stop()
        return stopped

    def suspect(self) -> None:
        """Looks at once whether the login still lives."""
        self._machine.suspect()

    def connection(self) -> Deferred[Connection]:
        """
        @return: fires with the connection, at once if there is one; fails with L{SSHUnavailable} when none
            was made in time, and with L{PermanentSSHError} when none will be.
        """
        core = self._core
        # Those who lose their channels hear of it before this link does, and may ask for another one at once.
        if core.login is not None and core.login.connection.alive:
            return succeed(core.login.connection)
        if core.final is not None:
            return fail(core.final)

        def forget(waiting: Deferred[Connection]) -> None:
            if waiting in core.waiting:
                core.waiting.remove(waiting)

        def too_long() -> None:
            forget(waiting)
            waiting.errback(self.unavailable())

        def cancel_call(result: Any) -> Any:
            if call.active():
                call.cancel()
            return result

        waiting: Deferred[Connection] = Deferred(forget)
        core.waiting.append(waiting)
        call = self._clock.callLater(self._wait, too_long)
        self._machine.hurry()
        return waiting.addBoth(cancel_call)

    def unavailable(self) -> SSHUnavailable:
        """@return: the error for who has waited in vain."""
        error = self._core.last_error
        reason = "the first login is still being made" if error is None else plain_reason(error)
        return SSHUnavailable(destination=self._core.destination, state=self._core.state, reason=reason)


def plain_reason(error: Exception) -> str:
    """@return: an error's reason, without the words that would stand twice in a message."""
    if isinstance(error, SSHError) and type(error) in (SSHError, PermanentSSHError):
        return str(error.details.get("reason", error))
    return str(error)
