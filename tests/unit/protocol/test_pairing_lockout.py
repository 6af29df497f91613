"""Three wrong codes pause, ten stop; the count outlives restarts."""

from __future__ import annotations

import math

import pytest

from cytosol.protocol.lockout import Lockout
from tests.simulation.machine_fakes import MemoryPairings


@pytest.fixture
def pairings() -> MemoryPairings:
    return MemoryPairings()


@pytest.fixture
def lockout(pairings: MemoryPairings) -> Lockout:
    lockout = Lockout(pairings)
    lockout.set_wall_clock(1_000_000.0, 50.0)
    return lockout


def test_two_wrong_codes_are_human(lockout: Lockout) -> None:
    """No pause yet."""
    for _ in range(2):
        lockout.wrong_code(50.0)
    assert 0.0 == lockout.pause_left_s(50.0)


def test_three_wrong_codes_pause_for_five_minutes(
    lockout: Lockout, pairings: MemoryPairings
) -> None:
    """Each further one begins the pause anew."""
    for _ in range(3):
        lockout.wrong_code(50.0)
    assert (3, 1_000_000.0) == pairings.wrong_codes()
    assert 300.0 == lockout.pause_left_s(50.0)
    assert 1.0 == lockout.pause_left_s(349.0)
    assert 0.0 == lockout.pause_left_s(350.0)
    lockout.wrong_code(400.0)
    assert 300.0 == lockout.pause_left_s(400.0)


def test_a_right_code_begins_anew(lockout: Lockout, pairings: MemoryPairings) -> None:
    """Who has paired was no guesser."""
    lockout.right_code()
    assert (0, 0.0) == pairings.wrong_codes()
    for _ in range(3):
        lockout.wrong_code(50.0)
    lockout.right_code()
    assert (0, 0.0) == pairings.wrong_codes()
    assert 0.0 == lockout.pause_left_s(50.0)


def test_ten_wrong_codes_stop_until_the_app_calls(lockout: Lockout) -> None:
    """A pause is not lifted by calling, a stop is."""
    for _ in range(9):
        lockout.wrong_code(50.0)
    lockout.app_called()
    assert 300.0 == lockout.pause_left_s(50.0)
    lockout.wrong_code(50.0)
    assert math.inf == lockout.pause_left_s(1e9)
    lockout.app_called()
    assert 0.0 == lockout.pause_left_s(50.0)


def test_a_clock_set_back_starts_the_pause_where_it_is(
    lockout: Lockout, pairings: MemoryPairings
) -> None:
    """Not days later."""
    for _ in range(3):
        lockout.wrong_code(50.0)
    lockout.set_wall_clock(500_000.0, 60.0)
    assert 300.0 == lockout.pause_left_s(60.0)
    assert 0.0 == lockout.pause_left_s(360.0)
    assert (3, 500_000.0) == pairings.wrong_codes()
