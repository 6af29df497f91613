"""How many examples a random test tries: a fifth of them in `make test`, all in `make check`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import settings

__all__ = ["examples"]

QUICK_SHARE: Final = 5


def examples(count: int) -> Callable[[Any], Any]:
    """Try so many examples; the mark has `make check` run the test once more, with all of them."""
    is_quick = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick"
    tried = settings(max_examples=count // QUICK_SHARE if is_quick else count, deadline=None)
    return lambda test: pytest.mark.shared(tried(test))
