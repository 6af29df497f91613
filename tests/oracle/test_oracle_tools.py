"""The listing of a history, and the checks of the tree: both must notice things."""

import pytest

from tests.oracle.fold import Oracle
from tests.oracle.histories import BOB, CAROL, History, act, copied, nth
from tests.oracle.invariants import check_invariants
from tests.oracle.render import explain
from tests.oracle.tree import Kind


def test_a_listing_has_one_line_for_each_op_and_says_what_became_of_it():
    """In the order of the fold, with short names."""
    history = History()
    box = history.do("Set", "box", payload={"x": [1]})
    copy = history.do("Copy", "copy", source=box, by=BOB)
    history.do("InsertAfter", copied(copy, nth(box, 1)), 1, payload=2, by=BOB,
        after=copied(copy, nth(box, 2)), fill=1,
    )  # fmt: skip
    history.transaction(act("Delete", box), act("Add", copy, payload=1), by=BOB)
    history.do("Set", "k", payload="y" * 200, origin={"author": CAROL, "index": 1})
    history.ops[-1]["seen"] = {BOB: 4}
    text = 'Set $.k = "' + "y" * 119 + "..."
    assert explain(reversed(history.ops)).splitlines() == [
        "# A = 0aaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
        "# B = 0bbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
        '    A1  Set $.box = {"x":[1]}',
        "    B2  Copy $.copy <- A1",
        "    B3  InsertAfter B2<A1+1[1] = 2 after B2<A1+2 fill 1",
        "    B4  Transaction Delete A1; Add B2 = 1",
        f"    A5  {text}  (origin 0ccccccc.1)  (seen B4)",
        '= {"box":{"x":[1]},"copy":{"x":[1,null,2]},"k":"' + "y" * 200 + '"}',
        "! B4: not a number at ['copy']",
    ]


def test_a_listing_can_do_without_the_result():
    """For histories that break the fold itself."""
    history = History()
    history.add(act("Explode", "a"), by=BOB, index=1)
    assert explain(history.ops, result=False).splitlines()[1:] == ["    A1  Explode $.a"]


@pytest.fixture
def oracle():
    """Fold a small history that the checks accept."""
    history = History()
    items = history.do("Set", "items", payload=["a", {"k": 1}])
    history.do("Move", "items2", source=nth(items, 2))
    return history.fold()


def named(oracle: Oracle, offset: int):
    """Return a place of the small history."""
    place = oracle.find({"author": oracle.ops[0]["id"]["author"], "index": 1, "offset": offset})
    assert place is not None
    return place


def test_the_checks_notice_a_place_with_two_slots(oracle):
    """One slot for each place."""
    oracle.root.keys["twice"] = named(oracle, 1)
    with pytest.raises(AssertionError):
        check_invariants(oracle)


def test_the_checks_notice_a_place_with_no_slot(oracle):
    """Neither covered nor an occupant."""
    oracle.root.keys["items2"] = None
    with pytest.raises(AssertionError, match="one slot"):
        check_invariants(oracle)


def test_the_checks_notice_a_value_that_hides(oracle):
    """What is not empty is shown."""
    named(oracle, 0).content = Kind.EMPTY
    with pytest.raises(AssertionError, match="nothing hides"):
        check_invariants(oracle)


def test_the_checks_notice_a_circle(oracle):
    """A place is never below itself."""
    items, moved = named(oracle, 0), named(oracle, 2)
    oracle.root.keys.clear()
    moved.keys["items"] = items
    items.slot = type(moved.slot)(moved, "items")
    items.keys["moved"] = moved
    moved.slot = type(moved.slot)(items, "moved")
    with pytest.raises(AssertionError):
        check_invariants(oracle)


def test_two_ops_with_one_id_are_refused():
    """Ids are distinct, or nothing can be said."""
    history = History()
    history.do("Set", "a", payload=1)
    with pytest.raises(AssertionError, match="distinct"):
        Oracle(history.ops * 2)
