"""What the ops of a batch are called and build on, read from columns and checked as a whole.

All of a batch passes, or it has to go the general way, which looks at its ops one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, islice
from operator import lt, sub

from cytosol.crdt.replica import Replica
from cytosol.limits import LAMPORT_LEAP_MAX, LAMPORT_MAX
from cytosol.model.columns import Columns
from cytosol.model.ids import PeerId

__all__ = ["Heads", "are_below"]


class Heads:
    """Ids, chains and what was seen, of a batch on its way into a replica."""

    def __init__(self, replica: Replica, columns: Columns) -> None:
        self.replica = replica
        self.columns = columns
        self.indexes: Sequence[int] = _sums(columns.index)
        self.times = list(accumulate(columns.time))
        self.previous: Sequence[int] = []
        self.authors: list[PeerId] = []
        self.is_of_one = False
        """Whether one author has made all of the batch."""
        self.raised: dict[PeerId, int] = {}
        self.seen: dict[int, tuple[tuple[PeerId, int], ...]] = {}

    def read_numbers(self) -> bool:
        """Check ids and chains; False if an op is known, early, or strange."""
        columns, indexes = self.columns, self.indexes
        authors, who = columns.authors, columns.author
        if any(len(author) != 16 for author in authors) or len(set(authors)) != len(authors):
            return False
        self.is_of_one = who.count(who[0]) == len(who)
        if not are_below(who[:1] if self.is_of_one else who, len(authors)):
            return False
        times = self.times if min(columns.time) < 0 else (self.times[0], self.times[-1])
        if min(times) < 0 or max(times) > LAMPORT_MAX:
            return False
        if indexes[0] <= 0 or indexes[-1] > LAMPORT_MAX or not self._read_seen():
            return False
        steps = set(columns.index[1:])
        if indexes[0] > self.replica.clock + LAMPORT_LEAP_MAX:
            return False
        if steps and max(steps) > LAMPORT_LEAP_MAX:
            return False  # above our clock, or above an op of this batch that is above it
        is_rising = not steps or min(steps) > 0
        if self.is_of_one:
            self.authors = [authors[who[0]]] * len(who)
            if not is_rising or not self._follows_on():
                return False
        else:
            self.authors = list(map(authors.__getitem__, who))
            if not (is_rising or self._are_in_order()) or not self._follow_on():
                return False
        trim = self.replica.trim
        return trim is None or (indexes[0], self.authors[0]) > trim

    def _are_in_order(self) -> bool:
        idents = list(zip(self.indexes, self.authors, strict=True))
        return all(map(lt, idents, idents[1:]))

    def _follows_on(self) -> bool:
        """Check the chain of a batch of one author, and that what its ops saw is here."""
        columns, indexes, latest = self.columns, self.indexes, self.replica.latest
        author, back = self.authors[0], columns.previous
        before = latest.get(author, 0)
        if indexes[0] - back[0] != before or back[0] <= 0 or back[1:] != columns.index[1:]:
            return False
        as_rows = array("q", indexes)  # once for both columns: nothing is out of range any more
        self.indexes, self.previous = as_rows, array("q", [before]) + as_rows[:-1]
        for op, seen in self.seen.items():
            for other, known in seen:
                if (self.previous[op] if other == author else latest.get(other, 0)) < known:
                    return False
        self.raised = {author: as_rows[-1]}
        return True

    def _follow_on(self) -> bool:
        """Check that every op follows the last one of its author, and that what it saw is here."""
        latest, authors = self.replica.latest, self.columns.authors
        if min(self.columns.previous) <= 0:
            return False
        self.previous = list(map(sub, self.indexes, self.columns.previous))
        newest = [latest.get(author, 0) for author in authors]
        number_of = {author: who for who, author in enumerate(authors)}
        ops = zip(self.columns.author, self.indexes, self.previous, strict=True)
        start = 0
        for stop in [*sorted(self.seen), len(self.indexes)]:
            for who, index, previous in islice(ops, stop - start):
                if newest[who] != previous:
                    return False
                newest[who] = index
            for author, known in self.seen.get(stop, ()):
                if newest[number_of[author]] < known:
                    return False
            start = stop
        pairs = zip(authors, newest, strict=True)
        self.raised = {who: index for who, index in pairs if index > latest.get(who, 0)}
        return True

    def _read_seen(self) -> bool:
        column, authors, at = self.columns.seen, self.columns.authors, 0
        while at < len(column):
            end = at + 2 + 2 * column[at + 1] if at + 1 < len(column) else 0
            number = column[at]
            if not at + 2 < end <= len(column) or not 0 <= number < len(self.indexes):
                return False
            index = self.indexes[number]
            pairs = list(zip(column[at + 2 : end : 2], column[at + 3 : end : 2], strict=True))
            if number in self.seen or any(
                not 0 <= who < len(authors) or not 0 < back < index for who, back in pairs
            ):
                return False
            self.seen[number] = tuple((authors[who], index - back) for who, back in pairs)
            at = end
        return True


def _sums(steps: list[int]) -> list[int]:
    """Return the sum up to each of some numbers; mostly each is one more than the one before."""
    if steps and steps.count(1) == len(steps) - (steps[0] != 1):
        return list(range(steps[0], steps[0] + len(steps)))
    return list(accumulate(steps))


def are_below(column: list[int], below: int) -> bool:
    """Tell whether some numbers are at least 0 and below another."""
    return not column or (min(column) >= 0 and max(column) < below)
