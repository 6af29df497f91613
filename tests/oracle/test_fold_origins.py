"""What the page says of re-issued ops: the first of each origin counts, its names live on."""

import pytest

from tests.oracle.histories import ALICE, BOB, CAROL, History, act, copied, nth

MISSING = "path does not exist"
LOST = {"author": CAROL, "index": 5}  # an op that nobody here has


def test_of_equal_origins_only_the_first_has_effect():
    """Two devices re-issued the same op: it counts once."""
    history = History()
    number = history.do("Set", "n", payload=0)
    history.do("Add", number, payload=1, origin=LOST)
    history.do("Add", number, payload=1, origin=LOST, by=BOB)
    assert history.document() == {"n": 1}


def test_a_re_issued_op_whose_original_is_known_has_no_effect():
    """The original came after all."""
    history = History()
    number = history.do("Set", "n", payload=0)
    original = history.do("Add", number, payload=1, by=BOB)
    history.do("Add", number, payload=1, origin=original)
    assert history.document() == {"n": 1}


def test_the_original_counts_even_if_it_stands_later_in_the_order():
    """Known is known, wherever in the fold."""
    history = History()
    history.do("Set", "a", payload="re-issued", origin={"author": BOB, "index": 7}, index=1)
    history.do("Set", "a", payload="original", by=BOB, index=7)
    assert history.document() == {"a": "original"}


def test_the_names_of_the_lost_op_find_what_the_re_issued_one_made():
    """`O` + n finds what its own offset n finds."""
    history = History()
    mine = history.do("Set", "box", payload={"x": 1}, origin=LOST)
    history.do("Set", nth(LOST, 1), payload=2, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"box": {"x": 2}}
    assert oracle.find(LOST) is oracle.find(mine) is not None


def test_the_names_of_a_repetition_find_what_the_first_one_made():
    """Offset by offset."""
    history = History()
    history.do("Set", "box", payload={"x": 1}, origin=LOST)
    second = history.do("Set", "box", payload={"x": 1}, origin=LOST, by=BOB)
    history.do("Set", nth(second, 1), payload=2)
    assert history.document() == {"box": {"x": 2}}


def test_the_names_of_a_repetition_find_what_the_original_made():
    """Also if the original is folded later than the repetition."""
    history = History()
    original = {"author": BOB, "index": 3}
    repetition = history.do("Set", "box", payload={"x": 1}, origin=original, index=1)
    history.do("Set", nth(repetition, 1), payload="too early", index=2)
    history.do("Set", "box", payload={"x": 1}, by=BOB, index=3)
    history.do("Set", nth(repetition, 1), payload="now", index=4)
    assert history.failed() == ({"box": {"x": "now"}}, [([], MISSING)])


def test_positions_are_found_by_the_names_of_the_lost_op():
    """An insert beside a lost name stands beside the re-issued element."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"], origin=LOST)
    history.do("InsertAfter", items, 1, payload="x", after=nth(LOST, 1), by=BOB)
    assert history.document() == {"items": ["a", "x", "b"]}


def test_positions_are_found_by_the_names_of_a_repetition():
    """The repetition has none of its own."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"], origin=LOST)
    again = history.do("Set", "items", payload=["a", "b"], origin=LOST, by=BOB)
    history.do("InsertAfter", items, 1, payload="x", after=nth(again, 1), by=BOB)
    assert history.document() == {"items": ["a", "x", "b"]}


def test_an_origin_with_an_offset_names_one_place_only():
    """What had been trimmed comes back place by place."""
    history = History()
    history.do("Set", "box", payload={"x": 1}, origin=nth(LOST, 3))
    history.do("InitArray", nth(LOST, 3), by=BOB)
    history.do("Set", nth(LOST, 4), payload=2, by=BOB)
    assert history.failed() == ({"box": []}, [([], MISSING)])


def test_origins_of_one_op_with_different_offsets_are_different():
    """Each has its effect."""
    history = History()
    history.do("Set", "a", payload=1, origin=nth(LOST, 1))
    history.do("Set", "b", payload=2, origin=nth(LOST, 2))
    history.do("Set", "c", payload=3, origin=nth(LOST, 2))
    assert history.document() == {"a": 1, "b": 2}


def test_an_origin_with_an_offset_has_no_effect_if_its_op_is_known():
    """The op made that place itself."""
    history = History()
    original = history.do("Set", "a", payload=[1], by=BOB)
    history.do("Set", "b", payload=2, origin=nth(original, 1))
    assert history.document() == {"a": [1]}


def test_an_origin_with_an_offset_has_no_effect_if_its_op_comes_later():
    """Known is known."""
    history = History()
    history.do("Set", "b", payload=2, origin={"author": BOB, "index": 7, "offset": 1}, index=1)
    history.do("Set", "a", payload=[1], by=BOB, index=7)
    assert history.document() == {"a": [1]}


def test_an_origin_with_an_offset_has_no_effect_if_its_op_was_re_issued_before():
    """Whoever forgot what that op made still knows that it was there."""
    history = History()
    history.do("Set", "a", payload=1, origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1), by=BOB)
    assert history.document() == {"a": 1}


def test_an_origin_with_an_offset_has_its_turn_after_the_first_part_by_the_same_author():
    """Whoever issues a base again comes to one part after the other."""
    history = History()
    history.do("InitObject", "a", origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1))
    history.do("Set", "c", payload=3, origin=nth(LOST, 2))
    assert history.document() == {"a": {}, "b": 2, "c": 3}


def test_an_origin_with_an_offset_has_its_turn_if_its_op_failed():
    """What failed made nothing."""
    history = History()
    history.do("Set", nth({"author": CAROL, "index": 1}, 0), "a", payload=1, origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1), by=BOB)
    assert history.failed() == ({"b": 2}, [([], MISSING)])


def test_the_names_of_a_re_issued_piece_find_what_the_original_made_from_there_on():
    """Number 0 of the piece is the number that its origin says."""
    history = History()
    original = history.do("Set", "a", payload=["x", {"k": 1}], by=BOB)
    piece = history.do("Set", "b", payload={"k": 1}, origin=nth(original, 2))
    history.do("Set", piece, "n", payload=2)
    history.do("Add", nth(piece, 1), payload=10)
    assert history.document() == {"a": ["x", {"k": 11, "n": 2}]}


def test_positions_are_found_by_the_names_of_a_re_issued_piece():
    """They are names like others."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"], by=BOB)
    piece = history.do("Set", "items", payload="a", origin=nth(items, 1))
    history.do("InsertAfter", items, 1, payload="x", after=piece)
    assert history.document() == {"items": ["a", "x", "b"]}


def test_the_numbers_of_a_piece_of_a_piece_add_up():
    """The second origin is an op that has no effect itself."""
    history = History()
    original = history.do("Set", "a", payload=[[1], [2, 3]], by=BOB)
    piece = history.do("Set", "b", payload=[2, 3], origin=nth(original, 3))
    again = history.do("Set", "b", payload=3, origin=nth(piece, 2), by=CAROL)
    history.do("Add", again, payload=10)
    assert history.document() == {"a": [[1], [2, 13]]}


def test_an_origin_that_finds_something_already_has_no_effect():
    """The whole came back before its part."""
    history = History()
    history.do("Set", "a", payload=[1], origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1))
    history.do("Set", nth(LOST, 1), payload=3, by=BOB)
    assert history.document() == {"a": [3]}


def test_what_an_origin_finds_need_not_be_shown():
    """What was deleted since is known all the same."""
    history = History()
    history.do("Set", "a", payload=[1], origin=LOST)
    history.do("Delete", nth(LOST, 1), by=BOB)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1))
    assert history.document() == {"a": []}


def test_a_failed_op_gives_no_name_that_an_origin_could_find():
    """So a part of it can still have its effect."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    history.do("Set", box, "a", payload=[1], origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1))
    assert history.failed() == ({"b": 2}, [(["box", "a"], MISSING)])


def test_what_an_origin_finds_counts_at_that_moment_only():
    """The part came back first: then both have their effect, and the name stays where it was."""
    history = History()
    part = history.do("Set", "b", payload=2, origin=nth(LOST, 1))
    whole = history.do("Set", "a", payload=[1], origin=LOST)
    history.do("Set", nth(LOST, 1), payload=3, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"a": [1], "b": 3}
    assert oracle.find(part) is oracle.find(nth(LOST, 1))
    assert oracle.find(nth(whole, 1)) is not oracle.find(part)


def test_an_origin_with_an_offset_has_no_effect_though_it_finds_only_a_position():
    """A Move makes no place, but the whole was there."""
    history = History()
    items = history.do("Set", "items", payload=[1])
    move = act("Move", items, 1, source=nth(items, 1))
    history.transaction(act("InitObject", "box"), move, origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1), by=BOB)
    assert history.document() == {"box": {}, "items": [1]}


def test_the_names_of_a_part_that_came_too_late_count_on_from_its_origin():
    """Offset n of it is offset `O.offset` + n of what came before."""
    history = History()
    history.do("Set", "a", payload=["x", {"k": 1}], origin=LOST)
    part = history.do("Set", "b", payload={"k": 1}, origin=nth(LOST, 2), by=BOB)
    history.do("Set", part, "n", payload=2)
    history.do("Add", nth(part, 1), payload=10)
    assert history.document() == {"a": ["x", {"k": 11, "n": 2}]}


def test_positions_are_found_by_the_names_of_a_part_that_came_too_late():
    """They are names like others."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"], origin=LOST)
    part = history.do("Set", "c", payload="a", origin=nth(LOST, 1), by=BOB)
    history.do("InsertAfter", items, 1, payload="x", after=part)
    assert history.document() == {"items": ["a", "x", "b"]}


@pytest.mark.parametrize("is_known", [True, False])
def test_no_offset_is_above_the_greatest_that_a_transaction_can_have(is_known):
    """What would have a greater one finds nothing, and nothing else either."""
    history = History()
    greatest = 2**24 - 1
    original = {"author": BOB, "index": 1}
    if is_known:
        history.do("Set", "a", payload=1, by=BOB, index=1)
    else:
        history.do("Set", "a", payload=1, origin=nth(original, greatest))
    part = history.do("Set", "b", payload=[2], origin=nth(original, greatest), by=CAROL)
    history.do("Set", nth(part, 1), payload=3)
    history.do("Set", nth(part, greatest), payload=3)
    assert history.failed() == ({"a": 1}, [([], MISSING), ([], MISSING)])
    assert (history.fold().find(part) is None) == is_known


def test_an_element_that_a_part_has_added_is_not_added_by_the_whole():
    """The part came back first; the names of the whole find what the names of the parts find."""
    history = History()
    items = history.do("Set", "items", payload=[])
    history.do("InsertAfter", items, 0, payload="x", origin=nth(LOST, 1))
    insert = act("InsertAfter", items, 0, payload="x")
    whole = history.transaction(act("Set", "a", payload=1), insert, origin=LOST, by=BOB)
    history.do("Set", nth(whole, 1), payload="y")
    assert history.document() == {"a": 1, "items": ["y"]}


def test_an_element_that_a_part_has_added_stays_deleted():
    """It need not be shown."""
    history = History()
    items = history.do("Set", "items", payload=[])
    part = history.do("InsertAfter", items, 0, payload="x", origin=nth(LOST, 1))
    history.do("Delete", part)
    insert = act("InsertUnique", items, payload="x")
    history.transaction(act("Set", "a", payload=1), insert, origin=LOST, by=BOB)
    assert history.document() == {"a": 1, "items": []}


def test_an_origin_with_links_is_the_name_of_a_copied_place():
    """What a lost copy had made is called by its old name."""
    history = History()
    name = copied(LOST, {"author": BOB, "index": 2})
    history.do("Set", "a", payload={"x": 1}, origin=name)
    history.do("Set", name, "y", payload=2, by=BOB)
    history.do("Set", nth(LOST, 1), payload=3, by=BOB)
    assert history.failed() == ({"a": {"x": 1, "y": 2}}, [([], MISSING)])


def test_an_origin_with_links_that_a_known_copy_made_has_no_effect():
    """The place is there; the names of what was re-issued find it."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    copy = history.do("Copy", "b", source=a)
    again = history.do("Set", "c", payload=2, origin=copied(copy, nth(a, 1)), by=BOB)
    history.do("Add", again, payload=10)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 11}}


def test_an_origin_with_links_that_was_found_before_the_copy_came_has_its_effect():
    """It finds something only later; then the name stays with the first."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    copy = {"author": BOB, "index": 9}
    name = copied(copy, nth(a, 1))
    history.do("Set", "c", payload=2, origin=name, index=5)
    history.do("Copy", "b", source=a, by=BOB, index=9)
    history.do("Add", name, payload=10)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 1}, "c": 12}


def test_what_was_copied_from_is_found_by_the_names_of_a_repetition_with_links():
    """As the last link of a longer name, it stands for the name that it repeats."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    first = history.do("Copy", "b", source=a)
    again = history.do("Set", "c", payload=2, origin=copied(first, nth(a, 1)), by=BOB)
    second = history.do("Copy", "d", source=first)
    history.do("Add", copied(second, again), payload=10)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 1}, "d": {"x": 11}}


def test_a_repetition_with_links_is_no_copy():
    """As a link before the last it means nothing."""
    history = History()
    a = history.do("Set", "a", payload={"x": {"y": 1}})
    copy = history.do("Copy", "b", source=a)
    again = history.do("Copy", "c", source=a, origin=copied(copy, nth(a, 1)), by=BOB)
    history.do("Set", copied(again, nth(a, 2)), payload=2)
    value = {"x": {"y": 1}}
    assert history.failed() == ({"a": value, "b": value}, [([], MISSING)])


def test_a_name_that_was_given_stays_whatever_its_links_become():
    """The op that its link names is re-issued itself, and has no effect, later."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    copy = history.do("Copy", "b", source=a)
    name = copied({"author": BOB, "index": 9}, nth(a, 1))
    history.do("Set", "c", payload=2, origin=name)
    history.do("Copy", "d", source=a, origin=copy, by=BOB, index=9)
    history.do("Add", name, payload=10)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 1}, "c": 12}


def test_an_op_that_repeats_a_name_with_itself_in_it_hangs_nobody():
    """The name was given; it goes on to find that."""
    history = History()
    mine = {"author": ALICE, "index": 9}
    name = copied(LOST, mine)
    history.do("Set", "a", payload=1, origin=name, by=BOB)
    history.do("Set", "b", payload=2, origin=name, index=9)
    history.do("Set", "c", payload=3, origin=copied(LOST, nth(mine, 1)), by=BOB)
    history.do("Add", mine, payload=10)
    history.do("Add", nth(mine, 1), payload=10)
    assert history.failed() == ({"a": 11, "c": 3}, [([], MISSING)])


def test_two_ops_whose_names_stand_for_each_other_hang_nobody():
    """One repeats a copy's place of the other, the other repeats the one."""
    history = History()
    y, x = {"author": BOB, "index": 8}, {"author": ALICE, "index": 9}
    history.do("Set", "a", payload=1, origin=copied(x, LOST), by=CAROL)
    history.do("Set", "b", payload=2, origin=x, by=BOB, index=8)
    history.do("Set", "c", payload=3, origin=copied(y, LOST), index=9)
    history.do("Add", x, payload=10)
    assert history.document() == {"a": 11}


def test_an_origin_with_links_has_its_effect_although_the_copy_is_known():
    """It is a place that the copy may not have made here."""
    history = History()
    a = history.do("Set", "a", payload=1)
    copy = history.do("Copy", "b", source=a)
    name = copied(copy, {"author": BOB, "index": 9})
    history.do("Set", "c", payload=2, origin=name)
    history.do("Add", name, payload=10, by=BOB)
    assert history.document() == {"a": 1, "b": 1, "c": 12}


def test_a_re_issued_copy_answers_to_the_links_of_the_lost_one():
    """A link is a name of the copy, and so is its origin."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    history.do("Copy", "b", source=a, origin=LOST)
    history.do("Set", copied(LOST, nth(a, 1)), payload=2, by=BOB)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 2}}


def test_links_through_a_repeated_copy_find_the_first_one():
    """The repetition's id stands for the first op everywhere in a name."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    history.do("Copy", "b", source=a, origin=LOST)
    again = history.do("Copy", "b", source=a, origin=LOST, by=BOB)
    history.do("Set", copied(again, nth(a, 1)), payload=2, by=BOB)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 2}}


def test_a_re_issued_op_that_fails_names_its_places_by_its_own_id_only():
    """It is skipped, and names them as deleted ones."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    mine = history.do("Set", box, "a", payload=1, origin=LOST, by=BOB)
    history.do("InitObject", box)
    history.do("Set", mine, payload=2)
    history.do("Set", LOST, payload=3)
    assert history.failed() == (
        {"box": {"a": 2}},
        [(["box", "a"], MISSING), ([], MISSING)],
    )


def test_a_repetition_of_an_op_that_failed_has_its_turn():
    """Where the first one did not fit yet."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    history.do("Set", box, "a", payload=1, origin=LOST)
    history.do("InitObject", box)
    history.do("Set", box, "a", payload=1, origin=LOST, by=BOB)
    assert history.failed() == ({"box": {"a": 1}}, [(["box", "a"], MISSING)])


def test_a_re_issued_transaction_counts_once_as_a_whole():
    """All its numbers live on."""
    history = History()
    actions = [act("Set", "a", payload=1), act("Set", "b", payload=2)]
    history.transaction(*actions, origin=LOST)
    history.transaction(*actions, origin=LOST, by=BOB)
    history.do("Add", nth(LOST, 1), payload=10)
    assert history.document() == {"a": 1, "b": 12}


def test_two_ops_that_call_each_other_their_origin_have_no_effect():
    """Both are known, so each stands back; their names find nothing, and nothing hangs."""
    history = History()
    one, two = {"author": ALICE, "index": 1}, {"author": BOB, "index": 2}
    history.do("Set", "a", payload=1, origin=two)
    history.do("Set", "b", payload=2, origin=one, by=BOB)
    history.do("Set", one, payload=3)
    assert history.failed() == ({}, [([], MISSING)])


def test_a_later_op_has_its_turn_if_the_first_one_of_its_origin_failed():
    """What it is about came back only after the first."""
    history = History()
    n = history.do("Set", "n", payload=1)
    history.do("Delete", n)
    history.do("Add", n, payload=10, origin=LOST)
    history.do("Set", n, payload=2)
    history.do("Add", n, payload=10, origin=LOST, by=BOB)
    history.do("Add", n, payload=10, origin=LOST)
    assert history.failed() == ({"n": 12}, [(["n"], MISSING)])
