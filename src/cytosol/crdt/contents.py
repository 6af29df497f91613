"""Digests of what ops say, beside the state hash, which covers their ids only.

Every author's ops form a chain, so one digest an author tells two histories that share ids but not
contents: a restored backup, or a clone, that wrote under its old id (spec: document, State hash).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import blake2b
from itertools import groupby, repeat
from typing import Any

import msgspec

from cytosol.crdt.log import Log
from cytosol.crdt.names import AUTHOR_BITS
from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind, Op
from cytosol.model.opcodec import GROUND_BYTES

__all__ = ["Contents", "digest_after", "digest_of"]

DIGEST_BYTES = GROUND_BYTES
GAP = 256
"""Of so many ops of an author one digest is kept, so that none is far from the next."""
RECENT = 4

_BLANK = blake2b(digest_size=DIGEST_BYTES)  # to copy it is quicker than to make one
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def digest_of(op: Op) -> bytes:
    """Return the digest of one op by itself."""
    return _digest(b"", op)


def digest_after(op: Op, before: bytes) -> bytes:
    """Return the digest after an op, given the one before it in its author's chain.

    A `Set` at a key without extras is told as `_fold` finds it in the columns of a log.
    """
    body = op.body
    if body.kind is not Kind.SET or body.key is None or op.seen or op.origin is not None:
        return _digest(before, op)
    return _digest(before, (*op[:4], body.name, body.key, body.payload))


def _digest(before: bytes, said: tuple[Any, ...]) -> bytes:
    return _chained(before, (_encode(said),))


def _chained(digest: bytes, texts: Iterable[bytes]) -> bytes:
    """Return the digest after some encoded ops: each time that of the digest before and the op."""
    copy = _BLANK.copy
    for text in texts:
        state = copy()
        state.update(digest)
        state.update(text)
        digest = state.digest()
    return digest


class Contents:
    """One digest an author, folded when somebody asks; `base` holds those at the trim point."""

    __slots__ = ("_chains", "base")

    def __init__(self, base: dict[PeerId, bytes] | None = None) -> None:
        self.base: dict[PeerId, bytes] = {} if base is None else base
        self._chains: dict[PeerId, _Chain] = {}

    def digest(self, replica: Replica, author: PeerId, latest: int) -> bytes:
        """Return the digest over the ops of an author up to `latest`, which the replica holds.

        It must not lie below the trim point. The cost is in proportion to the ops that are new
        since somebody has asked, or to GAP.
        """
        chain = self._chains.setdefault(author, _Chain())
        since, digest = chain.before(latest)
        trimmed = replica.trimmed.get(author, 0)
        if since < trimmed:
            since, digest = trimmed, self.base.get(author, b"")
        if since == latest:
            return digest
        rows = _rows_between(replica, author, since, latest)
        for at in range(0, len(rows), GAP):
            piece = rows[at : at + GAP]
            digest = _fold(replica.log, piece, digest)
            chain.note(replica.log.indexes[piece[-1]], digest, len(piece))
        return digest

    def forget(self) -> None:
        """Fold anew next time, because ops were taken back."""
        self._chains.clear()

    def advance(self, replica: Replica, count: int) -> None:
        """Make the point before row `count` the base; call while the replica stands there."""
        authors = replica.names.authors
        newest = dict(zip(replica.log.numbers[:count], replica.log.indexes[:count], strict=True))
        for number, index in newest.items():
            author = authors[number]
            self.base[author] = self.digest(replica, author, index)
            self._chains[author].trim(index)


class _Chain:
    """Digests along the ops of one author: one in GAP ops, and the ones asked for lately."""

    __slots__ = ("_digests", "_indexes", "_passed", "_recent", "_tip")

    def __init__(self) -> None:
        self._indexes: list[int] = []
        self._digests: list[bytes] = []
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=RECENT)
        self._tip = (0, b"")
        self._passed = 0  # ops since the last one in the lists

    def before(self, index: int) -> tuple[int, bytes]:
        """Return the newest point that is not after an op; (0, nothing) if there is none."""
        if self._tip[0] <= index:
            return self._tip
        at = bisect_right(self._indexes, index)
        best = (self._indexes[at - 1], self._digests[at - 1]) if at else (0, b"")
        return max(best, *(point for point in self._recent if point[0] <= index), (0, b""))

    def note(self, index: int, digest: bytes, count: int) -> None:
        """Note the digest after an op, `count` ops after the point from which it was folded."""
        if index < self._tip[0]:
            self._recent.append((index, digest))
            return
        self._recent.append(self._tip)
        self._tip = index, digest
        self._passed += count
        if self._passed >= GAP:
            self._indexes.append(index)
            self._digests.append(digest)
            self._passed = 0

    def trim(self, index: int) -> None:
        """Forget the points up to an op."""
        keep = bisect_right(self._indexes, index)
        del self._indexes[:keep], self._digests[:keep]


def _rows_between(replica: Replica, author: PeerId, since: int, latest: int) -> list[int]:
    """Return the rows of an author's ops after `since` up to `latest`, in order."""
    log, number = replica.log, replica.names.number(author)
    row = log.find(latest << AUTHOR_BITS | number)
    rows = [row]
    # A few ops far apart are found from one to the next; where there are many, all are looked at.
    while log.previous[row] > since and len(rows) < GAP:
        row = log.find(log.previous[row] << AUTHOR_BITS | number)
        rows.append(row)
    rows.reverse()
    if log.previous[row] <= since:
        return rows
    start = bisect_right(log.indexes, since)
    return [at for at, who in enumerate(log.numbers[start : rows[-1] + 1], start) if who == number]


def _fold(log: Log, rows: Sequence[int], digest: bytes) -> bytes:
    """Return the digest after some ops of one author.

    `Set`s at keys without extras are folded from their columns, every other op as an Op.
    """
    keys = set(map(type, _cut(log.steps, rows)))
    if keys == {str} and not log.seen and not log.origins:
        return _fold_sets(log, rows, digest)
    for is_plain, same in groupby(rows, partial(_is_plain, log)):
        if is_plain:
            digest = _fold_sets(log, list(same), digest)
            continue
        for row in same:
            digest = _digest(digest, log.op(row))
    return digest


def _is_plain(log: Log, row: int) -> bool:
    return type(log.steps[row]) is str and not log.has_extras(log.indexes[row], log.numbers[row])


def _fold_sets(log: Log, rows: Sequence[int], digest: bytes) -> bytes:
    codes = _cut(log.names, rows)
    names = {code: log.table.name(code) if code else None for code in set(codes)}
    said = zip(
        _cut(log.indexes, rows),
        repeat(log.table.authors[log.numbers[rows[0]]]),
        _cut(log.previous, rows),
        _cut(log.times, rows),
        map(names.__getitem__, codes),
        _cut(log.steps, rows),
        _cut(log.payloads, rows),
    )
    return _chained(digest, map(_encode, said))


def _cut(column: Sequence[Any], rows: Sequence[int]) -> Sequence[Any]:
    """Return what a column holds in some rows, which are in order."""
    first, after = rows[0], rows[-1] + 1
    if after - first == len(rows):
        return column[first:after]
    return [column[row] for row in rows]
