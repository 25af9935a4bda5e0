# -*- test-case-name: tests.ssh.test_sshconfig -*-
"""
What ssh_config says about a destination, asked from C{ssh -G}: C{Match}, C{Include}, tokens and the system's
file are resolved as C{ssh} itself does. Where there is no C{ssh}, its defaults.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from attrs import evolve, frozen
from twisted.logger import Logger

from remotedocker.errors import PermanentSSHError, SSHError
from remotedocker.ssh._destination import Destination, SSHConfiguration, parse_destination
from remotedocker.ssh._permitted import Permitted, drop_defaults, read_permitted
from remotedocker.ssh._tokens import Tokens, local_user

__all__ = ["ResolvedHost", "parse_ssh_g", "resolve"]

_log = Logger()

_DEFAULT_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_RESOLVE_SECONDS = 15


@frozen
class ResolvedHost:
    """
    All that a login needs to know (ssh_config(5) has each word).

    @ivar name: what the user typed, for messages and for C{%n}.
    @ivar alias: C{HostKeyAlias}, or C{""}.
    @ivar identities: C{IdentityFile}s in order; those that are not there are passed over.
    @ivar explicit_identities: the user named them with C{--identity}, so that a missing one is worth a
        warning.
    @ivar certificates: C{CertificateFile}s.
    @ivar agent: the path of the agent's socket, or C{""}.
    @ivar strict: C{StrictHostKeyChecking}: C{"yes"}, C{"ask"}, C{"accept-new"} or C{"no"}.
    @ivar connect_timeout: seconds.
    @ivar alive_interval: C{ServerAliveInterval} in seconds, 0 where it is not set.
    @ivar jump: C{ProxyJump}, or C{""}.
    @ivar command: C{ProxyCommand} with its tokens filled, or C{""}.
    @ivar address_family: C{AddressFamily}: C{"any"}, C{"inet"} or C{"inet6"}.
    @ivar bind_address: C{BindAddress}, or C{""}.
    @ivar preferred_methods: C{PreferredAuthentications}; empty: our own order.
    @ivar permitted: the algorithms that may be offered.
    @ivar least_rsa: C{RequiredRSASize}: bits that an RSA key must have.
    @ivar tries: C{NumberOfPasswordPrompts}.
    @ivar rekey_bytes: C{RekeyLimit}, 0 where it is not set.
    @ivar rekey_seconds: the same.
    @ivar unchecked_localhost: C{NoHostAuthenticationForLocalhost}.
    @ivar known_hosts_command: C{KnownHostsCommand}, its words with their tokens filled.
    """

    name: str
    host: str
    port: int
    user: str
    alias: str = ""
    identities: tuple[Path, ...] = ()
    explicit_identities: bool = False
    certificates: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    user_known_hosts: tuple[Path, ...] = ()
    global_known_hosts: tuple[Path, ...] = ()
    revoked_host_keys: Path | None = None
    hash_known_hosts: bool = False
    strict: str = "ask"
    connect_timeout: float = 15.0
    alive_interval: float = 0.0
    alive_count: int = 3
    jump: str = ""
    command: str = ""
    pubkey: bool = True
    password: bool = True
    keyboard_interactive: bool = True
    batch_mode: bool = False
    address_family: str = "any"
    bind_address: str = ""
    preferred_methods: tuple[str, ...] = ()
    permitted: Permitted = Permitted()
    least_rsa: int = 1024
    tries: int = 3
    rekey_bytes: int = 0
    rekey_seconds: float = 0.0
    unchecked_localhost: bool = False
    known_hosts_command: tuple[str, ...] = ()
    ssh_config: Path | None = None

    @property
    def destination(self) -> str:
        """C{user@host} or C{user@host:port}, for messages."""
        return str(Destination(self.user, self.name, None if self.port == 22 else self.port))

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, by its address, and reached without a proxy."""
        if self.jump or self.command:
            return False
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def parse_ssh_g(output: str) -> dict[str, list[str]]:
    """
    Reads what C{ssh -G} prints: one C{keyword value} a line.

    @return: keyword in lower case to its values, in order.
    """
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword:
            found.setdefault(keyword.lower(), []).append(value.strip())
    return found


def resolve(configuration: SSHConfiguration, environ: Mapping[str, str]) -> ResolvedHost:
    """
    Resolves the destination. Runs C{ssh -G}, which reads files and may run C{Match exec} commands
    (milliseconds), and waits for it.

    @raise SSHError: ssh_config has an error, with C{ssh}'s own words in the message, or wants what there is
        not here.
    @raise ValueError: the destination cannot be read.
    """
    destination = parse_destination(configuration.destination)
    home = Path(environ.get("HOME") or Path.home())
    ssh = shutil.which("ssh", path=environ.get("PATH", os.defpath))
    if ssh is None:
        _log.info("There is no ssh program here: ssh_config is not read, its defaults are used.")
        resolved = _defaults(destination, home, environ)
    else:
        said = _ask_ssh(ssh, destination, configuration, environ)
        unconfigured = evolve(configuration, ssh_config=Path("none"))
        said = drop_defaults(said, _ask_ssh(ssh, destination, unconfigured, environ))
        resolved = _interpret(destination, said, home, environ)
    if configuration.identities:
        resolved = evolve(resolved, identities=configuration.identities, explicit_identities=True)
    if configuration.known_hosts:
        resolved = evolve(
            resolved,
            user_known_hosts=configuration.known_hosts,
            global_known_hosts=(),
            known_hosts_command=(),
        )
    return evolve(resolved, ssh_config=configuration.ssh_config)


def _ask_ssh(
    ssh: str, destination: Destination, configuration: SSHConfiguration, environ: Mapping[str, str]
) -> dict[str, list[str]]:
    """@return: what C{ssh -G} says."""
    command = [ssh, "-G"]
    if configuration.ssh_config is not None:
        command += ["-F", str(configuration.ssh_config)]
    if destination.user is not None:
        command += ["-l", destination.user]
    if destination.port is not None:
        command += ["-p", str(destination.port)]
    command += ["--", destination.host]
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_RESOLVE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise SSHError(
            destination=str(destination),
            reason=f"`{shlex.join(command)}` gave no answer in {_RESOLVE_SECONDS} s (a `Match exec`?)",
        ) from None
    if done.returncode != 0:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise SSHError(destination=str(destination), reason=f"ssh_config cannot be used: {words}")
    return parse_ssh_g(done.stdout.decode("utf-8", "surrogateescape"))


def _defaults(destination: Destination, home: Path, environ: Mapping[str, str]) -> ResolvedHost:
    """@return: what C{ssh} does without any ssh_config."""
    directory = home / ".ssh"
    return ResolvedHost(
        name=destination.host,
        host=destination.host,
        port=destination.port or 22,
        user=destination.user or local_user(environ),
        identities=tuple(directory / name for name in _DEFAULT_IDENTITIES),
        agent=environ.get("SSH_AUTH_SOCK", ""),
        user_known_hosts=(directory / "known_hosts", directory / "known_hosts2"),
        global_known_hosts=(Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2")),
    )


def _interpret(
    destination: Destination, said: dict[str, list[str]], home: Path, environ: Mapping[str, str]
) -> ResolvedHost:
    """@return: the login that the words of C{ssh -G} describe."""

    def one(keyword: str, default: str = "") -> str:
        values = said.get(keyword)
        value = values[0] if values else default
        return default if value == "none" else value

    def yes(keyword: str, default: str = "no") -> bool:
        return one(keyword, default) in ("yes", "true")

    host = one("hostname", destination.host)
    port = int(one("port", "22"))
    user = one("user", destination.user or local_user(environ))
    alias, jump = one("hostkeyalias"), one("proxyjump")
    fill = Tokens(destination.host, host, port, user, alias, jump, home, environ)

    def paths(keyword: str) -> tuple[Path, ...]:
        return tuple(fill.path(value) for value in said.get(keyword, ()) if value != "none")

    def path_list(keyword: str) -> tuple[Path, ...]:
        return tuple(
            fill.path(word) for value in said.get(keyword, ()) for word in _words(value) if word != "none"
        )

    command = fill.fill(one("proxycommand"))
    if command and yes("proxyusefdpass"):
        raise PermanentSSHError(
            destination=str(destination),
            reason="ssh_config's ProxyUseFdpass is not supported: use a ProxyCommand that passes data",
        )
    try:
        known_hosts_command = fill.known_hosts_command(one("knownhostscommand"))
    except ValueError as error:
        raise PermanentSSHError(destination=str(destination), reason=f"ssh_config's {error}") from None
    agent = said.get("identityagent", ["SSH_AUTH_SOCK"])[0]
    revoked = one("revokedhostkeys")
    timeout = one("connecttimeout", "0")
    rekey = [int(word) for word in one("rekeylimit").split() if word.isdigit()]
    return ResolvedHost(
        name=destination.host,
        host=host,
        port=port,
        user=user,
        alias=alias,
        identities=paths("identityfile"),
        certificates=paths("certificatefile"),
        identities_only=yes("identitiesonly"),
        agent=fill.agent(agent),
        user_known_hosts=path_list("userknownhostsfile"),
        global_known_hosts=path_list("globalknownhostsfile"),
        revoked_host_keys=fill.path(revoked) if revoked else None,
        hash_known_hosts=yes("hashknownhosts"),
        strict=_strictness(one("stricthostkeychecking", "ask")),
        connect_timeout=float(timeout) if timeout.isdigit() and int(timeout) else 15.0,
        alive_interval=float(one("serveraliveinterval", "0")),
        alive_count=int(one("serveralivecountmax", "3")),
        jump=jump,
        command=command,
        pubkey=one("pubkeyauthentication", "yes") not in ("no", "false"),
        password=yes("passwordauthentication", "yes"),
        keyboard_interactive=yes("kbdinteractiveauthentication", "yes"),
        batch_mode=yes("batchmode"),
        address_family=one("addressfamily", "any"),
        bind_address=one("bindaddress"),
        preferred_methods=tuple(filter(None, one("preferredauthentications").split(","))),
        permitted=read_permitted(said, str(destination)),
        least_rsa=int(one("requiredrsasize", "1024")),
        tries=int(one("numberofpasswordprompts", "3")),
        rekey_bytes=rekey[0] if rekey else 0,
        rekey_seconds=float(rekey[1]) if len(rekey) > 1 else 0.0,
        unchecked_localhost=yes("nohostauthenticationforlocalhost"),
        known_hosts_command=known_hosts_command,
    )


def _strictness(value: str) -> str:
    """@return: one of the four words; C{ssh -G} prints C{true} and C{false} in some versions."""
    return {"true": "yes", "false": "no", "off": "no"}.get(value, value)


def _words(value: str) -> Sequence[str]:
    """@return: the words of a list of file names, which may be quoted."""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()
