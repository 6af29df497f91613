"""What the doctor sees without any peer: interfaces, routes, and who has the port."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cytosol.net import interfaces, local_probes
from cytosol.net.evidence import InterfaceSeen, RouteSeen
from cytosol.net.local_probes import (
    error_name,
    find_detours,
    neighbours,
    port_holder,
    see_interfaces,
)


def ipv4(ip: str, netmask: str) -> Any:
    return SimpleNamespace(
        family=socket.AF_INET, address=ip, netmask=netmask, ptp=None, broadcast=None
    )


def state(flags: str, *, isup: bool) -> Any:
    return SimpleNamespace(isup=isup, flags=flags)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """A machine whose interfaces the test fills in: addresses and states."""
    addresses: dict[str, Any] = {}
    states: dict[str, Any] = {}
    monkeypatch.setattr(interfaces.psutil, "net_if_addrs", lambda: addresses)
    monkeypatch.setattr(interfaces.psutil, "net_if_stats", lambda: states)
    return addresses, states


def test_all_interfaces_are_seen_usable_or_not(
    machine: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Switched off, without a cable, without an address, too narrow, a tunnel, loopback."""
    addresses, states = machine
    states["off"] = state("broadcast,multicast", isup=False)
    states["out"] = state("up,broadcast", isup=False)
    addresses["out"] = [ipv4("10.0.1.1", "255.255.255.0")]
    states["good"] = state("up,broadcast,running", isup=True)
    addresses["good"] = [ipv4("10.0.2.1", "255.255.255.0"), ipv4("10.0.3.1", "255.255.255.255")]
    states["tun"] = state("up,pointopoint,running", isup=True)
    addresses["tun"] = [ipv4("10.9.0.2", "255.255.255.0")]
    states["lo"] = state("up,loopback,running", isup=True)
    addresses["lo"] = [ipv4("127.0.0.1", "255.0.0.0")]
    # is_up, has_carrier, is_loopback, can_broadcast
    assert (
        InterfaceSeen("good", True, True, False, True, ("10.0.2.1", "10.0.3.1"), ("10.0.2.0/24",)),
        InterfaceSeen("lo", True, True, True, False, ("127.0.0.1",), ("127.0.0.0/8",)),
        InterfaceSeen("off", False, False, False, True, (), ()),
        InterfaceSeen("out", True, False, False, True, ("10.0.1.1",), ()),
        InterfaceSeen("tun", True, True, False, False, ("10.9.0.2",), ()),
    ) == see_interfaces()


def test_a_system_that_tells_no_flags_is_believed_by_its_addresses(
    machine: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """As Windows: what has a network with a broadcast address can broadcast."""
    addresses, states = machine
    states["Ethernet"] = state("", isup=True)
    addresses["Ethernet"] = [ipv4("10.0.2.1", "255.255.255.0")]
    states["Loopback"] = state("", isup=True)
    addresses["Loopback"] = [ipv4("127.0.0.1", "255.0.0.0")]
    ethernet, loopback = see_interfaces()
    assert (True, False) == (ethernet.can_broadcast, ethernet.is_loopback)
    assert loopback.is_loopback


ETH = InterfaceSeen("eth0", True, True, False, True, ("10.0.0.1",), ("10.0.0.0/24",))
WLAN = InterfaceSeen("wlan0", True, True, False, True, ("10.0.0.7",), ("10.0.0.0/24",))
TUN = InterfaceSeen("tun0", True, True, False, False, ("10.9.0.2",), ())
LO = InterfaceSeen("lo", True, True, True, False, ("127.0.0.1",), ("127.0.0.0/8",))


def test_a_tunnel_that_takes_a_part_of_our_network_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if it takes one host only, and that is the one that we want to reach."""
    routes = {"10.0.0.9": "10.9.0.2"}
    monkeypatch.setattr(
        local_probes, "_source_for", lambda target, _: routes.get(target, "10.0.0.1")
    )
    assert () == find_detours([ETH, TUN, LO], [], 50_000)
    assert (RouteSeen("eth0", "10.0.0.9", "tun0"),) == find_detours(
        [ETH, TUN, LO], ["10.0.0.9", "10.5.5.5"], 50_000
    )


def test_two_interfaces_in_one_network_are_no_detour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cable and Wi-Fi at once: the system takes one of them for both."""
    monkeypatch.setattr(local_probes, "_source_for", lambda target, _: "10.0.0.7")
    assert () == find_detours([ETH, WLAN, TUN], [], 50_000)


def test_addresses_of_our_own_and_unroutable_ones_are_no_detour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is said about them comes from other probes."""
    monkeypatch.setattr(local_probes, "_source_for", lambda target, _: None)
    assert () == find_detours([ETH, TUN], ["10.0.0.1"], 50_000)


def test_the_system_is_asked_for_a_route() -> None:
    """From loopback to loopback; an address that is none has no source."""
    assert "127.0.0.1" == local_probes._source_for("127.0.0.1", 50_000)
    assert local_probes._source_for("255.255.255.255.1", 50_000) is None


def test_the_program_that_has_a_port_is_named() -> None:
    """Name and number of the process, or nothing where the system keeps it secret."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        holder = port_holder(port)
        assert holder is None or f"(process {os.getpid()})" in holder
    assert port_holder(port) is None


def test_errors_are_known_by_their_short_names() -> None:
    """As in manuals."""
    assert "EPERM" == error_name(OSError(errno.EPERM, "no"))
    assert "OSError" == error_name(OSError("no number"))


def test_the_table_of_neighbours_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have answered; where there is no such table, or a strange one, nobody."""
    table = tmp_path / "arp"
    monkeypatch.setattr(local_probes, "NEIGHBOURS", table)
    assert set() == neighbours()
    table.write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "10.0.0.2         0x1         0x2         02:00:00:00:00:01     *        eth0\n"
        "10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0\n"
        "what is this\n"
    )
    assert {("10.0.0.2", "eth0", "02:00:00:00:00:01")} == neighbours()
    table.write_bytes(b"\xff")
    assert set() == neighbours()
