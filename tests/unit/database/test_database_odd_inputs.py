"""Input that a newcomer, or somebody hostile, comes up with: a clear refusal, nothing changed."""

from __future__ import annotations

import enum
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cytosol

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"


def alone(save_state: Any = None) -> cytosol.Database:
    """Open a database without a network."""
    return cytosol.open(save_state, app_id=APP_ID, network=False)


@pytest.mark.parametrize("action", ["Set", "InitObject"])
def test_a_lone_surrogate_in_a_variable_is_refused_as_a_key(action: str) -> None:
    """It could neither be saved nor sent."""
    message: dict[str, Any] = {"action": action, "path": "$[{0}]", "vars": ["\ud800"]}
    if action == "Set":
        message["payload"] = 1
    with alone() as db:
        with pytest.raises(cytosol.ActionError, match="surrogate"):
            db.dispatch(message)
        assert [{}] == db.query_once("$")


@pytest.mark.parametrize("path", [5, None, b"$.a"])
def test_a_typed_action_needs_a_path_that_is_a_string(path: Any) -> None:
    """As its message does."""
    with alone() as db, pytest.raises(cytosol.ActionError, match="must be a string"):
        db.dispatch(cytosol.Set(path, 1))


class Place(enum.StrEnum):
    """Names that an app gives its paths and keys."""

    TITLE = "$.title"
    KEY = "title"


def test_paths_and_keys_may_be_members_of_an_enumeration() -> None:
    """They are strings; what is stored is plain."""
    with alone() as db:
        db.dispatch(cytosol.Set(Place.TITLE, 1))
        db.dispatch({"action": "Add", "path": Place.TITLE, "payload": 1})
        assert [2] == db.query_once(Place.TITLE)
        assert 2 == db.get(Place.KEY)
        assert [str] == [type(key) for key in db.get()]


class Silent:
    """What says nothing about itself."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    ["x" * 5_000_000, 10**5_000, -(10**5_000), Silent(), [[0]] * 999],
    ids=["text", "number", "negative", "silent", "lists"],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda db, value: db.dispatch({"action": "Add", "path": "$.n", "payload": value}),
        lambda db, value: db.dispatch({"action": "Set", "path": [value], "payload": 1}),
        lambda db, value: db.dispatch({"action": [value], "path": "$.n", "payload": 1}),
        lambda db, value: db.dispatch(cytosol.Set("$.l[{a}]", 1, vars={"a": [value]})),
        lambda db, value: db.query_once("$.l[{a}]", {"a": [value]}),
        lambda db, value: db.query_once([value]),
        lambda db, value: db.get([value]),
        lambda db, value: db.on([value], print),
        lambda db, value: cytosol.open(None, app_id=[value]),
        lambda db, value: cytosol.open(None, app_id=APP_ID, min_history=[value]),
    ],
)
def test_errors_name_what_they_refuse_in_a_few_words(
    call: Callable[[cytosol.Database, Any], object], value: Any
) -> None:
    """Whatever it is, and whatever its `repr` does."""
    with alone() as db:
        db.dispatch(cytosol.Set("$.n", 1))
        db.dispatch(cytosol.Set("$.l", [1]))
        with pytest.raises(cytosol.CytosolError) as caught:
            call(db, value)
        assert 600 > len(str(caught.value))


def test_indexes_past_the_end_may_come_in_any_order() -> None:
    """Each value lands at the index that was asked for."""
    for path in ("$.a[3,2]", "$.a[2,3]"):
        with alone() as db:
            db.dispatch(cytosol.Set("$.a", [0]))
            db.dispatch(cytosol.Set(path, 9))
            assert [0, None, 9, 9] == db.get("a")


@pytest.mark.parametrize("path", ["$['x','y']", "$['y','x']", "$.*"])
def test_a_copy_may_have_its_own_source_among_its_destinations(path: str) -> None:
    """All get what the source held."""
    with alone() as db:
        db.dispatch(cytosol.Transaction([cytosol.Set("$.x", 1), cytosol.Set("$.y", 2)]))
        db.dispatch(cytosol.Copy(path, "$.x"))
        assert {"x": 1, "y": 1} == db.get()


def test_a_pairing_code_in_the_place_of_an_id_is_not_shown() -> None:
    """Errors are written to logs."""
    with alone() as db, pytest.raises(cytosol.ActionError) as refused:
        db.dispatch(cytosol.AcceptPair("987654", "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"))
    assert "987654" not in str(refused.value)


def test_a_record_of_an_unknown_kind_is_damage(tmp_path: Path) -> None:
    """A renamed record would look as if its ops had never been."""
    path = tmp_path / "a.json"
    with alone(cytosol.JsonFileSaveState(path)) as db:
        db.dispatch(cytosol.Set("$.a", 1))
    path.write_text(path.read_text().replace('"op/', '"oq/'))
    with pytest.raises(cytosol.DatabaseCorruptError, match="oq/"):
        alone(cytosol.JsonFileSaveState(path))


def _write_in_child(db: cytosol.Database, told: Any) -> None:
    try:
        db.dispatch(cytosol.Set("$.child", 1))
        told.put("written")
    except cytosol.DatabaseLockedError:
        told.put("refused")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_may_not_write(tmp_path: Path) -> None:
    """The file has one owner; what both wrote would be lost without a word."""
    context = multiprocessing.get_context("fork")
    with alone(tmp_path / "a.cytosol") as db:
        db.dispatch(cytosol.Set("$.parent", 1))
        told = context.Queue()
        child = context.Process(target=_write_in_child, args=(db, told))
        child.start()
        assert "refused" == told.get(timeout=60)
        child.join()
        db.dispatch(cytosol.Set("$.after", 1))
    with alone(tmp_path / "a.cytosol") as db:
        assert {"parent": 1, "after": 1} == db.get()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["SqliteSaveState", "JsonFileSaveState"])
@pytest.mark.parametrize("closes", [True, False])
def test_a_forked_child_that_ends_leaves_the_file_to_its_parent(
    tmp_path: Path, kind: str, closes: bool
) -> None:
    """Neither `close` nor the end of the interpreter takes the log away, or waits for a thread."""
    script = f"""
import os, sys, warnings
sys.modules["uvloop"] = None  # its own end in a forked child is not ours to mend
import cytosol
warnings.simplefilter("ignore", DeprecationWarning)
state = cytosol.{kind}({str(tmp_path / "a.cytosol")!r})
db = cytosol.open(state, app_id={APP_ID!r}, loopback=True)
db.dispatch(cytosol.Set("$.before", 1))
child = os.fork()
if child == 0:
    if {closes}:
        db.close()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
db.dispatch(cytosol.Set("$.after", 1))
db.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    state = getattr(cytosol, kind)(tmp_path / "a.cytosol")
    with alone(state) as db:
        assert {"before": 1, "after": 1} == db.get()


@pytest.mark.parametrize("kind", [cytosol.SqliteSaveState, cytosol.JsonFileSaveState])
@pytest.mark.parametrize("path", [5, None, ["a"]])
def test_a_save_state_needs_the_name_of_a_file(kind: Any, path: Any) -> None:
    """As `open` does."""
    with pytest.raises(cytosol.ActionError, match="no name of a file"):
        kind(path)


@pytest.mark.parametrize("wrong", [{"peer_name": "\ud800"}, {"max_history": 10**30}])
def test_settings_that_metadata_cannot_show_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is opened."""
    with pytest.raises(cytosol.ActionError):
        cytosol.open(None, app_id=APP_ID, network=False, **wrong)
