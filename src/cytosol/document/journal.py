"""How a document lies in a save state: which records there are, and in which order they change.

Records: `meta/NAME` holds JSON (who we are, pairings, settings); `base` holds the trimmed part
of history as a snapshot; `op/NUMBER` hold batches of ops in the order in which they came, numbered
from 1 without gaps, so that a lost one is noticed. A batch of ops is one record, so it is there
whole or not at all; a new base replaces all batches in one commit. Where the save state is text,
ops are the JSON that `$.actions` shows.

Writers queue their ops under the document's lock, so that the file has them in that order, and
wait for the disk without it: whoever comes first writes for all that wait (group commit). What the
disk refuses is taken back together with everything queued behind it, which may build on it, before
anything else is written.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

import msgspec

from cytosol.crdt.export import encode_rows
from cytosol.crdt.log import Log
from cytosol.document.frozen import freeze, thaw
from cytosol.document.loading import Record
from cytosol.errors import ActionError, DatabaseCorruptError, DatabaseError, SaveError
from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue
from cytosol.model.op import Op, op_from_json, op_to_json
from cytosol.model.opcodec import Columns, decode_ops, encode_ops, unpack_columns
from cytosol.model.singlecodec import SINGLE, Single, decode_single
from cytosol.savestates import SaveState
from cytosol.savestates.sealed import check_unsealed

__all__ = ["Journal", "Ticket"]

FORMAT: Final = 1
BATCH_OPS: Final = 4096
RECORD_BYTES: Final = 40  # about what a record takes in the file, beside its value
SMALL_BATCHES_MAX: Final = 256  # more than this many records of ops are put together when opened


OpKey = tuple[int, PeerId]
"""Index and author of an op."""


class Ticket:
    """One batch of ops on its way to the disk: `is_done` once it is there, or refused."""

    __slots__ = ("error", "ids", "is_done", "value")

    def __init__(self, ids: Collection[OpKey], value: Any) -> None:
        self.ids = ids
        self.value = value
        self.is_done = False
        self.error: DatabaseError | None = None


class Journal:
    """Reads and writes one save state; without one it keeps nothing and never fails.

    `lock` is the document's, which must be re-entrant. `take_back` is called with it held, and
    makes the document forget ops that the disk refused.
    """

    def __init__(
        self,
        state: SaveState | None,
        lock: AbstractContextManager[Any],
        take_back: Callable[[list[OpKey]], None],
    ) -> None:
        self._state = state
        self._document_lock = lock
        self._on_refusal = take_back
        self._pen = threading.Lock()  # of the leader; nobody takes the document's lock with it
        self._gate = threading.Lock()  # over the queue, while it is handed over
        self._queue: list[Ticket] = []
        self._group: list[Ticket] = []  # what is being written, or was refused just now
        self._refusal: DatabaseError | None = None
        self._number = 0  # of the last record of ops that is durable
        self._small_batches = 0
        self.is_kept: Final = state is not None
        """Whether there is a save state at all."""

    @property
    def path(self) -> str | None:
        """The file, if there is one."""
        path = None if self._state is None else self._state.path
        return None if path is None else str(path)

    @property
    def is_one_file(self) -> bool:
        """Whether `path` is one plain file, of which more can be said than the records tell."""
        return self._state is not None and self._state.is_one_file

    @property
    def is_text(self) -> bool:
        """Whether people can read, and change, the file."""
        return self._state is not None and self._state.text

    # --- opening ------------------------------------------------------------------------

    def open(self) -> None:
        """Take the file; raises DatabaseLockedError, DatabaseCorruptError, SaveError, SealError."""
        if self._state is None:
            return
        self._state.open()
        try:
            self._check_format(self._state)
        except BaseException:
            self._state.close()
            raise

    def _check_format(self, state: SaveState) -> None:
        check_unsealed(state)
        if state.text:
            # People can change the file: what they have renamed must not look forgotten.
            for key, _ in state.scan(""):
                if not key.startswith(("meta/", "op/")) and key != "base":
                    raise self._corrupt(key, "there is no such kind of record")
        found = self.get_meta("format")
        if found is None:
            if next(iter(state.scan("")), None) is not None:
                raise self._corrupt("meta/format", "it is missing")
            self.put_meta(format=FORMAT)
        elif found != FORMAT or type(found) is not int:
            raise DatabaseCorruptError(
                f"{self._name} has format {found!r} and this program reads format {FORMAT}; "
                "use a newer version of Cytosol"
            )

    def is_empty(self) -> bool:
        """Tell whether there are neither ops nor a base."""
        state = self._state
        return state is None or (
            state.get("base") is None and next(iter(state.scan("op/")), None) is None
        )

    def load_base(self) -> bytes | None:
        """Return the snapshot that history starts from, None if nothing was trimmed yet."""
        if self._state is None:
            return None
        value = self._state.get("base")
        if value is None or not self._state.text:
            return value
        try:
            return base64.b64decode(value["snapshot"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise self._corrupt("base", "it holds no snapshot") from None

    def load_batches(self, tell: Callable[[float], None] | None = None) -> Iterator[Record]:
        """Yield all batches of ops in the order in which they came.

        `tell` is called with the part that is read, 0 to 1, a hundred times at most; never where
        the save state is text, for that was read as a whole. Raises DatabaseCorruptError.
        """
        if self._state is None:
            return
        number = count = read = told = 0
        whole = 0 if tell is None or self.is_text else self._state.size_bytes()
        for key, value in self._state.scan("op/"):
            number += 1
            if key != _op_key(number):
                raise self._corrupt(_op_key(number), f"it is missing: the next one is {key}")
            try:
                record = self._decode(value)
            except (ActionError, TypeError, ValueError) as error:
                raise self._corrupt(key, str(error)) from None
            count += _count(record)
            yield record
            if tell is not None and whole:
                read += len(value) + RECORD_BYTES
                if (read - told) * 100 >= whole:
                    told = read
                    tell(min(1.0, read / whole))
        self._number = number
        self._small_batches = number if number > count // 64 else 0

    def _decode(self, value: Any) -> Record:
        if self.is_text:
            return [op_from_json(item) for item in value]
        return decode_single(value) if value[:1] == SINGLE else unpack_columns(value)

    def damaged(self, error: Exception | str) -> DatabaseCorruptError:
        """Return the error for ops that cannot be what we have written."""
        return DatabaseCorruptError(f"{self._name} is damaged: {error}; nothing was changed")

    @property
    def is_scattered(self) -> bool:
        """Whether the ops just loaded lie in many small records."""
        return self._small_batches > SMALL_BATCHES_MAX

    def compact(self, log: Log) -> None:
        """Put the records of the ops just loaded together, if the disk lets us."""
        with suppress(DatabaseError):  # a full disk must not keep anybody from reading
            self.rewrite(None, log)

    @property
    def _name(self) -> str:
        path = self.path
        return "the save state" if path is None else f"'{path}'"

    def _corrupt(self, key: str, why: str) -> DatabaseCorruptError:
        return DatabaseCorruptError(
            f"{self._name} is damaged: the record {key} cannot be read "
            f"({why}); nothing was changed. Restore a copy, or let another device sync a new file; "
            "`cytosol check --salvage` writes what can still be read of it"
        )

    # --- small records ------------------------------------------------------------------

    def get_meta(self, name: str) -> JsonValue:
        """Return what was put under a name, None if nothing was."""
        if self._state is None:
            return None
        value = self._state.get(f"meta/{name}")
        if value is None or self._state.text:
            return value
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise self._corrupt(f"meta/{name}", "it is not JSON") from None

    def put_meta(self, **metas: JsonValue) -> None:
        """Put JSON under names, all or none, durable on return; raises SaveError."""
        if self._state is not None:
            self._state.commit(self._meta_records(metas))

    def _meta_records(self, metas: Mapping[str, JsonValue]) -> list[tuple[str, Any]]:
        text = self.is_text
        return [
            (f"meta/{name}", value if text else msgspec.json.encode(value))
            for name, value in metas.items()
        ]

    # --- ops ----------------------------------------------------------------------------

    def add(self, ops: Sequence[Op]) -> Ticket:
        """Queue ops for writing; call with the document's lock held, then `flush` without it."""
        return self._enqueue([(op.index, op.author) for op in ops], self._encode(ops))

    def add_rows(self, log: Log, start: int) -> Ticket:
        """Queue the rows of the log from one on; as `add` does."""
        rows = range(start, len(log))
        ids = [log.key(row) for row in rows]
        return self._enqueue(ids, self._encode_rows(log, rows))

    def add_batch(self, ids: Collection[OpKey], batch: bytes) -> Ticket:
        """Queue a batch as a peer has sent it, all of which is new; as `add` does."""
        return self._enqueue(ids, self._encode(decode_ops(batch)) if self.is_text else batch)

    def _enqueue(self, ids: Collection[OpKey], value: Any) -> Ticket:
        ticket = Ticket(ids, value)
        with self._gate:
            self._queue.append(ticket)
        return ticket

    def _encode(self, ops: Sequence[Op]) -> Any:
        if self.is_text:
            # The payloads belong to the log, and the file is written later.
            return thaw(freeze([op_to_json(op) for op in ops]))
        return encode_ops(ops)

    def _encode_rows(self, log: Log, rows: Sequence[int]) -> Any:
        if self.is_text:
            return self._encode([log.op(row) for row in rows])
        return encode_rows(log, rows)

    def flush(self, ticket: Ticket) -> None:
        """Return when the ticket's ops are durable; raises SaveError when the disk refused them.

        Then they, and all queued after them, have been taken back. Raises what the save state
        raised: beside SaveError that is DatabaseClosedError and DatabaseLockedError.
        """
        while not ticket.is_done:
            try:
                with self._pen:  # a plain lock: Ctrl-C cannot leave it taken
                    if not ticket.is_done and self._refusal is None:
                        self._write()
            finally:
                if self._refusal is not None:
                    # The leader does it as well, unless it waits for the lock that we hold.
                    self._take_back()
        if ticket.error is not None:
            # A fresh exception for each thread: a traceback belongs to one.
            raise type(ticket.error)(*ticket.error.args) from ticket.error.__cause__

    def _write(self) -> None:
        """Write all that waits as one commit, or note that the disk refused it.

        A group that is there already was left by a leader whom Ctrl-C stopped after all that is
        done here against it: it is in the file, or is written now.
        """
        state = self._state
        assert state is not None, "without a save state nothing is queued"
        is_left = bool(self._group)
        if not is_left:
            with self._gate:
                self._group, self._queue = self._queue, []
        try:
            if not (is_left and self._is_saved(state)):
                state.commit(self._numbered([ticket.value for ticket in self._group]))
        except DatabaseError as refusal:
            self._refusal = refusal
        except BaseException:  # Ctrl-C: the save state itself is whole, whatever it has saved
            with suppress(DatabaseError):
                if self._is_saved(state):
                    self._finish(self._group, None, self._number + len(self._group))
            if self._group:
                self._refusal = SaveError(
                    "saving was interrupted, so the change was taken back; try again"
                )
            raise
        else:
            self._finish(self._group, None, self._number + len(self._group))

    def _is_saved(self, state: SaveState) -> bool:
        """Tell whether the group is in the file: all of it is, or nothing."""
        return state.get(_op_key(self._number + len(self._group))) is not None

    def _numbered(self, values: Iterable[Any], after: int | None = None) -> list[tuple[str, Any]]:
        start = (self._number if after is None else after) + 1
        return [(_op_key(number), value) for number, value in enumerate(values, start)]

    def _finish(self, tickets: Iterable[Ticket], error: DatabaseError | None, number: int) -> None:
        """Let go of the group; `number` is that of the last record then."""
        for ticket in tickets:
            ticket.error = error
            ticket.is_done = True
        # Without a call in between Ctrl-C comes before all of this, or after it.
        self._group, self._number = [], number

    def _take_back(self) -> None:
        """Have the document forget what was refused; does nothing if another thread has."""
        with self._document_lock:
            error = self._refusal
            if error is None:
                return
            with self._gate:
                tickets = [*self._group, *self._queue]
            # What Ctrl-C stops here is done again by whoever comes next.
            self._on_refusal([key for ticket in tickets for key in ticket.ids])
            self._finish(tickets, error, self._number)
            self._queue, self._refusal = [], None

    def first_unsaved(self) -> tuple[int, bytes] | None:
        """Return the least id among the ops that are not durable; call with the lock held."""
        if not self.is_kept:
            return None
        with self._gate:
            tickets = [*self._group, *self._queue]
        return min((min(ticket.ids) for ticket in tickets), default=None)

    def drain(self) -> None:
        """Wait until nothing is queued any more: all is durable, or was taken back.

        Call it with the document's lock held, so that nothing new comes. Only what replaces the
        whole history does this.
        """
        while True:
            with self._gate:
                waiting = [*self._group, *self._queue]
            if not waiting:
                return
            for ticket in waiting:
                with suppress(DatabaseError):  # whoever waits for this ticket hears of it
                    self.flush(ticket)
            with self._pen:
                if self._group and self._refusal is None:  # left behind by Ctrl-C, with all told
                    self._write()
            if self._refusal is not None:
                self._take_back()

    def rewrite(
        self,
        base: bytes | None,
        log: Log,
        document: JsonValue = None,
        metas: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Replace all batches (and the base, if one is given) in one commit; raises SaveError.

        Call it with the document's lock held and after `drain`.
        """
        state = self._state
        if state is None:
            return
        assert not [*self._queue, *self._group], "drained before"
        puts: list[tuple[str, Any]] = []
        if base is not None:
            if state.text:
                text = base64.b64encode(base).decode("ascii")
                puts.append(("base", {"document": document, "snapshot": text}))
            else:
                puts.append(("base", base))
        puts += self._meta_records(metas or {})
        rows = range(len(log))
        parts = [rows[start : start + BATCH_OPS] for start in range(0, len(log), BATCH_OPS)]
        puts += self._numbered([self._encode_rows(log, part) for part in parts], after=0)
        state.commit(puts, delete_prefixes=["op/"])
        self._number = len(parts)

    # --- the file -----------------------------------------------------------------------

    def record_names(self) -> list[str]:
        """Return the names of all records, in order."""
        return [] if self._state is None else [key for key, _ in self._state.scan("")]

    def check(self) -> None:
        """Read everything; raises DatabaseCorruptError at the first damage found."""
        if self._state is not None:
            self._state.check()

    def size_bytes(self) -> int:
        """Return how many bytes the records take."""
        return 0 if self._state is None else self._state.size_bytes()

    def close(self) -> None:
        """Release the file; only after `open` has succeeded, else it belongs to somebody else."""
        if self._state is not None:
            self._state.close()


def _count(record: Record) -> int:
    """Return how many ops a record holds."""
    if isinstance(record, Single):
        return 1
    return len(record.index) if isinstance(record, Columns) else len(record)


def _op_key(number: int) -> str:
    return f"op/{number:016d}"
