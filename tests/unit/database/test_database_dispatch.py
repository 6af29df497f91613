"""Dispatching and reading through the public API."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import cytosol
from tests.unit.database.databases import open_alone


@pytest.fixture
def db() -> Any:
    """A database in memory."""
    with open_alone() as database:
        yield database


# --- Actions and failures -------------------------------------------------------------------------


def test_messages_and_typed_actions_do_the_same(db: cytosol.Database) -> None:
    """The seed's messages are understood as they are."""
    db.dispatch({"action": "Set", "path": "$.a", "payload": 1})
    db.dispatch(cytosol.Set("$.b", 1))
    db.dispatch({"action": "Set", "path": "$.{k}", "payload": 1, "vars": {"k": "c"}})
    assert [{"a": 1, "b": 1, "c": 1}] == db.query_once("$")


@pytest.mark.parametrize(
    "action",
    [
        None,
        7,
        "Set",
        [],
        {},
        {"action": "Sett", "path": "$.a", "payload": 1},
        {"action": ["Set"], "path": "$.a", "payload": 1},
        {"action": "Set", "path": "$.a"},
        {"action": "Set", "payload": 1},
        {"action": "Set", "path": 7, "payload": 1},
        {"action": "Set", "path": "$.[", "payload": 1},
        {"action": "Set", "path": "$.{missing}", "payload": 1},
        {"action": "Set", "path": "$.a", "payload": 1, "extra": 2},
        {"action": "Set", "path": "$.a", "payload": {1, 2}},
        {"action": "Set", "path": "$.a", "payload": float("nan")},
        {"action": "Set", "path": "$.a", "payload": 2**64},
        {"action": "Set", "path": "$.a", "payload": "\ud800"},
        {"action": "Set", "path": "$.a", "payload": {1: 2}},
        {"action": "Add", "path": "$.n", "payload": "1"},
        {"action": "Transaction", "payload": 3},
        {"action": "Transaction", "payload": [{"action": "Set"}]},
        cytosol.Set("$.a", object()),
        {"action": "RequestPair", "payload": {"id": "x"}},
        {"action": "Unpair", "payload": "not an id"},
        {"action": "SetVisibleToPeers", "payload": 1},
    ],
)
def test_a_malformed_action_raises_and_nothing_is_logged(db: cytosol.Database, action: Any) -> None:
    """Also when failures are to be returned: being malformed is no failure."""
    db.dispatch(cytosol.Set("$.n", 1))
    before = db.state_hash()
    for return_failures in (False, True):
        with pytest.raises(cytosol.ActionError) as caught:
            db.dispatch(action, return_failures=return_failures)
        assert len(str(caught.value)) > 15
    assert before == db.state_hash()
    assert [{"n": 1}] == db.query_once("$")


def test_a_failure_raises_or_is_returned_and_changes_nothing(db: cytosol.Database) -> None:
    """Its id is None, for a refused dispatch has no op."""
    db.dispatch(cytosol.Set("$.a", 1))
    before = db.state_hash()
    action = cytosol.Set("$.missing.b", 1)
    with pytest.raises(cytosol.FailureError, match="nothing was changed") as caught:
        db.dispatch(action)
    expected = [{"path": ["missing"], "message": "path does not exist", "id": None}]
    assert expected == caught.value.failures
    assert expected == db.dispatch(action, return_failures=True)
    assert [] == db.dispatch(cytosol.Set("$.b", 1), return_failures=True)
    assert None is db.dispatch(cytosol.Delete("$.b"))
    db.dispatch(cytosol.Delete("$.a"))
    assert before != db.state_hash()
    assert [] == db.query_once_meta("$.failures[*]")


def test_a_transaction_with_a_failure_does_nothing(db: cytosol.Database) -> None:
    """What came before the failure is undone."""
    db.dispatch(cytosol.Set("$.a", 1))
    before = db.state_hash()
    with pytest.raises(cytosol.FailureError):
        db.dispatch(cytosol.Transaction([cytosol.Set("$.a", 2), cytosol.Add("$.none", 1)]))
    assert [{"a": 1}] == db.query_once("$")
    assert before == db.state_hash()


@pytest.mark.parametrize(
    "change", [cytosol.Delete("$.a.x"), cytosol.Set("$.a.n", 1), cytosol.Move("$.a.x", "$.a.z")]
)
def test_what_a_refused_transaction_took_back_stands_in_the_lists_as_before(
    db: cytosol.Database, change: Any
) -> None:
    """The order inside an object means nothing; that of a list of results is always the same."""
    db.dispatch(cytosol.Set("$.a", {"y": 2, "x": 1, "z": 3}))
    heard: list[Any] = []
    db.subscribe("$.a", heard.append)
    before = db.state_hash()
    with pytest.raises(cytosol.FailureError):
        db.dispatch(cytosol.Transaction([change, cytosol.Set("$.no.where", 1)]))
    assert [1, 2, 3] == db.query_once("$.a[*]")
    assert [{"x": 1, "y": 2, "z": 3}] == db.query_once("$.a")
    assert ([[{"x": 1, "y": 2, "z": 3}]], before) == (heard, db.state_hash())


def test_dispatching_from_many_threads_loses_nothing(tmp_path: Path) -> None:
    """In memory and in both kinds of files."""
    for state in (None, tmp_path / "a.cytosol", cytosol.JsonFileSaveState(tmp_path / "b.json")):
        with open_alone(state) as db:
            db.dispatch(cytosol.Set("$.n", 0))
            errors: list[Exception] = []

            def add(db: cytosol.Database = db, errors: list[Exception] = errors) -> None:
                try:
                    for _ in range(25):
                        db.dispatch(cytosol.Add("$.n", 1))
                except Exception as error:
                    errors.append(error)

            threads = [threading.Thread(target=add) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [] == errors
            assert [100] == db.query_once("$.n")
            db.check()


# --- Reading --------------------------------------------------------------------------------------


def test_what_is_read_is_the_callers_own(db: cytosol.Database) -> None:
    """Changing a result, or a payload afterwards, changes neither document nor history."""
    payload: dict[str, Any] = {"list": [1]}
    db.dispatch(cytosol.Set("$.a", payload))
    payload["list"].append(2)
    for read in (
        lambda: db.query_once("$.a")[0],
        lambda: db.get("a"),
        lambda: db.query_once("$")[0]["a"],
        lambda: db.query_once_meta("$.actions[0].payload")[0],
    ):
        found: Any = read()
        found["list"].append(3)
        assert {"list": [1]} == read()
    heard: list[Any] = []
    db.subscribe("$.a", heard.append)
    heard[0][0]["list"].append(4)
    db.dispatch(cytosol.Set("$.a.b", 1))
    assert [{"list": [1], "b": 1}] == heard[1]


def test_a_place_that_is_selected_twice_comes_as_two_copies(db: cytosol.Database) -> None:
    """Changing the one leaves the other."""
    db.dispatch(cytosol.Set("$.a", {"b": [1]}))
    first, second = db.query_once("$['a','a'].b")
    first.append(2)
    assert [1] == second
    outer, inner, _ = db.query_once("$..*")
    inner.append(3)
    assert {"b": [1]} == outer


def test_numbers_and_booleans_come_back_as_they_are(db: cytosol.Database) -> None:
    """True is not 1, and no integer becomes a float."""
    values = [2**64 - 1, -(2**63), 0, True, False, 1, 1.0, 1e308, None, "", "\U0001f600"]
    db.dispatch(cytosol.Set("$.v", values))
    found = db.query_once("$.v")[0]
    assert [(type(value), value) for value in values] == [(type(value), value) for value in found]
    assert [True] == db.query_once("$.v[?@ == true]")
    assert [1, 1.0] == db.query_once("$.v[?@ == 1]")
    assert [2**64 - 1] == db.query_once("$.v[?@ > 1e19 && @ < 1e20]")


def test_get_reads_one_place_without_a_query(db: cytosol.Database) -> None:
    """Keys are literal, and what is not there is the default, whatever that is."""
    db.dispatch(cytosol.Set("$['a.b']", [{"*": 1}, None]))
    assert 1 == db.get("a.b", 0, "*")
    assert None is db.get("a.b", -1, default=7)
    assert [{"*": 1}, None] == db.get("a.b")
    assert {"a.b": [{"*": 1}, None]} == db.get()
    default = {1, 2}
    for steps in (("x",), ("a.b", 2), ("a.b", "0"), ("a.b", 0, 0), ("a.b", 0, "*", "y")):
        assert default is db.get(*steps, default=default)
    for step in (1.5, None, True, b"a"):
        with pytest.raises(cytosol.ActionError, match="a step is"):
            db.get(step)  # type: ignore[arg-type]  # what is to be refused


@pytest.mark.parametrize("path", ["$.", "$[", "", "$..", "$[?(]", "$.a b"])
def test_a_bad_path_says_where_it_fails(db: cytosol.Database, path: str) -> None:
    """Everywhere that a path is taken."""
    for call in (
        lambda: db.query_once(path),
        lambda: db.query_once_meta(path),
        lambda: db.subscribe(path, print),
        lambda: db.subscribe_meta(path, print),
        lambda: db.watch(path),
    ):
        with pytest.raises(cytosol.PathSyntaxError, match="at character"):
            call()


def test_a_missing_variable_is_named(db: cytosol.Database) -> None:
    """So that a typo is found at once."""
    with pytest.raises(cytosol.MissingVariableError, match=r"\{k\}"):
        db.query_once("$.{k}", {"other": 1})


# --- Callbacks ------------------------------------------------------------------------------------


def test_a_callback_may_dispatch_query_and_cancel(db: cytosol.Database) -> None:
    """No lock is held while it runs, and the order of what it hears stays right."""
    heard: list[Any] = []

    def follow(values: list[Any]) -> None:
        heard.append((values, db.query_once("$.n")))
        if values and values[0] < 3:
            db.dispatch(cytosol.Add("$.n", 1))
        elif values:
            subscription.cancel()

    subscription = db.subscribe("$.n", follow)
    db.dispatch(cytosol.Set("$.n", 1))
    assert [([], []), ([1], [1]), ([2], [2]), ([3], [3])] == heard
    db.dispatch(cytosol.Set("$.n", 9))
    assert 4 == len(heard)


def test_a_callback_may_close_the_database(db: cytosol.Database) -> None:
    """The dispatch that called it has succeeded and returns."""

    def end(values: list[Any]) -> None:
        if values:
            db.close()

    db.subscribe("$.a", end)
    assert None is db.dispatch(cytosol.Set("$.a", 1))
    with pytest.raises(cytosol.DatabaseClosedError):
        db.query_once("$.a")


def test_what_a_callback_raises_is_an_event(db: cytosol.Database) -> None:
    """Nothing else suffers: neither the dispatch nor other subscribers."""
    errors: list[cytosol.CallbackError] = []
    heard: list[Any] = []
    db.on("callback_error", errors.append)

    def fail(values: list[Any]) -> None:
        raise ZeroDivisionError(str(values))

    db.subscribe("$.a", fail)
    db.subscribe("$.a", heard.append)
    db.dispatch(cytosol.Set("$.a", 1))
    assert ["[]", "[1]"] == [str(event.error) for event in errors]
    assert [[], [1]] == heard


def test_an_error_that_nobody_listens_for_is_in_the_log(
    db: cytosol.Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that fails in silence would be hard to find."""

    def fail(values: list[Any]) -> None:
        raise ZeroDivisionError

    db.subscribe("$.a", fail)
    assert ["cytosol"] == [record.name for record in caplog.records]
    assert "ZeroDivisionError" in caplog.text
    db.on("callback_error", fail)
    db.dispatch(cytosol.Set("$.a", 1))
    assert 2 == len(caplog.records)


def test_subscribing_while_another_thread_writes_misses_nothing(db: cytosol.Database) -> None:
    """The last list that is heard is what a query says."""
    db.dispatch(cytosol.Set("$.n", 0))
    go = threading.Event()

    def write() -> None:
        go.wait()
        for _ in range(300):
            db.dispatch(cytosol.Add("$.n", 1))

    writer = threading.Thread(target=write)
    writer.start()
    last: list[Any] = []
    go.set()
    for _ in range(100):
        last = []
        db.subscribe("$.n", lambda values, last=last: last.append(values)).cancel()
    db.subscribe("$.n", lambda values: last.append(values))
    writer.join()
    assert [300] == last[-1]
    assert [300] == db.query_once("$.n")


def test_an_unknown_event_is_refused(db: cytosol.Database) -> None:
    """With the names of those that exist."""
    for event in ("pair_requests", "", None, ["unpaired"]):
        with pytest.raises(cytosol.ActionError, match="pair_request, pair_response"):
            db.on(event, print)  # type: ignore[arg-type]  # what is to be refused
    with pytest.raises(cytosol.ActionError, match="cannot be called"):
        db.on("unpaired", None)  # type: ignore[arg-type]  # what is to be refused


def test_a_listener_hears_nothing_after_it_is_cancelled(db: cytosol.Database) -> None:
    """Not even what another listener of the same event was called for at the moment."""
    heard: list[Any] = []
    db.on("callback_error", lambda event: second.cancel())
    second = db.on("callback_error", heard.append)
    assert "active" in repr(second)

    def fail(values: list[Any]) -> None:
        raise ZeroDivisionError

    db.subscribe("$.a", fail)
    second.cancel()
    assert [] == heard
    assert "cancelled" in repr(second)


# --- Transactions as a block ----------------------------------------------------------------------


def test_a_block_is_one_transaction(db: cytosol.Database) -> None:
    """One op, one callback, and inside everything is seen."""
    db.dispatch(cytosol.Set("$.n", 1))
    heard: list[Any] = []
    db.subscribe("$", heard.append)
    with db.transaction() as t:
        t.dispatch(cytosol.Set("$.list", []))
        t.dispatch({"action": "InsertAfter", "path": "$.list[0]", "payload": "x"})
        t.dispatch(cytosol.Add("$.n", 1))
        assert [["x"]] == t.query_once("$.list")
        assert 2 == t.get("n")
        assert None is t.get("none")
        assert [1] == db.query_once("$.n")
        assert [] == db.query_once("$.list")
    assert [[{"n": 1}], [{"n": 2, "list": ["x"]}]] == heard
    assert 2 == len(db.query_once_meta("$.actions[*]"))
    db.check()


def test_a_block_that_raises_does_nothing(db: cytosol.Database) -> None:
    """What it raised goes on."""
    before = db.state_hash()

    def fail() -> None:
        with db.transaction() as t:
            t.dispatch(cytosol.Set("$.a", 1))
            assert [1] == t.query_once("$.a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert before == db.state_hash()
    assert [{}] == db.query_once("$")
    db.dispatch(cytosol.Set("$.a.b", 1), return_failures=True)
    db.dispatch(cytosol.Set("$.a", {}))
    db.dispatch(cytosol.Set("$.a.b", 1))
    assert [{"a": {"b": 1}}] == db.query_once("$")
    db.check()


def test_an_empty_block_does_nothing(db: cytosol.Database) -> None:
    """No op, no number."""
    before = db.state_hash()
    with db.transaction():
        pass
    assert before == db.state_hash()


def test_a_block_that_cannot_be_applied_raises_at_its_end(db: cytosol.Database) -> None:
    """And earlier, if it reads what it would have made."""

    def do(reads: bool) -> None:
        with db.transaction() as t:
            t.dispatch(cytosol.Set("$.a", 1))
            t.dispatch(cytosol.Set("$.missing.b", 1))
            if reads:
                t.query_once("$")
                raise AssertionError("reading must have failed")

    for reads in (False, True):
        with pytest.raises(cytosol.FailureError):
            do(reads)
    assert [{}] == db.query_once("$")


def test_what_a_block_refuses_is_refused_at_once(db: cytosol.Database) -> None:
    """Malformed actions and network actions, where they stand."""
    with db.transaction() as t:
        for action in (
            cytosol.RequestPair("7d9f0c7e-5a52-4a6b-9d9f-1f3f6b0e2c11", "123456"),
            {"action": "SetVisibleToPeers", "payload": True},
            {"action": "Set", "path": "$["},
            {"action": "Set", "path": "$[", "payload": 1},
            {"action": "Set", "path": "$.{k}", "payload": 1},
            {"action": "Set", "path": "$.a", "payload": {1}},
            None,
        ):
            with pytest.raises(cytosol.ActionError):
                t.dispatch(action)  # type: ignore[arg-type]  # what is to be refused
        t.dispatch(cytosol.Set("$.a", 1))
    assert [{"a": 1}] == db.query_once("$")


def test_a_payload_may_change_before_the_block_ends(db: cytosol.Database) -> None:
    """It counts as it was when it was dispatched."""
    payload = [1]
    with db.transaction() as t:
        t.dispatch(cytosol.Set("$.a", payload))
        payload.append(2)
    assert [[1]] == db.query_once("$.a")


def test_a_block_is_used_once(db: cytosol.Database) -> None:
    """Before and after it, and a second time, a sentence says so."""
    t = db.transaction()
    with pytest.raises(cytosol.ActionError, match="inside its `with` block"):
        t.dispatch(cytosol.Set("$.a", 1))
    with t:
        t.dispatch(cytosol.Set("$.a", 1))
    for call in (lambda: t.dispatch(cytosol.Set("$.a", 1)), lambda: t.query_once("$"), t.get):
        with pytest.raises(cytosol.ActionError, match="inside its `with` block"):
            call()
    with pytest.raises(cytosol.ActionError, match="used once"):
        t.__enter__()


def test_other_threads_see_nothing_of_a_block(db: cytosol.Database) -> None:
    """They read and write meanwhile; the block is done on top of that."""
    db.dispatch(cytosol.Set("$.n", 1))
    with db.transaction() as t:
        t.dispatch(cytosol.Add("$.n", 1))
        other = threading.Thread(target=lambda: db.dispatch(cytosol.Set("$.n", 10)))
        other.start()
        other.join()
        assert [11] == t.query_once("$.n")
        assert [10] == db.query_once("$.n")
    assert [11] == db.query_once("$.n")


def test_a_callback_that_cannot_be_called_is_refused(db: cytosol.Database) -> None:
    """At once, and not when something changes."""
    for subscribe in (db.subscribe, db.subscribe_meta):
        with pytest.raises(cytosol.ActionError, match="cannot be called"):
            subscribe("$", None)  # type: ignore[arg-type]  # what is to be refused
