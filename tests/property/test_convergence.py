"""Random histories of 3 to 5 peers: every peer ends with what the oracle makes of the ops."""

from __future__ import annotations

import pytest

from tests.property.replay import check_history

QUICK_BLOCKS = 10
LONG_BLOCKS = 20


def check_block(first_seed: int, histories: int, steps: int) -> None:
    """Check some histories; each of 3, 4 and 5 peers in turn."""
    ops = sum(
        check_history(seed, steps, 3 + seed % 3)
        for seed in range(first_seed, first_seed + histories)
    )
    assert ops > histories * steps // 5, "most of the steps are writes, and most writes succeed"


@pytest.mark.parametrize("block", range(QUICK_BLOCKS))
def test_short_histories_converge(block: int) -> None:
    """2,000 histories of about ten ops."""
    check_block(block * 1_000, 200, 25)


@pytest.mark.long
@pytest.mark.parametrize("block", range(LONG_BLOCKS))
def test_middling_histories_converge(block: int) -> None:
    """7,680 histories of about fifty ops."""
    check_block(100_000 + block * 1_000, 384, 106)


@pytest.mark.long
@pytest.mark.parametrize("block", range(LONG_BLOCKS))
def test_long_histories_converge(block: int) -> None:
    """320 histories of some hundred ops."""
    check_block(200_000 + block * 1_000, 16, 500)
