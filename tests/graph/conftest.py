"""What all tests of the graph share."""

from __future__ import annotations

import gc
import warnings

import pytest


@pytest.fixture(autouse=True)
def _only_warnings_of_its_own(request: pytest.FixtureRequest) -> None:
    """Collect what earlier tests left, where a test fails at any warning."""
    if request.node.get_closest_marker("filterwarnings"):
        with warnings.catch_warnings(action="ignore"):
            gc.collect()
