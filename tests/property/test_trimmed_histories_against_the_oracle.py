"""Peers that trim and adopt hold what the oracle makes of all ops of the history they stand on."""

from __future__ import annotations

import pytest

from tests.property.trimmed_histories import check_trimmed_history

QUICK_BLOCKS = 5
LONG_BLOCKS = 20


def check_block(first_seed: int, histories: int, steps: int) -> None:
    """Check some histories; each of 3, 4 and 5 peers in turn."""
    done = [
        check_trimmed_history(seed, 3 + seed % 3, range(steps))
        for seed in range(first_seed, first_seed + histories)
    ]
    assert sum(history.trims for history in done) > histories // 2
    assert sum(history.adoptions for history in done) > histories // 2
    clean = [history for history in done if history.only_clean]
    assert sum(history.trims for history in clean), "what everybody has can go, and goes"


@pytest.mark.parametrize("block", range(QUICK_BLOCKS))
def test_short_histories_agree_however_they_are_trimmed(block: int) -> None:
    """200 histories of 60 steps; a quarter of them trim only what everybody has."""
    check_block(block * 1_000, 40, 60)


def test_an_op_that_waits_does_not_make_a_device_adopt() -> None:
    """Whether it knew the base can only be told once the ops before it have come.

    Peer 3 has trimmed what all have, and hears of peer 0's ops in a bad order.
    """
    steps = [8, 11, 14, 15, 17, 18, 20, 35, 36, 39, 40, 41, 42, 49]
    assert check_trimmed_history(500_011, 4, steps).trims


@pytest.mark.long
@pytest.mark.parametrize("block", range(LONG_BLOCKS))
def test_more_short_histories_agree_however_they_are_trimmed(block: int) -> None:
    """700 of the same size."""
    check_block(300_000 + block * 1_000, 35, 60)


@pytest.mark.long
@pytest.mark.parametrize("block", range(LONG_BLOCKS))
def test_long_histories_agree_however_they_are_trimmed(block: int) -> None:
    """100 histories of five peers and 200 steps, in which adoptions cross again and again."""
    first = 400_000 + block * 1_000
    done = [check_trimmed_history(seed, 5, range(200)) for seed in range(first, first + 5)]
    assert sum(history.trims for history in done)
    assert sum(history.adoptions for history in done)
