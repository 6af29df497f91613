"""Which interfaces heartbeats go out on."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from cytosol.net import interfaces
from cytosol.net.interfaces import Interface, broadcast_interfaces


def address(ip: str, netmask: str | None, ptp: str | None = None, family: int = socket.AF_INET):  # type: ignore[no-untyped-def]  # a stand-in for psutil's tuple
    return SimpleNamespace(family=family, address=ip, netmask=netmask, ptp=ptp, broadcast=None)


def state(*, isup: bool = True, flags: str = "up,broadcast,running"):  # type: ignore[no-untyped-def]  # a stand-in for psutil's tuple
    return SimpleNamespace(isup=isup, flags=flags)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[object]], dict[str, object]]:
    """A machine whose interfaces the test fills in."""
    addresses: dict[str, list[object]] = {}
    states: dict[str, object] = {}
    monkeypatch.setattr(interfaces.psutil, "net_if_addrs", lambda: addresses)
    monkeypatch.setattr(interfaces.psutil, "net_if_stats", lambda: states)
    return addresses, states


def test_the_broadcast_address_is_computed(machine) -> None:  # type: ignore[no-untyped-def]  # see the fixture
    """From address and mask, in a stable order."""
    addresses, states = machine
    addresses["wlan0"] = [address("192.168.7.20", "255.255.255.0")]
    addresses["eth0"] = [
        address("fe80::1", None, family=socket.AF_INET6),
        address("10.1.2.3", "255.255.252.0"),
    ]
    states["wlan0"] = states["eth0"] = state()
    assert [
        Interface("eth0", "10.1.2.3", "10.1.3.255"),
        Interface("wlan0", "192.168.7.20", "192.168.7.255"),
    ] == broadcast_interfaces(loopback=False)


def test_what_is_down_or_cannot_broadcast_is_left_out(machine) -> None:  # type: ignore[no-untyped-def]  # see the fixture
    """Down, unknown, point to point, without a mask, too small, or by its flags."""
    addresses, states = machine
    addresses["down"] = [address("10.0.0.1", "255.255.255.0")]
    states["down"] = state(isup=False)
    addresses["unknown"] = [address("10.0.1.1", "255.255.255.0")]
    addresses["tunnel"] = [address("10.0.2.1", "255.255.255.0", ptp="10.0.2.2")]
    addresses["bare"] = [address("10.0.3.1", None)]
    addresses["small"] = [address("10.0.4.1", "255.255.255.254")]
    addresses["odd"] = [address("10.0.5.1", "255.0.255.0")]
    for name in ("tunnel", "bare", "small", "odd"):
        states[name] = state()
    addresses["vpn"] = [address("10.0.6.1", "255.255.255.0")]
    states["vpn"] = state(flags="up,pointopoint,running")
    assert [] == broadcast_interfaces(loopback=True)


def test_flags_that_the_system_does_not_tell_are_no_obstacle(machine) -> None:  # type: ignore[no-untyped-def]  # see the fixture
    """Some systems have none."""
    addresses, states = machine
    addresses["eth0"] = [address("10.1.2.3", "255.255.255.0")]
    states["eth0"] = SimpleNamespace(isup=True)
    assert 1 == len(broadcast_interfaces(loopback=False))


def test_loopback_only_when_asked_for(machine) -> None:  # type: ignore[no-untyped-def]  # see the fixture
    """127.255.255.255 reaches all peers of the machine."""
    addresses, states = machine
    addresses["lo"] = [address("127.0.0.1", "255.0.0.0")]
    states["lo"] = state(flags="up,loopback,running")
    assert [] == broadcast_interfaces(loopback=False)
    assert [Interface("lo", "127.0.0.1", "127.255.255.255")] == broadcast_interfaces(loopback=True)


def test_this_machine_has_loopback() -> None:
    """On the real system."""
    assert "127.255.255.255" in [each.broadcast for each in broadcast_interfaces(loopback=True)]
