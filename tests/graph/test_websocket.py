"""What WebSocket clients and servers do with frames that no honest side sends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from cytosol.errors import GraphError
from cytosol.graph.transports import websocket
from cytosol.graph.transports.websocket import WebSocketServer
from tests.graph.served import WEBSOCKET, run_clean, take, until

pytestmark = pytest.mark.filterwarnings("error")

HELLO = json.dumps({"hello": "stranger", "of": None, "seen": 0, "v": 1})


async def closing_of(port: int, *frames: Any) -> tuple[int, str]:
    """Send frames to a server and return the code and reason that it closes with."""
    async with connect(f"ws://127.0.0.1:{port}", proxy=None, compression=None) as socket:
        try:
            for frame in frames:
                await socket.send(frame)
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code or 0, socket.close_reason or ""


@pytest.mark.parametrize(
    ("frames", "code", "why"),
    [
        ([b"\x00\x01"], 1003, "binary"),
        ([HELLO, b"\x00\x01"], 1003, "binary"),
        (["garbage"], 1008, "not JSON"),
        (["[]"], 1008, "must be a JSON object"),
        (['{"n":1,"m":1}'], 1008, "must be a hello"),
        ([HELLO.replace('"v": 1', '"v": 2')], 1008, "version 2"),
        ([HELLO, "garbage"], 1008, "not JSON"),
        ([HELLO, HELLO], 1008, "after one hello"),
        ([HELLO, '{"n":7,"m":1}'], 1008, "out of order"),
        ([HELLO, '{"a":5}'], 1008, "only 0 were sent"),
        ([HELLO, '{"bye":"enough"}'], 1008, "enough"),
    ],
)
def test_frames_of_strangers_close_their_connection(frames: list[Any], code: int, why: str) -> None:
    """The reason is told; an honest client beside them notices nothing."""

    async def talk() -> None:
        async with WebSocketServer() as server, WEBSOCKET.client(server.port) as honest:
            closed, reason = await closing_of(server.port, *frames)
            assert (code, True) == (closed, why in reason)
            honest.send("still here")
            assert "still here" == (await take(server.messages, 1))[0][0]

    run_clean(talk())


def test_messages_that_are_too_large_close_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused while they come in, not after."""
    monkeypatch.setattr(websocket, "FRAME_BYTES_MAX", 1_000)

    async def talk() -> None:
        async with WebSocketServer() as server:
            code, _ = await closing_of(server.port, HELLO, json.dumps({"n": 1, "m": "x" * 2_000}))
            assert 1009 == code

    run_clean(talk())


def test_who_says_nothing_is_disconnected() -> None:
    """A connection without a hello is not kept."""

    async def talk() -> None:
        async with WebSocketServer(hello_within=0.01) as server:
            code, reason = await closing_of(server.port)
            assert (1008, "no hello came within 0.01 seconds") == (code, reason)
            assert 0 == len(server)

    run_clean(talk())


def test_bytes_that_are_no_websocket_are_disconnected() -> None:
    """Whatever is sent to the port, the server goes on."""

    async def talk() -> None:
        async with WebSocketServer() as server:
            for garbage in (b"\x16\x03\x01garbage\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\n" * 9):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(garbage)
                writer.write_eof()
                await reader.read()
                writer.close()
                await writer.wait_closed()
            async with WEBSOCKET.client(server.port):
                assert 1 == len(server)

    run_clean(talk())


@pytest.mark.parametrize(
    ("answer", "why"),
    [(b"\x00", "binary"), ("garbage", "not JSON"), (HELLO + HELLO, "not JSON")],
)
def test_a_client_closes_what_is_no_cytosol_server(answer: Any, why: str) -> None:
    """It tells why in `problem`, and goes on calling: who answers may be replaced."""

    async def speak(socket: Any) -> None:
        await socket.recv()
        await socket.send(answer)
        await socket.wait_closed()

    async def talk() -> None:
        async with serve(speak, "127.0.0.1", 0) as server:
            client = WEBSOCKET.client(server.sockets[0].getsockname()[1])
            client.start()
            await until(lambda: client.problem)
            assert why in str(client.problem)
            assert client.offline
            await client.close()

    run_clean(talk())


@pytest.mark.parametrize("status", [301, 400, 404])
def test_a_client_goes_nowhere_else(status: int) -> None:
    """Headers may hold secrets: they are for the server that was named."""

    async def talk() -> None:
        async def redirect(socket: Any, request: Any) -> Any:
            response = socket.respond(status, "")
            response.headers["Location"] = "ws://127.0.0.1:1/"
            return response

        async with serve(lambda _: None, "127.0.0.1", 0, process_request=redirect) as server:
            client = WEBSOCKET.client(server.sockets[0].getsockname()[1])
            with pytest.raises(GraphError, match=rf"no websocket server.*status {status}"):
                await client.open()
            await client.close()

    run_clean(talk())


def test_a_server_that_is_too_busy_is_called_again() -> None:
    """A 503 may pass."""

    async def talk() -> None:
        async with serve(
            lambda _: None, "127.0.0.1", 0, process_request=lambda s, _: s.respond(503, "busy")
        ) as server:
            client = WEBSOCKET.client(server.sockets[0].getsockname()[1], delays=lambda: [0.0, 0.0])
            with pytest.raises(GraphError, match=r"cannot serve us now \(status 503\)"):
                await client.open()
            await client.close()

    run_clean(talk())


def test_ssl_is_for_wss_addresses() -> None:
    """A context that would not be used is a mistake."""
    import ssl

    with pytest.raises(GraphError, match="begins with wss"):
        WEBSOCKET.client(1, ssl=ssl.create_default_context())
