# -*- test-case-name: tests.test_interfaces -*-
"""
What crosses a package border.

C{ssh}, C{daemon}, C{proxy}, C{forwards} and C{sync} never import each other; they meet in
L{remotedocker.service} through the interfaces here. Every Deferred errbacks with a
L{remotedocker.errors.RemoteDockerError}; any other failure is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import Attribute, Interface

from remotedocker._values import CommandResult, FileAttributes, FileKind, RemoteEntry
from remotedocker.docker import (
    BindMount,
    ContainerEvent,
    ContainerPort,
    CreatePlan,
    CreateSpec,
    OwnedContainer,
    PlacedMount,
    PortMap,
    ServicePlan,
    ServiceSpec,
)

__all__ = [
    "CommandResult",
    "FileAttributes",
    "FileKind",
    "IContainerObserver",
    "IContainers",
    "IDaemon",
    "IForwards",
    "IMirrors",
    "IRemote",
    "IRemoteFilesystem",
    "IRemoteObserver",
    "IServices",
    "RemoteEntry",
]


class IRemoteObserver(Interface):
    """Hears of the SSH login coming and going."""

    def connected() -> None:
        """A login succeeded (the first, or a later one)."""

    def disconnected(reason: Exception) -> None:
        """The login was lost; another is being made."""


class IRemote(Interface):
    """
    The remote host, over SSH logins that are made again when they are lost.

    The transports that its endpoints hand to a protocol behave as Twisted's TCP transports do: C{ITransport},
    C{IConsumer} (with back-pressure from the SSH window), C{IPushProducer} (a paused one stops returning the
    window), C{abortConnection}, and C{IHalfCloseableDescriptor}; a protocol that provides
    C{IHalfCloseableProtocol} is told of the far side's EOF alone.

    Connecting waits for a login that is being made, up to the configured time, and then fails
    with L{SSHUnavailable<remotedocker.errors.SSHUnavailable>}.
    """

    destination: str = Attribute("C{user@host} or C{user@host:port}, for messages.")
    connected: bool = Attribute("Whether a login stands and was proven alive lately.")
    round_trip: float = Attribute("The shortest one of this login, in seconds; 0.0 while none was seen.")

    def docker_endpoint(bulk: bool = False) -> IStreamClientEndpoint:
        """
        The remote daemon's API socket (C{--remote-docker}).

        @param bulk: the stream will be big (load, save, build, archive); it may be given another SSH
            connection than the interactive ones.
        Connecting fails with L{DaemonUnreachable<remotedocker.errors.DaemonUnreachable>} when it is refused.
        """

    def tcp_endpoint(host: str, port: int) -> IStreamClientEndpoint:
        """C{host:port} as seen from the remote host (RFC 4254 section 7.2, C{direct-tcpip})."""

    def command_endpoint(command: str, ahead: bool = False) -> IStreamClientEndpoint:
        """
        A command run by the SSH user's shell (RFC 4254 section 6.5), its standard input and output as the
        stream. C{ahead} of its need it gets no session on the first connection: if there is no other,
        connecting fails with L{SSHError<remotedocker.errors.SSHError>}. C{connectionLost} gets
        C{ConnectionDone} for exit status 0, otherwise C{ProcessTerminated}, whose C{args[0]} ends with the
        last of standard error.
        """

    def run(command: str, stdin: bytes = b"") -> Deferred[CommandResult]:
        """
        Runs a command to its end.

        @return: fires with a L{CommandResult} when the command has ended, whatever its status.
        """

    def filesystem() -> Deferred[IRemoteFilesystem]:
        """
        @return: fires with the remote's files over SFTP, on the current login; one SFTP session
            is shared by all callers.
        """

    def when_connected() -> Deferred[None]:
        """
        @return: fires once a login stands, at once if one does. Waits for as long as it takes;
            fails only when the login was refused for good before it ever worked.
        """

    def add_observer(observer: IRemoteObserver) -> None:
        """Tells C{observer} of each login and loss from now on."""


class IRemoteFilesystem(Interface):
    """
    The remote's files over SFTP version 3 (draft-ietf-secsh-filexfer-02, and OpenSSH's extensions where the
    server has them). Many requests may be in flight. Paths are bytes, absolute or relative to the SSH user's
    home; symbolic links at their end are not followed except by C{read_file} and C{write_file}.

    Every Deferred fails with L{RemoteFileError<remotedocker.errors.RemoteFileError>} or a
    subclass, or with L{SSHError<remotedocker.errors.SSHError>} when the login is lost.
    """

    def real_path(path: bytes) -> Deferred[bytes]:
        """@return: fires with the absolute form of C{path} (C{b"."} gives the home)."""

    def lstat(path: bytes) -> Deferred[FileAttributes]:
        """@return: fires with what is at C{path}; L{RemoteFileNotFound} if nothing is."""

    def list_directory(path: bytes) -> Deferred[Sequence[RemoteEntry]]:
        """@return: fires with all entries, C{.} and C{..} left out, in no order."""

    def make_directory(path: bytes, mode: int) -> Deferred[None]:
        """Makes one directory; its parent must be there."""

    def write_file(path: bytes, chunks: Iterable[bytes], attributes: FileAttributes) -> Deferred[int]:
        """
        Creates C{path} or overwrites it in place (the inode stays), then sets C{attributes}.

        @param chunks: read as the window allows, never far ahead; an exception that it raises
            fails the Deferred.
        @return: fires with the number of bytes written.
        """

    def read_file(path: bytes, consume: Callable[[bytes], None]) -> Deferred[int]:
        """
        Reads C{path}, calling C{consume} with its content in order.

        @return: fires with the number of bytes read.
        """

    def rename(old: bytes, new: bytes) -> Deferred[None]:
        """Renames atomically, replacing C{new} (C{posix-rename@openssh.com})."""

    def remove(path: bytes) -> Deferred[None]:
        """Removes a file or a symbolic link."""

    def remove_directory(path: bytes) -> Deferred[None]:
        """Removes an empty directory."""

    def symlink(target: bytes, path: bytes) -> Deferred[None]:
        """Makes C{path} a symbolic link to C{target}."""

    def read_link(path: bytes) -> Deferred[bytes]:
        """@return: fires with the target of the symbolic link C{path}."""

    def hard_link(existing: bytes, path: bytes) -> Deferred[None]:
        """Makes C{path} another name of C{existing} (C{hardlink@openssh.com})."""

    def set_attributes(path: bytes, attributes: FileAttributes) -> Deferred[None]:
        """Sets those of C{attributes} that are not None, without following a link if the server can."""


class IContainerObserver(Interface):
    """Hears what the daemon says about containers, services and volumes, from C{/events} and re-lists."""

    def container_event(event: ContainerEvent) -> None:
        """One event, in the daemon's order, each once."""

    def containers_listed(containers: Sequence[Mapping[str, Any]]) -> Deferred[None]:
        """
        The daemon's whole C{GET /containers/json?all=1}, after each (re)connection of the event
        stream and before the events that follow it.

        @return: fires when ports are what the list says, as far as they can be. Never fails.
        """

    def list_settled() -> None:
        """
        Every observer has dealt with a list that was made on the login that stands. Told once for each list.
        """


class IDaemon(Interface):
    """Our own questions to the remote daemon."""

    def inspect(reference: str) -> Deferred[dict[str, Any]]:
        """
        C{GET /containers/{reference}/json}, untranslated.

        @param reference: a full id, a prefix or a name.
        Fails with L{NoSuchContainer<remotedocker.errors.NoSuchContainer>} (404) or L{DaemonError}.
        """

    def list_containers() -> Deferred[Sequence[dict[str, Any]]]:
        """C{GET /containers/json?all=1}, untranslated."""

    def image_ports(image: str) -> Deferred[tuple[ContainerPort, ...]]:
        """C{Config.ExposedPorts} of an image; empty when there is no such image (yet)."""

    def remove(container_id: str) -> Deferred[None]:
        """C{DELETE /containers/{container_id}}, forced, with its anonymous volumes; fires when it is gone."""

    def services() -> Deferred[Sequence[dict[str, Any]] | None]:
        """C{GET /services}, untranslated; None where the daemon is no manager of a swarm."""

    def volumes(names: Sequence[str] = ()) -> Deferred[Sequence[dict[str, Any]]]:
        """
        C{GET /volumes} of the C{local} driver, untranslated: all, or those of C{names} that are there.
        Fires with none where the daemon, or what stands before it, tells nobody of volumes (403, 404).
        """

    def version() -> Deferred[dict[str, Any]]:
        """C{GET /version}."""

    def ping() -> bytes | None:
        """
        The head of the last answer to C{GET /_ping} on the current login, C{Date} brought up to now, as
        bytes ready to be sent to a client; None unless the login is proven alive.
        """

    def watch(observer: IContainerObserver) -> None:
        """Follows C{/events} for good, across lost logins, and tells C{observer}."""


class IForwards(Interface):
    """Local listeners for published ports, by container id."""

    def reserve(container_id: str, name: str, requested: PortMap, optional: bool = False) -> Deferred[None]:
        """
        Opens the local listeners that C{requested} asks for, before the container starts. A port left open
        (C{""}) gets the number it had before, or the first free one. Idempotent.

        @param optional: ports that cannot be had are logged and passed over (those of others' containers).
        Fails with L{PortUnavailable<remotedocker.errors.PortUnavailable>}, L{AddressUnavailable} or
        L{PortForbidden}, and then nothing of this container is left open that was not before.
        """

    def publish(container_id: str, actual: PortMap) -> Deferred[None]:
        """
        Points the listeners to the ports on the remote's loopback that the daemon reports
        (C{NetworkSettings.Ports}).

        @return: fires when every listener leads to its port.
        """

    def release(container_id: str) -> Deferred[None]:
        """
        The container is down: closes its listeners and ends their connections; the numbers are
        remembered. Fires when the ports are free.
        """

    def suspend(container_id: str) -> Deferred[None]:
        """
        The container is down and the daemon will start it again: ends connections and refuses new ones, but
        keeps the ports, so that no round of a crash loop can lose them. Undone by L{publish}.
        """

    def forget(container_id: str) -> Deferred[None]:
        """The container is gone: releases, and forgets its numbers."""

    def local_ports(container_id: str) -> PortMap | None:
        """What is open now, with real addresses and numbers; None for a container not forwarded."""

    def containers() -> frozenset[str]:
        """The ids that have listeners or remembered numbers."""


class IMirrors(Interface):
    """Laptop trees and their copies on the remote."""

    def place(mounts: Sequence[BindMount]) -> Deferred[tuple[PlacedMount, ...]]:
        """
        Decides for each mount whether the laptop's files or the remote's own are meant, makes the remote
        place (so that the daemon accepts the create), and begins the first push.

        @return: fires with one L{PlacedMount} for each mount, in order, when the places are there.
        Fails with L{SourceMissing<remotedocker.errors.SourceMissing>}, L{TreeTooLarge}, L{SourceUnusable},
        or an error of the remote's file system.
        """

    def attach(container_id: str, remote_sources: Mapping[str, bool]) -> None:
        """
        The container uses these mirrors (sources as the remote daemon knows them; those that are no mirrors
        are passed over). Idempotent; after a restart of the agent it is called from the re-list.

        @param remote_sources: the source, to whether it is mounted read-only.
        """

    def ready(container_id: str) -> Deferred[None]:
        """
        The barrier before a start: fires when every change made on the laptop before this call is
        complete on the remote, for each mirror of the container.
        Fails with L{SyncFailed<remotedocker.errors.SyncFailed>} or what it was caused by.
        """

    def running(container_id: str) -> None:
        """The container runs: its mirrors are watched, and what it writes is brought back."""

    def collect(container_id: str) -> Deferred[None]:
        """
        Fires when everything that the container wrote before this call is on the laptop. Never
        fails: what could not be brought back is logged and kept for later.
        """

    def stopped(container_id: str) -> None:
        """The container is down."""

    def release(container_id: str) -> Deferred[None]:
        """The container is gone. Fires as L{collect}; before L{resynced} it waits for that."""

    def resynced() -> None:
        """
        Since the last login containers were listed and ports put right: the remote is looked at again where
        something runs, or is still owed. Until then only what somebody waits for is done (L{place}, L{ready},
        L{collect}).
        """

    def containers() -> frozenset[str]:
        """
        Those that may have written what is not here yet, even through an agent before this one. They count as
        running until L{running}, L{stopped} or L{release} tells.
        """

    def serving(sources: Mapping[str, bool]) -> None:
        """
        What the services of the swarm mount, as in L{attach}. Mirrors of those that are gone are not followed
        any more; one that was placed since is waited for.
        """

    def keeping(sources: Mapping[str, bool]) -> None:
        """The same of the daemon's volumes that are binds; one that was made by itself is waited for."""

    def laptop_path(remote_path: str) -> str | None:
        """The laptop's path that C{remote_path} mirrors; None if it is no mirror of ours."""


class IContainers(Interface):
    """
    What the proxy asks around the requests that it does not simply pass: the meeting point of
    ports, files and the daemon's truth. An errback is answered to the client as Docker's error, and
    the request is not forwarded.
    """

    def plan_create(spec: CreateSpec) -> Deferred[CreatePlan]:
        """Before a C{POST /containers/create}."""

    def created(container_id: str, name: str, plan: CreatePlan) -> None:
        """The daemon made the container."""

    def create_failed(plan: CreatePlan) -> None:
        """The daemon refused the create, or its answer never came."""

    def starting(reference: str) -> Deferred[str | None]:
        """
        Before a start or restart of C{reference}: files complete, local ports open.

        @return: fires with the full id if the container is ours (to be given to L{started}), with
            None if nothing is to be done for it.
        """

    def started(container_id: str, succeeded: bool) -> Deferred[None]:
        """
        The daemon has answered the start; the client gets the answer when this fires: its ports
        lead somewhere. With C{succeeded} false everything opened for the start is closed again.
        """

    def collect(reference: str) -> Deferred[None]:
        """
        Before a client learns that a container, or something in it, has ended: fires when what it
        wrote is back on the laptop. Never fails.
        """

    def exec_created(exec_id: str, reference: str) -> None:
        """An exec was made in the container C{reference}."""

    def collect_exec(exec_id: str) -> Deferred[None]:
        """As L{collect}, for the container of an exec; fires at once for one that is not known."""

    def plan_volume(mount: BindMount) -> Deferred[PlacedMount]:
        """Before a C{POST /volumes/create} of a C{local} volume that is a bind (C{o=bind})."""

    def local_ports(container_id: str) -> PortMap | None:
        """See L{IForwards.local_ports}."""

    def laptop_path(remote_path: str) -> str | None:
        """See L{IMirrors.laptop_path}."""

    def owned(labels: Mapping[str, str]) -> OwnedContainer | None:
        """What our labels say, if the container was created through this agent."""


class IServices(Interface):
    """What the proxy asks around the create and the update of a swarm's service, as L{IContainers}."""

    def plan(reference: str, spec: ServiceSpec) -> Deferred[ServicePlan]:
        """
        Before a C{POST /services/create} (C{reference} is C{""}) or C{/services/{reference}/update}: local
        ports are taken. Fires with a plan, its C{placed} empty, to be given to L{answered}.
        """

    def answered(plan: ServicePlan) -> None:
        """
        The daemon has answered, or its answer will not come: if it has not made or changed the service, what
        was taken is given back.
        """
