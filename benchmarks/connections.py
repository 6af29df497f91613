"""W18: a node of a graph that is in no document, between paired devices over `db.connections`.

A writes a field, B's graph says that it changed and B writes it back, A's graph says so. Run as a
program, this module is device B: `python -m benchmarks.connections APP_ID CODE LOOP SHAPE`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from benchmarks.device import accept_with, forbid_uvloop, open_device, pair, say, two_devices
from benchmarks.measure import observed, wall_s
from benchmarks.sockets import sent_at

__all__ = ["round_trips_us"]

PATIENCE_S = 60


def graph_over(database: Any) -> Any:
    """Return a graph whose router asks the paired devices; everybody may read and write."""
    from cytosol import Graph
    from cytosol.graph import Route, Router

    routes = [Route("*", allow_read=True, allow_write=True)]
    return Graph({"network": database.connections, "router": Router(routes)})


def node_names(shape: int) -> tuple[str, str]:
    """Return the nodes that A and B write."""
    return ("ping", "pong") if shape == 1 else ("users/u7/é 1/ping", "users/u7/é 1/pong")


async def write_back(database: Any, shape: int) -> None:
    """Be device B until its standard input ends."""
    ping, pong = node_names(shape)
    graph = graph_over(database)

    def note(changed: Any) -> None:
        node = changed.value(ping)
        if node is not None:
            graph.write(pong, {"value": node.value("value")})

    graph.on("update", note)
    await graph.read(ping)  # its network is in use from here on
    say({"peer_id": str(database.peer_id)})
    await asyncio.to_thread(sys.stdin.read)
    database.close()


async def _measured(database: Any, other: Any, count: int, warm_up: int, shape: int) -> list[float]:
    ping, pong = node_names(shape)
    seen: asyncio.Queue[Any] = asyncio.Queue()
    times = []

    def note(changed: Any) -> None:
        node = changed.value(pong)
        if node is not None:
            seen.put_nowait(node.value("value"))

    async with graph_over(database) as graph:
        graph.on("update", note)
        await graph.read(pong)
        await asyncio.to_thread(pair, database, other)
        with observed("W18"):
            for i in range(warm_up + count):
                sent = sent_at(shape, i)
                start = wall_s()
                await graph.write(ping, {"value": sent})
                while await asyncio.wait_for(seen.get(), PATIENCE_S) != sent:
                    pass
                times.append((wall_s() - start) * 1e6)
    return times[warm_up:]


def round_trips_us(count: int, warm_up: int, shape: int) -> list[float]:
    """Return the microseconds of each round trip, the first ones left out."""
    with two_devices(False, "connections", shape) as (database, other):
        return asyncio.run(_measured(database, other, count, warm_up, shape))


if __name__ == "__main__":
    forbid_uvloop(sys.argv[3] == "uvloop")
    _database = open_device(sys.argv[1], "B")
    accept_with(_database, sys.argv[2])
    asyncio.run(write_back(_database, int(sys.argv[4])))
