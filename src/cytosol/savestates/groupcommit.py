"""Let commits of several threads share one write to the disk.

The first thread that comes becomes the leader and writes its batch. Those that come while
it waits for the disk queue up; when it is done one of them leads and writes all that wait as
one transaction. So eight writers need about two disk flushes, not eight, and a single
writer pays nothing. The order of arrival is the order of writing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from cytosol.errors import DatabaseError, SaveError
from cytosol.savestates.base import Batch

__all__ = ["CommitQueue"]


class CommitQueue:
    """Hand waiting batches to `write`, one group at a time.

    `write` makes all batches of a group durable or none, and raises a DatabaseError then.
    `transactions` counts the groups that were written.
    """

    def __init__(self, write: Callable[[list[Batch]], None]) -> None:
        self._write = write
        # Plain locks, and no condition: whatever Ctrl-C stops, `with` gives them back.
        self._pen = threading.Lock()  # of the leader
        self._gate = threading.Lock()  # over what waits, while it is handed over
        self._waiting: list[Batch] = []
        self._group: list[Batch] = []  # what is being written, or was when Ctrl-C came
        self.transactions = 0

    @property
    def waiting(self) -> int:
        """Return how many batches wait for the present leader."""
        return len(self._waiting)

    def commit(self, batch: Batch) -> None:
        """Return when `batch` is written; raises the DatabaseError that befell its group."""
        try:
            with self._gate:
                self._waiting.append(batch)
            with self._pen:
                if not batch.done:
                    self._lead()
        except BaseException:  # Ctrl-C: a batch that its caller gave up must not come later
            with self._gate:
                if batch in self._waiting:
                    self._waiting.remove(batch)
            raise
        if batch.error is not None:
            # A fresh exception for each thread: a traceback belongs to one.
            raise type(batch.error)(*batch.error.args) from batch.error.__cause__

    def _lead(self) -> None:
        """Write what waits, with the pen held."""
        error: DatabaseError | None = SaveError(
            "the thread that was writing was interrupted; reopen the database to see what is saved"
        )
        if self._group:
            self._finish(error)  # the leader before us could not even say so
        try:
            with self._gate:
                self._group, self._waiting = self._waiting, []
            if not self._group:
                return
            self._write(self._group)
            error = None
            self.transactions += 1
        except DatabaseError as refusal:
            error = refusal
        finally:
            self._finish(error)

    def _finish(self, error: DatabaseError | None) -> None:
        for batch in self._group:
            batch.error = error
            batch.done = True
        self._group = []
