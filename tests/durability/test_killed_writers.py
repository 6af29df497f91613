"""A writing process dies at any moment, again and again, and what it acknowledged stays."""

from __future__ import annotations

import os

import pytest

from tests.durability.running import run_suite

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the writers are forked")


def test_killed_writers_lose_nothing() -> None:
    """100 kills on files of every kind; `cytosol check` looks at some of them."""
    run_suite("killed_writers", "--seed", "q", "--count", 100)


@pytest.mark.long
def test_five_hundred_killed_writers_lose_nothing() -> None:
    """The same, 500 times."""
    run_suite("killed_writers", "--seed", "c", "--count", 500)
