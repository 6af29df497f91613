"""What hardly ever befalls a save state, and what it does then."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cytosol.errors import DatabaseCorruptError, DatabaseLockedError, SaveError
from cytosol.savestates import (
    InMemorySaveState,
    JsonFileSaveState,
    SqliteSaveState,
    conversion,
    jsonfile,
)
from cytosol.savestates.files import file_size
from cytosol.savestates.kinds import save_state_at
from cytosol.savestates.sealed import SealedRecords
from tests.contract.savestate_kinds import seal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.cytosol"


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_forked_child_neither_writes_nor_frees_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares everything with its parent but the process id; the log is the parent's."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([("a", b"1")])
    settled: list[object] = []
    monkeypatch.setattr(state, "_settle_all", settled.append)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(DatabaseLockedError, match="is a fork; open it after forking"):
        state.commit([("b", b"2")])
    state.close()
    assert [] == settled
    assert path.with_name(f"{path.name}-lock").exists()


def test_a_file_that_sqlite_would_only_read_is_refused(path: Path) -> None:
    """Two bytes of its header say so."""
    state = SqliteSaveState(path)
    state.open()
    state.close()
    content = bytearray(path.read_bytes())
    content[18] = 3
    path.write_bytes(content)
    with pytest.raises(DatabaseCorruptError, match="its header is wrong"):
        state.open()
    assert content == path.read_bytes()


def test_the_size_of_a_file_in_what_is_no_folder_is_a_fault(path: Path) -> None:
    """The error names what to create."""
    path.touch()
    with pytest.raises(SaveError, match="is no folder; create it first"):
        file_size(path / "notes.cytosol")


@pytest.mark.parametrize(("name", "kind"), [("a.json", JsonFileSaveState), ("a", SqliteSaveState)])
def test_what_cannot_be_read_counts_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type
) -> None:
    """Opening it says what is wrong."""
    (tmp_path / name).touch()
    monkeypatch.setattr(Path, "open", fail)
    assert kind is type(save_state_at(tmp_path / name))


def test_a_json_file_on_a_disk_that_fails_is_free_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its content untouched."""
    state = JsonFileSaveState(path)
    state.open()
    state.commit([("a", 1)])
    state.close()
    monkeypatch.setattr(jsonfile, "sync_folder", fail)
    with pytest.raises(SaveError, match="check the disk"):
        state.open()
    monkeypatch.undo()
    state.open()
    assert 1 == state.get("a")
    state.close()


def test_records_are_copied_in_batches_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be larger than memory."""
    monkeypatch.setattr(conversion, "_BATCH_BYTES", 250)
    state = InMemorySaveState()
    state.open()
    records = [(f"op/{number}", b"x" * 100) for number in range(7)]
    state.commit(records)
    batches = list(conversion._batches(state))
    assert [3, 3, 1] == [len(batch) for batch in batches]
    assert records == [record for batch in batches for record in batch]


@pytest.fixture
def inner() -> InMemorySaveState:
    """The records inside a sealed save state."""
    return InMemorySaveState()


@pytest.fixture
def sealed(inner: InMemorySaveState) -> SealedRecords:
    state = seal(inner)
    state.open()
    state.commit([("a", b"1")])
    return state


def test_a_sealed_record_that_vanishes_while_it_is_read_is_gone(
    inner: InMemorySaveState, sealed: SealedRecords
) -> None:
    """Another thread may delete it between two steps of a scan."""
    inner.commit(delete_prefixes=["sealed/r/"])
    assert sealed.get("a") is None
    assert [] == list(sealed.scan(""))


def test_sealed_records_of_an_earlier_time_are_found_by_a_check(
    inner: InMemorySaveState, sealed: SealedRecords
) -> None:
    """All of them fit together, but they are not what was written last."""
    earlier = list(inner.scan(""))
    sealed.commit([("a", b"2")])
    inner.commit(earlier, delete_prefixes=[""])
    with pytest.raises(DatabaseCorruptError, match="records are not those that were written"):
        sealed.check()
