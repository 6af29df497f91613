"""What the page says of re-issued ops: the first of each origin counts, its names live on."""

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


def test_a_name_that_finds_something_already_is_not_taken_over_by_an_origin():
    """The first to give a name keeps it."""
    history = History()
    history.do("Set", "a", payload=[1], origin=LOST)
    history.do("Set", "b", payload=2, origin=nth(LOST, 1))
    history.do("Set", nth(LOST, 1), payload=3, by=BOB)
    assert history.document() == {"a": [3], "b": 2}


def test_an_origin_with_links_is_the_name_of_a_copied_place():
    """What a lost copy had made is called by its old name."""
    history = History()
    name = copied(LOST, {"author": BOB, "index": 2})
    history.do("Set", "a", payload={"x": 1}, origin=name)
    history.do("Set", name, "y", payload=2, by=BOB)
    history.do("Set", nth(LOST, 1), payload=3, by=BOB)
    assert history.failed() == ({"a": {"x": 1, "y": 2}}, [([], MISSING)])


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


def test_a_re_issued_op_that_fails_still_gives_the_old_names():
    """It is skipped, and names its places as deleted ones."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    history.do("Set", box, "a", payload=1, origin=LOST, by=BOB)
    history.do("InitObject", box)
    history.do("Set", LOST, payload=2)
    assert history.failed() == ({"box": {"a": 2}}, [(["box", "a"], MISSING)])


def test_a_repetition_of_an_op_that_failed_has_no_effect_and_no_failure():
    """The first in order decides, whatever became of it."""
    history = History()
    box = history.do("Set", "box", payload={})
    history.do("Delete", box)
    history.do("Set", box, "a", payload=1, origin=LOST)
    history.do("InitObject", box)
    history.do("Set", box, "a", payload=1, origin=LOST, by=BOB)
    assert history.failed() == ({"box": {}}, [(["box", "a"], MISSING)])


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
