"""Whatever comes from outside, parsers return a value or raise a declared error.

`make test` tries 740,000 inputs and all kept ones, `make check` 3,700,000 others;
`python -m tests.fuzz.run` as many as one likes.
"""

from __future__ import annotations

import random

import pytest

from tests.fuzz.plan import CHECK_TOTAL, QUICK_TOTAL, SHARES, blocks_of
from tests.fuzz.target import BLOCK, TARGETS, Finding, Target, run_block, run_kept

QUICK_SEED, CHECK_SEED = 1, 2
NAMES = sorted(SHARES)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_were_kept(name: str) -> None:
    """What was a finding once never is again."""
    run_kept(name, TARGETS[name]())


@pytest.mark.parametrize("name", NAMES)
def test_a_fifth_of_the_inputs(name: str) -> None:
    """Undeclared exceptions and hangs name the input and how to replay it."""
    made = TARGETS[name]()
    for block in range(blocks_of(name, QUICK_TOTAL)):
        run_block(name, made, QUICK_SEED, block)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_all_inputs(name: str) -> None:
    """The same with five times as many others."""
    made = TARGETS[name]()
    for block in range(blocks_of(name, CHECK_TOTAL)):
        run_block(name, made, CHECK_SEED, block)


def test_the_totals_are_what_they_say() -> None:
    """3.7 million in `make check`, a fifth of it in `make test`."""
    assert CHECK_TOTAL <= BLOCK * sum(blocks_of(name, CHECK_TOTAL) for name in NAMES)
    assert QUICK_TOTAL <= BLOCK * sum(blocks_of(name, QUICK_TOTAL) for name in NAMES)


def test_a_finding_says_how_to_replay_it() -> None:
    """The same seed and block give the same input."""

    def attempt(data: int) -> None:
        assert data < 90

    def make(rng: random.Random, data: int) -> int:
        return rng.randrange(100)

    said = []
    for _ in range(2):
        with pytest.raises(Finding, match="--target 'invented' --seed 3 --block 4") as caught:
            run_block("invented", Target(attempt, make, [0]), 3, 4)
        said.append(str(caught.value))
    assert said[0] == said[1]
