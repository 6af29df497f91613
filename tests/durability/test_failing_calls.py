"""Whatever the disk refuses, and when: nothing acknowledged is lost, and nobody is lied to."""

from __future__ import annotations

import pytest

from tests.durability.running import needs_compiler, run_suite

pytestmark = needs_compiler


def test_any_call_may_fail() -> None:
    """A fifth of all cases: each workload, place, error and call, once or from then on."""
    run_suite("failing_calls", "--share", 5)


@pytest.mark.long
@pytest.mark.parametrize("part", range(1, 5))
def test_every_other_call_may_fail(part: int) -> None:
    """The other four fifths."""
    run_suite("failing_calls", "--share", 5, "--part", part)
