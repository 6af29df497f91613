"""Ids of devices, apps and ops.

An id of a device or an app is 16 bytes inside the program and a lower-case UUID where people
or JSON see it. An OpId orders by Lamport number, then by the author's bytes (spec: document,
Identity and order), which is exactly how a tuple `(index, author)` compares.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import NamedTuple

from cytosol.errors import ActionError
from cytosol.model.json import brief

__all__ = ["OpId", "PeerId", "format_id", "parse_id"]

PeerId = bytes


class OpId(NamedTuple):
    """Name one op: `index` is its Lamport number, `author` the 16 bytes of its author's id."""

    index: int  # type: ignore[assignment]  # tuple.index() is never wanted here
    author: PeerId


@lru_cache(maxsize=4096)
def format_id(value: bytes) -> str:
    """Return 16 bytes as a lower-case UUID string."""
    return str(uuid.UUID(bytes=value))


def parse_id(text: str) -> bytes:
    """Return the 16 bytes of a UUID in its canonical form of 36 characters, any case.

    Raises ActionError for anything else.
    """
    try:
        return _parse(text)
    except (ValueError, AttributeError, TypeError):  # TypeError: also for what has no hash
        raise ActionError(f"{brief(text)} is not a UUID such as {uuid.NAMESPACE_DNS}") from None


@lru_cache(maxsize=4096)
def _parse(text: str) -> bytes:
    value = uuid.UUID(text)
    if str(value) != text.lower():
        raise ValueError(text)
    return value.bytes
