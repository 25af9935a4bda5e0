# -*- test-case-name: tests.ssh.test_remote -*-
"""
What the links to one host are made from, and what is prepared on a login so that later steps are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from remotedocker.ssh._channel import Channel
from remotedocker.ssh._destination import SSHConfiguration
from remotedocker.ssh._docker import DockerChannels
from remotedocker.ssh._heartbeat import Heartbeat
from remotedocker.ssh._link import Link, LinkEvents
from remotedocker.ssh._login import Login, log_in
from remotedocker.ssh._pool import WarmChannels
from remotedocker.ssh._prompt import Prompter
from remotedocker.ssh._proxycommand import CommandLineEndpoint, jump_command
from remotedocker.ssh._resolver import ResolvingReactor
from remotedocker.ssh._sshconfig import ResolvedHost

__all__ = ["LinkFactory", "LoginExtras"]

#: How many channels to the daemon are kept open ahead. On a link without delay they help, too: the server
#: gets the request for the next one together with the data for the last.
_WARM_CHANNELS = 4


class LinkFactory:
    """Makes links that log in to one host in one way."""

    def __init__(
        self, reactor: Any, host: ResolvedHost, configuration: SSHConfiguration, environ: Mapping[str, str]
    ) -> None:
        """
        @raise ValueError: ssh_config's C{ProxyJump} cannot be read.
        """
        self._reactor = reactor
        self._host = host
        self._configuration = configuration
        self._environ = environ
        self._prompter = Prompter(reactor, environ)
        self._endpoint = self._make_endpoint(environ)

    def _make_endpoint(self, environ: Mapping[str, str]) -> IStreamClientEndpoint:
        """@return: what leads to the SSH server."""
        host = self._host
        if host.jump:
            return CommandLineEndpoint(self._reactor, jump_command(host, self._configuration), environ)
        if host.command:
            return CommandLineEndpoint(self._reactor, host.command, environ)
        return HostnameEndpoint(
            ResolvingReactor(self._reactor, host.address_family),
            host.host,
            host.port,
            timeout=host.connect_timeout,
            bindAddress=(host.bind_address, 0) if host.bind_address else None,
        )

    def make(self, events: LinkEvents) -> Link:
        """@return: a link that is not yet started."""
        host = self._host
        return Link(
            self._reactor,
            host.destination,
            self._log_in,
            self._depends_on(),
            events,
            self._configuration.wait_for_ssh,
            self._watch,
        )

    def _depends_on(self) -> tuple[Path, ...]:
        """@return: the files that a refusal depends on."""
        host = self._host
        beside = [Path(f"{identity}{end}") for identity in host.identities for end in (".pub", "-cert.pub")]
        revoked = () if host.revoked_host_keys is None else (host.revoked_host_keys,)
        known = (*host.user_known_hosts, *host.global_known_hosts, *revoked)
        return (*host.identities, *beside, *host.certificates, *known)

    def _log_in(self) -> Deferred[Login]:
        """@return: fires with a new login."""
        host, accept = self._host, self._configuration.accept_new_host_key
        answers = self._prompter.answers(host.batch_mode, host.tries)
        return Deferred.fromCoroutine(
            log_in(self._reactor, host, self._endpoint, answers, accept, self._environ)
        )

    def _watch(self, login: Login, dead: Callable[[str], None]) -> Heartbeat:
        """@return: what notices that a login is dead."""
        host = self._host
        return Heartbeat(
            self._reactor, login.transport, login.connection, dead, host.alive_interval, host.alive_count
        )


class LoginExtras:
    """
    What the first link does ahead: channels to the daemon.
    """

    def __init__(self, reactor: Any, login: Login, docker: DockerChannels) -> None:
        self._reactor = reactor
        self._login = login
        self._docker = docker
        self._pool: WarmChannels | None = None
        self._stopped = False
        login.primed.deferred().addCallback(self._begin)

    def _begin(self, _: None) -> None:
        """The login is primed."""
        if not self._stopped:
            self._pool = WarmChannels(self._reactor, self._open_one, _WARM_CHANNELS)

    def _open_one(self) -> Deferred[Channel]:
        """@return: fires with a channel to the daemon."""
        return self._docker.direct(self._login.connection)

    def take(self) -> Channel | None:
        """@return: a channel that was opened ahead, or None."""
        if self._pool is None or not self._docker.forwards(self._login.connection):
            return None
        return self._pool.take()

    def worked(self) -> None:
        """The daemon was reached."""
        if self._pool is not None and self._docker.forwards(self._login.connection):
            self._pool.worked()

    def stop(self) -> None:
        """The login is gone, or is to end."""
        self._stopped = True
        if self._pool is not None:
            self._pool.stop()
