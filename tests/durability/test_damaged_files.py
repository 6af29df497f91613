"""A damaged file gives what was written or is refused, and then it is left as it is."""

from __future__ import annotations

import pytest

from tests.durability.running import run_suite


def test_damaged_files_never_give_something_else() -> None:
    """1,500 copies with flipped bits, missing ends, zeros, garbage and pages out of place."""
    run_suite("damaged_files", "--seed", "q", "--count", 1_500)


@pytest.mark.long
def test_thousands_of_damaged_files_never_give_something_else() -> None:
    """The same, 7,500 times."""
    run_suite("damaged_files", "--seed", "c", "--count", 7_500)
