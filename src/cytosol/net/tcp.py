"""The TCP streams: asyncio protocols that report to the driver, with bounded write buffers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

__all__ = ["CLOSE_TIMEOUT_S", "WRITE_BUFFER_BYTES_MAX", "Stream", "StreamOwner"]

WRITE_BUFFER_BYTES_MAX: Final = 64 * 1024 * 1024  # a peer that does not read is closed beyond
CLOSE_TIMEOUT_S: Final = 3.0  # for what is still to be sent when we close


class StreamOwner(Protocol):
    """Whom streams report to."""

    def stream_opened(self, stream: Stream) -> None:
        """Take note that a stream is open."""

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """Take bytes."""

    def stream_lost(self, stream: Stream, reason: str) -> None:
        """Take note that a stream has ended, unless we closed it."""

    def stream_gone(self, stream: Stream) -> None:
        """Take note that nothing is left of a stream."""


class Stream(asyncio.Protocol):
    """One TCP connection, accepted or dialled."""

    def __init__(
        self, owner: StreamOwner, connection_id: Callable[[], int], listener_id: int | None
    ) -> None:
        self._owner = owner
        self._make_id = connection_id
        self._transport: asyncio.Transport | None = None
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.listener_id = listener_id
        self.connection_id = 0
        self.ip_address = ""

    # --- asyncio calls these -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        self.ip_address = peer[0] if peer else ""
        self.connection_id = self._make_id()
        self._owner.stream_opened(self)

    def data_received(self, data: bytes) -> None:
        if not self._is_closed:
            self._owner.stream_data(self, data)

    def eof_received(self) -> bool:
        return False  # close our side too; there are no half streams in this protocol

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_closed:
            self._is_closed = True
            reason = "the peer closed the connection" if exc is None else f"it broke: {exc}"
            self._owner.stream_lost(self, reason)
        self._owner.stream_gone(self)

    # --- The driver calls these --------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes; a peer that lets too many of them pile up is given up."""
        transport = self._transport
        if self._is_closed or transport is None:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > WRITE_BUFFER_BYTES_MAX:
            self._is_closed = True
            transport.abort()
            self._owner.stream_lost(self, "the peer does not read what it is sent")

    def close(self, *, abort: bool = False) -> None:
        """Close after what was sent, within a bounded time; or drop it with `abort`."""
        transport = self._transport
        if transport is None:
            return
        self._is_closed = True
        if abort:
            transport.abort()
            return
        transport.close()
        if self._timer is None and transport.get_write_buffer_size() > 0:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CLOSE_TIMEOUT_S, transport.abort)
