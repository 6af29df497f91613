"""Sums and products as every peer computes them (docs/merging.md, What it does)."""

from __future__ import annotations

import math

from cytosol.limits import INTEGER_MAX, INTEGER_MIN
from cytosol.model.op import Kind

__all__ = ["calculate"]


def calculate(kind: Kind, old: int | float, payload: int | float) -> int | float | None:
    """Return the sum or product, or None if it is out of range.

    Two integers give an integer; otherwise both become IEEE doubles first.
    """
    if type(old) is int and type(payload) is int:
        exact = old + payload if kind is Kind.ADD else old * payload
        return exact if INTEGER_MIN <= exact <= INTEGER_MAX else None
    left, right = float(old), float(payload)
    result = left + right if kind is Kind.ADD else left * right
    return result if math.isfinite(result) else None
