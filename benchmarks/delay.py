# -*- test-case-name: tests.sync -*-
"""
A TCP relay that holds back what it passes on: a link with a round trip time, for benchmarks::

    python -m benchmarks.delay LISTEN_PORT TARGET_PORT ROUND_TRIP_MS

The delay is that of a wire: everything is late by half the round trip, however much there is.
"""

from __future__ import annotations

import asyncio
import sys

__all__ = ["main"]

_CHUNK = 256 * 1024
_IN_FLIGHT = 1024


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    clock = asyncio.get_running_loop().time
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)

    async def deliver() -> None:
        while True:
            due, data = await queue.get()
            wait = due - clock()
            if wait > 0:
                await asyncio.sleep(wait)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    delivering = asyncio.ensure_future(deliver())
    try:
        while True:
            data = await reader.read(_CHUNK)
            await queue.put((clock() + delay, data))
            if not data:
                break
        await delivering
    except OSError:
        delivering.cancel()
        writer.close()


async def _serve(listen: int, target: int, delay: float) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_carry(reader, there_writer, delay), _carry(there_reader, writer, delay))
        writer.close()
        there_writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", listen)
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> None:
    """Relays until it is killed."""
    listen, target, round_trip = int(arguments[0]), int(arguments[1]), float(arguments[2])
    asyncio.run(_serve(listen, target, round_trip / 2000))


if __name__ == "__main__":
    main(sys.argv[1:])
