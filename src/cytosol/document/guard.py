"""Whether a document may be used: not closed, and not in the middle of a change in this thread.

The lock keeps other threads away. In the same thread code of the app can still come in the middle:
a finalizer that the garbage collector runs, a handler of a signal, a payload that is computed as it
is read. What it did would be mixed with what it interrupted, so it is refused.

A change that was stopped half way, by Ctrl-C or for want of stack or memory, leaves the document
torn; whoever needs it next has it mended first (`mending`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import get_ident
from typing import Any, NoReturn, TypeVar

from cytosol.document.journal import Journal, Ticket
from cytosol.document.mending import ReentryError, Tear, decline
from cytosol.errors import DatabaseClosedError

__all__ = ["Guard", "refuse"]

T = TypeVar("T")


def refuse(action: object = None, now_ms: int = 0) -> NoReturn:
    """Raise ActionError: another use of the document is under way in this thread."""
    raise ReentryError(
        "the database is in the middle of another call of this thread: a finalizer, a handler of a "
        "signal, or a value that is computed as it is read came in between. Note what is to be "
        "done, and do it when that call is over"
    )


class Guard(ABC):
    """The lock of a document, and what it says about those who come."""

    journal: Journal

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._alone: Callable[[Any, int], bool] | None = None
        """`Quick.write`, while nobody looks at the log and nobody has to hear of changes."""
        self._closed = False
        self._tear = Tear()
        self._changer = 0  # the thread that is changing the document
        self._is_barred = False  # closed, torn, or being changed: what every use looks at first
        self._saving: set[int] = set()  # threads that wait for the disk

    @abstractmethod
    def settle(self) -> None:
        """Bring the document into a state in which anybody may look at it."""

    def check_open(self) -> None:
        """Raise DatabaseClosedError after `close`, ActionError in the middle of a change."""
        if self._is_barred:
            if self._changer == get_ident():
                refuse()
            if self._closed:
                raise DatabaseClosedError("the database is closed; open it again to use it")
            if self._tear.is_open:
                self.settle()

    def check_idle(self) -> None:
        """Raise ActionError in the middle of a change, and of waiting until one is durable."""
        this = get_ident()
        if self._changer == this or this in self._saving:
            refuse()
        # Another thread's write makes it so, too: RLock knows whose it is, for Condition.
        if self._alone is refuse and self.lock._is_owned():  # type: ignore[attr-defined]  # as said
            refuse(None, 0)

    def changing(self, work: Callable[[], T]) -> T:
        """Do something that reckons with the replica, or changes it; return what it returns.

        What stops it half way is noted.
        """
        with self.lock:
            self.check_open()
            self.check_idle()
            try:
                self._changer, self._is_barred = get_ident(), True
                return work()
            except BaseException as error:
                self.torn_by(error)
                raise
            finally:
                self._changer, self._is_barred = 0, self._closed or self._tear.is_open

    def torn_by(self, error: BaseException, start: int | None = None) -> None:
        """Note that a change was stopped half way, if so; from a row on nothing counts then.

        Call it with the lock held, before the change is given up. Raises what the error hides.
        """
        found = self._tear.note(error, start)
        if found is not None:
            self._alone = decline
            self._is_barred = True
            if found is not error:
                raise found

    def flush(self, ticket: Ticket | None) -> None:
        """Wait until a change is durable, without the lock; raises SaveError."""
        if ticket is None:
            return
        this = get_ident()
        try:
            self._saving.add(this)
            self.journal.flush(ticket)
        finally:
            self._saving.discard(this)
