"""Fixtures of the end-to-end tests: a network, and devices in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import Lab
from tests.end_to_end.network import Network


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab whose namespaces are removed after the test."""
    with Lab() as lab:
        yield lab


@pytest.fixture
def network(lab: Lab, tmp_path: Path) -> Iterator[Network]:
    """Hosts on one switch, and the devices that run on them."""
    network = Network(lab, tmp_path)
    try:
        yield network
    finally:
        network.stop()
