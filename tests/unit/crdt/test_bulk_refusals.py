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
from cytosol.errors import ActionError, RemoteProtocolError
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.json import canonical_bytes
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.opcodec import (
    AGAIN,
    COPIED,
    OTHER,
    OWN,
    Columns,
    decode_columns,
    encode_ops,
    unpack_columns,
)

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


def test_a_batch_of_two_authors_is_merged() -> None:
    """Else the tests of what is wrong with one would prove nothing."""
    fast, general = replica_with_object(), replica_with_object()
    assert 6 == len(merge_bulk(fast, by_turns()()))
    general.merge(decode_columns(by_turns()()))
    assert_same(fast, general)


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


def by_turns(**fields: Any) -> Callable[[], Columns]:
    """Return a maker of six plain ops of two authors in turn, with some columns replaced."""
    ops = [
        Op(
            10 + at,
            (THEM, THIRD)[at % 2],
            8 + at if at > 1 else 0,
            0,
            Body(Kind.SET, Name(US, 1), f"k{at}", payload=at),
        )
        for at in range(6)
    ]
    return lambda: msgspec.structs.replace(batch(*ops), **fields)


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
    "a broken chain of two": by_turns(previous=[10, 11, 2, 2, 3, 2]),
    "a chain of two that stands still": by_turns(previous=[10, 11, 2, 0, 2, 2]),
    "two authors out of order": by_turns(index=[10, 1, 1, -1, 1, 1]),
    "two of which one has seen more than there is": by_turns(seen=[2, 1, 1, 1]),
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
    "a name by an author nobody knows, and a strange one": changed(
        authors=[THEM, US, THIRD],
        what=[[2, 1, 0], [], [], []],
        how=[bytes((OTHER, 9)) + b"\x00" * 4] + [b""] * 3,
    ),
    "a name of a negative author": changed(what=[[-1, *batch().what[0][1:]], [], [], []]),
    "a name of index 0": lambda: below(Name(US, 0)),
    "an unknown place": lambda: below(Name(US, 4_000)),
    "a primitive as parent": lambda: below(Name(US, 5)),
    "a key that was deleted": lambda: of_root("gone"),
    "a key that holds an object": lambda: of_root("box"),
}


NOT_PLAIN = [
    "a container",
    "a long text",
    "a name too many",
    "a copied name of nothing",
    "a name of index 0",
    "an unknown place",
    "a primitive as parent",
    "a key that was deleted",
    "a key that holds an object",
]


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_what_is_not_plain_is_merged_as_its_ops_are(case: str) -> None:
    """Whether they fail or not."""
    fast, general = replica_with_object(), replica_with_object()
    assert merge_bulk(fast, CASES[case]())
    assert len(general.merge(decode_columns(CASES[case]()))) == len(CASES[case]().index)
    assert_same(fast, general)


def assert_same(fast: Replica, general: Replica) -> None:
    """Compare what two replicas hold."""
    fast.check_invariants()
    states = [
        (canonical_bytes(each.document), each.state_hash(), each.failures, each.latest, each.news())
        for each in (fast, general)
    ]
    assert states[0] == states[1]


@pytest.mark.parametrize("case", [case for case in CASES if case not in NOT_PLAIN])
def test_what_is_not_sound_goes_the_general_way(case: str) -> None:
    """Nothing has changed then."""
    replica = replica_with_object()
    before = canonical_bytes(replica.document), replica.state_hash(), dict(replica.latest)
    assert not merge_bulk(replica, CASES[case]())
    assert before == (canonical_bytes(replica.document), replica.state_hash(), replica.latest)
    assert [US] == replica.names.authors
    replica.check_invariants()


@pytest.mark.parametrize("payload", [1, {}], ids=["plain", "mixed"])
def test_authors_that_no_op_of_a_batch_uses_get_no_number(payload: Any) -> None:
    """A document knows at most 65,535, and a batch can name as many."""
    more = [bytes([number]) * 16 for number in range(100)]
    wide = msgspec.structs.replace(
        batch(), authors=batch().authors + more, payload=[1] * 5 + [payload]
    )
    replica = replica_with_object()
    assert 6 == len(merge_bulk(replica, wide))
    assert [US, THEM] == replica.names.authors


def test_a_batch_of_one_author_too_many_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not of those who had a place."""
    replica = replica_with_object()
    before = canonical_bytes(replica.document), replica.state_hash(), dict(replica.latest)
    monkeypatch.setattr("cytosol.crdt.names.AUTHORS_MAX", 2)
    with pytest.raises(RemoteProtocolError, match="at most"):
        merge_bulk(replica, by_turns()())
    assert [US] == replica.names.authors
    assert before == (canonical_bytes(replica.document), replica.state_hash(), replica.latest)
    replica.check_invariants()
    monkeypatch.undo()
    assert 6 == len(merge_bulk(replica, by_turns()()))


def test_the_inside_of_a_copy_can_be_a_parent() -> None:
    """Its name is a chain of links."""
    replica = replica_with_object()
    name = Name(US, 2, 0, ((US, 1, 1),))
    assert 6 == len(merge_bulk(replica, below(name)))
    assert {f"k{at}": 1 for at in range(6)} == replica.document["copy"]["inner"]


def test_a_document_at_its_limit_is_counted_op_by_op() -> None:
    """So what the general way refuses is refused."""
    fast, general = replica_with_object(), replica_with_object()
    for replica in (fast, general):
        replica.applier.places_max = replica.tree.made
    assert merge_bulk(fast, batch())
    general.merge(decode_columns(batch()))
    assert fast.failures
    assert_same(fast, general)


def test_a_mixed_batch_at_the_limit_is_counted_op_by_op() -> None:
    """Also where many plain writes stand together."""
    fast, general = replica_with_object(), replica_with_object()
    for replica in (fast, general):
        replica.applier.places_max = replica.tree.made + 5
    assert merge_bulk(fast, mixed_batch(9))
    general.merge(decode_columns(mixed_batch(9)))
    assert fast.failures
    assert_same(fast, general)


def test_a_mixed_batch_with_a_re_issued_op_goes_the_general_way() -> None:
    """It may stand for an op that is here, or comes later."""
    ops = decode_columns(mixed_batch(9))
    again = ops[0]._replace(origin=Name(THIRD, 4))
    assert not merge_bulk(replica_with_object(), batch(again, *ops[1:]))


@pytest.mark.parametrize("plain", [0, 8])
def test_mixed_batches_that_do_not_fit_go_the_general_way(plain: int) -> None:
    """Which says what is wrong with them."""
    replica = replica_with_object()
    mixed = mixed_batch(plain)
    for field in ("kind", "form", "key", "payload"):
        short = msgspec.structs.replace(mixed, **{field: getattr(mixed, field)[:-1]})
        assert not merge_bulk(replica, short), field
        with pytest.raises(ActionError):
            decode_columns(short)
    longer = msgspec.structs.replace(mixed, key=[*mixed.key, "more"])
    assert not merge_bulk(replica, longer)
    more = msgspec.structs.replace(
        mixed, kind=mixed.kind + b"\x01" * 9, form=mixed.form + b"\0" * 9
    )
    assert not merge_bulk(replica, more)
    assert len(mixed.index) == len(merge_bulk(replica, mixed))


@pytest.mark.parametrize("key", ["b", "ü"])
@pytest.mark.parametrize("payload", [7, 1.5, "text"])
def test_many_writes_to_one_object_in_a_mixed_batch_are_merged(key: str, payload: Any) -> None:
    """Whatever they write, under whatever keys."""
    bodies = [
        Body(Kind.ADD, Name(US, 5), payload=1),
        *(Body(Kind.SET, Name(US, 1), f"{key}{at}", payload=payload) for at in range(9)),
    ]
    mixed = batch(*(Op(10 + at, THEM, at and 9 + at, 0, body) for at, body in enumerate(bodies)))
    fast, general = replica_with_object(), replica_with_object()
    assert 10 == len(merge_bulk(fast, mixed))
    general.merge(decode_columns(mixed))
    assert_same(fast, general)


def mixed_batch(plain: int) -> Columns:
    """Return a batch that ends with so many plain writes, and has another op before them."""
    bodies = [
        *(Body(Kind.SET, None, f"a{at}", payload=at) for at in range(9)),
        Body(Kind.SET, None, "c", payload={}),
        Body(Kind.ADD, Name(US, 5), payload=1),
        *(Body(Kind.SET, None, f"b{at}", payload=at) for at in range(plain or 1)),
    ]
    return batch(*(Op(10 + at, THEM, at and 9 + at, 0, body) for at, body in enumerate(bodies)))


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
