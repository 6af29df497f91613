"""Whole worlds of real devices, driven by one seed each, while everything that can fail does.

A fifth of the 301 seeds and 301 simulated hours runs in the quick tier. More of them:
`python -m cytosol.testing.soak --seeds 1000 --hours 1000 --seed 1000`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cytosol.testing.chaos import CLIMATES, run_world
from cytosol.testing.soak import main

SEEDS = 301
QUICK = 63
BATCH = 7  # seeds in one test, so that all climates are in it
HOURS = 1.0
KEPT = Path(__file__).with_name("kept_seeds.txt")


def batches(start: int, stop: int) -> list[range]:
    return [range(first, first + BATCH) for first in range(start, stop, BATCH)]


def run_all(seeds: range) -> None:
    hours = sum(run_world(seed, HOURS).hours for seed in seeds)
    assert hours >= HOURS * len(seeds)


@pytest.mark.parametrize("seeds", batches(0, QUICK), ids=str)
def test_everything_holds_in_a_world_where_anything_fails(seeds: range) -> None:
    """Nothing acknowledged is lost, all become equal, and every device fits its file."""
    run_all(seeds)


@pytest.mark.long
@pytest.mark.parametrize("seeds", batches(QUICK, SEEDS), ids=str)
def test_everything_holds_in_many_worlds(seeds: range) -> None:
    """The other four fifths."""
    run_all(seeds)


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 30))]
)
def test_everything_holds_while_people_switch_things_off_and_on(seed: int) -> None:
    """They hide, they pause, they come back; there is never a second connection."""
    assert run_world(seed, HOURS, "switches").faults


def test_a_batch_has_every_climate() -> None:
    """So no fault is left to chance, and the tiers hold the numbers that they promise."""
    assert 0 == BATCH % len(CLIMATES)
    assert SEEDS == sum(map(len, batches(0, QUICK) + batches(QUICK, SEEDS)))


def kept() -> Iterator[tuple[int, float, str]]:
    for line in KEPT.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            seed, hours, climate = line.split("  ")[:3]
            yield int(seed), float(hours), climate


@pytest.mark.parametrize(("seed", "hours", "climate"), list(kept()))
def test_a_world_that_once_failed_holds(seed: int, hours: float, climate: str) -> None:
    """Each line of `kept_seeds.txt` tells what it had found."""
    run_world(seed, hours, climate)


def test_the_same_seed_makes_the_same_world() -> None:
    """Down to each byte on the network and the moment at which it arrives."""
    assert run_world(5, 0.2) == run_world(5, 0.2)


def test_the_command_prints_seeds_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """What a long run says is all that is needed to run it again."""
    assert 0 == main(["--seeds", "2", "--hours", "0.1", "--seed", "8"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 8 (disk, json files): ")
    assert lines[1].startswith("seed 9 (clocks): ")
    assert lines[2].startswith("2 worlds held, 0 failed; 0.")


def test_a_climate_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that seeds do not choose, because it is known to break something now and then."""
    arguments = ["--seeds", "1", "--hours", "0.5", "--climate", "trimmed copies", "--quiet"]
    assert 0 == main(arguments)
    assert capsys.readouterr().out.startswith("1 worlds held, 0 failed; 0.6")
