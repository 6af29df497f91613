"""Which network interfaces heartbeats go out on: up, IPv4, able to broadcast.

Loopback only when asked for: 127.255.255.255 reaches all peers of one machine (spec: network,
Discovery).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]  # psutil ships no types

__all__ = ["Interface", "broadcast_interfaces"]


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of ours and the broadcast address of its network."""

    name: str
    address: str
    broadcast: str


def broadcast_interfaces(*, loopback: bool) -> list[Interface]:
    """Return the interfaces for heartbeats, in a stable order; an empty list while offline."""
    stats = psutil.net_if_stats()
    found: list[Interface] = []
    for name, addresses in psutil.net_if_addrs().items():
        state = stats.get(name)
        if state is None or not state.isup:
            continue
        flags = frozenset(getattr(state, "flags", "").split(","))
        for address in addresses:
            if address.family != socket.AF_INET:
                continue
            broadcast = _broadcast_of(address.address, address.netmask, address.ptp, flags)
            if broadcast is not None and (loopback or not address.address.startswith("127.")):
                found.append(Interface(name, address.address, broadcast))
    return sorted(found, key=lambda each: (each.address, each.name))


def _broadcast_of(
    address: str, netmask: str | None, point_to_point: str | None, flags: frozenset[str]
) -> str | None:
    """Return the broadcast address, computed from address and mask; None if there is none.

    The system's own word for it is often missing, and wrong on some virtual interfaces.
    """
    if netmask is None or point_to_point is not None:
        return None
    try:
        network = ipaddress.IPv4Network(f"{address}/{netmask}", strict=False)
    except ValueError:
        return None
    if network.prefixlen > 30:
        return None
    is_loopback = network.network_address.is_loopback
    if not is_loopback and flags - {""} and "broadcast" not in flags:
        return None
    return str(network.broadcast_address)
