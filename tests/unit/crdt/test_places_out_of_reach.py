"""Ops on places that nobody can reach any more fail alike at every peer, as at the oracle."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cytosol.crdt.actions import DataAction, Move, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.model.op import Body, Kind, Name, Op, Side, Spot, op_to_json
from tests.oracle.fold import fold

US, THEM, ELSE = b"u" * 16, b"t" * 16, b"e" * 16
MISSING = "path does not exist"


def written(*actions: DataAction) -> list[Op]:
    """Return the ops of our own actions."""
    replica = Replica(US)
    compiler = Compiler(replica)
    for action in actions:
        compiler.dispatch(action, 1)
    return [replica.log.op(row) for row in range(len(replica.log))]


def merged(*batches: list[Op]) -> tuple[dict[str, Any], list[tuple[list[str | int], str]]]:
    """Return document and failures after some batches, having compared them with the oracle."""
    replica = Replica(b"\xff" * 16)
    for batch in batches:
        replica.merge(batch)
    replica.check_invariants()
    log = replica.log
    rows = sorted((log.find(code), *failure) for code, failure in replica.failures.items())
    failures = [(path, message) for _, path, message in rows]
    folded = fold(op_to_json(op) for batch in batches for op in batch)
    assert folded.document == replica.document
    assert [(one["path"], one["message"]) for one in folded.failures] == failures
    return replica.document, failures


def test_copies_by_ops_that_stand_for_each_other_lead_nowhere() -> None:
    """Whoever makes up such origins gets failures, in whatever order the ops arrive."""
    copy = Body(Kind.COPY, key="b", source=Name(US, 1))
    ops = [
        *written(Set("$.a", {"x": 1})),
        Op(2, THEM, 0, 0, copy, (), Name(ELSE, 3)),
        Op(3, ELSE, 0, 0, copy, (), Name(THEM, 2)),
        Op(4, US, 1, 0, Body(Kind.ADD, Name(THEM, 2, 0, ((US, 1, 1),)), payload=1)),
    ]
    for arrival in itertools.permutations(ops):
        assert ({"a": {"x": 1}}, [([], MISSING)]) == merged(*([op] for op in arrival))


COVERED = Name(US, 1, 2)
"""The `x` of an object that was replaced, and whose key a move has taken over then."""


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (Body(Kind.ADD, COVERED, payload=1), ["a", "r", "x"]),
        (Body(Kind.SET, COVERED, payload=5), ["a", "r", "x"]),
        (Body(Kind.INIT_ARRAY, COVERED), ["a", "r", "x"]),
        (Body(Kind.DELETE, COVERED), ["a", "r", "x"]),
        (Body(Kind.MOVE, key="free", source=COVERED), ["free"]),
    ],
)
def test_what_was_replaced_and_then_covered_by_a_move_is_gone(body: Body, path: list[str]) -> None:
    """Also for a peer that knew of neither when it wrote below it."""
    ops = written(
        Set("$.a", {"r": {"x": 1}}), Set("$.a", {}), Set("$.b", {"y": 2}), Move("$.a.r", "$.b")
    )
    document, failures = merged(ops, [Op(9, THEM, 0, 0, body)])
    assert {"a": {"r": {"y": 2}}} == document
    assert [(path, MISSING)] == failures


def test_of_two_moves_into_each_other_the_later_one_fails() -> None:
    """Nothing is lost, and no box ever lies in itself."""
    ops = written(Set("$.a", {"in": {}}), Set("$.b", {"in": {}}))
    into_b = Op(3, US, 2, 0, Body(Kind.MOVE, Name(US, 2, 1), "x", source=Name(US, 1)))
    into_a = Op(4, THEM, 0, 0, Body(Kind.MOVE, Name(US, 1, 1), "x", source=Name(US, 2)))
    expected: dict[str, Any] = {"b": {"in": {"x": {"in": {}}}}}
    failed = [(["b", "in", "x", "in", "x"], "cannot move a place into itself")]
    assert (expected, failed) == merged(ops, [into_b], [into_a])
    assert (expected, failed) == merged(ops, [into_a], [into_b])


def test_a_peers_move_of_a_box_into_itself_fails() -> None:
    """Into its own array and onto its own key."""
    ops = written(Set("$.a", {"l": [0]}))
    for body in (
        Body(Kind.MOVE, Name(US, 1), "x", source=Name(US, 1)),
        Body(Kind.MOVE, Name(US, 1, 1), spot=Spot(0, None, Side.END), source=Name(US, 1)),
    ):
        document, failures = merged(ops, [Op(2, THEM, 0, 0, body)])
        assert {"a": {"l": [0]}} == document
        assert ["cannot move a place into itself"] == [message for _, message in failures]


def test_an_insert_stands_where_an_element_was_that_a_repetition_names() -> None:
    """The element has moved away since; the repetition has no position of its own."""
    values: list[Any] = ["a", "b"]
    again = Body(Kind.SET, key="l", payload=values)
    beside = Spot(0, Name(ELSE, 6, 1), Side.AFTER)
    ops = [
        Op(5, THEM, 0, 0, again, (), Name(US, 2)),
        Op(6, ELSE, 0, 0, again, (), Name(US, 2)),
        Op(7, THEM, 5, 0, Body(Kind.MOVE, key="m", source=Name(THEM, 5, 1))),
        Op(8, ELSE, 6, 0, Body(Kind.INSERT_AFTER, Name(ELSE, 6), spot=beside, payload="x")),
    ]
    expected = {"l": ["x", "b"], "m": "a"}
    assert (expected, []) == merged(ops) == merged(*([op] for op in reversed(ops)))


def test_an_insert_stands_where_an_element_was_that_was_issued_again_alone() -> None:
    """Its name is one of the middle of an op that nobody has any more."""
    first = Spot(0, None, Side.END)
    last = Spot(1, Name(THEM, 6), Side.AFTER)
    beside = Spot(0, Name(US, 2, 1), Side.AFTER)
    ops = [
        Op(5, THEM, 0, 0, Body(Kind.INIT_ARRAY, key="l")),
        Op(
            6, THEM, 5, 0, Body(Kind.SET, Name(THEM, 5), spot=first, payload="a"), (), beside.beside
        ),
        Op(7, THEM, 6, 0, Body(Kind.SET, Name(THEM, 5), spot=last, payload="b")),
        Op(8, THEM, 7, 0, Body(Kind.MOVE, key="m", source=Name(THEM, 6))),
        Op(9, ELSE, 0, 0, Body(Kind.INSERT_AFTER, Name(THEM, 5), spot=beside, payload="x")),
    ]
    expected = {"l": ["x", "b"], "m": "a"}
    assert (expected, []) == merged(ops) == merged(*([op] for op in ops))
