"""Make, recognise and open the SQLite file of a save state.

The file is looked at before SQLite opens it, because SQLite's recovery would already change
one that is not ours. A new file is built under another name and renamed, so there never is
half of one.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from cytosol.errors import DatabaseCorruptError
from cytosol.savestates.faults import (
    SQLITE_ERRORS,
    damage_fault,
    damaged_error,
    failing_error,
    foreign_error,
    foreign_log_error,
    is_passing,
    newer_error,
    os_fault,
    sqlite_fault,
)
from cytosol.savestates.files import (
    NOFOLLOW,
    beside,
    check_plain,
    file_id,
    file_size,
    sync_folder,
)
from cytosol.savestates.sqlitelog import count_unreadable, survey
from cytosol.savestates.sqlitestamp import is_own_log, put_first_stamp, version_of

__all__ = ["check_tree", "open_file", "roll_back"]

_APPLICATION_ID: Final = 0x4359544F  # "CYTO": tells SQLite and `file` whose database it is
_VERSION: Final = 1
_TABLE: Final = (
    "CREATE TABLE records (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, "
    "checksum INTEGER NOT NULL) WITHOUT ROWID"
)
_HEAD_BYTES: Final = 100  # SQLite's file format, section 1.3: the database header
_PIECE_BYTES: Final = 1024 * 1024


def open_file(path: Path, synchronous: str) -> sqlite3.Connection:
    """Return a connection that owns the file `path`, made anew if missing or empty.

    `synchronous` is SQLite's word, "FULL" or "NORMAL". The caller holds the lock. Raises
    DatabaseCorruptError, DatabaseLockedError (for a program that is not ours) or SaveError.
    """
    try:
        return _try_to_open(path, synchronous)
    except DatabaseCorruptError:
        # SQLite calls it damage if the disk refuses to read; perhaps it did so only once.
        return _try_to_open(path, synchronous)


def _try_to_open(path: Path, synchronous: str) -> sqlite3.Connection:
    try:
        return _open_file(path, synchronous)
    except OSError as error:
        raise os_fault(path, error) from error
    except SQLITE_ERRORS as error:
        raise sqlite_fault(path, error) from error


def check_tree(
    connection: sqlite3.Connection, path: Path, depth: Literal["quick_check", "integrity_check"]
) -> None:
    """Let SQLite check its tree; raises DatabaseCorruptError."""
    try:
        report = connection.execute(f"PRAGMA {depth}(1)").fetchone()[0]
    except SQLITE_ERRORS as error:
        raise sqlite_fault(path, error) from error
    if report != "ok":
        raise damage_fault(path, report)


def roll_back(connection: sqlite3.Connection) -> bool:
    """Undo the transaction, if SQLite has not done so; tell whether it is undone."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except SQLITE_ERRORS:
        return False
    return True


def _open_file(path: Path, synchronous: str) -> sqlite3.Connection:
    for suffix in ("", "-wal", "-shm", "-journal"):
        check_plain(beside(path, suffix))
    if file_size(path) == 0:
        # SQLite would replay a left-over log into the new file, or throw it away.
        if file_size(beside(path, "-wal")) > 0:
            raise damaged_error(path, f"it is missing or empty, but '{path.name}-wal' is there")
        _create(path)
    head = _check_head(path)
    _check_log(path, head, is_flushed=synchronous == "FULL")
    connection = _connect(path)
    try:
        _prepare(connection, path, synchronous)
    except BaseException:
        # Else closing would copy the log into a file that was refused, and delete it.
        connection.interrupt()
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    """Return a plain connection without implicit transactions, usable by any thread."""
    return sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)


def _create(path: Path) -> None:
    fresh = beside(path, "-new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW, 0o600))
    connection = _connect(fresh)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(_TABLE)
        put_first_stamp(connection, _VERSION)
    finally:
        connection.close()
    fresh.replace(path)
    sync_folder(path)


def _check_head(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDWR | NOFOLLOW)
    try:
        head = os.read(descriptor, _HEAD_BYTES)
        if len(head) < _HEAD_BYTES or not head.startswith(b"SQLite format 3\0"):
            raise foreign_error(path, "or its beginning is damaged")
        if int.from_bytes(head[68:72], "big") != _APPLICATION_ID:
            raise foreign_error(path, "it is the SQLite database of another program")
        version = version_of(head)
        if version != _VERSION:
            raise newer_error(path, version)
        if head[18:20] not in (b"\1\1", b"\2\2"):  # else SQLite would open it for reading only
            raise damaged_error(path, "its header is wrong")
        if sys.platform != "win32":
            os.fchmod(descriptor, 0o600)  # it may have been copied with a wider mode
    finally:
        os.close(descriptor)
    return head


def _check_log(path: Path, head: bytes, *, is_flushed: bool) -> None:
    """Refuse a log of another file, and one with damage; SQLite would change the file."""
    log = beside(path, "-wal")
    try:
        descriptor = os.open(log, os.O_RDONLY | NOFOLLOW)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb") as frames:
        if not is_own_log(head, frames):
            raise foreign_log_error(path)
        frames.seek(0)
        with os.fdopen(os.open(path, os.O_RDONLY | NOFOLLOW), "rb") as file:
            unreadable = count_unreadable(frames, file)
        if is_flushed and unreadable >= 2:
            raise DatabaseCorruptError(
                f"the log '{log}' is damaged in the middle, so acknowledged changes would be lost; "
                f"it was left as it is: copy it and '{path.name}' to a safe place, then restore a "
                "backup, or open once with durability='relaxed' to go on without those changes"
            )
    _write_again(log)


def _write_again(log: Path) -> None:
    """Write what a log holds once more, and flush it.

    After a flush that failed the system may hold in memory, as if it were saved, what the disk
    never got. SQLite would copy it into the file and only then cut the log; a power cut in between
    would leave the newer file under the older log, and mix the two.
    """
    descriptor = os.open(log, os.O_RDWR | NOFOLLOW)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        position = 0
        while piece := file.read(_PIECE_BYTES):
            file.seek(position)
            position += file.write(piece) or 0
            file.seek(position)
        os.fsync(descriptor)


def _cut_torn(log: Path) -> None:
    """Cut off what a crash has torn; after the next crash it would look like damage.

    Flushed, for it would look so as well if it came back beside what is written next.
    """
    with os.fdopen(os.open(log, os.O_RDWR | NOFOLLOW), "r+b") as file:
        file.truncate(survey(file)[0])
        os.fsync(file.fileno())


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    for pragma in (
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "cache_spill = OFF",  # so that page 1 comes first in each log
        "locking_mode = EXCLUSIVE",  # no shared memory file, and no other program in between
        "journal_mode = WAL",
        f"synchronous = {synchronous}",
        "fullfsync = ON",  # macOS needs it for a flush that reaches the disk
        "checkpoint_fullfsync = ON",
        "journal_size_limit = 16777216",  # one huge batch does not make the log huge for ever
        "wal_autocheckpoint = 0",  # SQLite would hide that it failed; the save state does it
    ):
        connection.execute(f"PRAGMA {pragma}")
    if connection.execute("SELECT sql FROM sqlite_master").fetchall() != [(_TABLE,)]:
        raise damaged_error(path, "its table is not the one that Cytosol makes")
    # Where it could not change to a log, SQLite goes on without, and says nothing. But what it then
    # acknowledges may be undone by a journal that a power cut brings back.
    if file_id(beside(path, "-wal")) is None:
        raise failing_error(path, "its log could not be made")
    check_tree(connection, path, "quick_check")  # a fiftieth of what reading the log takes
    # What a crash left in the log goes into the file, so that the log begins anew.
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except SQLITE_ERRORS as error:
        if not is_passing(error):
            raise
        _cut_torn(beside(path, "-wal"))  # the log goes on
    # SQLite does this with the first commit, and does not mind if it fails: then a power cut
    # could take the log, name and all.
    sync_folder(path)
