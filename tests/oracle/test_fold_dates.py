"""What the page says of dates: a re-issued write does not undo what was written since."""

import pytest

from tests.oracle.histories import ALICE, BOB, CAROL, History, act, copied, nth

MISSING = "path does not exist"
NEWER = "newer values stand below"


def lost(index):
    """Return an op of Carol's that nobody here has."""
    return {"author": CAROL, "index": index}


# --- Which date an op has ----------------------------------------------------------------------


def test_a_re_issued_set_does_not_replace_a_newer_one():
    """Its date is that of the lost op, wherever it stands in the fold."""
    history = History()
    history.do("Set", "a", payload="newer", index=7)
    history.do("Set", "a", payload="older", origin=lost(5))
    assert history.document() == {"a": "newer"}


def test_a_re_issued_set_replaces_an_older_one():
    """It was written after that."""
    history = History()
    history.do("Set", "a", payload="older", index=4)
    history.do("Set", "a", payload="newer", origin=lost(5))
    assert history.document() == {"a": "newer"}


def test_a_set_without_origin_looks_at_no_dates():
    """Also if what stands there comes from a future op that is lost."""
    history = History()
    history.do("Set", "a", payload="lost", origin=lost(50))
    history.do("Set", "a", payload="mine")
    assert history.document() == {"a": "mine"}


@pytest.mark.parametrize(("author", "shown"), [(ALICE, "Bob's"), (CAROL, "re-issued")])
def test_dates_with_the_same_index_compare_by_author(author, shown):
    """Like ids."""
    history = History()
    history.do("Set", "a", payload="Bob's", by=BOB, index=5)
    origin = {"author": author, "index": 5}
    history.do("Set", "a", payload="re-issued", origin=origin, by=BOB, index=7)
    assert history.document() == {"a": shown}


def test_the_same_date_is_not_greater():
    """What came out of one lost op, place by place, does not stand in its own way."""
    history = History()
    history.do("Set", "a", payload=1, origin=nth(lost(5), 1), index=7)
    history.do("Set", "a", payload=2, origin=nth(lost(5), 2))
    assert history.document() == {"a": 2}


@pytest.mark.parametrize(("index", "shown"), [(5, "before"), (7, "re-issued")])
def test_the_date_of_a_copied_place_is_that_of_its_first_link(index, shown):
    """The copy, not what had been copied."""
    history = History()
    history.do("Set", "a", payload="before", index=6)
    origin = copied(lost(index), lost(12 - index))
    history.do("Set", "a", payload="re-issued", origin=origin, index=20)
    assert history.document() == {"a": shown}


def test_what_a_re_issued_op_assigned_has_the_date_of_its_origin():
    """So re-issued ops are in order among themselves, however they come."""
    history = History()
    history.do("Set", "a", payload="second", origin=lost(6), index=20)
    history.do("Set", "a", payload="first", origin=lost(5), by=BOB)
    history.do("Set", "a", payload="third", origin=lost(7))
    assert history.document() == {"a": "third"}


def test_the_last_op_in_the_fold_that_assigned_gives_the_date():
    """An ordinary op has replaced what was newer by its date."""
    history = History()
    history.do("Set", "a", payload="lost", origin=lost(50), index=1)
    history.do("Set", "a", payload="mine", index=2)
    history.do("Set", "a", payload="lost too", origin=lost(40))
    assert history.document() == {"a": "lost too"}


def test_an_older_calculation_does_not_set_the_date_of_a_newer_one_back():
    """The newer one would be lost, too."""
    history = History()
    n = history.do("Set", "n", payload=1)
    history.do("Add", n, payload=10, index=7)
    history.do("Add", n, payload=100, origin=lost(4))
    history.do("Set", "n", payload=0, origin=lost(5))
    assert history.document() == {"n": 111}


def test_an_older_move_does_not_set_the_date_of_a_newer_one_back():
    """Wherever it moved the place."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Move", "b", source=a, index=7)
    history.do("Move", "c", source=a, origin=lost(4))
    history.do("Set", "c", payload=0, origin=lost(5))
    assert history.document() == {"c": 1}


# --- What assigns a place ----------------------------------------------------------------------


@pytest.mark.parametrize("action", ["InitObject", "InitArray"])
def test_a_newer_init_supersedes(action):
    """It gave the place its kind."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do(action, a, index=7)
    history.do("Set", "a", payload=2, origin=lost(5))
    assert history.document() == {"a": {} if action == "InitObject" else []}


def test_a_newer_init_that_kept_the_place_supersedes():
    """It acted on it all the same."""
    history = History()
    history.do("Set", "a", payload={"k": 1})
    history.do("InitObject", "a", index=7)
    history.do("Set", "a", payload=2, origin=lost(5))
    assert history.document() == {"a": {"k": 1}}


def test_a_newer_insert_supersedes():
    """It made the place."""
    history = History()
    items = history.do("Set", "items", payload=[])
    x = history.do("InsertAfter", items, 0, payload="x", index=7)
    history.do("Set", x, payload="old", origin=lost(5))
    assert history.document() == {"items": ["x"]}


def test_a_newer_insert_unique_that_added_an_element_supersedes():
    """It is an insert then."""
    history = History()
    items = history.do("Set", "items", payload=[])
    x = history.do("InsertUnique", items, payload="x", side="end", index=7)
    history.do("Set", x, payload="old", origin=lost(5))
    assert history.document() == {"items": ["x"]}


def test_an_insert_unique_that_found_an_equal_element_assigns_nothing():
    """It only named it."""
    history = History()
    items = history.do("Set", "items", payload=["x"])
    x = history.do("InsertUnique", items, payload="x", side="end", index=7)
    history.do("Set", x, payload="later", origin=lost(5))
    assert history.document() == {"items": ["later"]}


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_what_is_in_a_payload_has_its_date(offset):
    """Keys and items, new or not."""
    history = History()
    history.do("Set", "box", payload={"a": 0})
    box = history.do("Set", "box", payload={"a": 1, "b": [2]}, index=7)
    history.do("Set", nth(box, offset), payload="old", origin=lost(5))
    assert history.document() == {"box": {"a": 1, "b": [2]}}


def test_what_is_not_in_a_payload_keeps_its_date():
    """Emptying is not assigning: only the place itself was set."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Set", "box", payload={}, index=7)
    history.do("Set", box, "a", payload=2, origin=lost(5))
    assert history.document() == {"box": {"a": 2}}


@pytest.mark.parametrize("action", ["Set", "InitObject"])
@pytest.mark.parametrize("form", ["key", "place"])
def test_at_an_empty_place_nobody_looks_at_dates(action, form):
    """There is nothing to lose, although what was there was newer."""
    history = History()
    a = history.do("Set", "a", payload=1, index=7)
    history.do("Delete", a)
    rest = {"payload": {}} if action == "Set" else {}
    history.do(action, "a" if form == "key" else a, origin=lost(5), **rest)
    assert history.document() == {"a": {}}


def test_a_delete_gives_no_date():
    """What revives the place is as old as it is."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Delete", a, index=7)
    history.do("Set", "a", payload="revived", origin=lost(5))
    history.do("Set", "a", payload="later", origin=lost(6))
    history.do("Set", "a", payload="older", origin=lost(4))
    assert history.document() == {"a": "later"}


def test_a_delete_of_a_covered_place_does_not_date_the_one_that_covers_it():
    """Only what its name finds is assigned."""
    history = History()
    a = history.do("Set", "a", payload=1)
    b = history.do("Set", "b", payload=2)
    history.do("Move", "a", source=b)
    history.do("Delete", a, index=7)
    history.do("Set", "a", payload=3, origin=lost(5))
    assert history.document() == {"a": 3}


def test_a_delete_that_failed_gives_no_date():
    """Its place is not shown at that moment."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Delete", box)
    history.do("Delete", nth(box, 1), index=7)
    history.do("InitObject", box)
    history.do("Set", box, "a", payload=2, origin=lost(5))
    assert history.failed() == ({"box": {"a": 2}}, [(["box", "a"], MISSING)])


@pytest.mark.parametrize("action", ["Set", "Add"])
def test_ops_that_fail_give_no_dates(action):
    """Nothing newer was written."""
    history = History()
    a = history.do("Set", "a", payload={"k": "text"})
    target = (a, "k") if action == "Set" else (nth(a, 1),)
    payload = "y" * 9_000_000 if action == "Set" else 1
    history.do(action, *target, payload=payload, index=7)
    history.do("Set", a, "k", payload="later", origin=lost(5))
    document, failures = history.failed()
    assert document == {"a": {"k": "later"}}
    assert len(failures) == 1


def test_a_transaction_that_fails_gives_no_dates():
    """Also those of its actions that had their effect before."""
    history = History()
    a = history.do("Set", "a", payload=1)
    inner = [act("Set", "a", payload=2), act("Add", a, payload=1), act("Move", "b", source=a)]
    history.transaction(*inner, act("Add", lost(1), payload=1), index=7)
    history.do("Set", "a", payload=3, origin=lost(5))
    assert history.failed() == ({"a": 3}, [([], MISSING)])


def test_the_place_that_a_skipped_op_made_is_in_nobodys_way():
    """It is empty; then the op that assigned it counts."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    history.do("Set", box, "a", payload="skipped", index=9)
    history.do("InitObject", box)
    history.do("Set", box, "a", payload="revived", origin=lost(5))
    history.do("Set", box, "a", payload="later", origin=lost(6))
    history.do("Set", box, "a", payload="older", origin=lost(4))
    assert history.failed() == ({"box": {"a": "later"}}, [(["box", "a"], MISSING)])


def test_the_place_that_was_there_has_no_date_of_a_skipped_op():
    """Naming is not assigning."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Delete", box)
    history.do("Set", box, "a", payload="skipped", index=7)
    history.do("InitObject", box)
    history.do("Set", box, "a", payload="later", origin=lost(5))
    assert history.failed() == ({"box": {"a": "later"}}, [(["box", "a"], MISSING)])


def test_a_fill_has_the_date_of_the_op_that_made_it():
    """Of a Move, too, which assigns nothing else."""
    history = History()
    items = history.do("Set", "items", payload=[])
    a = history.do("Set", "a", payload=1)
    moved = history.do("Move", items, 2, source=a, fill=1, index=7)
    history.do("Set", moved, payload="old", origin=lost(5))
    history.do("Set", a, payload=2, origin=lost(5), by=BOB, index=20)
    history.do("Set", a, payload=3, origin=lost(6), by=BOB, index=21)
    assert history.document() == {"items": [None, 3]}


@pytest.mark.parametrize("below", [False, True])
def test_what_a_copy_made_has_the_date_of_the_copy(below):
    """Whatever the dates of what was copied."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    copy = history.do("Copy", "b", source=a, index=7)
    name = copied(copy, nth(a, 1)) if below else copy
    history.do("Set", name, payload="old", origin=lost(5))
    assert history.document() == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize("action", ["Set", "Add", "Move"])
def test_a_copy_takes_no_dates_over(action):
    """An old copy that comes back has its old date for all that it makes."""
    history = History()
    x = history.do("Set", "x", payload=1)
    rest = {"source": x} if action == "Move" else {"payload": 2}
    history.do(action, "x" if action != "Add" else x, index=8, **rest)
    history.do("Copy", "y", source=x, origin=lost(5))
    history.do("Set", "y", payload="later", origin=lost(6))
    assert history.document() == {"x": {"Set": 2, "Add": 3, "Move": 1}[action], "y": "later"}


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
def test_a_re_issued_move_or_copy_looks_at_no_dates(action):
    """It covers what stands at the key."""
    history = History()
    b = history.do("Set", "b", payload=1)
    history.do("Set", "a", payload="newer", index=7)
    history.do(action, "a", source=b, origin=lost(5))
    assert history.document() == {"a": 1} | ({"b": 1} if action == "Copy" else {})


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


# --- Newer values below ------------------------------------------------------------------------


@pytest.mark.parametrize("newer", ["assigned", "calculated", "moved", "new", "deep"])
@pytest.mark.parametrize("action", ["Set", "Delete", "InitArray"])
def test_newer_values_below_are_not_emptied(newer, action):
    """The op fails instead, and says so."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1, "o": {}})
    n, o = nth(box, 1), nth(box, 2)
    match newer:
        case "assigned":
            history.do("Set", n, payload=1, index=7)
        case "calculated":
            history.do("Add", n, payload=0, index=7)
        case "moved":
            history.do("Move", box, "n", source=n, index=7)
        case "new":
            history.do("Set", box, "p", payload=1, index=7)
        case _:
            history.do("Set", o, "p", payload=1, index=7)
    before = history.document()
    rest = {"payload": {}} if action == "Set" else {}
    history.do(action, box, origin=lost(5), **rest)
    assert history.failed() == (before, [(["box"], NEWER)])


def test_newer_elements_below_are_not_emptied():
    """Nor those of arrays."""
    history = History()
    items = history.do("Set", "items", payload=["a"])
    history.do("InsertAfter", items, 1, payload="b", after=nth(items, 1), index=7)
    history.do("Set", "items", payload=[], origin=lost(5))
    assert history.failed() == ({"items": ["a", "b"]}, [(["items"], NEWER)])


def test_older_values_below_are_emptied():
    """As ever."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Add", nth(box, 1), payload=1, index=4)
    history.do("Set", "box", payload={}, origin=lost(5))
    assert history.document() == {"box": {}}


def test_what_is_below_but_not_shown_does_not_count():
    """A newer Delete leaves nothing to lose."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Delete", nth(box, 1), index=7)
    history.do("Set", "box", payload={"m": 1}, origin=lost(5))
    assert history.document() == {"box": {"m": 1}}


def test_an_init_that_keeps_the_kind_does_not_mind_newer_values_below():
    """It empties nothing."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Set", box, "n", payload=1, index=7)
    again = history.do("InitObject", "box", origin=lost(5))
    history.do("Set", again, "m", payload=2)
    assert history.document() == {"box": {"m": 2, "n": 1}}


def test_an_init_that_kept_the_place_sets_its_date():
    """It is the last that assigned it."""
    history = History()
    history.do("Set", "box", payload={}, index=4)
    history.do("InitObject", "box", origin=lost(6), index=10)
    history.do("Set", "box", payload="old", origin=lost(5))
    history.do("Set", "box", payload="later", origin=lost(7))
    assert history.document() == {"box": "later"}


def test_a_place_that_is_newer_itself_supersedes_before_anything_below_is_looked_at():
    """No failure."""
    history = History()
    box = history.do("Set", "box", payload={}, index=7)
    history.do("Set", box, "n", payload=1)
    history.do("Set", "box", payload=0, origin=lost(5))
    assert history.document() == {"box": {"n": 1}}


def test_a_set_that_fails_for_newer_values_names_its_places():
    """Like every op that fails."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Add", nth(box, 1), payload=1, index=7)
    history.do("Set", "box", payload={"m": [], "n": 0}, origin=lost(5))
    history.do("Add", nth(lost(5), 2), payload=1, by=BOB)
    history.do("InitArray", nth(lost(5), 1), by=BOB)
    assert history.failed() == ({"box": {"m": [], "n": 3}}, [(["box"], NEWER)])


def test_an_op_that_fails_for_newer_values_gives_no_date():
    """What was older than it can still have its say."""
    history = History()
    box = history.do("Set", "box", payload={"n": 1})
    history.do("Add", nth(box, 1), payload=1, index=7)
    history.do("Delete", box, origin=lost(6))
    history.do("Delete", nth(box, 1))
    history.do("Set", box, payload=0, origin=lost(5))
    assert history.failed() == ({"box": 0}, [(["box"], NEWER)])


# --- Naming only -------------------------------------------------------------------------------


def test_a_superseded_set_names_what_is_there_and_what_would_be():
    """Later ops find both by its names."""
    history = History()
    history.do("Set", "box", payload={"a": 1}, index=7)
    mine = history.do("Set", "box", payload={"a": 0, "b": [0]}, origin=lost(5))
    history.do("Add", nth(lost(5), 1), payload=10, by=BOB)
    history.do("Set", nth(mine, 2), payload=["b"], by=BOB)
    assert history.document() == {"box": {"a": 11, "b": ["b"]}}


def test_a_superseded_set_leaves_dead_elements():
    """Inserts beside them find where they would stand."""
    history = History()
    items = history.do("Set", "items", payload=["a"], index=7)
    history.do("Set", "items", payload=["x", "y"], origin=lost(5))
    history.do("InsertBefore", items, 1, payload="b", before=nth(lost(5), 1), by=BOB)
    history.do("InsertAfter", items, 2, payload="c", after=nth(lost(5), 2), by=BOB)
    history.do("Set", nth(lost(5), 1), payload="x!", by=BOB)
    assert history.document() == {"items": ["a", "b", "x!", "c"]}


@pytest.mark.parametrize("form", ["key", "place"])
def test_a_superseded_init_names_the_place(form):
    """One name, no other kind."""
    history = History()
    a = history.do("Set", "a", payload={}, index=7)
    history.do("InitArray", a if form == "place" else "a", origin=lost(5))
    history.do("Set", lost(5), "k", payload=1, by=BOB)
    assert history.document() == {"a": {"k": 1}}


def test_a_superseded_set_gives_no_dates():
    """Those of the newer one stay."""
    history = History()
    history.do("Set", "a", payload="newer", index=7)
    history.do("Set", "a", payload="oldest", origin=lost(4))
    history.do("Set", "a", payload="old", origin=lost(6))
    assert history.document() == {"a": "newer"}


@pytest.mark.parametrize(("action", "older"), [("Delete", 4), ("Add", 5)])
def test_what_is_superseded_gives_no_dates(action, older):
    """Calculations and Deletes as well."""
    history = History()
    a = history.do("Set", "a", payload=1, index=7)
    rest = {"payload": 1} if action == "Add" else {}
    history.do(action, a, origin=lost(older), **rest)
    history.do("Set", "a", payload=2, origin=lost(6))
    assert history.document() == {"a": 1}
    place = history.fold().find(a)
    assert place is not None
    assert (place.assigned[0], place.calculated[0]) == (7, 0)


def test_a_new_place_that_a_superseded_set_named_is_in_nobodys_way():
    """It is empty."""
    history = History()
    box = history.do("Set", "box", payload={}, index=7)
    history.do("Set", "box", payload={"b": 0}, origin=lost(5))
    history.do("Set", box, "b", payload=1, origin=lost(4), by=BOB)
    assert history.document() == {"box": {"b": 1}}


def test_a_superseded_op_counts_as_the_first_of_its_origin():
    """A repetition has no effect, also if nothing would supersede it any more."""
    history = History()
    a = history.do("Set", "a", payload="newer", index=7)
    history.do("Set", a, payload="old", origin=lost(5))
    again = history.do("Set", "b", payload="old", origin=lost(5), by=BOB)
    history.do("Set", again, payload="here")
    assert history.document() == {"a": "here"}


# --- Transactions ------------------------------------------------------------------------------


def test_the_actions_of_a_transaction_are_superseded_one_by_one():
    """The others have their effect, and all numbers count."""
    history = History()
    history.do("Set", "a", payload="newer", index=7)
    inner = [act("Set", key, payload="re-issued") for key in "ab"]
    history.transaction(*inner, act("Set", "c", payload=1), origin=lost(5))
    history.do("Add", nth(lost(5), 2), payload=1, by=BOB)
    assert history.document() == {"a": "newer", "b": "re-issued", "c": 2}


def test_the_actions_of_a_transaction_have_its_date():
    """Each place that they assigned."""
    history = History()
    inner = [act("Set", key, payload="newer") for key in "ab"]
    history.transaction(*inner, index=7)
    history.do("Set", "b", payload="old", origin=lost(6))
    assert history.document() == {"a": "newer", "b": "newer"}


def test_the_actions_of_a_re_issued_transaction_do_not_supersede_each_other():
    """They have the same date."""
    history = History()
    n = history.do("Set", "n", payload=1)
    inner = [act("Set", n, payload=5), act("Add", n, payload=1), act("Multiply", n, payload=2)]
    again = [act("Set", "n", payload=7), act("Add", n, payload=1), act("Set", n, payload=8)]
    history.transaction(*inner, origin=lost(5))
    assert history.document() == {"n": 12}
    history.transaction(*again, act("Delete", n), origin=lost(6))
    assert history.document() == {}


def test_a_later_action_finds_what_a_superseded_one_named():
    """The Set is superseded, the key below it is new."""
    history = History()
    history.do("Set", "box", payload={"a": 1}, index=7)
    inner = [act("Set", "box", payload={}), act("Set", lost(5), "b", payload=2)]
    history.transaction(*inner, origin=lost(5))
    assert history.document() == {"box": {"a": 1, "b": 2}}


def test_newer_values_below_make_a_whole_transaction_fail():
    """It has its effect as a whole or not at all."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Set", box, "n", payload=1, index=7)
    history.transaction(act("Set", "a", payload=1), act("Delete", box), origin=lost(5))
    assert history.failed() == ({"box": {"n": 1}}, [(["box"], NEWER)])


def test_a_transaction_that_fails_after_a_superseded_action_names_everything():
    """Once, although the superseded action had named its place before."""
    history = History()
    history.do("Set", "a", payload={}, index=7)
    inner = [act("Set", "a", payload={"x": 1}), act("Add", lost(1), payload=1)]
    history.transaction(*inner, act("Set", "b", payload=1), origin=lost(5))
    history.do("Set", nth(lost(5), 1), payload="x", by=BOB)
    history.do("Set", nth(lost(5), 2), payload="b", by=BOB)
    assert history.failed() == ({"a": {"x": "x"}, "b": "b"}, [([], MISSING)])


def test_a_payload_that_is_too_large_fails_although_its_op_would_be_superseded():
    """Checks come in the order of the page."""
    history = History()
    history.do("Set", "a", payload=1, index=7)
    history.do("Set", "a", payload="y" * 9_000_000, origin=lost(5))
    assert history.failed() == ({"a": 1}, [(["a"], "payload is too large")])
