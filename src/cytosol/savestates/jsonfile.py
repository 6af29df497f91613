"""Records in one readable JSON file, for documents that people look at or keep in git.

Each group of batches writes the whole file anew: to a temporary file beside it, flushed,
then renamed over it. So the file is whole at every moment, and a commit costs time in
proportion to the file; for documents beyond some megabytes SqliteSaveState is the right one.

Who edits the file meanwhile finds the edit untouched: before it is replaced, it must look as we
left it, or at least say the same.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from cytosol.errors import DatabaseCorruptError
from cytosol.savestates.base import Batch, SaveState, closed_error, make_batch
from cytosol.savestates.faults import broken_error, changed_error, gone_error, os_fault
from cytosol.savestates.files import (
    NOFOLLOW,
    absolute,
    beside,
    check_plain,
    file_size,
    sync_folder,
)
from cytosol.savestates.groupcommit import CommitQueue
from cytosol.savestates.jsonlayout import encode_file, encode_value, parse_records
from cytosol.savestates.lock import FileLock

__all__ = ["JsonFileSaveState"]


_Marks: TypeAlias = tuple[int, int, int, int]


def _marks_of(found: os.stat_result) -> _Marks:
    """Return by what to notice that a file is not the same, or has been written to."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class JsonFileSaveState(SaveState):
    """Keep records in the JSON file `path`, made with mode 0600 at the first commit."""

    text = True
    is_one_file = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = absolute(path)
        self._temporary = beside(self.path, "-new")
        self._file_lock = FileLock(self.path)
        self._lock = threading.RLock()
        # Encoded, so that nobody can change a record from outside; None while closed.
        self._records: dict[str, bytes] | None = None
        self._marks: _Marks | None = None  # of the file as we read or wrote it
        self._is_broken = False
        self._queue = CommitQueue(self._write)

    @property
    def transactions(self) -> int:
        """Return how often the file was written; batches of several threads share a write."""
        return self._queue.transactions

    def open(self) -> None:
        """Become the owner and read the file; one that is missing or empty has no records.

        Raises DatabaseLockedError, DatabaseCorruptError (with line and column) or SaveError.
        """
        self._file_lock.acquire()
        try:
            check_plain(self.path)
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)  # left behind by a crash; never acknowledged
            records, marks = self._read()
            if marks is not None:
                # A crash may have come between renaming and this; what is read must stay.
                sync_folder(self.path)
        except OSError as error:
            self._file_lock.release()
            raise os_fault(self.path, error) from error
        except BaseException:
            self._file_lock.release()
            raise
        with self._lock:
            self._is_broken = False
            self._records = records
            self._marks = marks

    def get(self, key: str) -> Any:
        """Return the JSON value under `key`, the caller's own; None if there is none."""
        value = self._opened().get(key)
        return None if value is None else json.loads(value)

    def scan(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """Yield the records whose keys begin with `prefix`, in code point order."""
        records = self._opened()
        keys = sorted(key for key in records if key.startswith(prefix))
        return ((key, json.loads(records[key])) for key in keys)

    def commit(
        self,
        puts: Iterable[tuple[str, Any]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Change records as one batch. Raises TypeError or ValueError for what is not JSON."""
        batch = make_batch(puts, deletes, delete_prefixes, text=True)
        batch.puts = [(key, encode_value(value)) for key, value in batch.puts]
        self._queue.commit(batch)

    def close(self) -> None:
        """Give the file free."""
        with self._lock:
            if self._records is not None:
                self._records = None
                self._file_lock.release()

    def size_bytes(self) -> int:
        """Return the bytes of the file."""
        self._opened()
        return file_size(self.path)

    def _opened(self) -> dict[str, bytes]:
        records = self._records
        if records is None:
            raise closed_error(f"'{self.path}'")
        return records

    def _read(self) -> tuple[dict[str, bytes], _Marks | None]:
        try:
            descriptor = os.open(self.path, os.O_RDWR | NOFOLLOW)
        except FileNotFoundError:
            return {}, None
        with os.fdopen(descriptor, "rb") as file:
            marks = _marks_of(os.fstat(descriptor))
            data = file.read()
            records = parse_records(self.path, data) if data else {}
            if sys.platform != "win32":
                os.fchmod(descriptor, 0o600)  # it may have been copied with a wider mode
        return records, marks

    def _write(self, group: list[Batch]) -> None:
        """Write the whole file with the group in it; called by the leader of the queue."""
        with self._lock:
            records = dict(self._opened())
            self._file_lock.check_process()
            if self._is_broken:
                raise broken_error(self.path)
            self._check_unchanged()
            for batch in group:
                batch.apply_to(records)
            try:
                self._replace_file(encode_file(records))
            except OSError as error:
                raise os_fault(self.path, error) from error
            self._records = records

    def _check_unchanged(self) -> None:
        """Refuse to overwrite a file that is not the one that we have left."""
        try:
            if _marks_of(os.lstat(self.path)) == self._marks:
                return
            check_plain(self.path)
            records, marks = self._read()
        except (FileNotFoundError, NotADirectoryError):
            if self._marks is None:  # it is made by the first commit
                return
            raise gone_error(self.path) from None
        except DatabaseCorruptError as error:
            raise changed_error(self.path) from error
        except OSError as error:
            raise os_fault(self.path, error) from error
        if records != self._records:
            raise changed_error(self.path)
        self._marks = marks  # it was only touched, or saved again as it was

    def _replace_file(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW
        try:
            with os.fdopen(os.open(self._temporary, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                self._flush(lambda: os.fsync(file.fileno()))
                self._marks = _marks_of(os.fstat(file.fileno()))
            os.replace(self._temporary, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(self._temporary)
            raise
        self._flush(lambda: sync_folder(self.path))

    def _flush(self, flush: Callable[[], None]) -> None:
        """Flush; after one that failed nobody knows what is on the disk."""
        try:
            flush()
        except OSError:
            self._is_broken = True
            raise
