"""What each of the twelve actions does, line by line of the table in the reference."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.crdt.actions import (
    DATA_ACTIONS,
    Add,
    Copy,
    DataAction,
    Delete,
    InitArray,
    InitObject,
    InsertAfter,
    InsertBefore,
    InsertUnique,
    Move,
    Multiply,
    Set,
    Transaction,
    parse_action,
)
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.errors import ActionError, FailureError, MissingVariableError, PathSyntaxError

START: dict[str, Any] = {
    "a": {"x": 1, "y": {"z": 2}},
    "list": [10, 20, 30],
    "n": 5,
    "text": "t",
    "rows": [{"id": 1}, {"id": 2}],
}


def started(start: dict[str, Any] | None = None) -> tuple[Replica, Compiler]:
    """Return a replica whose document is `start`."""
    replica = Replica(b"a" * 16)
    compiler = Compiler(replica)
    for key, value in (START if start is None else start).items():
        compiler.dispatch(Set(f"$.{key}", value), 1)
    return replica, compiler


def changed_by(*actions: DataAction | dict[str, Any]) -> dict[str, Any]:
    """Return what differs from START after some actions (None: gone)."""
    replica, compiler = started()
    for action in actions:
        compiler.dispatch(action, 2)
    replica.check_invariants()
    document = replica.document
    keys = [*document, *(key for key in START if key not in document)]
    return {key: document.get(key) for key in keys if document.get(key) != START.get(key)}


CASES: list[tuple[DataAction, dict[str, Any]]] = [
    (Set("$.a.x", 7), {"a": {"x": 7, "y": {"z": 2}}}),
    (Set("$.new", {"k": [1]}), {"new": {"k": [1]}}),
    (Set("$['é']", 1), {"é": 1}),
    (Set("$.list[0]", 11), {"list": [11, 20, 30]}),
    (Set("$.list[-1]", 33), {"list": [10, 20, 33]}),
    (Set("$.list[3]", 40), {"list": [10, 20, 30, 40]}),
    (Set("$.list[5]", 60), {"list": [10, 20, 30, None, None, 60]}),
    (Set("$.rows[*].id", 0), {"rows": [{"id": 0}, {"id": 0}]}),
    (Set("$.rows[*].new", 0), {"rows": [{"id": 1, "new": 0}, {"id": 2, "new": 0}]}),
    (Set("$.a['x','w']", 0), {"a": {"x": 0, "y": {"z": 2}, "w": 0}}),
    (Set("$.rows[?@.id == 2]", 3), {"rows": [{"id": 1}, 3]}),
    (Set("$.none[*]", 1), {}),
    (Set("$.a..*", 0), {"a": {"x": 0, "y": 0}}),
    (Set("$.{name}", 1, {"name": "by variable"}), {"by variable": 1}),
    (Delete("$.a.y"), {"a": {"x": 1}}),
    (Delete("$.list[0]"), {"list": [20, 30]}),
    (Delete("$.list[-1]"), {"list": [10, 20]}),
    (Delete("$.list[0,2]"), {"list": [20]}),
    (Delete("$.list[9]"), {}),
    (Delete("$.nothing"), {}),
    (Delete("$..*"), dict.fromkeys(START)),
    (InitObject("$"), {}),
    (InitObject("$.a"), {}),
    (InitObject("$.list"), {"list": {}}),
    (InitObject("$.new"), {"new": {}}),
    (InitObject("$.list[3]"), {"list": [10, 20, 30, {}]}),
    (InitArray("$.list"), {}),
    (InitArray("$.a"), {"a": []}),
    (InitArray("$.new"), {"new": []}),
    (InsertBefore("$.list[1]", 15), {"list": [10, 15, 20, 30]}),
    (InsertBefore("$.list[-1]", 25), {"list": [10, 20, 25, 30]}),
    (InsertBefore("$.list[0]", 5), {"list": [5, 10, 20, 30]}),
    (InsertBefore("$.list[9]", 40), {"list": [10, 20, 30, 40]}),
    (InsertAfter("$.list[0]", 15), {"list": [10, 15, 20, 30]}),
    (InsertAfter("$.list[2]", 40), {"list": [10, 20, 30, 40]}),
    (InsertAfter("$.list[3]", 40), {"list": [10, 20, 30, 40]}),
    (InsertUnique("$.list", 40), {"list": [10, 20, 30, 40]}),
    (InsertUnique("$.list", 20.0), {}),
    (InsertUnique("$.rows", {"id": 2}), {}),
    (InsertUnique("$.list", True), {"list": [10, 20, 30, True]}),
    (Add("$.n", 2), {"n": 7}),
    (Add("$.n", 0.5), {"n": 5.5}),
    (Add("$.list[*]", 1), {"list": [11, 21, 31]}),
    (Multiply("$.n", -3), {"n": -15}),
    (Move("$.b", "$.a.y"), {"a": {"x": 1}, "b": {"z": 2}}),
    (Move("$.n", "$.a.x"), {"a": {"y": {"z": 2}}, "n": 1}),
    (Move("$.a", "$.a.y"), {"a": {"z": 2}}),
    (Move("$.list[0]", "$.list[2]"), {"list": [30, 10, 20]}),
    (Move("$.list[3]", "$.list[0]"), {"list": [20, 30, 10]}),
    (Move("$.list[4]", "$.n"), {"list": [10, 20, 30, None, 5], "n": None}),
    (Move("$.n", "$.n"), {}),
    (Copy("$.b", "$.a"), {"b": START["a"]}),
    (Copy("$.a.y.copy", "$.a"), {"a": {"x": 1, "y": {"z": 2, "copy": START["a"]}}}),
    (Copy("$['p','q']", "$.list"), {"p": [10, 20, 30], "q": [10, 20, 30]}),
    (Copy("$.list[0]", "$.n"), {"list": [5, 10, 20, 30]}),
    (Copy("$.list[4]", "$.rows"), {"list": [10, 20, 30, None, START["rows"]]}),
    (Copy("$.none[*]", "$.n"), {}),
    (Transaction([Set("$.n", 1), Add("$.n", 1), Copy("$.m", "$.n")]), {"n": 2, "m": 2}),
    (Transaction([InitArray("$.q"), InsertAfter("$.q[0]", 1), Set("$.q[0]", 2)]), {"q": [2]}),
    (Transaction([]), {}),
    (Transaction([Delete("$.nothing")]), {}),
]


@pytest.mark.parametrize(("action", "expected"), CASES, ids=lambda value: repr(value)[:60])
def test_an_action_does_what_the_table_says(action: DataAction, expected: dict[str, Any]) -> None:
    """As a typed action and as a message."""
    assert expected == changed_by(action)
    assert expected == changed_by(action.to_message())


FAILURES: list[tuple[DataAction, str]] = [
    (Set("$", 1), "the root cannot be replaced"),
    (Set("$.none.x", 1), "path does not exist"),
    (Set("$.n.x", 1), "path does not exist"),
    (Set("$.list.x", 1), "path does not exist"),
    (Set("$.a[0]", 1), "path does not exist"),
    (Set("$.list[-4]", 1), "before the start"),
    (Set("$.list[65540]", 1), "more than 65536 elements would be filled"),
    (Delete("$"), "cannot"),
    (Delete("$.list[-4]"), "before the start"),
    (InitArray("$"), "the root cannot be replaced"),
    (InitArray("$.none.x"), "path does not exist"),
    (InsertBefore("$", 1), "not an array index"),
    (InsertBefore("$.a", 1), "not an array index"),
    (InsertAfter("$.a.new", 1), "not an array index"),
    (InsertAfter("$.list.x", 1), "not an array index"),
    (InsertAfter("$.none[0]", 1), "path does not exist"),
    (InsertUnique("$", 1), "not an array"),
    (InsertUnique("$.a", 1), "not an array"),
    (InsertUnique("$.n", 1), "not an array"),
    (InsertUnique("$.none", 1), "path does not exist"),
    (Add("$", 1), "not a number"),
    (Add("$.text", 1), "not a number"),
    (Add("$.none", 1), "path does not exist"),
    (Add("$.n", 2**64 - 1), "number out of range"),
    (Multiply("$.n", 1.7e308), "number out of range"),
    (Move("$.b", "$.none"), "source"),
    (Move("$.b", "$"), "root"),
    (Move("$", "$.n"), "root"),
    (Move("$.a.y.deep", "$.a"), "into itself"),
    (Move("$.list[*]", "$.n"), "one place"),
    (Move("$.none[*]", "$.n"), "path does not exist"),
    (Move("$.b", "$.list[*]"), "one place"),
    (Move("$.b", "$.none[*]"), "source"),
    (Move("$.list[70000]", "$.n"), "more than 65536"),
    (Copy("$.b", "$.none"), "source"),
    (Copy("$.none.b", "$.n"), "path does not exist"),
    (Transaction([Set("$.n", 1), Set("$.none.x", 1)]), "path does not exist"),
    (Transaction([Set("$.q", [[]]), Add("$.q", 1)]), "not a number"),
]


@pytest.mark.parametrize(("action", "message"), FAILURES, ids=lambda value: repr(value)[:60])
def test_a_failure_says_what_and_leaves_no_trace(action: DataAction, message: str) -> None:
    """Nothing has changed, nothing is logged, no number is used."""
    replica, compiler = started()
    clock, length = replica.clock, len(replica.log)
    with pytest.raises(FailureError) as caught:
        compiler.dispatch(action, 2)
    (failure,) = caught.value.failures
    assert message in failure["message"]
    assert failure["id"] is None
    assert START == replica.document
    assert (clock, length) == (replica.clock, len(replica.log))
    replica.check_invariants()


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (1, "not a int"),
        ({}, "the member 'action' is missing"),
        ({"action": None}, "None is not an action"),
        ({"action": "Sett", "path": "$.a"}, "is not an action"),
        ({"action": "Set", "payload": 1}, "needs a path"),
        ({"action": "Set", "path": 1, "payload": 1}, "must be a string"),
        ({"action": "Set", "path": "$.a"}, "needs a payload"),
        ({"action": "Delete", "path": "$.a", "payload": 1}, "takes no payload"),
        ({"action": "Set", "path": "$.a", "payload": 1, "x": 1}, "has no member 'x'"),
        ({"action": "Set", "path": "$.a", "payload": 1, "vars": "x"}, "vars"),
        ({"action": "Set", "path": "$.a", "payload": {1}}, "JSON"),
        ({"action": "Set", "path": "$.a", "payload": float("nan")}, "finite"),
        ({"action": "Add", "path": "$.n", "payload": "1"}, "must be a number"),
        ({"action": "Move", "path": "$.n", "payload": 1}, "path of what to take"),
        ({"action": "Transaction", "path": "$", "payload": []}, "no path"),
        ({"action": "Transaction", "payload": 1}, "list of actions"),
        ({"action": "Transaction", "payload": [Transaction([])]}, "inside another"),
    ],
)
def test_a_malformed_action_raises_before_anything_happens(message: Any, says: str) -> None:
    """The error says what is wrong."""
    replica, compiler = started()
    with pytest.raises(ActionError, match=says):
        compiler.dispatch(message, 2)
    assert START == replica.document


def test_paths_and_variables_are_checked_too() -> None:
    """Also in the middle of a Transaction, which is then taken back whole."""
    replica, compiler = started()
    with pytest.raises(PathSyntaxError):
        compiler.dispatch(Set("$.[", 1), 2)
    with pytest.raises(MissingVariableError):
        compiler.dispatch(Transaction([Set("$.n", 1), Set("$.{who}", 1)]), 2)
    assert START == replica.document
    assert len(START) == len(replica.log)


def test_several_places_become_several_ops_which_stand_or_fall_together_here() -> None:
    """One of the matches fails: all of them are taken back, and every failure is told."""
    replica, compiler = started()
    assert 2 == compiler.dispatch(Set("$.rows[*].id", 9), 2)
    with pytest.raises(FailureError) as caught:
        compiler.dispatch(Add("$['n','text','a']", 1), 2)
    assert {"not a number"} == {failure["message"] for failure in caught.value.failures}
    assert 5 == replica.document["n"]


def test_an_index_means_the_element_that_stands_there_now() -> None:
    """A path through an array is looked up anew: elements may have come or gone before it."""
    written = changed_by(
        Set("$.rows[1].seen", 1),
        InsertBefore("$.rows[0]", "first"),
        Set("$.rows[1].seen", 2),
        Delete("$.rows[0]"),
        Set("$.rows[1].seen", 3),
    )
    assert written == {"rows": [{"id": 1, "seen": 2}, {"id": 2, "seen": 3}]}


def test_what_was_taken_back_is_not_written_to_any_more() -> None:
    """An object that the disk refused, or that a failed Transaction made, is not there."""
    replica, compiler = started()
    row = len(replica.log)
    compiler.dispatch(Set("$.new", {}), 2)
    compiler.dispatch(Set("$.new.k", 1), 2)
    replica.take_back(row)
    with pytest.raises(FailureError, match="path does not exist"):
        compiler.dispatch(Set("$.new.k", 2), 2)
    with pytest.raises(FailureError, match="not a number"):
        compiler.dispatch(
            Transaction([InitObject("$.new"), Set("$.new.k", 3), Add("$.text", 1)]), 2
        )
    with pytest.raises(FailureError, match="path does not exist"):
        compiler.dispatch(Set("$.new.k", 4), 2)
    assert replica.document == START
    replica.check_invariants()


def test_typed_actions_are_values() -> None:
    """They compare by what they mean, and show how to make them."""
    assert Set("$.a", 1) == Set("$.a", 1)
    assert Set("$.a", 1) != Set("$.a", 2)
    assert Delete("$.a") != Set("$.a", 1)
    assert 1 == len({Delete("$.a"), Delete("$.a")})
    assert "Set('$.a', 1)" == repr(Set("$.a", 1))
    assert "Delete('$.{x}', {'x': 'a'})" == repr(Delete("$.{x}", {"x": "a"}))
    assert "InitObject('$.a')" == repr(InitObject("$.a"))
    assert repr(Transaction([Delete("$.a")])).startswith("Transaction([{'action': 'Delete'")
    assert 12 == len(DATA_ACTIONS)
    message = Set("$.{x}", 1, {"x": "a"}).to_message()
    assert {"action": "Set", "path": "$.{x}", "payload": 1, "vars": {"x": "a"}} == message
    assert parse_action(message) == parse_action(Set("$.{x}", 1, {"x": "a"}))
