"""What the page says of Add and Multiply."""

import pytest

from tests.oracle.histories import BOB, History, nth


def calculated(before, action, payload):
    """Return what one calculation leaves in the document, and its failures' messages."""
    history = History()
    number = history.do("Set", "n", payload=before)
    history.do(action, number, payload=payload)
    document, failures = history.failed()
    assert all(path == ["n"] for path, _ in failures)
    return document["n"], [message for _, message in failures]


def test_concurrent_adds_add_up():
    """Three peers that each add 1 add 3."""
    history = History()
    number = history.do("Set", "n", payload=0)
    history.do("Add", number, payload=1, index=2)
    history.do("Add", number, payload=1, by=BOB, index=2)
    history.do("Add", number, payload=1, by=BOB, index=3)
    assert history.document() == {"n": 3}


@pytest.mark.parametrize(
    ("before", "action", "payload", "after"),
    [
        (2, "Add", 3, 5),
        (2, "Multiply", 3, 6),
        (2, "Add", -3, -1),
        (2**64 - 2, "Add", 1, 2**64 - 1),
        (-(2**63) + 1, "Add", -1, -(2**63)),
        (2**32, "Multiply", 2**31, 2**63),
        (2**53 + 1, "Add", 0, 2**53 + 1),
    ],
)
def test_two_integers_give_an_exact_integer(before, action, payload, after):
    """Integers stay integers while they fit."""
    value, failures = calculated(before, action, payload)
    assert (after, int, []) == (value, type(value), failures)


@pytest.mark.parametrize(
    ("before", "action", "payload"),
    [
        (2**64 - 1, "Add", 1),
        (-(2**63), "Add", -1),
        (2**63, "Multiply", 2),
        (2**63, "Multiply", -2),
        (1.7e308, "Add", 1.7e308),
        (1e200, "Multiply", -1e200),
        (2**64 - 1, "Multiply", 1e300),
    ],
)
def test_a_result_out_of_range_fails_and_changes_nothing(before, action, payload):
    """An integer never becomes a float, a float never becomes infinite."""
    assert calculated(before, action, payload) == (before, ["number out of range"])


@pytest.mark.parametrize(
    ("before", "action", "payload", "after"),
    [
        (1, "Add", 0.5, 1.5),
        (1.5, "Multiply", 2, 3.0),
        (1, "Add", 0.0, 1.0),
        (2**53 + 1, "Add", 0.0, float(2**53)),
        (0.1, "Add", 0.2, 0.30000000000000004),
        (2**64 - 1, "Multiply", 1.0, float(2**64)),
    ],
)
def test_with_a_float_both_become_doubles(before, action, payload, after):
    """The result is a float even where it is whole."""
    value, failures = calculated(before, action, payload)
    assert (after, float, []) == (value, type(value), failures)


def test_negative_zero_stays_negative():
    """IEEE doubles, with all their zeros."""
    value, _ = calculated(0.0, "Multiply", -1)
    assert str(value) == "-0.0"


@pytest.mark.parametrize("before", [True, False, None, "1", {}, [], {"a": 1}])
def test_what_is_not_a_number_cannot_be_added_to(before):
    """`true` is no number either."""
    assert calculated(before, "Add", 1) == (before, ["not a number"])


def test_adding_to_a_deleted_number_fails():
    """Add needs its target present, and does not bring it back."""
    history = History()
    number = history.do("Set", "n", payload=1)
    history.do("Delete", number)
    history.do("Add", number, payload=1, by=BOB)
    assert history.failed() == ({}, [(["n"], "path does not exist")])


def test_adding_follows_a_place_that_moved():
    """Identity travels with a Move."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Move", "m", source=nth(box, 1))
    history.do("Add", nth(box, 1), payload=1, by=BOB)
    assert history.document() == {"box": {}, "m": 2}


def test_adding_to_a_covered_place_fails_although_its_key_has_an_occupant():
    """Add has no ground to fall back on: it means that number, not whatever is there now."""
    history = History()
    old = history.do("Set", "n", payload=1)
    new = history.do("Set", "m", payload=10)
    history.do("Move", "n", source=new)
    history.do("Add", old, payload=1, by=BOB)
    assert history.failed() == ({"n": 10}, [(["n"], "path does not exist")])
