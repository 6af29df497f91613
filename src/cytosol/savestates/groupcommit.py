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
        self._turn = threading.Condition()
        self._waiting: list[Batch] = []
        self._writing = False
        self.transactions = 0

    @property
    def waiting(self) -> int:
        """Return how many batches wait for the present leader."""
        return len(self._waiting)

    def commit(self, batch: Batch) -> None:
        """Return when `batch` is written; raises the DatabaseError that befell its group."""
        with self._turn:
            self._waiting.append(batch)
            try:
                while self._writing and not batch.done:
                    self._turn.wait()
            except BaseException:  # Ctrl-C: a batch that its caller gave up must not come later
                if batch in self._waiting:
                    self._waiting.remove(batch)
                raise
            if not batch.done:
                self._writing = True
                group, self._waiting = self._waiting, []
        if not batch.done:
            self._lead(group)
        if batch.error is not None:
            # A fresh exception for each thread: a traceback belongs to one.
            raise type(batch.error)(*batch.error.args) from batch.error.__cause__

    def _lead(self, group: list[Batch]) -> None:
        error: DatabaseError | None = SaveError(
            "the thread that was writing was interrupted; reopen the database to see what is saved"
        )
        try:
            self._write(group)
            self.transactions += 1
            error = None
        except DatabaseError as refusal:
            error = refusal
        finally:
            with self._turn:
                for batch in group:
                    batch.error = error
                    batch.done = True
                self._writing = False
                self._turn.notify_all()
