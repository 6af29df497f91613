"""Patches turn one list into the next, exactly, and are small where the change is small."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.document.patch import list_patch
from cytosol.limits import PATCH_CELLS_MAX
from cytosol.model.json import copy_json, equal_json
from tests.property.rfc6902 import apply_patch

KEYS = st.sampled_from(["", "a", "b", "c/d", "m~n", "~1", "~01", "0", "-", "é"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, -0.0, 2, 2**64 - 1, -(2**63), "", "x"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
LISTS = st.lists(VALUES, max_size=5)


@st.composite
def _edited(draw: Callable[..., Any]) -> tuple[list[Any], list[Any]]:
    """Draw a list and the same after a few edits anywhere in it."""
    old = draw(LISTS)
    new = copy_json(old)
    for _ in range(draw(st.integers(0, 4))):
        node: Any = new
        while True:
            below = [item for item in (node.values() if type(node) is dict else node) if item]
            below = [item for item in below if type(item) in (dict, list)]
            if not below or draw(st.booleans()):
                break
            node = draw(st.sampled_from(below))
        if type(node) is dict:
            key = draw(KEYS)
            if key in node and draw(st.booleans()):
                del node[key]
            else:
                node[key] = draw(VALUES)
        else:
            at = draw(st.integers(0, len(node)))
            node[at : at + draw(st.integers(0, 2))] = draw(st.lists(VALUES, max_size=2))
    return old, new


def _check(old: list[Any], new: list[Any]) -> list[dict[str, Any]]:
    before, after = copy_json(old), copy_json(new)
    patch = list_patch(old, new)
    assert equal_json(new, apply_patch(old, patch))
    assert equal_json(before, old), "the old list was changed"
    assert equal_json(after, new), "the new list was changed"
    assert equal_json(old, new) is (patch == [])
    assert all(operation["path"] for operation in patch)
    return patch


@given(LISTS, LISTS)
def test_a_patch_turns_any_list_into_any_other(old: list[Any], new: list[Any]) -> None:
    """Applied to the old list it gives the new one, and equal lists need no operation."""
    _check(old, new)


@given(_edited())
def test_a_patch_follows_a_few_edits(lists: tuple[list[Any], list[Any]]) -> None:
    """Lists that have much in common take the other branches, and come out as exact."""
    _check(*lists)


@given(
    st.lists(st.integers(0, 300), min_size=65, max_size=120),
    st.lists(st.integers(0, 300), min_size=65, max_size=120),
)
def test_long_unlike_lists_are_patched_too(old: list[int], new: list[int]) -> None:
    """Middles beyond the table of a common subsequence are matched by occurrence."""
    _check([-1, *old, -2], [-3, *new, -4])


@given(st.lists(st.booleans(), min_size=100, max_size=150), st.sets(st.integers(0, 99)))
def test_values_that_repeat_stay_where_they_are(old: list[bool], flips: set[int]) -> None:
    """Of many equal elements no more are written than have changed."""
    new = [not item if at in flips else item for at, item in enumerate(old)]
    assert len(_check(old, new)) <= len(flips)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [], []),
        ([1], [1.0], []),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}], []),
        ([1], [True], [{"op": "replace", "path": "/0", "value": True}]),
        ([0], [False], [{"op": "replace", "path": "/0", "value": False}]),
        ([[1, 2]], [[1, True]], [{"op": "replace", "path": "/0/1", "value": True}]),
        ([None], [], [{"op": "remove", "path": "/0"}]),
        ([], [None], [{"op": "add", "path": "/0", "value": None}]),
        ([1, 2, 3], [1, 3], [{"op": "remove", "path": "/1"}]),
        ([1, 3], [1, 2, 3], [{"op": "add", "path": "/1", "value": 2}]),
        ([1, 1, 1], [1, 1], [{"op": "remove", "path": "/2"}]),
        (
            [{"title": "Milk", "text": "a long text"}],
            [{"title": "Oats", "text": "a long text"}],
            [{"op": "replace", "path": "/0/title", "value": "Oats"}],
        ),
        (
            [{"a/b": 1, "m~n": 2, "": 3, "kept": "a long text that is worth keeping, and more"}],
            [{"a/b": 2, "m~n": 3, "kept": "a long text that is worth keeping, and more"}],
            [
                {"op": "remove", "path": "/0/"},
                {"op": "replace", "path": "/0/a~1b", "value": 2},
                {"op": "replace", "path": "/0/m~0n", "value": 3},
            ],
        ),
        (
            [{"a": 1, "b": 2, "c": 3}],
            [{"a": 4, "b": 5, "c": 6}],
            [{"op": "replace", "path": "/0", "value": {"a": 4, "b": 5, "c": 6}}],
        ),
        (
            ["a", "b", "c", "d", "e"],
            ["b", "x", "c", "e", "f"],
            [
                {"op": "remove", "path": "/0"},
                {"op": "add", "path": "/1", "value": "x"},
                {"op": "remove", "path": "/3"},
                {"op": "add", "path": "/4", "value": "f"},
            ],
        ),
    ],
)
def test_patches_are_what_a_person_would_write(
    old: list[Any], new: list[Any], expected: list[dict[str, Any]]
) -> None:
    """Members by key, elements where they are, the whole where that is shorter."""
    patch = _check(old, new)
    # As JSON text, for to Python True is 1.
    assert json.dumps(expected) == json.dumps(patch)


def test_two_edits_far_apart_in_a_long_array_are_two_operations() -> None:
    """What lies between two changes is matched although the middle is long."""
    old = [{"id": at, "text": f"line {at}"} for at in range(5_000)]
    assert len(old) ** 2 > PATCH_CELLS_MAX
    new = [*old[:10], *old[11:4_000], {"id": -1}, *old[4_000:]]
    assert [
        {"op": "remove", "path": "/10"},
        {"op": "add", "path": "/3999", "value": {"id": -1}},
    ] == _check(old, new)


def test_a_long_key_is_not_repeated_for_every_element_below_it() -> None:
    """The whole is sent where paths would make the patch longer than that."""
    key = "k" * 100_000
    old, new = [{key: [0, 1] * 5_000}], [{key: [1, 2] * 5_000}]
    (operation,) = _check(old, new)
    assert "replace" == operation["op"]
    assert {"/0", f"/0/{key}"} >= {operation["path"]}


def test_the_deepest_values_can_be_patched() -> None:
    """The depth that a document may have is no problem."""
    old: Any = 1
    new: Any = 2
    for _ in range(63):
        old, new = {"a": [old], "kept": "text" * 100}, {"a": [new], "kept": "text" * 100}
    assert [{"op": "replace", "path": "/0" + "/a/0" * 63, "value": 2}] == _check([old], [new])
