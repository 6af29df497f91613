"""Records in memory: for tests, for documents that need not last, and as the plainest example.

The object keeps its records after `close`, so that opening it again is like starting a
device anew with the same disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from cytosol.errors import DatabaseLockedError
from cytosol.savestates.base import SaveState, closed_error, make_batch

__all__ = ["InMemorySaveState"]


class InMemorySaveState(SaveState):
    """Keep records in a dictionary, as long as this object lives."""

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._is_open = False
        self.transactions = 0

    def open(self) -> None:
        """Become the owner; raises DatabaseLockedError while another database is."""
        with self._lock:
            if self._is_open:
                raise DatabaseLockedError(
                    "this InMemorySaveState is already open; close the database that uses it first"
                )
            self._is_open = True

    def get(self, key: str) -> bytes | None:
        """Return the bytes under `key`, None if there is no such record."""
        self._check_open()
        return self._records.get(key)

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Yield the records whose keys begin with `prefix`, in code point order."""
        self._check_open()
        with self._lock:
            found = [item for item in self._records.items() if item[0].startswith(prefix)]
        found.sort()
        return iter(found)

    def commit(
        self,
        puts: Iterable[tuple[str, bytes]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Change records as one batch."""
        batch = make_batch(puts, deletes, delete_prefixes, text=False)
        with self._lock:
            self._check_open()
            if not batch.deletes and not batch.delete_prefixes:
                self._records.update(batch.puts)
            else:  # in one step all the same, also if Ctrl-C comes
                records = dict(self._records)
                batch.apply_to(records)
                self._records = records
            self.transactions += 1

    def close(self) -> None:
        """Give the records free for another opening."""
        with self._lock:
            self._is_open = False

    def size_bytes(self) -> int:
        """Return the bytes of all keys and values."""
        self._check_open()
        with self._lock:
            return sum(len(key) + len(value) for key, value in self._records.items())

    def _check_open(self) -> None:
        if not self._is_open:
            raise closed_error("this InMemorySaveState")
