"""Rows of the log as a batch of bytes, for peers and for the save state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from cytosol.crdt.log import Form, Log
from cytosol.crdt.names import AUTHOR_BITS, AUTHOR_MASK, OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.quick import PRIMITIVES
from cytosol.model.json import JsonValue, canonical_bytes
from cytosol.model.op import Name
from cytosol.model.opcodec import Encoder, Grounds
from cytosol.model.singlecodec import encode_single

__all__ = ["encode_rows", "row_size", "starts_plain_run"]

PLAIN_RUN = 1024


def encode_rows(log: Log, rows: Sequence[int], grounds: Grounds | None = None) -> bytes:
    """Return the ops in some rows as one batch, in the order given, with what they build on.

    A `Set` at a key, the most frequent op by far, goes from columns to columns; one of a primitive
    that is all there is takes the form of a single write.
    """
    if len(rows) == 1 and not grounds and (single := _encode_single(log, rows[0])) is not None:
        return single
    encoder = Encoder()
    at = 0
    for stop in [*_special(log, rows), len(rows)]:
        if stop > at:
            _add_sets(encoder, log, rows[at:stop])
        if stop < len(rows):
            encoder.add(log.op(rows[stop]))
        at = stop + 1
    return encoder.finish(grounds)


def _encode_single(log: Log, row: int) -> bytes | None:
    """Return a row as a single write, None if it is something else."""
    key, payload, code = log.steps[row], log.payloads[row], log.names[row]
    if type(key) is not str or code < 0 or type(payload) not in PRIMITIVES:
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


def starts_plain_run(log: Log, row: int) -> bool:
    """Tell whether many `Set`s at keys begin after something else: best sent by themselves.

    A batch of nothing else is merged column by column (`merge_bulk`).
    """
    steps = log.steps
    if row == 0 or type(steps[row - 1]) is str or row + PLAIN_RUN > len(steps):
        return False
    return _are_keys(steps[row : row + PLAIN_RUN])


def _are_keys(steps: Iterable[Form]) -> bool:
    return set(map(type, steps)) == {str}


def _special(log: Log, rows: Sequence[int]) -> Iterator[int]:
    """Yield which of some rows hold anything but a `Set` at a key without extras."""
    steps = log.steps
    if not log.seen and not log.origins and _are_keys(map(steps.__getitem__, rows)):
        return
    for at, row in enumerate(rows):
        if type(steps[row]) is not str or log.has_extras(log.indexes[row], log.numbers[row]):
            yield at


def _add_sets(encoder: Encoder, log: Log, rows: Sequence[int]) -> None:
    """Add rows, each of which is a `Set` at a key without extras."""
    first, after = rows[0], rows[-1] + 1
    columns: tuple[Sequence[Any], ...] = (
        log.numbers,
        log.indexes,
        log.previous,
        log.times,
        log.names,
        log.steps,
        log.payloads,
    )
    if list(rows) == list(range(first, after)):
        numbers, indexes, previous, times, names, keys, payloads = (
            column[first:after] for column in columns
        )
    else:
        numbers, indexes, previous, times, names, keys, payloads = (
            [column[row] for row in rows] for column in columns
        )
    runs = [(_name(log, code), len(list(same))) for code, same in groupby(names)]
    authors = map(log.table.authors.__getitem__, numbers)
    encoder.add_sets(authors, indexes, previous, times, runs, keys, payloads)


def _name(log: Log, code: int) -> Name | None:
    return log.table.name(code) if code else None


def row_size(log: Log, row: int) -> int:
    """Return about how many bytes a row takes in a batch."""
    payload = log.payloads[row]
    if log.steps[row] is None:
        payload = payload.payload
    if type(payload) is tuple:
        return 24 + sum(24 + _payload_size(inner.payload) for inner in payload)
    return 24 + _payload_size(payload)


def _payload_size(payload: JsonValue) -> int:
    kind = type(payload)
    if kind is str:
        return len(payload)
    return len(canonical_bytes(payload)) if kind is dict or kind is list else 8
