"""
What is at the remote's end of a measured stream, a program that needs the standard library alone::

    python3 _transport_server.py SOCKET PORT DAEMON_SOCKET

It listens on a unix socket and on a TCP port. A connection whose first byte is not zero is passed on to the
daemon; otherwise the head says what is done with it, see L{HEAD}.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading

__all__ = ["DOWN", "ECHO", "HEAD", "UP", "main"]

HEAD = struct.Struct(">B1sQ")
"""Zero, what is to be done, and a number of bytes."""

UP, DOWN, ECHO = b"u", b"d", b"e"
"""Takes so many bytes and answers with one; sends so many bytes; sends back what comes."""

_BLOCK = 1 << 20


def _serve(connection: socket.socket, daemon: str) -> None:
    with connection, contextlib.suppress(OSError):
        first = connection.recv(HEAD.size, socket.MSG_PEEK)
        if first[:1] != b"\0":
            _pass_on(connection, daemon)
            return
        _, what, size = HEAD.unpack(connection.recv(HEAD.size, socket.MSG_WAITALL))
        if what == UP:
            room = bytearray(_BLOCK)
            while size > 0:
                taken = connection.recv_into(room)
                if not taken:
                    return
                size -= taken
            connection.sendall(b".")
        elif what == DOWN:
            block = memoryview(os.urandom(_BLOCK))
            while size > 0:
                size -= connection.send(block[: min(size, _BLOCK)])
        else:
            while data := connection.recv(65536):
                connection.sendall(data)


def _pass_on(connection: socket.socket, daemon: str) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(daemon)
        back = threading.Thread(target=_copy, args=(there, connection), daemon=True)
        back.start()
        _copy(connection, there)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _accept(listener: socket.socket, daemon: str) -> None:
    while True:
        connection, _ = listener.accept()
        if listener.family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection, daemon), daemon=True).start()


def main(arguments: list[str]) -> None:
    """Serves until it is killed."""
    path, port, daemon = arguments
    by_path = socket.socket(socket.AF_UNIX)
    by_path.bind(path)
    by_path.listen(1024)
    by_port = socket.create_server(("0.0.0.0", int(port)), backlog=1024)
    threading.Thread(target=_accept, args=(by_port, daemon), daemon=True).start()
    _accept(by_path, daemon)


if __name__ == "__main__":
    main(sys.argv[1:])
