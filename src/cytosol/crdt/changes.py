"""Whose newest op has changed lately, so that whoever looks again pays for that and no more.

Thousands of devices may have written; what one op changes is looked at by every connection.
"""

from __future__ import annotations

from collections import OrderedDict

from cytosol.model.ids import PeerId

__all__ = ["Changes"]


class Changes:
    """The authors in the order in which an op of theirs was merged last, with a count of merges.

    A replica that loses ops begins a new one: then nobody can tell what has changed.
    """

    __slots__ = ("_at", "count")

    def __init__(self) -> None:
        self.count = 0
        self._at: OrderedDict[PeerId, int] = OrderedDict()

    def note(self, author: PeerId) -> None:
        """Note that the newest op of an author is another one now."""
        self.count += 1
        self._at[author] = self.count
        self._at.move_to_end(author)

    def since(self, count: int) -> list[PeerId]:
        """Return the authors noted after the first `count` notes."""
        at, authors = self._at, []
        for author in reversed(at) if count < self.count else ():
            if at[author] <= count:
                break
            authors.append(author)
        return authors
