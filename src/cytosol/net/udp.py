"""The UDP sockets: one that hears broadcasts, and one per interface that speaks and listens.

Several peers on one machine share the heartbeat port, and only broadcasts reach all of them:
what is sent to that port of one host reaches one socket. So heartbeats leave from ephemeral
ports, answers go there, and the senders listen too (spec: network, Discovery).

A flood must not keep us from reading what else has come: each socket is read empty, or up to a
bound, whenever the loop comes round to it, and the sieve drops what is not worth more.

A send may fail at any time (no route, no permission, a cable pulled). That is noted for the
doctor and tried again at the next heartbeat; it never stops anything.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from cytosol.limits import HEARTBEAT_BYTES_MAX
from cytosol.net.interfaces import Interface

__all__ = ["Admits", "DatagramSockets", "OnDatagram"]

OnDatagram: TypeAlias = Callable[[bytes, tuple[str, int], str], None]
"""Called with the bytes, the sender's address, and our address ("" for the heartbeat port)."""

Admits: TypeAlias = Callable[[bytes, str, float], bool]
"""Called with the bytes, the sender's address and the loop's time; False drops the datagram."""

_BUFFER_BYTES: Final = 2 * 1024 * 1024  # what comes while we do something else; some systems cut it
AT_ONCE_MAX: Final = 512  # datagrams of one socket before others have their turn: half a ms


class DatagramSockets:
    """All UDP sockets of one peer; lives in its loop's thread."""

    def __init__(self, port: int, on_datagram: OnDatagram, admits: Admits) -> None:
        self._port = port
        self._on_datagram = on_datagram
        self._admits = admits
        self._receiver: _Socket | None = None
        self._senders: dict[Interface, _Socket] = {}
        self.problems: dict[str, str] = {}
        """What could not be sent or opened last, by address; empty when all is well."""

    async def open(self) -> None:
        """Open the socket that hears broadcasts; raises OSError."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT") and sys.platform != "linux":
                # Linux shares among all users with the option above, and only among the same
                # user's sockets with this one; the BSDs and macOS need it.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            sock.setblocking(False)
            sock.bind(("", self._port))
        except OSError:
            sock.close()
            raise
        self._receiver = await self._listening(sock, "")

    async def update(self, interfaces: Sequence[Interface]) -> bool:
        """Open senders for these interfaces and close all others; tell whether any is new."""
        for gone in [each for each in self._senders if each not in interfaces]:
            self._senders.pop(gone).close()
            self.problems.pop(gone.address, None)
        is_any_new = False
        for interface in interfaces:
            if interface in self._senders:
                continue
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setblocking(False)
                sock.bind((interface.address, 0))
                self._senders[interface] = await self._listening(sock, interface.address)
            except OSError as error:
                sock.close()
                self.note_problem(interface.address, error)
                continue
            is_any_new = True
        return is_any_new

    def broadcast(self, data: bytes) -> None:
        """Send a datagram to all peers on every interface."""
        for interface, sender in list(self._senders.items()):
            self._send(sender, data, (interface.broadcast, self._port), interface.address)

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        """Send a datagram to one host, from the interface of its network if we have one."""
        sender = self._sender_for(address[0])
        if sender is not None:
            self._send(sender, data, address, address[0])

    def close(self) -> None:
        """Close all sockets."""
        for each in (self._receiver, *self._senders.values()):
            if each is not None:
                each.close()
        self._receiver = None
        self._senders.clear()

    def note_problem(self, where: str, error: Exception) -> None:
        """Remember the last thing that went wrong at an address."""
        if where in self.problems or len(self.problems) < 64:
            self.problems[where] = f"{type(error).__name__}: {error}"

    def _sender_for(self, ip_address: str) -> _Socket | None:
        chosen: _Socket | None = None
        # A loopback socket cannot send to other hosts, nor others to loopback.
        is_loopback = ip_address.startswith("127.")
        for interface, sender in self._senders.items():
            if interface.address.startswith("127.") != is_loopback:
                continue
            if chosen is None or _shares_network(interface, ip_address):
                chosen = sender
        return self._receiver if chosen is None else chosen

    def _send(
        self,
        sender: _Socket,
        data: bytes,
        address: tuple[str, int],
        where: str,
    ) -> None:
        try:
            sender.sendto(data, address)
        except OSError as error:
            self.note_problem(where, error)
        else:
            self.problems.pop(where, None)

    async def _listening(self, sock: socket.socket, own_address: str) -> _Socket:
        listening = _Socket(self, sock, own_address)
        await listening.listen()
        return listening

    def received(self, data: bytes, address: tuple[str, int], own_address: str, now: float) -> bool:
        """Hand a datagram on if it is worth it, and tell whether it was."""
        if not self._admits(data, address[0], now):
            return False
        self._on_datagram(data, address, own_address)
        return True


class _Socket(asyncio.DatagramProtocol):
    """One socket, read by ourselves, or by the loop where that cannot watch sockets (Windows)."""

    def __init__(self, sockets: DatagramSockets, sock: socket.socket, own_address: str) -> None:
        self._sockets = sockets
        self._sock = sock
        self._own_address = own_address
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self) -> None:
        """Begin to hand on what comes."""
        try:
            self._loop.add_reader(self._sock.fileno(), self.read)
        except NotImplementedError:
            self._transport, _ = await self._loop.create_datagram_endpoint(
                lambda: self, sock=self._sock
            )

    def read(self) -> None:
        """Hand on what has come, up to a bound; the loop calls again if more is there."""
        sock, sockets, own_address = self._sock, self._sockets, self._own_address
        now = self._loop.time()
        try:
            for _ in range(AT_ONCE_MAX):
                # One byte more than a heartbeat has, so that longer ones show.
                data, address = sock.recvfrom(HEARTBEAT_BYTES_MAX + 1)
                if sockets.received(data, address, own_address, now) and sock.fileno() < 0:
                    return  # what it brought about has closed us
        except BlockingIOError:
            pass
        except OSError as error:
            self.error_received(error)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Take what the loop has read."""
        self._sockets.received(data, (addr[0], addr[1]), self._own_address, self._loop.time())

    def error_received(self, exc: Exception) -> None:
        """Take note of an error, which stops nothing."""
        self._sockets.note_problem(self._own_address, exc)

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        """Send at once; raises OSError, also where it would have to wait: heartbeats come again."""
        if self._transport is not None:
            self._transport.sendto(data, address)
        else:
            self._sock.sendto(data, address)

    def close(self) -> None:
        """Read and send no more."""
        if self._transport is not None:
            self._transport.close()
        elif self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()


def _shares_network(interface: Interface, ip_address: str) -> bool:
    """Tell whether an address may be on an interface's network: equal leading bits.

    The bits in which our address and the broadcast address agree are at least the network's.
    """
    try:
        own = int(ipaddress.IPv4Address(interface.address))
        broadcast = int(ipaddress.IPv4Address(interface.broadcast))
        other = int(ipaddress.IPv4Address(ip_address))
    except ValueError:
        return False
    host_bits = (own ^ broadcast).bit_length()
    return own >> host_bits == other >> host_bits
