"""Names of parametrised cases that are the same in every process."""

from __future__ import annotations

import re

__all__ = ["case_name"]


def case_name(value: object) -> str:
    """Return what a value looks like, without addresses: workers compare their lists of tests."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
