"""What the fast way of merging one write leaves to the general way: then it has changed nothing."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.crdt.actions import Copy, Delete, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.export import encode_rows
from cytosol.crdt.replica import Replica
from cytosol.crdt.single import merge_single
from cytosol.limits import LAMPORT_LEAP_MAX
from cytosol.model.ids import OpId
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import decode_ops
from cytosol.model.singlecodec import SINGLE, Single, decode_single, encode_single

US, THEM, THIRD = b"u" * 16, b"t" * 16, b"z" * 16


def replica_with_objects(places_max: int = 1_000) -> Replica:
    """Return one with `$.box` (of our op 1), a copy of it, a deleted key, and one op of theirs."""
    replica = Replica(US, places_max)
    compiler = Compiler(replica)
    compiler.dispatch(Set("$.box", {"inner": {}, "n": 1, "list": []}), 1)
    compiler.dispatch(Copy("$.copy", "$.box"), 1)
    compiler.dispatch(Set("$.gone", {}), 1)
    compiler.dispatch(Delete("$.gone"), 1)
    replica.merge([Op(5, THEM, 0, 0, Body(Kind.SET, key="theirs", payload={}), ((US, 4),))])
    return replica


def write(**changes: Any) -> Single:
    """Return a write of theirs at `$.box.k`, or another one."""
    members: dict[str, Any] = {
        "author": THEM,
        "index": 6,
        "previous": 5,
        "time": 0,
        "place": (US, 1, 0),
        "key": "k",
        "payload": 1,
        "seen": (),
    }
    batch = encode_single(**(members | changes))
    assert batch is not None
    return decode_single(batch)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"place": None},
        {"key": "n"},
        {"place": (THEM, 5, 0)},
        {"seen": ((US, 4),)},
        {"index": 5 + LAMPORT_LEAP_MAX},
    ],
)
def test_simple_writes_are_merged(changes: dict[str, Any]) -> None:
    """Else the other tests would prove nothing."""
    replica = replica_with_objects()
    assert merge_single(replica, write(**changes))
    replica.check_invariants()
    rows = replica.rewind(0)
    assert replica.document == {}
    replica.reinsert(rows)
    replica.check_invariants()


CASES: dict[str, dict[str, Any]] = {
    "known already": {"index": 5, "previous": 0},
    "first of its author": {"author": THIRD, "previous": 0},
    "skips one": {"previous": 4},
    "too early": {"index": 8, "previous": 7},
    "leaps": {"index": 6 + LAMPORT_LEAP_MAX},
    "our own": {"author": US, "previous": 4, "place": None},
    "has seen what is not here": {"seen": ((THIRD, 2),)},
    "below what nobody knows": {"place": (THIRD, 2, 0)},
    "below what does not exist": {"place": (US, 1, 99)},
    "below what is deleted": {"place": (US, 3, 0)},
    "below a number": {"place": (US, 1, 2)},
    "below a list": {"place": (US, 1, 3)},
    "over an object": {"key": "inner"},
    "over a list": {"key": "list"},
    "at a deleted key": {"place": None, "key": "gone"},
}


@pytest.mark.parametrize("case", CASES)
def test_others_are_left_alone(case: str) -> None:
    """They return False, and not a byte has changed."""
    replica = replica_with_objects()
    before = canonical_bytes(replica.document), len(replica.log), dict(replica.latest)
    assert not merge_single(replica, write(**CASES[case]))
    assert before == (canonical_bytes(replica.document), len(replica.log), replica.latest)
    replica.check_invariants()


def test_a_full_document_is_left_alone() -> None:
    """The general way counts what is shown."""
    replica = replica_with_objects()
    replica.applier.places_max = replica.tree.made
    assert not merge_single(replica, write())
    assert merge_single(replica, write(key="n"))


def test_nothing_overtakes_what_waits() -> None:
    """The write may let it follow."""
    replica = replica_with_objects()
    replica.merge([Op(9, THEM, 8, 0, Body(Kind.SET, key="late", payload=1))])
    assert not merge_single(replica, write())


def test_re_issued_ops_want_a_closer_look() -> None:
    """One of them may stand for the write."""
    replica = replica_with_objects()
    body = Body(Kind.SET, key="again", payload=1)
    replica.merge([Op(6, THEM, 5, 0, body, (), Name(THIRD, 1))])
    assert not merge_single(replica, write(index=7, previous=6))


def test_above_a_base_only_who_has_written_there_is_taken_at_once() -> None:
    """Whoever has not may not know all of the base."""
    replica = replica_with_objects()
    replica.merge([Op(6, THEM, 5, 0, Body(Kind.SET, key="theirs", payload=1))])
    replica.trim_to(5)
    assert OpId(5, THEM) == replica.trim
    assert merge_single(replica, write(index=7, previous=6, place=None))
    replica.trim_to(2)
    assert not merge_single(replica, write(index=8, previous=7, place=None))


def test_the_place_of_the_newest_write_is_not_searched() -> None:
    """Nor is it taken from an op that is no plain write."""
    replica = replica_with_objects()
    assert merge_single(replica, write(key="a"))
    assert merge_single(replica, write(key="b", index=7, previous=6))
    name = Name(US, 1)
    replica.merge([Op(8, THEM, 7, 0, Body(Kind.SET, name, "c", payload={"deep": 1}))])
    assert merge_single(replica, write(key="d", index=9, previous=8))
    assert replica.document["box"].keys() >= {"a", "b", "c", "d"}
    replica.check_invariants()


def test_only_plain_writes_are_exported_as_single_ones() -> None:
    """Containers, copies' places, other actions and re-issued ops take columns."""
    replica = replica_with_objects()
    compiler = Compiler(replica)
    compiler.dispatch(Set("$.box.n", 2), 1)
    compiler.dispatch(Set("$.copy.inner.n", 2), 1)
    body = Body(Kind.SET, key="again", payload=1)
    index = replica.clock + 1
    replica.merge([Op(index, THEM, 5, 0, body, (), Name(THIRD, 1))])
    forms = [encode_rows(replica.log, [row])[:1] for row in range(len(replica.log))]
    single = [row for row, form in enumerate(forms) if form == SINGLE]
    assert [5] == single


def test_what_only_other_rows_have_seen_is_not_exported_with_these() -> None:
    """Few rows tell what was seen: they are looked up, and may stand elsewhere."""
    replica = replica_with_objects()
    compiler = Compiler(replica)
    for at in range(30):
        compiler.dispatch(Set(f"$.box.k{at}", at), 1)
    log = replica.log
    seen = [row for row in range(len(log)) if log.op(row).seen]
    assert [4, 5] == seen
    for rows in (range(6, len(log)), range(5, len(log)), [*range(4, 20), 22], range(len(log))):
        assert [log.op(row) for row in rows] == decode_ops(encode_rows(log, rows))
