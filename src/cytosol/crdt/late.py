"""Inserts into the midst of long arrays that their native lists do not show yet.

A native list moves all that is behind an insert. Own inserts with very many elements behind them
therefore wait here, until somebody looks at the document or they are many: then the list takes all
of them over at once. Positions and names are never late.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

__all__ = ["FAR", "Backlog", "LateInserts"]

FAR: Final = 16_384  # elements behind an insert; to move fewer costs less than to wait
FEW: Final = 64  # so many are taken over one by one
LATE_MIN: Final = 512  # so many may always wait,
LATE_PART: Final = 200  # or as many as one for each of so many elements


class Backlog:
    """The late inserts of one native list, in the order in which they will stand.

    `places` tells for each before which element of the native list it belongs.
    """

    __slots__ = ("_near", "items", "native", "places")

    def __init__(self, native: list[Any]) -> None:
        self.native = native
        self.places: list[int] = []
        self.items: list[Any] = []
        self._near = 0

    def __len__(self) -> int:
        return len(self.native) + len(self.items)

    def _before(self, index: int) -> int:
        """Return how many late items stand before an index."""
        near, places = self._near, self.places
        if near > len(places) or (near and places[near - 1] + near > index):
            near = 0
        if near < len(places) and places[near] + near < index:  # else it is where the last one was
            shown = range(len(places))
            near = bisect_left(shown, index, near, key=lambda late: places[late] + late)
        self._near = near
        return near

    def at(self, index: int) -> Any:
        """Return an element by its index, -len <= index < len."""
        index %= len(self)
        before = self._before(index)
        if before < len(self.places) and self.places[before] + before == index:
            return self.items[before]
        return self.native[index - before]

    def insert(self, index: int, item: Any) -> None:
        """Add an element with this index, 0 <= index <= len."""
        before = self._before(index)
        # No calls, so that Ctrl-C comes before or after both.
        self.places[before:before], self.items[before:before] = (index - before,), (item,)

    def settle(self) -> None:
        """Let the native list show everything."""
        native = self.native
        if len(self.items) > FEW:
            whole: list[Any] = []
            start = 0
            for place, item in zip(self.places, self.items, strict=True):
                whole += native[start:place]
                whole.append(item)
                start = place
            whole += native[start:]
            native[:] = whole
            self.places, self.items = [], []
        places, items = self.places, self.items
        while items:  # from the end, so that the others keep their places; no calls, as above
            native[places[-1] : places[-1]] = (items[-1],)
            del places[-1], items[-1]


class LateInserts(dict[int, Backlog]):
    """The backlog of each native list that has one, by the `id` of the list."""

    __slots__ = ()

    def insert(self, native: list[Any], index: int, item: Any, may_wait: bool) -> None:
        """Insert into a list; if it is far from the end, that may wait."""
        backlog = self.get(id(native))
        if backlog is None:
            if not may_wait or len(native) - index < FAR:
                native[index:index] = (item,)
                return
            backlog = self[id(native)] = Backlog(native)
        backlog.insert(index, item)
        if len(backlog.items) > max(LATE_MIN, len(native) // LATE_PART):
            backlog.settle()

    def settle(self) -> None:
        """Let all native lists show everything."""
        for backlog in self.values():
            backlog.settle()
        self.clear()
