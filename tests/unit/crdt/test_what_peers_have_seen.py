"""What peers have seen of each other decides how much of a history may be forgotten."""

from __future__ import annotations

import pytest

from cytosol.crdt.actions import Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.crdt.retention import clean_cut, known_rows, lacks, vectors
from cytosol.errors import ActionError
from cytosol.model.op import Body, Kind, Name, Op

US, THEM, ELSE = b"u" * 16, b"t" * 16, b"e" * 16


def setting(index: int, author: bytes, previous: int = 0, *seen: tuple[bytes, int]) -> Op:
    """Return an op that sets a key of its own."""
    return Op(index, author, previous, 0, Body(Kind.SET, key=f"k{index}", payload=index), seen)


def test_a_peer_lacks_what_is_newer_than_all_that_it_has() -> None:
    """Author by author."""
    assert not lacks({US: 3, THEM: 5}, {US: 3, THEM: 4})
    assert not lacks({}, {})
    assert lacks({US: 3}, {US: 4})
    assert lacks({US: 9}, {THEM: 1})


def test_the_first_ops_that_a_peer_knows_are_counted() -> None:
    """Up to the first one that it lacks, whatever comes after that."""
    replica = Replica(US)
    replica.merge([setting(1, US), setting(2, THEM), setting(3, US, 1)])
    assert 0 == known_rows(replica, {THEM: 2})
    assert 1 == known_rows(replica, {US: 3})
    assert 3 == known_rows(replica, {US: 3, THEM: 2, ELSE: 9})


def test_whoever_tells_of_less_than_before_has_not_unseen_the_rest() -> None:
    """An author's knowledge only grows."""
    replica = Replica(ELSE)
    replica.merge([setting(1, US), setting(2, US, 1)])
    replica.merge([setting(3, THEM, 0, (US, 2)), setting(4, THEM, 3, (US, 1))])
    assert {US: 2, THEM: 4} == [dict(vector) for _, _, vector in vectors(replica)][-1]
    assert 2 == clean_cut(replica, 2)


def test_an_op_that_stands_for_a_trimmed_one_has_no_effect() -> None:
    """The base holds already what it did."""
    replica = Replica(US)
    compiler = Compiler(replica)
    for number in range(3):
        compiler.dispatch(Set("$.a", number), 1)
    replica.trim_to(3)
    again = Body(Kind.SET, key="a", payload="again")
    replica.merge([Op(4, THEM, 0, 0, again, (), Name(US, 3)), setting(5, THEM, 4)])
    replica.merge([Op(6, ELSE, 0, 0, again, (), Name(b"z" * 16, 3))])
    assert {"a": "again", "k5": 5} == replica.document
    replica.merge([Op(7, ELSE, 6, 0, again._replace(payload=0), (), Name(US, 2))])
    assert {"a": "again", "k5": 5} == replica.document


def test_what_an_op_told_that_was_taken_back_is_told_by_the_next_one() -> None:
    """As if it had never been dispatched."""
    replica = Replica(US)
    compiler = Compiler(replica)
    compiler.dispatch(Set("$.a", 1), 1)
    replica.merge([setting(2, THEM), setting(3, ELSE)])
    compiler.dispatch(Set("$.a", 2), 1)
    compiler.dispatch(Set("$.a", 3), 1)
    told = replica.log.op(3).seen
    replica.take_back(3)
    assert {"a": 1, "k2": 2, "k3": 3} == replica.document
    replica.check_invariants()
    compiler.dispatch(Set("$.a", 4), 1)
    assert ((ELSE, 3), (THEM, 2)) == told == replica.log.op(3).seen
    assert (4, 1) == (replica.log.op(3).index, replica.log.op(3).previous)


def test_indexes_that_an_earlier_one_has_filled_are_set_and_not_appended() -> None:
    """Several places of one action, of which the first makes the others."""
    replica = Replica(US)
    compiler = Compiler(replica)
    compiler.dispatch(Set("$.l", []), 1)
    compiler.dispatch(Set("$.l[2,0]", 7), 1)
    assert {"l": [7, None, 7]} == replica.document


def test_an_action_without_a_path_is_refused_by_name() -> None:
    """Typed ones, too."""
    compiler = Compiler(Replica(US))
    with pytest.raises(ActionError, match="the path of the action Set must be a string"):
        compiler.dispatch(Set(None, 1), 1)  # type: ignore[arg-type]  # that is what is refused
