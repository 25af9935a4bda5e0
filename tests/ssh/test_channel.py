"""Our channels against Conch's server in one process: windows, ends, and what goes wrong."""

from __future__ import annotations

from typing import Any

from twisted.conch.error import ConchError
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from remotedocker.ssh._channel import MAXIMUM_PACKET, Channel
from remotedocker.ssh._channel_reading import INITIAL_WINDOW, LARGEST_WINDOW
from remotedocker.ssh._channel_writing import HIGH_WATER
from remotedocker.ssh._connection import ChannelRefused
from remotedocker.ssh._endpoints import streamlocal_channel, tcp_channel
from remotedocker.ssh._login import Login
from tests.ssh.conch import FarChannel, InMemoryLoginMixin
from tests.support import FullCloseRecorder, Recorder

_PATH = "/var/run/docker.sock"


class _ChannelTestCase(InMemoryLoginMixin, SynchronousTestCase):
    """A login, and channels on it."""

    def setUp(self) -> None:
        """Logs in."""
        self.login: Login = self.log_in()
        self.connection = self.login.connection

    def open(self, protocol: Any = None) -> tuple[Any, FarChannel]:
        """@return: a protocol on a new channel, and the server's end of it."""
        protocol = Recorder() if protocol is None else protocol
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        self.network.pump()
        self.successResultOf(opening).attach(protocol)
        return protocol, self.server.channels[-1]

    def assert_nothing_left(self) -> None:
        """Neither side knows any channel any more."""
        self.network.pump()
        self.assertEqual(self.connection.channels, {})
        self.assertEqual(self.server.transport.service.channels, {})


class OpeningTests(_ChannelTestCase):
    """Opening channels."""

    def test_streamlocal(self) -> None:
        """The request names the socket as OpenSSH wants it."""
        _, far = self.open()
        self.assertEqual(far.name, b"direct-streamlocal@openssh.com")
        self.assertEqual(far.data, b"\0\0\0\x14/var/run/docker.sock" + b"\0\0\0\0" + b"\0\0\0\0")
        self.assertEqual(
            (self.server.offered_window, self.server.offered_packet), (INITIAL_WINDOW, MAXIMUM_PACKET)
        )

    def test_tcp(self) -> None:
        """The request names host and port, and where it comes from."""
        opening = self.connection.open(tcp_channel(self.connection, "::1", 8080))
        self.network.pump()
        channel = self.successResultOf(opening)
        far = self.server.channels[-1]
        self.assertEqual(far.name, b"direct-tcpip")
        self.assertEqual(far.data, b"\0\0\0\3::1\0\0\x1f\x90\0\0\0\x09127.0.0.1\0\0\0\0")
        self.assertEqual(channel.getPeer().description, "[::1]:8080")

    def test_refused(self) -> None:
        """A refusal has the server's code and words, and leaves nothing; other channels work."""
        self.server.refuse_with = 1
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        self.network.pump()
        error = self.failureResultOf(opening, ChannelRefused).value
        self.assertEqual((error.code, error.words), (1, "refused by the test"))
        self.assertEqual(len(self.flushLoggedErrors(ConchError)), 1)
        self.assert_nothing_left()
        self.server.refuse_with = None
        near, far = self.open()
        far.write(b"works")
        self.network.pump()
        self.assertEqual(near.received, b"works")

    def test_cancelled(self) -> None:
        """A channel that nobody wants any more is closed as soon as the server has opened it."""
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        opening.cancel()
        self.failureResultOf(opening)
        self.assertEqual(len(self.connection.channels), 1)
        self.assert_nothing_left()
        self.assertEqual(self.server.channels[-1].events, ["open", "close"])

    def test_cancelled_and_refused(self) -> None:
        """So is one that the server refuses meanwhile."""
        self.server.refuse_with = 2
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        opening.cancel()
        self.failureResultOf(opening)
        self.assert_nothing_left()
        self.assertEqual(len(self.flushLoggedErrors(ConchError)), 1)

    def test_without_connection(self) -> None:
        """On a connection that is lost nothing can be opened."""
        self.lose(self.login)
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        self.failureResultOf(opening, ConnectionLost)

    def test_lost_while_opening(self) -> None:
        """When the connection is lost, whoever waits for a channel hears of it."""
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        self.lose(self.login)
        self.failureResultOf(opening, ConnectionLost)

    def test_many(self) -> None:
        """Numbers are given again only after both sides have closed."""
        pairs = [self.open() for _ in range(20)]
        for number, (_, far) in enumerate(pairs):
            far.write(b"%d" % number)
        self.network.pump()
        self.assertEqual([near.received for near, _ in pairs], [b"%d" % number for number in range(20)])
        for near, _ in pairs:
            near.transport.loseConnection()
        self.assert_nothing_left()

    def test_data_before_protocol(self) -> None:
        """What the server sends before a protocol is there waits for it."""
        opening = self.connection.open(streamlocal_channel(self.connection, _PATH))
        self.network.pump()
        channel = self.successResultOf(opening)
        self.server.channels[-1].write(b"early")
        self.network.pump()
        near = Recorder()
        channel.attach(near)
        self.assertEqual(near.events, ["made", "data"])

    def test_paused_from_the_start(self) -> None:
        """A protocol that pauses as soon as it is connected gets nothing before it resumes."""

        class Paused(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.pauseProducing()

        near, far = self.open(Paused())
        far.write(b"data")
        far.conn.sendEOF(far)
        self.network.pump()
        self.assertEqual(near.events, ["made"])
        near.transport.resumeProducing()
        self.assertEqual(near.events, ["made", "data", "eof"])


class WindowTests(_ChannelTestCase):
    """Flow control."""

    def test_our_window_bounds_a_paused_reader(self) -> None:
        """While the reader is paused the server can send one window and no more."""
        near, far = self.open()
        near.transport.pauseProducing()
        far.write(b"x" * (3 * INITIAL_WINDOW))
        self.network.pump()
        self.assertEqual(sum(map(len, near.transport._inbound)), INITIAL_WINDOW)
        self.assertEqual(near.received, b"")
        near.transport.resumeProducing()
        self.network.pump()
        self.assertEqual(len(near.received), 3 * INITIAL_WINDOW)

    def test_empty_data(self) -> None:
        """Messages of data without any cost the window nothing, and are not kept."""
        near, _ = self.open()
        near.transport.pauseProducing()
        for _ in range(100):
            near.transport.data_received(b"")
        self.assertEqual(len(near.transport._inbound), 0)
        near.transport.resumeProducing()
        self.assertFalse(near.lost)

    def test_paused_within_delivery(self) -> None:
        """A reader may pause itself at every piece: nothing is lost, nothing comes out of order."""

        class Careful(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        near, far = self.open(Careful())
        content = bytes(range(256)) * 20_000
        far.write(content)
        for _ in range(1000):
            self.network.pump()
            if len(near.received) == len(content):
                break
            near.transport.resumeProducing()
        self.assertTrue(near.received == content)

    def test_window_is_returned_in_steps(self) -> None:
        """A reader that keeps up gets any amount, and the window comes back long before it is used up."""
        near, far = self.open()
        lowest = INITIAL_WINDOW
        for _ in range(64):
            far.write(b"x" * 65536)
            self.network.pump()
            lowest = min(lowest, near.transport._window_left)
        self.assertEqual(len(near.received), 64 * 65536)
        self.assertGreater(lowest, INITIAL_WINDOW * 3 // 4)

    def receive(self, channel: Channel, seconds: float) -> None:
        """The server sends a whole window, and the reader takes it as it comes, in so many seconds."""
        amount = channel._window
        for _ in range(16):
            for at in range(0, amount // 16, 32768):
                channel.data_received(bytes(min(32768, amount // 16 - at)))
            self.clock.advance(seconds / 16)

    def test_window_grows_for_the_link(self) -> None:
        """When each round trip brings a whole window, the window is in the way: it grows to its limit."""
        near, _ = self.open()
        channel: Channel = near.transport
        self.connection.round_trip = 0.05
        sizes = [channel._window]
        for _ in range(8):
            self.receive(channel, 0.05)
            sizes.append(channel._window)
            self.assertLessEqual(channel._window_left, channel._window)
        self.assertEqual(sorted(set(sizes)), [2 << 20, 4 << 20, 8 << 20, 16 << 20])
        self.assertEqual(sizes[-1], LARGEST_WINDOW)

    def test_window_stays_for_slow_streams(self) -> None:
        """A stream that a window is enough for, or whose reader is slow, does not make it grow."""
        near, _ = self.open()
        self.connection.round_trip = 0.05
        for _ in range(8):
            self.receive(near.transport, 0.11)
        self.assertEqual(near.transport._window, INITIAL_WINDOW)

    def test_too_much_beside_the_stream(self) -> None:
        """Standard error counts for the window, too."""
        near, far = self.open()
        near.transport.pauseProducing()
        far.remoteWindowLeft = 1 << 30
        for _ in range(INITIAL_WINDOW // 100_000 + 1):
            far.writeExtended(1, b"x" * 100_000)
        self.network.pump()
        self.assertIn("more than the window", str(near.reason.value))

    def test_too_much(self) -> None:
        """A server that sends more than it may loses that channel alone."""
        near, far = self.open()
        other, _ = self.open()
        near.transport.pauseProducing()
        far.remoteWindowLeft = 10 * INITIAL_WINDOW
        far.write(b"x" * (INITIAL_WINDOW + 1))
        self.network.pump()
        self.assertTrue(near.reason is not None and near.reason.check(ConnectionLost))
        self.assertFalse(other.lost)

    def test_their_window(self) -> None:
        """What the server's window does not take waits here, and goes when it opens; producers are told."""
        near, far = self.open()
        far.withhold = True
        calls = []

        class Producer:
            def pauseProducing(self) -> None:
                calls.append("pause")

            def resumeProducing(self) -> None:
                calls.append("resume")

            def stopProducing(self) -> None:
                calls.append("stop")

        near.transport.registerProducer(Producer(), True)
        content = bytes(range(256)) * 4096
        for at in range(0, len(content), 8192):
            near.transport.write(content[at : at + 8192])
        self.network.pump()
        self.assertEqual(len(far.received), 131072)
        self.assertEqual(near.transport.pending_bytes, len(content) - 131072)
        self.assertEqual(calls, ["pause"])
        far.withhold = False
        far.conn.adjustWindow(far, len(content) - 131072 - HIGH_WATER // 2 - 1)
        self.network.pump()
        self.assertEqual(calls, ["pause", "resume"])
        near.transport.unregisterProducer()
        far.conn.adjustWindow(far, len(content))
        self.network.pump()
        self.assertTrue(far.received == content)

    def test_pull_producer(self) -> None:
        """A producer that is not streaming is asked each time there is nothing left to send."""
        near, far = self.open()

        class Pull:
            left = 20

            def resumeProducing(self) -> None:
                if self.left:
                    self.left -= 1
                    near.transport.write(b"x" * 50_000)
                else:
                    near.transport.unregisterProducer()

            def stopProducing(self) -> None:
                self.left = 0

        near.transport.registerProducer(Pull(), False)
        near.transport.loseConnection()
        self.network.pump()
        self.assertEqual(len(far.received), 1_000_000)
        self.assertTrue(near.lost)

    def test_second_producer(self) -> None:
        """
        A second producer is refused, as TCP's transports do; one on a closed channel is stopped at once.
        """
        near, _ = self.open()
        stopped = []

        class Producer:
            def stopProducing(self) -> None:
                stopped.append(self)

        near.transport.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, near.transport.registerProducer, Producer(), True)
        near.transport.abortConnection()
        self.network.pump()
        near.transport.registerProducer(Producer(), True)
        self.assertEqual(len(stopped), 2)

    def test_small_writes_go_together(self) -> None:
        """Many small writes that had to wait go in few packets."""
        near, far = self.open()
        far.withhold = True
        near.transport.write(b"x" * 131072)
        self.network.pump()
        for _ in range(10_000):
            near.transport.write(b"0123456789")
        before = self.login.transport._out_sequence
        far.withhold = False
        far.conn.adjustWindow(far, 200_000)
        self.network.pump()
        self.assertEqual(len(far.received), 131072 + 100_000)
        self.assertLess(self.login.transport._out_sequence - before, 10)

    def test_large_write_goes_at_once(self) -> None:
        """A large write goes to the socket in one piece, in packets that the server takes."""
        self.server.window = 1 << 20
        near, far = self.open()
        writes: list[int] = []
        write = self.login.transport.transport.writeSequence

        def noted(pieces: Any) -> None:
            writes.append(sum(map(len, pieces)))
            write(pieces)

        self.patch(self.login.transport.transport, "writeSequence", noted)
        content = bytes(range(250)) * 400
        near.transport.write(content)
        self.assertEqual(len(writes), 1)
        self.network.pump()
        self.assertTrue(far.received == content)
        self.assertEqual(len(far.order), 4)

    def test_turns(self) -> None:
        """When the socket is full, channels that have much to send take turns."""
        self.server.window = 4 << 20
        pairs = [self.open() for _ in range(3)]
        for near, _ in pairs:
            near.transport.write(b"x" * (1 << 20))
        self.network.pump()
        self.assertEqual([len(far.received) for _, far in pairs], [1 << 20] * 3)
        first, second, third = (
            [n for n, one in enumerate(self.server.order) if one == far.id] for _, far in pairs
        )
        # None of them waited for another to have sent everything.
        self.assertLess(second[0], first[-1])
        self.assertLess(third[0], second[-1])
        self.assertLess(second[0], third[-1])


class EndingTests(_ChannelTestCase):
    """The ends of streams and channels."""

    def test_eof_after_data(self) -> None:
        """
        Our end of file waits for what was written before it, however long the server's window is closed.
        """
        near, far = self.open()
        far.withhold = True
        near.transport.write(b"x" * 1_000_000)
        near.transport.loseWriteConnection()
        near.transport.write(b"too late")
        self.network.pump()
        self.assertEqual(far.events, ["open"])
        far.withhold = False
        far.conn.adjustWindow(far, 1_000_000)
        self.network.pump()
        self.assertEqual(len(far.received), 1_000_000)
        self.assertEqual(far.events, ["open", "eof"])
        self.assertIn("write closed", near.events)

    def test_their_eof(self) -> None:
        """The server's end of file comes after its data, once, and sending goes on."""
        near, far = self.open()
        far.write(b"last")
        far.conn.sendEOF(far)
        self.network.pump()
        self.assertEqual(near.events, ["made", "data", "eof"])
        near.transport.write(b"answer")
        self.network.pump()
        self.assertEqual(far.received, b"answer")

    def test_their_eof_before_any_data(self) -> None:
        """An end of file alone is told, too."""
        near, far = self.open()
        far.conn.sendEOF(far)
        self.network.pump()
        self.assertEqual(near.events, ["made", "eof"])

    def test_paused_end(self) -> None:
        """Data, end of file and close wait for a paused reader."""
        near, far = self.open()
        near.transport.pauseProducing()
        far.write(b"last")
        far.conn.sendEOF(far)
        far.loseConnection()
        self.network.pump()
        self.assertEqual(near.events, ["made"])
        self.assert_nothing_left()
        near.transport.resumeProducing()
        self.assertEqual(near.events, ["made", "data", "eof", "lost"])
        self.assertTrue(near.reason.check(ConnectionDone))

    def test_paused_end_after_the_link(self) -> None:
        """What has come whole is delivered whole, even if the SSH connection is lost meanwhile."""
        near, far = self.open()
        near.transport.pauseProducing()
        far.write(b"all of it")
        far.conn.sendEOF(far)
        far.loseConnection()
        self.network.pump()
        self.lose(self.login)
        near.transport.resumeProducing()
        self.assertEqual(near.received, b"all of it")
        self.assertTrue(near.reason.check(ConnectionDone))

    def test_full_close(self) -> None:
        """A protocol that knows no half-close loses the connection cleanly at the end of file."""
        near, far = self.open(FullCloseRecorder())
        far.write(b"bye")
        far.conn.sendEOF(far)
        self.network.pump()
        self.assertEqual(near.received, b"bye")
        self.assertTrue(near.reason.check(ConnectionDone))
        self.assert_nothing_left()

    def test_close_with_pending_data(self) -> None:
        """
        A channel that the server closes with data waiting here is over, with an error, and leaves nothing.
        """
        near, far = self.open()
        far.withhold = True
        near.transport.write(b"x" * 1_000_000)
        self.network.pump()
        far.loseConnection()
        self.network.pump()
        self.assertTrue(near.reason.check(ConnectionLost) and not near.reason.check(ConnectionDone))
        self.assert_nothing_left()
        self.assertEqual(near.transport.pending_bytes, 0)

    def test_close_without_eof(self) -> None:
        """A close without the end of the stream is an error, never a short success."""
        near, far = self.open()
        far.write(b"part")
        far.loseConnection()
        self.network.pump()
        self.assertEqual(near.received, b"part")
        self.assertFalse(near.reason.check(ConnectionDone))

    def test_lose_connection_flushes(self) -> None:
        """Closing waits for what was written before."""
        near, far = self.open()
        near.transport.write(b"x" * 1_000_000)
        near.transport.loseConnection()
        self.assertFalse(near.lost)
        self.network.pump()
        self.assertEqual(len(far.received), 1_000_000)
        self.assertTrue(near.reason.check(ConnectionDone))
        self.assert_nothing_left()

    def test_never_lost_within_the_call(self) -> None:
        """C{connectionLost} never comes within the call that causes it, as with TCP."""
        for name in ("loseConnection", "abortConnection"):
            near, _ = self.open()
            getattr(near.transport, name)()
            self.assertFalse(near.lost)
            self.network.pump()
            self.assertTrue(near.lost)

    def test_abort(self) -> None:
        """An abort drops what waits, and frees the channel."""
        near, far = self.open()
        far.withhold = True
        near.transport.write(b"x" * 1_000_000)
        near.transport.abortConnection()
        self.network.pump()
        self.assertTrue(near.reason.check(ConnectionAborted))
        self.assertEqual(near.events.count("lost"), 1)
        self.assert_nothing_left()

    def test_link_lost(self) -> None:
        """When the SSH connection is lost in the middle, every channel is, with the reason."""
        pairs = [self.open() for _ in range(3)]
        pairs[0][1].write(b"part of a body")
        self.network.pump()
        self.lose(self.login)
        for near, _ in pairs:
            self.assertEqual(near.events.count("lost"), 1)
            self.assertTrue(near.reason.check(ConnectionLost) and not near.reason.check(ConnectionDone))
            self.assertIn("SSH connection was lost", str(near.reason.value))
        self.assertEqual(self.connection.channels, {})

    def test_after_the_end(self) -> None:
        """Whatever is done with a channel that is over does nothing."""
        near, _ = self.open()
        near.transport.abortConnection()
        self.network.pump()
        transport = near.transport
        transport.write(b"late")
        transport.writeSequence([b"late"])
        for name in (
            "pauseProducing",
            "resumeProducing",
            "stopProducing",
            "loseWriteConnection",
            "loseConnection",
            "abortConnection",
            "unregisterProducer",
        ):
            getattr(transport, name)()
        self.network.pump()
        self.assertEqual(near.events.count("lost"), 1)


class ExceptionTests(_ChannelTestCase):
    """What a protocol raises."""

    def broken(self, method: str) -> tuple[Any, FarChannel]:
        """@return: a protocol that fails in C{method}, on a channel."""

        class Broken(Recorder):
            pass

        def fail(self: Any, *args: Any) -> None:
            raise ZeroDivisionError(method)

        setattr(Broken, method, fail)
        return self.open(Broken())

    def test_only_that_channel(self) -> None:
        """An exception ends the channel of the protocol that raised it, and no other."""
        other, far_other = self.open()
        for method in ("connectionMade", "dataReceived", "readConnectionLost", "writeConnectionLost"):
            near, far = self.broken(method)
            if not near.lost:
                far.write(b"x")
                far.conn.sendEOF(far)
                near.transport.loseWriteConnection()
            self.network.pump()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1, method)
            self.assertTrue(near.reason.check(ZeroDivisionError), method)
            self.assertEqual(near.events.count("lost"), 1, method)
        far_other.write(b"fine")
        self.network.pump()
        self.assertEqual(other.received, b"fine")
        self.assertEqual(len(self.connection.channels), 1)

    def test_failing_channel(self) -> None:
        """So does an exception in the channel's own code, whichever message it is about."""
        other, far_other = self.open()

        def fail(*arguments: Any) -> None:
            raise ZeroDivisionError

        for method, cause in (
            ("data_received", lambda far: far.write(b"x")),
            ("window_adjusted", lambda far: far.conn.adjustWindow(far, 1)),
            ("eof_received", lambda far: far.conn.sendEOF(far)),
            ("request_received", lambda far: far.conn.sendRequest(far, b"what", b"", wantReply=False)),
        ):
            near, far = self.open()
            self.patch(near.transport, method, fail)
            cause(far)
            self.network.pump()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1, method)
            self.assertTrue(near.reason.check(ZeroDivisionError), method)
        far_other.write(b"fine")
        self.network.pump()
        self.assertEqual(other.received, b"fine")
        self.assertEqual(len(self.connection.channels), 1)

    def test_failing_send(self) -> None:
        """When sending fails, others' data do not wait for ever to be sent together with it."""
        near, _ = self.open()
        other, far_other = self.open()

        def fail(*arguments: Any) -> None:
            raise ZeroDivisionError

        self.patch(near.transport, "_next_pieces", fail)
        self.assertRaises(ZeroDivisionError, near.transport.write, bytes(1 << 20))
        other.transport.write(b"fine")
        self.network.pump()
        self.assertEqual(far_other.received, b"fine")

    def test_connection_lost(self) -> None:
        """An exception in C{connectionLost} does not keep others from hearing of a lost link."""
        broken, _ = self.broken("connectionLost")
        other, _ = self.open()
        self.lose(self.login)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(other.lost)


class RekeyTests(_ChannelTestCase):
    """New keys while data flows."""

    def setUp(self) -> None:
        """A channel with room."""
        super().setUp()
        self.near, self.far = self.open()

    def flow(self) -> None:
        """Sends a megabyte each way, in small pieces, and checks it."""
        self.near.received.clear()
        self.far.received.clear()
        content = bytes(range(256)) * 4096
        for at in range(0, len(content), 20_000):
            self.near.transport.write(content[at : at + 20_000])
            self.far.write(content[at : at + 20_000])
        self.network.pump()
        self.assertTrue(self.near.received == content)
        self.assertTrue(self.far.received == content)

    def test_by_us(self) -> None:
        """We ask for new keys in the middle of the flow."""
        session = self.login.transport.sessionID
        first = self.login.transport._sealer
        self.near.transport.write(b"x" * 100_000)
        self.login.transport.sendKexInit()
        self.far.received.clear()
        self.near.transport.write(b"waits for the keys")
        self.assertTrue(self.login.transport.congested)
        self.network.pump()
        self.assertFalse(self.login.transport.congested)
        self.assertIsNot(self.login.transport._sealer, first)
        self.assertEqual(self.login.transport.sessionID, session)
        self.assertTrue(self.far.received.endswith(b"waits for the keys"))
        self.flow()

    def test_by_the_server(self) -> None:
        """The server asks for them."""
        first = self.login.transport._sealer
        self.far.write(b"x" * 100_000)
        self.server.transport.sendKexInit()
        self.network.pump()
        self.assertIsNot(self.login.transport._sealer, first)
        self.flow()

    def test_after_bytes(self) -> None:
        """After so many bytes we ask by ourselves, again and again."""
        self.login.transport.rekey_bytes = 100_000
        sealers = []
        for _ in range(5):
            sealers.append(self.login.transport._sealer)
            self.flow()
        self.assertEqual(len(set(map(id, sealers))), 5)

    def test_after_an_hour(self) -> None:
        """Old keys are replaced."""
        first = self.login.transport._sealer
        self.login.transport.rekey_if_old()
        self.network.pump()
        self.assertIs(self.login.transport._sealer, first)
        self.clock.advance(3700)
        self.login.transport.rekey_if_old()
        self.network.pump()
        self.assertIsNot(self.login.transport._sealer, first)

    def test_changed_host_key(self) -> None:
        """A server whose key is another one at a later key exchange is refused."""
        self.known_hosts.write_text("")
        self.login.transport._policy.load()
        self.server.transport.sendKexInit()
        self.network.pump()
        self.assertTrue(self.near.lost)
        self.assertIn("is not known", str(self.login.transport.error))


class MessageTests(_ChannelTestCase):
    """Messages that are not about our channels."""

    def test_server_keepalive(self) -> None:
        """A keepalive of the server's is answered."""
        asked = self.server.transport.service.sendGlobalRequest(b"keepalive@openssh.com", b"", wantReply=1)
        self.network.pump()
        self.failureResultOf(asked)

    def test_our_keepalive(self) -> None:
        """Ours is answered by the server, if only with a failure."""
        asked = self.connection.global_request(b"keepalive@openssh.com")
        self.network.pump()
        self.assertFalse(self.successResultOf(asked))

    def test_server_opens(self) -> None:
        """A channel that the server wants to open is refused."""
        channel = FarChannel()
        channel.name = b"x11"
        refused = []
        channel.openFailed = refused.append
        self.server.transport.service.openChannel(channel)
        self.network.pump()
        self.assertEqual(len(refused), 1)

    def test_unknown_channel(self) -> None:
        """A message about a channel that is not there is passed over."""
        for number in (93, *range(95, 101)):
            self.server.transport.sendPacket(number, b"\0\0\3\xe7" + b"\0\0\0\1x")
        self.network.pump()
        near, far = self.open()
        far.write(b"fine")
        self.network.pump()
        self.assertEqual(near.received, b"fine")

    def test_unknown_message(self) -> None:
        """A message of an unknown number is answered as such, and does no harm."""
        self.server.transport.sendPacket(180, b"what?")
        self.network.pump()
        self.assertTrue(self.connection.alive)

    def test_truncated_message(self) -> None:
        """A message that is shorter than it says ends the connection, with that reason."""
        near, far = self.open()
        self.server.transport.sendPacket(91, b"\0\0\0")
        self.network.pump()
        self.assertTrue(near.lost)
        self.assertIn("makes no sense", str(self.login.transport.error))

    def test_inconsistent_data(self) -> None:
        """Data that would be lost, or are not as long as they say, end the connection with that reason."""
        for about, reason in (
            (b"\0\0\3\xe7" + b"\0\0\0\1x", "the channel 999, which is not open"),
            (b"\0\0\0\1" + b"\0\0\0\2x", "not as long as it says"),
            (b"\0\0\0\1" + b"\0\0\0\1xy", "not as long as it says"),
            (b"\0\0\0", "without the number of its channel"),
        ):
            self.login = self.log_in()
            self.connection = self.login.connection
            near, _ = self.open()
            self.assertEqual(near.transport.local_id, 1)
            self.server.transport.sendPacket(94, about)
            self.network.pump()
            self.assertEqual(near.received, b"")
            self.assertFalse(near.reason.check(ConnectionDone))
            self.assertIn(reason, str(self.login.transport.error))

    def test_disconnect(self) -> None:
        """The server's reason to end the connection is told."""
        near, _ = self.open()
        self.server.transport.sendDisconnect(11, b"maintenance")
        self.network.pump()
        self.assertIn("maintenance", str(near.reason.value))
