"""Records in one SQLite file: the default, and right for nearly everything.

Every group of batches is one transaction in SQLite's write-ahead log. `durability="full"`
flushes it to the disk before `commit` returns; with `"relaxed"` a crash of the program still
loses nothing, but one of the machine may lose the latest batches. What is flushed gets room in the
log beforehand: zeros, which SQLite takes for the end of its log, as it does with whatever is left
over behind it when the log has begun anew.

Each row carries a checksum of its key and value, because SQLite has none for what lies in
its file: a flipped bit becomes a DatabaseCorruptError and never a wrong value. A key that is
wrong could also hide rows, its own or those behind it. So whoever finds nothing looks at the two
rows between which it should be: if both are right, and rows lie in order, nothing is hidden.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal
from weakref import WeakSet
from zlib import crc32

from cytosol.errors import ActionError, DatabaseCorruptError, DatabaseError, SaveError
from cytosol.model.json import brief
from cytosol.savestates.base import Batch, SaveState, closed_error, make_batch
from cytosol.savestates.faults import (
    SQLITE_ERRORS,
    broken_error,
    damaged_error,
    failing_error,
    gone_error,
    is_passing,
    lost_log_error,
    sqlite_fault,
    unsettled_error,
)
from cytosol.savestates.files import absolute, beside, file_id, file_size, id_of, look, make_room
from cytosol.savestates.groupcommit import CommitQueue
from cytosol.savestates.lock import FileLock
from cytosol.savestates.sqlitefile import check_tree, open_file, roll_back
from cytosol.savestates.sqlitestamp import put_stamp

__all__ = ["SqliteSaveState"]

_PAGE_ROWS: Final = 128
_GET: Final = "SELECT key, value, checksum FROM records WHERE key = ?"
_FIRST_PAGE: Final = (
    "SELECT key, value, checksum FROM records WHERE key >= ? AND key < ? "
    f"ORDER BY key LIMIT {_PAGE_ROWS}"
)
_NEXT_PAGE: Final = _FIRST_PAGE.replace(">=", ">")
_BEFORE: Final = "SELECT key, value, checksum FROM records WHERE key < ? ORDER BY key DESC LIMIT 1"
_FROM: Final = "SELECT key, value, checksum FROM records WHERE key >= ? ORDER BY key LIMIT 1"
_BEHIND: Final = _FROM.replace(">=", ">")
_PUT: Final = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"
_DELETE: Final = "DELETE FROM records WHERE key = ?"
_DELETE_PREFIX: Final = "DELETE FROM records WHERE key >= ? AND key < ?"
_SETTLE_BYTES: Final = 4 * 1024 * 1024  # of log, before it is copied into the file
_TRANSACTION_BYTES: Final = 8 * 1024  # what a small one writes: about two pages
_ROOM_BYTES_MIN: Final = 32 * 1024  # a log that is written to gets as much again as it has
_ROOM_BYTES_MAX: Final = 512 * 1024

_Row = tuple[str, bytes, int]

_open_states: WeakSet[SqliteSaveState] = WeakSet()


class SqliteSaveState(SaveState):
    """Keep records in the SQLite file `path`, made with mode 0600 if there is none."""

    is_one_file = True

    def __init__(
        self, path: str | os.PathLike[str], durability: Literal["full", "relaxed"] = "full"
    ) -> None:
        if durability not in ("full", "relaxed"):
            raise ActionError(f"durability is 'full' or 'relaxed', not {brief(durability)}")
        self.path: Path = absolute(path)
        self._is_relaxed = durability == "relaxed"
        self._file_lock = FileLock(self.path)
        self._lock = threading.RLock()  # guards the connection, for a transaction or a page
        self._connection: sqlite3.Connection | None = None
        self._log_path = beside(self.path, "-wal")
        self._file_ids: tuple[tuple[int, int] | None, ...] = ()  # of the file and its log
        self._is_broken = False
        self._log_size = 0  # with its room; another one says that it needs more
        self._unsettled_bytes = 0
        self._is_log_new = True  # as far as we know; a stamp too many does no harm
        self._queue = CommitQueue(self._write)

    @property
    def transactions(self) -> int:
        """Return how many transactions were written; batches of several threads share them."""
        return self._queue.transactions

    def open(self) -> None:
        """Become the owner of the file, and let SQLite recover what a crash left in its log."""
        self._file_lock.acquire()
        try:
            connection = open_file(self.path, "NORMAL" if self._is_relaxed else "FULL")
            try:
                file_ids = file_id(self.path), file_id(self._log_path)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self._file_lock.release()
            raise
        with self._lock:
            self._is_broken = False
            self._log_size = 0
            self._unsettled_bytes = 0
            self._is_log_new = True
            self._file_ids = file_ids
            self._connection = connection
        _open_states.add(self)

    def get(self, key: str) -> bytes | None:
        """Return the bytes under `key`, None if there is no such record."""
        with self._lock:
            rows = self._select(_GET, key)
            if rows:
                return rows[0][1]
            self._select(_BEFORE, key)
            self._select(_FROM, key)
            return None

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Yield the records whose keys begin with `prefix`, in code point order."""
        end = _end_of(prefix)
        with self._lock:
            self._select(_BEFORE, prefix)
            page = self._select(_FIRST_PAGE, prefix, end)
            if not page:
                self._select(_FROM, prefix)
            elif len(page) < _PAGE_ROWS:
                self._select(_BEHIND, page[-1][0])
        return self._rest(page, end)

    def commit(
        self,
        puts: Iterable[tuple[str, bytes]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Change records as one batch, in one transaction with those of other waiting threads."""
        self._queue.commit(make_batch(puts, deletes, delete_prefixes, text=False))

    def close(self) -> None:
        """Settle the log into the file and give the file free.

        Raises SaveError, with the file given free all the same, if changes stay in a log that
        nobody would find, because the file was moved.
        """
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                if self._file_lock.is_ours():  # a forked child leaves all to its parent
                    self._close_file(connection)
            finally:
                self._file_lock.release()

    def size_bytes(self) -> int:
        """Return the bytes of the file and its log."""
        self._opened()
        return file_size(self.path) + file_size(self._log_path)

    def check(self) -> None:
        """Let SQLite check its tree, then read every record and compare its checksum."""
        with self._lock:
            check_tree(self._opened(), self.path, "integrity_check")
        super().check()

    def leave_to_parent(self) -> None:
        """Let the connection live as long as this process, which is a forked child.

        SQLite would take itself for the only owner, and remove the log in which its parent writes.
        """
        if self._connection is not None:
            with suppress(ImportError, AttributeError):  # where Python counts no references
                import ctypes

                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise closed_error(f"'{self.path}'")
        return self._connection

    def _select(self, sql: str, *arguments: Any) -> list[_Row]:
        with self._lock:
            try:
                rows = self._try_to_select(sql, arguments)
            except DatabaseCorruptError:
                # SQLite calls it damage if the disk refuses to read; perhaps it did so only once.
                rows = self._try_to_select(sql, arguments)
        for key, value, checksum in rows:
            # A flipped bit can change the types that SQLite reads, too.
            is_typed = type(key) is str and type(value) is bytes
            if not is_typed or _checksum(key, value) != checksum:
                raise damaged_error(self.path, f"the checksum of the record {key!r} is wrong")
        return rows

    def _try_to_select(self, sql: str, arguments: tuple[Any, ...]) -> list[_Row]:
        try:
            return self._opened().execute(sql, arguments).fetchall()
        except SQLITE_ERRORS as error:
            raise sqlite_fault(self.path, error) from error

    def _rest(self, page: list[_Row], end: str | bytes) -> Iterator[tuple[str, bytes]]:
        while page:
            for key, value, _ in page:
                yield key, value
            page = self._next_page(page[-1][0], end) if len(page) == _PAGE_ROWS else []

    def _next_page(self, last: str, end: str | bytes) -> list[_Row]:
        with self._lock:
            page = self._select(_NEXT_PAGE, last, end)
            if len(page) < _PAGE_ROWS:
                self._select(_BEHIND, page[-1][0] if page else last)
            return page

    def _write(self, group: list[Batch]) -> None:
        """Write a group as one transaction; called by the leader of the queue."""
        with self._lock:
            connection = self._opened()
            self._file_lock.check_process()
            if self._is_broken:
                raise broken_error(self.path)
            self._check_names()
            # So that the stamp of each log, which says that it is relaxed, is on the disk first.
            needs_flush = self._is_log_new and self._is_relaxed
            try:
                if needs_flush:
                    connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                if self._is_log_new:
                    put_stamp(connection, is_relaxed=self._is_relaxed)
                for batch in group:
                    self._apply(connection, batch)
                connection.execute("COMMIT")
                self._is_log_new = False
                if needs_flush:
                    connection.execute("PRAGMA synchronous = NORMAL")
            except SQLITE_ERRORS as error:
                is_undone = roll_back(connection)
                self._is_broken = not (is_undone and is_passing(error))
                raise self._write_fault(error) from error
            except BaseException:  # Ctrl-C: without a transaction to undo it is saved, or not begun
                self._is_broken = not roll_back(connection)
                raise
            self._settle(connection)

    def _write_fault(self, error: Exception) -> DatabaseError:
        """Return the error for a transaction that failed; only opening tells what is damaged."""
        fault = sqlite_fault(self.path, error)
        if isinstance(fault, DatabaseCorruptError):
            return failing_error(self.path, str(error))
        return fault

    def _check_names(self) -> None:
        """Refuse to write what nobody would find: SQLite goes on in files without a name."""
        file, log = self._file_ids
        if file_id(self.path) != file:
            raise gone_error(self.path)
        found = look(self._log_path)
        if found is None or id_of(found) != log:
            raise lost_log_error(self.path)
        if found.st_size != self._log_size and not self._is_relaxed:
            # The first transaction of a log has none: many a program makes no second one.
            room = max(_ROOM_BYTES_MIN, min(found.st_size, _ROOM_BYTES_MAX))
            self._log_size = make_room(self._log_path, found, room)

    def _apply(self, connection: sqlite3.Connection, batch: Batch) -> None:
        for prefix in batch.delete_prefixes:
            connection.execute(_DELETE_PREFIX, (prefix, _end_of(prefix)))
        if batch.deletes:
            connection.executemany(_DELETE, [(key,) for key in batch.deletes])
        rows = [(key, value, _checksum(key, value)) for key, value in batch.puts]
        connection.executemany(_PUT, rows)
        self._unsettled_bytes += sum(len(value) for _, value in batch.puts)

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Copy the log into the file from time to time; what it holds is durable already."""
        self._unsettled_bytes += _TRANSACTION_BYTES
        if self._unsettled_bytes < _SETTLE_BYTES:
            return
        self._is_log_new = True  # SQLite begins it anew when all of it is in the file
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except SQLITE_ERRORS as error:  # the batch stands; a full disk may be better next time
            self._is_broken = not is_passing(error)
        else:
            self._unsettled_bytes = 0

    def _close_file(self, connection: sqlite3.Connection) -> None:
        try:
            self._settle_all(connection)
        finally:
            with suppress(*SQLITE_ERRORS):  # what was acknowledged is in the log anyway
                connection.close()
            self._remove_stray_log()

    def _settle_all(self, connection: sqlite3.Connection) -> None:
        """Copy the log into the file, also where SQLite would leave it: in a file that was moved.

        A log that stays beside its file loses nothing: opening reads it.
        """
        try:
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            cause = None
        except SQLITE_ERRORS as error:
            is_busy, cause = 1, error
        if is_busy and (file_id(self.path), file_id(self._log_path)) != self._file_ids:
            raise unsettled_error(self.path, cause) from cause

    def _remove_stray_log(self) -> None:
        """Remove our empty log, which SQLite leaves where the file was moved away."""
        with suppress(OSError, SaveError):
            is_ours = file_id(self._log_path) == self._file_ids[1]
            if is_ours and file_size(self._log_path) == 0:
                self._log_path.unlink(missing_ok=True)


def _end_of(prefix: str) -> str | bytes:
    """Return what comes after all keys with the prefix: keys are ASCII, blobs come after text."""
    return f"{prefix}\U0010ffff" if prefix else b""


def _checksum(key: str, value: bytes) -> int:
    return crc32(value, crc32(key.encode()))


def _leave_to_parent() -> None:
    for state in list(_open_states):
        state.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
