"""Connections that have proved nothing: four per address, sixteen in all, five seconds."""

from __future__ import annotations

from cytosol.limits import FIRST_FRAME_TIMEOUT_S, HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX
from cytosol.protocol.half_open import HalfOpenTable


def test_an_address_gets_its_share_and_no_more() -> None:
    """One that has proved itself, or is closed, makes room."""
    table = HalfOpenTable()
    for number in range(HALF_OPEN_PER_ADDRESS_MAX):
        assert (True, None) == table.admit(number, "10.0.0.1", 0.0)
    assert (False, None) == table.admit(99, "10.0.0.1", 0.0)
    table.remove(0)
    table.remove(0)
    assert (True, None) == table.admit(99, "10.0.0.1", 0.0)


def test_the_oldest_of_the_greediest_address_makes_room() -> None:
    """Who has one place keeps it."""
    table = HalfOpenTable()
    table.admit(0, "10.0.0.9", 0.0)
    for number in range(1, HALF_OPEN_MAX):
        table.admit(number, f"10.0.1.{(number - 1) // HALF_OPEN_PER_ADDRESS_MAX}", 0.0)
    assert (True, 1) == table.admit(99, "10.0.0.8", 0.0)


def test_time_is_up_after_five_seconds() -> None:
    """In the order in which they came."""
    table = HalfOpenTable()
    assert table.next_deadline() is None
    table.admit(1, "10.0.0.1", 0.0)
    table.admit(2, "10.0.0.1", 1.0)
    assert FIRST_FRAME_TIMEOUT_S == table.next_deadline()
    assert [] == table.take_expired(4.9)
    assert [1] == table.take_expired(5.0)
    assert [2] == table.take_expired(7.0)
