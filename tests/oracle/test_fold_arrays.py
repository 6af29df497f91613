"""What the page says of elements: positions, fills, inserts, revival, InsertUnique."""

import pytest

from tests.oracle.histories import ALICE, BOB, CAROL, History, nth

MISSING = "path does not exist"


@pytest.fixture
def history():
    """Start with `{"items": ["a", "b"]}`, made by one op; its elements are numbers 1 and 2."""
    history = History()
    history.do("Set", "items", payload=["a", "b"])
    return history


ITEMS = {"author": ALICE, "index": 1}
A, B = nth(ITEMS, 1), nth(ITEMS, 2)


def test_set_without_beside_appends(history):
    """Without `beside` the side is the end of all positions."""
    history.do("Set", ITEMS, 2, payload="c")
    assert history.document() == {"items": ["a", "b", "c"]}


def test_the_index_of_a_path_is_only_for_people(history):
    """Only `beside` and `side` say where."""
    history.do("Set", ITEMS, 0, payload="c")
    assert history.document() == {"items": ["a", "b", "c"]}


def test_insert_before_and_after_stand_directly_beside(history):
    """`b` has a new neighbour on each side."""
    history.do("InsertBefore", ITEMS, 1, payload="left", before=B)
    history.do("InsertAfter", ITEMS, 1, payload="right", after=A)
    history.do("InsertAfter", ITEMS, 1, payload="last", after=B)
    assert history.document() == {"items": ["a", "right", "left", "b", "last"]}


def test_the_later_of_two_inserts_after_one_element_is_nearer_to_it(history):
    """Newer siblings stand nearer to their parent."""
    history.do("InsertAfter", ITEMS, 1, payload="alice", after=A, index=2)
    history.do("InsertAfter", ITEMS, 1, payload="bob", after=A, by=BOB, index=2)
    assert history.document() == {"items": ["a", "bob", "alice", "b"]}


def test_runs_typed_at_the_same_time_do_not_interleave(history):
    """Each author chains its own elements, so runs stay together."""
    for author in (ALICE, BOB):
        last = A
        for index in (2, 3, 4):
            last = history.do(
                "InsertAfter", ITEMS, 1, payload=f"{author[1]}{index}", after=last, by=author,
                index=index,
            )  # fmt: skip
    assert history.document() == {"items": ["a", "b2", "b3", "b4", "a2", "a3", "a4", "b"]}


def test_an_insert_beside_a_deleted_element_lands_where_that_was(history):
    """Positions are remembered for ever."""
    history.do("Delete", A)
    history.do("InsertAfter", ITEMS, 1, payload="c", after=A, by=BOB)
    assert history.document() == {"items": ["c", "b"]}


def test_beside_a_position_of_another_array_means_the_end(history):
    """`beside` counts only in the array that the path names."""
    other = history.do("Set", "other", payload=["x"])
    history.do("InsertBefore", ITEMS, 0, payload="c", before=nth(other, 1))
    assert history.document() == {"items": ["a", "b", "c"], "other": ["x"]}


def test_beside_a_name_that_nobody_gave_means_the_end(history):
    """An unknown position is no reason to fail."""
    history.do("InsertBefore", ITEMS, 0, payload="c", before={"author": BOB, "index": 77})
    assert history.document() == {"items": ["a", "b", "c"]}


def test_side_end_means_the_end_whatever_is_beside(history):
    """`beside` does nothing where the side is the end."""
    history.do("Set", ITEMS, 2, payload="c", beside=A, side="end")
    assert history.document() == {"items": ["a", "b", "c"]}


def test_an_insert_beside_a_newer_name_of_an_element_stands_beside_it(history):
    """A name that names no position, but finds the occupant of one, means that position."""
    history.do("Delete", A)
    again = history.do("Set", A, payload="again")
    history.do("InsertAfter", ITEMS, 1, payload="c", after=again)
    assert history.document() == {"items": ["again", "c", "b"]}


def test_the_name_of_a_position_comes_before_the_place_that_it_finds(history):
    """An element that moved within its array left its name with the old position."""
    history.do("Move", ITEMS, 2, source=A, after=B)
    history.do("InsertBefore", ITEMS, 0, payload="c", before=A)
    assert history.document() == {"items": ["c", "b", "a"]}


def test_beside_an_element_that_moved_here_means_where_it_stands(history):
    """Its name is that of a position elsewhere, but it is the occupant of one here."""
    other = history.do("Set", "other", payload=["x"])
    history.do("Move", ITEMS, 0, source=nth(other, 1), before=B)
    history.do("InsertAfter", ITEMS, 0, payload="c", after=nth(other, 1))
    assert history.document() == {"items": ["a", "x", "c", "b"], "other": []}


def test_beside_a_name_that_finds_a_place_at_a_key_means_the_end(history):
    """It is the occupant of no position."""
    key = history.do("Set", "k", payload=1)
    history.do("InsertBefore", ITEMS, 0, payload="c", before=key)
    assert history.document() == {"items": ["a", "b", "c"], "k": 1}


def test_a_deleted_element_set_again_comes_back_in_its_place(history):
    """Its position was never lost."""
    history.do("Delete", A)
    history.do("Set", A, payload="again", by=BOB)
    assert history.document() == {"items": ["again", "b"]}


def test_two_deletes_of_one_element_delete_one_element(history):
    """A delete names a place, not an index."""
    history.do("Delete", A, index=2)
    history.do("Delete", A, by=BOB, index=2)
    assert history.document() == {"items": ["b"]}


def test_elements_of_a_replaced_array_stand_before_the_new_ones(history):
    """The list of positions only grows, so revived old elements come first."""
    history.do("Set", "items", payload=["c"], by=BOB)
    history.do("Set", B, payload="b again")
    assert history.document() == {"items": ["b again", "c"]}


def test_positions_outlive_a_time_as_another_kind(history):
    """An array that was an object meanwhile still has its positions."""
    history.do("InitObject", "items")
    history.do("InitArray", "items")
    history.do("InsertAfter", ITEMS, 0, payload="c", after=B)
    history.do("InsertAfter", ITEMS, 0, payload="d", after=A)
    assert history.document() == {"items": ["d", "c"]}


def test_setting_an_element_of_an_array_that_became_an_object_fails(history):
    """The owner of a position must be an array; the path is the last one known."""
    history.do("InitObject", "items")
    history.do("Set", B, payload=1)
    assert history.failed() == ({"items": {}}, [(["items", 0], MISSING)])


def test_fills_are_nulls_before_the_element(history):
    """Setting two beyond the end fills with two nulls, wherever the end is then."""
    history.do("Set", ITEMS, 2, payload="c", by=BOB)
    history.do("Set", ITEMS, 4, payload="d", fill=2)
    assert history.document() == {"items": ["a", "b", "c", None, None, "d"]}


def test_fills_have_the_first_numbers(history):
    """The fills are named first, then the place, then what is in it."""
    op = history.do("Set", ITEMS, 4, payload=["x"], fill=2)
    for number in (0, 1, 3):
        history.do("Set", nth(op, number), payload=number)
    assert history.document() == {"items": ["a", "b", 0, 1, [3]]}


def test_fills_stand_together_with_their_element_beside_a_position(history):
    """First the fills, then the place, in the order given, also before and after."""
    history.do("InsertBefore", ITEMS, 0, payload="c", before=B, fill=1)
    history.do("InitArray", ITEMS, 0, after=B, fill=1)
    assert history.document() == {"items": ["a", None, "c", "b", None, []]}


def test_each_fill_is_a_position_that_others_can_stand_beside(history):
    """Fills are elements like all others."""
    op = history.do("Set", ITEMS, 4, payload="c", fill=2)
    history.do("InsertAfter", ITEMS, 0, payload="x", after=nth(op, 0))
    assert history.document() == {"items": ["a", "b", None, "x", None, "c"]}


def test_init_makes_new_elements(history):
    """The element form of InitObject and InitArray."""
    box = history.do("InitObject", ITEMS, 0, before=A)
    history.do("Set", box, "k", payload=1)
    assert history.document() == {"items": [{"k": 1}, "a", "b"]}


def test_inserting_into_what_is_no_array_fails(history):
    """A present place of another kind is not an array."""
    history.do("InitObject", "items")
    history.do("InsertAfter", ITEMS, 0, payload="c", after=B)
    assert history.failed() == ({"items": {}}, [(["items"], "not an array")])


def test_inserting_into_a_deleted_array_fails(history):
    """The array must be present first of all."""
    history.do("Delete", ITEMS)
    history.do("InsertAfter", ITEMS, 0, payload="c", after=B)
    assert history.failed() == ({}, [(["items"], MISSING)])


def test_insert_unique_appends_what_is_not_there_yet(history):
    """As InsertAfter with its beside and side."""
    history.do("InsertUnique", ITEMS, payload="c")
    history.do("InsertUnique", ITEMS, payload="d", after=A)
    assert history.document() == {"items": ["a", "d", "b", "c"]}


def test_equal_insert_uniques_give_one_element_with_both_names(history):
    """Whoever comes second names what is there."""
    first = history.do("InsertUnique", ITEMS, payload="c", index=2)
    second = history.do("InsertUnique", ITEMS, payload="c", by=BOB, index=2)
    history.do("Delete", second, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"items": ["a", "b"]}
    assert oracle.find(first) is oracle.find(second)


def test_insert_unique_names_the_places_inside_the_equal_element(history):
    """The walk is that of the payload: keys by key, items by their order among the shown."""
    history.do("InsertUnique", ITEMS, payload={"k": [1, 2], "j": 0})
    second = history.do("InsertUnique", ITEMS, payload={"j": 0, "k": [1, 2]}, by=BOB)
    history.do("Add", nth(second, 1), payload=10)
    history.do("Add", nth(second, 4), payload=100)
    assert history.document() == {"items": ["a", "b", {"j": 10, "k": [1, 102]}]}


def test_inner_names_of_insert_unique_pass_over_deleted_elements():
    """The j-th item is the j-th shown element."""
    history = History()
    items = history.do("Set", "items", payload=[[0, 1, 2]])
    history.do("Delete", nth(items, 2))
    found = history.do("InsertUnique", items, payload=[1, 2], by=BOB)
    history.do("Set", nth(found, 1), payload="one")
    assert history.document() == {"items": [["one", 2]]}


@pytest.mark.parametrize(
    ("there", "payload", "equals"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (False, 0, False),
        (None, 0, False),
        ("1", 1, False),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2, 1], False),
        ([], {}, False),
        (2**53 + 1, float(2**53), False),
        (0.0, -0.0, True),
        ([True], [1], False),
    ],
)
def test_insert_unique_uses_json_equality(there, payload, equals):
    """Numbers by value, booleans apart, objects without key order."""
    history = History()
    items = history.do("Set", "items", payload=[there])
    history.do("InsertUnique", items, payload=payload)
    assert len(history.document()["items"]) == (1 if equals else 2)


def test_insert_unique_does_not_see_deleted_elements(history):
    """Equal elements are looked for among the shown ones."""
    history.do("Delete", A)
    history.do("InsertUnique", ITEMS, payload="a")
    assert history.document() == {"items": ["b", "a"]}


def test_insert_unique_names_the_first_of_several_equal_elements(history):
    """The first shown one."""
    history.do("Set", B, payload="a")
    found = history.do("InsertUnique", ITEMS, payload="a")
    history.do("Set", found, payload="first")
    assert history.document() == {"items": ["first", "a"]}


def test_an_insert_beside_an_equal_element_stands_beside_the_one_that_was_there(history):
    """The op that found it gave it a name, and that name means where it stands."""
    found = history.do("InsertUnique", ITEMS, payload="a")
    history.do("InsertAfter", ITEMS, 1, payload="c", after=found)
    assert history.document() == {"items": ["a", "c", "b"]}


def test_insert_unique_into_what_is_no_array_fails(history):
    """The path names the array."""
    history.do("InsertUnique", A, payload=1)
    assert history.failed() == ({"items": ["a", "b"]}, [(["items", 0], "not an array")])


def test_an_insert_follows_its_array_when_that_moves(history):
    """The array is found by name, wherever it is."""
    history.do("Move", "kept", source=ITEMS, by=BOB)
    history.do("InsertAfter", ITEMS, 1, payload="c", after=A)
    assert history.document() == {"kept": ["a", "c", "b"]}


def test_chains_of_inserts_before_do_not_interleave(history):
    """Backward runs stay together as well."""
    for author in (BOB, CAROL):
        first = B
        for index in (2, 3):
            first = history.do(
                "InsertBefore", ITEMS, 1, payload=f"{author[1]}{index}", before=first, by=author,
                index=index,
            )  # fmt: skip
    assert history.document() == {"items": ["a", "b3", "b2", "c3", "c2", "b"]}
