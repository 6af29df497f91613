"""The lab leaves nothing behind, even when a run of the tests was killed."""

from __future__ import annotations

import subprocess

from tests.end_to_end.lab import NAMESPACES, PREFIX, Lab, needs_namespaces, run

pytestmark = needs_namespaces()


def test_namespaces_are_removed_at_the_end(lab: Lab) -> None:
    """Also when the block ends with an error."""
    try:
        with Lab() as inner:
            name = inner.host("short-lived").name
            assert (NAMESPACES / name).exists()
            raise KeyError(name)
    except KeyError:
        assert not (NAMESPACES / name).exists()


def test_what_a_killed_run_left_is_removed_by_the_next(lab: Lab) -> None:
    """Only what belongs to processes that do not run any more."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, kept = f"{PREFIX}{ended.pid}-1-host", lab.host("in-use").name
    run("ip", "netns", "add", left)
    with Lab():
        assert not (NAMESPACES / left).exists()
        assert (NAMESPACES / kept).exists()
