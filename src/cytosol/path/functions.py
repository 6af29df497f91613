"""The functions of RFC 9535, 2.4, and the tools that expressions are made of.

`NOTHING` stands for the RFC's special result Nothing: a query without a node, or arithmetic
on what is no number. `Run` counts the steps of one evaluation.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from cytosol import limits
from cytosol.errors import PathLimitError
from cytosol.model.json import JsonValue, equal_json
from cytosol.path.iregexp import Pattern, compile_pattern

__all__ = [
    "FUNCTIONS",
    "NOTHING",
    "Function",
    "Kind",
    "Run",
    "calculate",
    "equal",
    "less",
    "negate",
    "pattern_test",
]


class Kind(enum.Enum):
    """The types of RFC 9535, 2.4.1."""

    VALUE = enum.auto()
    LOGICAL = enum.auto()
    NODES = enum.auto()


class _Nothing(enum.Enum):
    NOTHING = enum.auto()


NOTHING: Final = _Nothing.NOTHING


class Run:
    """One evaluation: the root of the document, and the steps that are left.

    A document is a tree. Where containers may hold each other in cycles, as nodes of a graph
    do, `may_cycle` is true: `..` visits each of them once, and each equals only itself.
    """

    __slots__ = ("left", "root")

    may_cycle = False

    def __init__(self, root: JsonValue) -> None:
        self.root = root
        self.left = limits.PATH_STEPS_MAX

    def spend(self, steps: int) -> None:
        """Count steps; raises PathLimitError when none are left."""
        self.left -= steps
        if self.left < 0:
            raise PathLimitError(
                f"evaluating the path took more than {limits.PATH_STEPS_MAX} steps; "
                "narrow it, for example by fewer `..` and fewer filters inside filters"
            )


def _is_number(value: object) -> bool:
    return type(value) is int or type(value) is float


def equal(left: JsonValue, right: JsonValue, run: Run) -> bool:
    """Compare as `==` does (RFC 9535, 2.3.5.2.2): two Nothings are equal."""
    kind = type(left)
    if kind is dict and type(right) is dict:
        if run.may_cycle:
            return left is right
        run.spend(len(left))
        return len(left) == len(right) and all(
            key in right and equal(item, right[key], run) for key, item in left.items()
        )
    if kind is list and type(right) is list:
        run.spend(len(left))
        return len(left) == len(right) and all(
            equal(item, other, run) for item, other in zip(left, right, strict=True)
        )
    return equal_json(left, right)


def less(left: JsonValue, right: JsonValue) -> bool:
    """Compare as `<` does: numbers by value, strings by code points, nothing else."""
    if type(left) is str:
        return type(right) is str and left < right
    return _is_number(left) and _is_number(right) and bool(left < right)


def negate(value: JsonValue) -> JsonValue:
    """Return `-value`, or NOTHING for what is no number."""
    return calculate("-", 0, value)


def calculate(symbol: str, left: JsonValue, right: JsonValue) -> JsonValue:
    """Apply `+ - * / %` to two numbers; anything else gives NOTHING.

    So do a division by zero and a result that is not finite or, for an integer, out of the
    range of values. Integers stay integers while the result is one; `%` takes the sign of
    the left side, as in the seed.
    """
    if not (_is_number(left) and _is_number(right)):
        return NOTHING
    try:
        result = _calculate(symbol, left, right)
    except (ZeroDivisionError, OverflowError, ValueError):
        return NOTHING
    if type(result) is int:
        return result if limits.INTEGER_MIN <= result <= limits.INTEGER_MAX else NOTHING
    return result if math.isfinite(result) else NOTHING


def _calculate(symbol: str, left: Any, right: Any) -> int | float:
    whole = type(left) is int and type(right) is int
    result: int | float
    if symbol == "+":
        result = left + right
    elif symbol == "-":
        result = left - right
    elif symbol == "*":
        result = left * right
    elif symbol == "/":
        result = left // right if whole and left % right == 0 else left / right
    elif whole:
        result = abs(left) % abs(right)
        result = -result if left < 0 else result
    else:
        result = math.fmod(left, right)
    return result


# --- The functions ------------------------------------------------------------------------


def _length(run: Run, value: JsonValue) -> JsonValue:
    """Count characters, elements or members (RFC 9535, 2.4.4)."""
    return len(value) if type(value) in (str, list, dict) else NOTHING


def _count(run: Run, nodes: list[JsonValue]) -> JsonValue:
    """Count nodes (RFC 9535, 2.4.5)."""
    return len(nodes)


def _value(run: Run, nodes: list[JsonValue]) -> JsonValue:
    """Return the value of the only node (RFC 9535, 2.4.8)."""
    return nodes[0] if len(nodes) == 1 else NOTHING


def pattern_test(run: Run, value: JsonValue, pattern: Pattern | None, search: bool) -> bool:
    """Tell whether a string matches; None stands for what is no I-Regexp."""
    if pattern is None or type(value) is not str:
        return False
    return pattern.test(value, search, run.spend)


def _match(run: Run, value: JsonValue, pattern: JsonValue) -> bool:
    """Tell whether the whole string matches (RFC 9535, 2.4.6)."""
    return type(pattern) is str and pattern_test(
        run, value, compile_pattern(pattern, run.spend), False
    )


def _search(run: Run, value: JsonValue, pattern: JsonValue) -> bool:
    """Tell whether a part of the string matches (RFC 9535, 2.4.7)."""
    return type(pattern) is str and pattern_test(
        run, value, compile_pattern(pattern, run.spend), True
    )


class Function(NamedTuple):
    """A function: the types of its parameters and of its result, and what it does."""

    parameters: tuple[Kind, ...]
    result: Kind
    call: Callable[..., JsonValue]


FUNCTIONS: Final[dict[str, Function]] = {
    "length": Function((Kind.VALUE,), Kind.VALUE, _length),
    "count": Function((Kind.NODES,), Kind.VALUE, _count),
    "value": Function((Kind.NODES,), Kind.VALUE, _value),
    "match": Function((Kind.VALUE, Kind.VALUE), Kind.LOGICAL, _match),
    "search": Function((Kind.VALUE, Kind.VALUE), Kind.LOGICAL, _search),
}
