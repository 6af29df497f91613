"""Trims a device of a world at any moment, which a device does only when its history is full."""

from __future__ import annotations

from cytosol.crdt.retention import clean_cut
from cytosol.testing import Device

__all__ = ["trim"]


def trim(device: Device, count: int) -> None:
    """Drop up to `count` ops, whoever still needs them."""
    document = device.db._document
    with document.lock:
        count = clean_cut(document.replica, min(count, len(document.replica.log)))
        if count:
            document.history._trim_to(count)
