"""Corners of folding and compiling that random histories hardly reach."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.crdt import apply as apply_module
from cytosol.crdt import mutate as mutate_module
from cytosol.crdt.actions import (
    Add,
    Copy,
    DataAction,
    Delete,
    InitObject,
    InsertAfter,
    InsertBefore,
    InsertUnique,
    Move,
    Set,
)
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.crdt.sequence import BLOCK_MAX, INDEX_ABOVE, Sequence
from cytosol.errors import FailureError, PathSyntaxError, RemoteProtocolError
from cytosol.limits import PATH_LENGTH_MAX
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import decode_ops, encode_ops

US, THEM = b"u" * 16, b"t" * 16


def written(*actions: DataAction) -> tuple[Replica, Compiler]:
    """Return a replica after some own actions."""
    replica = Replica(US)
    compiler = Compiler(replica)
    for action in actions:
        compiler.dispatch(action, 1)
    return replica, compiler


def nested(depth: int) -> Any:
    """Return objects in each other."""
    value: Any = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


def test_an_equal_array_is_found_and_its_elements_are_named() -> None:
    """Both names of an element lead to the same place."""
    replica, compiler = written(Set("$.l", []), InsertUnique("$.l", [1, [2]]))
    compiler.dispatch(InsertUnique("$.l", [1, [2]]), 1)
    assert {"l": [[1, [2]]]} == replica.document
    assert replica.finder.find(replica.names.code(Name(US, 3, 1))) == replica.finder.find(
        replica.names.code(Name(US, 2, 1))
    )


def test_what_becomes_too_deep_fails_whatever_puts_it_there() -> None:
    """A payload, a move and a copy count from where they land."""
    path = "$.deep" + ".in" * 59
    _, compiler = written(Set("$.deep", nested(60)), Set("$.other", nested(70)))
    for action in (
        Set(f"{path}.x", nested(70)),
        Move(f"{path}.x", "$.other"),
        Copy(f"{path}.x", "$.other"),
    ):
        with pytest.raises(FailureError, match="nested too deeply"):
            compiler.dispatch(action, 1)


def test_a_copy_that_is_too_large_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of copies double."""
    monkeypatch.setattr(apply_module, "COPY_PLACES_MAX", 3)
    _, compiler = written(Set("$.a", [1, 2, 3]))
    with pytest.raises(FailureError, match="copy is too large"):
        compiler.dispatch(Copy("$.b", "$.a"), 1)
    monkeypatch.setattr(apply_module, "COPY_PLACES_MAX", 100)
    monkeypatch.setattr(mutate_module, "COPY_PLACES_MAX", 3)
    with pytest.raises(FailureError, match="copy is too large"):
        compiler.dispatch(Copy("$.b", "$.a"), 1)


def test_copies_of_copies_can_go_on_for_ever() -> None:
    """Names would grow by a link each time, so from some length on the value is set."""
    replica, compiler = written(Set("$.now", {"x": {"y": [1]}}), Set("$.list", []))
    for _ in range(100):
        compiler.dispatch(Copy("$.old", "$.now"), 1)
        compiler.dispatch(Copy("$.now", "$.old"), 1)
        compiler.dispatch(Copy("$.list[0]", "$.now"), 1)
    compiler.dispatch(Set("$.now.x.y[0]", 5), 1)
    ops = [replica.log.op(row) for row in range(len(replica.log))]
    assert {op.body.kind for op in ops} == {Kind.SET, Kind.COPY}
    again = Replica(THEM)
    again.merge(decode_ops(encode_ops(ops)))
    assert again.document == replica.document
    assert again.document["now"] == {"x": {"y": [5]}}
    assert again.document["old"] == {"x": {"y": [1]}}


def test_a_copy_that_would_give_longer_names_than_the_format_has_fails() -> None:
    """A peer can still ask for it."""
    replica, _ = written(Set("$.a", {"x": 1}))
    source = Name(US, 1)
    ops = []
    for index in range(2, 70):
        ops.append(
            Op(index, THEM, index - 1 if ops else 0, 0, Body(Kind.COPY, key="a", source=source))
        )
        source = Name(THEM, index)
    replica.merge(ops)
    assert {message for _, message in replica.failures.values()} == {"copy is too large"}
    assert replica.document == {"a": {"x": 1}}


def test_a_too_large_payload_fails_whatever_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that failed leaves its turn to the next with its origin."""
    monkeypatch.setattr(apply_module, "OP_PAYLOAD_BYTES_MAX", 8)
    replica = Replica(US)
    origin = Name(THEM, 1)
    body = Body(Kind.SET, key="k", payload=["x" * 20])
    small = Body(Kind.SET, key="k", payload="x")
    replica.merge([Op(2, THEM, 0, 0, body, (), origin), Op(3, THEM, 2, 0, small, (), origin)])
    replica.merge([Op(4, THEM, 3, 0, body, (), origin)])
    assert {"k": "x"} == replica.document
    assert 2 == len(replica.failures)


def test_long_texts_and_many_parents_take_the_general_way() -> None:
    """With the same result."""
    replica, compiler = written(Set("$.l", [0]))
    long = "x" * 100_001
    compiler.dispatch(InsertAfter("$.l[0]", long), 1)
    compiler.dispatch(InsertBefore("$.l[0]", 1), 1)
    assert [1, 0, long] == replica.document["l"]
    for number in range(1_100):
        compiler.dispatch(Set(f"$.p{number}", {}), 1)
        compiler.dispatch(Set(f"$.p{number}.k", number), 1)
    for number in range(1_100):
        compiler.dispatch(Set(f"$.p{number}.k", -number), 1)
    assert -1_099 == replica.document["p1099"]["k"]
    with pytest.raises(FailureError):
        compiler.dispatch(Set("$.l[9].k", 1), 1)
    with pytest.raises(FailureError):
        compiler.dispatch(Set("$.l[0].k", 1), 1)
    with pytest.raises(PathSyntaxError, match="longer than 65536 characters"):
        compiler.dispatch(Set("$." + "k" * PATH_LENGTH_MAX, 1), 1)


def test_of_several_places_those_that_are_missing_are_made() -> None:
    """Together with those that are there."""
    replica, compiler = written(Set("$.a", 1), Set("$.b", {"x": 1}))
    compiler.dispatch(InitObject("$['a','b','c']"), 1)
    assert {"a": {}, "b": {"x": 1}, "c": {}} == replica.document
    compiler.dispatch(Delete("$['a','zz']"), 1)
    assert {"b": {"x": 1}, "c": {}} == replica.document
    compiler.dispatch(Move("$.b", "$.b"), 1)
    assert {"b": {"x": 1}, "c": {}} == replica.document


def test_names_of_nobody_find_nothing() -> None:
    """Neither unknown authors, nor copies of what is gone or was never copied, nor sums."""
    replica, compiler = written(Set("$.a", {"x": 1}), Copy("$.b", "$.a"), Set("$.c", 5))
    assert replica.op_at(1, THEM) is None
    compiler.dispatch(Move("$.d", "$.a.x"), 1)
    for name in (Name(US, 2, 0, ((THEM, 1, 0),)), Name(US, 3, 0, ((US, 3, 0),))):
        assert replica.finder.find(replica.names.code(name)) is None
    compiler.dispatch(Add("$.c", 1), 1)
    for offset in (0, 1):
        assert replica.finder.find(replica.names.code(Name(US, replica.clock, offset))) is None


def test_ops_below_the_trim_point_are_refused() -> None:
    """They can only be adopted."""
    replica, _ = written(*(Set("$.a", number) for number in range(5)))
    replica.trim_to(3)
    with pytest.raises(RemoteProtocolError, match="trim point"):
        replica.merge([Op(2, THEM, 0, 0, Body(Kind.SET, key="k", payload=1))])


def test_a_long_array_stays_in_blocks_when_it_grows_in_the_middle() -> None:
    """Inserts, look-ups and removals find their block."""
    sequence = Sequence()
    for code in range(INDEX_ABOVE * 2):
        sequence.append(code)
    assert sequence.has(3)  # from now on there is an index by code
    for code in range(10_000, 10_000 + 2 * BLOCK_MAX):
        sequence.insert_at(5, code)
    sequence.check_invariants()
    assert 10_000 + 2 * BLOCK_MAX - 1 == sequence.at(5)
    sequence.insert_at(sequence.shown - 1, 77_777)
    assert sequence.shown - 2 == sequence.index_of(77_777)
    for code in range(10_000, 10_000 + 2 * BLOCK_MAX):
        sequence.remove(code)
    sequence.check_invariants()
    with pytest.raises(IndexError):
        sequence.at(sequence.shown)


def test_a_peers_move_of_a_place_onto_itself_does_nothing() -> None:
    """Nobody here would make such an op."""
    replica, _ = written(Set("$.a", 1))
    replica.merge([Op(2, THEM, 0, 0, Body(Kind.MOVE, key="a", source=Name(US, 1)))])
    assert ({"a": 1}, {}) == (replica.document, replica.failures)


def test_an_original_that_comes_late_silences_the_op_that_stood_for_it() -> None:
    """Of equal origins only the first has an effect."""
    replica = Replica(US)
    one = Body(Kind.SET, key="k", payload="again")
    replica.merge([Op(9, THEM, 0, 0, one, (), Name(b"o" * 16, 3))])
    assert {"k": "again"} == replica.document
    replica.merge([Op(3, b"o" * 16, 0, 0, Body(Kind.SET, key="k", payload="first"))])
    assert {"k": "first"} == replica.document
    replica.check_invariants()
