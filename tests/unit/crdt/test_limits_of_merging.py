"""What one peer may make another wait for, and how far it may turn the clock (spec: network)."""

from __future__ import annotations

import pytest

from cytosol.crdt.bulk import merge_bulk
from cytosol.crdt.replica import Replica
from cytosol.errors import RemoteProtocolError
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX, WAITING_OP_BYTES_MAX, WAITING_OPS_MAX
from cytosol.model.op import Body, Kind, Op
from cytosol.model.opcodec import encode_ops, unpack_columns

AUTHOR = b"a" * 16


def op(index: int, previous: int, key: str = "k") -> Op:
    """Return a plain op of the one author."""
    return Op(index, AUTHOR, previous, 0, Body(Kind.SET, key=key, payload=index))


def test_at_most_4096_ops_wait_for_one_that_never_comes() -> None:
    """More at once are refused, and what waited still waits."""
    replica = Replica(b"b" * 16)
    waiting = [op(index, index - 1) for index in range(2, WAITING_OPS_MAX + 3)]
    assert [] == replica.merge(waiting[:-1])
    with pytest.raises(RemoteProtocolError, match="wait"):
        replica.merge(waiting)
    assert WAITING_OPS_MAX == len(replica.waiting)
    assert WAITING_OPS_MAX + 1 == len(replica.merge([op(1, 0)]))
    replica.check_invariants()


def test_what_waits_does_not_keep_others_from_waiting() -> None:
    """Else one peer could keep the ops of all others out; what went comes again."""
    replica = Replica(b"b" * 16)
    replica.merge([op(index, index - 1) for index in range(2, WAITING_OPS_MAX + 2)])
    other = op(WAITING_OPS_MAX + 50, 7)._replace(author=b"c" * 16)
    assert [] == replica.merge([other])
    assert [other] == list(replica.waiting.values())


@pytest.mark.parametrize(
    ("body", "waits"),
    [
        (Body(Kind.SET, key="k", payload="x" * WAITING_OP_BYTES_MAX), True),
        (Body(Kind.SET, key="k", payload="x" * (WAITING_OP_BYTES_MAX + 1)), False),
        (Body(Kind.SET, key="k", payload=[[]] * 50), True),
        (Body(Kind.SET, key="k", payload={"a": [[]] * 500}), False),
        (Body(Kind.TRANSACTION, payload=(Body(Kind.SET, key="k", payload=1),)), True),
        (Body(Kind.TRANSACTION, payload=(Body(Kind.SET, key="k", payload=1),) * 100), False),
    ],
)
def test_large_ops_are_not_kept_waiting(body: Body, waits: bool) -> None:
    """4,096 ops of megabytes would fill the memory of any device."""
    replica = Replica(b"b" * 16)
    assert [] == replica.merge([Op(9, AUTHOR, 8, 0, body)])
    assert waits == bool(replica.waiting)


@pytest.mark.parametrize(("count", "waits"), [(50, True), (100, False)])
def test_ops_that_have_seen_very_many_authors_are_not_kept_waiting(count: int, waits: bool) -> None:
    """What an op builds on is memory, too."""
    replica = Replica(b"b" * 16)
    early = op(9, 8)._replace(seen=tuple((bytes([at]) * 16, 1) for at in range(count)))
    assert [] == replica.merge([early])
    assert waits == bool(replica.waiting)


def test_an_op_may_turn_the_clock_by_2_to_the_20_and_no_more() -> None:
    """One poisoned number must not freeze the clock of everybody."""
    replica = Replica(b"b" * 16)
    with pytest.raises(RemoteProtocolError, match="above"):
        replica.merge([op(LAMPORT_LEAP_MAX + 1, 0)])
    assert 0 == replica.clock == replica.count()
    replica.merge([op(LAMPORT_LEAP_MAX, 0)])
    assert LAMPORT_LEAP_MAX == replica.clock


def test_a_batch_that_leaps_is_not_merged_in_bulk_either() -> None:
    """The fast way leaves it to the general one, which refuses it."""
    replica = Replica(b"b" * 16)
    first = LAMPORT_LEAP_MAX + 1
    ops = [op(first + at, 0 if not at else first + at - 1) for at in range(8)]
    assert not merge_bulk(replica, unpack_columns(encode_ops(ops)))
    with pytest.raises(RemoteProtocolError):
        replica.merge(ops)


def test_lamport_numbers_end_at_2_to_the_53() -> None:
    """They stay exact in every JSON reader."""
    replica = Replica(b"b" * 16)
    replica.clock = LAMPORT_MAX - 1
    with pytest.raises(RemoteProtocolError):
        replica.merge([op(LAMPORT_MAX + 1, 0)])
    assert 1 == len(replica.merge([op(LAMPORT_MAX, 0)]))
