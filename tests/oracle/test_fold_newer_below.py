"""What the page says of dates: newer values below, what skipped ops name, Transactions."""

import pytest

from tests.oracle.histories import BOB, History, act, nth
from tests.oracle.test_fold_dates import lost

MISSING = "path does not exist"
NEWER = "newer values stand below"


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
    late = history.do("Set", "box", payload={"m": [], "n": 0}, origin=lost(5))
    history.do("Add", nth(late, 2), payload=1, by=BOB)
    history.do("InitArray", nth(late, 1), by=BOB)
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
    late = history.transaction(*inner, act("Set", "b", payload=1), origin=lost(5))
    history.do("Set", nth(late, 1), payload="x", by=BOB)
    history.do("Set", nth(late, 2), payload="b", by=BOB)
    assert history.failed() == ({"a": {"x": "x"}, "b": "b"}, [([], MISSING)])


def test_a_payload_that_is_too_large_fails_although_its_op_would_be_superseded():
    """Checks come in the order of the page."""
    history = History()
    history.do("Set", "a", payload=1, index=7)
    history.do("Set", "a", payload="y" * 9_000_000, origin=lost(5))
    assert history.failed() == ({"a": 1}, [(["a"], "payload is too large")])
