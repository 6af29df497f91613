"""What the page says of dates: a re-issued write does not undo what was written since."""

import pytest

from tests.oracle.histories import BOB, History, act, nth
from tests.oracle.test_fold_dates import lost

MISSING = "path does not exist"
NEWER = "newer values stand below"


# --- Set and Init ------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["Set", "InitObject", "InitArray"])
@pytest.mark.parametrize("form", ["key", "place"])
def test_a_newer_set_supersedes_what_sets_and_initialises(action, form):
    """In the key form and in the place form."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Set", "a", payload=2, index=7)
    rest = {"payload": 3} if action == "Set" else {}
    history.do(action, a if form == "place" else "a", origin=lost(5), **rest)
    assert history.document() == {"a": 2}


@pytest.mark.parametrize("action", ["Add", "Multiply"])
@pytest.mark.parametrize("form", ["key", "place"])
def test_a_newer_calculation_supersedes_a_set(action, form):
    """It was made with another number."""
    history = History()
    a = history.do("Set", "a", payload=2)
    history.do(action, a, payload=3, index=7)
    history.do("Set", a if form == "place" else "a", payload=0, origin=lost(5))
    assert history.document() == {"a": 5 if action == "Add" else 6}


@pytest.mark.parametrize("action", ["Set", "InitObject"])
def test_only_calculations_since_it_was_last_assigned_count(action):
    """They are gone with the number."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Add", a, payload=1, origin=lost(50))
    history.do(action, a, **({"payload": 5} if action == "Set" else {}))
    history.do("Set", a, payload=0, origin=lost(40))
    assert history.document() == {"a": 0}


@pytest.mark.parametrize("action", ["Set", "InitObject"])
def test_only_moves_since_it_was_last_assigned_count(action):
    """Also if an Init kept what was there."""
    history = History()
    a = history.do("Set", "a", payload={})
    history.do("Move", "b", source=a, origin=lost(50))
    history.do(action, a, **({"payload": 5} if action == "Set" else {}))
    history.do("Set", "b", payload=0, origin=lost(40))
    assert history.document() == {"b": 0}


def test_only_what_was_done_since_a_payload_put_it_counts():
    """A part of a payload is assigned like the whole."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Add", nth(box, 1), payload=1, origin=lost(50))
    history.do("Set", box, payload={"n": 2})
    history.do("Set", nth(box, 1), payload=0, origin=lost(40))
    assert history.document() == {"box": {"n": 0}}


def test_a_newer_move_onto_the_key_supersedes_a_set_of_the_key():
    """What was moved there has come since."""
    history = History()
    b = history.do("Set", "b", payload="moved")
    history.do("Move", "a", source=b, index=7)
    history.do("Set", "a", payload="old", origin=lost(5))
    assert history.document() == {"a": "moved"}


def test_a_newer_move_without_effect_supersedes_a_set_of_the_key():
    """It said that this place belongs there."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "a", source=a, index=7)
    history.do("Set", "a", payload="old", origin=lost(5))
    assert history.document() == {"a": 1}


def test_a_move_that_failed_supersedes_nothing():
    """Nothing has come to stand there."""
    history = History()
    a = history.do("Set", "a", payload={})
    history.do("Move", a, "b", source=a, index=7)
    history.do("Set", "a", payload=2, origin=lost(5))
    inside = "cannot move a place into itself"
    assert history.failed() == ({"a": 2}, [(["a", "b"], inside)])


def test_a_set_of_a_place_does_not_mind_where_it_was_moved():
    """It is about the place, and finds it there."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, index=7)
    history.do("Set", a, payload=2, origin=lost(5))
    assert history.document() == {"b": 2}


def test_a_set_of_a_covered_place_looks_at_the_dates_of_its_ground():
    """There it would act."""
    history = History()
    a = history.do("Set", "a", payload=1)
    b = history.do("Set", "b", payload=2)
    history.do("Move", "a", source=b)
    history.do("Set", b, payload=3, index=7)
    history.do("Set", a, payload="old", origin=lost(5))
    assert history.document() == {"a": 3}


def test_a_set_of_a_covered_place_does_not_mind_the_move_of_its_ground():
    """It has the form of a place."""
    history = History()
    a = history.do("Set", "a", payload=1)
    b = history.do("Set", "b", payload=2)
    history.do("Move", "a", source=b, index=7)
    history.do("Set", a, payload=3, origin=lost(5))
    assert history.document() == {"a": 3}


@pytest.mark.parametrize("form", ["key", "place"])
def test_a_key_without_occupant_supersedes_nothing(form):
    """There is no place whose dates could count."""
    history = History()
    a = history.do("Set", "a", payload=1)
    b = history.do("Set", "b", payload=2)
    history.do("Move", "a", source=b, index=7)
    history.do("Move", "c", source=b, index=8)
    history.do("Set", a if form == "place" else "a", payload=3, origin=lost(5))
    assert history.document() == {"a": 3, "c": 2}


def test_a_set_below_what_is_gone_fails_and_is_not_superseded():
    """Where it acts is looked at first."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Set", box, "a", payload=2, index=7)
    history.do("Delete", box, index=8)
    history.do("Set", box, "a", payload=3, origin=lost(5))
    assert history.failed() == ({}, [(["box", "a"], MISSING)])


def test_an_element_is_new_and_never_superseded():
    """Inserts find their place as they always do."""
    history = History()
    items = history.do("Set", "items", payload=["a"], index=7)
    history.do("InsertAfter", items, 1, payload="b", origin=lost(3), after=nth(items, 1))
    history.do("Set", items, 2, payload="c", origin=lost(4), side="end")
    assert history.document() == {"items": ["a", "b", "c"]}


def test_an_insert_unique_adds_to_what_is_newer():
    """It puts nothing at the place of the array."""
    history = History()
    items = history.do("Set", "items", payload=["a"], index=7)
    history.do("InsertUnique", items, payload="a", side="end", origin=lost(3))
    history.do("InsertUnique", items, payload="b", side="end", origin=lost(4))
    assert history.document() == {"items": ["a", "b"]}


@pytest.mark.parametrize("action", ["Move", "Copy"])
def test_a_re_issued_move_or_copy_does_not_mind_what_it_covers(action):
    """It looks at its source, or at nothing."""
    history = History()
    b = history.do("Set", "b", payload=1)
    history.do("Set", "a", payload="newer", index=7)
    history.do(action, "a", source=b, origin=lost(5))
    assert history.document() == {"a": 1} | ({"b": 1} if action == "Copy" else {})


# --- The same date -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "form"),
    [
        *(("Set", "key"), ("Set", "place"), ("InitArray", "key"), ("InitArray", "place")),
        *(("Delete", "place"), ("Add", "place"), ("Multiply", "place")),
    ],
)
def test_the_same_date_of_another_op_supersedes_whatever_acts_on_the_place(action, form):
    """What is re-issued from a base holds what came before."""
    history = History()
    a = history.do("Set", "a", payload=4, origin=nth(lost(5), 1), index=7)
    rest = {} if action in ("InitArray", "Delete") else {"payload": 3}
    history.do(action, a if form == "place" else "a", origin=lost(5), by=BOB, **rest)
    assert history.document() == {"a": 4}


@pytest.mark.parametrize("action", ["Set", "InitArray", "Delete", "Add"])
def test_an_op_does_not_supersede_itself(action):
    """Its own actions come one after the other."""
    history = History()
    history.do("Set", "a", payload=1, index=4)
    rest = {} if action in ("InitArray", "Delete") else {"payload": 3}
    last = act(action, lost(5), **rest)
    history.transaction(act("Set", "a", payload=2), last, origin=lost(5))
    expected = {"Set": {"a": 3}, "InitArray": {"a": []}, "Delete": {}, "Add": {"a": 5}}
    assert history.document() == expected[action]


def test_only_the_op_that_assigned_last_counts():
    """What a Transaction replaced, was in its way before, and is not any more."""
    history = History()
    a = history.do("Set", "a", payload=1, index=7)
    inner = [act("Delete", a), act("Set", "a", payload=2), act("Set", "a", payload=3)]
    history.transaction(*inner, origin=lost(5))
    assert history.document() == {"a": 1}
    history.do("Delete", a)
    history.transaction(*inner, origin=lost(6))
    assert history.document() == {"a": 3}


@pytest.mark.parametrize("action", ["Set", "Delete"])
def test_the_same_date_of_a_calculation_is_not_greater(action):
    """A sum of the same date is part of what is replaced."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Add", a, payload=10, origin=nth(lost(5), 1))
    rest = {"payload": 2} if action == "Set" else {}
    history.do(action, a, origin=nth(lost(5), 2), **rest)
    assert history.document() == ({"a": 2} if action == "Set" else {})


def test_the_same_date_of_a_move_is_not_greater_for_a_set():
    """Nor is a move of the same date onto the key."""
    history = History()
    b = history.do("Set", "b", payload=1)
    history.do("Move", "a", source=b, origin=nth(lost(5), 1))
    history.do("Set", "a", payload=2, origin=nth(lost(5), 2))
    assert history.document() == {"a": 2}


def test_the_same_date_below_is_not_greater():
    """What came out of the same lost op does not make it fail."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Set", box, "n", payload=1, origin=nth(lost(5), 1))
    history.do("Set", "box", payload={}, origin=nth(lost(5), 2))
    assert history.document() == {"box": {}}


def test_what_the_same_date_supersedes_names_that_place_only():
    """A part from a base came first; further names find what those of the lost op find."""
    history = History()
    a = history.do("Set", "a", payload={"y": 1}, origin=nth(lost(5), 1), index=7)
    inner = [act("InitObject", "b"), act("Set", "a", payload={"x": [0], "z": 1})]
    both = history.transaction(*inner, origin=lost(5), by=BOB)
    x = history.do("Set", nth(a, 0), "x", payload=[2], origin=nth(lost(5), 2))
    history.do("Add", nth(both, 3), payload=10)
    history.do("Set", nth(both, 2), payload=3)
    oracle = history.fold()
    assert history.failed() == ({"a": {"x": 3, "y": 1}, "b": {}}, [([], "path does not exist")])
    assert oracle.find(nth(both, 1)) is oracle.find(a)
    assert oracle.find(nth(both, 2)) is oracle.find(x) is oracle.find(nth(lost(5), 2))


# --- Move --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "shown"), [(4, "c"), (5, "b"), (6, "b")])
def test_a_move_is_superseded_by_another_one_of_its_source_at_its_date_or_later(index, shown):
    """It would take the place away from where it belongs."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, origin=nth(lost(index), 1), index=7)
    history.do("Move", "c", source=a, origin=lost(5))
    assert history.document() == {shown: 1}


def test_a_newer_move_without_effect_supersedes_a_move():
    """It said that this place belongs there."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "a", source=a, index=7)
    history.do("Move", "b", source=a, origin=lost(5))
    assert history.document() == {"a": 1}


def test_a_superseded_move_that_would_have_no_effect_gives_no_date():
    """The place is there already, and was moved since."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, index=7)
    history.do("Move", "b", source=a, origin=lost(5))
    place = history.fold().find(a)
    assert place is not None
    assert [date[0] for date, _ in place.moves] == [7]


def test_a_move_that_failed_supersedes_no_move():
    """It moved nothing."""
    history = History()
    a = history.do("Set", "a", payload={})
    history.do("Move", a, "b", source=a, index=7)
    history.do("Move", "c", source=a, origin=lost(5))
    inside = "cannot move a place into itself"
    assert history.failed() == ({"c": {}}, [(["a", "b"], inside)])


@pytest.mark.parametrize("action", ["Set", "Add"])
def test_a_move_minds_no_newer_values(action):
    """It takes them along."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do(action, a, payload=2, index=7)
    history.do("Move", "b", source=a, origin=lost(5))
    assert history.document() == {"b": 2 if action == "Set" else 3}


def test_a_move_of_what_was_assigned_since_it_was_moved_is_not_superseded():
    """The move is forgotten."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, index=7)
    history.do("Set", a, payload=2)
    history.do("Move", "c", source=a, origin=lost(5))
    assert history.document() == {"c": 2}


def test_a_move_does_not_mind_where_the_parent_of_its_source_was_moved():
    """Only its source counts."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Move", "new box", source=box, index=7)
    history.do("Move", "n", source=nth(box, 1), origin=lost(5))
    assert history.document() == {"n": 1, "new box": {}}


def test_the_moves_of_one_transaction_do_not_supersede_each_other():
    """The last one counts, as ever."""
    history = History()
    a = history.do("Set", "a", payload=1)
    inner = [act("Move", "b", source=a), act("Move", "c", source=a)]
    history.transaction(*inner, origin=lost(5))
    assert history.document() == {"c": 1}


def test_a_move_without_origin_looks_at_no_dates():
    """As ever."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, origin=lost(50))
    history.do("Move", "c", source=a)
    assert history.document() == {"c": 1}


def test_a_superseded_move_into_an_array_leaves_vacated_positions():
    """Inserts beside them find where the element would stand."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    c = history.do("Set", "c", payload="c")
    history.do("Move", "d", source=c, index=7)
    beside = nth(items, 1)
    history.do("Move", items, 1, source=c, after=beside, fill=1, origin=lost(5))
    history.do("InsertAfter", items, 1, payload="x", after=nth(lost(5), 1), by=BOB)
    oracle = history.fold()
    assert history.document() == {"d": "c", "items": ["a", "x", "b"]}
    assert oracle.find(lost(5)) is oracle.find(nth(lost(5), 1)) is None


def test_a_superseded_move_names_nothing_at_a_key():
    """Nor does it cover anything."""
    history = History()
    history.do("Set", "b", payload="b")
    a = history.do("Set", "a", payload=1)
    history.do("Move", "c", source=a, index=7)
    history.do("Move", "b", source=a, origin=lost(5))
    assert history.document() == {"b": "b", "c": 1}
    assert history.fold().find(lost(5)) is None


@pytest.mark.parametrize("kind", ["key", "parent", "array", "fill"])
def test_a_superseded_move_does_not_look_where_it_would_go(kind):
    """It fails nowhere, also if there is nothing that it could go to."""
    history = History()
    a = history.do("Set", "a", payload=1)
    there = history.do("Set", "there", payload=[] if kind == "fill" else {})
    history.do("Move", "b", source=a, index=7)
    match kind:
        case "key":
            history.do("Move", lost(1), "k", source=a, origin=lost(5))
        case "parent":
            history.do("Move", lost(1), 0, source=a, origin=lost(5))
        case "array":
            history.do("Move", there, 0, source=a, origin=lost(5))
        case _:
            history.do("Move", there, 0, source=a, fill=65_537, origin=lost(5))
    assert history.document() == {"b": 1, "there": [] if kind == "fill" else {}}
    assert not history.failed()[1]


def test_a_superseded_move_is_not_one_into_itself():
    """Dates are looked at before anything else that it does."""
    history = History()
    a = history.do("Set", "a", payload={})
    history.do("Move", "b", source=a, index=7)
    history.do("Move", a, "k", source=a, origin=lost(5))
    assert history.document() == {"b": {}}


# --- Delete, Add, Multiply ---------------------------------------------------------------------


@pytest.mark.parametrize("action", ["Set", "Add"])
def test_a_newer_value_supersedes_a_delete(action):
    """It was not what had to go."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do(action, a, payload=2, index=7)
    history.do("Delete", a, origin=lost(5))
    assert history.document() == {"a": 2 if action == "Set" else 3}


def test_a_delete_does_not_mind_where_a_place_was_moved():
    """A Delete has the form of a place."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, index=7)
    history.do("Delete", a, origin=lost(5))
    assert history.document() == {}


def test_a_delete_of_an_older_value_has_its_effect():
    """It comes late, but was meant."""
    history = History()
    a = history.do("Set", "a", payload=1, index=4)
    history.do("Delete", a, origin=lost(5))
    assert history.document() == {}


def test_a_delete_of_a_covered_place_has_no_effect_whatever_the_dates():
    """Its place is gone already."""
    history = History()
    a = history.do("Set", "a", payload=1)
    b = history.do("Set", "b", payload=2)
    history.do("Set", a, payload=3, index=7)
    history.do("Move", "a", source=b)
    history.do("Delete", a, origin=lost(5))
    assert history.document() == {"a": 2}


@pytest.mark.parametrize("action", ["Add", "Multiply"])
@pytest.mark.parametrize("newer", ["Set", "payload"])
def test_a_newer_set_supersedes_a_calculation(action, newer):
    """It knew, or would have replaced, what was calculated before."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    n = nth(box, 1)
    if newer == "Set":
        history.do("Set", n, payload=10, index=7)
    else:
        history.do("Set", box, payload={"n": 10}, index=7)
    history.do(action, n, payload=3, origin=lost(5))
    assert history.document() == {"box": {"n": 10}}


def test_calculations_add_up_whatever_their_dates():
    """Their order means nothing."""
    history = History()
    n = history.do("Set", "n", payload=1)
    history.do("Add", n, payload=10, index=7)
    history.do("Add", n, payload=100, origin=lost(5))
    history.do("Add", n, payload=1000, origin=lost(4))
    assert history.document() == {"n": 1111}


def test_a_calculation_does_not_mind_where_a_place_was_moved():
    """It is about the place."""
    history = History()
    n = history.do("Set", "n", payload=1)
    history.do("Move", "m", source=n, index=7)
    history.do("Add", n, payload=10, origin=lost(5))
    assert history.document() == {"m": 11}


def test_a_superseded_calculation_does_not_look_at_what_it_finds():
    """No failure, although it is not a number any more."""
    history = History()
    n = history.do("Set", "n", payload=1)
    history.do("Set", n, payload="text", index=7)
    history.do("Add", n, payload=10, origin=lost(5))
    assert history.document() == {"n": "text"}


def test_a_calculation_at_what_was_deleted_since_fails():
    """There is no place where it acts."""
    history = History()
    n = history.do("Set", "n", payload=1)
    history.do("Delete", n, index=7)
    history.do("Add", n, payload=10, origin=lost(5))
    assert history.failed() == ({}, [(["n"], MISSING)])


def test_a_calculation_that_fails_gives_no_date():
    """Number out of range."""
    history = History()
    n = history.do("Set", "n", payload=2**63)
    history.do("Multiply", n, payload=4, index=7)
    history.do("Set", n, payload=1, origin=lost(5))
    assert history.failed() == ({"n": 1}, [(["n"], "number out of range")])
