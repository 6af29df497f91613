"""A power cut or a kill at any moment loses nothing acknowledged and leaves nothing half."""

from __future__ import annotations

import pytest

from tests.durability.running import needs_compiler, run_suite

pytestmark = needs_compiler


@pytest.mark.parametrize("seed", ["q1", pytest.param("q2", marks=pytest.mark.long)])
def test_every_image_of_a_crash_holds_what_was_acknowledged(seed: str) -> None:
    """5,000 different disks, and 500 of crashes while one of them was being opened."""
    run_suite("crash_images", "--seed", seed, "--count", 5_000, "--recovery", 500)


@pytest.mark.long
@pytest.mark.parametrize("seed", ["c1", "c2", "c3", "c4"])
def test_forty_thousand_images_more_hold_what_was_acknowledged(seed: str) -> None:
    """10,000 and 1,000 for each of four seeds."""
    run_suite("crash_images", "--seed", seed, "--count", 10_000, "--recovery", 1_000)
