"""What a field of a node can hold: a primitive, or a pointer to another node.

Nodes cannot contain other nodes (seed: Mytosis, Introduction). A relationship is a `Pointer`,
`{"edge": key}` in JSON; nothing else that is an object or a list is a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cytosol.errors import GraphError
from cytosol.limits import INTEGER_MAX, INTEGER_MIN, NODE_KEY_BYTES_MAX

__all__ = [
    "DELETED",
    "Deleted",
    "Pointer",
    "Target",
    "Value",
    "checked_field",
    "checked_key",
    "checked_value",
    "value_to_json",
]

Value: TypeAlias = Any
"""None, bool, int, float, str or Pointer."""


class Deleted:
    """The type of DELETED, which stands where a field was deleted; copies are the same object."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DELETED"

    def __reduce__(self) -> str:
        return "DELETED"


DELETED: Final = Deleted()


class Target:
    """What a pointer can be made of: a node, which has a key."""

    __slots__ = ()
    key: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """Point to the node `key`, whether it exists or not."""

    key: str

    def to_json(self) -> dict[str, str]:
        """Return `{"edge": key}`."""
        return {"edge": self.key}


def checked_key(key: object) -> str:
    """Return `key` if a node can have it: a non-empty text of at most 64 KiB.

    Raises GraphError otherwise. Every Unicode text is a key, `__proto__` as well as `~/.*`.
    """
    if type(key) is str and key and key.isascii() and len(key) <= NODE_KEY_BYTES_MAX:
        return key
    text = _checked_text(key, "the key of a node")
    if not text:
        raise GraphError("the key of a node must not be empty; give the node a name")
    return text


def checked_field(field: object) -> str:
    """Return `field` if a field can have this name: a text of at most 64 KiB; else GraphError."""
    if type(field) is str and field.isascii() and len(field) <= NODE_KEY_BYTES_MAX:
        return field
    return _checked_text(field, "the name of a field")


def _checked_text(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise GraphError(f"{what} must be a str, not {type(text).__name__}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise GraphError(f"{what} must be Unicode text; it has a lone surrogate") from None
    if size > NODE_KEY_BYTES_MAX:
        raise GraphError(
            f"{what} must not be longer than {NODE_KEY_BYTES_MAX} bytes; this one has {size}"
        )
    return str.__str__(text)


def checked_value(value: object, where: str) -> Value:
    """Return what a field stores for `value`; `where` names the field in errors.

    A node, a Pointer or `{"edge": key}` (exactly that) becomes a Pointer; subclasses of the
    primitive types become plain. Raises GraphError for anything else.
    """
    kind = type(value)
    if value is None or kind is bool or kind is Pointer:
        return value
    if kind is str:
        return value if value.isascii() else _checked_string(value, where)  # type: ignore[attr-defined]  # mypy does not narrow by `kind`
    if kind is int:
        return _checked_integer(value, where)  # type: ignore[arg-type]  # as above
    if kind is float:
        if math.isfinite(value):  # type: ignore[arg-type]  # as above
            return value
        raise GraphError(f"{where} cannot be {value}: numbers in a node must be finite")
    if isinstance(value, Target):
        return Pointer(value.key)
    return _checked_other(value, where)


def _checked_string(value: Any, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise GraphError(f"{where} cannot be a text with a lone surrogate") from None
    return str.__str__(value)


def _checked_integer(value: int, where: str) -> int:
    if INTEGER_MIN <= value <= INTEGER_MAX:
        return value
    raise GraphError(f"{where} cannot be an integer outside -2^63 .. 2^64-1; write it as a text")


def _checked_other(value: object, where: str) -> Value:
    if isinstance(value, dict) and len(value) == 1 and "edge" in value:
        try:
            return Pointer(checked_key(value["edge"]))
        except GraphError as error:
            raise GraphError(f'{where} is not a pointer {{"edge": key}}: {error}') from None
    if isinstance(value, Pointer):
        return Pointer(checked_key(value.key))
    if isinstance(value, str):
        return _checked_string(value, where)
    if isinstance(value, int):
        return _checked_integer(int.__int__(value), where)
    if isinstance(value, float):
        return checked_value(float.__float__(value), where)
    kind = type(value).__name__
    if isinstance(value, Mapping | list | tuple):
        raise GraphError(
            f"{where} cannot be a {kind}: nodes cannot contain other nodes or lists; "
            'write a pointer (another node, or {"edge": key}), or one field for each part'
        )
    raise GraphError(
        f"{where} cannot be of the type {kind}: a value is a text, a number, True, False, None "
        "or a pointer"
    )


def value_to_json(value: Value) -> Any:
    """Return the JSON of a stored value: itself, or `{"edge": key}` for a pointer."""
    return {"edge": value.key} if type(value) is Pointer else value
