"""Digests of what ops say, beside the state hash, which covers their ids only.

Every author's ops form a chain, so one digest an author tells two histories that share ids but not
contents: a restored backup, or a clone, that wrote under its old id (spec: document, State hash).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from cytosol.crdt.log import Log
from cytosol.crdt.names import AUTHOR_BITS
from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId
from cytosol.model.op import Op

__all__ = ["Contents", "digest_of"]

DIGEST_BYTES = 32

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def digest_of(op: Op, before: bytes = b"") -> bytes:
    """Return the digest after an op, given the one before it in its author's chain."""
    return blake2b(before + _encode(op), digest_size=DIGEST_BYTES).digest()


class Contents:
    """One digest an author, folded when somebody asks; `base` holds those at the trim point."""

    __slots__ = ("_known", "base")

    def __init__(self, base: dict[PeerId, bytes] | None = None) -> None:
        self.base: dict[PeerId, bytes] = {} if base is None else base
        self._known: dict[PeerId, tuple[int, bytes]] = {}

    def digest(self, replica: Replica, author: PeerId, latest: int) -> bytes:
        """Return the digest over the ops of an author up to `latest`, which the replica holds."""
        trimmed = replica.trimmed.get(author, 0)
        since, digest = self._known.get(author, (0, b""))
        if since == latest:
            return digest
        if since < trimmed or since > latest:
            since, digest = trimmed, self.base.get(author, b"")
        log = replica.log
        number = replica.names.number(author)
        start = log.find(since << AUTHOR_BITS | number) + 1 if since > trimmed else 0
        end = log.find(latest << AUTHOR_BITS | number) + 1
        rows = [row for row, who in enumerate(log.numbers[start:end], start) if who == number]
        digest = _fold(log, rows, digest)
        self._known[author] = latest, digest
        return digest

    def forget(self) -> None:
        """Fold anew next time, because ops were taken back."""
        self._known.clear()

    def advance(self, replica: Replica, count: int) -> None:
        """Make the point before row `count` the base; call while the replica stands there."""
        log, authors = replica.log, replica.names.authors
        rows: dict[PeerId, list[int]] = {}
        for row in range(count):
            rows.setdefault(authors[log.numbers[row]], []).append(row)
        for author, theirs in rows.items():
            self.base[author] = _fold(log, theirs, self.base.get(author, b""))


def _fold(log: Log, rows: Iterable[int], digest: bytes) -> bytes:
    """Return the digest after some ops of one author.

    A `Set` at a key without extras is folded from its columns, every other op as an Op.
    """
    names, authors = log.table, log.table.authors
    last_code, last_name = 0, None
    for row in rows:
        key = log.steps[row]
        index, number = log.indexes[row], log.numbers[row]
        if key is None or log.has_extras(index, number):
            digest = digest_of(log.op(row), digest)
            continue
        code = log.names[row]
        if code != last_code:
            last_code, last_name = code, names.name(code) if code else None
        said = (
            index,
            authors[number],
            log.previous[row],
            log.times[row],
            last_name,
            key,
            log.payloads[row],
        )
        digest = blake2b(digest + _encode(said), digest_size=DIGEST_BYTES).digest()
    return digest
