"""A damaged file gives what was written, or is refused, left as it is, and salvaged."""

from __future__ import annotations

import pytest

from tests.durability.running import run_suite


def test_damaged_files_never_give_something_else() -> None:
    """1,000 copies with flipped bits, missing ends, zeros, garbage and pages out of place."""
    run_suite("damaged_files", "--seed", "q", "--count", 1_000)


@pytest.mark.long
def test_thousands_of_damaged_files_never_give_something_else() -> None:
    """The same, 8,000 times."""
    run_suite("damaged_files", "--seed", "c", "--count", 8_000)
