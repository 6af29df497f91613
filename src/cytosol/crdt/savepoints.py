"""Save points: state hashes at some counts of ops, with gaps of about 4, 8, 16, ...

They let two peers find the last history they share (seed: Store, Synchronization). Only the
hash is kept: rewinding takes ops back one by one and needs no copy of the document.
"""

from __future__ import annotations

from bisect import bisect_right

from cytosol.limits import LAMPORT_MAX
from cytosol.model.version import ZERO_HASH

__all__ = ["SavePoints"]

GAP_MIN = 4


class SavePoints:
    """Pairs of a count of ops and the state hash after that many, ever sparser to the past."""

    __slots__ = ("_counts", "_hashes", "_thin_at")

    def __init__(self, count: int = 0, state_hash: bytes = ZERO_HASH) -> None:
        self._counts = [count]
        self._hashes = [state_hash]
        self._thin_at = 0
        """No point but the newest can be too close to its neighbours at a smaller count."""

    def add(self, count: int, state_hash: bytes) -> None:
        """Add a point that is later than all others, and thin out the older ones."""
        self._counts.append(count)
        self._hashes.append(state_hash)
        at = len(self._counts) - 3
        if at <= 0:
            return
        due = self._due(at)
        if count >= self._thin_at:
            self._thin_at = self._thin(at, count)
        elif count >= due:
            del self._counts[at]
            del self._hashes[at]
        else:
            self._thin_at = min(self._thin_at, due)

    def _due(self, at: int) -> int:
        """Return the count at which a point is too close to its neighbours.

        The gap after a point is at most about the distance from there to the newest one.
        """
        before, after = self._counts[at - 1], self._counts[at + 1]
        return 0 if after - before <= GAP_MIN else after + 2 * (after - before)

    def _thin(self, at: int, count: int) -> int:
        """Take out what is too close, from a point back; return when that can be again."""
        next_due = LAMPORT_MAX
        for each in range(at, 0, -1):
            due = self._due(each)
            if count >= due:
                del self._counts[each]
                del self._hashes[each]
            else:
                next_due = min(next_due, due)
        return next_due

    def cut(self, count: int) -> None:
        """Forget the points after this count of ops; the first one always stays."""
        keep = max(1, bisect_right(self._counts, count))
        del self._counts[keep:]
        del self._hashes[keep:]
        self._thin_at = 0

    @property
    def last(self) -> tuple[int, bytes]:
        """The latest point."""
        return self._counts[-1], self._hashes[-1]

    def points(self) -> list[tuple[int, bytes]]:
        """Return all points, oldest first."""
        return list(zip(self._counts, self._hashes, strict=True))

    def before(self, count: int) -> tuple[int, bytes]:
        """Return the latest point that is not after this count."""
        at = max(0, bisect_right(self._counts, count) - 1)
        return self._counts[at], self._hashes[at]
