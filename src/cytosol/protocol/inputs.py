"""What the driver tells the machines: frozen values, each handed in with the time it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "DatagramReceived",
    "Input",
    "InterfacesChanged",
    "ListenFailed",
    "Started",
    "TcpAccepted",
    "TcpClosed",
    "TcpConnected",
    "TcpData",
    "TcpFailed",
    "TcpListening",
    "WallClock",
]


@dataclass(frozen=True, slots=True)
class Started:
    """Say that the sockets are open, and on which port the gateway listens."""

    gateway_port: int


@dataclass(frozen=True, slots=True)
class WallClock:
    """Tell what a wall clock says now, in seconds since 1970; pauses outlive restarts by it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class InterfacesChanged:
    """Say which addresses our interfaces have now; heartbeats start anew."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """Bring a datagram, where it came from, and the address of ours that it reached."""

    data: bytes
    address: tuple[str, int]
    interface: str


@dataclass(frozen=True, slots=True)
class TcpAccepted:
    """Say that a listener accepted a connection; `listener_id` is None for the gateway."""

    connection_id: int
    listener_id: int | None
    ip_address: str


@dataclass(frozen=True, slots=True)
class TcpConnected:
    """Say that a connection we asked for is open."""

    connection_id: int


@dataclass(frozen=True, slots=True)
class TcpFailed:
    """Say that a connection we asked for could not be opened, in words."""

    connection_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class TcpData:
    """Bring bytes of a connection."""

    connection_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TcpClosed:
    """Say that a connection ended without our doing, in words."""

    connection_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class TcpListening:
    """Say that a listener we asked for is open, and on which port."""

    listener_id: int
    port: int


@dataclass(frozen=True, slots=True)
class ListenFailed:
    """Say that a listener we asked for could not be opened, in words."""

    listener_id: int
    reason: str


Input: TypeAlias = (
    Started
    | WallClock
    | InterfacesChanged
    | DatagramReceived
    | TcpAccepted
    | TcpConnected
    | TcpFailed
    | TcpData
    | TcpClosed
    | TcpListening
    | ListenFailed
)
