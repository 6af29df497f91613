"""The pytest fixture `cytosol_world`; put this into your `conftest.py`:

```python
pytest_plugins = ["cytosol.testing.pytest_plugin"]
```

`@pytest.mark.parametrize("cytosol_seed", range(20))` runs a test in 20 different worlds, and the
environment variable CYTOSOL_SEED chooses one for all tests that do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cytosol.testing.world import World

__all__ = ["cytosol_seed", "cytosol_world"]


@pytest.fixture
def cytosol_seed() -> int:
    """Return the seed of the world: 0, or what CYTOSOL_SEED says."""
    return int(os.environ.get("CYTOSOL_SEED", "0"))


@pytest.fixture
def cytosol_world(cytosol_seed: int) -> Iterator[World]:
    """Give the test an empty world, and check what must hold of it at the end.

    What it prints is shown by pytest for a test that failed.
    """
    with World(cytosol_seed) as world:
        yield world
        print(
            f"cytosol_world: seed {cytosol_seed}, {world.now:.1f} simulated seconds, "
            f"{world.clock.events} events, fingerprint {world.network.fingerprint:08x}"
        )
        world.check()
