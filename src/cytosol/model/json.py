"""JSON values: what is one, when two are equal, and their canonical bytes.

Integers from -2^63 to 2^64-1, finite floats, strings without lone surrogates, object keys
compared code point by code point, depth at most 128 (spec: document, Values).
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import msgspec

from cytosol.errors import ActionError
from cytosol.limits import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN

__all__ = ["JsonValue", "brief", "canonical_bytes", "copy_json", "count_places", "equal_json"]

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, list of these, or dict from str to these."""

BRIEF_MAX = 80

_encoder = msgspec.json.Encoder(order="deterministic")


def copy_json(value: JsonValue, depth: int = 1) -> JsonValue:
    """Return a deep copy of `value` in plain types, checking every part on the way.

    `depth` is the depth of the container that will hold the value. Raises ActionError that
    says what is not JSON, and where.
    """
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _checked_text(value)
    if kind is int:
        if INTEGER_MIN <= value <= INTEGER_MAX:
            return value
        raise ActionError(f"{brief(value)} is outside -2^63 .. 2^64-1")
    if kind is float:
        if math.isfinite(value):
            return value
        raise ActionError(f"{value} is not JSON: numbers must be finite")
    if kind is dict:
        if depth >= DEPTH_MAX:
            raise ActionError(f"the value is nested deeper than {DEPTH_MAX} levels")
        copied = {}
        for key, item in value.items():
            if type(key) is not str:
                if not isinstance(key, str):
                    raise ActionError(f"object keys must be strings, not {brief(key)}")
                key = str.__str__(key)
            if not key.isascii():
                _checked_text(key)
            copied[key] = copy_json(item, depth + 1)
        return copied
    if kind is list or kind is tuple:
        if depth >= DEPTH_MAX:
            raise ActionError(f"the value is nested deeper than {DEPTH_MAX} levels")
        return [copy_json(item, depth + 1) for item in value]
    return _copy_subclass(value, depth)


def _copy_subclass(value: JsonValue, depth: int) -> JsonValue:
    """Accept subclasses of the JSON types (an IntEnum, an OrderedDict) as plain values."""
    if isinstance(value, str):
        return copy_json(str.__str__(value), depth)
    if isinstance(value, int):
        return copy_json(int.__int__(value), depth)
    if isinstance(value, float):
        return copy_json(float.__float__(value), depth)
    if isinstance(value, dict):
        return copy_json(dict(value), depth)
    if isinstance(value, (list, tuple)):
        return copy_json(list(value), depth)
    raise ActionError(
        f"a value of type {type(value).__name__} is not JSON; "
        "use None, bool, int, float, str, list or dict"
    )


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ActionError(
            "a string with a lone surrogate is not Unicode text and cannot be stored"
        ) from None
    return text


def brief(value: object) -> str:
    """Return any object as an error names it: on one short line, whatever its `repr` does."""
    try:
        if isinstance(value, int) and value.bit_length() > 200:
            return f"an integer of {value.bit_length()} bits"
        text = repr(value[:BRIEF_MAX] if isinstance(value, str) else value)
        text = " ".join(text.split())
    except Exception:  # its own, or Python's for an integer of very many digits
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= BRIEF_MAX else text[: BRIEF_MAX - 3] + "..."


def equal_json(left: JsonValue, right: JsonValue) -> bool:
    """Tell whether two JSON values are equal: numbers by value, booleans apart, no key order."""
    if left is right:
        return True
    kind, other = type(left), type(right)
    if kind is bool or other is bool:
        return False  # `is` has found the equal ones
    if kind is dict:
        if other is not dict or len(left) != len(right):
            return False
        return all(key in right and equal_json(item, right[key]) for key, item in left.items())
    if kind is list:
        if other is not list or len(left) != len(right):
            return False
        return all(map(equal_json, left, right))
    return bool(left == right)


def canonical_bytes(value: JsonValue) -> bytes:
    """Return the one JSON text of `value`: keys sorted, no white space, UTF-8.

    Numbers that are equal have equal bytes only if they are of one type (1 and 1.0 differ).
    """
    return _encoder.encode(value)


def count_places(value: JsonValue) -> int:
    """Return how many places a value takes: one for itself and one for each value inside it."""
    kind = type(value)
    if kind is dict:
        return 1 + sum(map(count_places, value.values()))
    if kind is list:
        return 1 + sum(map(count_places, value))
    return 1
