"""The Lamport clock of a graph: which id the next assignment gets.

There is one conflict rule, the greater id wins (spec: graph, One clock, one id, two views), so
an id must be above all that its writer has seen, and no two writers may share an author.
"""

from __future__ import annotations

from cytosol.errors import GraphError
from cytosol.limits import CLOCK_LEAP_MAX, LAMPORT_MAX
from cytosol.model.ids import OpId

__all__ = ["ZERO", "Clock"]

ZERO = OpId(0, b"")
"""Below every id that a clock gives: never made, never deleted."""


class Clock:
    """Give ids in the name of `author` (16 bytes), each greater than all given and observed."""

    __slots__ = ("author", "index")

    def __init__(self, author: bytes, index: int = 0) -> None:
        if not isinstance(author, bytes) or len(author) != 16:
            given = len(author) if isinstance(author, bytes) else repr(author)
            raise GraphError(f"an author is 16 bytes, not {given}; pass `uuid4().bytes`")
        self.author = author
        self.index = index
        """The greatest index given or observed so far."""

    def next(self) -> OpId:
        """Return the next id. Raises GraphError when no number is left, after 2^53 - 1."""
        index = self.index + 1
        if index > LAMPORT_MAX:
            raise GraphError("the clock of this graph is at its end: nothing can be written to it")
        self.index = index
        return OpId(index, self.author)

    def observe(self, seen: OpId, *, trusted: bool = False) -> None:
        """Move past `seen`, so that later writes win over it.

        Raises GraphError for a leap of more than CLOCK_LEAP_MAX: one peer must not bring the
        clock of all others to its end. What our own storage holds is `trusted`.
        """
        index = seen[0]
        if index > self.index:
            if not trusted and (index - self.index > CLOCK_LEAP_MAX or index > LAMPORT_MAX):
                raise GraphError(
                    f"an id of index {index} is more than {CLOCK_LEAP_MAX} above all known ones "
                    f"({self.index}): no honest writer is that far ahead; it was refused"
                )
            self.raise_to(index)

    def raise_to(self, index: int) -> None:
        """Move past `index` however far it is: it is known to be honest."""
        if index > self.index:
            self.index = min(index, LAMPORT_MAX)
