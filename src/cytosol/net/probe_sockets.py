"""The UDP sockets of the doctor's probes: those that send, and what comes to each of them.

They are apart from those of the network, so that an answer tells which heartbeat it answers.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

__all__ = ["ProbeSockets", "Take"]

AT_ONCE_MAX: Final = 64  # datagrams of one socket: a flood must not keep others waiting
_IP_PKTINFO: Final = 8 if sys.platform == "linux" else None  # from <linux/in.h>

Take: TypeAlias = Callable[[bytes, str, str | None], None]
"""Called with a datagram, who sent it, and to which address of ours, if the system tells."""


class ProbeSockets:
    """All sockets of one examination; `changed` is called after each datagram."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._sockets: list[socket.socket] = []
        self._endpoints: list[asyncio.Task[tuple[asyncio.DatagramTransport, _Plain]]] = []

    def open(self, address: str, port: int = 0) -> socket.socket:
        """Open a socket that can broadcast; a port is shared with the network. Raises OSError."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT") and sys.platform != "linux":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if _IP_PKTINFO is not None:
                sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind((address, port))
        return sock

    def listen(self, sock: socket.socket, take: Take) -> None:
        """Have the datagrams that come to a socket taken."""

        def ready() -> None:
            with suppress(OSError):
                for _ in range(AT_ONCE_MAX):
                    if hasattr(sock, "recvmsg"):
                        data, notes, _, address = sock.recvmsg(2048, 256)
                        target = _target(notes)
                    else:
                        data, address = sock.recvfrom(2048)
                        target = None
                    take(data, address[0], target)
                    self._changed()

        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(sock.fileno(), ready)
        except NotImplementedError:  # Windows: there it is not told where datagrams were sent to

            def take_plain(data: bytes, ip_address: str) -> None:
                take(data, ip_address, None)
                self._changed()

            self._endpoints.append(
                loop.create_task(
                    loop.create_datagram_endpoint(lambda: _Plain(take_plain), sock=sock)
                )
            )

    async def close(self) -> None:
        """Close all sockets."""
        loop = asyncio.get_running_loop()
        for endpoint in self._endpoints:
            (await endpoint)[0].close()
        for sock in self._sockets:
            if not self._endpoints:
                loop.remove_reader(sock.fileno())
            sock.close()


class _Plain(asyncio.DatagramProtocol):
    """Datagrams where a loop cannot watch sockets."""

    def __init__(self, take: Callable[[bytes, str], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr[0])


def _target(notes: Sequence[tuple[int, int, bytes]]) -> str | None:
    """Return the address that a datagram was sent to, where the system tells."""
    for level, kind, data in notes:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= 12:
            return socket.inet_ntoa(data[8:12])
    return None
