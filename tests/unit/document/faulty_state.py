"""A save state whose disk fills up, fails, or is slow, whenever a test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from cytosol.errors import DatabaseError, SaveError
from cytosol.savestates import InMemorySaveState

FULL = "the disk is full; nothing of this change was saved: free some space and try again"


class FaultyState(InMemorySaveState):
    """Records in memory; `refusal` is what `commit` raises while it is set.

    While `hold()` lasts a commit waits; `entered` is released once for each that has begun.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refusal: DatabaseError | None = None
        self.entered = threading.Semaphore(0)
        self.commits: list[list[str]] = []
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        """Let commits wait from now on."""
        self._open.clear()

    def release(self) -> None:
        """Let commits go on."""
        self._open.set()

    def fill(self) -> None:
        """Let the disk be full from now on."""
        self.refusal = SaveError(FULL)

    def free(self) -> None:
        """Let there be space again."""
        self.refusal = None

    def commit(
        self,
        puts: Iterable[tuple[str, Any]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Commit, wait, or refuse."""
        puts = list(puts)
        self.entered.release()
        assert self._open.wait(30), "the test never released the disk"
        if self.refusal is not None:
            raise self.refusal
        self.commits.append([key for key, _ in puts])
        super().commit(puts, deletes, delete_prefixes)

    def op_keys(self) -> list[str]:
        """Return the keys of the records of ops, in order."""
        return sorted(key for key in self._records if key.startswith("op/"))
