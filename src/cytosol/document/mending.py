"""Setting a document right that was stopped half way through a change: by Ctrl-C, mostly.

A signal's handler can raise between any two steps of the main thread, and no handler of ours can
know what was done by then. So whatever holds the lock then only notes that the document is torn,
from which row on nothing counts. Whoever needs it next, before anything else, has its history read
anew: from the file, which always holds all of a change or nothing; without a file from the log.
A write costs nothing more for it, and Ctrl-C does not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from cytosol.crdt.export import encode_rows
from cytosol.crdt.log import Log
from cytosol.crdt.replica import Replica
from cytosol.document.journal import BATCH_OPS
from cytosol.document.loading import Record
from cytosol.errors import ActionError, CytosolError
from cytosol.model.opcodec import unpack_columns

__all__ = [
    "Kept",
    "ReentryError",
    "Tear",
    "copied_log",
    "decline",
    "give_back",
    "interruption",
    "records_of",
]


class ReentryError(ActionError):
    """Somebody came in the middle of another call of the same thread, perhaps between two steps."""


UNEXPECTED = (ReentryError, MemoryError, RecursionError)


class Kept(NamedTuple):
    """A history that is in memory only: what it starts from, and what follows."""

    base: bytes | None
    log: Log


class Tear:
    """What is noted when a change was stopped, until the document is mended."""

    __slots__ = ("is_open", "start")

    def __init__(self) -> None:
        self.is_open = False
        self.start: int | None = None
        """The row from which on nothing counts, if there is one."""

    def note(self, error: BaseException, start: int | None) -> BaseException | None:
        """Note an error if it may have come anywhere, so that nothing can be undone step by step.

        Return it then, or the one that it hides. All others come from where they are expected, and
        what was done before them was undone.
        """
        found = interruption(error)
        if found is None:
            return None
        if not self.is_open:
            self.start = start
        elif start is not None:
            self.start = start if self.start is None else min(start, self.start)
        self.is_open = True
        return found

    def cut(self, replica: Replica) -> None:
        """Cut the log behind its last row that counts: written in all columns, and finished.

        An own op has an index above the clock until it is. What stood below the row where the
        change began counts in any case: who takes back half a change may turn back the clock.
        """
        log = replica.log
        count = min(map(len, _columns(log)))
        if self.start is not None:
            count = min(count, self.start)
        else:
            while count and log.indexes[count - 1] > replica.clock:
                count -= 1
        log.shorten(count)


def interruption(error: BaseException) -> BaseException | None:
    """Return the error if it may have come between any two steps, or the one behind it that did.

    A handler of a signal may raise whatever it likes, but what is expected here is ours. Who takes
    back what was done half, as it was done half, may fail with another error.
    """
    found: BaseException | None = error
    is_converted = False  # on purpose, by `raise ... from`: the stack that a peer's op exhausts
    while found is not None:
        hides = not isinstance(found, Exception)
        hides = hides or (isinstance(found, UNEXPECTED) and not is_converted)
        if hides and (found is error or _is_of_ours(found)):
            return found
        is_converted = is_converted or found.__suppress_context__
        found = found.__context__
    return None if isinstance(error, CytosolError) else error


def _is_of_ours(error: BaseException) -> bool:
    """Tell whether an error was caught in this package: else our caller is handling it."""
    trace = error.__traceback__
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("cytosol.")


def give_back(lock: threading.RLock, note: Callable[[], None]) -> None:
    """Give a lock back that was just to be taken when Ctrl-C came; `note` is called before."""
    try:
        if lock.acquire(blocking=False):  # ours once more, or free: else `note` has no business
            try:
                note()
            finally:
                lock.release()
    finally:
        with suppress(RuntimeError):  # it was not ours if Ctrl-C came while it was waited for
            lock.release()


def decline(action: object, now_ms: int) -> bool:
    """Do nothing with an action: the document has to be mended first."""
    return False


def copied_log(log: Log) -> Log:
    """Return the same ops in columns of their own, to be read only."""
    copy = Log(log.table)
    copy.extend_applied(*_columns(log))
    copy.seen, copy.origins = dict(log.seen), dict(log.origins)
    return copy


def records_of(log: Log) -> Iterator[Record]:
    """Yield the ops of a log as if they were read from a file."""
    for start in range(0, len(log), BATCH_OPS):
        rows = range(start, min(start + BATCH_OPS, len(log)))
        yield unpack_columns(encode_rows(log, rows))


def _columns(log: Log) -> tuple[list[object], ...]:
    return (  # type: ignore[return-value]  # some are arrays, which are as good here
        log.indexes,
        log.numbers,
        log.previous,
        log.times,
        log.names,
        log.steps,
        log.payloads,
        log.acts,
        log.undos,
    )
