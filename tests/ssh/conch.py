"""
Conch's own SSH server in one process with our client, over a network in memory that a clock drives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.conch.avatar import ConchUser
from twisted.conch.error import ConchError, ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.userauth import SSHUserAuthServer
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import ISSHPrivateKey
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from remotedocker.ssh._login import Login, log_in
from remotedocker.ssh._sshconfig import ResolvedHost
from remotedocker.ssh._userauth import Answers
from tests.support import MemoryNetwork

__all__ = ["ConchServer", "FarChannel", "InMemoryLoginMixin"]

USER = "somebody"
#: Prompts of keyboard-interactive, and their right answers.
QUESTIONS: tuple[tuple[str, str], ...] = (("Colour: ", "blue"), ("Password: ", "right"))


class FarChannel(SSHChannel):
    """
    The server's end of a channel.

    @ivar received: all data.
    @ivar events: C{"open"}, C{"eof"}, C{"close"} and C{"request NAME"}, in order.
    @ivar withhold: whether the window is not given back.
    @ivar order: gets the channel's number with each piece of data; all channels of a server share one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received = bytearray()
        self.events: list[str] = []
        self.withhold = False
        self.order: list[int] = []

    def channelOpen(self, specificData: bytes) -> None:
        """Recorded."""
        self.events.append("open")

    def dataReceived(self, data: bytes) -> None:
        """Recorded."""
        self.received += data
        self.order.append(self.id)

    def eofReceived(self) -> None:
        """Recorded."""
        self.events.append("eof")

    def closed(self) -> None:
        """Recorded."""
        self.events.append("close")

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:
        """Recorded, and granted."""
        self.events.append(f"request {requestType.decode()}")
        return True


class _Connection(SSHConnection):
    """Gives windows back only as the test wants it."""

    def adjustWindow(self, channel: FarChannel, bytesToAdd: int) -> None:
        """Unless withheld."""
        if not channel.withhold:
            super().adjustWindow(channel, bytesToAdd)


@implementer(ICredentialsChecker)
class _Keys:
    """Accepts one public key."""

    credentialInterfaces = (ISSHPrivateKey,)

    def __init__(self, blob: bytes) -> None:
        self._blob = blob

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes]:
        """Checks the key, and its signature once there is one."""
        if credentials.blob != self._blob:
            raise UnauthorizedLogin()
        if not credentials.signature:
            raise ValidPublicKey()
        if not Key.fromString(credentials.blob).verify(credentials.signature, credentials.sigData):
            raise UnauthorizedLogin()
        return succeed(credentials.username)


class _Authentication(SSHUserAuthServer):
    """Also asks L{QUESTIONS} (RFC 4256), if the server wants it; the last one's answer is not seen."""

    def serviceStarted(self) -> None:
        """Adds the method, and goes by the clock of the test."""
        self.clock = self.transport.factory.clock
        super().serviceStarted()
        if "keyboard-interactive" in self.transport.factory.methods:
            self.supportedAuthentications.append(b"keyboard-interactive")

    def auth_keyboard_interactive(self, packet: bytes) -> Deferred[Any]:
        """Asks."""
        shown = [b"\1"] * (len(QUESTIONS) - 1) + [b"\0"]
        prompts = b"".join(
            NS(prompt.encode()) + flag for (prompt, _), flag in zip(QUESTIONS, shown, strict=True)
        )
        heading = NS(b"Test") + NS(b"Questions") + NS(b"")
        self.transport.sendPacket(60, heading + len(QUESTIONS).to_bytes(4, "big") + prompts)
        self._answered: Deferred[Any] = Deferred()
        return self._answered

    def ssh_USERAUTH_INFO_RESPONSE(self, packet: bytes) -> None:
        """Looks at the answers."""
        *given, _ = getNS(packet[4:], len(QUESTIONS))
        if given == [answer.encode() for _, answer in QUESTIONS]:
            avatar = _User(self.transport.factory)
            self._answered.callback((IConchUser, avatar, lambda: None))
        else:
            self._answered.errback(UnauthorizedLogin())


class _User(ConchUser):
    """May open everything."""

    def __init__(self, server: ConchServer) -> None:
        super().__init__()
        self._server = server

    def lookupChannel(self, kind: bytes, windowSize: int, maxPacket: int, data: bytes) -> FarChannel:
        """One more channel, or what the test refuses it with."""
        self._server.offered_window, self._server.offered_packet = windowSize, maxPacket
        if self._server.refuse_with is not None:
            raise ConchError("refused by the test", self._server.refuse_with)
        channel = FarChannel(
            remoteWindow=windowSize,
            remoteMaxPacket=maxPacket,
            data=data,
            avatar=self,
            localWindow=self._server.window,
            localMaxPacket=32768,
        )
        channel.name = kind
        channel.order = self._server.order
        self._server.channels.append(channel)
        return channel


@implementer(IRealm)
class _Realm:
    """Has one kind of user."""

    def __init__(self, server: ConchServer) -> None:
        self._server = server

    def requestAvatar(self, avatarId: bytes, mind: object, *interfaces: object) -> tuple[Any, Any, Any]:
        """The user."""
        return IConchUser, _User(self._server), lambda: None


class ConchServer(SSHFactory):
    """
    A server.

    @ivar channels: all that were opened, in order.
    @ivar window: what each offers.
    @ivar clock: makes wrong passwords take their time.
    @ivar refuse_with: a reason code for which channels are refused, or None.
    """

    clock: Clock

    def __init__(self, accepted: bytes, methods: tuple[str, ...] = ("publickey",)) -> None:
        self.channels: list[FarChannel] = []
        self.window = 131072
        self.refuse_with: int | None = None
        self.offered_window = self.offered_packet = 0
        self.order: list[int] = []
        key = Key(ed25519.Ed25519PrivateKey.generate())
        self.host_key = key.public()
        self.privateKeys = {b"ssh-ed25519": key}
        self.publicKeys = {b"ssh-ed25519": self.host_key}
        self.services = {b"ssh-userauth": _Authentication, b"ssh-connection": _Connection}
        portal = Portal(_Realm(self))
        if "publickey" in methods:
            portal.registerChecker(_Keys(accepted))
        if "password" in methods:
            passwords = InMemoryUsernamePasswordDatabaseDontUse()
            passwords.addUser(USER.encode(), b"right")
            portal.registerChecker(passwords)
        self.portal = portal
        self.methods = methods

    def getPrimes(self) -> None:
        """No group exchange."""

    def buildProtocol(self, addr: object) -> Any:
        """One connection."""
        self.transport = super().buildProtocol(addr)
        return self.transport


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Connects to a server in memory."""

    def __init__(self, network: MemoryNetwork, server: ConchServer) -> None:
        self._network = network
        self._server = server

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connects at once."""
        protocol = factory.buildProtocol(None)
        self.near, self.far = self._network.connect(protocol, self._server.buildProtocol(None))
        return succeed(protocol)


class InMemoryLoginMixin:
    """
    Mixed into a C{SynchronousTestCase}: a server, and a login to it.

    @ivar clock: what drives everything.
    @ivar network: call its C{pump} to let everything happen.
    """

    def make_server(self, methods: tuple[str, ...] = ("publickey",)) -> ConchServer:
        """Makes the network, the server, and a key that it accepts."""
        directory = Path(self.mktemp())  # type: ignore[attr-defined]
        directory.mkdir()
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        key = ed25519.Ed25519PrivateKey.generate()
        self.identity = directory / "identity"
        self.identity.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        self.server = ConchServer(Key(key).public().blob(), methods)
        self.server.clock = self.clock
        self.server.doStart()
        self.addCleanup(self.server.doStop)  # type: ignore[attr-defined]
        self.known_hosts = directory / "known_hosts"
        self.known_hosts.write_text(f"host {self.server.host_key.toString('openssh').decode()}\n")
        return self.server

    def begin_login(self, answers: Answers = Answers(), **changes: Any) -> Deferred[Login]:  # noqa: B008
        """@return: fires with the login, if the network is pumped."""
        host = ResolvedHost(
            name="host",
            host="host",
            port=22,
            user=USER,
            **{"identities": (self.identity,), "user_known_hosts": (self.known_hosts,), **changes},
        )
        self.endpoint = _Endpoint(self.network, self.server)
        return Deferred.fromCoroutine(log_in(self.clock, host, self.endpoint, answers, False, {}))

    def log_in(self, **changes: Any) -> Login:
        """@return: a login that stands, its first command done."""
        self.make_server()
        logging_in = self.begin_login(**changes)
        self.network.pump()
        login: Login = self.successResultOf(logging_in)  # type: ignore[attr-defined]
        for channel in self.server.channels:
            channel.loseConnection()
        self.network.pump()
        self.server.channels.clear()
        return login

    def lose(self, login: Login, reason: str = "cut") -> None:
        """Breaks the network."""
        self.endpoint.near.abortConnection()
        self.network.pump()
