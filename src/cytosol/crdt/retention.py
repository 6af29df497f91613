"""How much history may go, and what two peers with trimmed histories have to do.

An op is merged in the ordinary way only by peers whose base its author had seen whole; so a base
needs no tombstones and no names but one for each place. The cut is *clean* if that holds for all
ops that stay (spec: document, Retention).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId

__all__ = ["Vector", "clean_cut", "known_rows", "lacks"]

Vector = Mapping[PeerId, int]


def lacks(latest: Vector, needed: Vector) -> bool:
    """Tell whether a peer with `latest` lacks some of the ops up to `needed`."""
    return any(latest.get(author, 0) < index for author, index in needed.items())


def vectors(replica: Replica) -> Iterator[tuple[int, PeerId, dict[PeerId, int]]]:
    """Yield row, author and what the author had seen for each op of the log, in order.

    The dictionary is reused: look at it before going on.
    """
    log, authors = replica.log, replica.names.authors
    known: dict[PeerId, dict[PeerId, int]] = {}
    for row in range(len(log)):
        author = authors[log.numbers[row]]
        vector = known.get(author)
        if vector is None:
            vector = known[author] = dict(replica.base_vectors.get(author, {}))
        for other, index in log.seen.get(log.op_code(row), ()):
            if vector.get(other, 0) < index:
                vector[other] = index
        vector[author] = log.indexes[row]
        yield row, author, vector


def clean_cut(replica: Replica, wanted: int) -> int:
    """Return the greatest count of ops, at most `wanted`, that all later ops have seen."""
    if wanted <= 0:
        return 0
    log = replica.log
    rows: dict[PeerId, list[tuple[int, int]]] = {}
    at: dict[tuple[PeerId, PeerId], int] = {}
    # The earliest row that some op from each row on has not seen.
    unseen = [len(log)] * (len(log) + 1)
    for row, author, vector in vectors(replica):
        earliest = row
        for other, theirs in rows.items():
            if other == author:
                continue
            position = at.get((author, other), 0)
            seen = vector.get(other, 0)
            while position < len(theirs) and theirs[position][0] <= seen:
                position += 1
            at[author, other] = position
            if position < len(theirs):
                earliest = min(earliest, theirs[position][1])
        rows.setdefault(author, []).append((log.indexes[row], row))
        unseen[row] = earliest
    for row in range(len(log) - 1, -1, -1):
        unseen[row] = min(unseen[row], unseen[row + 1])
    cut = min(wanted, len(log))
    while cut > 0 and unseen[cut] < cut:
        cut = unseen[cut]
    return cut


def known_rows(replica: Replica, latest: Vector) -> int:
    """Return how many of the first ops a peer with `latest` has."""
    log, authors = replica.log, replica.names.authors
    for row in range(len(log)):
        if latest.get(authors[log.numbers[row]], 0) < log.indexes[row]:
            return row
    return len(log)
