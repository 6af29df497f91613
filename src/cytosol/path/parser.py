"""Parse a path: RFC 9535 in full, with variables, `[(expression)]`, arithmetic and `$` left out.

Whatever the RFC does not allow is a syntax error unless it uses one of these extensions
(spec: document, Paths):

* `{name}` in place of a name, an index, a slice bound or a literal of a filter;
* `[(expression)]`, where the expression gives a key or an index;
* `+ - * / %`, unary minus, and parentheses around arithmetic, in filters and in `[(...)]`;
* `$` left out before `.` or `[` at the start of the path.

An expression is first read as a flat list of operands and operators and then folded by
precedence, so that long chains need no recursion; only brackets and parentheses recurse, at
most PATH_NESTING_MAX deep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from cytosol import limits
from cytosol.errors import ActionError, PathSyntaxError
from cytosol.model.json import brief
from cytosol.path.functions import FUNCTIONS, Kind
from cytosol.path.lexer import Cursor
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
    is_singular,
)

__all__ = ["parse_segments"]

_COMPARISONS: Final = ("==", "!=", "<=", ">=", "<", ">")
_OPERATORS: Final = ("||", "&&", *_COMPARISONS, "+", "-", "*", "/", "%")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}


def parse_segments(text: str) -> tuple[tuple[Segment, ...], frozenset[str]]:
    """Return the segments of a path and the names of its variables.

    Raises PathSyntaxError that says what is wrong and where.
    """
    if not isinstance(text, str):
        raise ActionError(
            f"a path is a string such as '$.notes[0]', not a {type(text).__name__}: {brief(text)}"
        )
    if len(text) > limits.PATH_LENGTH_MAX:
        raise PathSyntaxError(
            f"the path is longer than {limits.PATH_LENGTH_MAX} characters",
            text[:60] + "...",
            limits.PATH_LENGTH_MAX,
        )
    parser = _Parser(text)
    return parser.path(), frozenset(parser.variables)


class _Operand(NamedTuple):
    """An operand of an expression, with what is needed to check that it is well-typed."""

    node: Expression
    kind: Kind
    position: int
    grouped: bool = False  # in parentheses that hold no arithmetic


class _Parser:
    """Read one path; the methods follow the grammar of RFC 9535, appendix A."""

    def __init__(self, text: str) -> None:
        self.cursor = Cursor(text)
        self.variables: set[str] = set()
        self.nesting = 0

    def path(self) -> tuple[Segment, ...]:
        cursor = self.cursor
        if not cursor.text:
            cursor.fail("the path is empty; write $ for the whole document")
        if not (cursor.take("$") or cursor.at(".") or cursor.at("[")):
            cursor.fail("a path starts with $ (or with . or [), but something else stands")
        segments, _ = self.segments()
        if cursor.position < len(cursor.text):
            cursor.fail("a segment such as .name or [0] must follow, but something else stands")
        return segments

    # --- Segments and selectors ---------------------------------------------------------

    def segments(self) -> tuple[tuple[Segment, ...], bool]:
        """Read segments as long as any come; tell also whether brackets held blank space."""
        cursor = self.cursor
        segments: list[Segment] = []
        blank = False
        while True:
            start = cursor.position
            cursor.skip_blank()
            if cursor.at("["):
                opened = cursor.position
                selectors = self.bracket()
                inner = cursor.text[opened + 1 : cursor.position - 1]
                blank = blank or inner != inner.strip(" \t\n\r")
                segments.append(Segment(False, selectors))
            elif cursor.take(".."):
                if cursor.at("["):
                    segments.append(Segment(True, self.bracket()))
                else:
                    segments.append(Segment(True, (self.shorthand(),)))
            elif cursor.take("."):
                segments.append(Segment(False, (self.shorthand(),)))
            else:
                cursor.position = start
                return tuple(segments), blank

    def shorthand(self) -> Selector:
        """Read what may follow a dot."""
        if self.cursor.take("*"):
            return Wildcard()
        variable = self.variable()
        if variable is not None:
            return variable
        name = self.cursor.take_name()
        if name is None:
            self.cursor.fail(
                "after a dot comes a plain name, {variable} or * (other names go in brackets and "
                "quotes: ['a-b']), but something else stands"
            )
        return Name(name)

    def variable(self) -> Variable | None:
        name = self.cursor.take_variable()
        if name is None:
            return None
        self.variables.add(name)
        return Variable(name)

    def enter(self) -> None:
        """Step over one bracket or parenthesis that opens."""
        self.nesting += 1
        if self.nesting > limits.PATH_NESTING_MAX:
            self.cursor.fail(
                f"brackets and parentheses are nested deeper than {limits.PATH_NESTING_MAX} levels"
            )
        self.cursor.position += 1
        self.cursor.skip_blank()

    def leave(self, closing: str, message: str) -> None:
        """Step over the bracket or parenthesis that closes."""
        self.nesting -= 1
        if not self.cursor.take(closing):
            self.cursor.fail(message)

    def bracket(self) -> tuple[Selector, ...]:
        """Read `[`, selectors with commas, `]`."""
        cursor = self.cursor
        self.enter()
        selectors = [self.selector()]
        cursor.skip_blank()
        while cursor.take(","):
            cursor.skip_blank()
            selectors.append(self.selector())
            cursor.skip_blank()
        self.leave("]", ", or ] must follow, but something else stands")
        return tuple(selectors)

    def selector(self) -> Selector:
        cursor = self.cursor
        if cursor.take("*"):
            return Wildcard()
        if cursor.take("?"):
            cursor.skip_blank()
            return Filter(self.test(self.expression()))
        if cursor.at("("):
            self.enter()
            value = self.value(self.expression())
            cursor.skip_blank()
            self.leave(")", ") must close the expression, but something else stands")
            return Computed(value)
        name = cursor.take_string()
        if name is not None:
            return Name(name)
        return self.index_or_slice()

    def index_or_slice(self) -> Selector:
        cursor = self.cursor
        start = self.bound()
        after_start = cursor.position
        cursor.skip_blank()
        if not cursor.take(":"):
            cursor.position = after_start
            if start is None:
                cursor.fail(
                    "in brackets comes a 'name', an index, a slice, {variable}, *, ?filter or "
                    "(expression), but something else stands"
                )
            return start if isinstance(start, Variable) else Index(start)
        cursor.skip_blank()
        stop = self.bound()
        cursor.skip_blank()
        step = None
        if cursor.take(":"):
            cursor.skip_blank()
            step = self.bound()
        return Slice(start, stop, step)

    def bound(self) -> int | Variable | None:
        variable = self.variable()
        return self.cursor.take_integer() if variable is None else variable

    # --- Expressions ----------------------------------------------------------------------

    def expression(self) -> _Operand:
        """Read operands and operators until something else comes, then fold them."""
        cursor = self.cursor
        operands = [self.operand()]
        operators: list[tuple[str, int]] = []
        while True:
            start = cursor.position
            cursor.skip_blank()
            for symbol in _OPERATORS:
                if cursor.at(symbol):
                    operators.append((symbol, cursor.position))
                    cursor.position += len(symbol)
                    break
            else:
                cursor.position = start
                break
            cursor.skip_blank()
            operands.append(self.operand())
        for symbols, combine in (
            (("*", "/", "%"), self.arithmetic),
            (("+", "-"), self.arithmetic),
            (_COMPARISONS, self.comparison),
            (("&&",), self.conjunction),
            (("||",), self.disjunction),
        ):
            if not operators:
                break
            operands, operators = _fold(operands, operators, symbols, combine)
        return operands[0]

    def operand(self) -> _Operand:
        cursor = self.cursor
        start = cursor.position
        if cursor.take("!"):
            cursor.skip_blank()
            if cursor.at("!"):
                cursor.fail("! must not stand twice (put the inner one in parentheses), as it does")
            return _Operand(Not(self.test(self.operand())), Kind.LOGICAL, start)
        number = cursor.take_number()
        if number is not None:
            return _Operand(Literal(number), Kind.VALUE, start)
        if cursor.at("-"):
            return self.negated()
        if cursor.at("("):
            self.enter()
            inner = self.expression()
            cursor.skip_blank()
            self.leave(")", ") or an operator must follow, but something else stands")
            grouped = not isinstance(inner.node, Chain | Negate)
            return inner._replace(position=start, grouped=grouped)
        if cursor.at("@") or cursor.at("$"):
            return self.sub_query()
        text = cursor.take_string()
        if text is not None:
            return _Operand(Literal(text), Kind.VALUE, start)
        variable = self.variable()
        if variable is not None:
            return _Operand(variable, Kind.VALUE, start)
        name = cursor.take_function()
        if name is not None:
            return self.call(name, start)
        word = cursor.take_word()
        if word not in _WORDS:
            cursor.fail(
                "a query from @ or $, a literal, {variable} or a function must follow, but "
                "something else stands",
                start,
            )
        return _Operand(Literal(_WORDS[word]), Kind.VALUE, start)

    def negated(self) -> _Operand:
        """Read minus signs and the operand that they negate."""
        cursor = self.cursor
        start = cursor.position
        odd = False
        number = None
        while number is None and cursor.take("-"):
            odd = not odd
            cursor.skip_blank()
            number = cursor.take_number()
        operand = self.operand() if number is None else _Operand(Literal(number), Kind.VALUE, start)
        node = Negate(self.value(operand, arithmetic=True))
        return _Operand(node if odd else Negate(node), Kind.VALUE, start)

    def sub_query(self) -> _Operand:
        """Read a query from `@` or `$`."""
        cursor = self.cursor
        start = cursor.position
        absolute = cursor.at("$")
        cursor.position += 1
        segments, blank = self.segments()
        # The RFC has no blank space inside the brackets of a singular query (2.3.5.1).
        singular = not blank and all(
            is_singular((segment,))
            or (
                not segment.descendant
                and len(segment.selectors) == 1
                and type(segment.selectors[0]) is Computed
            )
            for segment in segments
        )
        return _Operand(SubQuery(absolute, segments, singular), Kind.NODES, start)

    def call(self, name: str, start: int) -> _Operand:
        """Read the arguments of a function and check them (RFC 9535, 2.4.3)."""
        cursor = self.cursor
        function = FUNCTIONS.get(name)
        if function is None:
            known = ", ".join(sorted(FUNCTIONS))
            cursor.fail(f"the functions are {known}; {name}() is none of them", start)
        cursor.position -= 1  # `enter` steps over the parenthesis
        self.enter()
        arguments: list[_Operand] = []
        if not cursor.at(")"):
            arguments.append(self.expression())
            cursor.skip_blank()
            while cursor.take(","):
                cursor.skip_blank()
                arguments.append(self.expression())
                cursor.skip_blank()
        self.leave(")", ", or ) must follow, but something else stands")
        if len(arguments) != len(function.parameters):
            cursor.fail(
                f"{name}() takes {len(function.parameters)} argument(s), not {len(arguments)} as",
                start,
            )
        nodes = tuple(
            self.nodes(argument) if kind is Kind.NODES else self.value(argument)
            for kind, argument in zip(function.parameters, arguments, strict=True)
        )
        return _Operand(Call(name, nodes), function.result, start)

    # --- Well-typedness ---------------------------------------------------------------------

    def value(self, operand: _Operand, *, arithmetic: bool = False) -> Expression:
        """Take an operand as one value, or fail."""
        node = operand.node
        if operand.kind is Kind.LOGICAL:
            self.cursor.fail("a value is needed, but a test stands", operand.position)
        if isinstance(node, SubQuery) and not node.singular:
            self.cursor.fail(
                "a value is needed, but a query that may select several nodes (for value() or "
                "count()) stands",
                operand.position,
            )
        if operand.grouped and not arithmetic:
            self.cursor.fail(
                "parentheses go around tests and arithmetic only, but a plain value stands in them",
                operand.position,
            )
        return node

    def nodes(self, operand: _Operand) -> Expression:
        """Take an operand as a list of nodes, or fail."""
        if operand.kind is not Kind.NODES or operand.grouped:
            self.cursor.fail(
                "the function takes a query, but something else stands", operand.position
            )
        return operand.node

    def test(self, operand: _Operand) -> Expression:
        """Take an operand as a test, or fail."""
        if operand.kind is Kind.VALUE:
            self.cursor.fail(
                "a test is needed, but a value alone (compare it with another) stands",
                operand.position,
            )
        if isinstance(operand.node, SubQuery):
            return Exists(operand.node)
        return operand.node

    def arithmetic(self, run: list[_Operand], symbols: list[tuple[str, int]]) -> _Operand:
        values = [self.value(operand, arithmetic=True) for operand in run]
        rest = tuple(
            (symbol, value) for (symbol, _), value in zip(symbols, values[1:], strict=True)
        )
        return _Operand(Chain(values[0], rest), Kind.VALUE, run[0].position)

    def comparison(self, run: list[_Operand], symbols: list[tuple[str, int]]) -> _Operand:
        if len(run) > 2:
            self.cursor.fail(
                "comparisons do not chain (join them with &&), but another one stands",
                symbols[1][1],
            )
        left, right = self.value(run[0]), self.value(run[1])
        return _Operand(Compare(symbols[0][0], left, right), Kind.LOGICAL, run[0].position)

    def conjunction(self, run: list[_Operand], _: list[tuple[str, int]]) -> _Operand:
        tests = tuple(self.test(operand) for operand in run)
        return _Operand(AllOf(tests), Kind.LOGICAL, run[0].position)

    def disjunction(self, run: list[_Operand], _: list[tuple[str, int]]) -> _Operand:
        tests = tuple(self.test(operand) for operand in run)
        return _Operand(AnyOf(tests), Kind.LOGICAL, run[0].position)


def _fold(
    operands: list[_Operand],
    operators: list[tuple[str, int]],
    symbols: tuple[str, ...],
    combine: Callable[[list[_Operand], list[tuple[str, int]]], _Operand],
) -> tuple[list[_Operand], list[tuple[str, int]]]:
    """Combine each run of operands that only `symbols` join."""
    kept: list[_Operand] = []
    between: list[tuple[str, int]] = []
    run, joined = [operands[0]], list[tuple[str, int]]()
    for operator, operand in zip(operators, operands[1:], strict=True):
        if operator[0] in symbols:
            run.append(operand)
            joined.append(operator)
            continue
        kept.append(combine(run, joined) if joined else run[0])
        between.append(operator)
        run, joined = [operand], []
    kept.append(combine(run, joined) if joined else run[0])
    return kept, between
