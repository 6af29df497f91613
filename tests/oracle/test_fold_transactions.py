"""What the page says of Transactions: one op, all or nothing, numbers that run through."""

import pytest

from tests.oracle.histories import BOB, History, act, nth

MISSING = "path does not exist"


def test_inner_actions_see_the_effects_of_earlier_ones():
    """A Transaction can fill the object that it makes."""
    history = History()
    name = {"author": BOB, "index": 1}
    history.transaction(
        act("InitObject", "box"), act("Set", name, "a", payload=1), act("Add", nth(name, 1),
        payload=2), by=BOB,
    )  # fmt: skip
    assert history.document() == {"box": {"a": 3}}


def test_numbers_run_through_all_inner_actions():
    """Delete, Add and Multiply take none; fills and payloads take theirs."""
    history = History()
    items = history.do("Set", "items", payload=[0])
    op = history.transaction(
        act("Set", "a", payload={"x": 1}),  # 0 and 1
        act("Add", nth(items, 1), payload=5),
        act("Set", items, 3, payload="end", fill=2),  # 2, 3 and 4
        act("Move", items, 4, source=nth(items, 1)),  # 5
        act("InsertUnique", items, payload=5),  # 6
        act("InitArray", "b"),  # 7
    )
    for number in (1, 3, 4, 6, 7):
        history.do("Set", nth(op, number), payload=number)
    assert history.document() == {"a": {"x": 1}, "items": [None, 3, 4, 6], "b": 7}


def test_a_transaction_that_fails_has_no_effect_at_all():
    """The effects of the earlier actions are undone."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1, "b": [1, 2]})
    history.transaction(
        act("Delete", nth(box, 1)),
        act("InsertBefore", nth(box, 2), 0, payload=0, before=nth(box, 3)),
        act("Move", "moved", source=nth(box, 4)),
        act("Copy", box, "copy", source=box),
        act("Set", "box", payload={"z": 1}),
        act("Add", nth(box, 2), payload=1),
    )
    assert history.failed() == (
        {"box": {"a": 1, "b": [1, 2]}},
        [(["box", "b"], MISSING)],
    )


def test_the_first_failure_is_the_failure_of_the_transaction():
    """One failure with the path and the message of that action, and the id of the op."""
    history = History()
    text = history.do("Set", "text", payload="x")
    history.transaction(
        act("Set", "a", payload=1), act("Add", text, payload=1), act("Set", text, "k", payload=1)
    )
    assert history.failed() == ({"text": "x"}, [(["text"], "not a number")])


def test_the_path_of_a_failure_is_that_of_the_moment_inside_the_transaction():
    """An earlier inner action may have moved the place."""
    history = History()
    text = history.do("Set", "text", payload="x")
    history.transaction(act("Move", "moved", source=text), act("Add", text, payload=1))
    assert history.failed() == ({"text": "x"}, [(["moved"], "not a number")])


def test_all_actions_of_a_failed_transaction_name_their_places():
    """Also those after the one that failed, and those inside what was never made."""
    history = History()
    name = {"author": BOB, "index": 2}
    text = history.do("Set", "text", payload="x")
    history.transaction(
        act("Set", "a", payload={"x": 1}),
        act("Add", text, payload=1),
        act("InitObject", "b"),
        act("Set", nth(name, 2), "c", payload=3),
        by=BOB,
    )
    history.do("InitObject", name)
    history.do("Set", nth(name, 1), payload="a.x")
    history.do("InitObject", nth(name, 2))
    history.do("Set", nth(name, 3), payload="b.c")
    document, failures = history.failed()
    assert document == {"text": "x", "a": {"x": "a.x"}, "b": {"c": "b.c"}}
    assert failures == [(["text"], "not a number")]


def test_what_a_failed_transaction_revived_is_deleted_again():
    """Undoing restores contents, slots and cover."""
    history = History()
    a = history.do("Set", "a", payload=1)
    b = history.do("Set", "b", payload=2)
    history.do("Delete", a)
    history.transaction(
        act("Set", a, payload=3), act("Move", "a", source=b), act("Add", a, payload=1)
    )
    history.do("Set", a, payload=4, by=BOB)
    document, failures = history.failed()
    assert document == {"a": 4, "b": 2}
    assert failures == [(["a"], MISSING)]


def test_an_undone_move_leaves_its_positions_vacated():
    """Positions of a skipped Move are named, with nobody in them."""
    history = History()
    items = history.do("Set", "items", payload=["a"])
    b = history.do("Set", "b", payload="b")
    op = history.transaction(
        act("Move", items, 0, source=b, before=nth(items, 1), fill=1), act("Add", b, payload=1)
    )
    history.do("InsertAfter", items, 0, payload="after", after=nth(op, 1))
    history.do("InsertBefore", items, 0, payload="before", before=nth(op, 0))
    document, failures = history.failed()
    assert document == {"items": ["before", "after", "a"], "b": "b"}
    assert [message for _, message in failures] == ["not a number"]


def test_an_empty_transaction_does_nothing():
    """It is still an op, with its step in the hash."""
    history = History()
    history.transaction()
    assert history.document() == {}


def test_a_transaction_with_too_many_actions_fails():
    """The limit counts inner actions."""
    history = History()
    actions = [act("Set", str(number), payload=number) for number in range(3)]
    history.transaction(*actions)
    assert history.failed(transaction_actions_max=2) == ({}, [([], "transaction is too large")])
    assert history.document(transaction_actions_max=3) == {"0": 0, "1": 1, "2": 2}


@pytest.mark.parametrize(("fills", "message"), [(0, None), (1, "transaction is too large")])
def test_a_transaction_takes_at_most_2_to_the_24_less_1_numbers(fills, message):
    """Names are counted before anything is made, so promised fills alone can be too many."""
    history = History()
    gone = {"author": BOB, "index": 9}
    most = act("Set", gone, 0, payload=1, fill=2**24 - 3)  # takes 2^24 - 2 numbers
    history.transaction(most, act("Set", gone, 0, payload=1, fill=fills))
    assert history.failed() == ({}, [([], message or MISSING)])


def test_transactions_cannot_be_nested():
    """They are refused before they are ops."""
    history = History()
    history.transaction(act("Set", "a", payload=1), {"action": "Transaction", "payload": []})
    with pytest.raises(ValueError, match="'Transaction' is not an action"):
        history.fold()
