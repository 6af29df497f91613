"""What the page says of limits: evaluated alike everywhere, and exceeding one is a failure."""

import pytest

from tests.oracle.fold import Oracle
from tests.oracle.histories import BOB, History, act, nth


def nested(depth):
    """Return `depth` arrays in each other."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def text_of(canonical_bytes):
    """Return a string whose canonical JSON has this many bytes."""
    return "x" * (canonical_bytes - 2)


def test_a_payload_of_8_mib_is_allowed():
    """The quotation marks count."""
    history = History()
    history.do("Set", "a", payload=text_of(8_388_608))
    assert len(history.document()["a"]) == 8_388_606


def test_a_payload_of_8_mib_and_one_byte_fails_and_names_its_place():
    """The first of all checks."""
    history = History()
    skipped = history.do("Set", "a", payload=text_of(8_388_609))
    history.do("Set", skipped, payload="short", by=BOB)
    assert history.failed() == ({"a": "short"}, [(["a"], "payload is too large")])


def test_a_payload_counts_in_bytes_of_utf_8():
    """Half as many characters of two bytes each."""
    history = History()
    history.do("Set", "a", payload="é" * 4_194_303)
    history.do("Set", "b", payload="é" * 4_194_304)
    document, failures = history.failed()
    assert list(document) == ["a"]
    assert failures == [(["b"], "payload is too large")]


def test_the_payload_is_looked_at_before_the_path():
    """Checks come in the order of the page."""
    history = History()
    history.do("Set", {"author": BOB, "index": 9}, "a", payload=text_of(8_388_609))
    assert history.failed() == ({}, [([], "payload is too large")])


def test_any_inner_payload_that_is_too_large_fails_the_transaction():
    """But together they may be larger."""
    history = History()
    half = text_of(5_000_000)
    history.transaction(act("Set", "a", payload=half), act("Set", "b", payload=half))
    history.transaction(act("Delete", {"author": BOB, "index": 9}),
        act("Set", "c", payload=text_of(8_388_609)),
    )  # fmt: skip
    document, failures = history.failed()
    assert list(document) == ["a", "b"]
    assert failures == [([], "payload is too large")]


@pytest.mark.long
def test_65_536_elements_can_be_filled():
    """One op may put so many nulls before its element."""
    history = History()
    items = history.do("InitArray", "items")
    history.do("Set", items, 65_536, payload="end", fill=65_536)
    oracle = Oracle(history.ops)  # once only: this is a lot for a slow fold
    assert oracle.document() == {"items": [None] * 65_536 + ["end"]}
    assert oracle.failures == []


def test_more_elements_to_fill_are_too_many_and_name_nothing():
    """A number that costs its author nothing must not cost others memory."""
    history = History()
    items = history.do("InitArray", "items")
    skipped = history.do("Set", items, 65_537, payload="end", fill=2**50)
    oracle = history.fold()
    place = oracle.find(items)
    assert [one["message"] for one in oracle.failures] == ["too many elements to fill"]
    assert place is not None
    assert place.positions == []
    assert oracle.find(skipped) is None


def test_too_many_fills_still_take_their_numbers():
    """What comes later in the Transaction is named as its author named it."""
    history = History()
    items = history.do("InitArray", "items")
    op = history.transaction(
        act("Set", items, 65_537, payload=1, fill=65_537), act("Set", "a", payload=2)
    )
    history.do("Set", nth(op, 65_538), payload=3, by=BOB)
    assert history.failed() == ({"items": [], "a": 3}, [(["items"], "too many elements to fill")])


@pytest.mark.parametrize(("depth", "fits"), [(127, True), (128, False)])
def test_at_most_128_containers_are_nested_the_root_included(depth, fits):
    """The root is the first of them."""
    history = History()
    history.do("Set", "a", payload=nested(depth))
    document, failures = history.failed()
    assert document == ({"a": nested(depth)} if fits else {})
    assert failures == ([] if fits else [(["a"], "nested too deeply")])


@pytest.mark.parametrize(("depth", "fits"), [(64, True), (65, False)])
def test_depth_counts_from_where_a_payload_lands(depth, fits):
    """63 containers around it leave room for 64, with the root."""
    history = History()
    a = history.do("Set", "a", payload=nested(63))
    history.do("InsertAfter", nth(a, 62), 0, payload=nested(depth))
    assert [message for _, message in history.failed()[1]] == (
        [] if fits else ["nested too deeply"]
    )


@pytest.mark.parametrize("action", ["Move", "Copy"])
def test_a_move_or_copy_that_nests_too_deeply_fails(action):
    """Nothing is changed, also not where the source was."""
    history = History()
    a = history.do("Set", "a", payload=nested(127))
    b = history.do("Set", "b", payload={})
    history.do(action, b, "k", source=a)
    assert history.failed() == (
        {"a": nested(127), "b": {}},
        [(["b", "k"], "nested too deeply")],
    )


def test_init_cannot_nest_too_deeply_either():
    """It puts an empty container, and that counts."""
    history = History()
    a = history.do("Set", "a", payload=nested(127))
    history.do("InitObject", nth(a, 126), 0)
    history.do("Set", nth(a, 126), 0, payload="no container")
    document, failures = history.failed()
    assert [message for _, message in failures] == ["nested too deeply"]
    assert str(document).count("no container") == 1


def test_places_below_skipped_ops_may_be_known_at_any_depth():
    """Only what is shown counts; emptying what is below such places must not overflow."""
    history = History()
    place = history.do("Set", "a", payload=0)
    for _ in range(12):
        skipped = history.do("Set", place, "k", payload=nested(100))
        place = nth(skipped, 99)
    history.do("InitObject", "a")
    document, failures = history.failed()
    assert document == {"a": {}}
    assert len(failures) == 12


def test_a_document_with_too_many_places_does_not_grow():
    """The root does not count, everything else that is shown does."""
    history = History()
    a = history.do("Set", "a", payload=[1, 2])
    history.do("Set", "b", payload=3)
    history.do("Set", "c", payload=4, by=BOB)
    history.do("Delete", nth(a, 1))
    history.do("Set", "c", payload=5)
    assert history.failed(places_max=4) == (
        {"a": [2], "b": 3, "c": 5},
        [(["c"], "document is too large")],
    )


def test_fills_count_as_places():
    """They are shown."""
    history = History()
    items = history.do("InitArray", "items")
    history.do("Set", items, 3, payload=1, fill=3)
    assert history.failed(places_max=4) == (
        {"items": []},
        [(["items"], "document is too large")],
    )


def test_depth_is_looked_at_before_size():
    """In the order of the page."""
    history = History()
    history.do("Set", "a", payload=nested(128))
    assert history.failed(places_max=5) == ({}, [(["a"], "nested too deeply")])


def test_each_action_of_a_transaction_must_keep_the_limits():
    """Also if a later one would have made room."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.transaction(act("Set", "b", payload=2), act("Delete", a))
    assert history.failed(places_max=1) == ({"a": 1}, [(["b"], "document is too large")])


@pytest.mark.parametrize(("limit", "fits"), [(3, True), (2, False)])
def test_a_copy_counts_all_its_places(limit, fits):
    """The new place and everything shown below it; what is deleted does not count."""
    history = History()
    a = history.do("Set", "a", payload=[1, 2, 3])
    history.do("Delete", nth(a, 1))
    history.do("Copy", "b", source=a)
    document, failures = history.failed(copy_places_max=limit)
    assert document == ({"a": [2, 3], "b": [2, 3]} if fits else {"a": [2, 3]})
    assert failures == ([] if fits else [(["b"], "copy is too large")])
