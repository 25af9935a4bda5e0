# -*- test-case-name: tests.test_errors -*-
"""
Everything that can go wrong and that a user is told about.

The docstring of each class is the sentence that the user reads, with C{{names}} filled from the
arguments: C{{name!c}} is a destination as the command line of C{ssh} takes it, C{{name!q}} is quoted for a
shell. It tells the cause and the remedy. C{status} is the HTTP status with which the proxy
answers (Docker's own: 400 bad request, 403 forbidden, 404 missing, 409 conflict, 413 too large,
500 failed, 502 the daemon could not be reached, 503 SSH is down).
"""

from __future__ import annotations

import re
import shlex
from inspect import cleandoc
from string import Formatter
from typing import Any, ClassVar

__all__ = [
    "RemoteDockerError",
    "harmless",
    # by the client's fault
    "BadRequest",
    "BodyTooLarge",
    "BrowserRefused",
    "ForeignHost",
    "NotHTTP",
    # the endpoint
    "CannotListen",
    # SSH
    "SSHError",
    "SSHUnavailable",
    "PermanentSSHError",
    "HostKeyUnknown",
    "HostKeyChanged",
    "HostKeyRevoked",
    "AuthenticationFailed",
    "NoCommonAlgorithm",
    "ForwardingForbidden",
    # the daemon
    "DaemonUnreachable",
    "DaemonError",
    "NoSuchContainer",
    "ExecCutOff",
    # ports
    "PortUnavailable",
    "AddressUnavailable",
    "PortForbidden",
    # files
    "SourceMissing",
    "TreeTooLarge",
    "SourceUnusable",
    "RemoteFileError",
    "RemoteFileNotFound",
    "RemotePermissionDenied",
    "RemoteDiskFull",
    "SyncFailed",
    "TreeStopped",
]


_WITH_PORT = re.compile(r"((?:.*@)?)(?:\[([^]]*)\]|([^:]*)):([0-9]+)")


#: What could command a terminal, and what is no text.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def harmless(text: str) -> str:
    """@return: C{text}, which may be somebody else's, as it can be shown on a terminal."""
    return _HARMFUL.sub("?", text)


class _Sentence(Formatter):
    """Fills the places of a sentence."""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        """C{!c} makes C{-p port user@host} of C{user@host:port}; both it and C{!q} quote for a shell."""
        if conversion == "q":
            return shlex.quote(str(value))
        if conversion != "c":
            return super().convert_field(value, conversion)
        found = _WITH_PORT.fullmatch(str(value))
        if found is None:
            return shlex.quote(str(value))
        user, address, host, port = found.groups()
        return f"-p {port} {shlex.quote(user + (host if address is None else address))}"


class RemoteDockerError(Exception):
    """remotedocker failed: {reason}"""

    status: ClassVar[int] = 500

    def __init__(self, **details: object) -> None:
        self.details = details
        template = " ".join(cleandoc(type(self).__doc__ or "").split())
        super().__init__(harmless(_Sentence().format(template, **details)))

    @property
    def message(self) -> str:
        """The sentence for the user."""
        return str(self.args[0])


class BadRequest(RemoteDockerError):
    """{reason}"""

    status = 400


class BodyTooLarge(RemoteDockerError):
    """the request body is larger than {limit} bytes, the most that is read of a request that is rewritten"""

    status = 413


class BrowserRefused(RemoteDockerError):
    """
    requests from web pages are refused (the request carries {header}); if this is no browser, leave that
    header out
    """

    status = 403


class ForeignHost(RemoteDockerError):
    """
    the request names the host {host}, which is not this endpoint; use {endpoint}, or list the address with
    --listen
    """

    status = 403


class NotHTTP(RemoteDockerError):
    """this endpoint speaks HTTP/1.1 only (--http-only is set); DOCKER_HOST must be {endpoint}, without TLS"""

    status = 400


class CannotListen(RemoteDockerError):
    """cannot listen on {address}: {reason}; another place is named with --listen"""


class SSHError(RemoteDockerError):
    """SSH to {destination} failed: {reason}"""

    status = 503


class SSHUnavailable(SSHError):
    """
    no SSH connection to {destination} ({state}; last reason: {reason}); remotedocker keeps trying, check the
    network or try `ssh {destination!c}`
    """


class PermanentSSHError(SSHError):
    """SSH to {destination} was refused for good: {reason}"""


class HostKeyUnknown(PermanentSSHError):
    """
    the host key of {destination} is not known ({algorithm} {fingerprint}); connect once with
    `ssh {destination!c}` and compare it, or start remotedocker with --accept-new-host-key
    """


class HostKeyChanged(PermanentSSHError):
    """
    the host key of {destination} has CHANGED: offered {algorithm} {fingerprint}, but {file}:{line} has
    {known_fingerprint}; somebody may be listening in, or the host was set up anew; if you are sure, remove
    that line with `ssh-keygen -R {known_name!q} -f {file!q}`
    """


class HostKeyRevoked(PermanentSSHError):
    """
    the host key of {destination} ({algorithm} {fingerprint}) is revoked by {file}:{line}; do not connect
    """


class AuthenticationFailed(PermanentSSHError):
    """
    {destination} accepted none of our keys (tried: {tried}); try `ssh {destination!c}`, add the key with
    `ssh-copy-id {destination!c}`, or name one with --identity
    """


class NoCommonAlgorithm(PermanentSSHError):
    """{destination} and remotedocker have no {what} in common: it offers {theirs}, we offer {ours}"""


class ForwardingForbidden(SSHError):
    """
    {destination} does not forward to {target}: {reason}; its sshd may forbid it (AllowTcpForwarding,
    AllowStreamLocalForwarding, PermitOpen in sshd_config)
    """

    status = 502


class DaemonUnreachable(RemoteDockerError):
    """
    the Docker daemon at {socket} on {destination} cannot be reached: {reason}; is it running, and may this
    SSH user open it (group docker)? another place is named with --remote-docker
    """

    status = 502


class DaemonError(RemoteDockerError):
    """the Docker daemon answered {code}: {reason}"""

    status = 502


class NoSuchContainer(RemoteDockerError):
    """No such container: {reference}"""

    status = 404


class ExecCutOff(RemoteDockerError):
    """
    the connection was lost in the middle of exec {exec_id}: its output is not complete; it may still be
    running, see `docker top`
    """

    status = 502


class PortUnavailable(RemoteDockerError):
    """
    driver failed programming external connectivity on endpoint {name} ({container_id}): Bind for {address}
    failed: port is already allocated
    """


class AddressUnavailable(RemoteDockerError):
    """
    driver failed programming external connectivity on endpoint {name} ({container_id}): listen tcp {address}:
    bind: cannot assign requested address (no such address on this machine, where remotedocker opens the port)
    """


class PortForbidden(RemoteDockerError):
    """
    driver failed programming external connectivity on endpoint {name} ({container_id}): listen tcp {address}:
    bind: permission denied (the user who runs remotedocker may not open ports under {limit}; see sysctl
    net.ipv4.ip_unprivileged_port_start)
    """


class SourceMissing(RemoteDockerError):
    """invalid mount config for type "bind": bind source path does not exist: {source}"""

    status = 400


class TreeTooLarge(RemoteDockerError):
    """
    the mounted tree {source} has {found}, more than {limit} allowed by {option}; ignore parts of it with
    .remotedockerignore, or raise {option}
    """

    status = 400


class SourceUnusable(RemoteDockerError):
    """the bind source {source} cannot be mounted: {reason}"""

    status = 400


class RemoteFileError(RemoteDockerError):
    """{operation} {path} on {destination} failed: {reason}"""


class RemoteFileNotFound(RemoteFileError):
    """{operation} {path} on {destination} failed: no such file or directory"""


class RemotePermissionDenied(RemoteFileError):
    """
    {operation} {path} on {destination} failed: permission denied; the SSH user needs the right to write
    there, or name another place with --sync-root
    """


class RemoteDiskFull(RemoteFileError):
    """{operation} {path} on {destination} failed: no space left on the remote's disk"""


class SyncFailed(RemoteDockerError):
    """{source} could not be brought to {destination}: {reason}"""


class TreeStopped(SyncFailed):
    """
    {source}: nothing was changed or deleted here or on {destination}, because {reason}. Put it back as it
    was; or, to begin anew with what each side has now (which deletes nothing), remove {snapshot}
    """
