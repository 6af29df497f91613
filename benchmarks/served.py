"""pycrdt-websocket in W13, W14 and W19: its server and pycrdt's provider over a WebSocket.

Device B is the server and edits the document of its room; A connects with a provider. Run as a
program, this module is device B: `python -m benchmarks.served OPS SHAPE`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from benchmarks import peers
from benchmarks.measure import load, wall_s
from benchmarks.resident import Peak
from benchmarks.shapes import writes_of
from benchmarks.sockets import deepest, other_device, sent_at

__all__ = ["first_sync", "round_trips_us"]

ROOM = "/room"
PATIENCE_S = 300


class Channel:
    """A connection of the library `websockets` in the form that pycrdt wants."""

    path = ROOM

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except load("websockets").ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, message: bytes) -> None:
        """Send one message."""
        await self._connection.send(message)

    async def recv(self) -> bytes:
        """Return the next message."""
        return bytes(await self._connection.recv())


async def serve_device(ops: int, shape: int) -> None:
    """Be device B: serve a room until A has gone, and write back what A writes."""
    from websockets.asyncio.server import serve

    websocket = load("pycrdt.websocket")
    document, maps = peers.pycrdt_document(shape)
    peers.pycrdt_fill(maps, writes_of(shape, ops))
    level = deepest(maps, shape)
    loop = asyncio.get_running_loop()
    count = 0

    def write_back() -> None:
        nonlocal count
        count += 1
        level["pong"] = sent_at(shape, count)

    def note(event: Any) -> None:
        if "ping" in event.keys:  # it is an attribute, and not a method
            loop.call_soon(write_back)

    kept = level.observe(note)
    finished = asyncio.Event()
    async with websocket.WebsocketServer(auto_clean_rooms=False) as server:
        room = websocket.YRoom(ydoc=document)
        server.rooms[ROOM] = room
        await server.start_room(room)

        async def talk(connection: Any) -> None:
            await server.serve(Channel(connection))
            finished.set()

        async with serve(talk, "127.0.0.1", 0, compression=None, max_size=None) as listening:
            print(next(iter(listening.sockets)).getsockname()[1], flush=True)
            await asyncio.wait_for(finished.wait(), PATIENCE_S)
    level.unobserve(kept)


async def _connect(port: int) -> Any:
    from websockets.asyncio.client import connect

    return await connect(f"ws://127.0.0.1:{port}{ROOM}", compression=None, max_size=None)


def first_sync(ops: int, shape: int) -> tuple[float, Peak]:
    """Return the seconds from connecting until everything of B is at A, and A's memory."""
    pycrdt = load("pycrdt")

    async def work(port: int) -> tuple[float, Peak]:
        document: Any = pycrdt.Doc()
        peak = Peak()
        start = wall_s()
        connection = await _connect(port)
        async with pycrdt.Provider(document, Channel(connection)) as provider:
            await asyncio.wait_for(provider.synced.wait(), PATIENCE_S)
            took = wall_s() - start
            peak.stop()
            assert len(peers.pycrdt_maps(document, shape)[0]) > 0
        await connection.close()
        return took, peak

    with other_device("served", ops, shape) as port:
        return asyncio.run(work(port))


def round_trips_us(count: int, warm_up: int, shape: int) -> list[float]:
    """Return the microseconds of each round trip, the first ones left out."""
    pycrdt = load("pycrdt")
    times = []

    async def work(port: int) -> None:
        document: Any = pycrdt.Doc()
        connection = await _connect(port)
        seen = asyncio.Event()

        def note(event: Any) -> None:
            if "pong" in event.keys:  # it is an attribute, and not a method
                seen.set()

        async with pycrdt.Provider(document, Channel(connection)) as provider:
            await asyncio.wait_for(provider.synced.wait(), PATIENCE_S)
            level = deepest(peers.pycrdt_maps(document, shape), shape)
            kept = level.observe(note)
            for i in range(1, warm_up + count + 1):
                sent = sent_at(shape, i)
                start = wall_s()
                level["ping"] = sent
                await seen.wait()
                seen.clear()
                times.append((wall_s() - start) * 1e6)
                assert level["pong"] == sent
            level.unobserve(kept)
        await connection.close()

    with other_device("served", 0, shape) as port:
        asyncio.run(work(port))
    return times[warm_up:]


if __name__ == "__main__":
    asyncio.run(serve_device(*map(int, sys.argv[1:3])))
