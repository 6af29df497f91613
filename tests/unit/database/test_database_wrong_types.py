"""Every argument of every public method, given something of the wrong type: a clear error."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cytosol
from tests.unit.database.databases import open_alone

ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"


@pytest.fixture(scope="module")
def db() -> Iterator[cytosol.Database]:
    with open_alone() as db:
        db.dispatch(cytosol.Set("$.a", [1, 2]))
        yield db


def ignore(*_: Any) -> None:
    """Be called back."""


def first(lists: Any) -> None:
    """Begin to watch."""
    asyncio.run(lists.__anext__())


def in_transaction(db: cytosol.Database, use: Callable[[Any], Any]) -> None:
    with db.transaction() as transaction:
        use(transaction)


NO_TEXT = (5, None, True, 1.5, b"$", [], {}, [[]], set(), object())
NO_ACTION = (5, None, "Set", b"x", 1.5, [], {}, [[]], {1: 2}, set(), object())
NO_VARIABLES = (5, 1.5, True, "x", b"x", {"x"}, object())
NO_CALLBACK = (5, None, "x", [], {}, object())
NO_STEP = (None, 1.5, True, b"a", [], {}, [[]], set(), object())
NO_IDS = (5, None, True, 1.5, "x", b"x", {}, {"index": 1}, [5], [None], ["x"], [{}], [[]],
          [{"index": 1, "author": 5}], [{"index": 1, "author": []}], object())  # fmt: skip
NO_PEER = (5, None, True, "x", b"x", [], {}, [[]], set(), object())
NO_CONFIG = (5, None, True, "x", b"x", [], {1: 2}, {"hooks": 5}, {"storage": 5}, object())
NO_TIMEOUT = ("x", True, [], {}, b"x", float("nan"), object())
NO_WAIT = ("x", None, True, [], -1, 10**400, float("nan"), object())
NO_ADDRESSES = (5, None, True, "10.0.0.1", b"x", {"10.0.0.1"}, [5], [None], ["x"], [[]], object())

CALLS: dict[str, tuple[tuple[Any, ...], Callable[[cytosol.Database, Any], Any]]] = {
    "dispatch action": (NO_ACTION, lambda db, x: db.dispatch(x)),
    "dispatch path": (NO_TEXT, lambda db, x: db.dispatch({"action": "Delete", "path": x})),
    "dispatch kind": (NO_TEXT, lambda db, x: db.dispatch({"action": x, "path": "$.a"})),
    "dispatch vars": (NO_VARIABLES, lambda db, x: db.dispatch(cytosol.Delete("$.a", x))),
    "query_once path": (NO_TEXT, lambda db, x: db.query_once(x)),
    "query_once variables": (NO_VARIABLES, lambda db, x: db.query_once("$", x)),
    "query_once variables used": (NO_VARIABLES, lambda db, x: db.query_once("$[{x}]", x)),
    "query_once_meta path": (NO_TEXT, lambda db, x: db.query_once_meta(x)),
    "query_once_meta variables": (NO_VARIABLES, lambda db, x: db.query_once_meta("$", x)),
    "get steps": (NO_STEP, lambda db, x: db.get("a", x)),
    "subscribe path": (NO_TEXT, lambda db, x: db.subscribe(x, ignore)),
    "subscribe callback": (NO_CALLBACK, lambda db, x: db.subscribe("$", x)),
    "subscribe variables": (NO_VARIABLES, lambda db, x: db.subscribe("$", ignore, variables=x)),
    "subscribe_meta path": (NO_TEXT, lambda db, x: db.subscribe_meta(x, ignore)),
    "subscribe_meta callback": (NO_CALLBACK, lambda db, x: db.subscribe_meta("$", x)),
    "subscribe_meta variables": (
        NO_VARIABLES,
        lambda db, x: db.subscribe_meta("$", ignore, variables=x),
    ),
    "watch path": (NO_TEXT, lambda db, x: first(db.watch(x))),
    "watch variables": (NO_VARIABLES, lambda db, x: first(db.watch("$", x))),
    "wait_for_peer peer_id": (NO_PEER, lambda db, x: asyncio.run(db.wait_for_peer(x))),
    "wait_for_peer timeout": (NO_TIMEOUT, lambda db, x: asyncio.run(db.wait_for_peer(ID, x))),
    "graph path": (NO_TEXT, lambda db, x: db.graph(x)),
    "graph configs": (NO_CONFIG, lambda db, x: db.graph("$.graph", x)),
    "on event": (NO_TEXT, lambda db, x: db.on(x, ignore)),
    "on callback": (NO_CALLBACK, lambda db, x: db.on("pair_request", x)),
    "dismiss_failures ids": (NO_IDS, lambda db, x: db.dismiss_failures(x)),
    "check progress": (NO_CALLBACK, lambda db, x: db.check(x)),
    "doctor wait_s": (NO_WAIT, lambda db, x: db.doctor(wait_s=x)),
    "doctor addresses": (NO_ADDRESSES, lambda db, x: db.doctor(addresses=x)),
    "transaction dispatch": (
        NO_ACTION,
        lambda db, x: in_transaction(db, lambda transaction: transaction.dispatch(x)),
    ),
    "transaction query_once path": (
        NO_TEXT,
        lambda db, x: in_transaction(db, lambda transaction: transaction.query_once(x)),
    ),
    "transaction query_once variables": (
        NO_VARIABLES,
        lambda db, x: in_transaction(db, lambda transaction: transaction.query_once("$", x)),
    ),
    "transaction get": (
        NO_STEP,
        lambda db, x: in_transaction(db, lambda transaction: transaction.get(x)),
    ),
}
FREE = {"default", "return_failures", "deltas", "raises"}  # any value, or whatever is true or false


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (values, _) in CALLS.items() for value in values],
)
def test_an_argument_of_the_wrong_type_is_refused(
    db: cytosol.Database, name: str, value: Any
) -> None:
    """Nothing changes, and no TypeError from somewhere deep inside comes out."""
    with pytest.raises((cytosol.ActionError, cytosol.ConfigError)):
        CALLS[name][1](db, value)
    assert [{"a": [1, 2]}] == db.query_once("$")


def test_no_argument_was_forgotten() -> None:
    """Each argument of each public method stands in the table above."""
    for name, method in vars(cytosol.Database).items():
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        for argument in list(inspect.signature(method).parameters)[1:]:
            assert argument in FREE or f"{name} {argument}" in CALLS, f"{name} {argument}"


def test_a_timeout_that_is_too_large_for_a_float_is_long(db: cytosol.Database) -> None:
    """It is refused for the network that is missing, not for its size."""
    with pytest.raises(cytosol.NetworkError, match="network=False"):
        asyncio.run(db.wait_for_peer(ID, 10**400))
