"""Transactions of many actions: their places are found by number, not one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.crdt import compile as compile_module
from cytosol.crdt.actions import InitArray, InitObject, InsertAfter, Move, Set, Transaction
from cytosol.errors import FailureError
from tests.oracle.fold import fold
from tests.unit.document.making import OTHER, open_document


def test_all_that_a_long_transaction_makes_is_found() -> None:
    """Also fills, what is inside of payloads, and what stands behind a move with fills."""
    document = open_document()
    actions: list[Any] = [InitObject("$.o"), InitArray("$.l")]
    for number in range(12):
        actions.append(Set(f"$.o.k{number}", {"in": [number, {"deep": number}]}))
        actions.append(Set(f"$.l[{2 * number + 1}]", [number]))
    actions.append(Set("$.moved", {"x": 1}))
    actions.append(Move("$.l[40]", "$.moved"))
    actions += [Set(f"$.o.later{number}", {}) for number in range(12)]
    document.dispatch(Transaction(actions))
    other = open_document(author=OTHER)
    log = document.replica.log
    other.merge([log.op(row) for row in range(len(log))])
    for number in range(12):
        other.dispatch(Set(f"$.o.k{number}['in'][1].deep", -number))
        other.dispatch(Set(f"$.l[{2 * number}]", "fill"))
        other.dispatch(InsertAfter(f"$.l[{2 * number + 1}][0]", "more"))
        other.dispatch(Set(f"$.o.later{number}.new", number))
    log = other.replica.log
    document.merge([log.op(row) for row in range(len(log))])
    assert document.query("$") == other.query("$")
    assert fold(document.history.actions()).document == document.replica.document
    assert document.query("$.o.*['in'][1].deep") == other.query("$.o.*['in'][1].deep")
    assert not document.replica.failures
    document.check()


@pytest.mark.parametrize("limit", ["TRANSACTION_OPS_MAX", "OFFSET_MASK"])
def test_a_transaction_that_no_peer_would_take_is_refused_here(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be read back from the file, either."""
    monkeypatch.setattr(compile_module, limit, 3)
    document = open_document()
    document.dispatch(Transaction([Set(f"$.k{number}", number) for number in range(3)]))
    before = document.query("$")
    with pytest.raises(FailureError, match="transaction is too large"):
        document.dispatch(Transaction([Set(f"$.k{number}", -1) for number in range(4)]))
    with pytest.raises(FailureError, match="transaction is too large"):
        document.dispatch(Transaction([InitObject("$.o"), Set("$.*", -1)]))
    assert document.query("$") == before
    document.check()
