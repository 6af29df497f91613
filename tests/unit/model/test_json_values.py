"""What counts as JSON, what equals what, and what a value weighs."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

import pytest

from cytosol.errors import ActionError
from cytosol.limits import DEPTH_MAX
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import copy_json, count_places, equal_json


class Colour(enum.IntEnum):
    """A subclass of int."""

    RED = 1


class Text(str):
    """A subclass of str."""


class Real(float):
    """A subclass of float."""


def nested(levels: int, kind: type) -> Any:
    """Return containers in each other."""
    value: Any = 0
    for _ in range(levels):
        value = {"k": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("x", "x"),
        ("é", "é"),
        (2**64 - 1, 2**64 - 1),
        (-0.5, -0.5),
        ((1, (2,)), [1, [2]]),
        ({"a": [{}]}, {"a": [{}]}),
        ({"é": 1, Text("t"): 2}, {"é": 1, "t": 2}),
        (Colour.RED, 1),
        (Text("t"), "t"),
        (Real(1.5), 1.5),
        (OrderedDict(a=1), {"a": 1}),
        (type("L", (list,), {})([1]), [1]),
    ],
)
def test_json_is_copied_into_plain_types(value: Any, expected: Any) -> None:
    """Subclasses become what they stand for."""
    copied = copy_json(value)
    assert expected == copied
    assert type(expected) is type(copied)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2**64, "outside"),
        (-(2**63) - 1, "outside"),
        (2**300, "of 301 bits"),
        (float("inf"), "finite"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        ({1: 1}, "keys must be strings"),
        ({"x" * 100: object()}, "is not JSON"),
        ({b"x" * 100: 1}, r"\.\.\."),
        ({1, 2}, "is not JSON"),
        (nested(DEPTH_MAX, dict), "nested deeper"),
        (nested(DEPTH_MAX, list), "nested deeper"),
    ],
)
def test_anything_else_is_refused_with_the_reason(value: Any, says: str) -> None:
    """Before anything is logged."""
    with pytest.raises(ActionError, match=says):
        copy_json(value)


def test_the_deepest_value_that_is_allowed() -> None:
    """The root counts as one level."""
    assert nested(DEPTH_MAX - 1, list) == copy_json(nested(DEPTH_MAX - 1, list))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (1, True, False),
        (False, 0, False),
        (True, True, True),
        (None, 0, False),
        ("1", 1, False),
        ([1, 2], [1, 2.0], True),
        ([1], [1, 2], False),
        ([1], {"a": 1}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ({"a": 1}, [1], False),
        ({"a": [True]}, {"a": [1]}, False),
    ],
)
def test_equality_is_that_of_json(left: Any, right: Any, expected: bool) -> None:
    """Numbers by value, booleans apart, objects without key order."""
    assert expected is equal_json(left, right)
    assert expected is equal_json(right, left)


def test_places_are_counted_with_the_value_itself() -> None:
    """One for each value, containers included."""
    assert [1, 1, 1, 6] == [count_places(v) for v in (1, {}, [], {"a": [1, {"b": 2}], "c": 3})]


def test_ids_are_canonical_uuids() -> None:
    """Any case is read, lower case is written."""
    text = "1CCA2959-e698-4bf2-853b-2957a51a86cc"
    assert text.lower() == format_id(parse_id(text))


@pytest.mark.parametrize("text", ["", "x", "1cca2959e6984bf2853b2957a51a86cc", None])
def test_other_spellings_of_ids_are_refused(text: Any) -> None:
    """So that equal ids are equal texts."""
    with pytest.raises(ActionError, match="is not a UUID"):
        parse_id(text)
