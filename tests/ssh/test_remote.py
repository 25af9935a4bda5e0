"""The remote host over a real sshd: lost links, several connections, ways to the daemon."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost, ProcessTerminated
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.errors import DaemonUnreachable, ForwardingForbidden, SSHError, SSHUnavailable
from remotedocker.interfaces import FileAttributes, IRemote, IRemoteObserver
from remotedocker.ssh import _docker, _heartbeat, _packets
from tests.ssh.real import RealServerMixin
from tests.support import Recorder, wait_until
from tests.support.docker_socket import EchoDaemon
from tests.support.sshd import free_port


@implementer(IRemoteObserver)
class _Observer:
    """Records what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def connected(self) -> None:
        """Recorded."""
        self.heard.append("connected")

    def disconnected(self, reason: Exception) -> None:
        """Recorded."""
        self.heard.append("disconnected")


class _RemoteTestCase(RealServerMixin, TestCase):
    """A daemon that echoes, and ways to it."""

    async def start_daemon(self) -> EchoDaemon:
        """@return: a daemon; C{self.socket} is the path of its socket."""
        self.socket = os.path.join(self.mktemp_directory(), "docker.sock")
        return await self.serve(EchoDaemon())

    async def serve(self, daemon: EchoDaemon) -> EchoDaemon:
        """@return: the daemon, when it listens; it is ended with the test."""
        port = await daemon.listen(reactor, self.socket)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end(daemon, port)))
        return daemon

    async def end(self, daemon: EchoDaemon, port: Any) -> None:
        """Stops the login, and waits until the daemon has no connection left."""
        await self.remote.stop()
        await port.stopListening()
        await self.until(lambda: not daemon.conversations)

    async def cut(self) -> None:
        """Breaks every connection, and waits until that is noticed and new ones stand."""
        links = [self.remote._main, *self.remote._bulk]
        before = [link.login for link in links]
        self.server.cut()
        await self.until(
            lambda: all(one.login not in (None, old) for one, old in zip(links, before, strict=True))
        )

    def serve_tcp(self) -> int:
        """@return: the port of a daemon that listens on TCP; it is ended with the test."""
        daemon = EchoDaemon()
        listening: Any = reactor.listenTCP(0, daemon, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end(daemon, listening)))
        return int(listening.getHost().port)

    async def log_in_to_daemon(self, **changes: Any) -> EchoDaemon:
        """@return: a daemon, and C{self.remote} leads to it."""
        daemon = await self.start_daemon()
        await self.log_in(remote_docker=f"unix://{self.socket}", **changes)
        return daemon

    async def assert_echoes(self, bulk: bool = False) -> Recorder:
        """@return: a protocol on a channel to the daemon, which answers."""
        protocol = Recorder()
        await connectProtocol(self.remote.docker_endpoint(bulk), protocol)
        protocol.transport.write(b"hello")
        await self.until(lambda: protocol.received == b"hello" or protocol.lost)
        self.assertEqual(protocol.received, b"hello")
        return protocol

    async def until(self, condition: Any) -> None:
        """Returns once it is true."""
        await wait_until(reactor, condition)


class RemoteTests(_RemoteTestCase):
    """L{Remote}."""

    async def test_interface(self) -> None:
        """It provides IRemote."""
        remote = self.make_remote()
        verifyObject(IRemote, remote)
        self.assertEqual(remote.destination, self.server.destination)
        self.assertFalse(remote.connected)

    async def test_run(self) -> None:
        """A command's status, signal, output and the last of its errors are told."""
        remote = await self.log_in()
        good = await remote.run("cat; echo words >&2", b"stdin" * 100_000)
        self.assertEqual((good.status, good.signal, good.stderr), (0, "", b"words\n"))
        self.assertTrue(good.stdout == b"stdin" * 100_000)
        self.assertEqual((await remote.run("exit 3")).status, 3)
        killed = await remote.run("kill -TERM $$")
        self.assertEqual((killed.status, killed.signal), (None, "TERM"))
        loud = await remote.run("head -c 300000 /dev/zero | tr '\\0' e >&2; printf end >&2")
        self.assertEqual(len(loud.stderr), 65536)
        self.assertTrue(loud.stderr.endswith(b"eend"))

    async def test_command_endpoint(self) -> None:
        """A command's end is clean for status 0, and otherwise tells the status and its last words."""
        remote = await self.log_in()
        good, bad = Recorder(), Recorder()
        await connectProtocol(remote.command_endpoint("cat"), good)
        good.transport.write(b"there and back")
        good.transport.loseWriteConnection()
        await connectProtocol(remote.command_endpoint("echo no such thing >&2; exit 4"), bad)
        await self.until(lambda: good.lost and bad.lost)
        self.assertEqual(good.received, b"there and back")
        self.assertTrue(good.reason is not None and good.reason.check(ConnectionDone))
        self.assertTrue(bad.reason is not None and bad.reason.check(ProcessTerminated))
        assert bad.reason is not None
        self.assertEqual(bad.reason.value.exitCode, 4)
        self.assertTrue(bad.reason.value.args[0].endswith("no such thing"))

    async def test_ahead(self) -> None:
        """What is run ahead of its need takes no session of the first connection, the only one or not."""
        remote = await self.log_in(connections=1)
        connecting = connectProtocol(remote.command_endpoint("cat", ahead=True), Recorder())
        error = await self.assertFailure(connecting, SSHError)
        self.assertIn("no connection for it", str(error))
        self.assertEqual((await remote.run("printf x")).stdout, b"x")

    async def test_ahead_on_bulk(self) -> None:
        """It runs on a connection for bulk, once that stands."""
        remote = await self.log_in(connections=2)
        await self.until(lambda: len(self.server.sessions()) == 2)

        async def open_ahead() -> Recorder | None:
            ahead = Recorder()
            try:
                await connectProtocol(remote.command_endpoint("cat", ahead=True), ahead)
            except SSHError:
                # The second login is not yet through.
                return None
            return ahead

        while (ahead := await open_ahead()) is None:
            await remote.run("true")
        ahead.transport.write(b"there and back")
        await self.until(lambda: ahead.received == b"there and back")
        ahead.transport.loseWriteConnection()
        await self.until(lambda: ahead.lost)

    async def test_cut_off_command(self) -> None:
        """A command whose connection is lost never counts as ended."""
        remote = await self.log_in()
        running = remote.run("sleep 100")
        await remote.run("true")
        self.server.cut()
        error = await self.assertFailure(running, SSHError)
        self.assertIn("sleep 100", str(error))

    async def test_tcp_endpoint(self) -> None:
        """A port of the remote's is reached; one where nothing listens is told so."""
        remote = await self.log_in()
        port = self.serve_tcp()
        protocol = Recorder()
        await connectProtocol(remote.tcp_endpoint("127.0.0.1", port), protocol)
        protocol.transport.write(b"hello")
        await self.until(lambda: protocol.received == b"hello")
        refused = connectProtocol(remote.tcp_endpoint("127.0.0.1", free_port()), Recorder())
        error = await self.assertFailure(refused, SSHError)
        self.assertIn("refused", str(error).lower())

    async def test_tcp_forbidden(self) -> None:
        """A server that forbids forwarding is named, with its options."""
        self.start_server("AllowTcpForwarding no")
        remote = await self.log_in()
        refused = connectProtocol(remote.tcp_endpoint("127.0.0.1", free_port()), Recorder())
        error = await self.assertFailure(refused, ForwardingForbidden)
        self.assertIn("AllowTcpForwarding", str(error))

    async def test_no_protocol(self) -> None:
        """A factory that wants no connection leaves no channel."""
        daemon = await self.log_in_to_daemon()
        factory = Factory.forProtocol(lambda: None)
        await self.assertFailure(self.remote.docker_endpoint().connect(factory), Exception)
        await self.until(lambda: not daemon.conversations)
        await self.until(lambda: not self.remote._main.login.connection.channels)

    async def test_many_at_once(self) -> None:
        """Two hundred channels at the same time all work."""
        await self.log_in_to_daemon()
        protocols = await gatherResults(
            [connectProtocol(self.remote.docker_endpoint(), Recorder()) for _ in range(200)]
        )
        for number, protocol in enumerate(protocols):
            protocol.transport.write(b"%d" % number)
        await self.until(lambda: all(protocol.received for protocol in protocols))
        self.assertEqual(
            [bytes(protocol.received) for protocol in protocols], [b"%d" % n for n in range(200)]
        )


class LostLinkTests(_RemoteTestCase):
    """What happens when the link is lost."""

    async def test_comes_back(self) -> None:
        """
        Streams end with an error, observers hear of it, requests wait for the new login, and everything works
        again.
        """
        await self.log_in_to_daemon()
        observer = _Observer()
        self.remote.add_observer(observer)
        protocol = await self.assert_echoes()
        self.server.cut()
        await self.until(lambda: protocol.lost)
        self.assertTrue(protocol.reason is not None and protocol.reason.check(ConnectionLost))
        self.assertFalse(protocol.reason.check(ConnectionDone))
        self.assertFalse(self.remote.connected)
        await self.assert_echoes()
        await self.remote.when_connected()
        self.assertTrue(self.remote.connected)
        self.assertEqual(observer.heard, ["disconnected", "connected"])

    async def test_server_away(self) -> None:
        """
        While the server is away requests wait, and then fail with the reason; when it is back all is well.
        """
        self.start_server("")
        await self.log_in_to_daemon(wait_for_ssh=1.0)
        self.server.stop()
        await self.until(lambda: not self.remote.connected)
        waiting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        error = await self.assertFailure(waiting, SSHUnavailable)
        self.assertIn("connection refused", str(error))
        self.server.restart()
        await self.until(lambda: self.remote.connected)
        await self.assert_echoes()

    async def test_failing_observer(self) -> None:
        """An observer that fails does not keep the others from hearing."""
        await self.log_in()
        self.remote.add_observer(object())  # type: ignore[arg-type]
        observer = _Observer()
        self.remote.add_observer(observer)
        self.server.cut()
        await self.until(lambda: observer.heard == ["disconnected", "connected"])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 2)

    async def test_stop_while_busy(self) -> None:
        """Stopping in the middle of streams leaves nothing behind."""
        daemon = await self.log_in_to_daemon(connections=2)
        protocol = await self.assert_echoes()
        protocol.transport.write(b"x" * 10_000_000)
        waiting = self.remote.run("sleep 100")
        await self.remote.stop()
        self.assertTrue(protocol.lost)
        await self.assertFailure(waiting, SSHError)
        await self.until(lambda: not daemon.conversations)


class DeadLinkTests(_RemoteTestCase):
    """Links that carry nothing any more, though nobody has closed them."""

    def setUp(self) -> None:
        """The heart beats faster than usual."""
        for name, seconds in (("_TICK", 0.1), ("_IDLE", 0.3), ("_PATIENCE", 0.6)):
            self.patch(_heartbeat, name, seconds)

    async def freeze(self) -> None:
        """Stops the server's processes of our logins, as if the network had swallowed everything."""
        frozen = self.server.sessions()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
            self.addCleanup(self.server.end_session, pid)

    async def test_idle(self) -> None:
        """A dead link is noticed while nothing goes over it, and another login is made."""
        await self.log_in_to_daemon()
        protocol = await self.assert_echoes()
        await self.freeze()
        await self.until(lambda: protocol.lost)
        self.assertIn("has not answered", str(protocol.reason.value))
        await self.assert_echoes()

    async def test_woken(self) -> None:
        """After the laptop was asleep a dead link is noticed by that, long before it would be otherwise."""
        for name in ("_IDLE", "_PATIENCE"):
            self.patch(_heartbeat, name, 1e6)
        asleep = 0.0

        def gettime(clock: int) -> float:
            return 0.0 if clock == time.CLOCK_MONOTONIC else asleep

        self.patch(_heartbeat, "time", SimpleNamespace(**{**vars(time), "clock_gettime": gettime}))
        await self.log_in_to_daemon()
        protocol = await self.assert_echoes()
        await self.freeze()
        asleep = 3600.0
        await self.until(lambda: protocol.lost)
        self.assertIn("has not answered for", str(protocol.reason.value))
        await self.assert_echoes()

    async def test_under_load(self) -> None:
        """So it is in the middle of a stream, even one that fills every buffer."""
        await self.log_in_to_daemon()
        protocol = await self.assert_echoes()
        await self.freeze()
        protocol.transport.write(b"x" * 20_000_000)
        await self.until(lambda: protocol.lost)
        await self.assert_echoes()


class RekeyTests(_RemoteTestCase):
    """New keys under load."""

    async def test_both_sides(self) -> None:
        """Both sides ask for new keys again and again, while data flows both ways, and nothing is lost."""
        self.patch(_packets, "_REKEY_BYTES", 700_000)
        self.start_server("RekeyLimit 900K")
        await self.log_in_to_daemon()
        protocol = await self.assert_echoes()
        protocol.received.clear()
        content = bytes(range(256)) * 40_000
        protocol.transport.write(content)
        await self.until(lambda: len(protocol.received) >= len(content))
        self.assertTrue(protocol.received == content)
        self.assertFalse(protocol.lost)
        self.assertGreater(self.remote._main.login.transport.exchanges, 10)


class BulkTests(_RemoteTestCase):
    """More than one connection."""

    async def test_apart(self) -> None:
        """Bulk streams, commands and files go over the second connection, the others over the first."""
        await self.log_in_to_daemon(connections=2)
        main, bulk = self.remote._main, self.remote._bulk[0]
        await self.until(lambda: bulk.login is not None)
        await self.assert_echoes()
        before = bulk.login.connection._next_id
        await self.assert_echoes(bulk=True)
        await self.remote.run("true")
        await (await self.remote.filesystem()).real_path(b".")
        self.assertEqual(bulk.login.connection._next_id - before, 3)
        await self.until(lambda: len(self.server.sessions()) == 2)
        self.assertIsNot(main.login.connection, bulk.login.connection)

    async def test_degrades(self) -> None:
        """Where the server lets in only one connection, everything goes over that."""
        self.start_server("MaxStartups 1:100:1")
        await self.log_in_to_daemon(connections=2)
        bulk = self.remote._bulk[0]
        bulk._core.attempt = lambda: self.fail_login()
        if bulk.login is not None:
            bulk.login.abort(SSHError(destination="host", reason="test"))
        await self.assert_echoes(bulk=True)
        self.assertEqual((await self.remote.run("printf one")).stdout, b"one")

    def fail_login(self) -> Any:
        """@return: an attempt that fails."""
        return fail(SSHError(destination="host", reason="too many connections"))

    async def test_heals_by_itself(self) -> None:
        """When the bulk connection alone is lost, the first one does not notice, and a new one is made."""
        await self.log_in_to_daemon(connections=2)
        bulk = self.remote._bulk[0]
        await self.until(lambda: bulk.login is not None)
        observer = _Observer()
        self.remote.add_observer(observer)
        first = bulk.login
        protocol = await self.assert_echoes()
        first.abort(SSHError(destination="host", reason="test"))
        await self.assert_echoes(bulk=True)
        await self.until(lambda: bulk.login is not None)
        self.assertIsNot(bulk.login, first)
        self.assertEqual((observer.heard, protocol.lost), ([], False))

    async def test_one_at_a_time(self) -> None:
        """With MaxStartups 1 all connections stand in the end, one after the other, after a cut as well."""
        self.start_server("MaxStartups 1")
        await self.log_in_to_daemon(connections=3)
        for _ in range(2):
            await self.until(lambda: all(link.login is not None for link in self.remote._bulk))
            await self.assert_echoes(bulk=True)
            await self.cut()

    async def test_somebody_else_logs_in(self) -> None:
        """With MaxStartups 1, somebody who does not finish their login is named as what is in the way."""
        server = self.start_server("MaxStartups 1")
        with ExitStack() as somebody:
            while (
                somebody.enter_context(socket.create_connection(("127.0.0.1", server.port))).recv(4)
                != b"SSH-"
            ):
                somebody.close()
            remote = self.make_remote(wait_for_ssh=0.5)
            remote.start()
            error = await self.assertFailure(remote.run("true"), SSHUnavailable)
            self.assertIn("(MaxStartups in its sshd_config)", str(error))
        await remote.when_connected()

    async def test_one_session(self) -> None:
        """With MaxSessions 1, files and commands use both connections, and what does not fit is told why."""
        self.start_server("MaxSessions 1")
        await self.log_in_to_daemon(connections=2)
        await self.until(lambda: self.remote._bulk[0].login is not None)
        files = await self.remote.filesystem()
        await files.real_path(b".")
        for _ in range(3):
            self.assertEqual((await self.remote.run("printf one")).stdout, b"one")
        await self.assert_echoes()
        staying = Recorder()
        await connectProtocol(self.remote.command_endpoint("cat"), staying)
        error = await self.assertFailure(self.remote.run("true"), SSHError)
        self.assertIn("MaxSessions", str(error))

    async def test_one_session_one_connection(self) -> None:
        """Even one connection with one session at a time can forward and run commands."""
        self.start_server("MaxSessions 1")
        await self.log_in_to_daemon()
        self.assertEqual((await self.remote.run("printf one")).stdout, b"one")
        await self.assert_echoes()


class DaemonTests(_RemoteTestCase):
    """Ways to the daemon."""

    async def test_missing_socket(self) -> None:
        """A socket that is not there is told."""
        await self.log_in(remote_docker="unix:///no/such/docker.sock")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        error = await self.assertFailure(connecting, DaemonUnreachable)
        self.assertIn("/no/such/docker.sock", str(error))
        self.assertIn("there is no such socket", str(error))
        self.assertEqual(error.status, 502)

    async def test_elsewhere(self) -> None:
        """Where the daemon is another user's own, or Podman, the message names its socket."""
        directory = Path(self.mktemp_directory())
        self.start_server(f"SetEnv XDG_RUNTIME_DIR={directory}")
        (directory / "podman").mkdir()
        for name in ("podman/podman.sock", "docker.sock"):
            self.socket = str(directory / name)
            daemon = EchoDaemon()
            port = await daemon.listen(reactor, self.socket)
            self.addCleanup(port.stopListening)
            await self.log_in(remote_docker="unix:///no/such/docker.sock")
            connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
            error = await self.assertFailure(connecting, DaemonUnreachable)
            self.assertIn(f"there is no such socket, but there is unix://{self.socket}", str(error))
            await self.remote.stop()
            await self.log_in(remote_docker=f"unix://{self.socket}")
            await self.assert_echoes()
            await self.remote.stop()

    async def test_not_allowed(self) -> None:
        """A socket that the user may not open is told from one that is missing."""
        self.socket = os.path.join(self.mktemp_directory(), "docker.sock")
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(self.socket)
        os.chmod(self.socket, 0)
        # Nothing is forbidden to root, as whom the tests may run.
        self.patch(_docker, "_LOOK", _docker._LOOK.replace("[ ! -r {path} ]", "[ $(stat -c %a {path}) = 0 ]"))
        await self.log_in(remote_docker=f"unix://{self.socket}")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        error = await self.assertFailure(connecting, DaemonUnreachable)
        self.assertIn("permission denied", str(error))

    async def test_no_socket(self) -> None:
        """A file that is no socket is told."""
        path = Path(self.mktemp_directory()) / "file"
        path.write_text("")
        await self.log_in(remote_docker=f"unix://{path}")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        self.assertIn("no socket", str(await self.assertFailure(connecting, DaemonUnreachable)))

    async def test_nobody_listens(self) -> None:
        """A socket that a dead daemon left behind is told from one that is missing."""
        await self.start_daemon()
        stale = self.socket + ".stale"
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(stale)
        await self.log_in(remote_docker=f"unix://{stale}")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        error = await self.assertFailure(connecting, DaemonUnreachable)
        self.assertNotIn("no such socket", str(error))

    async def test_by_command(self) -> None:
        """A server that does not forward to sockets is got round by a command, which half-closes as well."""
        self.start_server("AllowStreamLocalForwarding no")
        await self.log_in_to_daemon()
        for _ in range(2):
            protocol = await self.assert_echoes()
            protocol.transport.loseWriteConnection()
            await self.until(lambda: protocol.lost)  # noqa: B023
            self.assertIn("eof", protocol.events)

    async def test_tcp_daemon(self) -> None:
        """A daemon that listens on TCP is reached; one that does not is told so."""
        port = self.serve_tcp()
        await self.log_in(remote_docker=f"tcp://127.0.0.1:{port}")
        await self.assert_echoes()
        await self.remote.stop()
        await self.log_in(remote_docker=f"tcp://127.0.0.1:{free_port()}")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        self.assertIn("refused", str(await self.assertFailure(connecting, DaemonUnreachable)).lower())

    async def test_tcp_forbidden(self) -> None:
        """
        A TCP daemon behind a server that forwards nothing is reached by a command, too, or it is told why
        not.
        """
        self.start_server("AllowTcpForwarding no")
        port = self.serve_tcp()
        await self.log_in(remote_docker=f"tcp://127.0.0.1:{port}")
        await self.assert_echoes()

    async def test_nothing_allowed(self) -> None:
        """Where neither forwarding nor commands are allowed, that is told."""
        self.start_server("AllowStreamLocalForwarding no\nMaxSessions 0")
        await self.start_daemon()
        await self.log_in(remote_docker=f"unix://{self.socket}")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        error = await self.assertFailure(connecting, ForwardingForbidden)
        self.assertIn("AllowStreamLocalForwarding", str(error))

    async def test_endless_commands(self) -> None:
        """Where commands do not end, nobody waits for them for ever."""
        self.patch(_docker, "_LOOK_SECONDS", 0.5)
        # sshd does not end what it runs with the session: it must end by itself soon.
        self.start_server("AllowStreamLocalForwarding no\nForceCommand sleep 30")
        await self.start_daemon()
        await self.log_in(remote_docker=f"unix://{self.socket}")
        connecting = [connectProtocol(self.remote.docker_endpoint(), Recorder()) for _ in range(2)]
        for one in connecting:
            error = await self.assertFailure(one, ForwardingForbidden)
            self.assertIn("no command can be run there", str(error))

    async def test_daemon_comes_up(self) -> None:
        """A daemon that is started later is found at the next request."""
        self.socket = os.path.join(self.mktemp_directory(), "docker.sock")
        await self.log_in(remote_docker=f"unix://{self.socket}")
        connecting = connectProtocol(self.remote.docker_endpoint(), Recorder())
        await self.assertFailure(connecting, DaemonUnreachable)
        await self.serve(EchoDaemon())
        await self.assert_echoes()


class WarmTests(_RemoteTestCase):
    """Channels that are open ahead."""

    warm = True

    async def test_warm(self) -> None:
        """Channels to the daemon are open before they are needed, and are replaced when taken."""
        daemon = await self.log_in_to_daemon()
        await self.until(lambda: len(daemon.conversations) == 4)
        await self.assert_echoes()
        await self.assert_echoes()
        await self.until(lambda: len(daemon.conversations) == 6)
        await self.cut()
        await self.until(lambda: len(daemon.conversations) == 4)
        await self.assert_echoes()

    async def test_closed_by_daemon(self) -> None:
        """One that the daemon has closed meanwhile is not used."""
        daemon = await self.log_in_to_daemon()
        await self.until(lambda: len(daemon.conversations) == 4)
        pool = self.remote._extras._pool
        await self.until(lambda: len(pool) == 4)
        for conversation in list(daemon.conversations):
            conversation.transport.loseConnection()
        await self.until(lambda: not any(channel.usable for _, channel in pool._ready))
        await self.assert_echoes()


class MemoryTests(_RemoteTestCase):
    """Nothing grows."""

    async def test_slow_reader(self) -> None:
        """A reader that stops holds no more than its window, however much the daemon has to send."""
        daemon = await self.log_in_to_daemon()
        daemon.silent = True
        protocol = Recorder()
        await connectProtocol(self.remote.docker_endpoint(), protocol)
        await self.until(lambda: daemon.conversations)
        protocol.transport.pauseProducing()
        daemon.conversations[0].transport.write(b"x" * 50_000_000)
        channel = protocol.transport
        await self.until(lambda: channel._window_left == 0)
        self.assertEqual(sum(map(len, channel._inbound)), 2 << 20)
        self.assertEqual((await self.remote.run("printf 'others go on'")).stdout, b"others go on")
        protocol.transport.resumeProducing()
        await self.until(lambda: len(protocol.received) == 50_000_000)

    async def test_nothing_is_left(self) -> None:
        """
        After many channels, commands and files, with cuts between, there are no more channels than before.
        """
        daemon = await self.log_in_to_daemon(connections=2)
        directory = os.fsencode(self.mktemp_directory())
        for _ in range(3):
            for _ in range(30):
                protocol = await self.assert_echoes()
                protocol.transport.loseConnection()
            await gatherResults([self.remote.run("true") for _ in range(5)])
            files = await self.remote.filesystem()
            await gatherResults(
                [files.write_file(directory + b"/%d" % n, [b"x"], FileAttributes()) for n in range(20)]
            )
            await self.cut()
        await self.assert_echoes()
        await self.until(lambda: len(daemon.conversations) == 1)
        login = self.remote._main.login
        await self.until(lambda: len(login.connection.channels) == 1)
        self.assertEqual(login.connection._waiting, {})
