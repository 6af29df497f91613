"""The parts of a parsed path: segments, selectors and expressions, as plain frozen values.

Nothing here is evaluated; `evaluate` turns these into closures once the variables are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from cytosol.model.json import JsonValue

__all__ = [
    "AllOf",
    "AnyOf",
    "Call",
    "Chain",
    "Compare",
    "Computed",
    "Exists",
    "Expression",
    "Filter",
    "Index",
    "Literal",
    "Name",
    "Negate",
    "Not",
    "Segment",
    "Selector",
    "Slice",
    "SubQuery",
    "Variable",
    "Wildcard",
    "is_singular",
    "only_names",
]


@dataclass(frozen=True, slots=True)
class Name:
    """Select the member `name` of an object (RFC 9535, 2.3.1)."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """Select one element of an array, from the end when negative (RFC 9535, 2.3.3)."""

    index: int


@dataclass(frozen=True, slots=True)
class Variable:
    """Stand for the value of the variable `name`: a key, an index, a bound or a literal."""

    name: str


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Select every child (RFC 9535, 2.3.2)."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Select a range of an array (RFC 9535, 2.3.4); None stands for a part left out."""

    start: int | Variable | None
    stop: int | Variable | None
    step: int | Variable | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Select the children for which `test` holds (RFC 9535, 2.3.5)."""

    test: Expression


@dataclass(frozen=True, slots=True)
class Computed:
    """Select the child whose key or index `value` gives: `[(@.length-1)]`."""

    value: Expression


Selector: TypeAlias = Name | Index | Variable | Wildcard | Slice | Filter | Computed


class Segment(NamedTuple):
    """Apply `selectors` to each node, or with `descendant` also to everything below it."""

    descendant: bool
    selectors: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, true, false or null."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class SubQuery:
    """A query inside an expression, from `$` when absolute, else from `@`.

    `singular` says that it selects one node at most, so that it may stand for a value.
    """

    absolute: bool
    segments: tuple[Segment, ...]
    singular: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """Arithmetic of one precedence, applied from left to right."""

    first: Expression
    rest: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Negate:
    """The unary minus."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Compare:
    """One of `== != < <= > >=` (RFC 9535, 2.3.5.2.2)."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class AllOf:
    """`a && b && ...`, flat so that long chains need no recursion."""

    tests: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`a || b || ...`, flat so that long chains need no recursion."""

    tests: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`!test`."""

    test: Expression


@dataclass(frozen=True, slots=True)
class Exists:
    """A query as a test: does it select anything (RFC 9535, 2.3.5.2.1)."""

    query: SubQuery


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments, already checked to be well-typed (RFC 9535, 2.4.3)."""

    name: str
    arguments: tuple[Expression, ...]


Expression: TypeAlias = (
    Literal | Variable | SubQuery | Chain | Negate | Compare | AllOf | AnyOf | Not | Exists | Call
)


def only_names(segment: Segment) -> bool:
    """Tell whether a segment holds nothing but names, indexes and variables."""
    if segment.descendant:
        return False
    return all(type(selector) in (Name, Index, Variable) for selector in segment.selectors)


def is_singular(segments: tuple[Segment, ...]) -> bool:
    """Tell whether segments are one name or one index each (RFC 9535, 2.3.5.1)."""
    return all(len(segment.selectors) == 1 and only_names(segment) for segment in segments)
