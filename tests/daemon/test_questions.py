"""
Tests for L{remotedocker.daemon._questions}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from remotedocker.errors import DaemonUnreachable, SSHUnavailable
from remotedocker.interfaces import IRemote
from tests.daemon.memory import MemoryCase
from tests.support import MemoryClientEndpoint


class ConnectionsTests(MemoryCase):
    """How connections are used."""

    def test_nothing_ahead(self) -> None:
        """No connection is made before there is a question."""
        self.pump()
        self.assertEqual(self.daemon.accepted, 0)

    def test_kept(self) -> None:
        """A connection serves one question after the other."""
        for _ in range(5):
            self.result(self.client.version())
        self.assertEqual(self.daemon.accepted, 1)

    def test_many_at_once(self) -> None:
        """Many questions at once have up to eight connections, of which two are kept."""
        answers = [self.client.version() for _ in range(30)]
        self.pump()
        for answer in answers:
            self.assertEqual(self.successResultOf(answer)["Os"], "linux")
        self.assertEqual(self.daemon.accepted, len(self.daemon.connections) + 6)
        self.assertEqual(len(self.daemon.connections), 2)

    def test_lost_while_idle(self) -> None:
        """A connection that was lost while nobody asked is not used again."""
        self.result(self.client.version())
        self.daemon.drop_connections()
        self.pump()
        self.result(self.client.version())
        self.assertEqual(self.daemon.requests, ["GET /version"] * 2)
        self.assertEqual(self.daemon.accepted, 2)

    def test_lost_with_the_question(self) -> None:
        """A question that was lost with its connection is asked again on a new one."""
        self.result(self.client.version())
        self.at_request("/version", self.remote.cut_channels)
        self.assertEqual(self.result(self.client.version())["Os"], "linux")
        self.assertEqual(self.daemon.requests, ["GET /version"] * 3)

    def test_lost_twice(self) -> None:
        """A question is not asked a third time."""
        self.at_request("/version", self.remote.cut_channels, times=2)
        error = self.error(self.client.version(), DaemonUnreachable)
        self.assertIn("the connection was lost before the answer", error.message)
        self.assertEqual(self.daemon.requests, ["GET /version"] * 2)
        self.assertEqual(self.result(self.client.version())["Os"], "linux")

    def test_not_kept_by_the_daemon(self) -> None:
        """A connection that the daemon means to close is closed."""
        self.daemon.overrides["/version"] = (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        )
        for _ in range(2):
            self.assertEqual(self.result(self.client.version()), {})
        self.assertEqual((self.daemon.accepted, self.daemon.connections), (2, []))

    def test_until_the_end(self) -> None:
        """An answer without a length is complete when the daemon closes; its connection is gone."""
        self.daemon.overrides["/version"] = b"HTTP/1.0 200 OK\r\n\r\n{}"
        answer = self.client.version()
        self.pump()
        self.assertNoResult(answer)
        self.daemon.drop_connections()
        self.assertEqual(self.result(answer), {})
        self.daemon.overrides.clear()
        self.result(self.client.version())

    def test_more_than_the_answer(self) -> None:
        """A connection on which more came than was asked for is not used again."""
        self.daemon.overrides["/version"] = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n"
        )
        self.assertEqual(self.result(self.client.version()), {})
        self.assertEqual(self.daemon.connections, [])

    def test_interim(self) -> None:
        """An interim answer is passed over."""
        self.daemon.overrides["/version"] = (
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        )
        self.assertEqual(self.result(self.client.version()), {})

    def test_what_is_sent(self) -> None:
        """Only the host and who asks is said: no API version, and nothing about what is accepted."""
        self.result(self.client.version())
        [head] = self.daemon.heads
        self.assertEqual(
            head.raw, b"GET /version HTTP/1.1\r\nHost: docker\r\nUser-Agent: remotedocker\r\n\r\n"
        )


class TroubleTests(MemoryCase):
    """What cannot be asked."""

    def test_refused(self) -> None:
        """A daemon that refuses is named with its socket and its host."""
        self.daemon.shut_down()
        error = self.error(self.client.version(), DaemonUnreachable)
        self.assertIn(
            "/run/docker.sock on me@remote cannot be reached: Connection was refused", error.message
        )

    def test_no_login(self) -> None:
        """What the remote says of its login is passed on as it is."""
        self.remote.unavailable = True
        self.error(self.client.version(), SSHUnavailable)

    def test_waits_for_the_login(self) -> None:
        """A question waits for the login as long as the remote does."""
        self.remote.log_out()
        answer = self.client.version()
        self.pump(3600)
        self.assertNoResult(answer)
        self.remote.log_in()
        self.result(answer)

    def test_silence(self) -> None:
        """A daemon that says nothing for 30 seconds is given up, once."""
        self.daemon.overrides["/version"] = None
        answer = self.client.version()
        self.pump()
        self.pump(29.9)
        self.assertNoResult(answer)
        self.pump(0.2)
        error = self.error(answer, DaemonUnreachable)
        self.assertIn("no answer in 30 s", error.message)
        self.assertEqual(self.daemon.requests, ["GET /version"])
        self.assertEqual(self.daemon.connections, [])

    def test_cancelled(self) -> None:
        """A question that nobody waits for any more ends its connection, wherever it is."""
        self.daemon.overrides["/version"] = None
        waiting = [self.client.version() for _ in range(9)]
        self.pump()
        for answer in waiting:
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
        self.pump()
        self.assertEqual(self.daemon.connections, [])
        self.daemon.overrides.clear()
        self.result(self.client.version())

    def test_stop(self) -> None:
        """At a stop open questions fail, and no new ones are asked."""
        self.daemon.overrides["/version"] = None
        waiting = [self.client.version() for _ in range(9)]
        self.pump()
        self.client.stop()
        for answer in waiting:
            self.error(answer, DaemonUnreachable)
        error = self.error(self.client.version(), DaemonUnreachable)
        self.assertIn("stopping", error.message)

    def test_stop_while_connecting(self) -> None:
        """A connection that comes after the stop is ended."""
        endpoint = MemoryClientEndpoint(self.network, "docker", held=True)
        remote: IRemote = type(self.remote)(lambda name: endpoint)
        self.client = type(self.client)(self.clock, remote)
        answer = self.client.version()
        self.client.stop()
        endpoint.release()
        self.error(answer, DaemonUnreachable)
        self.assertEqual(self.daemon.connections, [])
