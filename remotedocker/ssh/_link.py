# -*- test-case-name: tests.ssh.test_link -*-
"""
A login that is kept: made, made again when it is lost (at once, then after 0.2 s to 10 s), and given to who
waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from remotedocker.errors import PermanentSSHError, SSHError, SSHUnavailable
from remotedocker.ssh._connection import Connection
from remotedocker.ssh._heartbeat import Heartbeat
from remotedocker.ssh._link_states import (
    FileWatch,
    LinkCore,
    LinkEvents,
    LinkMachine,
    Pause,
    Standing,
    Trial,
)
from remotedocker.ssh._login import Login

__all__ = ["Link", "LinkEvents"]


def _make_machine() -> Callable[[LinkCore], LinkMachine]:
    """@return: what makes links."""
    builder = TypeMachineBuilder(LinkMachine, LinkCore)

    def trial(machine: LinkMachine, core: LinkCore) -> Trial:
        core.state = "connecting"
        return Trial(machine, core)

    def standing(machine: LinkMachine, core: LinkCore, login: Login) -> Standing:
        core.state = "connected"
        return Standing(machine, core, login)

    def pause(machine: LinkMachine, core: LinkCore, error: Exception) -> Pause:
        core.state = "waiting to try again"
        core.last_error = error
        return Pause(machine, core)

    def file_watch(machine: LinkMachine, core: LinkCore, error: PermanentSSHError) -> FileWatch:
        core.state = "refused"
        core.last_error = core.final = error
        return FileWatch(machine, core)

    idle = builder.state("idle")
    connecting = builder.state("connecting", trial)
    connected = builder.state("connected", standing)
    waiting = builder.state("waiting", pause)
    barred = builder.state("barred", file_watch)
    refused = builder.state("refused")
    ending = builder.state("ending")
    stopped = builder.state("stopped")

    idle.upon(LinkMachine.start).to(connecting).returns(None)
    waiting.upon(LinkMachine.retry, nodata=True).to(connecting).returns(None)
    for state in (connecting, connected, barred):
        state.upon(LinkMachine.hurry, nodata=True).loop().returns(None)
    for state in (idle, refused, ending, stopped):
        state.upon(LinkMachine.hurry).loop().returns(None)
    for state in (connecting, waiting, barred):
        state.upon(LinkMachine.suspect, nodata=True).loop().returns(None)
    for state in (idle, refused, ending, stopped):
        state.upon(LinkMachine.suspect).loop().returns(None)
    for state in (connecting, connected, waiting, barred):
        state.upon(LinkMachine.start, nodata=True).loop().returns(None)
    for state in (refused, ending, stopped):
        state.upon(LinkMachine.start).loop().returns(None)
    stopped.upon(LinkMachine.stop).loop().returns(None)
    ending.upon(LinkMachine.stop).loop().returns(None)

    @connecting.upon(LinkMachine.succeeded, nodata=True).to(connected)
    def up(machine: LinkMachine, core: LinkCore, login: Login) -> None:
        core.failures = 0
        core.worked = True
        core.login = login
        core.events.link_up(login)
        core.release(login.connection)

    @connecting.upon(LinkMachine.failed, nodata=True).to(waiting)
    def try_later(machine: LinkMachine, core: LinkCore, error: SSHError) -> None:
        level = core.log.warn if core.failures in (1, 5) or core.failures % 50 == 0 else core.log.debug
        level("No SSH connection yet, trying again: {error}", error=str(error))

    @connecting.upon(LinkMachine.refused).to(refused)
    def give_up(machine: LinkMachine, core: LinkCore, trial: Trial, error: PermanentSSHError) -> None:
        core.state = "refused"
        core.last_error = core.final = error
        core.events.link_refused(error)
        core.release(Failure(error))

    @connecting.upon(LinkMachine.barred, nodata=True).to(barred)
    def report(machine: LinkMachine, core: LinkCore, error: PermanentSSHError) -> None:
        core.log.error("{error} (trying again when a file that this depends on is changed)", error=str(error))
        core.release(Failure(error))

    @barred.upon(LinkMachine.retry, nodata=True).to(connecting)
    def unbar(machine: LinkMachine, core: LinkCore) -> None:
        core.final = None

    @connected.upon(LinkMachine.lost, nodata=True).to(waiting)
    def down(machine: LinkMachine, core: LinkCore, error: Exception) -> None:
        core.login = None
        core.log.warn("The SSH connection was lost: {error}", error=str(error))
        core.events.link_down(error)

    @waiting.upon(LinkMachine.hurry).loop()
    def shorten(machine: LinkMachine, core: LinkCore, pause: Pause) -> None:
        pause.hurry()

    @connected.upon(LinkMachine.suspect).loop()
    def look(machine: LinkMachine, core: LinkCore, standing: Standing) -> None:
        standing.suspect()

    @connecting.upon(LinkMachine.stop).to(ending)
    def cancel_trial(machine: LinkMachine, core: LinkCore, trial: Trial) -> None:
        trial.cancel()

    @connected.upon(LinkMachine.stop).to(ending)
    def close(machine: LinkMachine, core: LinkCore, standing: Standing) -> None:
        core.login = None
        standing.close()

    @ending.upon(LinkMachine.succeeded).loop()
    def too_late(machine: LinkMachine, core: LinkCore, login: Login) -> None:
        login.ended.addCallback(machine.lost)
        login.abort(SSHError(destination=core.destination, reason="remotedocker is ending"))

    @waiting.upon(LinkMachine.stop).to(stopped)
    def stop_pause(machine: LinkMachine, core: LinkCore, pause: Pause) -> None:
        pause.cancel()
        core.finish()

    @barred.upon(LinkMachine.stop).to(stopped)
    def stop_watch(machine: LinkMachine, core: LinkCore, watch: FileWatch) -> None:
        watch.cancel()
        core.finish()

    @idle.upon(LinkMachine.stop).to(stopped)
    @refused.upon(LinkMachine.stop).to(stopped)
    @ending.upon(LinkMachine.ended).to(stopped)
    def nothing_left(machine: LinkMachine, core: LinkCore) -> None:
        core.finish()

    @ending.upon(LinkMachine.lost).to(stopped)
    @ending.upon(LinkMachine.failed).to(stopped)
    @ending.upon(LinkMachine.refused).to(stopped)
    @ending.upon(LinkMachine.barred).to(stopped)
    def over(machine: LinkMachine, core: LinkCore, error: Exception) -> None:
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
        self._core = LinkCore(clock, destination, attempt, files, events, heartbeat)
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
