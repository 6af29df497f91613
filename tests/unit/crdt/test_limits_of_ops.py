"""Ops of peers that break a limit of the format fail, and the failure says which."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.crdt.actions import Copy, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.errors import FailureError
from cytosol.model.op import Body, Kind, Name, Op, Side, Spot

A, B = b"a" * 16, b"b" * 16
LIST = Name(A, 1)


def failure_of(*bodies: Body, places_max: int = 1 << 24) -> str | None:
    """Return the message of the last op's failure, after `$.list = []` and some ops."""
    replica = Replica(B, places_max)
    ops = [Body(Kind.SET, None, "list", payload=[]), *bodies]
    replica.merge(Op(n, A, n - 1, 0, body) for n, body in enumerate(ops, 1))
    replica.check_invariants()
    last = [m for code, (_, m) in replica.failures.items() if code >> 16 == len(ops)]
    return last[0] if last else None


def filled(fill: int) -> Body:
    """Return an insert with a fill."""
    return Body(Kind.INIT_ARRAY, LIST, None, Spot(0, None, Side.END, fill))


@pytest.mark.parametrize("payload", ["x" * 9_000_000, ["x" * 9_000_000], {"k": "é" * 4_500_000}])
def test_a_payload_has_at_most_8_mib(payload: Any) -> None:
    """As canonical JSON, alone and in a Transaction."""
    body = Body(Kind.SET, None, "k", payload=payload)
    assert "payload is too large" == failure_of(body)
    assert "payload is too large" == failure_of(Body(Kind.TRANSACTION, payload=(body,)))


def test_a_long_payload_below_the_limit_is_fine() -> None:
    """It is measured."""
    assert failure_of(Body(Kind.SET, None, "k", payload="x" * 2_000_000)) is None


def test_a_transaction_has_a_bounded_number_of_names() -> None:
    """One that would need more names nothing at all."""
    body = Body(Kind.TRANSACTION, payload=(filled(2**23), filled(2**23)))
    assert "transaction is too large" == failure_of(body)


def test_a_fill_is_bounded() -> None:
    """Whoever counts on more fails."""
    assert "too many elements to fill" == failure_of(filled(65_537))
    assert failure_of(filled(65_536)) is None


def test_a_document_has_a_bounded_number_of_places() -> None:
    """Counted as shown: what was deleted does not count."""
    grow = [Body(Kind.SET, None, f"k{n}", payload=n) for n in range(4)]
    assert failure_of(*grow[:3], places_max=4) is None
    assert "document is too large" == failure_of(*grow, places_max=4)
    drop = Body(Kind.DELETE, Name(A, 2))
    assert failure_of(*grow[:3], drop, grow[3], places_max=4) is None


def test_nothing_is_nested_deeper_than_the_limit() -> None:
    """A copy into itself stops there."""
    replica = Replica(A)
    compiler = Compiler(replica)
    compiler.dispatch(Set("$.a", {}), 1)

    def copy_into_the_depth() -> None:
        for _ in range(200):
            path, value = "$.a", replica.document["a"]
            while "b" in value:
                value, path = value["b"], path + ".b"
            compiler.dispatch(Copy(f"{path}.b", "$.a"), 1)

    with pytest.raises(FailureError, match="nested too deeply"):
        copy_into_the_depth()
    replica.check_invariants()
