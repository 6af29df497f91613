"""Who writes: a graph on its own signs its assignments with a random name."""

from __future__ import annotations

import os

__all__ = ["new_author"]


def new_author() -> bytes:
    """Return 16 random bytes, in the form of a UUID of version 4: no two graphs share them."""
    number = int.from_bytes(os.urandom(16))
    number = number & ~(0xF << 76) | 4 << 76  # version
    number = number & ~(0x3 << 62) | 2 << 62  # variant
    return number.to_bytes(16)
