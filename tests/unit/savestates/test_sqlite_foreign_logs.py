"""A file beside a log that is not its own: noticed before SQLite mixes the two."""

from __future__ import annotations

import random
import shutil
import sqlite3
from io import BytesIO
from pathlib import Path

import pytest

from cytosol.errors import DatabaseCorruptError
from cytosol.savestates import SqliteSaveState, sqlite, sqlitestamp
from cytosol.savestates.sqlitelog import first_pages
from cytosol.savestates.sqlitestamp import is_own_log, put_first_stamp, put_stamp


def log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


def copy(path: Path, target: Path) -> Path:
    """Copy a file with its log, as a crash would leave them."""
    shutil.copy(path, target)
    shutil.copy(log_of(path), log_of(target))
    return target


def write(path: Path, number: int, *, crash: bool = False) -> None:
    """Open, commit and close; with `crash` the log stays."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([(f"op/{number}", b"x" * 3_000)])
    crashed = copy(path, path.with_name("crashed")) if crash else None
    state.close()
    if crashed is not None:
        crashed.replace(path)
        log_of(crashed).replace(log_of(path))


def keys_at(path: Path, durability: str = "full") -> list[str]:
    state = SqliteSaveState(path, durability)  # type: ignore[arg-type]  # one of the two
    state.open()
    state.check()
    keys = [key for key, _ in state.scan("")]
    state.close()
    return keys


def is_refused(path: Path) -> bool:
    """Tell whether opening, which must be refused, has left everything as it was."""
    before = path.read_bytes(), log_of(path).read_bytes()
    names = sorted(each.name for each in path.parent.iterdir())
    for durability in ("full", "relaxed"):
        with pytest.raises(DatabaseCorruptError, match=r"is not the log of .* both were left"):
            keys_at(path, durability)
    after = path.read_bytes(), log_of(path).read_bytes()
    return before == after and names == sorted(each.name for each in path.parent.iterdir())


def test_an_older_backup_beside_the_log_of_today_is_refused(tmp_path: Path) -> None:
    """Nothing is changed; without the log the backup opens, with its file the log does."""
    path, backup = tmp_path / "notes", tmp_path / "backup"
    write(path, 1)
    shutil.copy(path, backup)
    write(path, 2)
    write(path, 3, crash=True)
    today = path.read_bytes()
    shutil.copy(backup, path)
    assert is_refused(path)
    log_of(path).rename(tmp_path / "away")
    assert ["op/1"] == keys_at(path)
    path.write_bytes(today)
    (tmp_path / "away").rename(log_of(path))
    assert ["op/1", "op/2", "op/3"] == keys_at(path)


def test_a_file_of_later_beside_an_old_log_is_refused(tmp_path: Path) -> None:
    """The log would bring old pages back."""
    path = tmp_path / "notes"
    write(path, 1, crash=True)
    old = log_of(path).read_bytes()
    for number in (2, 3):
        write(path, number)
    log_of(path).write_bytes(old)
    assert is_refused(path)


def test_the_log_of_another_database_is_refused(tmp_path: Path) -> None:
    """Even of one that was made in the same way."""
    path, other = tmp_path / "notes", tmp_path / "other"
    write(path, 1)
    write(other, 1, crash=True)
    log_of(other).rename(log_of(path))
    assert is_refused(path)


def test_a_log_that_another_program_began_is_refused(tmp_path: Path) -> None:
    """Ours begin with page 1."""
    path = tmp_path / "notes"
    write(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO records VALUES ('op/2', x'00', 0)")
    connection.commit()
    copy(path, tmp_path / "image")
    connection.close()
    assert is_refused(tmp_path / "image")


def test_page_1_comes_first_also_where_a_transaction_is_large(tmp_path: Path) -> None:
    """SQLite would write pages early when they fill its memory."""
    state = SqliteSaveState(tmp_path / "notes")
    state.open()
    state.commit([(f"op/{number}", b"x" * 100_000) for number in range(30)])
    with log_of(state.path).open("rb") as log:
        assert first_pages(log, 64)
    state.close()


@pytest.mark.parametrize("seed", range(3))
def test_every_image_of_a_running_database_is_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Through many logs and sizes of transactions: file and log of one moment go together."""
    monkeypatch.setattr(sqlite, "_SETTLE_BYTES", 100_000)
    choose = random.Random(seed)
    path, image = tmp_path / "notes", tmp_path / "image"
    state = SqliteSaveState(path)
    state.open()
    stamps = set()
    for _ in range(30):
        if choose.random() < 0.1:
            state.close()
            state.open()
        size = choose.choice([10, 5_000, 5_000, 100_000])
        state.commit([(f"op/{choose.randrange(9)}", b"x" * size), ("op/x", b"x" * size)])
        with log_of(path).open("rb") as log:
            pages = first_pages(log, 64)
        assert pages
        stamps.add(pages[0][40:44])
        assert [key for key, _ in state.scan("")] == keys_at(copy(path, image))
    state.close()
    assert len(stamps) > 5


def test_the_log_of_a_clone_is_refused(tmp_path: Path) -> None:
    """Two copies of one file went on apart; only the file from before takes either log."""
    path, clone = tmp_path / "notes", tmp_path / "clone"
    write(path, 1)
    base = path.read_bytes()
    shutil.copy(path, clone)
    write(path, 2)
    write(clone, 3, crash=True)
    log = log_of(clone).read_bytes()
    log_of(path).write_bytes(log)
    assert is_refused(path)
    log_of(path).unlink()
    assert ["op/1", "op/2"] == keys_at(path)
    path.write_bytes(base)
    log_of(path).write_bytes(log)
    assert ["op/1", "op/3"] == keys_at(path)


def page_with(link: int, mark: int) -> bytes:
    return bytes(40) + mark.to_bytes(4, "big") + bytes(16) + (link << 8 | 1).to_bytes(4, "big")


def test_a_log_fits_by_its_link_and_by_each_stamp_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds several if it was begun anew; a link alone is no stamp."""
    pages = [page_with(5, 90), page_with(90, 91)]
    monkeypatch.setattr(sqlitestamp, "first_pages", lambda log, size: pages)
    heads = [(1, 5), (1, 5 + (3 << 23)), (5, 90), (90, 91), (5, 91), (90, 90), (1, 90), (5, 6)]
    fits = [is_own_log(page_with(*head), BytesIO()) for head in heads]
    assert [True] * 4 + [False] * 4 == fits


@pytest.mark.parametrize("mark", [0, 1, 7, (1 << 31) - 1])
def test_a_stamp_never_repeats_the_one_before(mark: int) -> None:
    """Also where the generator gives the same number; the format stays."""
    connection = sqlite3.connect(":memory:")
    connection.create_function("random", 0, lambda: mark)
    connection.execute("CREATE TABLE records (key)")
    put_first_stamp(connection, 1)
    marks = [connection.execute("PRAGMA schema_version").fetchone()[0]]
    for _ in range(3):
        put_stamp(connection)
        user_version = connection.execute("PRAGMA user_version").fetchone()[0]
        assert marks[-1] % (1 << 23) << 8 | 1 == user_version
        marks.append(connection.execute("PRAGMA schema_version").fetchone()[0])
        assert marks[-1] % (1 << 23) != marks[-2] % (1 << 23)
    connection.close()


def test_what_sqlite_does_not_read_is_nobodys_log(tmp_path: Path) -> None:
    """A log that a crash cut in its first frame, or that has no header, replays nothing."""
    path = tmp_path / "notes"
    write(path, 1, crash=True)
    log = log_of(path).read_bytes()
    damaged = bytearray(log)
    damaged[100] ^= 1
    for content in (b"", log[:20], log[:32], log[:2_000], bytes(64), bytes(damaged)):
        assert first_pages(BytesIO(content), 64) is None
    assert first_pages(BytesIO(log), 64)
