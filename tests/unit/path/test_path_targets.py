"""The places that an action means: trailing names and indexes need not exist."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.path import Target, parse_path

DOCUMENT: dict[str, Any] = {
    "list": [{"done": False, "tags": ["x"]}, {"done": True}, 5],
    "map": {"a": {"n": 1}, "b": {"n": 2}},
    "text": "abc",
}


def places(path: str, variables: Any = ()) -> list[tuple[Any, int | None]]:
    """Return location and missing step of each target, checking `exists`."""
    targets = parse_path(path).bind(variables).targets(DOCUMENT)
    for target in targets:
        assert target.exists is (target.missing is None)
        assert isinstance(target, Target)
    return [(target.location, target.missing) for target in targets]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", [((), None)]),
        ("$.map.a.n", [(("map", "a", "n"), None)]),
        ("$.map.c", [(("map", "c"), 1)]),
        ("$.map.c.d", [(("map", "c", "d"), 1)]),
        ("$.list[1]", [(("list", 1), None)]),
        ("$.list[-1]", [(("list", 2), None)]),
        ("$.list[3]", [(("list", 3), 1)]),
        ("$.list[-3].done", [(("list", 0, "done"), None)]),
        ("$.list[-4]", [(("list", -4), 1)]),
        ("$.list[-4].done", [(("list", -4, "done"), 1)]),
        ("$.list.done", [(("list", "done"), 1)]),
        ("$.map[0]", [(("map", 0), 1)]),
        ("$.map[-1]", [(("map", -1), 1)]),
        ("$.text[0]", [(("text", 0), 1)]),
        ("$.text.x.y", [(("text", "x", "y"), 1)]),
        ("$[0]", [((0,), 0)]),
    ],
)  # fmt: skip
def test_a_singular_path_has_one_target(path: str, expected: list[Any]) -> None:
    """Negative indexes are counted from the start where their array is long enough."""
    assert expected == places(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.map.*", [(("map", "a"), None), (("map", "b"), None)]),
        ("$.map.*.n", [(("map", "a", "n"), None), (("map", "b", "n"), None)]),
        ("$.map.*.new", [(("map", "a", "new"), 2), (("map", "b", "new"), 2)]),
        ("$.map.*.x.y", [(("map", "a", "x", "y"), 2), (("map", "b", "x", "y"), 2)]),
        ("$.map.absent.*", []),
        ("$.absent[*].x", []),
        (
            "$.list[*].done",
            [(("list", 0, "done"), None), (("list", 1, "done"), None), (("list", 2, "done"), 2)],
        ),
        ("$.list[?@.done==false].tags[-1]", [(("list", 0, "tags", 0), None)]),
        ("$.list[?@.done==false].tags[1]", [(("list", 0, "tags", 1), 3)]),
        (
            "$.list[?@.done].tags[-1]",
            [(("list", 0, "tags", 0), None), (("list", 1, "tags", -1), 2)],
        ),
        ("$.list[(@.length-1)]", [(("list", 2), None)]),
        ("$.list[(@.length)]", []),
        ("$..n", [(("map", "a", "n"), None), (("map", "b", "n"), None)]),
        ("$..new", []),
        ("$.list[0, 0]", [(("list", 0), None)]),
        ("$.list[0, -3]", [(("list", 0), None)]),
        ("$.list[:1, 0].x", [(("list", 0, "x"), 2)]),
        ("$.list[:1, 0]", [(("list", 0), None)]),
        (
            "$.map['b', 'c']['n', 'm']",
            [
                (("map", "b", "n"), None),
                (("map", "b", "m"), 2),
                (("map", "c", "n"), 1),
                (("map", "c", "m"), 1),
            ],
        ),
        (
            "$.map.*['n', 'x']",
            [
                (("map", "a", "n"), None),
                (("map", "a", "x"), 2),
                (("map", "b", "n"), None),
                (("map", "b", "x"), 2),
            ],
        ),
        ("$['map', 'list'][0]", [(("map", 0), 1), (("list", 0), None)]),
        ("$.list[0:2]", [(("list", 0), None), (("list", 1), None)]),
    ],
)
def test_the_leading_part_is_matched_and_the_rest_is_named(path: str, expected: list[Any]) -> None:
    """Each parent that matches, each combination of names, in the order written, once."""
    assert expected == places(path)


def test_variables_count_as_names() -> None:
    """In the trailing part they may create, in a union they are one of several paths."""
    assert [(("map", "new"), 1)] == places("$.map.{x}", {"x": "new"})
    assert [(("map", "a", "x"), 2), (("map", "b", "x"), 2)] == places("$.map.*.{0}", ["x"])
    assert [(("list", 1), None), (("list", 7), 1)] == places("$.list[{0}, {1}]", [1, 7])
