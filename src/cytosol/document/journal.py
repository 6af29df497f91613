"""How a document lies in a save state: which records there are, and in which order they change.

Records: `meta/NAME` holds JSON (who we are, pairings, settings); `base` holds the trimmed part
of history as a snapshot; `op/NUMBER` hold batches of ops in the order in which they came. A batch
of ops is one record, so it is there whole or not at all; a new base replaces all batches in one
commit. Where the save state is text, ops are the JSON that `$.actions` shows.

Writers queue their records under the document's lock, so that the file has them in that order, and
wait for the disk without it: whoever comes first writes for all that wait (group commit).
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cytosol.errors import ActionError, DatabaseCorruptError, DatabaseError
from cytosol.model.json import JsonValue
from cytosol.model.op import Op, op_from_json, op_to_json
from cytosol.model.opcodec import decode_ops, encode_ops
from cytosol.savestates import SaveState

__all__ = ["Journal", "Ticket"]

FORMAT = 1
BATCH_OPS = 4096
SMALL_BATCHES_MAX = 256  # more than this many records of ops are put together when opened

Ticket = int


class Journal:
    """Reads and writes one save state; without one it keeps nothing and never fails."""

    def __init__(self, state: SaveState | None, on_failure: Callable[[list[Op]], None]) -> None:
        self._state = state
        self._on_failure = on_failure
        self._condition = threading.Condition()
        self._pending: list[tuple[Ticket, str, Any, Sequence[Op]]] = []
        self._last: Ticket = 0
        self._durable: Ticket = 0
        self._failed: tuple[Ticket, DatabaseError] | None = None
        self._writing = False
        self._number = 0

    @property
    def is_kept(self) -> bool:
        """Whether there is a save state at all."""
        return self._state is not None

    @property
    def path(self) -> str | None:
        """The file, if there is one."""
        path = None if self._state is None else self._state.path
        return None if path is None else str(path)

    # --- opening ------------------------------------------------------------------------

    def open(self) -> None:
        """Take the file; raises DatabaseLockedError, DatabaseCorruptError, SaveError."""
        if self._state is None:
            return
        self._state.open()
        found = self.get_meta("format")
        if found is None:
            self.put_meta("format", FORMAT)
        elif found != FORMAT:
            raise DatabaseCorruptError(
                f"{self.path} has format {found!r} and this program reads format {FORMAT}; "
                "use a newer version of Cytosol"
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

    def load_ops(self) -> list[Op]:
        """Return all ops, in the order in which they came."""
        if self._state is None:
            return []
        ops: list[Op] = []
        batches = 0
        for key, value in self._state.scan("op/"):
            try:
                if self._state.text:
                    ops += [op_from_json(item) for item in value]
                else:
                    ops += decode_ops(value)
                self._number = int(key[3:])
            except (ActionError, TypeError, ValueError) as error:
                raise self._corrupt(key, str(error)) from None
            batches += 1
        if batches > SMALL_BATCHES_MAX and batches > len(ops) // 64:
            self.rewrite(None, ops)
        return ops

    def _corrupt(self, key: str, why: str) -> DatabaseCorruptError:
        return DatabaseCorruptError(
            f"{self.path or 'the save state'} is damaged: the record {key} cannot be read "
            f"({why}); nothing was changed. Restore a copy, or let another device sync a new file"
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

    def put_meta(self, name: str, value: JsonValue) -> None:
        """Put JSON under a name, durable on return; raises SaveError."""
        if self._state is not None:
            stored = value if self._state.text else msgspec.json.encode(value)
            self._state.commit([(f"meta/{name}", stored)])

    # --- ops ----------------------------------------------------------------------------

    def add(self, ops: Sequence[Op]) -> Ticket:
        """Queue ops for writing; call with the document's lock held, then `flush` without it."""
        if self._state is None or not ops:
            return self._last
        key, value = self._record(ops)
        with self._condition:
            self._last += 1
            self._pending.append((self._last, key, value, ops))
            return self._last

    def _record(self, ops: Sequence[Op]) -> tuple[str, Any]:
        assert self._state is not None
        self._number += 1
        value: Any = [op_to_json(op) for op in ops] if self._state.text else encode_ops(ops)
        return f"op/{self._number:016d}", value

    def flush(self, ticket: Ticket) -> None:
        """Return when everything up to the ticket is durable; raises SaveError if it is not.

        Then the ops concerned, and all queued after them, have been taken back.
        """
        with self._condition:
            while ticket > self._durable:
                if self._failed is not None and ticket <= self._failed[0]:
                    raise self._failed[1]
                if not self._writing:
                    self._writing = True
                    batch, self._pending = self._pending, []
                    break
                self._condition.wait()
            else:
                return
        self._write(batch)
        self.flush(ticket)

    def _write(self, batch: list[tuple[Ticket, str, Any, Sequence[Op]]]) -> None:
        assert self._state is not None
        error: DatabaseError | None = None
        try:
            self._state.commit([(key, value) for _, key, value, _ in batch])
        except DatabaseError as raised:
            error = raised
            self._on_failure([op for _, _, _, ops in batch for op in ops])
        finally:
            with self._condition:
                self._writing = False
                if error is None:
                    self._durable = batch[-1][0]
                else:
                    self._failed = batch[-1][0], error
                    self._durable = min(self._durable, batch[0][0] - 1)
                self._condition.notify_all()

    def take_unsaved(self) -> list[Op]:
        """Give up all ops that are queued; call with the document's lock held after a failure."""
        with self._condition:
            ops = [op for _, _, _, batch in self._pending for op in batch]
            if self._pending:
                # They follow ops that were taken back, so they fail with them.
                for waiting in self._pending:
                    self._last = max(self._last, waiting[0])
                self._pending = []
            return ops

    def rewrite(
        self,
        base: bytes | None,
        ops: Sequence[Op],
        document: JsonValue = None,
        metas: dict[str, JsonValue] | None = None,
    ) -> None:
        """Replace all batches (and the base, if one is given) in one commit; raises SaveError."""
        state = self._state
        if state is None:
            return
        puts: list[tuple[str, Any]] = []
        if base is not None:
            if state.text:
                text = base64.b64encode(base).decode("ascii")
                puts.append(("base", {"document": document, "snapshot": text}))
            else:
                puts.append(("base", base))
        for name, value in (metas or {}).items():
            puts.append((f"meta/{name}", value if state.text else msgspec.json.encode(value)))
        for start in range(0, len(ops), BATCH_OPS):
            puts.append(self._record(ops[start : start + BATCH_OPS]))
        state.commit(puts, delete_prefixes=["op/"])

    def check(self) -> None:
        """Read everything; raises DatabaseCorruptError at the first damage found."""
        if self._state is not None:
            self._state.check()

    def size_bytes(self) -> int:
        """Return how many bytes the records take."""
        return 0 if self._state is None else self._state.size_bytes()

    def close(self) -> None:
        """Release the file."""
        if self._state is not None:
            self._state.close()
