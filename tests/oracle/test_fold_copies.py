"""What the page says of Copy: new identities, names with links, copies of copies."""

import pytest

from tests.oracle.histories import BOB, History, act, copied, nth

MISSING = "path does not exist"
TOO_LARGE = "copy is too large"


def copies_of_copies(count, value):
    """Return a history that copies a value, the copy, the copy's copy ... and their names."""
    history = History()
    names = [history.do("Set", "0", payload=value)]
    for number in range(1, count + 1):
        names.append(history.do("Copy", str(number), source=names[-1]))
    return history, names


def below(names, offset):
    """Return the name of what the last of many copies made of a place in the first value."""
    name = nth(names[0], offset)
    for copy in names[1:]:
        name = copied(copy, name)
    return name


def depths(history):
    """Return the copy depths that are not 0, by paths."""
    oracle = history.fold()
    found = {"/".join(map(str, oracle.path_of(at))): at.copy_depth for at in oracle.named_places()}
    return {path: depth for path, depth in found.items() if depth}


def test_a_copy_is_another_place_with_an_equal_value():
    """Changing the one does not change the other."""
    history = History()
    a = history.do("Set", "a", payload={"x": [1]})
    history.do("Copy", "b", source=a)
    history.do("Set", nth(a, 1), payload=2)
    assert history.document() == {"a": {"x": 2}, "b": {"x": [1]}}


def test_the_new_place_is_named_by_the_op():
    """As a Set would name it."""
    history = History()
    a = history.do("Set", "a", payload=1)
    copy = history.do("Copy", "b", source=a)
    history.do("Add", copy, payload=5, by=BOB)
    assert history.document() == {"a": 1, "b": 6}


def test_places_below_a_copy_are_named_by_the_copy_and_the_place_copied():
    """`of` tells what was copied."""
    history = History()
    a = history.do("Set", "a", payload={"x": [1, 2]})
    copy = history.do("Copy", "b", source=a)
    history.do("Add", copied(copy, nth(a, 3)), payload=40)
    assert history.document() == {"a": {"x": [1, 2]}, "b": {"x": [1, 42]}}


def test_the_copy_together_with_the_source_finds_the_new_place_too():
    """A name `(link, of...)` finds what the copy made of the place found by the rest."""
    history = History()
    a = history.do("Set", "a", payload=1)
    copy = history.do("Copy", "b", source=a)
    oracle = history.fold()
    assert oracle.find(copied(copy, a)) is oracle.find(copy) is not None


def test_any_name_of_the_place_copied_will_do():
    """The rest finds a place, by whichever of its names, also by one that came later."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    copy = history.do("Copy", "b", source=a)
    later = history.do("Set", "a", payload={"x": 2}, by=BOB)
    history.do("Set", copied(copy, nth(later, 1)), payload=3)
    assert history.document() == {"a": {"x": 2}, "b": {"x": 3}}


def test_copies_of_copies_have_names_of_several_links():
    """The rest of a name is read in the same way."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    first = history.do("Copy", "b", source=a)
    second = history.do("Copy", "c", source=first, by=BOB)
    third = history.do("Copy", "d", source=second)
    name = copied(third, copied(second, copied(first, nth(a, 1))))
    assert len(name["of"]) == 3
    history.do("Set", name, payload=4)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}, "d": {"x": 4}}


def test_one_place_copied_twice_into_itself_is_told_apart_by_its_links():
    """The order of the links matters."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    first = history.do("Copy", a, "y", source=a)
    second = history.do("Copy", a, "z", source=a)
    history.do("Set", copied(second, copied(first, nth(a, 1))), payload="in z.y")
    history.do("Set", copied(first, nth(a, 1)), payload="in y")
    history.do("Set", copied(second, nth(a, 1)), payload="in z")
    assert history.document() == {
        "a": {"x": 1, "y": {"x": "in y"}, "z": {"x": "in z", "y": {"x": "in z.y"}}}
    }


def test_a_link_that_is_no_copy_finds_nothing():
    """Only copies make places of places."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    history.do("Set", copied(a, nth(a, 1)), payload=2)
    assert history.failed() == ({"a": {"x": 1}}, [([], MISSING)])


def test_what_was_deleted_before_the_copy_was_not_copied():
    """Only what is shown is copied, so its name in the copy finds nothing."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1, "y": 2})
    history.do("Delete", nth(a, 1))
    copy = history.do("Copy", "b", source=a)
    history.do("Set", copied(copy, nth(a, 1)), payload=3)
    assert history.failed() == ({"a": {"y": 2}, "b": {"y": 2}}, [([], MISSING)])


def test_a_copy_may_land_below_its_source():
    """What is copied is the source as it is before the op."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    history.do("Copy", a, "self", source=a)
    assert history.document() == {"a": {"x": 1, "self": {"x": 1}}}


def test_a_copy_into_the_array_that_it_copies():
    """Neither the new position nor the fills are part of the copy."""
    history = History()
    a = history.do("Set", "a", payload=[1])
    history.do("Copy", a, 2, source=a, fill=1)
    assert history.document() == {"a": [1, None, [1]]}


def test_a_copy_onto_a_key_covers_the_former_occupant():
    """As for a Move."""
    history = History()
    old = history.do("Set", "k", payload={})
    a = history.do("Set", "a", payload={"x": 1})
    copy = history.do("Copy", "k", source=a)
    history.do("Set", old, "y", payload=2, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"a": {"x": 1}, "k": {"x": 1, "y": 2}}
    assert oracle.find(old) is not oracle.find(copy)


def test_a_copy_onto_its_parent_keeps_what_it_copied():
    """The value is taken before the former occupant is emptied."""
    history = History()
    box = history.do("Set", "box", payload={"inner": {"x": 1}})
    history.do("Copy", "box", source=nth(box, 1))
    assert history.document() == {"box": {"x": 1}}


def test_a_copy_onto_the_key_of_its_source_has_new_identities():
    """Only a Move onto itself has no effect: the names of a copy must find something."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    copy = history.do("Copy", "a", source=a)
    history.do("Set", copied(copy, nth(a, 1)), payload=2, by=BOB)
    oracle = history.fold()
    assert oracle.document() == {"a": {"x": 2}}
    assert oracle.find(a) is not oracle.find(copy)


def test_a_copy_into_an_array_stands_beside_what_it_names():
    """The element form of Copy; its position has the op's name."""
    history = History()
    items = history.do("Set", "items", payload=[1, [2]])
    copy = history.do("Copy", items, 0, source=nth(items, 2), before=nth(items, 1))
    history.do("InsertAfter", items, 1, payload="x", after=copy)
    assert history.document() == {"items": [[2], "x", 1, [2]]}


def test_inserts_beside_elements_of_a_copied_array():
    """The positions of a copy are named as its places are."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    copy = history.do("Copy", "copy", source=items)
    history.do("InsertBefore", copy, 1, payload="x", before=copied(copy, nth(items, 2)))
    assert history.document() == {"items": ["a", "b"], "copy": ["a", "x", "b"]}


def test_a_copied_array_has_positions_of_its_own_only():
    """The positions of the source mean nothing in the copy."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    copy = history.do("Copy", "copy", source=items)
    history.do("InsertBefore", copy, 1, payload="x", before=nth(items, 1))
    assert history.document() == {"items": ["a", "b"], "copy": ["a", "b", "x"]}


def test_an_element_that_moved_before_the_copy_is_found_there_by_both_its_names():
    """In the copy, the name of the position and that of the place mean one position."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    move = history.do("Move", items, 2, source=nth(items, 1), after=nth(items, 2))
    copy = history.do("Copy", "copy", source=items)
    oracle = history.fold()
    by_place = oracle.find_position(copied(copy, nth(items, 1)))
    assert oracle.document()["copy"] == ["b", "a"]
    assert by_place is oracle.find_position(copied(copy, move)) is not None
    assert by_place.occupant is oracle.find(copied(copy, nth(items, 1)))


def test_an_element_that_left_its_copy_leaves_its_position_behind():
    """Also in a copy an insert lands where the element was."""
    history = History()
    items = history.do("Set", "items", payload=["a", "b"])
    copy = history.do("Copy", "copy", source=items)
    a = copied(copy, nth(items, 1))
    history.do("Move", "out", source=a)
    history.do("InsertAfter", copy, 0, payload="x", after=a, by=BOB)
    assert history.document() == {"items": ["a", "b"], "copy": ["x", "b"], "out": "a"}


def test_a_deleted_key_of_a_copy_has_the_new_place_only():
    """Keys of the source that were not shown are unknown in the copy."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1, "y": 2})
    history.do("Delete", nth(a, 1))
    copy = history.do("Copy", "b", source=a)
    oracle = history.fold()
    place = oracle.find(copy)
    assert place is not None
    assert set(place.keys) == {"y"}


def test_copying_what_is_deleted_fails():
    """A copy needs its source; what it would have made is known as deleted."""
    history = History()
    a = history.do("Set", "a", payload=1)
    history.do("Delete", a)
    copy = history.do("Copy", "b", source=a, by=BOB)
    history.do("Set", copy, payload=2, by=BOB)
    assert history.failed() == ({"b": 2}, [(["b"], MISSING)])


def test_what_a_skipped_copy_would_have_made_below_is_unknown():
    """It names the place only."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    history.do("Delete", a)
    copy = history.do("Copy", "b", source=a, by=BOB)
    history.do("Set", copied(copy, nth(a, 1)), payload=2, by=BOB)
    assert history.failed()[1] == [(["b"], MISSING), ([], MISSING)]


def test_copies_in_a_transaction_are_told_apart_by_offset():
    """The link is the op's number for the place."""
    history = History()
    a = history.do("Set", "a", payload={"x": 1})
    both = history.transaction(act("Copy", "b", source=a), act("Copy", "c", source=a))
    history.do("Set", copied(both, nth(a, 1)), payload=2)
    history.do("Set", copied(nth(both, 1), nth(a, 1)), payload=3)
    assert history.document() == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}


def test_copies_see_what_came_before_them_in_the_order_only():
    """A copy is taken at its place in the order."""
    history = History()
    a = history.do("Set", "a", payload={"n": 1})
    history.do("Copy", "b", source=a, index=3)
    history.do("Add", nth(a, 1), payload=1, by=BOB, index=2)
    history.do("Add", nth(a, 1), payload=1, by=BOB, index=4)
    assert history.document() == {"a": {"n": 3}, "b": {"n": 2}}


def test_a_place_below_a_copy_is_one_deeper_than_what_it_was_copied_from():
    """The new place itself has depth 0."""
    history, _ = copies_of_copies(2, {"x": [1]})
    assert depths(history) == {"1/x": 1, "1/x/0": 1, "2/x": 2, "2/x/0": 2}


def test_a_copy_of_a_place_below_a_copy_begins_anew():
    """It is named by its op alone."""
    history, names = copies_of_copies(2, {"x": [1]})
    history.do("Copy", "y", source=below(names, 1))
    assert {path: depth for path, depth in depths(history).items() if path[0] == "y"} == {"y/0": 3}


def test_a_copy_depth_of_64_is_allowed_and_65_is_not():
    """Names would have more links than that."""
    history, _ = copies_of_copies(65, {"x": 1})
    document, failures = history.failed()
    assert failures == [(["65"], TOO_LARGE)]
    assert document["64"] == {"x": 1}
    assert "65" not in document


def test_a_copy_that_is_too_deep_names_the_new_place_only():
    """Like every one that fails."""
    history, names = copies_of_copies(65, {"x": 1})
    history.do("Set", below(names, 1), payload=2)
    history.do("Set", names[-1], payload=3, by=BOB)
    document, failures = history.failed()
    assert document["65"] == 3
    assert failures == [(["65"], TOO_LARGE), ([], MISSING)]


def test_what_has_nothing_below_can_be_copied_on_and_on():
    """Only what is below is named by links."""
    history, _ = copies_of_copies(70, 1)
    assert history.document()["70"] == 1
    assert depths(history) == {}


def test_one_deep_place_is_enough():
    """What was added to the last copy is not as deep as the rest."""
    history, names = copies_of_copies(64, {"x": 1})
    history.do("Set", names[-1], "y", payload=2)
    history.do("Copy", "z", source=names[-1])
    history.do("Delete", below(names, 1))
    history.do("Copy", "z", source=names[-1])
    document, failures = history.failed()
    assert failures == [(["z"], TOO_LARGE)]
    assert document["64"] == document["z"] == {"y": 2}


def test_what_was_deleted_is_not_copied_and_does_not_count():
    """Only what is shown is copied."""
    history, names = copies_of_copies(64, {"x": 1})
    history.do("Delete", below(names, 1))
    history.do("Copy", "65", source=names[-1])
    assert history.document()["65"] == {}


@pytest.mark.parametrize("how", ["Set", "InitArray", "payload", "payload at once"])
def test_what_was_emptied_and_comes_again_has_no_copy_depth(how):
    """It gets a name of its own; also when the same op emptied it."""
    history, names = copies_of_copies(64, {"x": 1})
    x = below(names, 1)
    if how != "payload at once":
        history.do("Delete", x)
    if how.startswith("payload"):
        history.do("Set", "64", payload={"x": 1})
    elif how == "Set":
        history.do("Set", x, payload=1)
    else:
        history.do("InitArray", names[-1], "x")
    history.do("Copy", "65", source=names[-1])
    assert history.document()["65"] == {"x": [] if how == "InitArray" else 1}
    assert "64/x" not in depths(history)


@pytest.mark.parametrize("how", ["Set", "InitObject", "Add", "Move", "failed"])
def test_what_was_not_emptied_keeps_its_copy_depth(how):
    """However it was changed, and wherever it is."""
    history, names = copies_of_copies(64, {"x": 1})
    x = below(names, 1)
    match how:
        case "Set" | "Add":
            history.do(how, x, payload=2)
        case "InitObject":
            history.do("InitObject", x)
        case "Move":
            history.do("Move", names[-1], "y", source=x)
        case _:
            inner = [act("Delete", x), act("Set", x, payload=2), act("Delete", nth(x, 1))]
            history.transaction(*inner)
    history.do("Copy", "65", source=names[-1])
    assert history.failed()[1][-1] == (["65"], TOO_LARGE)


def test_what_replaces_a_deep_place_has_its_own_copy_depth():
    """A Move brings another place to the key."""
    history, names = copies_of_copies(64, {"x": 1})
    one = history.do("Set", "one", payload=1)
    history.do("Move", names[-1], "x", source=one)
    history.do("Copy", "65", source=names[-1])
    assert history.document()["65"] == {"x": 1}
