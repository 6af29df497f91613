"""What SQLite passes over in silence: folders, logs and reads that a disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from cytosol.errors import DatabaseCorruptError, SaveError
from cytosol.savestates import SqliteSaveState, faults, sqlite, sqlitefile
from cytosol.savestates.sqlitelog import survey

FAILED = OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.cytosol"


def crashed(path: Path, count: int, durability: str = "full") -> list[int]:
    """Leave a file and a log of some commits as a crash would; return the log's growing sizes."""
    source = path.with_name("source")
    state = SqliteSaveState(source, durability)  # type: ignore[arg-type]  # one of the two
    state.open()
    sizes = []
    for number in range(count):
        state.commit([(f"op/{number}", b"x" * 3_000)])
        with open(f"{source}-wal", "rb") as log:
            sizes.append(survey(log)[0])  # behind it there is room
    for suffix in ("", "-wal"):
        shutil.copy(f"{source}{suffix}", f"{path}{suffix}")
    os.truncate(f"{path}-wal", sizes[-1])
    state.close()
    return sizes


def keys_at(path: Path) -> list[str]:
    state = SqliteSaveState(path)
    state.open()
    keys = [key for key, _ in state.scan("")]
    state.close()
    return keys


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


def fail(*_: object, **__: object) -> None:
    raise FAILED


def test_whoever_opens_the_log_of_a_relaxed_writer_finds_what_a_power_cut_left(path: Path) -> None:
    """The log says itself that its transactions were not flushed one by one."""
    sizes = crashed(path, 6, "relaxed")
    flip(Path(f"{path}-wal"), sizes[1] + 500)
    assert ["op/0", "op/1"] == keys_at(path)


def test_the_log_of_a_relaxed_writer_says_so_on_the_disk_before_it_grows(path: Path) -> None:
    """Damage to its first page cannot come from a power cut."""
    crashed(path, 6, "relaxed")
    flip(Path(f"{path}-wal"), 100)
    with pytest.raises(DatabaseCorruptError, match="damaged in the middle"):
        keys_at(path)


def test_a_file_that_was_relaxed_is_full_again_when_opened_so(path: Path) -> None:
    """Each log speaks for itself."""
    state = SqliteSaveState(path, "relaxed")
    state.open()
    state.commit([("a", b"1")])
    state.close()
    state = SqliteSaveState(path)
    state.open()
    for number in range(6):
        state.commit([(f"op/{number}", b"x" * 3_000)])
    image = path.with_name("image")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{image}{suffix}")
    state.close()
    flip(Path(f"{image}-wal"), 20_000)
    with pytest.raises(DatabaseCorruptError, match="damaged in the middle"):
        keys_at(image)


def test_a_log_is_flushed_again_before_it_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush may have failed, so that only the memory of the system has what it says."""
    crashed(path, 3)
    log = Path(f"{path}-wal")
    before = path.read_bytes(), log.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SaveError, match="check the disk, then reopen"):
        keys_at(path)
    assert before == (path.read_bytes(), log.read_bytes())
    monkeypatch.undo()
    assert ["op/0", "op/1", "op/2"] == keys_at(path)


def test_what_a_crash_has_torn_is_cut_off(path: Path) -> None:
    """If the log goes on, because the disk is full, it would look like damage to the next one."""
    sizes = crashed(path, 6)
    log = Path(f"{path}-wal")
    flip(log, sizes[4] + 500)
    sqlitefile._cut_torn(log)
    assert sizes[4] == log.stat().st_size
    log.write_bytes(log.read_bytes() + bytes(5_000))
    sqlitefile._cut_torn(log)
    assert sizes[4] == log.stat().st_size
    assert [f"op/{number}" for number in range(5)] == keys_at(path)


def test_a_folder_that_cannot_be_flushed_is_not_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut could take the log, of which SQLite alone would not have noticed anything."""
    keys_at(path)
    monkeypatch.setattr(sqlitefile, "sync_folder", fail)
    with pytest.raises(SaveError, match="check the disk, then reopen"):
        keys_at(path)
    monkeypatch.undo()
    assert [] == keys_at(path)


def test_a_file_without_log_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite goes on with a journal that a power cut may bring back."""
    monkeypatch.setattr(sqlitefile, "file_id", lambda path: None)
    with pytest.raises(SaveError, match="its log could not be made"):
        keys_at(path)
    monkeypatch.undo()
    assert [] == keys_at(path)


def test_a_refused_file_keeps_its_log(path: Path) -> None:
    """Closing would copy it into the damaged file, and delete it."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([(f"op/{number:02}", b"x" * 3_000) for number in range(50)])
    state.close()
    state.open()
    state.commit([("zz", b"y")])
    image, log = path.with_name("image"), path.with_name("image-wal")
    shutil.copy(f"{path}-wal", log)
    state.close()
    content = bytearray(path.read_bytes())
    content[10 * 4_096 : 20 * 4_096] = b"\xff" * 10 * 4_096
    image.write_bytes(content)
    before = image.read_bytes(), log.read_bytes()
    with pytest.raises(DatabaseCorruptError, match="is damaged"):
        keys_at(image)
    assert before == (image.read_bytes(), log.read_bytes())


def test_a_read_that_failed_once_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls it damage, but nothing is damaged."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([("a", b"1")])
    real = state._try_to_select
    failures = [DatabaseCorruptError("is damaged")]

    def select(sql: str, arguments: tuple[object, ...]) -> object:
        if failures:
            raise failures.pop()
        return real(sql, arguments)

    monkeypatch.setattr(state, "_try_to_select", select)
    assert b"1" == state.get("a")
    state.close()


def test_a_disk_that_cannot_be_read_is_no_damaged_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told apart by reading the file without SQLite."""
    keys_at(path)
    assert isinstance(faults.damage_fault(path, "malformed"), DatabaseCorruptError)
    monkeypatch.setattr(Path, "open", fail)
    fault = faults.damage_fault(path, "malformed")
    assert isinstance(fault, SaveError)
    assert "check the disk" in str(fault)


def test_opening_that_fails_late_leaves_the_file_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program can use it at once."""
    monkeypatch.setattr(sqlite, "file_id", lambda path: fail())
    state = SqliteSaveState(path)
    with pytest.raises(OSError, match="Input/output"):
        state.open()
    other = sqlite3.connect(path, timeout=0)
    assert [(0,)] == other.execute("SELECT count(*) FROM records").fetchall()
    other.close()
