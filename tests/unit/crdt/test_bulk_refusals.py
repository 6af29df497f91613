"""What the fast way of merging leaves to the general way: then it has changed nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cytosol.crdt.actions import Add, Copy, Delete, Set
from cytosol.crdt.bulk import merge_bulk
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import AGAIN, COPIED, OTHER, OWN, Columns, encode_ops, unpack_columns

US, THEM, THIRD = b"u" * 16, b"t" * 16, b"z" * 16


def replica_with_object() -> Replica:
    """Return a replica with `$.box` (of op 1), a copy of it, a deleted key and a number."""
    replica = Replica(US)
    compiler = Compiler(replica)
    compiler.dispatch(Set("$.box", {"inner": {}}), 1)
    compiler.dispatch(Copy("$.copy", "$.box"), 1)
    compiler.dispatch(Set("$.gone", 1), 1)
    compiler.dispatch(Delete("$.gone"), 1)
    compiler.dispatch(Set("$.number", 1), 1)
    return replica


def batch(*ops: Op, name: Name | None = None, payload: Any = 1) -> Columns:
    """Return some ops, or a batch of six plain ones of another author, as columns."""
    start = 10
    plain = [
        Op(
            start + at,
            THEM,
            0 if not at else start + at - 1,
            0,
            Body(Kind.SET, name or Name(US, 1), f"k{at}", payload=payload),
            ((US, 5),) if not at else (),
        )
        for at in range(6)
    ]
    return unpack_columns(encode_ops(ops or plain))


def test_the_batch_itself_is_merged() -> None:
    """Else the other tests would prove nothing."""
    replica = replica_with_object()
    assert 6 == len(merge_bulk(replica, batch()))
    replica.check_invariants()


def below(name: Name) -> Columns:
    """Return the batch with another parent."""
    return batch(name=name)


def of_root(key: str, payload: Any = 1) -> Columns:
    """Return four writes at keys of the root, one of them this one."""
    keys = [key, "a", "b", "c"]
    return batch(
        *(
            Op(10 + at, THEM, 0 if not at else 9 + at, 0, Body(Kind.SET, key=k, payload=payload))
            for at, k in enumerate(keys)
        )
    )


def changed(**fields: Any) -> Callable[[], Columns]:
    """Return a maker of the batch with some columns replaced."""
    return lambda: msgspec.structs.replace(batch(), **fields)


CASES: dict[str, Callable[[], Columns]] = {
    "too few": lambda: batch(Op(10, THEM, 0, 0, Body(Kind.SET, key="a", payload=1))),
    "a container": lambda: batch(payload=[1]),
    "a long text": lambda: batch(payload="x" * 100_001),
    "not finite": lambda: msgspec.structs.replace(
        batch(payload=1.5), payload=[float("inf")] + [1.5] * 5
    ),
    "columns of different lengths": changed(key=["a"]),
    "another form": changed(form=b"\x02" * 6),
    "too few columns of names": changed(how=[b""]),
    "an author of 15 bytes": changed(authors=[b"x" * 15, US]),
    "one author under two numbers": changed(authors=[THEM, THEM, US], author=[0, 1, 0, 1, 0, 1]),
    "an author that is missing": changed(author=[9] * 6),
    "a negative time": changed(time=[-1] * 6),
    "a time out of range": changed(time=[LAMPORT_MAX + 1] + [0] * 5),
    "a broken chain": changed(previous=[3] + [1] * 5),
    "a step back in time": changed(index=[10, 1, 1, 0, 1, 1]),
    "a leap": changed(
        index=[LAMPORT_LEAP_MAX + 10] + [1] * 5, previous=[LAMPORT_LEAP_MAX + 10] + [1] * 5
    ),
    "a leap above the batch's own ops": changed(
        index=[10, 1, LAMPORT_LEAP_MAX + 1, 1, 1, 1],
        previous=[10, 1, LAMPORT_LEAP_MAX + 1, 1, 1, 1],
    ),
    "something seen that is not here": changed(seen=[0, 1, 1, 1]),
    "something seen cut off": changed(seen=[0]),
    "something seen of no op": changed(seen=[9, 1, 1, 1]),
    "something seen by nobody": changed(seen=[0, 1, 7, 1]),
    "something seen twice": changed(seen=[0, 1, 1, 5, 0, 1, 1, 5]),
    "no name": changed(how=[b"", b"", b"", b""]),
    "the same name as nobody": changed(how=[b"\x00" * 6, b"", b"", b""]),
    "a name too many": changed(how=[batch().how[0] + b"\x00", b"", b"", b""]),
    "a name told strangely": changed(how=[b"\x09" * 6, b"", b"", b""]),
    "a name without numbers": changed(
        how=[bytes((OWN,)) * 6, b"", b"", b""], what=[[], [], [], []]
    ),
    "a name of nobody": changed(
        how=[bytes((OTHER,)) * 6, b"", b"", b""], what=[[9, 1, 0], [], [], []]
    ),
    "a copied name of nothing": changed(
        how=[bytes((COPIED,)) + b"\x00" * 5, b"", b"", b""],
        what=[[1, 1, 1, 0, 1, 1, 0], [], [], []],
    ),
    "a name told again that nobody has told": changed(
        how=[bytes((OTHER, AGAIN)) + b"\x00" * 4, b"", b"", b""],
        what=[[*batch().what[0], 1], [], [], []],
    ),
    "a name told again by a negative number": changed(
        how=[bytes((OTHER, AGAIN)) + b"\x00" * 4, b"", b"", b""],
        what=[[*batch().what[0], -1], [], [], []],
    ),
    "a name told again by no number": changed(
        how=[bytes((OTHER,)) + bytes((AGAIN,)) * 5] + [b""] * 3
    ),
    "a name of a negative author": changed(what=[[-1, *batch().what[0][1:]], [], [], []]),
    "a name of index 0": lambda: below(Name(US, 0)),
    "an unknown place": lambda: below(Name(US, 4_000)),
    "a primitive as parent": lambda: below(Name(US, 5)),
    "a key that was deleted": lambda: of_root("gone"),
    "a key that holds an object": lambda: of_root("box"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_is_not_plain_goes_the_general_way(case: str) -> None:
    """Nothing has changed then."""
    replica = replica_with_object()
    before = canonical_bytes(replica.document), replica.state_hash(), dict(replica.latest)
    assert not merge_bulk(replica, CASES[case]())
    assert before == (canonical_bytes(replica.document), replica.state_hash(), replica.latest)
    replica.check_invariants()


def test_the_inside_of_a_copy_can_be_a_parent() -> None:
    """Its name is a chain of links."""
    replica = replica_with_object()
    name = Name(US, 2, 0, ((US, 1, 1),))
    assert 6 == len(merge_bulk(replica, below(name)))
    assert {f"k{at}": 1 for at in range(6)} == replica.document["copy"]["inner"]


def test_a_document_at_its_limit_goes_the_general_way() -> None:
    """The general way counts exactly."""
    replica = replica_with_object()
    replica.applier.places_max = replica.tree.made
    assert not merge_bulk(replica, batch())


def test_slots_that_a_later_op_wrote_keep_what_it_wrote() -> None:
    """The order decides, and what the later op takes back is what the batch wrote."""
    replica = replica_with_object()
    replica.clock = 100
    Compiler(replica).dispatch(Set("$.box.k3", "later"), 1)
    assert 6 == len(merge_bulk(replica, batch()))
    assert {"inner": {}, "k3": "later"} | {f"k{at}": 1 for at in (0, 1, 2, 4, 5)} == (
        replica.document["box"]
    )
    replica.check_invariants()
    replica.rewind(len(replica.log) - 1)
    assert {"inner": {}} | {f"k{at}": 1 for at in range(6)} == replica.document["box"]


def test_a_name_that_is_told_in_full_each_time_is_as_good() -> None:
    """So batches were written before names were called by numbers."""
    replica = replica_with_object()
    assert 6 == len(merge_bulk(replica, each_in_full()))
    assert {"inner": {}} | {f"k{at}": 1 for at in range(6)} == replica.document["box"]


def each_in_full() -> Columns:
    """Return the batch with the name of the object told in full by every op."""
    (author, *_), other = batch().what[0], bytes((OTHER,))
    what = [number for at in range(6) for number in (author, 9 + at, 0)]
    return msgspec.structs.replace(batch(), how=[other * 6, b"", b"", b""], what=[what, [], [], []])


@pytest.mark.parametrize("later", [Set("$.other", {}), Add("$.number", 1)], ids=["Set", "Add"])
def test_after_a_later_op_that_is_not_plain_the_general_way_is_taken(later: Set | Add) -> None:
    """It may have moved, removed or added to anything."""
    replica = replica_with_object()
    replica.clock = 100
    Compiler(replica).dispatch(later, 1)
    assert not merge_bulk(replica, batch())


def test_where_something_was_re_issued_the_general_way_is_taken() -> None:
    """An original may arrive after the op that stands for it."""
    replica = replica_with_object()
    again = Op(9, THIRD, 0, 0, Body(Kind.SET, key="k", payload=1), (), Name(THEM, 10))
    replica.merge([again])
    assert not merge_bulk(replica, batch())


def test_ids_are_put_together_when_somebody_looks() -> None:
    """Of the ops of the batch, and of no others."""
    ids = merge_bulk(replica_with_object(), batch())
    assert [(number, THEM) for number in range(10, 16)] == list(ids)
    assert (12, THEM) in ids
    assert (12, US) not in ids
