"""The doctor's probes that need no peer: interfaces, routes, and who has our port."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from cytosol.net.evidence import InterfaceSeen, RouteSeen
from cytosol.net.interfaces import broadcast_interfaces

__all__ = ["error_name", "find_detours", "neighbours", "port_holder", "see_interfaces"]

NEIGHBOURS: Final = Path("/proc/net/arp")  # of Linux; everybody may read it
_UNKNOWN: Final = "00:00:00:00:00:00"  # nobody has answered for the address yet


def see_interfaces() -> tuple[InterfaceSeen, ...]:
    """Return all interfaces, usable or not."""
    stats = psutil.net_if_stats()
    usable = {(each.name, each.address) for each in broadcast_interfaces(loopback=True)}
    found = []
    # One without any address is in `stats` only.
    addresses = psutil.net_if_addrs()
    for name in sorted({*stats, *addresses}):
        state = stats.get(name)
        flags = frozenset(getattr(state, "flags", "").split(",")) - {""}
        own = [each for each in addresses.get(name, ()) if each.family == socket.AF_INET]
        ipv4 = tuple(each.address for each in own)
        has_carrier = state is not None and state.isup
        is_loopback = "loopback" in flags or (
            bool(ipv4) and all(each.startswith("127.") for each in ipv4)
        )
        found.append(
            InterfaceSeen(
                name,
                is_up=has_carrier or "up" in flags,
                has_carrier=has_carrier,
                is_loopback=is_loopback,
                can_broadcast="broadcast" in flags
                if flags
                else name in {name for name, _ in usable},
                addresses=ipv4,
                networks=tuple(
                    str(ipaddress.IPv4Network(f"{each.address}/{each.netmask}", strict=False))
                    for each in own
                    if (name, each.address) in usable
                ),
            )
        )
    return tuple(found)


def find_detours(
    seen: Iterable[InterfaceSeen], known: Iterable[str], port: int
) -> tuple[RouteSeen, ...]:
    """Return where packets for our own networks leave by an interface that is no part of them.

    The system is asked by connecting a UDP socket, which sends nothing: the address that it
    chooses for us tells the interface. Several networks between the same devices are fine; an
    interface without broadcasts, as those of VPNs, is none of them.
    """
    seen = tuple(seen)
    holders = {address: each for each in seen for address in each.addresses}
    found = []
    for interface in seen:
        for network in map(ipaddress.IPv4Network, interface.networks):
            if interface.is_loopback:
                continue
            inside = [each for each in known if ipaddress.IPv4Address(each) in network]
            ends = [network.broadcast_address, network[1], network[-2]]
            for target in dict.fromkeys([*inside, *map(str, ends)]):
                source = None if target in holders else _source_for(target, port)
                via = None if source is None else holders.get(source)
                if via is not None and via.name != interface.name and not via.can_broadcast:
                    found.append(RouteSeen(interface.name, target, via.name))
    return tuple(found)


def _source_for(target: str, port: int) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.connect((target, port))
            return str(sock.getsockname()[0])
        except OSError:
            return None


def port_holder(port: int) -> str | None:
    """Return the name and number of the process that has a UDP port, if the system tells us."""
    try:
        for each in psutil.net_connections("udp4"):
            if each.laddr and each.laddr.port == port and each.pid is not None:
                return f"'{psutil.Process(each.pid).name()}' (process {each.pid})"
    except (psutil.Error, OSError):
        pass
    return None


def neighbours() -> set[tuple[str, str, str]]:
    """Return which hardware address has which IPv4 address now, by interface, if the system tells.

    The columns are address, type, flags, hardware address, mask, interface (man 5 proc).
    """
    try:
        lines = NEIGHBOURS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return set()
    rows = [line.split() for line in lines[1:]]
    return {(row[0], row[5], row[3]) for row in rows if len(row) == 6 and row[3] != _UNKNOWN}


def error_name(error: OSError) -> str:
    """Return the short name of an error of the system, such as EPERM."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
