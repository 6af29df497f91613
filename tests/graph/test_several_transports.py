"""One graph that is synced over several transports at once."""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import Any

from cytosol.graph.connection import ConnectionGroup
from cytosol.graph.graph import Graph
from cytosol.graph.router import Router
from cytosol.graph.transports.webrtc import WebRtcConnection
from cytosol.graph.transports.websocket import WebSocketClient, WebSocketServer
from tests.graph.running import run

LOOPBACK: dict[str, Any] = {"addresses": ["127.0.0.1"], "delays": lambda: repeat(0.05)}


def _graph(network: Any) -> Graph:
    return Graph({"network": network, "router": Router()})


async def _until_equal(graphs: list[Graph], key: str, snapshot: dict[str, Any]) -> None:
    """Wait for the events after which all graphs show this."""
    changed = asyncio.Event()
    subscriptions = [graph.on("update", lambda _: changed.set()) for graph in graphs]
    while any((node := g.value(key)) is None or node.snapshot() != snapshot for g in graphs):
        changed.clear()
        await changed.wait()
    for subscription in subscriptions:
        subscription.cancel()


def test_one_graph_is_synced_over_websocket_and_webrtc_at_once() -> None:
    """What one peer writes over WebSocket, the other reads over WebRTC, and back.

    The WebRTC channel is arranged over a WebSocket, which carries routed messages as well.
    """

    async def scenario() -> None:
        async with (
            WebSocketServer() as server,
            WebSocketClient(f"ws://127.0.0.1:{server.port}", name="left") as to_left,
            WebSocketClient(f"ws://127.0.0.1:{server.port}", name="right") as arranging,
        ):
            here = WebRtcConnection(server, "right", me="middle", **LOOPBACK)
            there = WebRtcConnection(arranging, "middle", me="right", **LOOPBACK)
            await asyncio.gather(here.open(), there.open())
            left_client = server.get("left")
            assert left_client is not None
            middle = _graph(ConnectionGroup(left_client, here))
            left, right = _graph(to_left), _graph(there)
            graphs = [left, middle, right]

            await left.write("book", {"title": "Emma"})
            await _until_equal(graphs, "book", {"title": "Emma"})
            await right.write("book", {"year": 1815})
            await _until_equal(graphs, "book", {"title": "Emma", "year": 1815})
            here.reconnect()
            await middle.write("book", {"read": True})
            await left.write("book", {"title": None, "year": 1816})
            done = {"title": None, "year": 1816, "read": True}
            await _until_equal(graphs, "book", done)

            for graph in graphs:
                await graph.close()
            await asyncio.gather(here.close(), there.close())

    run(scenario())


def test_a_router_and_signals_share_one_connection() -> None:
    """Neither minds what the other says."""

    async def scenario() -> None:
        async with (
            WebSocketServer() as server,
            WebSocketClient(f"ws://127.0.0.1:{server.port}", name="b") as client,
        ):
            a, b = _graph(server), _graph(client)
            here = WebRtcConnection(server, "b", me="a", **LOOPBACK)
            there = WebRtcConnection(client, "a", me="b", **LOOPBACK)
            await a.write("k", {"n": 1})
            await asyncio.gather(here.open(), there.open())
            await b.write("k", {"m": 2})
            await _until_equal([a, b], "k", {"n": 1, "m": 2})
            assert here.problem is there.problem is None
            for graph in (a, b):
                await graph.close()
            await asyncio.gather(here.close(), there.close())

    run(scenario())
