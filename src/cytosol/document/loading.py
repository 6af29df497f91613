"""Reading a log anew: what was written together is merged together, and in bulk where it can be.

A log is read in the order in which its records came. Most of them are single plain writes, or
batches of nothing but these, and such runs are merged column by column. The rest is collected
until something comes that goes on where it ends, so that what several devices have written at the
same time is sorted once and not taken back again and again.
"""

from __future__ import annotations

from typing import TypeAlias

from cytosol.crdt.bulk import load_bulk
from cytosol.crdt.replica import Replica
from cytosol.model.op import Op
from cytosol.model.opcodec import Columns, columns_of, decode_columns
from cytosol.model.singlecodec import Single, op_of

__all__ = ["Loading", "Record", "ops_of"]

Record: TypeAlias = Single | Columns | list[Op]
"""A record of ops as it was read: ops where it was JSON."""

PLAIN_MIN = 64  # fewer are merged as fast together with what stands around them
TOGETHER_MAX = 20_000


def ops_of(record: Record) -> list[Op]:
    """Return the ops of a record; raises ActionError if they are damaged."""
    if isinstance(record, Single):
        return [op_of(record)]
    return decode_columns(record) if isinstance(record, Columns) else record


class Loading:
    """The records of one log on their way into a replica of which nobody has to hear."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._singles: list[Single] = []
        self._rest: list[Op] = []

    def add(self, record: Record) -> None:
        """Merge a record, at the latest when `finish` is called; raises ActionError for damage."""
        if isinstance(record, Single):
            self._singles.append(record)
            if len(self._singles) >= TOGETHER_MAX:
                self._end_singles()
            return
        self._end_singles()
        if isinstance(record, Columns) and len(record.index) >= PLAIN_MIN:
            self._add_columns(record)
        else:
            self._add_rest(ops_of(record))

    def finish(self) -> None:
        """Merge what was only collected."""
        self._end_singles()
        self._end_rest()

    def _end_singles(self) -> None:
        singles, self._singles = self._singles, []
        if len(singles) >= PLAIN_MIN:
            self._add_columns(columns_of(singles))
        else:
            self._add_rest(list(map(op_of, singles)))

    def _add_columns(self, columns: Columns) -> None:
        if self._rest and columns.index[0] > self._rest[-1].index:
            self._end_rest()
        if self._rest or not load_bulk(self._replica, columns):
            self._rest += decode_columns(columns)

    def _add_rest(self, ops: list[Op]) -> None:
        rest = self._rest
        if len(rest) >= TOGETHER_MAX and ops and ops[0].index > rest[-1].index:
            self._end_rest()
        self._rest += ops

    def _end_rest(self) -> None:
        self._replica.merge(self._rest)
        self._rest = []
