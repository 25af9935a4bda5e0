# -*- test-case-name: tests.test_service -*-
"""
The one place where everything is put together.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotedocker._upkeep import PortPolicy
from remotedocker.containers import Containers
from remotedocker.daemon import DaemonClient
from remotedocker.errors import RemoteDockerError
from remotedocker.forwards import Forwards
from remotedocker.interfaces import IDaemon, IRemote
from remotedocker.options import Options
from remotedocker.proxy import Endpoints, ListenAddress, ProxyFactory, ProxyOptions, open_dump
from remotedocker.ssh import Remote, SSHConfiguration
from remotedocker.state import StateDirectory
from remotedocker.swarm import Services
from remotedocker.sync import Mirrors, SyncConfiguration, SyncMode

__all__ = ["NEW_OBJECTS", "Part", "RemoteDockerService", "assemble", "exit_with_failure"]

NEW_OBJECTS = 10_000
"""
After so many new objects Python looks for garbage (L{gc.set_threshold}; by itself after 700 or 2,000). What
is known of a tree is many objects, none of them garbage: for 10,000 files it took 50 ms to see that again.
"""

_RETRY = 2.0
"""Seconds between questions to a daemon that cannot be reached yet."""


@frozen
class Part:
    """
    Something that lives as long as the service.

    @ivar start: begins; called in the order of the parts.
    @ivar stop: ends; called in the opposite order, each when the one before has ended.
    """

    start: Callable[[], object]
    stop: Callable[[], Awaitable[object]]


def _collecting_rarely() -> Part:
    """@return: while it is started, Python looks for garbage after L{NEW_OBJECTS}."""
    before = gc.get_threshold()

    async def stop() -> None:
        gc.set_threshold(*before)

    return Part(lambda: gc.set_threshold(NEW_OBJECTS), stop)


def exit_with_failure(reactor: Any) -> None:
    """
    Stops the reactor, and has the process end with status 1 after C{twistd} has tidied up (C{twistd} itself
    always ends with 0 when the reactor was stopped).
    """

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    atexit.register(end)
    reactor.callWhenRunning(reactor.stop)


class RemoteDockerService(Service):
    """
    Listens, logs in, and says C{Ready:} once the remote daemon answers.

    @param endpoints: where clients connect.
    @param parts: everything else that has to be started and stopped.
    @param give_up: called when the service cannot run.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoints: Endpoints,
        remote: IRemote,
        daemon: IDaemon,
        parts: Sequence[Part],
        give_up: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._endpoints = endpoints
        self._remote = remote
        self._daemon = daemon
        self._parts = parts
        self._give_up = give_up
        self._started: list[Part] = []
        self._opening: Deferred[None] = succeed(None)

    def startService(self) -> None:
        """Listens and begins to log in; what cannot get better by waiting ends the process."""
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open()).addErrback(self._failed)

    def stopService(self) -> Deferred[None]:
        """@return: fires when nothing is left of the service."""
        super().stopService()
        self._opening.cancel()
        return Deferred.fromCoroutine(self._close())

    async def _open(self) -> None:
        await self._endpoints.open()
        for part in self._parts:
            self._started.append(part)
            part.start()
        await self._remote.when_connected()
        version = await self._first_version()
        self._log.info(
            "Ready: {endpoints} ({destination}, Docker {version})",
            endpoints=" ".join(f"DOCKER_HOST={url}" for url in self._endpoints.docker_hosts),
            destination=self._remote.destination,
            version=version.get("Version", "of an unknown version"),
        )

    async def _first_version(self) -> dict[str, Any]:
        """Asks until the daemon answers; says why it does not whenever the reason is another."""
        said = ""
        while True:
            try:
                return await self._daemon.version()
            except RemoteDockerError as error:
                if error.message != said:
                    self._log.warn("Not ready: {error}", error=error.message)
                said = error.message
            await deferLater(self._reactor, _RETRY)

    async def _close(self) -> None:
        await self._endpoints.close()
        while self._started:
            await self._started.pop().stop()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        if isinstance(error, RemoteDockerError):
            self._log.critical("Stopped: {error}", error=error.message)
        else:
            self._log.failure("Stopped", failure)
        self._give_up()


def _state_of_host(state: StateDirectory, destination: str) -> StateDirectory:
    """What is remembered about one remote: agents for several remotes may share a state directory."""
    name = re.sub(r"[^A-Za-z0-9.@-]", "_", destination)[:64]
    digest = sha256(destination.encode()).hexdigest()[:8]
    return StateDirectory(state.subdirectory("hosts") / f"{name}-{digest}")


def _ssh_configuration(options: Options) -> SSHConfiguration:
    ssh_config = options["ssh-config"]
    return SSHConfiguration(
        destination=options["ssh"],
        identities=options.paths("identity"),
        ssh_config=Path(ssh_config).expanduser() if ssh_config else None,
        known_hosts=options.paths("known-hosts"),
        accept_new_host_key=bool(options["accept-new-host-key"]),
        remote_docker=options["remote-docker"],
        wait_for_ssh=options["wait-for-ssh"],
        connections=options["connections"],
    )


def _sync_configuration(options: Options, agent_id: str, own_sockets: Sequence[str]) -> SyncConfiguration:
    socket = options["remote-docker"]
    return SyncConfiguration(
        agent_id=agent_id,
        sync_root=options["sync-root"],
        mode=SyncMode(options["sync"]),
        ignore=tuple(options["ignore"]),
        gitignore=bool(options["gitignore"]),
        max_tree_size=options["max-tree-size"],
        max_tree_files=options["max-tree-files"],
        remote_prefixes=tuple(options["remote-path"]),
        own_sockets=tuple(own_sockets),
        remote_socket=socket.removeprefix("unix://") if socket.startswith("unix:") else "",
    )


def assemble(reactor: Any, options: Options, environ: Mapping[str, str]) -> IService:
    """
    Makes the service that the command line asks for. Nothing is connected or listened on before it starts.

    @raise ValueError: a value of the command line cannot be used.
    @raise OSError: the state directory, or the file for C{--dump}, cannot be written.
    @raise RemoteDockerError: ssh_config has an error.
    """
    addresses = [ListenAddress.parse(text) for text in options["listen"]]
    state = StateDirectory(options["state-dir"])
    agent_id = state.prepare()
    remote = Remote(reactor, _ssh_configuration(options), environ)
    host = _state_of_host(state, remote.destination)
    daemon = DaemonClient(reactor, remote, options["remote-docker"])
    forwards = Forwards(reactor, remote, host.subdirectory("forwards"), tuple(options["publish-address"]))
    own_sockets = [address.path for address in addresses if address.path]
    mirrors = Mirrors(
        reactor, remote, _sync_configuration(options, agent_id, own_sockets), host.subdirectory("mirrors")
    )
    policy = PortPolicy(forward=not options["no-forward"], foreign=bool(options["forward-all"]))
    containers = Containers(agent_id, daemon, forwards, mirrors, policy)
    services = Services(agent_id, daemon, forwards, mirrors, policy.forward, policy.foreign)
    daemon.watch(containers)
    daemon.watch(services)
    proxy_options = ProxyOptions(http_only=bool(options["http-only"]), remote_docker=options["remote-docker"])
    if options["dump"]:
        proxy_options = evolve(proxy_options, dump=open_dump(options["dump"]))
    proxy = ProxyFactory(reactor, remote, daemon, containers, services, proxy_options)
    endpoints = Endpoints(reactor, addresses, proxy, bool(options["allow-remote-clients"]))
    parts = [
        _collecting_rarely(),
        Part(remote.start, remote.stop),
        Part(daemon.start, daemon.stop),
        Part(lambda: None, forwards.close),
        Part(mirrors.start, mirrors.stop),
    ]
    return RemoteDockerService(reactor, endpoints, remote, daemon, parts, lambda: exit_with_failure(reactor))
