"""Rows of the log as a batch of bytes, for peers and for the save state."""

from __future__ import annotations

from collections.abc import Iterable

from cytosol.crdt.log import Log
from cytosol.model.opcodec import Encoder

__all__ = ["encode_rows"]


def encode_rows(log: Log, rows: Iterable[int]) -> bytes:
    """Return the ops in some rows as one batch, in the order given.

    A `Set` at a key, the most frequent op by far, goes from columns to columns.
    """
    encoder = Encoder()
    authors = log.table.authors
    last_code, last_name = 0, None
    add_set = encoder.add_set
    for row in rows:
        key = log.steps[row]
        if key is None:
            encoder.add(log.op(row))
            continue
        number, index = log.numbers[row], log.indexes[row]
        if log.has_extras(index, number):
            encoder.add(log.op(row))
            continue
        code = log.names[row]
        if code != last_code:
            last_code, last_name = code, log.table.name(code)
        add_set(
            authors[number],
            index,
            log.previous[row],
            log.times[row],
            last_name if code else None,
            key,
            log.payloads[row],
        )
    return encoder.finish()
