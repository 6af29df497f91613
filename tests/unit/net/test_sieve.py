"""The sieve counts what it admits, so that a flood costs others nothing."""

from __future__ import annotations

import os

from cytosol.limits import (
    ADDRESS_BEATS_PER_S,
    HEARTBEAT_BYTES_MAX,
    PAIRED_BEATS_PER_S,
    STRANGER_BEATS_PER_S,
)
from cytosol.net.sieve import Sieve
from cytosol.wire.heartbeat import Heartbeat, encode_heartbeat, parse_heartbeat

APP, OWN, FRIEND, FRIENDS_KEY = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16, bytes([4]) * 32
FLOOD = 10_000


def heartbeat(peer_id: bytes = FRIEND, key: bytes = FRIENDS_KEY, app: bytes = APP) -> bytes:
    return encode_heartbeat(Heartbeat(app, peer_id, key, 5_000, "name"))


class Gate:
    """A sieve of a device with one friend, and how often it asked who that is."""

    def __init__(self) -> None:
        self.questions = 0
        self.sieve = Sieve(APP, OWN, self._is_paired)

    def _is_paired(self, peer_id: bytes, key: bytes) -> bool:
        self.questions += 1
        return (peer_id, key) == (FRIEND, FRIENDS_KEY)

    def count(self, *datagrams: tuple[bytes, str], now: float = 0.0) -> int:
        return sum(self.sieve.admits(data, ip_address, now) for data, ip_address in datagrams)


def stranger(number: int) -> bytes:
    return heartbeat(number.to_bytes(16, "big"), os.urandom(32))


def test_what_cannot_be_a_heartbeat_of_another_device_is_dropped_unseen() -> None:
    """Too short, too long, of something else, of another app, our own; nothing is looked up."""
    gate = Gate()
    good = heartbeat()
    for bad in (
        b"",
        good[:70],
        good[:71] + bytes(HEARTBEAT_BYTES_MAX - 70),
        b"\0" + good[1:],
        heartbeat(app=OWN),
        heartbeat(OWN),
    ):
        assert 0 == gate.count((bad, "192.0.2.1"))
    assert 0 == gate.questions
    assert 1 == gate.count((good, "192.0.2.1"))


def test_what_is_admitted_can_be_parsed() -> None:
    """The sieve reads id and key at their places."""
    seen: list[tuple[bytes, bytes]] = []
    sieve = Sieve(APP, OWN, lambda peer_id, key: bool(seen.append((peer_id, key))))
    assert sieve.admits(heartbeat(), "192.0.2.1", 0.0)
    parsed = parse_heartbeat(heartbeat())
    assert [(parsed.peer_id, parsed.public_key)] == seen


def test_a_flood_of_one_address_takes_its_own_share_only() -> None:
    """10,000 inventions cost as much as 32 heartbeats, and others are heard meanwhile."""
    gate = Gate()
    flood = [(stranger(number), "192.0.2.66") for number in range(FLOOD)]
    assert ADDRESS_BEATS_PER_S == gate.count(*flood)
    assert 1 == gate.count((stranger(0), "192.0.2.1"))
    assert 1 == gate.count((heartbeat(), "192.0.2.66"))


def test_a_flood_of_all_addresses_leaves_paired_devices_alone() -> None:
    """Strangers share what strangers have."""
    gate = Gate()
    flood = [(stranger(number), f"10.0.{number >> 8}.{number & 255}") for number in range(FLOOD)]
    assert STRANGER_BEATS_PER_S == gate.count(*flood)
    assert 1 == gate.count((heartbeat(), "192.0.2.1"))


def test_a_flood_under_a_paired_name_takes_no_share_of_the_real_one() -> None:
    """Id and key are no secrets; who sends from another address has a share of its own."""
    gate = Gate()
    assert ADDRESS_BEATS_PER_S == gate.count(*[(heartbeat(), "192.0.2.66")] * FLOOD)
    assert 1 == gate.count((heartbeat(), "192.0.2.1"))
    assert 1 == gate.count((stranger(1), "192.0.2.66"))
    flood = [(heartbeat(), f"10.0.{number >> 8}.{number & 255}") for number in range(FLOOD)]
    assert PAIRED_BEATS_PER_S - ADDRESS_BEATS_PER_S - 1 == gate.count(*flood)


def test_a_claim_with_another_key_is_a_stranger() -> None:
    """Only the pinned key makes a paired device."""
    gate = Gate()
    flood = [(heartbeat(key=os.urandom(32)), "192.0.2.1") for _ in range(FLOOD)]
    assert ADDRESS_BEATS_PER_S == gate.count(*flood)
    assert 1 == gate.count((heartbeat(), "192.0.2.1"))


def test_shares_are_dealt_out_anew_each_second() -> None:
    """What a sender did not get through, it gets through later; nothing piles up meanwhile."""
    gate = Gate()
    flood = [(stranger(number), f"10.0.{number >> 8}.{number & 255}") for number in range(FLOOD)]
    for second in range(3):
        assert STRANGER_BEATS_PER_S == gate.count(*flood, now=float(second))
        assert 0 == gate.count(*flood, now=second + 0.999)
        assert STRANGER_BEATS_PER_S == len(gate.sieve._taken)
