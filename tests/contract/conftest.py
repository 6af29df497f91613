"""Folders in memory: what is shown here does not depend on how long a disk takes to flush."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.shim import scratch


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A new empty folder."""
    with scratch() as folder:
        yield folder
