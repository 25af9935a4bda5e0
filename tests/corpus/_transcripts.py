"""
One connection each, in the form that was seen on the wire (ids shortened, dates set).
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["TRANSCRIPTS", "Transcript"]


@frozen
class Transcript:
    """
    What went over one connection.

    @ivar name: what was run.
    @ivar client: HTTP that the client sent.
    @ivar daemon: HTTP that the daemon sent.
    @ivar requests: method and target of each request.
    @ivar statuses: every status, interim ones too.
    @ivar bodies: the content of each final response, without framing.
    @ivar client_raw: what the client sent after an upgrade.
    @ivar daemon_raw: what the daemon sent after a 101.
    @ivar closed: the daemon ended the stream, and that was the end of the last response.
    @ivar upgraded: the daemon answered the last request with 101.
    """

    name: str
    client: bytes
    daemon: bytes
    requests: tuple[tuple[bytes, bytes], ...]
    statuses: tuple[int, ...]
    bodies: tuple[bytes, ...]
    client_raw: bytes = b""
    daemon_raw: bytes = b""
    closed: bool = False
    upgraded: bool = False


def _lines(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


_ID = b"8a5f1c2b7d3e" * 5 + b"8a5f"
_DATE = b"Date: Mon, 23 Nov 2026 15:00:00 GMT"
_AGENT = b"User-Agent: Docker-Client/28.2.2 (linux)"
_HOST = b"Host: api.moby.localhost"
_SERVER = (
    b"Api-Version: 1.41",
    b"Docker-Experimental: false",
    b"Ostype: linux",
    b"Server: Docker/20.10.24+dfsg1 (linux)",
)

_PING = _lines(b"HEAD /_ping HTTP/1.1", _HOST, _AGENT)
_PONG = _lines(
    b"HTTP/1.1 200 OK",
    b"Api-Version: 1.41",
    b"Cache-Control: no-cache, no-store, must-revalidate",
    b"Content-Length: 0",
    b"Content-Type: text/plain; charset=utf-8",
    b"Docker-Experimental: false",
    b"Ostype: linux",
    b"Pragma: no-cache",
    b"Server: Docker/20.10.24+dfsg1 (linux)",
    _DATE,
)

_CREATE_BODY = (
    b'{"Hostname":"","Image":"busybox","Cmd":["httpd","-f"],"ExposedPorts":{"80/tcp":{}},"HostConfig":'
    b'{"Binds":["/home/me/site:/www"],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}},'
    b'"NetworkingConfig":{"EndpointsConfig":{"default":{}}}}\n'
)
_CREATED = b'{"Id":"' + _ID + b'","Warnings":[]}\n'


def _create(*framing: bytes) -> bytes:
    return _lines(
        b"POST /v1.41/containers/create?name=web HTTP/1.1",
        _HOST,
        _AGENT,
        *framing,
        b"Content-Type: application/json",
    )


def _json(status: bytes, body: bytes) -> bytes:
    return (
        _lines(
            b"HTTP/1.1 " + status,
            b"Api-Version: 1.41",
            b"Content-Type: application/json",
            *_SERVER[1:],
            _DATE,
            b"Content-Length: %d" % len(body),
        )
        + body
    )


def _chunked(content_type: bytes) -> bytes:
    kind = (b"Content-Type: " + content_type,) if content_type else ()
    return _lines(
        b"HTTP/1.1 200 OK", b"Api-Version: 1.41", *kind, *_SERVER[1:], _DATE, b"Transfer-Encoding: chunked"
    )


_ATTACH = _lines(
    b"POST /v1.41/containers/" + _ID + b"/attach?stderr=1&stdin=1&stdout=1&stream=1 HTTP/1.1",
    _HOST,
    _AGENT,
    b"Content-Length: 0",
    b"Connection: Upgrade",
    b"Content-Type: text/plain",
    b"Upgrade: tcp",
)
_UPGRADED = _lines(
    b"HTTP/1.1 101 UPGRADED",
    b"Content-Type: application/vnd.docker.raw-stream",
    b"Connection: Upgrade",
    b"Upgrade: tcp",
)
_EXEC_BODY = b'{"Detach":false,"Tty":true}\n'
_EXEC_START = (
    _lines(
        b"POST /v1.41/exec/" + _ID + b"/start HTTP/1.1",
        b"Host: ",
        _AGENT,
        b"Content-Length: %d" % len(_EXEC_BODY),
        b"Connection: Upgrade",
        b"Content-Type: application/json",
        b"Upgrade: tcp",
    )
    + _EXEC_BODY
)
_EXEC_UPGRADED = _lines(
    b"HTTP/1.1 101 UPGRADED",
    b"Content-Type: application/vnd.docker.raw-stream",
    b"Connection: Upgrade",
    b"Upgrade: tcp",
    *_SERVER,
)
_SESSION = _lines(
    b"POST /session HTTP/1.1",
    b"Host: ",
    b"User-Agent: Docker-Client/20.10.24+dfsg1 (linux)",
    b"Connection: Upgrade",
    b"Upgrade: h2c",
    b"X-Docker-Expose-Session-Grpc-Method: /moby.filesync.v1.FileSync/DiffCopy",
    b"X-Docker-Expose-Session-Grpc-Method: /moby.filesync.v1.Auth/Credentials",
    b"X-Docker-Expose-Session-Grpc-Method: /grpc.health.v1.Health/Check",
    b"X-Docker-Expose-Session-Name: site",
    b"X-Docker-Expose-Session-Sharedkey: b5bb9d8014a0f9b1",
    b"X-Docker-Expose-Session-Uuid: pkdd4yszgg4msawnw6v8cfjuk",
)
_H2C = _lines(b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: h2c")
_H2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_INSPECT = b'{"Id":"' + _ID + b'","Name":"/web","Mounts":[],' + b'"Env":["' + b"x" * 700 + b'"]}\n'
_EVENT = (
    b'{"status":"%b","id":"%b","from":"busybox","Type":"container","Action":"%b","Actor":{"ID":"%b",'
    b'"Attributes":{"image":"busybox","name":"web"}},"scope":"local","time":1795446000,'
    b'"timeNano":1795446000336193527}\n'
)
_STARTED = _EVENT % (b"start", _ID, b"start", _ID)
_DIED = _EVENT % (b"die", _ID, b"die", _ID)
_MISSING = b"No such container: wire-zz\r\n"
_WAITED = b'{"Error":null,"StatusCode":7}\n'


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


TRANSCRIPTS = (
    Transcript("ping", _PING, _PONG, ((b"HEAD", b"/_ping"),), (200,), (b"",)),
    Transcript(
        "run -d: ping, create, start on one connection",
        _PING
        + _create(b"Content-Length: %d" % len(_CREATE_BODY))
        + _CREATE_BODY
        + _lines(
            b"POST /v1.41/containers/" + _ID + b"/start HTTP/1.1",
            _HOST,
            _AGENT,
            b"Content-Length: 0",
            b"Content-Type: text/plain",
        ),
        _PONG + _json(b"201 Created", _CREATED) + _lines(b"HTTP/1.1 204 No Content", *_SERVER, _DATE),
        (
            (b"HEAD", b"/_ping"),
            (b"POST", b"/v1.41/containers/create?name=web"),
            (b"POST", b"/v1.41/containers/" + _ID + b"/start"),
        ),
        (200, 201, 204),
        (b"", _CREATED, b""),
    ),
    Transcript(
        "create by curl: chunked, with Expect",
        _create(b"Transfer-Encoding: chunked", b"Expect: 100-continue")
        + _chunk(_CREATE_BODY[:100])
        + _chunk(_CREATE_BODY[100:])
        + b"0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + _json(b"201 Created", _CREATED),
        ((b"POST", b"/v1.41/containers/create?name=web"),),
        (100, 201),
        (_CREATED,),
    ),
    Transcript(
        "wait: the head first, the chunk when it has ended",
        _lines(
            b"POST /v1.41/containers/" + _ID + b"/wait?condition=next-exit HTTP/1.1",
            _HOST,
            _AGENT,
            b"Content-Length: 0",
        ),
        _chunked(b"application/json") + _chunk(_WAITED) + b"0\r\n\r\n",
        ((b"POST", b"/v1.41/containers/" + _ID + b"/wait?condition=next-exit"),),
        (200,),
        (_WAITED,),
    ),
    Transcript(
        "attach: 101 with output in the same segment",
        _ATTACH,
        _UPGRADED,
        ((b"POST", b"/v1.41/containers/" + _ID + b"/attach?stderr=1&stdin=1&stdout=1&stream=1"),),
        (101,),
        (),
        client_raw=b"hi\n",
        daemon_raw=b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n",
        upgraded=True,
    ),
    Transcript(
        "exec -it: inspect, create and start",
        _lines(b"GET /v1.41/containers/web/json HTTP/1.1", _HOST, _AGENT) + _EXEC_START,
        _json(b"200 OK", _INSPECT) + _EXEC_UPGRADED,
        (
            (b"GET", b"/v1.41/containers/web/json"),
            (b"POST", b"/v1.41/exec/" + _ID + b"/start"),
        ),
        (200, 101),
        (_INSPECT,),
        client_raw=b"exit\r",
        daemon_raw=b"/ # \r\n\r\nHTTP/1.1 is only text here",
        upgraded=True,
    ),
    Transcript(
        "session of BuildKit: HTTP/2 with reversed roles behind the 101",
        _SESSION,
        _H2C,
        ((b"POST", b"/session"),),
        (101,),
        (),
        client_raw=_H2_SETTINGS,
        daemon_raw=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _H2_SETTINGS,
        upgraded=True,
    ),
    Transcript(
        "cp: a 404 to HEAD that declares a length, and the next request",
        _lines(b"HEAD /v1.41/containers/web/archive?path=%2Fnone HTTP/1.1", _HOST, _AGENT)
        + _lines(b"GET /v1.41/containers/web/json HTTP/1.1", _HOST, _AGENT),
        _lines(
            b"HTTP/1.1 404 Not Found",
            b"Content-Type: application/json",
            *_SERVER,
            _DATE,
            b"Content-Length: 70",
        )
        + _json(b"200 OK", _INSPECT),
        (
            (b"HEAD", b"/v1.41/containers/web/archive?path=%2Fnone"),
            (b"GET", b"/v1.41/containers/web/json"),
        ),
        (404, 200),
        (b"", _INSPECT),
    ),
    Transcript(
        "inspect: chunked, split by the daemon's buffer",
        _lines(b"GET /v1.41/containers/web/json HTTP/1.1", _HOST, _AGENT),
        _chunked(b"application/json") + _chunk(_INSPECT[:512]) + _chunk(_INSPECT[512:]) + b"0\r\n\r\n",
        ((b"GET", b"/v1.41/containers/web/json"),),
        (200,),
        (_INSPECT,),
    ),
    Transcript(
        "events: two objects in one chunk, one over two",
        _lines(
            b"GET /v1.41/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D HTTP/1.1",
            _HOST,
            _AGENT,
        ),
        _chunked(b"application/json")
        + _chunk(_STARTED + _DIED)
        + _chunk(_STARTED[:40])
        + _chunk(_STARTED[40:])
        + b"0\r\n\r\n",
        ((b"GET", b"/v1.41/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D"),),
        (200,),
        (_STARTED + _DIED + _STARTED,),
    ),
    Transcript(
        "logs -f: no Content-Type",
        _lines(
            b"GET /v1.41/containers/" + _ID + b"/logs?follow=1&stderr=1&stdout=1&tail=all HTTP/1.1",
            _HOST,
            _AGENT,
        ),
        _chunked(b"") + _chunk(b"\x01\x00\x00\x00\x00\x00\x00\x05line\n") + b"0\r\n\r\n",
        ((b"GET", b"/v1.41/containers/" + _ID + b"/logs?follow=1&stderr=1&stdout=1&tail=all"),),
        (200,),
        (b"\x01\x00\x00\x00\x00\x00\x00\x05line\n",),
    ),
    Transcript(
        "attach without an upgrade: 200 without a length",
        _lines(
            b"POST /v1.41/containers/web/attach?stream=1&stdout=1 HTTP/1.1",
            b"Host: localhost",
            b"Content-Length: 0",
            b"Connection: keep-alive",
        ),
        _lines(b"HTTP/1.1 200 OK", b"Content-Type: application/vnd.docker.raw-stream")
        + b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n",
        ((b"POST", b"/v1.41/containers/web/attach?stream=1&stdout=1"),),
        (200,),
        (b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n",),
        closed=True,
    ),
    Transcript(
        "attach to what does not exist: an error written raw",
        _ATTACH,
        _lines(b"HTTP/1.1 404 Not Found", b"Content-Type: application/vnd.docker.raw-stream") + _MISSING,
        ((b"POST", b"/v1.41/containers/" + _ID + b"/attach?stderr=1&stdin=1&stdout=1&stream=1"),),
        (404,),
        (_MISSING,),
        closed=True,
    ),
    Transcript(
        "HTTP/1.0 by a health check",
        b"GET /_ping HTTP/1.0\r\n\r\n",
        _lines(b"HTTP/1.0 200 OK", b"Content-Type: text/plain; charset=utf-8", *_SERVER) + b"OK",
        ((b"GET", b"/_ping"),),
        (200,),
        (b"OK",),
        closed=True,
    ),
    Transcript(
        "load: a chunked upload with extensions and trailers",
        _lines(
            b"POST /v1.41/images/load?quiet=1 HTTP/1.1",
            _HOST,
            _AGENT,
            b"Transfer-Encoding: chunked",
            b"Content-Type: application/x-tar",
        )
        + b"5;name=value\r\n\x00tar\n\r\n"
        + b"0A\r\n\r\n\r\n\r\n\r\n\r\n\r\n"
        + b"0;last\r\nX-Checksum: 1\r\nX-More:\r\n\r\n",
        _json(b"200 OK", b'{"stream":"Loaded image: busybox"}\n'),
        ((b"POST", b"/v1.41/images/load?quiet=1"),),
        (200,),
        (b'{"stream":"Loaded image: busybox"}\n',),
    ),
)
