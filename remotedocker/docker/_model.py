# -*- test-case-name: tests.docker.test_model -*-
"""
Docker's nouns as values: what the other packages pass to each other.

Strings are as the Docker API writes them (a host port is text: C{""}, C{"8080"}
or C{"8090-8095"}); nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import Factory, frozen

__all__ = [
    "BindMount",
    "ContainerEvent",
    "ContainerPort",
    "CreatePlan",
    "CreateSpec",
    "MountForm",
    "OwnedContainer",
    "PlacedMount",
    "PortBinding",
    "PortMap",
    "ServicePlan",
    "ServiceSpec",
]


@frozen(order=True)
class ContainerPort:
    """
    A port inside a container; a key of C{PortBindings} and C{ExposedPorts}.

    @ivar number: 1 to 65535.
    @ivar protocol: C{"tcp"}, C{"udp"} or C{"sctp"}, lower case.
    """

    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@frozen(order=True)
class PortBinding:
    """
    One host side of a published port, as typed or as opened.

    @ivar host_ip: an address, or C{""} for the default.
    @ivar host_port: C{""} or C{"0"} (any), a number, or a range C{"8090-8095"}.
    """

    host_ip: str = ""
    host_port: str = ""


PortMap = Mapping[ContainerPort, tuple[PortBinding, ...]]
"""Published ports in the shape of C{HostConfig.PortBindings} and C{NetworkSettings.Ports}."""


class MountForm(Enum):
    """How a bind was asked for; the daemon treats a missing source differently."""

    BIND = "HostConfig.Binds"
    """A string of C{HostConfig.Binds} (C{-v}): a missing source is made as a directory."""
    MOUNT = "HostConfig.Mounts"
    """An object of C{HostConfig.Mounts} (C{--mount}): a missing source is an error at create."""
    VOLUME = "VolumeOptions.DriverConfig"
    """A C{local} volume with C{o=bind} and C{device=/path}: fails at start when it is missing."""
    SERVICE = "TaskTemplate.ContainerSpec.Mounts"
    """As L{MOUNT}, of a service: its tasks are started by the swarm, whenever that likes."""


@frozen
class BindMount:
    """
    A host path that a request asks to be mounted.

    @ivar source: the path as typed.
    @ivar target: the path inside the container (C{""} for a volume that nobody mounts yet).
    @ivar read_only: whether the container is kept from writing.
    @ivar form: where it stood in the request.
    @ivar create_source: the daemon may make a missing source as a directory
        (C{Binds}, or C{BindOptions.CreateMountpoint}).
    """

    source: str
    target: str
    read_only: bool = False
    form: MountForm = MountForm.BIND
    create_source: bool = True


@frozen
class PlacedMount:
    """
    The decision about one L{BindMount}.

    @ivar mount: what was asked.
    @ivar remote_source: the path that the remote daemon is told.
    @ivar mirrored: true when C{remote_source} is a mirror of the laptop's path; false when the
        remote's own path is meant.
    @ivar warnings: lines for the create answer's C{Warnings}.
    """

    mount: BindMount
    remote_source: str
    mirrored: bool
    warnings: tuple[str, ...] = ()


@frozen
class CreateSpec:
    """
    What of a C{POST /containers/create} body concerns us; everything else passes unseen.

    @ivar image: the image reference, as typed.
    @ivar mounts: binds of every form, in the order of the body.
    @ivar ports: C{HostConfig.PortBindings}, of every protocol.
    @ivar exposed: C{ExposedPorts} of the request (the image's are not known here).
    @ivar publish_all: C{HostConfig.PublishAllPorts}.
    @ivar network_mode: C{HostConfig.NetworkMode}, C{""} if absent.
    @ivar labels: the user's labels.
    @ivar binds: C{HostConfig.Binds} as typed, named volumes too; None if the request has none.
    @ivar inherits_mounts: it takes the mounts of other containers (C{HostConfig.VolumesFrom}).
    @ivar volumes: the volumes that it names, to whether they are mounted read-only.
    """

    image: str
    mounts: tuple[BindMount, ...] = ()
    ports: PortMap = Factory(dict)
    exposed: tuple[ContainerPort, ...] = ()
    publish_all: bool = False
    network_mode: str = ""
    labels: Mapping[str, str] = Factory(dict)
    binds: tuple[str, ...] | None = None
    inherits_mounts: bool = False
    volumes: Mapping[str, bool] = Factory(dict)

    @property
    def has_own_ports(self) -> bool:
        """Whether the daemon publishes ports in that network mode."""
        return self.network_mode not in ("host", "none") and not self.network_mode.startswith("container:")


@frozen
class CreatePlan:
    """
    How a create body is to be changed.

    @ivar placed: one decision for each of L{CreateSpec.mounts}, in the same order.
    @ivar labels: our labels, added to the user's.
    @ivar forwarded: the container ports to be bound on the remote's loopback at a port of its
        choosing, instead of as asked.
    @ivar warnings: lines for the create answer's C{Warnings}.
    @ivar inherits_mounts: as in L{CreateSpec}.
    @ivar volumes: as in L{CreateSpec}.
    """

    placed: tuple[PlacedMount, ...] = ()
    labels: Mapping[str, str] = Factory(dict)
    forwarded: tuple[ContainerPort, ...] = ()
    warnings: tuple[str, ...] = ()
    inherits_mounts: bool = False
    volumes: Mapping[str, bool] = Factory(dict)


@frozen
class OwnedContainer:
    """
    What our labels say about a container: whose it is, and what its user typed.

    @ivar agent_id: the agent that created it.
    @ivar nonce: random text, new for each create.
    @ivar ports: C{PortBindings} as typed, of the forwarded ports only.
    @ivar publish_all: C{PublishAllPorts} as typed.
    @ivar binds: C{HostConfig.Binds} as typed, or None if the request had none.
    @ivar mounts: the C{Source} (or C{device}) of each C{HostConfig.Mounts} entry as typed, by
        its C{Target}.
    @ivar exposed: the C{ExposedPorts} that we added and the user did not type.
    @ivar forwarded: every port that is bound on the remote's loopback: the keys of C{ports}, and
        those that C{-P} alone asked for.
    """

    agent_id: str
    nonce: str
    ports: PortMap = Factory(dict)
    publish_all: bool = False
    binds: tuple[str, ...] | None = None
    mounts: Mapping[str, str] = Factory(dict)
    exposed: tuple[ContainerPort, ...] = ()
    forwarded: tuple[ContainerPort, ...] = ()

    @property
    def publishes(self) -> bool:
        """Whether any port of the container is forwarded."""
        return bool(self.ports) or self.publish_all


@frozen
class ServiceSpec:
    """
    What concerns us of the specification of a swarm's service.

    @ivar mounts: the host paths in C{TaskTemplate.ContainerSpec.Mounts}, in order.
    @ivar ports: the TCP ports that every node of the swarm listens on (C{PublishMode} C{ingress}), by the
        port in the tasks' containers; C{""}: at a number of the swarm's choosing.
    @ivar task_ports: the TCP ports that a node listens on for its own task (C{host}).
    @ivar others: published ports of other protocols.
    """

    name: str
    mounts: tuple[BindMount, ...] = ()
    ports: PortMap = Factory(dict)
    task_ports: PortMap = Factory(dict)
    others: tuple[ContainerPort, ...] = ()


@frozen
class ServicePlan:
    """
    How the specification of a service is to be changed.

    @ivar placed: one decision for each of L{ServiceSpec.mounts}, in the same order.
    @ivar labels: our labels, added to the service's.
    @ivar task_labels: our labels, added to those of its tasks' containers.
    @ivar warnings: lines for the answer's C{Warnings}.
    @ivar key: what its local ports are known by; C{""}: it passes as asked.
    """

    placed: tuple[PlacedMount, ...] = ()
    labels: Mapping[str, str] = Factory(dict)
    task_labels: Mapping[str, str] = Factory(dict)
    warnings: tuple[str, ...] = ()
    key: str = ""


@frozen
class ContainerEvent:
    """
    One C{Type=container} object of C{GET /events}, or one of C{Type=network} that tells of a container, or of
    C{Type=service} or C{Type=volume}.

    @ivar action: C{"start"}, C{"die"}, …; a suffix (C{"health_status: healthy"}) is kept in
        C{detail}; C{"network connect"} and C{"network disconnect"} when a network is given or taken;
        C{"service create"}, C{"service update"} and C{"service remove"} of a swarm's service;
        C{"volume create"} and C{"volume destroy"}.
    @ivar container_id: the full id, of the service where it tells of one; the name of a volume.
    @ivar attributes: C{Actor.Attributes}: name, image, exitCode and all labels.
    @ivar time_ns: C{timeNano}, nanoseconds since the epoch, of the daemon's clock.
    @ivar detail: what followed the colon in the action.
    """

    action: str
    container_id: str
    attributes: Mapping[str, str] = Factory(dict)
    time_ns: int = 0
    detail: str = ""
