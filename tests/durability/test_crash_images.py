"""A power cut or a kill at any moment loses nothing acknowledged and leaves nothing half."""

from __future__ import annotations

import pytest

from tests.durability.running import needs_compiler, run_suite

pytestmark = needs_compiler


def test_every_image_of_a_crash_holds_what_was_acknowledged() -> None:
    """4,000 different disks, and 400 of crashes while one of them was being opened."""
    run_suite("crash_images", "--seed", "q1", "--count", 4_000, "--recovery", 400)


@pytest.mark.long
@pytest.mark.parametrize(
    ("seed", "count"),
    [("c1", 10_000), ("c2", 10_000), ("c3", 10_000), ("c4", 10_000), ("q2", 6_000)],
)
def test_forty_six_thousand_images_more_hold_what_was_acknowledged(seed: str, count: int) -> None:
    """And a tenth as many of crashes while one of them was being opened."""
    run_suite("crash_images", "--seed", seed, "--count", count, "--recovery", count // 10)
