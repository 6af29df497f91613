"""The file of an open database is deleted, moved or edited: no change is lost without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

import cytosol
from tests.unit.database.databases import open_alone


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_database_whose_file_is_gone_refuses_changes_until_it_is_back(
    tmp_path: Path, kind: str
) -> None:
    """The document stays as it was saved last, and can be read."""
    path = tmp_path / "notes"
    state = cytosol.JsonFileSaveState(path) if kind == "json" else cytosol.SqliteSaveState(path)
    with open_alone(state) as db:
        db.dispatch(cytosol.Set("$.a", 1))
        path.rename(tmp_path / "elsewhere")
        for _ in range(2):
            with pytest.raises(cytosol.SaveError, match="deleted, moved or replaced"):
                db.dispatch(cytosol.Set("$.a", 2))
            assert [{"a": 1}] == db.query_once("$")
        (tmp_path / "elsewhere").rename(path)
        db.dispatch(cytosol.Set("$.b", 3))
        db.check()
    with open_alone(state) as db:
        assert [{"a": 1, "b": 3}] == db.query_once("$")


def test_a_database_whose_file_was_renamed_brings_everything_into_it(tmp_path: Path) -> None:
    """What was dispatched before is there under the new name; nothing stays under the old one."""
    path, moved = tmp_path / "notes", tmp_path / "moved"
    db = open_alone(cytosol.SqliteSaveState(path))
    for number in range(20):
        db.dispatch(cytosol.Set("$.n", number))
    path.rename(moved)
    db.close()
    assert [moved] == list(tmp_path.iterdir())
    with open_alone(cytosol.SqliteSaveState(moved)) as db:
        assert [{"n": 19}] == db.query_once("$")
