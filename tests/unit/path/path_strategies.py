"""Random documents and random queries for the tests of paths."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KEYS = ["a", "b", "c", "length", "ü", "x y", "0", "k'q"]
WORDS = ["", "a", "ab", "b", "aab", "ü", "1", "A"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 4)
    | st.sampled_from([0.5, 1.0, -2.0, 1e3, 2**53])
    | st.sampled_from(WORDS)
)


def sort_keys(value: Any) -> Any:
    """Return `value` with the keys of all objects sorted: the order in which we walk them."""
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [sort_keys(item) for item in value]
    return value


values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=14,
)
documents = st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=4).map(sort_keys)

blanks = st.sampled_from(["", "", "", "", " ", "\t", "\n ", "\r"])


def quoted(name: str, mark: str) -> str:
    """Write a name as a string literal."""
    return mark + name.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


names = st.builds(quoted, st.sampled_from(KEYS), st.sampled_from("'\""))
indexes = st.integers(-4, 4).map(str)
bounds = st.just("") | indexes


@st.composite
def slices(draw: st.DrawFn) -> str:
    """Write a slice with any parts left out."""
    text = draw(bounds) + draw(blanks) + ":"
    stop = draw(bounds)
    if stop:
        text += draw(blanks) + stop
    if draw(st.booleans()):
        text += draw(blanks) + ":"
        step = draw(bounds)
        if step:
            text += draw(blanks) + step
    # Blank space at the start of a selector belongs to the bracket around it.
    return text.strip(" \t\n\r")


@st.composite
def selectors(draw: st.DrawFn, depth: int) -> str:
    """Write one selector as it stands in brackets."""
    kind = draw(st.integers(0, 6 if depth else 4))
    if kind <= 1:
        return draw(names)
    if kind == 2:
        return draw(indexes)
    if kind == 3:
        return "*"
    if kind == 4:
        return draw(slices())
    return "?" + draw(blanks) + draw(tests(depth - 1))


@st.composite
def segments(draw: st.DrawFn, depth: int) -> str:
    """Write one segment."""
    kind = draw(st.integers(0, 5))
    dots = draw(st.sampled_from([".", ".", ".", ".."]))
    if kind <= 1:
        return dots + draw(st.sampled_from(["a", "b", "c", "length", "ü"]))
    if kind == 2:
        return dots + "*"
    inner = draw(st.lists(selectors(depth), min_size=1, max_size=2))
    blank = draw(blanks)
    # The oracle stumbles over `,:` without a blank.
    union = "".join(f"{blank}, {part}" if part[0] == ":" else f"{blank},{part}" for part in inner)
    return ("" if dots == "." else dots) + "[" + blank + union.lstrip(", \t\n\r") + "]"


@st.composite
def queries(draw: st.DrawFn, depth: int = 2, root: str = "$", least: int = 0) -> str:
    """Write a query of RFC 9535 with at least `least` segments."""
    parts = draw(st.lists(segments(depth), min_size=least, max_size=3))
    return root + "".join(draw(blanks) + part for part in parts)


@st.composite
def singular_queries(draw: st.DrawFn) -> str:
    """Write a query that selects one node at most."""
    parts = draw(
        st.lists(
            st.sampled_from([".a", ".b", ".length", "[0]", "[-1]", "[1]", "['a']", '["x y"]']),
            max_size=2,
        )
    )
    return draw(st.sampled_from("@@@$")) + "".join(draw(blanks) + part for part in parts)


literals = st.sampled_from(
    ["1", "0", "-1", "2", "1.0", "0.5", "1e3", "-0", "true", "false", "null", "'a'", '"ab"', "''"]
)
patterns = st.sampled_from(
    ["'a.*'", "'[ab]+'", "'(a|aa)+b'", "'.'", "'\\\\p{L}*'", "'a{2}b?'", "'a**'"]
)


@st.composite
def comparables(draw: st.DrawFn, depth: int) -> str:
    """Write one side of a comparison."""
    kind = draw(st.integers(0, 7))
    if kind <= 2:
        return draw(literals)
    if kind <= 5:
        return draw(singular_queries())
    if kind == 6:
        return f"length({draw(blanks)}{draw(singular_queries())})"
    function = draw(st.sampled_from(["count", "value"]))
    # The oracle counts the elements of `@` instead of the one node.
    inner = draw(queries(max(depth - 1, 0), draw(st.sampled_from("@@$")), 1))
    return f"{function}({inner}{draw(blanks)})"


@st.composite
def tests(draw: st.DrawFn, depth: int) -> str:
    """Write a logical expression."""
    kind = draw(st.integers(0, 9))
    blank = draw(blanks)
    if kind <= 4 or depth < 0:
        operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
        return draw(comparables(depth)) + blank + operator + draw(blanks) + draw(comparables(depth))
    if kind == 5:
        return draw(st.sampled_from(["", "", "!"])) + draw(
            queries(max(depth - 1, 0), draw(st.sampled_from("@@@$")))
        )
    if kind == 6:
        function = draw(st.sampled_from(["match", "search"]))
        return f"{function}({draw(singular_queries())},{blank}{draw(patterns)})"
    if kind == 7:
        return f"{draw(st.sampled_from(['', '!']))}({blank}{draw(tests(depth - 1))}{blank})"
    sign = draw(st.sampled_from(["&&", "||"]))
    return f"{draw(tests(depth - 1))}{blank}{sign}{draw(blanks)}{draw(tests(depth - 1))}"
