"""
Tests for the fakes: what L{tests.contracts.daemon} does not see of them.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from remotedocker.errors import RemoteFileError, SSHUnavailable
from remotedocker.interfaces import CommandResult, IRemote, IRemoteObserver
from tests.fakes.fake_remote import FakeRemote
from tests.support import MemoryNetwork, MemoryServerEndpoint, Recorder


@implementer(IRemoteObserver)
class Observer:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def connected(self) -> None:
        """Kept."""
        self.heard.append("connected")

    def disconnected(self, reason: Exception) -> None:
        """Kept."""
        self.heard.append(f"disconnected: {reason}")


class FakeRemoteTests(SynchronousTestCase):
    """L{FakeRemote}."""

    def setUp(self) -> None:
        """A remote, and somebody who listens there."""
        self.network = MemoryNetwork()
        self.remote = FakeRemote.in_memory(self.network)

    def accept(self, name: str) -> list[Recorder]:
        """@return: who will have been connected to under C{name}."""
        accepted: list[Recorder] = []

        class Listening(Factory):
            """Makes recorders."""

            noisy = False

            def buildProtocol(self, addr: object) -> Recorder:
                """One more."""
                accepted.append(Recorder())
                return accepted[-1]

        MemoryServerEndpoint(self.network, name).listen(Listening())
        return accepted

    def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IRemote, self.remote)

    def test_channels(self) -> None:
        """Each kind of endpoint leads to whoever listens under its name."""
        for name, endpoint in (
            ("docker", self.remote.docker_endpoint()),
            ("docker", self.remote.docker_endpoint(bulk=True)),
            ("127.0.0.1:80", self.remote.tcp_endpoint("127.0.0.1", 80)),
            ("command:tar -x", self.remote.command_endpoint("tar -x")),
        ):
            accepted = self.accept(name)
            connecting = endpoint.connect(Factory.forProtocol(Recorder))
            self.network.pump()
            self.successResultOf(connecting)
            self.assertEqual(len(accepted), 1)

    def test_refused(self) -> None:
        """Where nobody listens a channel is refused."""
        connecting = self.remote.docker_endpoint().connect(Factory.forProtocol(Recorder))
        self.network.pump()
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_logins(self) -> None:
        """Observers hear of logins and losses; with the login go the channels."""
        observer = Observer()
        self.remote.add_observer(observer)
        accepted = self.accept("docker")
        self.remote.docker_endpoint().connect(Factory.forProtocol(Recorder))
        self.network.pump()
        self.remote.log_out("cable cut")
        self.network.pump()
        self.assertTrue(accepted[0].lost)
        self.assertFalse(self.remote.connected)
        self.remote.log_in()
        self.assertTrue(self.remote.connected)
        self.assertEqual(observer.heard, ["disconnected: cable cut", "connected"])

    def test_waiting(self) -> None:
        """Without a login channels wait for one, and can be given up."""
        accepted = self.accept("docker")
        self.remote.log_out()
        waiting = self.remote.docker_endpoint().connect(Factory.forProtocol(Recorder))
        given_up = self.remote.docker_endpoint().connect(Factory.forProtocol(Recorder))
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.network.pump()
        self.assertNoResult(waiting)
        self.remote.log_in()
        self.network.pump()
        self.successResultOf(waiting)
        self.assertEqual(len(accepted), 1)

    def test_unavailable(self) -> None:
        """A test can have channels fail at once."""
        self.remote.unavailable = True
        connecting = self.remote.docker_endpoint().connect(Factory.forProtocol(Recorder))
        self.failureResultOf(connecting, SSHUnavailable)

    def test_refused_for_good(self) -> None:
        """A test can have the login refused."""
        self.remote.refused = ValueError()
        self.failureResultOf(self.remote.when_connected(), ValueError)

    def test_commands_and_files(self) -> None:
        """Commands are not found and files are not served, unless a test gives some."""
        self.assertEqual(self.successResultOf(self.remote.run("x")).status, 127)
        self.failureResultOf(self.remote.filesystem(), RemoteFileError)
        remote = FakeRemote(
            self.remote._connect, lambda command, stdin: CommandResult(0, "", stdin, command.encode())
        )
        self.assertEqual(self.successResultOf(remote.run("x", b"y")), CommandResult(0, "", b"y", b"x"))
