# -*- test-case-name: tests.docker.test_routes -*-
"""
Tests for L{remotedocker.docker._routes}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotedocker.docker import Endpoint, Route, route, with_query

_ROUTES: tuple[tuple[str, str, Endpoint, str | None], ...] = (
    ("GET", "/_ping", Endpoint.PING, None),
    ("HEAD", "/_ping", Endpoint.PING, None),
    ("POST", "/_ping", Endpoint.OTHER, None),
    ("GET", "/version", Endpoint.VERSION, None),
    ("GET", "/info", Endpoint.INFO, None),
    ("GET", "/events", Endpoint.EVENTS, None),
    ("GET", "/system/df", Endpoint.SYSTEM_DF, None),
    ("POST", "/auth", Endpoint.AUTH, None),
    ("GET", "/containers/json", Endpoint.CONTAINER_LIST, None),
    ("POST", "/containers/json", Endpoint.OTHER, None),
    ("GET", "/containers/json/json", Endpoint.CONTAINER_INSPECT, "json"),
    ("POST", "/containers/create", Endpoint.CONTAINER_CREATE, None),
    ("post", "/containers/create", Endpoint.OTHER, None),
    ("POST", "/containers/create/", Endpoint.OTHER, None),
    ("POST", "/Containers/create", Endpoint.OTHER, None),
    ("POST", "/containers/create/start", Endpoint.CONTAINER_START, "create"),
    ("POST", "/containers/prune", Endpoint.CONTAINER_PRUNE, None),
    ("GET", "/containers/x/json", Endpoint.CONTAINER_INSPECT, "x"),
    ("POST", "/containers/x/start", Endpoint.CONTAINER_START, "x"),
    ("POST", "/containers/x/restart", Endpoint.CONTAINER_RESTART, "x"),
    ("POST", "/containers/x/stop", Endpoint.CONTAINER_STOP, "x"),
    ("POST", "/containers/x/kill", Endpoint.CONTAINER_KILL, "x"),
    ("POST", "/containers/x/wait", Endpoint.CONTAINER_WAIT, "x"),
    ("POST", "/containers/x/rename", Endpoint.CONTAINER_RENAME, "x"),
    ("POST", "/containers/x/attach", Endpoint.CONTAINER_ATTACH, "x"),
    ("GET", "/containers/x/attach/ws", Endpoint.CONTAINER_ATTACH_WS, "x"),
    ("GET", "/containers/x/logs", Endpoint.CONTAINER_LOGS, "x"),
    ("GET", "/containers/x/archive", Endpoint.CONTAINER_ARCHIVE_GET, "x"),
    ("PUT", "/containers/x/archive", Endpoint.CONTAINER_ARCHIVE_PUT, "x"),
    ("HEAD", "/containers/x/archive", Endpoint.CONTAINER_ARCHIVE_HEAD, "x"),
    ("GET", "/containers/x/export", Endpoint.CONTAINER_EXPORT, "x"),
    ("DELETE", "/containers/x", Endpoint.CONTAINER_DELETE, "x"),
    ("DELETE", "/containers/", Endpoint.OTHER, None),
    ("POST", "/containers/x/exec", Endpoint.EXEC_CREATE, "x"),
    ("POST", "/exec/0a1b/start", Endpoint.EXEC_START, "0a1b"),
    ("GET", "/exec/0a1b/json", Endpoint.EXEC_INSPECT, "0a1b"),
    ("POST", "/session", Endpoint.SESSION, None),
    ("POST", "/grpc", Endpoint.GRPC, None),
    ("POST", "/build", Endpoint.BUILD, None),
    ("POST", "/commit", Endpoint.COMMIT, None),
    ("POST", "/images/create", Endpoint.IMAGE_PULL, None),
    ("GET", "/images/json", Endpoint.IMAGE_LIST, None),
    ("GET", "/images/a/b:1/json", Endpoint.IMAGE_INSPECT, "a/b:1"),
    ("POST", "/images/load", Endpoint.IMAGE_LOAD, None),
    ("GET", "/images/get", Endpoint.IMAGE_SAVE, None),
    ("GET", "/images/a/b:1/get", Endpoint.IMAGE_SAVE_ONE, "a/b:1"),
    ("POST", "/images/localhost:5999/x/y/push", Endpoint.IMAGE_PUSH, "localhost:5999/x/y"),
    ("GET", "/volumes", Endpoint.VOLUME_LIST, None),
    ("POST", "/volumes/create", Endpoint.VOLUME_CREATE, None),
    ("GET", "/volumes/v", Endpoint.VOLUME_INSPECT, "v"),
    ("GET", "/services", Endpoint.SERVICE_LIST, None),
    ("POST", "/services/create", Endpoint.SERVICE_CREATE, None),
    ("POST", "/services/s/update", Endpoint.SERVICE_UPDATE, "s"),
    ("GET", "/tasks", Endpoint.TASK_LIST, None),
    ("GET", "/tasks/t", Endpoint.TASK_INSPECT, "t"),
    ("GET", "/services/s", Endpoint.SERVICE_INSPECT, "s"),
    ("GET", "/services/s/logs", Endpoint.OTHER, None),
    ("OPTIONS", "/containers/json", Endpoint.OTHER, None),
    ("GET", "/libpod/containers/json", Endpoint.OTHER, None),
)
"""Method, path, what is meant, and what is named."""

_SPELLINGS: tuple[tuple[str, str | None, str | None, str], ...] = (
    ("/containers/x/start", None, "x", "/containers/x/start"),
    ("/v1.41/containers/x/start", "1.41", "x", "/containers/x/start"),
    ("/v1/containers/x/start", "1", "x", "/containers/x/start"),
    ("//v1.41//containers///x/start", "1.41", "x", "/containers/x/start"),
    ("/v1.41/./containers/../containers/x/start", "1.41", "x", "/containers/x/start"),
    ("/../v1.41/containers/x/start", "1.41", "x", "/containers/x/start"),
    ("/v1.41/%63ontainers/x/s%74art", "1.41", "x", "/containers/x/start"),
    ("/%2e%2e/containers/x/start", None, "x", "/containers/x/start"),
    ("/containers/%2Fx/start", None, "x", "/containers/x/start"),
    ("/containers//x/start", None, "x", "/containers/x/start"),
    ("/containers/x%20y/start", None, "x y", "/containers/x y/start"),
    ("/containers/x%0Ay/start", None, "x\ny", "/containers/x\ny/start"),
    ("/containers/%C3%A9/start", None, "\xe9", "/containers/\xe9/start"),
    ("/containers/%FF/start", None, "\udcff", "/containers/\udcff/start"),
    ("http://127.0.0.1:23750/v1.41/containers/x/start", "1.41", "x", "/containers/x/start"),
    ("http://d/containers/x/start?t=1", None, "x", "/containers/x/start"),
    ("/containers/x/start?path=/containers/create", None, "x", "/containers/x/start"),
)
"""Targets that all mean a start: the version, the container and the cleaned path."""


class RouteTests(SynchronousTestCase):
    """From request lines to endpoints."""

    def test_table(self) -> None:
        """Each line of the table is found, with and without a version."""
        for method, path, endpoint, reference in _ROUTES:
            for version in (None, "1.41"):
                target = path if version is None else f"/v{version}{path}"
                self.assertEqual(
                    route(method.encode(), target.encode()), Route(endpoint, version, reference, path)
                )

    def test_spellings(self) -> None:
        """A path is decoded and cleaned as the daemon does before it is matched."""
        for target, version, reference, path in _SPELLINGS:
            found = route(b"POST", target.encode())
            self.assertEqual(found.endpoint, Endpoint.CONTAINER_START, target)
            self.assertEqual((found.version, found.reference, found.path), (version, reference, path), target)

    def test_bytes_that_are_no_utf8(self) -> None:
        """Raw bytes in a target stay what they are."""
        self.assertEqual(route(b"GET", b"/containers/\xff/json").reference, "\udcff")

    def test_no_path(self) -> None:
        """An absolute form without a path, an asterisk and an empty target are nothing special."""
        for target, path in ((b"http://d", "/"), (b"*", "*"), (b"", "/"), (b"/v1.41", "/v1.41"), (b"/", "/")):
            self.assertEqual(route(b"OPTIONS", target), Route(Endpoint.OTHER, None, None, path))

    def test_query(self) -> None:
        """Parameters are decoded, blank ones and repetitions kept, in order."""
        found = route(b"GET", b"/containers/json?b=1&a=x%20y+z&b=&c=%FF&d&b=3")
        self.assertEqual(
            dict(found.query), {"b": ("1", "", "3"), "a": ("x y z",), "c": ("\udcff",), "d": ("",)}
        )
        self.assertEqual(list(found.query), ["b", "a", "c", "d"])

    def test_every_endpoint_is_reached(self) -> None:
        """The table of these tests leaves out no endpoint."""
        self.assertEqual({row[2] for row in _ROUTES}, set(Endpoint))

    def test_may_hijack(self) -> None:
        """Those endpoints become raw streams."""
        self.assertEqual(
            {endpoint for endpoint in Endpoint if endpoint.may_hijack},
            {
                Endpoint.CONTAINER_ATTACH,
                Endpoint.CONTAINER_ATTACH_WS,
                Endpoint.EXEC_START,
                Endpoint.SESSION,
                Endpoint.GRPC,
            },
        )

    def test_bulk(self) -> None:
        """What carries images, contexts and archives is bulk, what a person waits at is not."""
        for endpoint in (Endpoint.IMAGE_LOAD, Endpoint.BUILD, Endpoint.CONTAINER_ARCHIVE_PUT):
            self.assertTrue(endpoint.bulk)
        for endpoint in (Endpoint.CONTAINER_ATTACH, Endpoint.EXEC_START, Endpoint.OTHER):
            self.assertFalse(endpoint.bulk)


class WithQueryTests(SynchronousTestCase):
    """Targets with another query."""

    def test_replaces(self) -> None:
        """The path stays as it was sent, whatever its form."""
        query = {"filters": ('{"a":["b c"]}',), "x": ("1", "2")}
        for path in (b"/v1.41/%63ontainers/json", b"http://d/containers/json"):
            target = with_query(path + b"?all=1", query)
            self.assertTrue(target.startswith(path + b"?"))
            self.assertEqual(route(b"GET", target).query, query)

    def test_empty(self) -> None:
        """Without parameters there is no question mark."""
        self.assertEqual(with_query(b"/x?a=1", {}), b"/x")
        self.assertEqual(with_query(b"/x", {"a": ()}), b"/x")

    def test_bytes_that_are_no_utf8(self) -> None:
        """Such bytes come out as they went in."""
        self.assertEqual(with_query(b"/x", route(b"GET", b"/x?a=%FF").query), b"/x?a=%FF")
