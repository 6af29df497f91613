"""What ops build on: an op may only be merged where that is the same as where it was made.

Numbers do not tell whether it is. After a backup was put back, or a file was copied, two ops of
one author can have one id, and what was made on top of the one must not come to stand on the
other. So every batch tells its *grounds*: of each author the newest op on which it builds and
that is not in it, with the digest up to there. Whoever holds something else refuses the batch;
the next full sync ends with an adoption.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import accumulate
from operator import le

from cytosol.crdt.contents import Contents, digest_after
from cytosol.crdt.log import Log, are_alike
from cytosol.crdt.replica import Replica
from cytosol.model.ids import PeerId
from cytosol.model.op import Op
from cytosol.model.opcodec import Columns, Grounds, decode_columns

__all__ = ["Standing", "grounds_of", "hidden_forks", "standing"]


class Standing(enum.Enum):
    """How a batch stands to a history."""

    FITS = "what it builds on is here"
    EARLY = "some of what it builds on is not here"
    FORK = "under some id that it builds on, or that it has, there is another op here"


def grounds_of(
    replica: Replica, contents: Contents, rows: Sequence[int], agreed: dict[PeerId, int]
) -> Grounds:
    """Return the grounds of the ops in some rows of the log, which are in order.

    `agreed` is up to where the receiver is known to hold the same, which need not be told; it is
    raised by what is told now.
    """
    log = replica.log
    names, numbers, indexes = replica.names, log.numbers, log.indexes
    newest: dict[PeerId, int] = {}
    last: dict[int, int] = {}
    for row in _telling(log, rows):
        number = numbers[row]
        if number not in last and log.previous[row]:
            newest[names.authors[number]] = log.previous[row]
        last[number] = indexes[row]
        if log.seen:
            for author, index in log.seen.get(log.op_code(row), ()):
                if names.known_number(author) not in last and newest.get(author, 0) < index:
                    newest[author] = index
    grounds = {
        author: (index, contents.digest(replica, author, index))
        for author, index in newest.items()
        if agreed.get(author, 0) < index
    }
    agreed.update((author, index) for author, (index, _) in grounds.items())
    agreed.update((names.authors[number], index) for number, index in last.items())
    return grounds


def _telling(log: Log, rows: Sequence[int]) -> Sequence[int]:
    """Return those of some rows that tell all grounds.

    In a run of one author these are both ends, and the few that tell what it has seen.
    """
    if type(rows) is not range or 8 * len(log.seen) > len(rows):
        return rows
    numbers = log.numbers[rows.start : rows.stop]
    if not are_alike(numbers):
        return rows
    return sorted({rows[0], rows[-1], *filter(rows.__contains__, map(log.find, log.seen))})


def standing(replica: Replica, contents: Contents, columns: Columns, grounds: Grounds) -> Standing:
    """Compare a peer's batch and its grounds with a history; raises ActionError for damage."""
    is_early = False
    for author, (index, digest) in grounds.items():
        if index > replica.latest.get(author, 0):
            is_early = True
        elif _differs_at(replica, contents, author, index, digest):
            return Standing.FORK
    if _overlaps(replica, columns):
        last = _digests_of_known(replica, decode_columns(columns), grounds)
        if any(_differs_at(replica, contents, author, *last[author]) for author in last):
            return Standing.FORK
    return Standing.EARLY if is_early else Standing.FITS


def _differs_at(
    replica: Replica, contents: Contents, author: PeerId, index: int, digest: bytes
) -> bool:
    """Tell whether the history has something else up to an op; below the base nobody can tell."""
    trimmed = replica.trimmed.get(author, 0)
    if index > trimmed and replica.log.find(replica.names.op_code(index, author)) < 0:
        return True
    return index >= trimmed and contents.digest(replica, author, index) != digest


def hidden_forks(old: Replica, ours: Contents, new: Replica, theirs: Contents) -> set[PeerId]:
    """Return the authors of which another history has something else in its base than we hold."""
    return {
        author
        for author, index in new.trimmed.items()
        if index <= old.latest.get(author, 0)
        and _differs_at(old, ours, author, index, theirs.base[author])
    }


def _overlaps(replica: Replica, columns: Columns) -> bool:
    """Tell whether some op of a batch may be known, or an author number in it is damaged."""
    steps, used = columns.index, set(columns.author)
    if used and not 0 <= min(used) <= max(used) < len(columns.authors):
        return True
    latest = [replica.latest.get(author, 0) for author in columns.authors]
    if steps and steps[0] > max(map(latest.__getitem__, used), default=0) and min(steps) >= 0:
        return False  # the numbers rise, and all are above what is here of these authors
    return any(map(le, accumulate(steps), map(latest.__getitem__, columns.author)))


def _digests_of_known(
    replica: Replica, ops: Sequence[Op], grounds: Grounds
) -> dict[PeerId, tuple[int, bytes]]:
    """Return of each author the last op in a batch that is not above ours, and the digest there.

    Authors are left out of which the batch does not tell how their ops begin.
    """
    chains = dict(grounds)
    known: dict[PeerId, tuple[int, bytes]] = {}
    for op in ops:
        before, digest = chains.get(op.author, (0, b""))
        if op.previous == before and op.index <= replica.latest.get(op.author, 0):
            known[op.author] = chains[op.author] = op.index, digest_after(op, digest)
    return known
