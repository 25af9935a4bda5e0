"""
Tests for L{remotedocker.daemon._watch}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from remotedocker.errors import PermanentSSHError
from remotedocker.interfaces import IContainerObserver, IRemoteObserver
from tests.contracts.daemon import RecordingObserver
from tests.daemon.memory import MemoryCase, json_answer
from tests.support.memory_endpoints import MemoryClientEndpoint

FILTERS = "filters=" + quote('{"type":{"container":true,"network":true,"service":true,"volume":true}}')
NO_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class WatchCase(MemoryCase):
    """A client with one observer, not started."""

    def setUp(self) -> None:
        """Everything anew, an hour after the epoch."""
        super().setUp()
        self.clock.advance(3600)
        self.observer = RecordingObserver()
        self.client.watch(self.observer)

    def start(self) -> None:
        """Starts to follow."""
        self.client.start()
        self.pump()

    def again(self) -> None:
        """Lets the time pass until a lost stream is opened anew."""
        self.pump()
        self.pump(0.25)
        self.pump()

    def targets(self) -> list[str]:
        """The paths of all requests."""
        return [request.partition(" ")[2].partition("?")[0] for request in self.daemon.requests]


class RoundTests(WatchCase):
    """From the ping to the events."""

    def test_observers(self) -> None:
        """Both ends are what they are said to be."""
        verifyObject(IRemoteObserver, self.client._watch)
        verifyObject(IContainerObserver, self.observer)

    def test_order(self) -> None:
        """Ping, then the stream since the daemon's time, then the list."""
        self.start()
        self.assertEqual(
            self.daemon.requests,
            [
                "HEAD /_ping",
                f"GET /events?{FILTERS}&since=3600.000000000",
                "GET /containers/json?all=1",
            ],
        )
        self.assertEqual(self.observer.events, [("listed", "")])

    def test_events_before_the_list(self) -> None:
        """Events that come while the containers are listed are told after the list."""
        container_id = self.daemon.create("a")
        self.at_request("/containers/json", lambda: self.daemon.start(container_id))
        self.start()
        self.assertEqual(self.observer.of(container_id), ["listed", "create", "start"])

    def test_no_login(self) -> None:
        """Without a login nothing is asked; with one everything begins at once."""
        self.remote.log_out()
        self.start()
        self.pump(3600)
        self.assertEqual(self.daemon.accepted, 0)
        self.remote.log_in()
        self.pump()
        self.assertEqual(len(self.observer.lists), 1)

    def test_no_date(self) -> None:
        """A daemon that tells no time is not asked for the past, until an event told the time."""
        self.daemon.overrides["/_ping"] = json_answer(b"")
        self.start()
        self.assertEqual(self.daemon.requests[1], f"GET /events?{FILTERS}")
        self.daemon.create("a")
        self.pump()
        self.daemon.drop_connections(streams_only=True)
        self.again()
        self.assertEqual(self.daemon.requests[4], f"GET /events?{FILTERS}&since=3600.000000002")

    def test_replays(self) -> None:
        """What was missed is told, what was told is not told again."""
        self.start()
        container_id = self.daemon.create("a")
        self.pump()
        self.daemon.drop_connections(streams_only=True)
        self.pump()
        self.daemon.start(container_id)
        self.again()
        self.daemon.kill(container_id)
        self.pump()
        self.assertEqual(
            self.observer.of(container_id), ["listed", "create", "listed", "start", "kill", "die"]
        )

    def test_clock_put_back(self) -> None:
        """When the daemon's clock is put back, no event is missed for it."""
        self.start()
        self.daemon.overrides["/_ping"] = json_answer(b"", 200, (b"Date", b"Thu, 01 Jan 1970 00:30:00 GMT"))
        self.daemon.drop_connections(streams_only=True)
        self.again()
        self.assertEqual(self.daemon.requests[4], f"GET /events?{FILTERS}&since=1800.000000000")

    def test_memory(self) -> None:
        """What was told is remembered for as many events as the daemon may tell again, and no more."""
        self.start()
        container_id = self.daemon.create("a")
        for _ in range(1500):
            self.daemon.emit("exec_start", container_id)
        self.pump()
        self.assertEqual(len(self.observer.events), 1502)
        self.assertEqual(len(self.client._watch._told), 1024)
        self.daemon.drop_connections(streams_only=True)
        self.again()
        self.assertEqual(len(self.observer.events), 1503)

    def test_late_observer(self) -> None:
        """Who comes later is told a list at once, and everybody with him."""
        self.start()
        late = RecordingObserver()
        with capturedLogs() as logged:
            self.client.watch(late)
            self.pump()
        self.assertEqual([event["log_level"] for event in logged], [LogLevel.info])
        self.assertEqual((len(late.lists), len(self.observer.lists)), (1, 2))
        container_id = self.daemon.create("a")
        self.pump()
        self.assertEqual(late.of(container_id), ["listed", "create"])

    def test_observer_fails(self) -> None:
        """An observer that fails is logged, and does not keep others from hearing."""

        class Failing(RecordingObserver):
            """Fails."""

            def container_event(self, event: object) -> None:
                """Fails."""
                raise KeyError("event")

            def containers_listed(self, containers: object) -> Deferred[None]:
                """Fails."""
                raise KeyError("list")

        self.client.watch(Failing())
        other = RecordingObserver()
        self.client.watch(other)
        self.start()
        container_id = self.daemon.create("a")
        self.pump()
        self.assertEqual(other.of(container_id), ["listed", "create"])
        self.assertEqual(other.settled, 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)


class SettledTests(WatchCase):
    """When the observers are told that all of them have dealt with a list."""

    def setUp(self) -> None:
        """Two observers, of which the second takes its time."""
        super().setUp()
        self.slow = RecordingObserver()
        self.slow.dealing = self.deal
        self.dealing: list[Deferred[None]] = []
        self.client.watch(self.slow)

    def deal(self) -> Deferred[None]:
        """A list is being dealt with."""
        self.dealing.append(Deferred())
        return self.dealing[-1]

    def settled(self) -> tuple[int, int]:
        """How often each of the two was told."""
        return self.observer.settled, self.slow.settled

    def test_all(self) -> None:
        """All are told when the last one is done; events do not wait for that."""
        self.start()
        container_id = self.daemon.create("a")
        self.pump()
        self.assertEqual(self.slow.of(container_id), ["listed", "create"])
        self.assertEqual(self.settled(), (0, 0))
        self.dealing[0].callback(None)
        self.assertEqual(self.settled(), (1, 1))

    def test_another_login(self) -> None:
        """What belongs to a login that was lost settles nothing: its list says nothing of the next one."""
        self.start()
        self.remote.log_out()
        self.pump()
        self.dealing[0].callback(None)
        self.assertEqual(self.settled(), (0, 0))
        self.daemon.overrides["/containers/json"] = None
        self.remote.log_in()
        self.again()
        self.assertEqual((len(self.dealing), self.settled()), (1, (0, 0)))
        del self.daemon.overrides["/containers/json"]
        self.daemon.drop_connections()
        self.again()
        self.dealing[1].callback(None)
        self.assertEqual(self.settled(), (1, 1))

    def test_login_lost_and_back(self) -> None:
        """So it is when the next login is there before the list of the one before was dealt with."""
        self.start()
        self.remote.log_out()
        self.remote.log_in()
        self.again()
        self.assertEqual(len(self.dealing), 2)
        self.dealing[0].callback(None)
        self.assertEqual(self.settled(), (0, 0))
        self.dealing[1].callback(None)
        self.assertEqual(self.settled(), (1, 1))

    def test_stopped(self) -> None:
        """Nobody is told after the end."""
        self.start()
        self.client.stop()
        self.dealing[0].callback(None)
        self.assertEqual(self.settled(), (0, 0))


class PongTests(WatchCase):
    """When a ping can be answered from knowledge."""

    def test_while_following(self) -> None:
        """It can as long as the events are followed."""
        self.assertIsNone(self.client.ping())
        self.start()
        self.assertIn(b"Date: Thu, 01 Jan 1970 01:00:00 GMT\r\n", self.client.ping() or b"")

    def test_not_without_the_daemon(self) -> None:
        """When the daemon goes, though the login stands, it cannot."""
        self.start()
        self.daemon.shut_down()
        self.pump()
        self.assertTrue(self.remote.connected)
        self.assertIsNone(self.client.ping())
        self.daemon.listen()
        self.pump(5)
        self.pump()
        self.assertIsNotNone(self.client.ping())

    def test_not_without_proof(self) -> None:
        """A login that is not proven alive is no reason to say that the daemon is."""
        self.start()
        self.remote.connected = False
        self.assertIsNone(self.client.ping())
        self.remote.connected = True
        self.assertIsNotNone(self.client.ping())

    def test_forgotten_with_the_login(self) -> None:
        """A lost login ends it, even if the stream has not ended yet."""
        self.start()
        self.client._watch.disconnected(ConnectionError("lost"))
        self.assertIsNone(self.client.ping())

    def test_old_daemon(self) -> None:
        """A daemon that does not answer HEAD is followed, and its pings are left to itself."""
        self.daemon.overrides["/_ping"] = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 9\r\n\r\n"
        self.start()
        self.assertIsNone(self.client.ping())
        self.assertEqual(len(self.observer.lists), 1)

    def test_not_after_the_stop(self) -> None:
        """After a stop it cannot."""
        self.start()
        self.client.stop()
        self.assertIsNone(self.client.ping())


class TroubleTests(WatchCase):
    """What is done when events cannot be followed."""

    def complaints(self, act: Callable[[], object]) -> list[str]:
        """@return: the reasons that are logged while C{act} runs."""
        with capturedLogs() as logged:
            act()
        return [event["reason"] for event in logged if "reason" in event]

    def test_pauses(self) -> None:
        """Attempts are made with growing pauses of at most five seconds, and the reason is logged once."""
        self.daemon.shut_down()
        attempts: list[float] = []
        listeners = self.network.listeners

        class Refusing(dict[str, Any]):
            """Notes the time of each attempt."""

            def get(inner, name: object, default: object = None) -> None:  # noqa: N805
                """Nobody listens."""
                attempts.append(self.clock.seconds() - 3600)

        self.network.listeners = Refusing(listeners)

        def run() -> None:
            self.start()
            for _ in range(8 * 20):
                self.pump(0.125)

        [complaint] = self.complaints(run)
        self.assertIn("cannot be reached", complaint)
        pauses = [later - earlier for earlier, later in zip(attempts, attempts[1:], strict=False)]
        self.assertEqual(pauses, [0.25, 0.5, 1, 2, 4, 5, 5])

    def test_login_ends_the_pause(self) -> None:
        """A new login is used at once, whatever pause was being made."""
        self.daemon.shut_down()
        self.start()
        self.pump(0.25)
        self.daemon.listen()
        self.pump(0.1)
        self.assertEqual(self.observer.lists, [])
        self.remote.log_in()
        self.pump()
        self.assertEqual(len(self.observer.lists), 1)
        self.remote.log_in()
        self.pump()
        self.assertEqual(len(self.observer.lists), 1)

    def test_short_pause_after_success(self) -> None:
        """After events were followed, the first pause is short again."""
        self.daemon.shut_down()
        self.start()
        for _ in range(20):
            self.pump(5)
        self.daemon.listen()
        self.pump(5)
        self.pump()
        self.assertEqual(len(self.observer.lists), 1)
        self.daemon.drop_connections(streams_only=True)
        self.again()
        self.assertEqual(len(self.observer.lists), 2)

    def test_reasons(self) -> None:
        """Whatever goes wrong is logged with its reason, and tried again."""
        for path, answer, reason in (
            ("/_ping", b"nonsense\r\n", "malformed HTTP"),
            ("/events", json_answer(b'{"message":"no events here"}', 500), "answered 500: no events here"),
            ("/events", b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204: no reason given"),
            ("/events", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "malformed HTTP"),
            ("/events", NO_LENGTH + b"0\r\n\r\n", "the daemon ended its answer"),
            ("/events", NO_LENGTH + b"nonsense\r\n", "malformed HTTP"),
            ("/containers/json", json_answer(b"{}"), "no list"),
            ("/containers/json", json_answer(b'{"message":"busy"}', 503), "answered 503: busy"),
        ):
            self.setUp()
            self.daemon.overrides[path] = answer
            complaints = self.complaints(self.start)
            self.assertEqual(len(complaints), 1, path)
            self.assertIn(reason, complaints[0])
            self.daemon.overrides.clear()
            lists = len(self.observer.lists)
            self.again()
            self.assertEqual(len(self.observer.lists), lists + 1, (path, answer))
            self.client.stop()

    def test_lost(self) -> None:
        """A stream that is lost is logged with the reason of the loss; the next loss too."""
        self.start()
        for _ in range(2):

            def lose() -> None:
                self.daemon.drop_connections(streams_only=True)
                self.pump()

            self.assertEqual(self.complaints(lose), ["the stream ended: Connection was closed cleanly."])
            self.again()

    def test_silence(self) -> None:
        """A daemon that does not begin to answer is given up after 30 seconds."""
        self.daemon.overrides["/events"] = None
        self.start()
        [complaint] = self.complaints(lambda: self.pump(30))
        self.assertIn("no answer in 30 s", complaint)
        self.daemon.overrides.clear()
        self.again()
        self.assertEqual(len(self.observer.lists), 1)

    def test_idle_stream(self) -> None:
        """A stream on which nothing happens is followed for as long as it stands."""
        self.start()
        self.pump(10**6)
        self.assertEqual(len(self.observer.lists), 1)
        container_id = self.daemon.create("a")
        self.pump()
        self.assertEqual(self.observer.of(container_id), ["listed", "create"])

    def test_stream_ends_while_listing(self) -> None:
        """A stream that ends before the list is there is opened again, after the list was told."""
        self.at_request("/containers/json", lambda: self.daemon.drop_connections(streams_only=True))
        self.start()
        self.again()
        self.assertEqual(len(self.observer.lists), 2)

    def test_refused_for_good(self) -> None:
        """After a login that was refused for good nothing is tried again."""
        self.remote.connected = False
        self.remote.refused = PermanentSSHError(destination="me@remote", reason="wrong key")
        [complaint] = self.complaints(self.start)
        self.assertEqual(complaint, str(self.remote.refused))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused_later(self) -> None:
        """A login that once worked and is refused now may work again: it is asked for as always."""
        refusal = PermanentSSHError(destination="me@remote", reason="wrong key")
        with self.patched_listing(refusal):
            self.assertEqual(self.complaints(self.start), [str(refusal)])
        self.again()
        self.assertEqual(len(self.observer.lists), 1)

    @contextmanager
    def patched_listing(self, error: Exception) -> Iterator[None]:
        """Inside, the containers cannot be listed."""

        async def listing() -> Any:
            raise error

        patch = self.patch(self.client._watch, "_listing", listing)
        yield
        patch.restore()

    def test_bug(self) -> None:
        """What nobody foresaw is logged as a failure."""
        self.patch(self.client._watch, "_listing", lambda: 1 / 0)
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class StopTests(WatchCase):
    """L{DaemonClient.stop}, at any time; L{MemoryCase.nothing_is_left} sees whether it stopped."""

    def stopped(self) -> None:
        """Stops, and nothing is told any more."""
        self.successResultOf(self.client.stop())
        told = list(self.observer.events)
        self.remote.log_in()
        self.pump(3600)
        self.assertEqual(self.observer.events, told)

    def test_before_the_start(self) -> None:
        """A client that was not started can be stopped."""
        self.stopped()

    def test_twice(self) -> None:
        """It can be stopped twice."""
        self.start()
        self.stopped()
        self.stopped()

    def test_while_waiting_for_a_login(self) -> None:
        """Before there is a login."""
        self.remote.log_out()
        self.start()
        self.stopped()

    def test_while_connecting(self) -> None:
        """Before there is a connection; it is no reason to complain."""
        self.client.start()
        with capturedLogs() as logged:
            self.stopped()
        self.assertEqual(logged, [])

    def test_while_connecting_by_twisted(self) -> None:
        """Twisted's own endpoints have an error of their own for an attempt that was given up."""
        given_up: list[str] = []

        def give_up(waiting: Deferred[IProtocol]) -> None:
            given_up.append("once")
            waiting.errback(ConnectingCancelledError(UNIXAddress("/run/docker.sock")))

        def connect(endpoint: object, factory: object) -> Deferred[IProtocol]:
            return Deferred(give_up)

        self.patch(MemoryClientEndpoint, "connect", connect)
        self.client.start()
        with capturedLogs() as logged:
            self.stopped()
        self.assertEqual(logged, [])
        self.assertEqual(given_up, ["once"])

    def test_in_a_pause(self) -> None:
        """Between two attempts."""
        self.daemon.shut_down()
        self.start()
        self.stopped()

    def test_at_each_question(self) -> None:
        """While the daemon is silent, wherever that is."""
        for path in ("/_ping", "/events", "/containers/json"):
            self.setUp()
            self.daemon.overrides[path] = None
            self.start()
            self.assertEqual(self.targets()[-1], path)
            self.stopped()
            self.nothing_is_left()

    def test_while_following(self) -> None:
        """While events are followed."""
        self.start()
        self.stopped()
