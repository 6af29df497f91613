"""Query results set aside as bytes: one C pass to keep, one to hand out, nothing to share.

Bytes cannot be changed through a list that a callback was given, and hold no containers for
the garbage collector to walk. MessagePack carries every JSON value of the document exactly:
64-bit integers, floats apart from integers, booleans apart from both.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cytosol.model.json import JsonValue, equal_json

__all__ = ["copied", "freeze", "is_same", "thaw"]

freeze = msgspec.msgpack.Encoder().encode
"""Return the bytes of a JSON value. Equal bytes mean equal values, but not the reverse."""

_decode = msgspec.msgpack.Decoder().decode


def thaw(frozen: bytes) -> JsonValue:
    """Return a new value, which the caller may change, from what `freeze` returned."""
    return _decode(frozen)


def copied(value: Any) -> Any:
    """Return a deep copy of plain JSON, in which no container stands twice."""
    return thaw(freeze(value)) if type(value) is dict or type(value) is list else value


def is_same(left: JsonValue, right: JsonValue) -> bool:
    """Tell whether two JSON values are equal as `equal_json` does, mostly without Python code."""
    # Python's equality is wider (True == 1), so that what it tells apart is apart.
    if left != right:
        return False
    return freeze(left) == freeze(right) or equal_json(left, right)
