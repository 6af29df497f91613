"""Fixtures of the end-to-end tests: a network, and devices in it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import Lab, why_not_here
from tests.end_to_end.network import Network


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab whose namespaces are removed after the test."""
    reason = why_not_here()
    if reason is not None:
        pytest.skip(reason)
    with Lab() as lab:
        yield lab


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test failed, so that its devices are asked what they know."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture
def network(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Network]:
    """Hosts on one switch, and the devices that run on them."""
    network = Network(lab, tmp_path)
    try:
        yield network
        if request.node.stash.get(FAILED, False):
            print(network.tell_failure())
    finally:
        network.stop()
