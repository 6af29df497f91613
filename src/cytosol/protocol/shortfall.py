"""How much of what a peer has, and we lack, has come."""

from __future__ import annotations

from collections.abc import Mapping

from cytosol.model.ids import PeerId

__all__ = ["Shortfall"]


class Shortfall:
    """What one round of a full sync has to bring, by the numbers of the ops of each author.

    Numbers can be left out, so the share that it tells is about right.
    """

    __slots__ = ("_come", "_goal", "_reached", "_whole")

    def __init__(self, held: Mapping[PeerId, int], theirs: Mapping[PeerId, int]) -> None:
        self._goal = {who: index for who, index in theirs.items() if index > held.get(who, 0)}
        self._reached = {who: held.get(who, 0) for who in self._goal}
        self._whole = sum(self._goal.values()) - sum(self._reached.values())
        self._come = 0

    def note(self, brought: Mapping[PeerId, int]) -> None:
        """Note up to where a batch has brought its authors; what was not lacking is left out."""
        for who, index in brought.items():
            if who in self._goal:
                reached = min(index, self._goal[who])
                self._come += max(0, reached - self._reached[who])
                self._reached[who] = max(reached, self._reached[who])

    @property
    def share(self) -> float | None:
        """The part that has come, from 0 to 1; None if nothing is known to be lacking."""
        return self._come / self._whole if self._whole else None
