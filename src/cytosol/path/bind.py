"""Bind a parsed path to its variables: selectors that can run, expressions as closures.

Closures cost about half of walking a tree of expressions. The common shapes (a query of names
against a literal) get closures of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cytosol.errors import ActionError, MissingVariableError
from cytosol.model.json import JsonValue, brief, copy_json
from cytosol.path.evaluate import (
    BoundComputed,
    BoundFilter,
    BoundIndex,
    BoundName,
    BoundSegment,
    BoundSelector,
    BoundSlice,
    BoundWildcard,
    Location,
    Step,
    Test,
    Value,
    only_value,
    select_values,
)
from cytosol.path.functions import (
    FUNCTIONS,
    NOTHING,
    Kind,
    Run,
    calculate,
    equal,
    less,
    negate,
    pattern_test,
)
from cytosol.path.iregexp import compile_pattern
from cytosol.path.syntax import (
    AllOf,
    AnyOf,
    Call,
    Chain,
    Compare,
    Computed,
    Exists,
    Expression,
    Filter,
    Index,
    Literal,
    Name,
    Negate,
    Not,
    Segment,
    Selector,
    Slice,
    SubQuery,
    Variable,
    Wildcard,
)

__all__ = ["Binder", "literal_steps", "step_of"]

_PARTS_A_STEP: Final = 8  # parts of an expression that cost about one step


def _look_up(name: str, variables: object) -> JsonValue:
    """Return the variable `name` from an object, or by its number from an array.

    Raises MissingVariableError.
    """
    if isinstance(variables, Mapping):
        if name in variables:
            return variables[name]
    elif isinstance(variables, (list, tuple)):  # noqa: SIM102  # two questions, side by side
        if name[0] in "0123456789" and len(name) < 9 and int(name) < len(variables):
            return variables[int(name)]
    raise MissingVariableError(name)


def step_of(selector: Name | Index | Variable, variables: object) -> Step:
    """Return the key or index that a selector names.

    Raises MissingVariableError, or ActionError for a variable of any other type.
    """
    if isinstance(selector, Name):
        return selector.name
    if isinstance(selector, Index):
        return selector.index
    value = _look_up(selector.name, variables)
    if isinstance(value, str):
        return str.__str__(copy_json(value))  # refuses what is not Unicode text
    return _integer(value, selector, "a key or an index, so it must be a string or an integer")


def _integer(value: JsonValue, variable: Variable, place: str) -> int:
    """Return a plain int, whatever subclass the app may have made of it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    raise ActionError(f"the variable {{{variable.name}}} stands for {place}, not {brief(value)}")


class Binder:
    """Bind the parts of one path; collects what `overlap` needs to know on the way."""

    def __init__(self, variables: object) -> None:
        self.variables = variables
        self.absolutes: list[tuple[BoundSegment, ...]] = []
        self.parts = 0
        self.in_computed = False
        self._relatives: list[tuple[BoundSegment, ...]] = []
        self._nested = False

    def segments(self, segments: tuple[Segment, ...]) -> tuple[BoundSegment, ...]:
        """Bind segments."""
        bound = []
        for descendant, selectors in segments:  # loops, to spare the stack of nested filters
            inner = []
            for selector in selectors:
                inner.append(self.selector(selector))
            bound.append(BoundSegment(descendant, tuple(inner)))
        return tuple(bound)

    def selector(self, selector: Selector) -> BoundSelector:
        """Bind one selector."""
        self.parts += 1
        match selector:
            case Name() | Index() | Variable():
                step = step_of(selector, self.variables)
                return BoundName(step) if isinstance(step, str) else BoundIndex(step)
            case Wildcard():
                return BoundWildcard()
            case Slice():
                return BoundSlice(
                    self.bound(selector.start), self.bound(selector.stop), self.bound(selector.step)
                )
            case Filter():
                return self.filter(selector)
            case _:
                assert isinstance(selector, Computed)
                return self.computed(selector)

    def bound(self, part: int | Variable | None) -> int | None:
        """Bind a part of a slice."""
        if not isinstance(part, Variable):
            return part
        value = _look_up(part.name, self.variables)
        return _integer(value, part, "a bound of a slice, so it must be an integer")

    def filter(self, selector: Filter) -> BoundFilter:
        parts, relatives, in_computed = self.parts, self._relatives, self.in_computed
        self._relatives, self._nested, self.in_computed = [], False, False
        test = self.test(selector.test)
        found = None if self._nested else tuple(self._relatives)
        self._relatives, self._nested, self.in_computed = relatives, True, in_computed
        return BoundFilter(test, 1 + (self.parts - parts) // _PARTS_A_STEP, found)

    def computed(self, selector: Computed) -> BoundComputed:
        parts, in_computed = self.parts, self.in_computed
        self.in_computed = True
        value = self.value(selector.value)
        self.in_computed, self._nested = in_computed, True
        return BoundComputed(value, 1 + (self.parts - parts) // _PARTS_A_STEP)

    # --- Queries inside expressions -------------------------------------------------------

    def sub_query(self, query: SubQuery) -> tuple[BoundSegment, ...]:
        """Bind a query and note it for `overlap`."""
        segments = self.segments(query.segments)
        (self.absolutes if query.absolute else self._relatives).append(segments)
        return segments

    def nodes(self, query: SubQuery) -> Value:
        """Return a closure that gives the list of values of a query."""
        segments = self.sub_query(query)
        if query.absolute:
            return lambda node, run: select_values(segments, run.root, run)
        return lambda node, run: select_values(segments, node, run)

    def query_value(self, query: SubQuery) -> Value:
        """Return a closure that gives the value of a singular query, or NOTHING."""
        segments = self.sub_query(query)
        steps = literal_steps(segments)
        if steps is None:
            get: Value = lambda node, run: only_value(  # noqa: E731 - all branches are closures
                select_values(segments, node, run)
            )
        elif self.in_computed and "length" in steps:
            get = _walk_with_length(steps)
        elif len(steps) == 1 and isinstance(steps[0], str):
            get = _member(steps[0])
        else:
            get = _walk(steps)
        if query.absolute:
            return lambda node, run: get(run.root, run)
        return get

    # --- Values -----------------------------------------------------------------------------

    def value(self, expression: Expression) -> Value:
        """Return a closure that gives one value or NOTHING."""
        self.parts += 1
        match expression:
            case Literal() | Variable():
                constant = self.constant(expression)
                return lambda node, run: constant
            case SubQuery():
                return self.query_value(expression)
            case Negate():
                operand = self.value(expression.operand)
                return lambda node, run: negate(operand(node, run))
            case Chain():
                return self.chain(expression)
            case _:
                assert isinstance(expression, Call)  # the parser lets no test pass as a value
                return self.call(expression)

    def constant(self, expression: Literal | Variable) -> JsonValue:
        """Return a literal, or what a variable in its place holds (any JSON value)."""
        if isinstance(expression, Literal):
            return expression.value
        return copy_json(_look_up(expression.name, self.variables))

    def chain(self, expression: Chain) -> Value:
        first = self.value(expression.first)
        rest = [(symbol, self.value(operand)) for symbol, operand in expression.rest]

        def chained(node: JsonValue, run: Run) -> JsonValue:
            result = first(node, run)
            for symbol, operand in rest:
                result = calculate(symbol, result, operand(node, run))
            return result

        return chained

    def call(self, expression: Call) -> Value:
        function = FUNCTIONS[expression.name]
        if function.result is Kind.LOGICAL:
            pattern = expression.arguments[1]
            if isinstance(pattern, Literal | Variable):
                return self.literal_pattern(expression, self.constant(pattern))
        arguments = [
            self.nodes(argument)
            if kind is Kind.NODES and isinstance(argument, SubQuery)
            else self.value(argument)
            for kind, argument in zip(function.parameters, expression.arguments, strict=True)
        ]
        run_function = function.call
        if len(arguments) == 1:
            only = arguments[0]
            return lambda node, run: run_function(run, only(node, run))
        left, right = arguments
        return lambda node, run: run_function(run, left(node, run), right(node, run))

    def literal_pattern(self, expression: Call, pattern: JsonValue) -> Value:
        """Compile a pattern once for all nodes."""
        text = self.value(expression.arguments[0])
        search = expression.name == "search"
        compiled = compile_pattern(pattern, _spend_nothing) if isinstance(pattern, str) else None
        return lambda node, run: pattern_test(run, text(node, run), compiled, search)

    # --- Tests ------------------------------------------------------------------------------

    def test(self, expression: Expression) -> Test:
        """Return a closure that tells whether a test holds."""
        self.parts += 1
        match expression:
            case Compare():
                return self.compare(expression)
            case AllOf():
                return _all_of([self.test(test) for test in expression.tests])
            case AnyOf():
                return _any_of([self.test(test) for test in expression.tests])
            case Not():
                test = self.test(expression.test)
                return lambda node, run: not test(node, run)
            case Exists():
                return self.exists(expression.query)
            case _:
                assert isinstance(expression, Call)  # the parser lets no value pass as a test
                return self.call(expression)

    def exists(self, query: SubQuery) -> Test:
        if query.singular:
            get = self.query_value(query)
            return lambda node, run: get(node, run) is not NOTHING
        nodes = self.nodes(query)
        return lambda node, run: bool(nodes(node, run))

    def compare(self, expression: Compare) -> Test:
        left, right = self.value(expression.left), self.value(expression.right)
        match expression.operator:
            case "==":
                if isinstance(expression.right, Literal):
                    return _equals_literal(left, expression.right.value)
                return lambda node, run: equal(left(node, run), right(node, run), run)
            case "!=":
                return lambda node, run: not equal(left(node, run), right(node, run), run)
            case "<":
                return lambda node, run: less(left(node, run), right(node, run))
            case ">":
                return lambda node, run: less(right(node, run), left(node, run))
            case "<=":
                return _at_most(left, right)
            case _:
                return _at_most(right, left)


def literal_steps(segments: tuple[BoundSegment, ...]) -> Location | None:
    """Return the keys and indexes of segments that are one name or index each, else None."""
    steps: list[Step] = []
    for descendant, selectors in segments:
        if descendant or len(selectors) != 1:
            return None
        selector: Any = selectors[0]
        if type(selector) is BoundName:
            steps.append(selector.name)
        elif type(selector) is BoundIndex:
            steps.append(selector.index)
        else:
            return None
    return tuple(steps)


def _spend_nothing(steps: int) -> None:
    """Let a pattern that stands in the path be compiled before any run counts."""


def _member(name: str) -> Value:
    return lambda node, run: node.get(name, NOTHING) if type(node) is dict else NOTHING


def _walk(steps: Location) -> Value:
    def walk(node: JsonValue, run: Run) -> JsonValue:
        for step in steps:
            if type(node) is dict:
                node = node.get(step, NOTHING)
            elif type(node) is list and type(step) is int and -len(node) <= step < len(node):
                node = node[step]
            else:
                return NOTHING
        return node

    return walk


def _walk_with_length(steps: Location) -> Value:
    """Walk with Goessner's `.length`, which yields to a member of that name."""

    def walk(node: JsonValue, run: Run) -> JsonValue:
        for step in steps:
            kind = type(node)
            if kind is dict and step in node:
                node = node[step]
            elif step == "length" and (kind is dict or kind is list or kind is str):
                node = len(node)
            elif kind is list and type(step) is int and -len(node) <= step < len(node):
                node = node[step]
            else:
                return NOTHING
        return node

    return walk


def _all_of(tests: list[Test]) -> Test:
    def all_hold(node: JsonValue, run: Run) -> bool:
        for test in tests:  # noqa: SIM110 - a loop is twice as fast as all() with a generator
            if not test(node, run):
                return False
        return True

    return all_hold


def _any_of(tests: list[Test]) -> Test:
    def any_holds(node: JsonValue, run: Run) -> bool:
        for test in tests:  # noqa: SIM110 - a loop is twice as fast as any() with a generator
            if test(node, run):
                return True
        return False

    return any_holds


def _at_most(left: Value, right: Value) -> Test:
    def at_most(node: JsonValue, run: Run) -> bool:
        low, high = left(node, run), right(node, run)
        return less(low, high) or equal(low, high, run)

    return at_most


def _equals_literal(value: Value, literal: JsonValue) -> Test:
    """Compare with a scalar; only numbers need to be told from booleans."""
    if literal is None or type(literal) is bool:
        return lambda node, run: value(node, run) is literal
    if type(literal) is str:
        return lambda node, run: bool(value(node, run) == literal)

    def equals_number(node: JsonValue, run: Run) -> bool:
        found = value(node, run)
        return bool(found == literal) and type(found) is not bool

    return equals_number
