"""What the page says of dates: which ones ops have, and which ones they give to places."""

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


def test_the_same_date_of_another_op_supersedes():
    """What came out of one lost op, place by place, is there already."""
    history = History()
    history.do("Set", "a", payload=1, origin=nth(lost(5), 1), index=7)
    history.do("Set", "a", payload=2, origin=nth(lost(5), 2))
    assert history.document() == {"a": 1}


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
    history.do("Move", "b", source=a, origin=lost(50))
    history.do("Move", "c", source=a, index=7)
    history.do("Set", "c", payload=0, origin=lost(40))
    history.do("Move", "d", source=a, origin=lost(41))
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
