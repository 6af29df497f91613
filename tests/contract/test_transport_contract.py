"""The published contract of transports, held against those that are shipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from cytosol.graph.transports import memory
from cytosol.graph.transports.http import HttpClient, HttpServer
from cytosol.graph.transports.websocket import WebSocketClient, WebSocketServer
from cytosol.testing.transport_contract import TransportContract


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class TestMemoryPair(TransportContract):
    """Two graphs in one process."""

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Any, Any]]:
        yield memory.pair()
        await asyncio.sleep(0)


class Served(TransportContract):
    """A client and what its server knows of it, over a real socket on the loopback."""

    scheme: ClassVar[str]
    client_class: ClassVar[Any]
    server_class: ClassVar[Any]

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Any, Any]]:
        async with self.server_class() as server:
            url = f"{self.scheme}://127.0.0.1:{server.port}"
            async with self.client_class(url, name="laptop") as client:
                while not server.has("laptop"):
                    await asyncio.sleep(0.001)
                yield client, server.get("laptop")


class TestWebSocket(Served):
    """WebSocket."""

    scheme = "ws"
    client_class = WebSocketClient
    server_class = WebSocketServer


class TestHttp(Served):
    """HTTP with a stream of events."""

    scheme = "http"
    client_class = HttpClient
    server_class = HttpServer


class TwiceConnection:
    """Sends each message twice: a transport that breaks the contract."""

    def __init__(self, side: Any) -> None:
        self.id, self.type, self.messages = side.id, side.type, side.messages
        self._side = side

    def send(self, message: Any) -> None:
        self._side.send(message)
        self._side.send(message)


class Twice(TransportContract):
    """Not collected: the contract has to fail."""

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Any, Any]]:
        a, b = memory.pair()
        yield TwiceConnection(a), b


def test_the_contract_notices_a_transport_that_breaks_it() -> None:
    """Messages that come twice are not as they were sent."""
    with pytest.raises(AssertionError):
        Twice().test_messages_arrive_as_they_were_sent()
