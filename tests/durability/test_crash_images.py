"""A power cut or a kill at any moment loses nothing acknowledged and leaves nothing half."""

from __future__ import annotations

import pytest

from tests.durability.running import needs_compiler, run_suite

pytestmark = needs_compiler


def test_every_image_of_a_crash_holds_what_was_acknowledged() -> None:
    """10,000 different disks, and 1,000 of crashes while one of them was being opened."""
    run_suite("crash_images", "--seed", "q1", "--count", 10_000, "--recovery", 1_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", ["c1", "c2", "c3", "c4"])
def test_forty_thousand_images_more_hold_what_was_acknowledged(seed: str) -> None:
    """And a tenth as many of crashes while one of them was being opened."""
    run_suite("crash_images", "--seed", seed, "--count", 10_000, "--recovery", 1_000)
