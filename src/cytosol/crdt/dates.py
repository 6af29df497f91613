"""When places were last assigned, calculated and moved: only re-issued ops ask.

An op that is re-issued, or that came from elsewhere, must not overwrite what was written later than
it was first written (docs/merging.md, Dates). Plain ops never ask, so nothing is noted
until the first op with an origin is applied; from then on each row is noted once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cytosol.crdt.find import Finder
from cytosol.crdt.log import NO_INDEX, Coded, Log, numbers_taken
from cytosol.crdt.names import AUTHOR_BITS, AUTHOR_MASK, OFFSET_BITS
from cytosol.crdt.tree import MISSING, Place, Step, Tree
from cytosol.crdt.undo import Trail
from cytosol.model.ids import PeerId
from cytosol.model.op import Kind

__all__ = ["CALCULATES", "REPLACES", "Dates", "Stamp"]

CALCULATES = frozenset({Kind.ADD, Kind.MULTIPLY})
REPLACES = frozenset({Kind.SET, Kind.INIT_OBJECT, Kind.INIT_ARRAY})

Stamp = tuple[int, int, int]
"""When a place was assigned and, since then, calculated and moved; 0 for never.

A date is the op part of names (`name >> OFFSET_BITS`).
"""


class Dates:
    """The dates of one replica's places."""

    __slots__ = ("_failed", "_finder", "_log", "_noted", "_older", "_tree", "stamps", "superseded")

    def __init__(self, tree: Tree, log: Log, finder: Finder, failed: Mapping[int, object]) -> None:
        self._tree = tree
        self._log = log
        self._finder = finder
        self._failed = failed
        self.stamps: dict[int, list[Stamp]] = {}
        """The newest last, by the name that a place was made with; none if only made."""
        self.superseded: dict[int, tuple[int, ...]] = {}
        """Which actions of an op came too late, by their ordinal."""
        self._noted: list[list[int]] = []
        """Which places each row of the log has stamped, as far as anybody asked."""
        self._older: dict[int, int] | None = None

    # --- asking -------------------------------------------------------------------------

    def date(self, op_code: int) -> int:
        """Return the date of an op: its origin, where it has one."""
        origin = self._log.origins.get(op_code)
        if origin is None:
            if self._older is None:
                self._older = {
                    first >> OFFSET_BITS: code
                    for code, first in self._tree.origins.items()
                    if first >> OFFSET_BITS not in self._log.origins  # it may be taken back
                }
            origin = self._older.get(op_code)
        if origin is None:
            return op_code
        index, author, _ = self._tree.names.order(origin)
        return self._tree.names.op_code(index, author)

    def key(self, date: int) -> tuple[int, PeerId]:
        """Return what dates compare by."""
        return date >> AUTHOR_BITS, self._tree.names.authors[date & AUTHOR_MASK]

    def stamp(self, code: int) -> Stamp:
        """Return the stamp of the place that was made with this name."""
        stamps = self.stamps.get(code)
        if stamps is not None:
            return stamps[-1]
        while code < 0:
            code = self._tree.names.pairs[~code][0]
        return self.date(code >> OFFSET_BITS), 0, 0

    def assigned_since(self, code: int, date: int, op_code: int) -> int | None:
        """Return when another op than this one assigned a place, if at this date or later."""
        made = code
        while made < 0:
            made = self._tree.names.pairs[~made][0]
        if code not in self.stamps and made >> OFFSET_BITS == op_code:
            return None
        assigned = self.stamp(code)[0]
        return assigned if self.key(assigned) >= self.key(date) else None

    def is_newer(self, stamp: Iterable[int], date: int) -> bool:
        """Tell whether any part of a stamp is greater than a date."""
        limit = self.key(date)
        return any(self.key(part) > limit for part in stamp)

    def is_newer_below(self, up: Place, step: Step, date: int) -> bool:
        """Tell whether anything shown below a place has a greater date."""
        place = self._tree.place_at(up, step)
        if place is None or place.value is None:
            return False
        codes = (self._tree.code_at(*slot) for slot in self._tree.below(place))
        return any(self.is_newer(self.stamp(code), date) for code in codes)

    # --- noting -------------------------------------------------------------------------

    def catch_up(self, end: int) -> None:
        """Note the rows of the log before `end` that are not noted yet."""
        for row in range(len(self._noted), end):
            self._noted.append(self._note(row))

    def supersede(self, op_code: int, ordinal: int, trail: Trail) -> None:
        """Note that an action came too late, until it is taken back."""
        before = self.superseded.get(op_code, ())
        self.superseded[op_code] = (*before, ordinal)
        if not before:
            trail.append((self.superseded.pop, op_code))

    def rewind(self, start: int) -> None:
        """Take back what was noted of the rows from `start` on."""
        while len(self._noted) > start:
            for code in self._noted.pop():
                stamps = self.stamps[code]
                stamps.pop()
                if not stamps:
                    del self.stamps[code]

    def _note(self, row: int) -> list[int]:
        log = self._log
        op_code = log.op_code(row)
        noted: list[int] = []
        if op_code in self._failed or type(log.acts[row]) is int:
            return noted
        date = self.date(op_code)
        late = self.superseded.get(op_code, ())
        name = op_code << OFFSET_BITS
        body = log.coded(row)
        bodies: Iterable[Coded] = body.payload if body.kind is Kind.TRANSACTION else (body,)
        for ordinal, inner in enumerate(bodies):
            if ordinal not in late:
                self._stamp(inner, name, date, noted)
            name += numbers_taken(inner)
        return noted

    def _stamp(self, body: Coded, name: int, date: int, noted: list[int]) -> None:
        """Stamp the places that an action dates, `name` being its first name."""
        kind = body.kind
        if kind in REPLACES and body.index == NO_INDEX:
            for own in range(name, name + numbers_taken(body)):
                code = self._made_with(own)
                if code != own:  # else it has been made with this date
                    self._push(code, (date, 0, 0), noted)
        elif kind in CALCULATES or kind is Kind.MOVE:
            code = self._made_with(body.source if kind is Kind.MOVE else body.name)
            assigned, calculated, moved = self.stamp(code)
            if kind is Kind.MOVE:
                moved = max(moved, date, key=self.key)
            else:
                calculated = max(calculated, date, key=self.key)
            self._push(code, (assigned, calculated, moved), noted)

    def _push(self, code: int, stamp: Stamp, noted: list[int]) -> None:
        self.stamps.setdefault(code, []).append(stamp)
        noted.append(code)

    def _made_with(self, name: int) -> int:
        """Return the name that a place got when it was made."""
        found = self._finder.find(name)
        assert found is not None, "a name that an op could use finds its place for ever"
        up, step, covered = found
        return covered or self._tree.code_at(up, step)

    # --- forgetting ---------------------------------------------------------------------

    def trim(self, count: int) -> None:
        """Keep the dates of what is shown; call where the log ends with what is dropped."""
        self.catch_up(count)
        tree = self._tree
        kept: dict[int, list[Stamp]] = {}
        for code, stamps in self.stamps.items():
            found = self._finder.find(code)
            if found is None or found[2]:
                continue
            up, step, _ = found
            if tree.is_present(up) and tree.content(up, step) is not MISSING:
                kept[tree.name_at(up, step)] = stamps[-1:]
        self.stamps = kept
        self._noted.clear()
        self._older = None
        for row in range(count):
            self.superseded.pop(self._log.op_code(row), None)
