# -*- test-case-name: tests.docker.test_routes -*-
"""
Which endpoint of the Docker Engine API a request line means.

The daemon decodes and cleans a path before it matches it (it answers an unclean one with a redirect), and
takes every endpoint with or without a C{/v1.NN} prefix. The same is done here, for matching only: what
is forwarded is the target as the client sent it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from posixpath import normpath
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlencode

from attrs import Factory, frozen

__all__ = ["Endpoint", "Route", "route", "with_query"]


class Endpoint(Enum):
    """
    The endpoints that something is done about; everything else is L{OTHER}.

    The values are the method and the path as the API's reference writes them.
    """

    PING = ("GET,HEAD", "/_ping")
    VERSION = ("GET", "/version")
    INFO = ("GET", "/info")
    EVENTS = ("GET", "/events")
    SYSTEM_DF = ("GET", "/system/df")
    AUTH = ("POST", "/auth")

    CONTAINER_LIST = ("GET", "/containers/json")
    CONTAINER_CREATE = ("POST", "/containers/create")
    CONTAINER_PRUNE = ("POST", "/containers/prune")
    CONTAINER_INSPECT = ("GET", "/containers/{reference}/json")
    CONTAINER_START = ("POST", "/containers/{reference}/start")
    CONTAINER_RESTART = ("POST", "/containers/{reference}/restart")
    CONTAINER_STOP = ("POST", "/containers/{reference}/stop")
    CONTAINER_KILL = ("POST", "/containers/{reference}/kill")
    CONTAINER_WAIT = ("POST", "/containers/{reference}/wait")
    CONTAINER_RENAME = ("POST", "/containers/{reference}/rename")
    CONTAINER_ATTACH = ("POST", "/containers/{reference}/attach")
    CONTAINER_ATTACH_WS = ("GET", "/containers/{reference}/attach/ws")
    CONTAINER_LOGS = ("GET", "/containers/{reference}/logs")
    CONTAINER_ARCHIVE_GET = ("GET", "/containers/{reference}/archive")
    CONTAINER_ARCHIVE_PUT = ("PUT", "/containers/{reference}/archive")
    CONTAINER_ARCHIVE_HEAD = ("HEAD", "/containers/{reference}/archive")
    CONTAINER_EXPORT = ("GET", "/containers/{reference}/export")
    CONTAINER_DELETE = ("DELETE", "/containers/{reference}")

    EXEC_CREATE = ("POST", "/containers/{reference}/exec")
    EXEC_START = ("POST", "/exec/{reference}/start")
    EXEC_INSPECT = ("GET", "/exec/{reference}/json")

    SESSION = ("POST", "/session")
    GRPC = ("POST", "/grpc")

    BUILD = ("POST", "/build")
    COMMIT = ("POST", "/commit")
    IMAGE_PULL = ("POST", "/images/create")
    IMAGE_LIST = ("GET", "/images/json")
    IMAGE_INSPECT = ("GET", "/images/{reference}/json")
    IMAGE_LOAD = ("POST", "/images/load")
    IMAGE_SAVE = ("GET", "/images/get")
    IMAGE_SAVE_ONE = ("GET", "/images/{reference}/get")
    IMAGE_PUSH = ("POST", "/images/{reference}/push")

    VOLUME_LIST = ("GET", "/volumes")
    VOLUME_CREATE = ("POST", "/volumes/create")
    VOLUME_INSPECT = ("GET", "/volumes/{reference}")

    SERVICE_LIST = ("GET", "/services")
    SERVICE_CREATE = ("POST", "/services/create")
    SERVICE_UPDATE = ("POST", "/services/{id}/update")
    SERVICE_INSPECT = ("GET", "/services/{id}")
    TASK_LIST = ("GET", "/tasks")
    TASK_INSPECT = ("GET", "/tasks/{id}")

    OTHER = ("", "")

    @property
    def may_hijack(self) -> bool:
        """Whether a good answer turns the connection into a raw stream (a 101, or a 200 without a length)."""
        return self in _HIJACKED

    @property
    def bulk(self) -> bool:
        """Whether a lot of data may be sent in one piece, so that it should not share an interactive link."""
        return self in _BULK


_HIJACKED = frozenset(
    {
        Endpoint.CONTAINER_ATTACH,
        Endpoint.CONTAINER_ATTACH_WS,
        Endpoint.EXEC_START,
        Endpoint.SESSION,
        Endpoint.GRPC,
    }
)
_BULK = frozenset(
    {
        Endpoint.BUILD,
        Endpoint.CONTAINER_ARCHIVE_GET,
        Endpoint.CONTAINER_ARCHIVE_PUT,
        Endpoint.CONTAINER_EXPORT,
        Endpoint.GRPC,
        Endpoint.IMAGE_LOAD,
        Endpoint.IMAGE_SAVE,
        Endpoint.IMAGE_SAVE_ONE,
        Endpoint.SESSION,
    }
)


@frozen
class Route:
    """
    What a request line means.

    @ivar endpoint: which endpoint.
    @ivar version: C{"1.41"}, or None where the target has no version prefix.
    @ivar reference: the container, exec, image, volume or service that the path names (an id, a prefix of
        one, or a name without the leading slash), decoded; None where it names none.
    @ivar path: decoded and cleaned, without the version prefix.
    @ivar query: the decoded parameters, each with its values in order.
    """

    endpoint: Endpoint
    version: str | None
    reference: str | None
    path: str
    query: Mapping[str, tuple[str, ...]] = Factory(dict)


def _compiled(path: str) -> re.Pattern[str]:
    """The pattern of an API path; as in the daemon's own router a C{{reference}} may hold slashes."""
    pattern = re.escape(path)
    pattern = pattern.replace(r"\{reference\}", "(?P<reference>.+)")
    pattern = pattern.replace(r"\{id\}", "(?P<reference>[^/]+)")
    return re.compile(pattern, re.DOTALL)


_TABLE: Mapping[str, tuple[tuple[re.Pattern[str], Endpoint], ...]] = MappingProxyType(
    {
        method: tuple(
            (_compiled(endpoint.value[1]), endpoint)
            for endpoint in Endpoint
            if method in endpoint.value[0].split(",") and endpoint is not Endpoint.OTHER
        )
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE")
    }
)
"""For each method the paths, in the order in which they are tried: those without a name come first."""

_ABSOLUTE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?]*")
_VERSION_PREFIX = re.compile(r"/v([0-9.]+)(?=/)")


def _cleaned(path: str) -> str:
    """C{path} as Go's C{net/http} and C{gorilla/mux} clean it; a slash at the end stays."""
    if not path.startswith("/"):
        return path
    cleaned = "/" + normpath(path).lstrip("/")
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


def route(method: bytes, target: bytes) -> Route:
    """
    @param method: as in the request line; methods are case-sensitive.
    @param target: origin-form or absolute-form (RFC 9112 section 3.2), not decoded.
    """
    text = _ABSOLUTE_FORM.sub("", target.decode("utf-8", "surrogateescape"), count=1)
    raw_path, _, raw_query = text.partition("?")
    path = _cleaned(unquote(raw_path, errors="surrogateescape") or "/")
    prefix = _VERSION_PREFIX.match(path)
    version = None
    if prefix is not None:
        version = prefix.group(1)
        path = path[prefix.end() :]
    query: dict[str, tuple[str, ...]] = {}
    for key, value in parse_qsl(raw_query, keep_blank_values=True, errors="surrogateescape"):
        query[key] = (*query.get(key, ()), value)
    for pattern, endpoint in _TABLE.get(method.decode("latin-1"), ()):
        match = pattern.fullmatch(path)
        if match is not None:
            return Route(endpoint, version, match.groupdict().get("reference"), path, query)
    return Route(Endpoint.OTHER, version, None, path, query)


def with_query(target: bytes, query: Mapping[str, Iterable[str]]) -> bytes:
    """
    @return: C{target} with its query replaced by C{query}.
    """
    path = target.partition(b"?")[0]
    pairs = [(key, value) for key, values in query.items() for value in values]
    if not pairs:
        return path
    return path + b"?" + urlencode(pairs, errors="surrogateescape").encode("ascii")
