"""Rows of the log as a batch of bytes, for peers and for the save state."""

from __future__ import annotations

from collections.abc import Sequence

from cytosol.crdt.log import Log
from cytosol.crdt.names import AUTHOR_BITS, AUTHOR_MASK, OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.quick import PRIMITIVES
from cytosol.model.opcodec import Encoder
from cytosol.model.singlecodec import encode_single

__all__ = ["encode_rows"]


def encode_rows(log: Log, rows: Sequence[int]) -> bytes:
    """Return the ops in some rows as one batch, in the order given.

    A `Set` at a key, the most frequent op by far, goes from columns to columns; one of a primitive
    that is all there is takes the form of a single write.
    """
    if len(rows) == 1 and (single := _encode_single(log, rows[0])) is not None:
        return single
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


def _encode_single(log: Log, row: int) -> bytes | None:
    """Return a row as a single write, None if it is something else."""
    key, payload, code = log.steps[row], log.payloads[row], log.names[row]
    if key is None or code < 0 or type(payload) not in PRIMITIVES:
        return None
    authors = log.table.authors
    number, index = log.numbers[row], log.indexes[row]
    seen = log.seen.get(index << AUTHOR_BITS | number, ())  # with an origin it had no key here
    place = None
    if code:
        made_by = code >> OFFSET_BITS
        place = authors[made_by & AUTHOR_MASK], made_by >> AUTHOR_BITS, code & OFFSET_MASK
    return encode_single(
        authors[number], index, log.previous[row], log.times[row], place, key, payload, seen
    )
