"""A Transaction that is re-issued on another history still means the places of its own copies."""

from __future__ import annotations

from typing import Any

from cytosol.crdt.actions import (
    Copy,
    DataAction,
    Delete,
    InsertAfter,
    InsertBefore,
    Set,
    Transaction,
)
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.crdt.retarget import Retarget
from cytosol.model.op import Op

US, THEM, NEW = b"u" * 16, b"t" * 16, b"n" * 16


def reissued(*inner: DataAction, meanwhile: tuple[DataAction, ...] = ()) -> tuple[Any, Replica]:
    """Return the document that a Transaction gave, and a history on which it was issued anew."""
    old = Replica(US)
    compiler = Compiler(old)
    compiler.dispatch(Set("$.a", {"box": {"l": [1]}}), 1)
    begin = old.log.op(0)
    compiler.dispatch(Transaction(list(inner)), 1)
    lost = old.log.op(1)
    there = Replica(THEM)
    there.merge([begin])
    theirs = Compiler(there)
    for action in meanwhile:
        theirs.dispatch(action, 1)
    there.renew_author(NEW)
    index = there.clock + 1
    retarget = Retarget(
        there,
        lambda name: there.finder.find(there.names.code(name)),
        (lost.author, lost.index),
        (NEW, index),
    )
    body = retarget.body(lost.body)
    assert body is not None
    there.merge([Op(index, NEW, 0, 1, body, there.news())])
    there.check_invariants()
    return old.document, there


def test_it_writes_into_what_it_has_copied_itself() -> None:
    """Below the copy, beside its elements, and into the copy of a copy."""
    document, there = reissued(
        Copy("$.b", "$.a"),
        Set("$.b.box.k", 5),
        InsertAfter("$.b.box.l[0]", 2),
        Copy("$.c", "$.b.box"),
        Set("$.c.l[0]", 9),
        Set("$.d", {"e": {}}),
        Set("$.d.e.f", 1),
        meanwhile=(Set("$.x", 0), Set("$.y", 0)),
    )
    assert {**document, "x": 0, "y": 0} == there.document
    assert [9, 2] == there.document["c"]["l"]
    assert {} == there.failures


def test_it_fails_whole_where_what_it_copied_from_has_gone() -> None:
    """Its copy has no such place there, so nothing of it takes effect."""
    _, there = reissued(
        Set("$.done", 1),
        Copy("$.b", "$.a"),
        Set("$.b.box.k", 5),
        meanwhile=(Delete("$.a.box"),),
    )
    assert {"a": {}} == there.document
    assert [([], "path does not exist")] == list(there.failures.values())


def test_it_inserts_beside_what_is_still_shown() -> None:
    """Behind the last element before the one that it knew, or else before the next one."""
    for before, after, expected in (([0], [], [0, 2]), ([], [9], [2, 9]), ([0], [9], [0, 2, 9])):
        _, there = reissued(
            InsertAfter("$.a.box.l[0]", 2),
            meanwhile=(
                *[InsertAfter("$.a.box.l[0]", value) for value in after],
                *[InsertBefore("$.a.box.l[0]", value) for value in before],
                Delete(f"$.a.box.l[{len(before)}]"),
            ),
        )
        assert expected == there.document["a"]["box"]["l"]
