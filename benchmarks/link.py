"""
A link to an embedded remote with a round trip time of its own.

Two TUN devices, one at each end, and a process that holds every IP packet back for half the round trip. TCP
behaves on it as on a long line: its acknowledgements take the whole way, so that congestion windows and
socket buffers limit it. Nothing is lost, and the rate is what the process can carry.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.integration.remote import EmbeddedRemote

__all__ = ["long_link", "main"]

# linux/if_tun.h
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4 = 1, 2

_LARGEST = 10 + 65536
"""Bytes of a packet with its C{virtio_net_hdr}; TCP segments come unsplit."""

_QUEUE = "10000"
_BURST = 64


def _open_tun(name: str) -> int:
    """@return: the descriptor of a new TUN device, whose packets TCP need not have split or summed up."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4)
    return descriptor


@contextlib.contextmanager
def long_link(remote: EmbeddedRemote, round_trip_ms: float) -> Iterator[str]:
    """
    A second link to C{remote}, for as long as the context lasts.

    @return: the remote's address on it.
    """
    octets = f"10.214.{secrets.randbelow(254) + 1}"
    name = f"rt{secrets.token_hex(5)}"
    here, there = f"{name}a", f"{name}b"
    ends = (_open_tun(here), _open_tun(there))
    relay = None
    try:
        subprocess.run(["ip", "link", "set", there, "netns", str(remote.sandbox.init)], check=True)
        subprocess.run(["ip", "address", "add", f"{octets}.1/30", "dev", here], check=True)
        subprocess.run(["ip", "link", "set", here, "txqueuelen", _QUEUE, "up"], check=True)
        remote.run(["ip", "address", "add", f"{octets}.2/30", "dev", there], check=True)
        remote.run(["ip", "link", "set", there, "txqueuelen", _QUEUE, "up"], check=True)
        relay = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.link", *map(str, ends), str(round_trip_ms)],
            pass_fds=ends,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
        )
        yield f"{octets}.2"
    finally:
        if relay is not None:
            relay.kill()
            relay.wait()
        for descriptor in ends:
            os.close(descriptor)


def _relay(ends: tuple[int, int], delay: float) -> None:
    """Passes packets between C{ends}, each C{delay} seconds late."""
    clock, read, write = time.monotonic, os.read, os.write
    ways = [(source, target, deque[tuple[float, bytes]]()) for source, target in (ends, ends[::-1])]
    while True:
        dues = [queue[0][0] for _, _, queue in ways if queue]
        wait = max(0.0, min(dues) - clock()) if dues else None
        readable, _, _ = select.select(ends, (), (), wait)
        for source, target, queue in ways:
            if source in readable:
                for _ in range(_BURST):
                    try:
                        packet = read(source, _LARGEST)
                    except BlockingIOError:
                        break
                    queue.append((clock() + delay, packet))
            now = clock()
            while queue and queue[0][0] <= now:
                with contextlib.suppress(OSError):
                    write(target, queue.popleft()[1])


def main(arguments: list[str]) -> None:
    """
    Carries packets until it is killed.

    @param arguments: two descriptors, and the round trip in ms.
    """
    with contextlib.suppress(PermissionError):
        os.nice(-15)
    _relay((int(arguments[0]), int(arguments[1])), float(arguments[2]) / 2000)


if __name__ == "__main__":
    main(sys.argv[1:])
