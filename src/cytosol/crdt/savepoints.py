"""Save points: state hashes at some counts of ops, with gaps of about 4, 8, 16, ...

They let two peers find the last history they share (seed: Store, Synchronization). Only the
hash is kept: rewinding takes ops back one by one and needs no copy of the document.
"""

from __future__ import annotations

from bisect import bisect_right

from cytosol.model.version import ZERO_HASH

__all__ = ["SavePoints"]

GAP_MIN = 4


class SavePoints:
    """Pairs of a count of ops and the state hash after that many, ever sparser to the past."""

    __slots__ = ("_counts", "_hashes")

    def __init__(self, count: int = 0, state_hash: bytes = ZERO_HASH) -> None:
        self._counts = [count]
        self._hashes = [state_hash]

    def add(self, count: int, state_hash: bytes) -> None:
        """Add a point that is later than all others, and thin out the older ones."""
        self._counts.append(count)
        self._hashes.append(state_hash)
        counts = self._counts
        at = len(counts) - 3
        # The gap after a point is at most about the distance from there to the newest one.
        while at > 0:
            if counts[at + 1] - counts[at - 1] <= max(GAP_MIN, (count - counts[at + 1]) // 2):
                del counts[at]
                del self._hashes[at]
            at -= 1

    def cut(self, count: int) -> None:
        """Forget the points after this count of ops; the first one always stays."""
        keep = max(1, bisect_right(self._counts, count))
        del self._counts[keep:]
        del self._hashes[keep:]

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
