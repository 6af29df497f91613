"""What the page says of members of objects: set, delete, init, names that live on."""

import pytest

from tests.oracle.histories import BOB, History, act, nth

MISSING = "path does not exist"


def test_the_empty_history_is_an_empty_object():
    """The root is an object before anybody did anything."""
    assert History().document() == {}


def test_set_creates_a_key_of_the_root():
    """The key form without a parent speaks of the root."""
    history = History()
    history.do("Set", "a", payload=1)
    assert history.document() == {"a": 1}


def test_the_greater_index_wins_at_one_key():
    """Of two sets of one key the later in order decides."""
    history = History()
    history.do("Set", "a", payload="late", index=2)
    history.do("Set", "a", payload="early", index=1)
    assert history.document() == {"a": "late"}


def test_of_equal_indexes_the_greater_author_wins():
    """Ids order by index first, then by the author's bytes."""
    history = History()
    history.do("Set", "a", payload="bob", by=BOB, index=1)
    history.do("Set", "a", payload="alice", index=1)
    assert history.document() == {"a": "bob"}


def test_null_is_a_value_and_not_emptiness():
    """A place that holds null is shown."""
    history = History()
    history.do("Set", "a", payload=None)
    assert history.document() == {"a": None}


def test_payload_places_are_numbered_in_pre_order_with_sorted_keys():
    """`{"b": [7], "a": 1}` names itself 0, a 1, b 2 and the 7 in b 3."""
    history = History()
    box = history.do("Set", "box", payload={"b": [7], "a": 1})
    history.do("Set", nth(box, 1), payload="a")
    history.do("Set", nth(box, 3), payload="b[0]")
    assert history.document() == {"box": {"a": "a", "b": ["b[0]"]}}


def test_keys_are_numbered_by_code_points_not_by_utf_16_units():
    """U+FF5E comes before U+1F600, although its UTF-16 unit is greater."""
    history = History()
    box = history.do("Set", "box", payload={"\U0001f600": 1, "\uff5e": 2})
    history.do("Set", nth(box, 1), payload="first")
    assert history.document() == {"box": {"\uff5e": "first", "\U0001f600": 1}}


def test_a_place_set_again_is_the_same_place():
    """All names of a place find it, whoever gave them."""
    history = History()
    first = history.do("Set", "a", payload=1)
    second = history.do("Set", "a", payload=2, by=BOB)
    oracle = history.fold()
    assert oracle.find(first) is oracle.find(second)


def test_setting_an_object_again_keeps_the_places_of_its_keys():
    """Replacing a value empties what is below it, and the same keys are the same places."""
    history = History()
    first = history.do("Set", "box", payload={"a": 1, "b": 2})
    second = history.do("Set", "box", payload={"a": 3})
    oracle = history.fold()
    assert oracle.document() == {"box": {"a": 3}}
    assert oracle.find(nth(first, 1)) is oracle.find(nth(second, 1))


def test_a_set_under_a_replaced_object_survives():
    """An op on a place below fails only if its parent is then of another kind."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Set", "box", payload={}, by=BOB)
    history.do("Set", nth(box, 1), payload="back")
    assert history.document() == {"box": {"a": "back"}}


def test_a_set_under_an_object_that_became_a_number_fails():
    """The parent must be an object."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Set", "box", payload=5, by=BOB)
    history.do("Set", box, "a", payload=1)
    assert history.failed() == ({"box": 5}, [(["box", "a"], MISSING)])


def test_a_set_under_an_object_that_became_an_array_fails():
    """Keys keep their occupants under an array, but do not show and cannot be set."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("InitArray", "box", by=BOB)
    history.do("Set", nth(box, 1), payload=2)
    assert history.failed() == ({"box": []}, [(["box", "a"], MISSING)])


def test_keys_that_did_not_show_under_an_array_are_the_same_places_afterwards():
    """Keys are remembered for ever, whatever the content is."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("InitArray", "box")
    history.do("InitObject", "box")
    again = history.do("Set", box, "a", payload=2)
    oracle = history.fold()
    assert oracle.document() == {"box": {"a": 2}}
    assert oracle.find(nth(box, 1)) is oracle.find(again)


def test_a_set_below_a_deleted_object_fails():
    """The parent must be present."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box, by=BOB)
    history.do("Set", box, "a", payload=1)
    assert history.failed() == ({}, [(["box", "a"], MISSING)])


def test_a_name_that_no_op_gave_finds_nothing():
    """A failure without a place has the path []."""
    history = History()
    history.do("Set", {"author": BOB, "index": 99}, "a", payload=1)
    assert history.failed() == ({}, [([], MISSING)])


def test_a_name_given_later_in_the_order_finds_nothing_yet():
    """Names count at that moment of the fold."""
    history = History()
    box = history.do("Set", "box", payload={}, by=BOB, index=2)
    history.do("Set", box, "a", payload=1, index=1)
    assert history.failed() == ({"box": {}}, [([], MISSING)])


def test_a_place_of_a_primitive_has_no_keys():
    """A number is no parent."""
    history = History()
    number = history.do("Set", "n", payload=1)
    history.do("Set", number, "a", payload=1)
    assert history.failed() == ({"n": 1}, [(["n", "a"], MISSING)])


def test_delete_removes_a_member_and_everything_below():
    """Emptying goes all the way down."""
    history = History()
    box = history.do("Set", "box", payload={"a": {"b": 1}})
    history.do("Delete", box)
    oracle = history.fold()
    inner = oracle.find(nth(box, 2))
    assert oracle.document() == {}
    assert inner is not None
    assert not oracle.is_present(inner)
    assert oracle.path_of(inner) == ["box", "a", "b"]


def test_deleting_twice_has_no_effect_the_second_time():
    """An empty place is deleted already."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Delete", a)
    history.do("Delete", a, by=BOB)
    assert history.document() == {}


def test_deleting_below_a_deleted_place_fails():
    """The owner of the slot must be present, before it matters that the place is empty."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Delete", box)
    history.do("Delete", nth(box, 1), by=BOB)
    assert history.failed() == ({}, [(["box", "a"], MISSING)])


def test_deleting_below_an_object_that_became_an_array_fails():
    """The owner of the slot must be of the right kind."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("InitArray", box)
    history.do("Delete", nth(box, 1), by=BOB)
    assert history.failed() == ({"box": []}, [(["box", "a"], MISSING)])


def test_deleting_what_no_name_finds_fails():
    """Found nothing: a failure, not silence."""
    history = History()
    history.do("Delete", {"author": BOB, "index": 9})
    assert history.failed() == ({}, [([], MISSING)])


def test_a_deleted_member_that_is_set_again_is_the_same_place():
    """Deleting empties; names and place stay, and the old name revives it."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Delete", a)
    revived = history.do("Set", "a", payload=2)
    oracle = history.fold()
    assert oracle.document() == {"a": 2}
    assert oracle.find(a) is oracle.find(revived)


def test_setting_a_deleted_member_by_name_brings_it_back():
    """The place form needs a present owner only."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Delete", a)
    history.do("Set", a, payload=2, by=BOB)
    assert history.document() == {"a": 2}


def test_reviving_an_object_does_not_bring_back_what_was_below():
    """What is below stays known, emptied."""
    history = History()
    box = history.do("Set", "box", payload={"a": 1})
    history.do("Delete", box)
    history.do("InitObject", box)
    assert history.document() == {"box": {}}


@pytest.mark.parametrize(("init", "value"), [("InitObject", {"a": 1}), ("InitArray", [1])])
def test_init_keeps_a_value_of_the_same_kind(init, value):
    """Concurrent inits of one place agree, and both names find it."""
    history = History()
    first = history.do("Set", "box", payload=value)
    second = history.do(init, "box", by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"box": value}
    assert oracle.find(first) is oracle.find(second)


@pytest.mark.parametrize(("init", "empty"), [("InitObject", {}), ("InitArray", [])])
@pytest.mark.parametrize("before", [1, None, "text", {"a": 1}, [1, 2]])
def test_init_replaces_a_value_of_another_kind(init, empty, before):
    """The place stays, its content becomes an empty container."""
    if type(before) is type(empty):
        before = "anything else"
    history = History()
    box = history.do("Set", "box", payload=before)
    history.do(init, box)
    assert history.document() == {"box": empty}


def test_init_creates_a_missing_key():
    """The key form makes the place if there is none."""
    history = History()
    box = history.do("InitObject", "box")
    history.do("InitArray", box, "list")
    assert history.document() == {"box": {"list": []}}


def test_keys_of_any_text_are_only_keys():
    """Nothing is special about the empty key, dots or dollars."""
    history = History()
    for key in ("", "$", "a.b", "0", "\n"):
        history.do("Set", key, payload=key)
    assert history.document() == {key: key for key in ("", "$", "a.b", "0", "\n")}


def test_a_set_with_a_place_form_reaches_a_place_that_moved_to_a_key():
    """The place form follows the place, whichever slot it has now."""
    history = History()
    items = history.do("Set", "items", payload=["x"])
    history.do("Move", "kept", source=nth(items, 1))
    history.do("Set", nth(items, 1), payload="y", by=BOB)
    assert history.document() == {"items": [], "kept": "y"}


def test_payloads_are_not_changed_by_folding():
    """The fold only reads the ops."""
    history = History()
    payload = {"b": [1, {"c": 2}], "a": None}
    box = history.do("Set", "box", payload=payload)
    history.do("Set", nth(box, 1), payload=5)
    history.fold()
    assert payload == {"b": [1, {"c": 2}], "a": None}


def test_an_unknown_action_raises():
    """The oracle refuses what is no op, rather than inventing a meaning."""
    history = History()
    history.add(act("Explode", "a"), by=BOB, index=1)
    with pytest.raises(ValueError, match="'Explode' is not an action"):
        history.fold()
