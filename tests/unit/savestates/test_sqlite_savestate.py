"""What only the SQLite save state does: its log, its flushes, its checks."""

from __future__ import annotations

import os
import shutil
import sqlite3
from io import BytesIO
from pathlib import Path

import pytest

from cytosol.errors import ActionError, DatabaseCorruptError, DatabaseLockedError, SaveError
from cytosol.savestates import SqliteSaveState, sqlitefile
from cytosol.savestates.files import look, make_room
from cytosol.savestates.sqlitelog import survey


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.cytosol"


@pytest.fixture
def state(path: Path) -> SqliteSaveState:
    state = SqliteSaveState(path)
    state.open()
    yield state
    state.close()


class FailingConnection(sqlite3.Connection):
    """Fails statements that begin with a word, with an error code of SQLite."""

    failing: tuple[str, int] | tuple[()] = ()

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if self.failing and sql.startswith(self.failing[0]):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.failing[1]
            raise error
        return super().execute(sql, *arguments)


@pytest.fixture
def failing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[SqliteSaveState, FailingConnection]:
    """A save state with one record, and its connection, which can be made to fail."""
    connections = []

    def connect(path: Path) -> sqlite3.Connection:
        connections.append(sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=FailingConnection
        ))  # fmt: skip
        return connections[-1]

    monkeypatch.setattr(sqlitefile, "_connect", connect)
    state = SqliteSaveState(path)
    state.open()
    state.commit([("a", b"1")])
    yield state, connections[-1]
    state.close()


# --- Failing disks ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_READ])
def test_after_a_failed_flush_nothing_is_acknowledged_until_reopened(failing, code) -> None:
    """The commit fails, so does each after it, and reopening makes it work again."""
    state, connection = failing
    connection.failing = ("COMMIT", code)
    with pytest.raises(SaveError, match="check the disk, then reopen the database"):
        state.commit([("b", b"2")])
    connection.failing = ()
    with pytest.raises(SaveError, match="takes no changes any more"):
        state.commit([("c", b"3")])
    assert [("a", b"1")] == list(state.scan(""))
    state.close()
    state.open()
    state.commit([("c", b"3")])
    assert [("a", b"1"), ("c", b"3")] == list(state.scan(""))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
def test_a_full_disk_passes(failing, code) -> None:
    """The commit leaves no trace, and the next one may succeed."""
    state, connection = failing
    connection.failing = ("COMMIT", code)
    with pytest.raises(SaveError, match="free some space and try again"):
        state.commit([("b", b"2")])
    connection.failing = ()
    state.commit([("c", b"3")])
    assert ["a", "c"] == [key for key, _ in state.scan("")]


def test_a_rollback_that_fails_stops_everything(failing, monkeypatch) -> None:
    """Nobody knows then what the next transaction would begin with."""
    state, connection = failing
    connection.failing = ("COMMIT", sqlite3.SQLITE_FULL)
    real = FailingConnection.execute

    def execute(self, sql, *arguments):
        if sql == "ROLLBACK":
            raise sqlite3.OperationalError("disk I/O error")
        return real(self, sql, *arguments)

    monkeypatch.setattr(FailingConnection, "execute", execute)
    with pytest.raises(SaveError):
        state.commit([("b", b"2")])
    connection.failing = ()
    with pytest.raises(SaveError, match="takes no changes any more"):
        state.commit([("c", b"3")])


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (sqlite3.SQLITE_READONLY, SaveError, "allow this program to write the file"),
        (sqlite3.SQLITE_CORRUPT, SaveError, "reopen the database"),
        (sqlite3.SQLITE_BUSY, DatabaseLockedError, "open in another program"),
    ],
)
def test_each_kind_of_failure_has_its_sentence(failing, code, error, words) -> None:
    """A read-only file, what may be damage (only opening tells), another program."""
    state, connection = failing
    connection.failing = ("BEGIN", code)
    with pytest.raises(error, match=words):
        state.commit([("b", b"2")])


def test_a_failing_read_says_so(failing) -> None:
    """Reading raises the errors of the database, not those of SQLite."""
    state, connection = failing
    connection.failing = ("SELECT", sqlite3.SQLITE_IOERR_READ)
    with pytest.raises(SaveError, match="check the disk"):
        state.get("a")
    connection.failing = ("PRAGMA", sqlite3.SQLITE_NOTADB)
    with pytest.raises(DatabaseCorruptError):
        state.check()


def test_an_interrupted_commit_leaves_no_trace(failing, monkeypatch) -> None:
    """Ctrl-C before the end of the transaction undoes it, and the next commit works."""
    state, _ = failing
    real = FailingConnection.execute

    def execute(self, sql, *arguments):
        if sql == "COMMIT":
            raise KeyboardInterrupt
        return real(self, sql, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FailingConnection, "execute", execute)
        with pytest.raises(KeyboardInterrupt):
            state.commit([("b", b"2")])
    state.commit([("c", b"3")])
    assert ["a", "c"] == [key for key, _ in state.scan("")]


@pytest.mark.parametrize(
    ("code", "is_broken"), [(sqlite3.SQLITE_FULL, False), (sqlite3.SQLITE_IOERR_FSYNC, True)]
)
def test_a_log_that_cannot_be_settled_costs_no_acknowledged_batch(failing, code, is_broken) -> None:
    """The batch stands; after a failed flush no other one is taken."""
    state, connection = failing
    connection.failing = ("PRAGMA wal_checkpoint", code)
    state.commit([("big", b"x" * 5_000_000)])
    if is_broken:
        with pytest.raises(SaveError, match="takes no changes any more"):
            state.commit([("c", b"3")])
    else:
        state.commit([("c", b"3")])
    connection.failing = ()
    state.close()
    state.open()
    assert ["a", "big"] == [key for key, _ in state.scan("")][:2]


def test_a_log_that_cannot_be_settled_at_opening(failing) -> None:
    """A full disk does not keep anybody from reading; a failing one does."""
    state, _ = failing
    state.close()
    FailingConnection.failing = ("PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL)
    try:
        state.open()
        assert b"1" == state.get("a")
        state.close()
        FailingConnection.failing = ("PRAGMA wal_checkpoint", sqlite3.SQLITE_IOERR_FSYNC)
        with pytest.raises(SaveError, match="check the disk"):
            state.open()
    finally:
        FailingConnection.failing = ()


# --- The log -----------------------------------------------------------------------------------


def crashed(path: Path, count: int) -> list[int]:
    """Leave a file with a log of `count` commits at `path`, as a crash would.

    Returns the size of the log after each commit.
    """
    source = path.with_name("source")
    state = SqliteSaveState(source)
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


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


def keys_at(path: Path, durability: str = "full") -> list[str]:
    state = SqliteSaveState(path, durability)  # type: ignore[arg-type]  # one of the two
    state.open()
    keys = [key for key, _ in state.scan("")]
    state.close()
    return keys


def test_a_log_cut_short_loses_only_what_was_not_acknowledged(path: Path) -> None:
    """A crash in the middle of the last commit, wherever it stopped."""
    sizes = crashed(path, 6)
    content, log = path.read_bytes(), Path(f"{path}-wal")
    whole = log.read_bytes()
    for end in range(sizes[3], sizes[4] + 1, 311):
        path.write_bytes(content)
        log.write_bytes(whole[:end])
        assert [f"op/{number}" for number in range(4)] == keys_at(path)


def test_a_log_damaged_in_the_middle_is_refused(path: Path) -> None:
    """Acknowledged commits would vanish; the files stay as they are until somebody decides."""
    sizes = crashed(path, 6)
    log = Path(f"{path}-wal")
    flip(log, sizes[1] + 500)
    before = (path.read_bytes(), log.read_bytes())
    with pytest.raises(DatabaseCorruptError, match="damaged in the middle"):
        keys_at(path)
    assert before == (path.read_bytes(), log.read_bytes())
    assert ["op/0", "op/1"] == keys_at(path, "relaxed")


@pytest.mark.parametrize("position", [0, 9, 17, 25])
def test_a_log_with_a_damaged_header_is_refused(path: Path, position: int) -> None:
    """SQLite would take it for an empty one."""
    crashed(path, 2)
    flip(Path(f"{path}-wal"), position)
    with pytest.raises(DatabaseCorruptError, match="damaged in the middle"):
        keys_at(path)


def test_damage_in_the_last_transaction_is_like_a_crash(path: Path) -> None:
    """It cannot be told from one that was being written."""
    sizes = crashed(path, 3)
    flip(Path(f"{path}-wal"), sizes[1] + 500)
    assert ["op/0", "op/1"] == keys_at(path)


def test_logs_in_either_byte_order_are_read(path: Path) -> None:
    """The file may come from a machine of the other kind."""
    crashed(path, 3)
    log = Path(f"{path}-wal").read_bytes()
    assert (len(log), 0) == survey(BytesIO(log))
    other = bytearray(log)
    other[3] ^= 1
    assert (0, 2) == survey(BytesIO(bytes(other)))  # its checksums are of the first kind
    assert (0, 0) == survey(BytesIO(log[:20]))


def test_frames_from_before_the_log_began_anew_do_not_count(path: Path) -> None:
    """SQLite writes over the old frames without cutting them off."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([(f"op/{number}", b"x" * 3_000) for number in range(1_500)])  # settled at once
    state.commit([("last", b"x")])
    with open(f"{path}-wal", "rb") as log:
        assert 0 == survey(log)[1]
    image = path.with_name("image")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{image}{suffix}")
    state.close()
    assert 1_501 == len(keys_at(image))


def log_sizes(path: Path, state: SqliteSaveState, commits: int) -> list[int]:
    sizes = []
    for number in range(commits):
        state.commit([("a", b"%d" % number)])
        sizes.append(Path(f"{path}-wal").stat().st_size)
    return sizes


def test_a_log_that_is_written_to_has_room(path: Path, state: SqliteSaveState) -> None:
    """From the second commit on, as much again as it has; a crash leaves it as zeros."""
    sizes = log_sizes(path, state, 40)
    assert len(set(sizes)) < 8
    with open(f"{path}-wal", "rb") as log:
        end, unreadable = survey(log)
        log.seek(end)
        room = log.read()
    assert 0 == unreadable
    assert {0} == set(room)
    assert sizes[0] < end < sizes[-1] == end + len(room)
    image = path.with_name("image")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{image}{suffix}")
    assert ["a"] == keys_at(image)


def test_what_is_not_flushed_needs_no_room(path: Path) -> None:
    """The log of a relaxed writer grows with each commit."""
    state = SqliteSaveState(path, "relaxed")
    state.open()
    assert 10 == len(set(log_sizes(path, state, 10)))
    state.close()


def test_a_disk_without_room_for_more_is_written_to_all_the_same(tmp_path: Path) -> None:
    """What could not be made longer stays as it was, and so does a file that is another one."""
    path = tmp_path / "log"
    path.write_bytes(b"123")
    found = look(path)
    assert found is not None
    assert 13 == make_room(path, found, 10)
    assert b"123" + bytes(10) == path.read_bytes()
    assert 3 == make_room(path, found, 10)  # it has grown since
    assert 13 == len(path.read_bytes())
    path.replace(tmp_path / "moved")
    assert 3 == make_room(path, found, 10)  # there is none
    path.write_bytes(b"456")
    assert 3 == make_room(path, found, 10)  # it is another one
    assert b"456" == path.read_bytes()


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_log_without_its_file_is_refused(path: Path, is_empty: bool) -> None:
    """SQLite would replay it into the new file, or throw it away."""
    crashed(path, 2)
    path.unlink()
    if is_empty:
        path.touch()
    with pytest.raises(DatabaseCorruptError, match="missing or empty"):
        keys_at(path)
    assert Path(f"{path}-wal").exists()


# --- Somebody else's hands on the open file -----------------------------------------------------


def test_a_file_that_is_deleted_takes_no_changes(state: SqliteSaveState, path: Path) -> None:
    """Nobody would find them; what is there can still be read."""
    state.commit([("a", b"1")])
    path.unlink()
    for _ in range(2):
        with pytest.raises(SaveError, match="was deleted, moved or replaced while it was open"):
            state.commit([("b", b"2")])
    assert [("a", b"1")] == list(state.scan(""))


def test_a_file_that_is_replaced_takes_no_changes(state: SqliteSaveState, path: Path) -> None:
    """The new file is left alone, also when the old one is closed."""
    state.commit([("a", b"1")])
    backup = path.with_name("backup")
    keys_at(backup)
    content = backup.read_bytes()
    backup.replace(path)
    with pytest.raises(SaveError, match="put the file back under its name"):
        state.commit([("b", b"2")])
    state.close()
    assert content == path.read_bytes()


def test_a_file_that_is_put_back_is_used_again(state: SqliteSaveState, path: Path) -> None:
    """Nothing was lost meanwhile without a word."""
    state.commit([("a", b"1")])
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(SaveError, match="was deleted, moved or replaced"):
        state.commit([("b", b"2")])
    path.with_name("elsewhere").rename(path)
    state.commit([("c", b"3")])
    state.close()
    assert ["a", "c"] == keys_at(path)


def test_a_log_that_is_deleted_takes_no_changes(state: SqliteSaveState, path: Path) -> None:
    """Closing saves what was acknowledged, as the refusal says."""
    state.commit([("a", b"1")])
    Path(f"{path}-wal").unlink()
    with pytest.raises(SaveError, match="close the database, which takes all earlier changes"):
        state.commit([("b", b"2")])
    state.close()
    assert ["a"] == keys_at(path)


def test_a_file_that_was_renamed_has_everything_after_closing(
    state: SqliteSaveState, path: Path
) -> None:
    """SQLite would leave the log under the old name, where nobody looks for it."""
    state.commit([("a", b"1")])
    path.rename(path.with_name("elsewhere"))
    state.close()
    assert ["elsewhere"] == [each.name for each in path.parent.iterdir()]
    assert ["a"] == keys_at(path.with_name("elsewhere"))


def test_closing_tells_where_changes_stay_that_no_longer_reach_the_file(
    failing: tuple[SqliteSaveState, FailingConnection], path: Path
) -> None:
    """The disk is full and the file elsewhere; back under its name it has them."""
    state, connection = failing
    state.commit([("b", b"2")])
    path.rename(path.with_name("elsewhere"))
    connection.failing = ("PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL)
    try:
        with pytest.raises(SaveError, match=r"-wal' was .* moved .* keep both, put them back"):
            state.close()
    finally:
        connection.failing = ()
    state.close()
    path.with_name("elsewhere").rename(path)
    assert ["a", "b"] == keys_at(path)


def test_a_log_that_stays_beside_its_file_is_no_error(
    failing: tuple[SqliteSaveState, FailingConnection], path: Path
) -> None:
    """Closing on a full disk loses nothing."""
    state, connection = failing
    state.commit([("b", b"2")])
    connection.failing = ("PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL)
    state.close()
    connection.failing = ()
    assert ["a", "b"] == keys_at(path)


def test_a_folder_that_cannot_be_looked_into(
    state: SqliteSaveState, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names the reason; nothing is guessed."""

    def lstat(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("cytosol.savestates.files.os.lstat", lstat)
        with pytest.raises(SaveError, match="Permission denied"):
            state.commit([("b", b"2")])
    state.commit([("c", b"3")])


# --- The file -----------------------------------------------------------------------------------


def change(path: Path, *statements: str) -> None:
    """Let another program change the file."""
    connection = sqlite3.connect(path, timeout=0)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("PRAGMA user_version = 2", "has the format 2, which this version"),
        ("PRAGMA application_id = 7", "the SQLite database of another program"),
        ("CREATE TRIGGER evil AFTER INSERT ON records BEGIN DELETE FROM records; END", "its table"),
        ("CREATE TABLE more (key TEXT)", "its table is not the one"),
    ],
)
def test_a_file_that_was_changed_by_another_program_is_refused(
    path: Path, statement: str, words: str
) -> None:
    """A newer format, a foreign one, a trigger that would run at each commit."""
    keys_at(path)
    change(path, statement)
    with pytest.raises(DatabaseCorruptError, match=words):
        keys_at(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET value = x'00'",
        "UPDATE records SET value = 'text'",
        "UPDATE records SET key = 'b'",
        "UPDATE records SET checksum = 0",
        "UPDATE records SET key = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_record_whose_checksum_is_wrong_is_refused(path: Path, statement: str) -> None:
    """Whatever changed behind our back is found when it is read."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([("a", b"1")])
    state.close()
    change(path, statement)
    state.open()
    with pytest.raises(DatabaseCorruptError, match="is damaged"):
        state.check()
    state.close()


def test_damage_that_sqlite_quotes_is_damage(path: Path) -> None:
    """Its message holds a piece of the file, which need not be UTF-8."""
    keys_at(path)
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"CREATE TABLE records", b"CREATE TABLE \xcf\xcf\xcf \xcf\xcf(")
    )
    with pytest.raises(DatabaseCorruptError, match="is damaged"):
        keys_at(path)


def test_check_looks_at_the_tree_as_well(path: Path) -> None:
    """A page of a large file that holds nonsense is found, though opening does not look there."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([(f"op/{number:06}", b"x" * 4_000) for number in range(5_000)])
    state.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    state.open()
    with pytest.raises(DatabaseCorruptError, match="is damaged"):
        state.check()
    state.close()


def test_another_program_that_reads_the_file_is_named(path: Path) -> None:
    """SQLite's own lock keeps other programs out, and us while they read."""
    state = SqliteSaveState(path)
    state.open()
    state.commit([("a", b"1")])
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT * FROM records")
    state.close()
    other.execute("BEGIN")
    other.execute("SELECT * FROM records").fetchone()
    with pytest.raises(DatabaseLockedError, match="open in another program"):
        state.open()
    other.close()
    state.open()
    state.close()


def test_an_unknown_durability_is_refused(path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(ActionError, match="'full' or 'relaxed', not 'fast'"):
        SqliteSaveState(path, durability="fast")  # type: ignore[arg-type]  # wrong on purpose
