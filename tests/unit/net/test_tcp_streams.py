"""TCP streams as the driver sees them, and how they end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from cytosol.net import tcp
from cytosol.net.tcp import Stream

PATIENCE_S = 30.0


class Owner:
    """Notes what streams report."""

    def __init__(self) -> None:
        self.notes: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def stream_opened(self, stream: Stream) -> None:
        self.notes.put_nowait(("opened", stream))

    def stream_data(self, stream: Stream, data: bytes) -> None:
        self.notes.put_nowait(("data", data))

    def stream_lost(self, stream: Stream, reason: str) -> None:
        self.notes.put_nowait(("lost", reason))

    def stream_gone(self, stream: Stream) -> None:
        self.notes.put_nowait(("gone", stream))

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.notes.get(), PATIENCE_S)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def opened() -> tuple[Owner, Stream, asyncio.StreamReader, asyncio.StreamWriter]:
    """Return an accepted stream and a plain client on its other end."""
    owner = Owner()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(owner, lambda: 7, None), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    note, stream = await owner.next()
    assert "opened" == note
    server.close()
    return owner, stream, reader, writer


class ForeignTransport:
    """What uvloop hands out: it has a transport's methods and is no subclass of asyncio's."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("192.0.2.7", 4000)}.get(name)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return 0


def test_a_stream_takes_a_transport_of_another_event_loop() -> None:
    """Devices with uvloop installed could not connect: an assertion asked for asyncio's class."""
    owner, transport = Owner(), ForeignTransport()
    stream = Stream(owner, lambda: 7, None)
    stream.connection_made(cast(asyncio.BaseTransport, transport))
    stream.send(b"hello")
    assert ("opened", stream) == owner.notes.get_nowait()
    assert (7, "192.0.2.7") == (stream.connection_id, stream.ip_address)
    assert [b"hello"] == transport.written


def test_a_stream_tells_of_its_life() -> None:
    """Opened, data, lost, gone."""

    async def work() -> None:
        owner, stream, reader, writer = await opened()
        assert (7, "127.0.0.1") == (stream.connection_id, stream.ip_address)
        writer.write(b"hello")
        assert ("data", b"hello") == await owner.next()
        stream.send(b"answer")
        assert b"answer" == await reader.readexactly(6)
        writer.close()
        assert "lost" == (await owner.next())[0]
        assert ("gone", stream) == await owner.next()
        stream.send(b"into the void")
        stream.close()

    run(work())


def test_closing_sends_what_is_left_and_reports_no_loss() -> None:
    """Who closes knows that it is closed."""

    async def work() -> None:
        owner, stream, reader, writer = await opened()
        stream.send(b"last words")
        stream.close()
        stream.data_received(b"not heard")
        assert b"last words" == await reader.read()
        assert ("gone", stream) == await owner.next()
        writer.close()

    run(work())


def test_a_reset_is_a_loss_with_a_reason() -> None:
    """Not an exception anywhere."""

    async def work() -> None:
        owner, _, _, writer = await opened()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01" + bytes(7))
        writer.transport.abort()
        note, reason = await owner.next()
        assert "lost" == note
        assert "broke" in reason or "closed" in reason

    run(work())


def test_a_peer_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be sent is bounded."""
    monkeypatch.setattr(tcp, "WRITE_BUFFER_BYTES_MAX", 1_000_000)

    async def work() -> None:
        owner, stream, _, writer = await opened()
        writer.transport.pause_reading()
        for _ in range(200):
            stream.send(bytes(100_000))
        assert ("lost", "the peer does not read what it is sent") == await owner.next()
        assert ("gone", stream) == await owner.next()
        assert owner.notes.empty()
        writer.close()

    run(work())


def test_closing_does_not_wait_for_ever_for_who_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CLOSE_TIMEOUT_S, then what is left is dropped; twice closed is closed."""
    monkeypatch.setattr(tcp, "CLOSE_TIMEOUT_S", 0.05)

    async def work() -> None:
        owner, stream, _, writer = await opened()
        writer.transport.pause_reading()
        for _ in range(100):
            stream.send(bytes(200_000))
        stream.close()
        stream.close()
        assert ("gone", stream) == await owner.next()
        writer.close()

    run(work())


def test_a_stream_that_never_opened_can_be_closed() -> None:
    """Nothing to do, and nothing to tell."""
    owner = Owner()
    stream = Stream(owner, lambda: 1, None)
    stream.send(b"x")
    stream.close()
    assert owner.notes.empty()
