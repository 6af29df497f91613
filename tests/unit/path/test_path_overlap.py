"""Which changes can touch which queries."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.path import parse_path


@pytest.mark.parametrize(
    ("path", "location", "expected"),
    [
        # names
        ("$", ("a",), True),
        ("$.a.b", (), True),
        ("$.a.b", ("a",), True),
        ("$.a.b", ("a", "b"), True),
        ("$.a.b", ("a", "b", "c", 0), True),
        ("$.a.b", ("a", "c"), False),
        ("$.a.b", ("b",), False),
        ("$.a.b", (0,), False),
        # indexes: the last step may be an insertion or a deletion, which moves what follows
        ("$.a[2]", ("a", 2), True),
        ("$.a[2]", ("a", 1), True),
        ("$.a[2]", ("a", 3), False),
        ("$.a[2]", ("a", 1, "x"), False),
        ("$.a[2]", ("a", 2, "x"), True),
        ("$.a[2]", ("a", "x"), False),
        ("$.a[2]", ("a", -1), True),
        ("$.a[2].b", ("a", -1, "b"), True),
        ("$.a[-1]", ("a", 0), True),
        ("$.a[-1]", ("a", 0, "x"), True),
        ("$.a[-1].y", ("a", 0, "x"), False),
        ("$.a[5].b", ("a", 2), True),
        # slices
        ("$.a[1:3]", ("a", 0), True),
        ("$.a[1:3]", ("a", 2), True),
        ("$.a[1:3]", ("a", 3), False),
        ("$.a[1:3]", ("a", 3, "x"), False),
        ("$.a[1:3]", ("a", 0, "x"), False),
        ("$.a[1:3]", ("a", 2, "x"), True),
        ("$.a[::2]", ("a", 1, "x"), False),
        ("$.a[::2]", ("a", 2, "x"), True),
        ("$.a[::2]", ("a", 1), True),
        ("$.a[::0]", ("a", 1), False),
        ("$.a[1:]", ("a", "x"), False),
        ("$.a[-2:]", ("a", 0), True),
        ("$.a[-2:].x", ("a", 0, "y"), False),
        ("$.a[:-2].x", ("a", 0, "x"), True),
        ("$.a[::-1]", ("a", 7, "x"), True),
        ("$.a[1:3]", ("a", -1, "x"), True),
        # wildcards, unions, descendants
        ("$.a[*].t", ("a", 7, "t"), True),
        ("$.a[*].t", ("a", 7, "u"), False),
        ("$.a[*].t", ("a", 7), True),
        ("$.a['x', 0]", ("a", "x"), True),
        ("$.a['x', 0]", ("a", "y"), False),
        ("$..t", ("a", 7, "u"), True),  # a t may lie below
        ("$..t", ("a", 7), True),
        ("$..t", ("a", "t", "u"), True),
        ("$.a..t", ("b", "t"), False),
        # filters look at one child at a time
        ("$.a[?@.done].t", ("a", 3, "t"), True),
        ("$.a[?@.done].t", ("a", 3, "done"), True),
        ("$.a[?@.done].t", ("a", 3, "note"), False),
        ("$.a[?@.done].t", ("a", 3), True),
        ("$.a[?@.done].t", ("b", 3, "done"), False),
        ("$.a[?1 == 1].t", ("a", 3, "u"), False),
        ("$.a[?@ == 1].t", ("a", 3, "u"), True),
        ("$.a[?count(@.x.*) > 1].t", ("a", 3, "u"), False),
        ("$.a[?count(@.x.*) > 1].t", ("a", 3, "x", 0), True),
        ("$.a[?@[?@.x]].t", ("a", 3, "u"), True),
        ("$.a[?@[(@.k)]].t", ("a", 3, "u"), True),
        # queries from the root reach everywhere
        ("$.a[?@.done == $.flag].t", ("flag",), True),
        ("$.a[?@.done == $.flag].t", ("other",), False),
        ("$.a[?@[?@ == $.flag]].t", ("flag",), True),
        ("$.a[($.i)]", ("i",), True),
        # expressions
        ("$.a[(@.length-1)]", ("a", 0), True),
        ("$.a[(@.length-1)].x", ("a", 0, "y"), True),
        ("$.a[(@.length-1)]", ("b",), False),
    ],
)  # fmt: skip
def test_a_change_touches_a_query_or_not(path: str, location: Any, expected: bool) -> None:
    """True when the list of values may change, also when that is not sure."""
    assert expected is parse_path(path).bind().can_be_touched_by(location)


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("$", ()),
        ("$.a.b", ("a", "b")),
        ("$.a[0].b", ("a", 0, "b")),
        ("$.a[-1].b", ("a",)),
        ("$.a[*].b", ("a",)),
        ("$.a['b', 'c']", ("a",)),
        ("$.a..b", ("a",)),
        ("$..a", ()),
        ("$.a[?@.x]", ("a",)),
        ("$.a[?@.x == $.limit]", ()),
    ],
)
def test_the_prefix_is_the_longest_run_of_plain_steps(path: str, prefix: tuple[Any, ...]) -> None:
    """Where every change that concerns the query must lie, so nothing if it looks at `$`."""
    assert prefix == parse_path(path).bind().prefix


def test_variables_make_plain_steps() -> None:
    """The prefix is known once the variables are."""
    assert ("a", 3) == parse_path("$.{x}[{y}].*").bind({"x": "a", "y": 3}).prefix
