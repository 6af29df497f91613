"""Rows of the log as a batch of bytes, for peers and for the save state."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cytosol.crdt.inner import InnerActions
from cytosol.crdt.log import Form, Log, are_alike
from cytosol.crdt.names import AUTHOR_BITS, AUTHOR_MASK, OFFSET_BITS, OFFSET_MASK
from cytosol.crdt.quick import PRIMITIVES
from cytosol.limits import BATCH_OPS_MAX
from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue, canonical_bytes
from cytosol.model.op import Name
from cytosol.model.opcodec import Encoder, Grounds
from cytosol.model.singlecodec import encode_single

__all__ = ["encode_rows", "missing_rows", "row_size", "starts_plain_run"]

PLAIN_RUN = 1024
STRETCH = 256
"""How many rows are looked at as a whole, if they can be."""

ROW_BYTES, PRIMITIVE_BYTES = 24, 8
"""About what a row takes without its payload, and a payload that is no text."""


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
    if 8 * (len(log.seen) + len(log.origins)) >= len(rows):
        for at, row in enumerate(rows):
            if type(steps[row]) is not str or log.has_extras(log.indexes[row], log.numbers[row]):
                yield at
        return
    special = {log.find(code) for code in (*log.seen, *log.origins)}
    if not _are_keys(_cut(steps, rows)):
        special.update(row for row in rows if type(steps[row]) is not str)
    for row in sorted(special):
        at = bisect_left(rows, row)
        if at < len(rows) and rows[at] == row:
            yield at


def _add_sets(encoder: Encoder, log: Log, rows: Sequence[int]) -> None:
    """Add rows, each of which is a `Set` at a key without extras."""
    columns: tuple[Sequence[Any], ...] = (
        log.numbers,
        log.indexes,
        log.previous,
        log.times,
        log.names,
        log.steps,
        log.payloads,
    )
    numbers, indexes, previous, times, names, keys, payloads = (
        _cut(column, rows) for column in columns
    )
    table = log.table

    def name_of(code: int) -> Name | None:
        return table.name(code) if code else None

    author = table.authors[numbers[0]]
    authors = [author] * len(rows)
    if not are_alike(numbers):
        authors = list(map(table.authors.__getitem__, numbers))
    encoder.add_sets(authors, indexes, previous, times, names, name_of, keys, payloads)


def _cut(column: Sequence[Any], rows: Sequence[int]) -> Sequence[Any]:
    """Return what a column holds in some rows."""
    if type(rows) is range:
        return column[rows.start : rows.stop]
    return list(map(column.__getitem__, rows))


def missing_rows(log: Log, rows: range, after: dict[PeerId, int], max_bytes: int) -> Sequence[int]:
    """Return those of some rows that a peer which holds `after` lacks, enough for one batch.

    `after` tells afterwards what it will hold. Rows that follow each other are a range.
    """
    taken = _missing_rows(log, rows, after, max_bytes)
    if taken and taken[-1] - taken[0] == len(taken) - 1:
        return range(taken[0], taken[-1] + 1)
    return taken


def _missing_rows(log: Log, rows: range, after: dict[PeerId, int], max_bytes: int) -> list[int]:
    taken: list[int] = []
    size, row = 0, rows.start
    while row < rows.stop:
        stretch = range(row, min(row + STRETCH, rows.stop))
        more = _stretch_size(log, stretch, after)
        fits = size + more < max_bytes and len(taken) + len(stretch) < BATCH_OPS_MAX
        row = stretch.stop
        if more and fits and not (taken and starts_plain_run(log, stretch.start)):
            taken += stretch
            after[log.table.authors[log.numbers[stretch.start]]] = log.indexes[stretch[-1]]
            size += more
            continue
        for each in stretch:
            author, index = log.table.authors[log.numbers[each]], log.indexes[each]
            known = after.get(author, 0)
            if index <= known:
                continue
            if log.previous[each] > known:
                return taken  # what comes before is trimmed: the peer has to adopt
            if taken and starts_plain_run(log, each):
                return taken
            taken.append(each)
            after[author] = index
            size += row_size(log, each)
            if size >= max_bytes or len(taken) >= BATCH_OPS_MAX:
                return taken
    return taken


def _stretch_size(log: Log, rows: range, after: Mapping[PeerId, int]) -> int:
    """Return about how many bytes some rows take in a batch, if they are all missing.

    0 if they have to be looked at one by one: they are not of one author, or not all `Set`s of
    primitives, or not what follows on `after`.
    """
    start, stop, count = rows.start, rows.stop, len(rows)
    number = log.numbers[start]
    if log.previous[start] != after.get(log.table.authors[number], 0):
        return 0
    if not are_alike(log.numbers[start:stop]) or not _are_keys(log.steps[start:stop]):
        return 0
    payloads = log.payloads[start:stop]
    kinds = set(map(type, payloads))
    if not kinds <= PRIMITIVES:
        return 0
    texts = [each for each in payloads if type(each) is str] if str in kinds else []
    others = count - len(texts)
    return count * ROW_BYTES + sum(map(len, texts)) + others * PRIMITIVE_BYTES


def row_size(log: Log, row: int) -> int:
    """Return about how many bytes a row takes in a batch."""
    payload = log.payloads[row]
    if log.steps[row] is None:
        payload = payload.payload
    if type(payload) is tuple or type(payload) is InnerActions:
        return ROW_BYTES + sum(ROW_BYTES + _payload_size(inner.payload) for inner in payload)
    return ROW_BYTES + _payload_size(payload)


def _payload_size(payload: JsonValue) -> int:
    kind = type(payload)
    if kind is str:
        return len(payload)
    return len(canonical_bytes(payload)) if kind is dict or kind is list else PRIMITIVE_BYTES
