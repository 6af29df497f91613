"""What the page says of Move: one slot for each place, covered places, the ground."""

import pytest

from tests.oracle.histories import BOB, History, act, nth

MISSING = "path does not exist"


def test_a_move_to_a_key_keeps_identity():
    """The names of what moved stay with it."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    history.do("Move", "b", source=a)
    history.do("Set", nth(a, 1), payload=2, by=BOB)
    assert history.document() == {"b": {"x": 2}}


def test_the_name_of_a_move_to_a_key_finds_nothing():
    """The place gets no new name."""
    history = History()
    a = history.do("Set", "a", payload=1)
    move = history.do("Move", "b", source=a)
    history.do("Set", move, payload=2)
    assert history.failed() == ({"b": 1}, [([], MISSING)])


def test_a_move_from_a_key_into_an_array():
    """The old key has no occupant any more."""
    history = History()
    items = history.do("Set", "items", payload=[1, 2])
    a = history.do("Set", "a", payload="moved")
    history.do("Move", items, 1, source=a, after=nth(items, 1))
    oracle = history.fold()
    assert oracle.document() == {"items": [1, "moved", 2]}
    assert oracle.root.keys["a"] is None


def test_a_move_within_an_array_takes_a_new_position():
    """An insert beside a moved element lands where that was."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b", "c"])
    history.do("Move", items, 3, source=nth(items, 1), after=nth(items, 3))
    history.do("InsertAfter", items, 1, payload="x", after=nth(items, 1), by=BOB)
    assert history.document() == {"items": ["x", "b", "c", "a"]}


def test_the_new_position_has_the_name_of_the_move():
    """An insert beside the Move's name stands beside the place in its new position."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b", "c"])
    move = history.do("Move", items, 3, source=nth(items, 1), after=nth(items, 3))
    history.do("InsertBefore", items, 2, payload="x", before=move)
    assert history.document() == {"items": ["b", "c", "x", "a"]}


def test_a_moved_element_is_vacated_and_not_deleted():
    """The old position has no occupant, the place one slot."""
    history = History()
    items = history.do("Set", "items", payload=["a"])
    history.do("Move", "kept", source=nth(items, 1))
    oracle = history.fold()
    position = oracle.find_position(nth(items, 1))
    assert oracle.document() == {"items": [], "kept": "a"}
    assert position is not None
    assert position.occupant is None


def test_a_move_past_the_end_fills_with_null():
    """The fills come first; the last number names the position of what moved."""
    history = History()
    items = history.do("Set", "items", payload=[])
    a = history.do("Set", "a", payload="moved")
    move = history.do("Move", items, 2, source=a, fill=2)
    history.do("Set", nth(move, 1), payload="second fill")
    history.do("InsertBefore", items, 2, payload="x", before=nth(move, 2))
    assert history.document() == {"items": [None, "second fill", "x", "moved"]}


def test_a_move_onto_a_key_covers_the_former_occupant():
    """What was there is emptied; its names find it, but its ground is the new occupant."""
    history = History()
    old = history.do("Set", "k", payload={"x": 1})
    new = history.do("Set", "n", payload={"y": 2})
    history.do("Move", "k", source=new)
    oracle = history.fold()
    covered = oracle.find(old)
    assert oracle.document() == {"k": {"y": 2}}
    assert covered is not None
    assert covered.covered
    assert oracle.path_of(covered) == ["k"]


def test_a_set_through_a_covered_parent_reaches_the_new_occupant():
    """The ground of a covered place is the occupant of the key that it remembers."""
    history = History()
    old = history.do("Set", "k", payload={})
    new = history.do("Set", "n", payload={"y": 2})
    history.do("Move", "k", source=new)
    history.do("Set", old, "x", payload=1, by=BOB)
    assert history.document() == {"k": {"x": 1, "y": 2}}


def test_a_set_of_a_covered_place_sets_the_new_occupant():
    """The place form acts on the ground as well."""
    history = History()
    old = history.do("Set", "k", payload=1)
    new = history.do("Set", "n", payload=2)
    history.do("Move", "k", source=new)
    history.do("Set", old, payload=3, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"k": 3}
    assert oracle.find({"author": BOB, "index": 4}) is oracle.find(new)


def test_an_insert_into_a_covered_array_reaches_the_new_occupant():
    """Its positions are not those of the new one, so the insert goes to the end."""
    history = History()
    old = history.do("Set", "k", payload=["a"])
    new = history.do("Set", "n", payload=["b"])
    history.do("Move", "k", source=new)
    history.do("InsertBefore", old, 0, payload="c", before=nth(old, 1), by=BOB)
    history.do("InsertUnique", old, payload="d", by=BOB)
    assert history.document() == {"k": ["b", "c", "d"]}


def test_below_a_covered_place_nothing_can_be_set():
    """A place below has the covered one as owner, and that is not present."""
    history = History()
    old = history.do("Set", "k", payload={"x": 1})
    new = history.do("Set", "n", payload={"x": 2})
    history.do("Move", "k", source=new)
    history.do("Set", nth(old, 1), payload=3, by=BOB)
    assert history.failed() == ({"k": {"x": 2}}, [(["k", "x"], MISSING)])


def test_deleting_a_covered_place_has_no_effect():
    """A delete removes only what it names, not what a Move has since put there."""
    history = History()
    old = history.do("Set", "k", payload=1)
    new = history.do("Set", "n", payload=2)
    history.do("Move", "k", source=new)
    history.do("Delete", old, by=BOB)
    assert history.document() == {"k": 2}


def test_moving_a_covered_place_fails():
    """A source has no ground: it must itself be present."""
    history = History()
    old = history.do("Set", "k", payload=1)
    new = history.do("Set", "n", payload=2)
    history.do("Move", "k", source=new)
    history.do("Move", "m", source=old, by=BOB)
    assert history.failed() == ({"k": 2}, [(["m"], MISSING)])


def test_setting_a_covered_place_whose_key_is_free_makes_a_new_place():
    """Nobody is the ground, but the slot is known."""
    history = History()
    old = history.do("Set", "k", payload=1)
    new = history.do("Set", "n", payload=2)
    history.do("Move", "k", source=new)
    history.do("Move", "elsewhere", source=new)
    third = history.do("Set", old, payload=3, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"elsewhere": 2, "k": 3}
    assert oracle.find(third) not in (oracle.find(old), oracle.find(new))


def test_a_key_below_a_covered_place_whose_key_is_free_does_not_exist():
    """With nobody as ground there is no parent."""
    history = History()
    old = history.do("Set", "k", payload={})
    new = history.do("Set", "n", payload={})
    history.do("Move", "k", source=new)
    history.do("Move", "m", source=new)
    history.do("Set", old, "x", payload=1, by=BOB)
    history.do("InsertAfter", old, 0, payload=1, by=BOB)
    assert history.failed() == ({"m": {}}, [(["k", "x"], MISSING), (["k"], MISSING)])


def test_a_place_covered_twice_over_has_the_last_occupant_as_ground():
    """The ground is looked up in the slot, not along a chain."""
    history = History()
    first = history.do("Set", "k", payload=1)
    for number in (2, 3):
        history.do("Move", "k", source=history.do("Set", "n", payload=number))
    history.do("Set", first, payload="last", by=BOB)
    assert history.document() == {"k": "last"}


def test_a_deleted_former_occupant_is_covered_too():
    """Empty or not, whoever was at the key is covered."""
    history = History()
    old = history.do("Set", "k", payload=1)
    history.do("Delete", old)
    new = history.do("Set", "n", payload=2)
    history.do("Move", "k", source=new)
    history.do("Set", old, payload=3, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"k": 3}
    assert oracle.find(old) is not oracle.find(new)


def test_of_two_moves_onto_one_key_the_later_wins_and_the_other_is_gone():
    """What the order decides."""
    history = History()
    a = history.do("Set", "a", payload="a")
    b = history.do("Set", "b", payload="b")
    history.do("Move", "k", source=a, index=3)
    history.do("Move", "k", source=b, by=BOB, index=3)
    assert history.document() == {"k": "b"}


def test_of_two_moves_of_one_place_the_later_decides_where_it_is():
    """A place has one slot."""
    history = History()
    a = history.do("Set", "a", payload="a")
    history.do("Move", "b", source=a, index=2)
    history.do("Move", "c", source=a, by=BOB, index=2)
    assert history.document() == {"c": "a"}


def test_a_move_onto_the_key_where_the_source_is_has_no_effect():
    """Nothing is covered by itself."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "a", source=a)
    history.do("Add", a, payload=1)
    assert history.document() == {"a": 2}


def test_a_move_into_itself_fails():
    """The destination's object must not be the source."""
    history = History()
    a = history.do("Set", "a", payload={})
    history.do("Move", a, "b", source=a)
    assert history.failed() == ({"a": {}}, [(["a", "b"], "cannot move a place into itself")])


def test_crossing_moves_do_not_make_a_circle():
    """The second of two moves into each other fails at every peer alike."""
    history = History()
    a = history.do("Set", "a", payload={})
    b = history.do("Set", "b", payload={})
    history.do("Move", b, "a", source=a, index=3)
    history.do("Move", a, "b", source=b, by=BOB, index=3)
    assert history.failed() == (
        {"b": {"a": {}}},
        [(["b", "a", "b"], "cannot move a place into itself")],
    )


def test_a_move_into_an_array_below_itself_fails():
    """The destination's array must not be below the source."""
    history = History()
    a = history.do("Set", "a", payload={"items": [[]]})
    history.do("Move", nth(a, 2), 0, source=a)
    assert history.failed() == (
        {"a": {"items": [[]]}},
        [(["a", "items", 0], "cannot move a place into itself")],
    )


def test_a_move_onto_the_key_of_its_own_parent_keeps_the_source():
    """The former occupant is covered even if the source was below it."""
    history = History()
    box = history.do("Set", "box", payload={"inner": {"x": 1}, "y": 2})
    history.do("Move", "box", source=nth(box, 1))
    history.do("Set", nth(box, 2), payload=5, by=BOB)
    assert history.document() == {"box": {"x": 5}}


def test_a_move_of_a_deleted_place_fails():
    """A move needs its source."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Delete", a)
    history.do("Move", "b", source=a, by=BOB)
    assert history.failed() == ({}, [(["b"], MISSING)])


def test_a_move_below_a_missing_parent_fails_and_leaves_the_source():
    """A failing op changes nothing."""
    history = History()
    a = history.do("Set", "a", payload=1)
    number = history.do("Set", "n", payload=2)
    history.do("Move", number, "b", source=a)
    assert history.failed() == ({"a": 1, "n": 2}, [(["n", "b"], MISSING)])


def test_a_move_looks_for_its_source_before_it_looks_at_the_array():
    """Checks come in the order of the page: the source is told before the array."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Move", box, 0, source={"author": BOB, "index": 9})
    history.do("Move", box, 0, source=history.do("Set", "a", payload=1))
    assert history.failed()[1] == [(["box"], MISSING), (["box"], "not an array")]


def test_a_deletion_of_a_box_takes_what_was_moved_into_it_before():
    """What the order decides: first moved in, then deleted."""
    history = History()
    box = history.do("Set", "box", payload={})
    a = history.do("Set", "a", payload=1)
    history.do("Move", box, "a", source=a, index=3)
    history.do("Delete", box, by=BOB, index=3)
    assert history.document() == {}


def test_what_moved_out_before_the_deletion_of_its_box_is_kept():
    """Deleting empties what is below at that moment."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Move", "a", source=nth(box, 1), index=2)
    history.do("Delete", box, by=BOB, index=2)
    assert history.document() == {"a": 1}


def test_a_place_moved_away_and_a_new_one_at_its_key_are_two():
    """The key that was left makes a new place when it is set again."""
    history = History()
    old = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=old)
    new = history.do("Set", "a", payload=2, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"a": 2, "b": 1}
    assert oracle.find(old) is not oracle.find(new)


def test_a_deleted_element_that_moved_before_comes_back_where_it_moved_to():
    """Its slot is the one that it had last."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    history.do("Move", items, 2, source=nth(items, 1), after=nth(items, 2))
    history.do("Delete", nth(items, 1))
    history.do("Set", nth(items, 1), payload="A", by=BOB)
    assert history.document() == {"items": ["b", "A"]}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_swapping_keys_in_a_transaction_keeps_identities(steps):
    """A swap over a third key, any number of times."""
    history = History()
    a = history.do("Set", "a", payload="first a")
    b = history.do("Set", "b", payload="first b")
    for _ in range(steps):
        history.transaction(
            act("Move", "t", source=a), act("Move", "a", source=b), act("Move", "b", source=a)
        )
        a, b = b, a
    history.do("Set", a, payload="now a", by=BOB)
    assert history.document()["a"] == "now a"
