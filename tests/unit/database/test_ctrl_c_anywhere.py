"""Ctrl-C at every place of a write: no lock stays taken, and document, log and file agree."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import cytosol
from cytosol.document.mending import ReentryError
from cytosol.savestates import InMemorySaveState, JsonFileSaveState, SaveState, SqliteSaveState
from tests.unit.database.databases import open_alone
from tests.unit.document.interrupting import CtrlC

Make = Callable[[Path], SaveState | None]
Act = Callable[[cytosol.Database], object]

NOWHERE: Make = lambda folder: None  # noqa: E731  # a table of four lines
MEMORY: Make = lambda folder: InMemorySaveState()  # noqa: E731
SQLITE: Make = lambda folder: SqliteSaveState(folder / "a", durability="relaxed")  # noqa: E731
JSON: Make = lambda folder: JsonFileSaveState(folder / "a")  # noqa: E731


def action(name: str, path: str, *payload: Any) -> dict[str, Any]:
    return {"action": name, "path": path, **({"payload": payload[0]} if payload else {})}


def write(database: cytosol.Database) -> None:
    database.dispatch(action("Set", "$.n", "new"))


def look_and_write(database: cytosol.Database) -> None:
    database.state_hash()
    write(database)


def delete(database: cytosol.Database) -> None:
    database.dispatch(action("Delete", "$.deep"))


def change_several(database: cytosol.Database) -> None:
    inner = [
        action("Set", "$.n", "new"),
        action("InsertBefore", "$.list[0]", {"a": 1}),
        action("Move", "$.moved", "$.deep"),
        action("Delete", "$.list[1]"),
    ]
    database.dispatch({"action": "Transaction", "payload": inner})


def look_ahead(database: cytosol.Database) -> None:
    with database.transaction() as transaction:
        transaction.dispatch(action("Set", "$.n", "new"))
        transaction.dispatch(action("Copy", "$.copy", "$.deep"))
        assert transaction.get("n") == "new"


def look_at_the_log(database: cytosol.Database) -> None:
    database.state_hash()


def write_often(database: cytosol.Database) -> None:
    for number in range(30):
        database.dispatch(action("Set", f"$.k{number % 3}", number))


def prepared(state: SaveState | None, options: dict[str, Any]) -> cytosol.Database:
    """Return a database with something of everything in it."""
    database = open_alone(state, **options)
    database.dispatch(action("Set", "$.n", "old"))
    database.dispatch(action("Set", "$.deep", {"list": [1, {"a": 2}], "n": 1}))
    database.dispatch(action("Set", "$.list", [1, 2, 3]))
    for number in range(8):
        database.dispatch(action("Set", "$.n", number))
    database.dispatch(action("Set", "$.n", "old"))
    return database


@cache
def what_it_does(act: Act) -> list[Any]:
    """Return the document after an action that nobody stops."""
    with prepared(None, {}) as database:
        act(database)
        return database.query_once("$")


def places_of(make: Make, act: Act, folder: Path, options: dict[str, Any], most: int) -> range:
    """Return at most so many of the places of an action, over all of it."""
    folder.mkdir()
    with prepared(make(folder), options) as database:
        ctrl_c = CtrlC(-1)
        ctrl_c.during(lambda: act(database))
    return range(0, ctrl_c.places, -(-ctrl_c.places // most))


def in_a_thread(call: Callable[[], None]) -> None:
    """Call something where no lock is ours."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it hangs: a lock is still taken"
    if errors:
        raise errors[0]


def interrupt(
    folder: Path,
    make: Make,
    act: Act,
    at: int,
    options: dict[str, Any],
    raises: type[BaseException] = KeyboardInterrupt,
) -> None:
    """Interrupt an action at one place and look what is left."""
    folder.mkdir()
    state = make(folder)
    database = prepared(state, options)
    before, after = database.query_once("$"), what_it_does(act)
    ctrl_c = CtrlC(at, raises)
    came = ctrl_c.during(lambda: act(database))
    # What was looked up before takes fewer steps the next time, so that it may be over by then.
    assert came or ctrl_c.places <= at or ctrl_c.may_get_lost, f"Ctrl-C got lost at {ctrl_c.where}"

    def look() -> None:
        found = database.query_once("$")
        assert act is write_often or found in (before, after), "all of it or nothing"
        database.check()
        for number in range(7):
            database.dispatch(action("Set", "$.next", number))
        database.check()
        wanted = {**database.query_once("$")[0]}
        assert wanted["next"] == 6
        database.close()
        if state is not None:
            with open_alone(state) as again:
                assert [wanted] == again.query_once("$")
                again.check()

    try:
        in_a_thread(look)
    except BaseException as error:
        error.add_note(f"after Ctrl-C at place {at}: {ctrl_c.where}")
        raise


ACTS = [write, look_and_write, delete, change_several, look_at_the_log, look_ahead]
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
KINDS = pytest.mark.parametrize(
    "make", [NOWHERE, MEMORY, JSON, SQLITE], ids=["none", "memory", "json", "sqlite"]
)


def try_places(
    folder: Path,
    make: Make,
    act: Act,
    most: int,
    raises: type[BaseException] = KeyboardInterrupt,
    **options: Any,
) -> None:
    places = places_of(make, act, folder / "whole", options, most)
    assert len(places) >= 5
    for at in places:
        interrupt(folder / str(at), make, act, at, options, raises)


@KINDS
@pytest.mark.parametrize("act", ACTS[1::2])
def test_ctrl_c_leaves_all_of_a_change_or_nothing(tmp_path: Path, make: Make, act: Act) -> None:
    """Whoever goes on finds document, log and file in agreement, and writes on."""
    try_places(tmp_path, make, act, 10)


@pytest.mark.parametrize("raises", [TimeoutError, RecursionError, ReentryError])
@pytest.mark.parametrize("make", [NOWHERE, SQLITE], ids=["none", "sqlite"])
def test_so_does_whatever_a_handler_raises(
    tmp_path: Path, make: Make, raises: type[BaseException]
) -> None:
    """An alarm, the end of the stack, or that the database is in the middle of something."""
    try_places(tmp_path, make, change_several, 12, raises)


@pytest.mark.long
@KINDS
@pytest.mark.parametrize("act", ACTS)
def test_ctrl_c_at_very_many_places_leaves_all_of_a_change_or_nothing(
    tmp_path: Path, make: Make, act: Act
) -> None:
    """The same, leaving few out."""
    try_places(tmp_path, make, act, 300)


@pytest.mark.parametrize("make", [NOWHERE, MEMORY], ids=["none", "memory"])
def test_ctrl_c_in_trimming_loses_nothing(tmp_path: Path, make: Make) -> None:
    """The base and the ops above it are those from before, or those from after it."""
    try_places(tmp_path, make, write_often, 20, min_history=0, max_history=16)
