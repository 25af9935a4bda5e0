# -*- test-case-name: tests.proxy.test_orders -*-
"""
Events in any order that a protocol can meet, to find what no script thought of: whatever happens, an
exchange's commands can be performed, and whoever planned or prepared something is told once how it ended.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import CreatePlan, PlacedMount
from remotedocker.errors import SSHUnavailable
from remotedocker.proxy import _commands as do
from remotedocker.proxy._asked import Created, CreateFailed, Effect, PlanCreate, Started, Starting
from remotedocker.proxy._exchange import Exchange
from remotedocker.proxy._turn import Rules
from tests.fakes.containers import FakeContainers
from tests.proxy.support import answer, chunked, lost, request

_DOWN = SSHUnavailable(destination="me@remote", state="connecting", reason="no route")
_BUG = ZeroDivisionError()

_FROM_CLIENT = [
    request("GET /info"),
    request("GET /info", headers="Connection: close\r\n"),
    request("HEAD /_ping"),
    request("GET /containers/json"),
    request("POST /containers/create", b'{"Image":"x","HostConfig":{"Binds":["/a:/b"]}}'),
    request("POST /containers/x/start"),
    request("POST /containers/x/stop"),
    request("POST /containers/x/wait"),
    request("POST /containers/x/exec", b"{}"),
    request("POST /containers/x/attach", headers="Host: \r\nUpgrade: tcp\r\n"),
    request("POST /images/load", b"abc"),
    b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"\x16\x03\r\n",
    b"how do you do\r\n",
]
_FROM_DAEMON = [
    answer("200 OK", b"{}"),
    answer("200 OK", b"{}", "Connection: close\r\n"),
    answer("200 OK", b"abc", length=False),
    answer("201 Created", b'{"Id":"c1"}'),
    answer("204 No Content", length=False),
    answer("500 Internal Server Error", b'{"message":"x"}'),
    chunked(b"{}"),
    chunked(b"abc", end=False),
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nxx",
    b"garbage\r\n\r\n",
]


class _World:
    """
    What surrounds an exchange, as far as it limits what can happen and what can be done.

    @ivar begun: what was planned or prepared.
    @ivar told: whose end was told.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.exchange = Exchange(Rules(view=FakeContainers(), daemon_lost=lost))
        self.client = "open"
        self.daemon = "closed"
        self.closed = False
        self.hijacked = False
        self.holds: dict[int, Effect] = {}
        self.begun: list[str] = []
        self.told: list[str] = []

    def step(self) -> bool:
        """Something happens. @return: whether anything could."""
        choices: list[str] = []
        if self.client == "open":
            choices += ["client says"] * 4 + ["client ends"]
        if self.client != "lost":
            choices.append("client lost")
        choices += {
            "closed": [],
            "connecting": ["daemon connects"] * 3 + ["daemon refuses"],
            "open": ["daemon says"] * 4 + ["daemon ends", "daemon lost"],
            "ended": ["daemon lost"],
        }[self.daemon]
        if self.holds:
            choices += ["resolved"] * 3 + ["rejected"]
        if not choices or self.hijacked:
            return False
        self.happen(self._event(self._random.choice(choices)))
        return True

    def _piece(self, messages: list[bytes]) -> bytes:
        message = self._random.choice(messages)
        return message[: self._random.randint(1, len(message))] if self._random.random() < 0.3 else message

    def _event(self, choice: str) -> do.Event:
        if choice == "client says":
            return do.ClientBytes(self._piece(_FROM_CLIENT))
        if choice == "client ends":
            self.client = "ended"
            return do.ClientEnd()
        if choice == "client lost":
            self.client = "lost"
            return do.ClientLost()
        if choice == "daemon connects":
            self.daemon = "open"
            return do.DaemonConnected()
        if choice == "daemon refuses":
            self.daemon = "closed"
            return do.DaemonRefused(_DOWN)
        if choice == "daemon says":
            return do.DaemonBytes(self._piece(_FROM_DAEMON))
        if choice == "daemon ends":
            self.daemon = "ended"
            return do.DaemonEnd()
        if choice == "daemon lost":
            self.daemon = "closed"
            return do.DaemonLost(_DOWN)
        token = self._random.choice(list(self.holds))
        if choice == "resolved":
            return self.resolved(token)
        del self.holds[token]
        return do.Rejected(token, self._random.choice([_DOWN, _BUG]))

    def resolved(self, token: int) -> do.Resolved:
        """@return: the good end of what was asked for."""
        effect = self.holds.pop(token)
        value: object = None
        if isinstance(effect, PlanCreate):
            self.begun.append("plan")
            value = CreatePlan(tuple(PlacedMount(mount, mount.source, False) for mount in effect.spec.mounts))
        elif isinstance(effect, Starting):
            self.begun.append("start")
            value = "c1"
        return do.Resolved(token, value)

    def happen(self, event: do.Event) -> None:
        """Performs what the exchange says to an event."""
        for command in self.exchange.receive(event):
            self._perform(command)

    def _perform(self, command: do.Command) -> None:
        assert not self.hijacked, command
        if isinstance(command, do.Connect):
            assert self.daemon == "closed"
            self.daemon = "connecting"
        elif isinstance(command, (do.ToDaemon, do.EndDaemon)):
            assert self.daemon in ("open", "ended"), command
        elif isinstance(command, do.CloseDaemon):
            self.daemon = "closed"
        elif isinstance(command, do.ToClient):
            assert self.client != "lost" and not self.closed, command
        elif isinstance(command, (do.CloseClient, do.AbortClient)):
            assert self.daemon == "closed" and not self.closed, command
            self.closed = True
        elif isinstance(command, do.Hijack):
            assert self.daemon == "open"
            self.hijacked = True
        elif isinstance(command, do.Report):
            assert command.error is _BUG, command
        elif isinstance(command, do.Hold):
            self.holds[command.token] = command.effect
            self._tell(command.effect)
        elif isinstance(command, do.Notify):
            self._tell(command.effect)

    def _tell(self, effect: Effect) -> None:
        if isinstance(effect, (Created, CreateFailed)):
            self.told.append("plan")
        elif isinstance(effect, Started):
            self.told.append("start")

    def end(self) -> None:
        """The client is lost, and everything that was asked for comes to its end."""
        if self.client != "lost":
            self.happen(do.ClientLost())
        for token in list(self.holds):
            self.happen(self.resolved(token))


class OrderTests(SynchronousTestCase):
    """Random orders of events."""

    @settings(max_examples=300)
    @given(st.integers(0, 2**32))
    def test_anyOrder(self, seed: int) -> None:
        """Every command can be performed, and every plan and start is told its end exactly once."""
        world = _World(Random(seed))
        for _ in range(40):
            if not world.step():
                break
        if not world.hijacked:
            world.end()
            self.assertEqual(sorted(world.begun), sorted(world.told))
