"""Whatever the disk refuses, and when: nothing acknowledged is lost, and nobody is lied to."""

from __future__ import annotations

import pytest

from tests.durability.running import needs_compiler, run_suite

pytestmark = needs_compiler


def test_any_call_may_fail() -> None:
    """A fifteenth of all cases: each workload, place, error and call, once or from then on."""
    run_suite("failing_calls", "--share", 15)


@pytest.mark.long
@pytest.mark.parametrize("part", range(3))
def test_every_call_may_fail(part: int) -> None:
    """All of them."""
    run_suite("failing_calls", "--share", 3, "--part", part)
