"""Eight processes want one file: one has it, seven are told so, and nothing is lost."""

from __future__ import annotations

import os

import pytest

from tests.durability.running import run_suite

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")


def test_a_file_goes_from_owner_to_owner() -> None:
    """40 owners for each kind of file, some of which are killed."""
    run_suite("many_processes", "--seed", "q", "--rounds", 40)


@pytest.mark.long
def test_a_file_goes_through_many_hands() -> None:
    """The same, 200 times."""
    run_suite("many_processes", "--seed", "c", "--rounds", 200)
