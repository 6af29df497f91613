"""What the page says of ops that fail: they change nothing, but they name their places."""

import pytest

from tests.oracle.histories import BOB, History, copied, nth

MISSING = "path does not exist"


def test_a_skipped_set_below_a_deleted_object_names_its_place():
    """Once the parent is there again, the name can be used."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    skipped = history.do("Set", box, "a", payload={"x": 1}, by=BOB)
    history.do("InitObject", box)
    history.do("InitObject", skipped, by=BOB)
    history.do("Set", nth(skipped, 1), payload="x", by=BOB)
    assert history.failed() == ({"box": {"a": {"x": "x"}}}, [(["box", "a"], MISSING)])


def test_a_skipped_set_names_the_occupant_that_is_there():
    """Keys keep their occupants, so the skipped op and the first one mean the same place."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Delete", box)
    skipped = history.do("Set", box, "a", payload=2, by=BOB)
    oracle = history.fold()
    assert oracle.find(skipped) is oracle.find(nth(box, 1))


def test_naming_only_leaves_contents_as_they_are():
    """A skipped Set under an array gives names, and the array keeps its elements."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Set", "box", payload=["e"], by=BOB)
    history.do("Set", box, "a", payload=[1, 2])
    assert history.failed() == ({"box": ["e"]}, [(["box", "a"], MISSING)])


def test_a_skipped_set_under_a_number_names_a_key_of_the_place():
    """Whatever its state, the parent remembers the key."""
    history = History()
    box = history.do("Set", "box", payload=1)
    skipped = history.do("Set", box, "a", payload=2, by=BOB)
    history.do("InitObject", box)
    history.do("Set", skipped, payload=3)
    assert history.failed() == ({"box": {"a": 3}}, [(["box", "a"], MISSING)])


def test_an_op_whose_name_finds_nothing_names_nothing():
    """So what it would have made stays unknown."""
    history = History()
    skipped = history.do("Set", {"author": BOB, "index": 9}, "a", payload=1)
    history.do("Set", skipped, payload=2)
    assert history.failed() == ({}, [([], MISSING), ([], MISSING)])


def test_a_skipped_insert_leaves_a_dead_position():
    """Later inserts stand beside it, and a Set brings its element to life."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    history.do("Delete", items)
    skipped = history.do("InsertAfter", items, 1, payload="x", after=nth(items, 1), by=BOB)
    history.do("InitArray", items)
    history.do("Set", nth(items, 1), payload="a")
    history.do("Set", nth(items, 2), payload="b")
    history.do("Set", skipped, payload="X", by=BOB)
    document, failures = history.failed()
    assert document == {"items": ["a", "X", "b"]}
    assert failures == [(["items"], MISSING)]


def test_the_fills_of_a_skipped_op_are_dead_positions_too():
    """All its numbers name something."""
    history = History()
    box = history.do("Set", "box", payload={})
    skipped = history.do("Set", box, 2, payload=["x"], fill=2, by=BOB)
    history.do("InitArray", box)
    history.do("Set", nth(skipped, 2), payload="third")
    history.do("Set", nth(skipped, 0), payload="first")
    history.do("InitArray", nth(skipped, 1))
    document, failures = history.failed()
    assert document == {"box": ["first", [], "third"]}
    assert failures == [(["box"], "not an array")]


def test_what_is_inside_the_payload_of_a_skipped_insert_is_named():
    """In the same walk, as places below an empty one."""
    history = History()
    box = history.do("Set", "box", payload={})
    skipped = history.do("InsertAfter", box, 0, payload={"k": ["v"]}, by=BOB)
    history.do("InitArray", box)
    history.do("InitObject", skipped)
    history.do("InitArray", nth(skipped, 1))
    history.do("Set", nth(skipped, 2), payload="V")
    assert history.failed()[0] == {"box": [{"k": ["V"]}]}


def test_a_skipped_move_to_a_key_names_nothing():
    """Not even a place for the key that it meant."""
    history = History()
    box = history.do("Set", "box", payload={})
    move = history.do("Move", box, "k", source={"author": BOB, "index": 9})
    oracle = history.fold()
    place = oracle.find(box)
    assert place is not None
    assert place.keys == {}
    assert oracle.find(move) is None


def test_a_skipped_move_into_an_array_leaves_a_vacated_position():
    """Others can stand beside it, but there is no place to bring to life."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    move = history.do(
        "Move", items, 1, source={"author": BOB, "index": 9}, after=nth(items, 1), fill=1
    )
    history.do("InsertAfter", items, 1, payload="x", after=nth(move, 1))
    history.do("Set", move, payload="fill")
    document, failures = history.failed()
    assert document == {"items": ["a", "x", "b"]}
    assert failures == [(["items"], MISSING), ([], MISSING)]


def test_a_skipped_copy_to_a_key_names_the_occupant():
    """The occupant is neither covered nor changed."""
    history = History()
    k = history.do("Set", "k", payload=1)
    copy = history.do("Copy", "k", source={"author": BOB, "index": 9})
    history.do("Add", copy, payload=1)
    oracle = history.fold()
    assert oracle.document() == {"k": 2}
    assert oracle.find(copy) is oracle.find(k)


def test_a_skipped_copy_into_an_array_leaves_a_dead_element():
    """It can be set."""
    history = History()
    items = history.do("Set", "items", payload=["a"])
    copy = history.do(
        "Copy", items, 0, source={"author": BOB, "index": 9}, before=nth(items, 1), by=BOB
    )
    history.do("Set", copy, payload="set", by=BOB)
    assert history.failed() == ({"items": ["set", "a"]}, [(["items"], MISSING)])


def test_a_skipped_copy_makes_no_links():
    """Not even for the source itself."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    number = history.do("Set", "n", payload=1)
    copy = history.do("Copy", number, "k", source=a)
    oracle = history.fold()
    assert oracle.find(copy) is not None
    assert oracle.find(copied(copy, a)) is None
    assert oracle.find(copied(copy, nth(a, 1))) is None


def test_a_skipped_insert_unique_adds_a_dead_position_although_an_equal_element_was_there():
    """As if nothing equal had been found."""
    history = History()
    items = history.do("Set", "items", payload=["a"])
    history.do("InitObject", items)
    skipped = history.do("InsertUnique", items, payload="a", by=BOB)
    history.do("InitArray", items)
    history.do("Set", skipped, payload="A")
    oracle = history.fold()
    assert oracle.document() == {"items": ["A"]}
    assert oracle.find(skipped) is not oracle.find(nth(items, 1))


@pytest.mark.parametrize("action", ["Add", "Multiply"])
def test_a_skipped_calculation_names_nothing(action):
    """It never makes a place."""
    history = History()
    text = history.do("Set", "text", payload="x")
    skipped = history.do(action, text, payload=2)
    assert history.fold().find(skipped) is None


def test_a_skipped_op_through_a_covered_place_names_at_its_ground():
    """Its key is one of the new occupant."""
    history = History()
    old = history.do("Set", "k", payload={})
    new = history.do("Set", "n", payload=1)
    history.do("Move", "k", source=new)
    skipped = history.do("Set", old, "x", payload=1, by=BOB)
    history.do("InitObject", "k")
    history.do("Set", skipped, payload=2, by=BOB)
    assert history.failed() == ({"k": {"x": 2}}, [(["k", "x"], MISSING)])


def test_a_skipped_op_through_a_covered_place_whose_key_is_free_names_nothing():
    """There is no ground to add a key or a position to."""
    history = History()
    old = history.do("Set", "k", payload={})
    new = history.do("Set", "n", payload={})
    history.do("Move", "k", source=new)
    history.do("Move", "m", source=new)
    in_key = history.do("Set", old, "x", payload=1)
    in_array = history.do("InsertAfter", old, 0, payload=1)
    oracle = history.fold()
    assert len(oracle.failures) == 2
    assert oracle.find(in_key) is oracle.find(in_array) is None


def test_a_skipped_set_of_a_covered_place_whose_key_is_free_names_a_new_place_there():
    """The place form names at the slot that is known."""
    history = History()
    box = history.do("Set", "box", payload={"k": 1})
    new = history.do("Set", "n", payload=2)
    history.do("Move", box, "k", source=new)
    history.do("Move", "m", source=new)
    history.do("Set", "box", payload=0)
    skipped = history.do("Set", nth(box, 1), payload=3, by=BOB)
    history.do("InitObject", "box")
    history.do("Set", skipped, payload=4, by=BOB)
    assert history.failed() == ({"box": {"k": 4}, "m": 2}, [(["box", "k"], MISSING)])


def test_a_skipped_set_of_an_array_adds_dead_elements_to_its_place():
    """New positions after all old ones, each named, none shown."""
    history = History()
    box = history.do("Set", "box", payload={"list": ["a"]})
    history.do("Delete", box)
    skipped = history.do("Set", nth(box, 1), payload=["x", "y"], by=BOB)
    history.do("InitObject", box)
    history.do("InitArray", nth(box, 1))
    for name in (nth(skipped, 2), nth(box, 2)):
        history.do("Set", name, payload=name["index"])
    assert history.failed()[0] == {"box": {"list": [1, 3]}}


def test_a_skipped_init_names_one_place():
    """The occupant, or a new empty one."""
    history = History()
    box = history.do("Set", "box", payload=1)
    skipped = history.do("InitArray", box, "a", by=BOB)
    history.do("InitObject", box)
    history.do("InsertAfter", skipped, 0, payload=1)
    history.do("InitArray", skipped)
    history.do("InsertAfter", skipped, 0, payload=2)
    document, failures = history.failed()
    assert document == {"box": {"a": [2]}}
    assert failures == [(["box", "a"], MISSING), (["box", "a"], MISSING)]


def test_the_path_of_what_is_gone_counts_the_elements_shown_before_it():
    """The last path known of an element is where it would be now."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b", "c"])
    history.do("Delete", nth(items, 3))
    history.do("Delete", nth(items, 1))
    history.do("Add", nth(items, 3), payload=1, by=BOB)
    assert history.failed() == ({"items": ["b"]}, [(["items", 1], MISSING)])


def test_failures_come_in_the_order_of_the_fold():
    """Not in the order of arrival."""
    history = History()
    text = history.do("Set", "text", payload="x", index=1)
    history.do("Add", text, payload=1, index=3)
    history.do("Add", text, payload=1, by=BOB, index=2)
    ids = [one["id"] for one in history.fold().failures]
    assert ids == [{"author": BOB, "index": 2}, {"author": text["author"], "index": 3}]
